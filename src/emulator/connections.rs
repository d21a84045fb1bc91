//! `GET /api/v2/connections`: the two there are, so that a client can look up an id by its name.

use serde_json::{Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::{ApiError, json_response},
    limits::Class,
    management::Needs,
    options::{Options, connection_id},
    parameters::{Page, known},
    rules::GOOGLE,
};

const SCOPES: Needs<'_> = Needs::Any(&["read:connections"]);

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    Some(match (method, path) {
        ("GET", ["connections"]) => list,
        ("GET", ["connections", _]) => read,
        _ => return None,
    })
}

fn list(call: &Call) -> Response {
    call.answer(Class::ReadConnections, SCOPES, |_| {
        known(
            &call.parameters,
            &[Page::NAMES, &["name", "strategy"]].concat(),
        )?;
        let page = Page::read(&call.parameters)?;
        let is_asked_for = |connection: &Value| {
            ["name", "strategy"].into_iter().all(|key| {
                let wanted = call.parameters.get(key);
                wanted.is_none_or(|wanted| connection[key] == **wanted)
            })
        };
        let mut connections = all(&call.tenant.options());
        connections.retain(is_asked_for);
        Ok(json_response(
            StatusCode::OK,
            &page.of("connections", connections),
        ))
    })
}

fn read(call: &Call) -> Response {
    call.answer(Class::ReadConnections, SCOPES, |_| {
        known(&call.parameters, &[])?;
        let connection = all(&call.tenant.options())
            .into_iter()
            .find(|connection| connection["id"] == *call.part(1));
        match connection {
            Some(connection) => Ok(json_response(StatusCode::OK, &connection)),
            None => Err(ApiError::new(
                StatusCode::NOT_FOUND,
                Some("inexistent_connection"),
                "The connection does not exist",
            )),
        }
    })
}

fn all(options: &Options) -> Vec<Value> {
    let shown = |id: String, name: &str, strategy: &str| {
        json!({
            "id": id, "name": name, "strategy": strategy, "options": {}, "is_domain_connection": false,
            "realms": [name], "enabled_clients": [options.app.client_id],
        })
    };
    vec![
        shown(options.connection_id(), &options.connection, "auth0"),
        shown(connection_id(GOOGLE), GOOGLE, GOOGLE),
    ]
}

//! `GET /api/v2/connections`: the two there are, so that a client can look up an id by its name.
//!
//! It pages both ways: by checkpoint for who sends `take` or `from`, as Auth0's own clients do unasked, else by page. Totals
//! are for pages alone (reference of the Management API).

use serde_json::{Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::{ApiError, json_response},
    limits::Class,
    management::Needs,
    options::{Options, connection_id},
    parameters::{Checkpoint, Page, Parameters, known},
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
            &[Page::NAMES, Checkpoint::NAMES, &["name", "strategy"]].concat(),
        )?;
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
            &page_of(connections, &call.parameters)?,
        ))
    })
}

fn page_of(mut connections: Vec<Value>, parameters: &Parameters) -> Result<Value, ApiError> {
    let by_checkpoint = Checkpoint::NAMES
        .iter()
        .any(|name| parameters.contains_key(*name));
    if !by_checkpoint {
        return Ok(Page::read(parameters)?.of("connections", connections));
    }
    connections.sort_by_cached_key(id_of);
    let keyed = connections
        .into_iter()
        .map(|connection| (id_of(&connection), connection));
    Ok(Checkpoint::read(parameters)?
        .of("connections", keyed)
        .into())
}

fn id_of(connection: &Value) -> String {
    connection["id"].as_str().unwrap_or_default().to_owned()
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

//! `GET /api/v2/users/{id}/logs`.

use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::json_response,
    limits::Class,
    management::{Needs, UserId},
    parameters::{Page, invalid, known},
    tenant::Guard,
};

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    match (method, path) {
        ("GET", ["users", _, "logs"]) => Some(logs),
        _ => None,
    }
}

/// Nobody's log is empty: the schema knows no 404 here.
fn logs(call: &Call) -> Response {
    const SCOPES: Needs<'_> = Needs::Any(&["read:logs", "read:logs_users"]);
    call.answer(Class::ReadLogs, SCOPES, |_| {
        known(&call.parameters, &[Page::NAMES, &["sort"]].concat())?;
        let page = Page::read(&call.parameters)?;
        let id = UserId::from(call.part(1));
        let mut entries = call.tenant.journal.guard().of(id.get()?);
        match call.parameters.get("sort").map(String::as_str) {
            None | Some("date:-1") => {}
            Some("date:1") => entries.reverse(),
            Some(_) => return Err(invalid("Logs are sorted by date only.")),
        }
        let mut body = page.of("logs", entries);
        if let Some(length) = body["logs"].as_array().map(Vec::len) {
            body["length"] = length.into();
        }
        Ok(json_response(StatusCode::OK, &body))
    })
}

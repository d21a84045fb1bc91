//! Brute-force protection: who has mistyped a password too often, and `/api/v2/user-blocks`, which lists and lifts it.
//!
//! It knows nothing of the administrator's block, nor that of it. After ten failures in a row (docs:
//! brute-force-protection) the right password does not help either; all callers have one address here.

use std::collections::HashMap;

use serde_json::{Value, json};
use warp::{Reply, http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::json_response,
    limits::Class,
    management::Needs,
    parameters::{known, required},
    profile::User,
    tenant::Guard,
};

/// Failures in a row that block.
const FAILURES: u32 = 10;

/// Failures in a row, by user id.
#[derive(Debug, Default)]
pub(super) struct BruteForce(HashMap<String, u32>);

impl BruteForce {
    pub(super) fn is_blocked(&self, user_id: &str) -> bool {
        self.0.get(user_id).is_some_and(|count| *count >= FAILURES)
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, user_id: &str) {
        let count = self.0.entry(user_id.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// A login, a new password, an operator, or the end of the user.
    pub(super) fn lift(&mut self, user_id: &str) {
        self.0.remove(user_id);
    }
}

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    Some(match (method, path) {
        ("GET", ["user-blocks"]) => by_identifier,
        ("DELETE", ["user-blocks"]) => lift_by_identifier,
        ("GET", ["user-blocks", _]) => by_id,
        ("DELETE", ["user-blocks", _]) => lift_by_id,
        _ => return None,
    })
}

fn by_identifier(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:users"]), |_| {
        known(
            &call.parameters,
            &["identifier", "consider_brute_force_enablement"],
        )?;
        let identifier = required(&call.parameters, "identifier")?;
        let blocked = call
            .tenant
            .identified(identifier)
            .iter()
            .filter(|user| is_blocked(call, user))
            .map(|user| entry(user, identifier))
            .collect();
        Ok(listed(blocked))
    })
}

fn by_id(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:users"]), |_| {
        known(&call.parameters, &["consider_brute_force_enablement"])?;
        let user = call.user()?;
        let identifiers = [&user.email, &user.username, &user.phone_number];
        let blocked = match is_blocked(call, &user) {
            true => identifiers
                .into_iter()
                .flatten()
                .map(|identifier| entry(&user, identifier))
                .collect(),
            false => Vec::new(),
        };
        Ok(listed(blocked))
    })
}

fn lift_by_identifier(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:users"]), |_| {
        known(&call.parameters, &["identifier"])?;
        for user in call
            .tenant
            .identified(required(&call.parameters, "identifier")?)
        {
            call.tenant.brute_force.guard().lift(&user.user_id);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

fn lift_by_id(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:users"]), |_| {
        let user = call.user()?;
        call.tenant.brute_force.guard().lift(&user.user_id);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

fn is_blocked(call: &Call, user: &User) -> bool {
    call.tenant.brute_force.guard().is_blocked(&user.user_id)
}

fn entry(user: &User, identifier: &str) -> Value {
    let connection = user
        .identities
        .first()
        .map(|identity| identity.connection.as_str());
    json!({"identifier": identifier, "ip": "127.0.0.1", "connection": connection})
}

fn listed(blocked: Vec<Value>) -> Response {
    json_response(StatusCode::OK, &json!({"blocked_for": blocked}))
}

//! The sessions and refresh-tokens part of the Management API. Ending anything answers 202 and happens later.
//!
//! Docs reserve it to Enterprise plans; other plans get 403.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::{ApiError, json_response},
    limits::Class,
    management::Needs,
    parameters::{Checkpoint, flag, known, required},
    roles::empty,
    tenant::Guard,
};

const READ_SESSIONS: Needs<'_> = Needs::Any(&["read:sessions"]);
const END_SESSIONS: Needs<'_> = Needs::Any(&["delete:sessions"]);
const READ_TOKENS: Needs<'_> = Needs::Any(&["read:refresh_tokens"]);
const REVOKE_TOKENS: Needs<'_> = Needs::Any(&["delete:refresh_tokens"]);
const END_BOTH: Needs<'_> = Needs::Any(&["delete:sessions", "delete:refresh_tokens"]);

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    Some(match (method, path) {
        ("GET", ["users", _, "sessions"]) => sessions_of_user,
        ("DELETE", ["users", _, "sessions"]) => end_sessions_of_user,
        ("GET", ["users", _, "refresh-tokens"]) => tokens_of_user,
        ("DELETE", ["users", _, "refresh-tokens"]) => revoke_tokens_of_user,
        ("POST", ["users", _, "revoke-access"]) => revoke_access,
        ("GET", ["sessions", _]) => session,
        ("PATCH", ["sessions", _]) => update_session,
        ("DELETE", ["sessions", _]) => end_session,
        ("POST", ["sessions", _, "revoke"]) => revoke_session,
        ("GET", ["refresh-tokens"]) => tokens,
        ("POST", ["refresh-tokens", "revoke"]) => revoke_tokens,
        ("GET", ["refresh-tokens", _]) => token,
        ("PATCH", ["refresh-tokens", _]) => update_token,
        ("DELETE", ["refresh-tokens", _]) => revoke_token,
        _ => return None,
    })
}

fn answer(
    call: &Call,
    needs: Needs<'_>,
    work: impl FnOnce(Timestamp) -> Result<Response, ApiError>,
) -> Response {
    call.answer(Class::Others, needs, |_| {
        call.enterprise_only()?;
        work(call.tenant.clock.now())
    })
}

fn sessions_of_user(call: &Call) -> Response {
    answer(call, READ_SESSIONS, |now| {
        let user = call.user()?;
        let sessions = call.tenant.sessions.guard();
        let items = sessions
            .sessions_of(&user.user_id, now)
            .map(|session| (session.id().to_owned(), session.shown()));
        listed(call, "sessions", items.collect())
    })
}

fn tokens_of_user(call: &Call) -> Response {
    answer(call, READ_TOKENS, |now| {
        let user = call.user()?;
        let sessions = call.tenant.sessions.guard();
        let items = sessions
            .tokens_of(&user.user_id, now)
            .map(|token| (token.id().to_owned(), token.shown()));
        listed(call, "tokens", items.collect())
    })
}

/// A checkpoint page, with the total where it is asked for. `per_page` is sent by SDKs and means nothing here.
fn listed(call: &Call, name: &str, items: Vec<(String, Value)>) -> Result<Response, ApiError> {
    let names = [Checkpoint::NAMES, &["include_totals", "per_page"]].concat();
    known(&call.parameters, &names)?;
    let total = items.len();
    let mut body = Checkpoint::read(&call.parameters)?.of(name, items.into_iter());
    if flag(&call.parameters, "include_totals")? {
        body.insert("total".into(), total.into());
    }
    Ok(json_response(StatusCode::OK, &body))
}

fn end_sessions_of_user(call: &Call) -> Response {
    answer(call, END_SESSIONS, |_| {
        let user = call.user()?;
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        sessions.end(at, |session| session.user_id == user.user_id);
        Ok(empty(StatusCode::ACCEPTED))
    })
}

fn revoke_tokens_of_user(call: &Call) -> Response {
    answer(call, REVOKE_TOKENS, |_| {
        let user = call.user()?;
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        sessions.revoke(at, |token| token.login.user_id == user.user_id);
        Ok(empty(StatusCode::ACCEPTED))
    })
}

fn revoke_access(call: &Call) -> Response {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct What {
        session_id: Option<String>,
        preserve_refresh_tokens: bool,
    }
    answer(call, END_BOTH, |_| {
        let what: What = match call.body.is_empty() {
            true => What::default(),
            false => call.body()?,
        };
        let user = call.user()?;
        let at = call.tenant.revocation_time();
        let is_meant = |id: &str| what.session_id.as_deref().is_none_or(|wanted| wanted == id);
        let mut sessions = call.tenant.sessions.guard();
        sessions.end(at, |session| {
            session.user_id == user.user_id && is_meant(session.id())
        });
        if !what.preserve_refresh_tokens {
            sessions.revoke(at, |token| {
                token.login.user_id == user.user_id && is_meant(&token.login.sid)
            });
        }
        Ok(empty(StatusCode::ACCEPTED))
    })
}

fn session(call: &Call) -> Response {
    answer(call, READ_SESSIONS, |now| {
        let mut sessions = call.tenant.sessions.guard();
        let session = sessions.session(call.part(1), now).ok_or_else(no_session)?;
        Ok(json_response(StatusCode::OK, &session.shown()))
    })
}

fn update_session(call: &Call) -> Response {
    answer(call, Needs::Any(&["update:sessions"]), |now| {
        let metadata = metadata(call, "session_metadata")?;
        let mut sessions = call.tenant.sessions.guard();
        let session = sessions.session(call.part(1), now).ok_or_else(no_session)?;
        session.metadata = metadata;
        session.touch(now);
        Ok(json_response(StatusCode::OK, &session.shown()))
    })
}

/// 202 whether or not there was one.
fn end_session(call: &Call) -> Response {
    answer(call, END_SESSIONS, |_| {
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        sessions.end(at, |session| session.id() == call.part(1));
        Ok(empty(StatusCode::ACCEPTED))
    })
}

/// Ends the session and revokes the refresh tokens that came of it.
fn revoke_session(call: &Call) -> Response {
    answer(call, END_BOTH, |now| {
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        let id = call.part(1);
        sessions.session(id, now).ok_or_else(no_session)?;
        sessions.end(at, |session| session.id() == id);
        sessions.revoke(at, |token| token.login.sid == id);
        Ok(empty(StatusCode::ACCEPTED))
    })
}

fn tokens(call: &Call) -> Response {
    answer(call, READ_TOKENS, |now| {
        let names = [Checkpoint::NAMES, &["user_id", "client_id"]].concat();
        known(&call.parameters, &names)?;
        let user_id = required(&call.parameters, "user_id")?;
        let client_id = call.parameters.get("client_id");
        let checkpoint = Checkpoint::read(&call.parameters)?;
        let sessions = call.tenant.sessions.guard();
        let items = sessions
            .tokens_of(user_id, now)
            .filter(|token| client_id.is_none_or(|id| *id == token.login.authorization.client_id))
            .map(|token| (token.id().to_owned(), token.shown()));
        let body = checkpoint.of("refresh_tokens", items);
        Ok(json_response(StatusCode::OK, &body))
    })
}

fn token(call: &Call) -> Response {
    answer(call, READ_TOKENS, |now| {
        let mut sessions = call.tenant.sessions.guard();
        let token = sessions.token(call.part(1), now).ok_or_else(no_token)?;
        Ok(json_response(StatusCode::OK, &token.shown()))
    })
}

fn update_token(call: &Call) -> Response {
    answer(call, Needs::Any(&["update:refresh_tokens"]), |now| {
        let metadata = metadata(call, "refresh_token_metadata")?;
        let mut sessions = call.tenant.sessions.guard();
        let token = sessions.token(call.part(1), now).ok_or_else(no_token)?;
        token.metadata = metadata;
        Ok(json_response(StatusCode::OK, &token.shown()))
    })
}

/// 202 whether or not there was one.
fn revoke_token(call: &Call) -> Response {
    answer(call, REVOKE_TOKENS, |_| {
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        sessions.revoke(at, |token| token.id() == call.part(1));
        Ok(empty(StatusCode::ACCEPTED))
    })
}

/// By ids, or by user, or by user and client, or by user, client and API.
fn revoke_tokens(call: &Call) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Which {
        ids: Option<Vec<String>>,
        user_id: Option<String>,
        client_id: Option<String>,
        audience: Option<String>,
    }
    answer(call, REVOKE_TOKENS, |_| {
        let which: Which = call.body()?;
        let is_way = match (
            &which.ids,
            &which.user_id,
            &which.client_id,
            &which.audience,
        ) {
            (Some(ids), None, None, None) => (1..=100).contains(&ids.len()),
            (None, Some(_), None, None) | (None, Some(_), Some(_), _) => true,
            _ => false,
        };
        if !is_way {
            return Err(ApiError::invalid_body(
                "'Expected ids, or user_id, or user_id with client_id'",
            ));
        }
        let at = call.tenant.revocation_time();
        let mut sessions = call.tenant.sessions.guard();
        sessions.revoke(at, |token| {
            let authorization = &token.login.authorization;
            which
                .ids
                .as_ref()
                .is_none_or(|ids| ids.iter().any(|id| id == token.id()))
                && which
                    .user_id
                    .as_ref()
                    .is_none_or(|id| *id == token.login.user_id)
                && which
                    .client_id
                    .as_ref()
                    .is_none_or(|id| *id == authorization.client_id)
                && (which.audience.is_none() || which.audience == authorization.audience)
        });
        Ok(empty(StatusCode::ACCEPTED))
    })
}

/// A body that sets one metadata object, or unsets it with `null`.
fn metadata(call: &Call, key: &str) -> Result<Option<Value>, ApiError> {
    let mut body: Map<String, Value> = call.body()?;
    let metadata = body.remove(key);
    if let Some(other) = body.keys().next() {
        return Err(ApiError::invalid_body(format_args!(
            "'Additional properties not allowed: {other}'"
        )));
    }
    match metadata {
        Some(Value::Null) => Ok(None),
        Some(metadata @ Value::Object(_)) => Ok(Some(metadata)),
        _ => Err(ApiError::invalid_body(format_args!(
            "'Expected type object' on property {key}"
        ))),
    }
}

fn no_session() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, None, "The session does not exist.")
}

fn no_token() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        None,
        "The refresh token does not exist.",
    )
}

//! Forward-auth: a proxy asks whether it may let a request through, and as whom.
//!
//! One question at several doors, since each proxy has its own idea of an answer:
//!
//! | door | allow | refusal |
//! |---|---|---|
//! | `/auth/nginx` | 200 | 401 or 403 and nothing else: nginx makes a 500 of it |
//! | `/auth/traefik`, `/auth/caddy` | 200 | as everywhere: they pass the answer on |
//! | `/auth/envoy/…` | 200 | the same |
//! | `/auth/hasura` | 200 and the session's variables | 401; 503 where it cannot know; 405 to who is not Hasura |
//!
//! Promises: it is decided from the token and the permissions that the proxy asks for. What a proxy tells of the request
//! it holds back (`X-Forwarded-*`, `X-Original-*`, method, path) is not looked at, since a client may have written it;
//! which path needs what is the proxy's configuration to say. Who it is stands in [`identity`]'s headers, always.
//!
//! To nginx a refusal is 401 where another token would mend it, and 403 elsewhere: also where Roster cannot know. A 401
//! would have every client throw a good token away and log in again, all at once, because a database is away.

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::Serialize;
use warp::{
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    path::FullPath,
};

use super::{
    answer::{answer_as, json_response},
    check::bearer,
    hook, identity,
    required::Required,
};
use crate::{
    authz::{
        Authz,
        endpoint::Endpoint,
        problem::{Challenge, Problem},
        rejection::Refusal,
        trail::Trail,
    },
    db::directory::User,
    http::Unread,
    user::UserKey,
};

/// How long Hasura may keep a websocket open before it asks again: it would never do so by itself.
const WEBSOCKET_MAX_AGE: &str = "max-age=60";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::authz) enum Door {
    Nginx,
    Traefik,
    Caddy,
    Envoy,
    Hasura,
}

impl Door {
    /// The door that an endpoint is, if it is one.
    pub(in crate::authz) fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Nginx => Some(Self::Nginx),
            Endpoint::Traefik => Some(Self::Traefik),
            Endpoint::Caddy => Some(Self::Caddy),
            Endpoint::Envoy => Some(Self::Envoy),
            Endpoint::Hasura => Some(Self::Hasura),
            _ => None,
        }
    }

    fn endpoint(self) -> Endpoint {
        match self {
            Self::Nginx => Endpoint::Nginx,
            Self::Traefik => Endpoint::Traefik,
            Self::Caddy => Endpoint::Caddy,
            Self::Envoy => Endpoint::Envoy,
            Self::Hasura => Endpoint::Hasura,
        }
    }

    /// The refusal as this proxy understands it.
    pub(in crate::authz) fn problem(self, refusal: &Refusal) -> Problem {
        let mut problem = refusal.problem();
        problem.status = self.status(problem.status);
        if problem.status == StatusCode::UNAUTHORIZED && problem.challenge == Challenge::None {
            problem.challenge = Challenge::Bare;
        }
        problem
    }

    fn status(self, status: StatusCode) -> StatusCode {
        match self {
            Self::Nginx if status != StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
            // Any other status is an error of the server's to Hasura, which 503 is. It asks by no other method.
            Self::Hasura
                if status.is_client_error() && status != StatusCode::METHOD_NOT_ALLOWED =>
            {
                StatusCode::UNAUTHORIZED
            }
            _ => status,
        }
    }
}

/// `/auth/nginx`, by any method: nothing that nginx may be told to send ends in another status.
pub(super) async fn nginx(
    path: FullPath,
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
) -> Response<String> {
    let question = if path.as_str() == "/auth/nginx" {
        Required::read(&query, "require").map(|required| (required, headers.clone()))
    } else {
        Err(Refusal::NotFound)
    };
    ask(&authz, Door::Nginx, &headers, &query, question, allowed).await
}

/// `/auth/traefik` and `/auth/caddy`, by any method: Traefik sends the client's own where it is told to (`preserveRequestMethod`).
pub(super) async fn whole(
    door: Door,
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
) -> Response<String> {
    let required = Required::read(&query, "require");
    let question = required.map(|required| (required, headers.clone()));
    ask(&authz, door, &headers, &query, question, allowed).await
}

/// `/auth/envoy`, by any method and with anything behind it: Envoy puts its prefix before the address of the client.
///
/// A prefix `/auth/envoy?require=read:songs&path=` makes one parameter of that address, and what stands before it is the
/// operator's alone. With the prefix `/auth/envoy` the query is the client's, who can only ask for more than is required.
pub(super) async fn envoy(
    path: FullPath,
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
) -> Response<String> {
    let (query, required) = if path.as_str() == "/auth/envoy" {
        let own = before_path(&query);
        (own, Required::read(own, "require"))
    } else {
        (query.as_str(), Ok(Required::among(&query, "require")))
    };
    let question = required.map(|required| (required, headers.clone()));
    ask(&authz, Door::Envoy, &headers, query, question, allowed).await
}

/// `GET /auth/hasura` with the client's headers, or `POST` with them in the body.
pub(super) async fn hasura(
    method: Method,
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
    body: Unread,
) -> Response<String> {
    let client = match method {
        Method::GET => Ok(headers.clone()),
        Method::POST => match body.read().await {
            Ok(body) => hook::client_headers(&body),
            Err(error) => Err(error.into()),
        },
        _ => Err(Refusal::MethodNotAllowed),
    };
    let required = Required::read(&query, "require");
    let question = required.and_then(|required| Ok((required, client?)));
    ask(&authz, Door::Hasura, &headers, &query, question, session).await
}

/// Decides, and says who it is. `question` is what is required, and the headers of whom.
async fn ask(
    authz: &Authz,
    door: Door,
    headers: &HeaderMap,
    query: &str,
    question: Result<(Required, HeaderMap), Refusal>,
    allow: impl FnOnce(&User) -> Result<Response<String>, Refusal>,
) -> Response<String> {
    let (user, code) = (OnceLock::new(), OnceLock::new());
    let trail = Trail::begin(authz, door.endpoint(), headers);
    let work = async {
        let (required, client) = question?;
        required.note(&trail);
        let known = bearer(&trail, &client, query).await?;
        let user = user.get_or_init(|| known.user);
        required.of(user)?;
        allow(user)
    };
    let problem = |refusal: &Refusal, id: &str| {
        code.get_or_init(|| refusal.code());
        let mut response = door.problem(refusal).into_response(id);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = HeaderValue::from_static("GET, POST");
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response
    };
    let mut response = answer_as(&trail, problem, work).await;
    let code = code.get().copied().unwrap_or("ok");
    identity::put(response.headers_mut(), user.get(), code);
    response
}

fn allowed(_: &User) -> Result<Response<String>, Refusal> {
    Ok(Response::new(String::new()))
}

/// What Hasura keeps of a user. Every value is a string.
#[derive(Serialize, JsonSchema)]
pub(in crate::authz) struct Session<'a> {
    #[serde(rename = "X-Hasura-User-Id")]
    user: &'a UserKey,
    #[serde(rename = "X-Hasura-Role")]
    role: &'a str,
    #[serde(rename = "Cache-Control")]
    websocket: &'static str,
}

fn session(user: &User) -> Result<Response<String>, Refusal> {
    let role = user.role.as_deref().filter(|role| !role.is_empty());
    let session = Session {
        user: &user.key,
        role: role.ok_or(Refusal::RoleMissing)?,
        websocket: WEBSOCKET_MAX_AGE,
    };
    Ok(json_response(StatusCode::OK, &session))
}

/// The part of a query that stands before its first parameter `path`.
fn before_path(query: &str) -> &str {
    if query.starts_with("path=") {
        return "";
    }
    query.split("&path=").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_nginx_everything_but_a_bad_token_is_a_403() {
        for status in (100..1000).map(|status| StatusCode::from_u16(status).unwrap()) {
            let told = Door::Nginx.status(status).as_u16();
            assert_eq!(told, if status == 401 { 401 } else { 403 }, "{status}");
            let told = Door::Hasura.status(status);
            assert!(
                told == 401 || told == 405 || !told.is_client_error(),
                "{status}"
            );
        }
    }

    #[test]
    fn what_a_client_writes_behind_the_path_is_not_the_operators() {
        let table = [
            ("", ""),
            ("require=a", "require=a"),
            ("path=/x?require=b&path=c", ""),
            ("require=a&path=/x?page=2&require=b", "require=a"),
        ];
        for (query, expected) in table {
            assert_eq!(before_path(query), expected, "{query}");
        }
    }
}

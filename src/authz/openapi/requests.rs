//! What each endpoint takes, and which refusals it can end in.

use serde_json::{Value, json};

use super::{Schemas, reference};
use crate::{
    authz::{
        authzen::request::{ActionSearch, Evaluation, Evaluations, ResourceSearch, SubjectSearch},
        endpoint::Endpoint,
        handlers::hook::Hook,
        rejection::Refusal,
    },
    http::BodyError,
};

/// `HEAD` is answered as `GET`, without a body, and not listed.
pub(super) fn methods(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::Nginx | Endpoint::Envoy => &["get", "post", "put", "patch", "delete", "options"],
        Endpoint::Hasura => &["get", "post"],
        Endpoint::Evaluation
        | Endpoint::Evaluations
        | Endpoint::SearchSubject
        | Endpoint::SearchResource
        | Endpoint::SearchAction => &["post"],
        _ => &["get"],
    }
}

/// Where it is, with or without what may stand behind that.
pub(super) fn addresses(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::Me => &["/v1/me"],
        Endpoint::Check => &["/v1/check"],
        Endpoint::Nginx => &["/auth/nginx"],
        Endpoint::Traefik => &["/auth/traefik"],
        Endpoint::Caddy => &["/auth/caddy"],
        Endpoint::Envoy => &["/auth/envoy", "/auth/envoy/{path}"],
        Endpoint::Hasura => &["/auth/hasura"],
        Endpoint::Evaluation => &["/access/v1/evaluation"],
        Endpoint::Evaluations => &["/access/v1/evaluations"],
        Endpoint::SearchSubject => &["/access/v1/search/subject"],
        Endpoint::SearchResource => &["/access/v1/search/resource"],
        Endpoint::SearchAction => &["/access/v1/search/action"],
        Endpoint::Discovery => &[
            "/.well-known/authzen-configuration",
            "/.well-known/authzen-configuration/{path}",
        ],
        Endpoint::Livez => &["/livez"],
        Endpoint::Readyz => &["/readyz"],
        Endpoint::Metrics => &["/metrics"],
        Endpoint::OpenApi => &["/openapi.json"],
    }
}

/// The tag and the summary.
pub(super) fn purpose(endpoint: Endpoint) -> (&'static str, &'static str) {
    match endpoint {
        Endpoint::Me => ("users", "Who the bearer is, and what they may do"),
        Endpoint::Check => ("users", "Whether the bearer has all of these permissions"),
        Endpoint::Nginx => (
            "proxies",
            "For nginx's auth_request, by any method: 200, 401 or 403",
        ),
        Endpoint::Traefik => ("proxies", "For Traefik's ForwardAuth, by any method"),
        Endpoint::Caddy => ("proxies", "For Caddy's forward_auth, by any method"),
        Endpoint::Envoy => ("proxies", "For Envoy's ext_authz, by any method"),
        Endpoint::Hasura => ("proxies", "For Hasura's auth hook: 200 or 401"),
        Endpoint::Evaluation => ("authzen", "May this subject do this to that resource?"),
        Endpoint::Evaluations => (
            "authzen",
            "Up to 1000 such questions, answered from one state of the database",
        ),
        Endpoint::SearchSubject => ("authzen", "Who may do this to that resource?"),
        Endpoint::SearchResource => ("authzen", "On which resources may this subject do that?"),
        Endpoint::SearchAction => ("authzen", "What may this subject do to that resource?"),
        Endpoint::Discovery => (
            "authzen",
            "Where these endpoints are, if authz.public_url says so",
        ),
        Endpoint::Livez => ("operation", "The process runs"),
        Endpoint::Readyz => ("operation", "Whether this server should be asked"),
        Endpoint::Metrics => ("operation", "What the process counts, as OpenMetrics text"),
        Endpoint::OpenApi => ("operation", "This document"),
    }
}

pub(super) fn parameters(endpoint: Endpoint, path: &str) -> Value {
    let mut names = Vec::new();
    match (endpoint, path.contains('{')) {
        (Endpoint::Discovery, true) => names.push("tenant"),
        (_, true) => names.push("path"),
        (_, false) => {}
    }
    match endpoint {
        Endpoint::Check => names.push("permission"),
        Endpoint::Nginx
        | Endpoint::Traefik
        | Endpoint::Caddy
        | Endpoint::Envoy
        | Endpoint::Hasura => names.push("require"),
        _ => {}
    }
    if endpoint.decides() {
        names.push("at-least");
    }
    if endpoint.is_counted() {
        names.push("request-id");
    }
    let references = names.into_iter().map(|name| reference("parameters", name));
    references.collect()
}

pub(super) fn security(endpoint: Endpoint, method: &str) -> Value {
    match endpoint {
        // The client's token is in the body.
        Endpoint::Hasura if method == "post" => json!([]),
        Endpoint::Evaluation
        | Endpoint::Evaluations
        | Endpoint::SearchSubject
        | Endpoint::SearchResource
        | Endpoint::SearchAction => json!([{ "caller": [] }]),
        _ if endpoint.decides() => json!([{ "bearer": [] }]),
        _ => json!([]),
    }
}

pub(super) fn body(schemas: &mut Schemas, endpoint: Endpoint, method: &str) -> Option<Value> {
    Some(match endpoint {
        Endpoint::Hasura if method == "post" => schemas.read::<Hook>(),
        Endpoint::Evaluation => schemas.read::<Evaluation>(),
        Endpoint::Evaluations => json!({
            "anyOf": [schemas.read::<Evaluations>(), schemas.read::<Evaluation>()],
        }),
        Endpoint::SearchSubject => schemas.read::<SubjectSearch>(),
        Endpoint::SearchResource => schemas.read::<ResourceSearch>(),
        Endpoint::SearchAction => schemas.read::<ActionSearch>(),
        _ => return None,
    })
}

/// Whether a request to it can end in this.
pub(super) fn can_end_in(endpoint: Endpoint, refusal: &Refusal) -> bool {
    let is_authzen = matches!(
        endpoint,
        Endpoint::Evaluation
            | Endpoint::Evaluations
            | Endpoint::SearchSubject
            | Endpoint::SearchResource
            | Endpoint::SearchAction
    );
    let is_hasura = endpoint == Endpoint::Hasura;
    match refusal {
        Refusal::TimedOut => endpoint.is_counted(),
        Refusal::TokenMissing
        | Refusal::InvalidRequest(_)
        | Refusal::Token(_)
        | Refusal::Denied(_)
        | Refusal::Directory(_)
        | Refusal::RevisionUnknown
        | Refusal::RevisionNotReached => endpoint.decides(),
        Refusal::InsufficientScope { .. } => {
            endpoint.decides() && !is_authzen && endpoint != Endpoint::Me
        }
        Refusal::RoleMissing | Refusal::BadRequest => is_hasura,
        Refusal::Body(BodyError::TooLarge(_) | BodyError::TooSlow | BodyError::Broken) => {
            is_authzen || is_hasura
        }
        Refusal::Malformed(_) | Refusal::CallerNotAllowed => is_authzen,
        Refusal::NoPublicUrl | Refusal::NotFound => endpoint == Endpoint::Discovery,
        // Of a method that is not listed.
        Refusal::MethodNotAllowed => false,
    }
}

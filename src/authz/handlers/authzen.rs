//! `/access/v1/…`: the Authorization API of `OpenID` `AuthZEN`. What its requests share is here: who asks is known before the
//! body is looked at, every error is a line of text, and the request id comes back as it was sent.

mod discovery;
mod evaluation;
mod search;

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use warp::{
    Filter,
    filters::BoxedFilter,
    http::{HeaderMap, HeaderValue, Method, Response, header},
};

use super::answer::answer_as;
use crate::{
    authz::{Authz, authzen::callers::Right, rejection::Refusal},
    http::{BodyError, MAX_BODY, body, first_of},
};

/// The endpoints that are asked with POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Evaluation,
    Evaluations,
    SearchSubject,
    SearchResource,
    SearchAction,
}

impl Endpoint {
    /// As it stands in the address, in logs and in metrics.
    const fn path(self) -> &'static str {
        match self {
            Self::Evaluation => "/access/v1/evaluation",
            Self::Evaluations => "/access/v1/evaluations",
            Self::SearchSubject => "/access/v1/search/subject",
            Self::SearchResource => "/access/v1/search/resource",
            Self::SearchAction => "/access/v1/search/action",
        }
    }

    const fn right(self) -> Right {
        match self {
            Self::Evaluation | Self::Evaluations => Right::Evaluate,
            Self::SearchSubject | Self::SearchResource | Self::SearchAction => Right::Search,
        }
    }
}

/// All of them.
pub(super) fn routes(authz: Arc<Authz>) -> BoxedFilter<(Response<String>,)> {
    let endpoint = warp::path!("evaluation")
        .map(|| Endpoint::Evaluation)
        .or(warp::path!("evaluations").map(|| Endpoint::Evaluations))
        .unify()
        .or(warp::path!("search" / "subject").map(|| Endpoint::SearchSubject))
        .unify()
        .or(warp::path!("search" / "resource").map(|| Endpoint::SearchResource))
        .unify()
        .or(warp::path!("search" / "action").map(|| Endpoint::SearchAction))
        .unify()
        .boxed();
    let state = warp::any().map(move || authz.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let asked = warp::path!("access" / "v1" / ..)
        .and(endpoint)
        .and(state.clone())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(query)
        .and(body(MAX_BODY))
        .then(ask);
    let discovered = warp::path!(".well-known" / "authzen-configuration" / ..)
        .and(warp::path::tail())
        .and(warp::get().or(warp::head()).unify())
        .and(state)
        .and(warp::header::headers_cloned())
        .then(discovery::configuration);
    first_of([asked.boxed(), discovered.boxed()])
}

async fn ask(
    endpoint: Endpoint,
    authz: Arc<Authz>,
    method: Method,
    headers: HeaderMap,
    query: String,
    body: Result<Bytes, BodyError>,
) -> Response<String> {
    answer_as(&authz, endpoint.path(), &headers, line, async {
        if method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let asker = authz.asker(&headers, &query, endpoint.right()).await?;
        is_json(&headers)?;
        let body = body?;
        match endpoint {
            Endpoint::Evaluation => evaluation::one(&authz, &asker, &body).await,
            Endpoint::Evaluations => evaluation::many(&authz, &asker, &body).await,
            Endpoint::SearchSubject => search::subject(&authz, &asker, &body).await,
            Endpoint::SearchResource => search::resource(&authz, &asker, &body).await,
            Endpoint::SearchAction => search::action(&authz, &asker, &body).await,
        }
    })
    .await
}

/// A refusal in the standard's form: the status, and a line for people.
fn line(refusal: &Refusal, _request_id: &str) -> Response<String> {
    let mut response = refusal.problem().into_line();
    if matches!(refusal, Refusal::MethodNotAllowed) {
        let allowed = HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json"));
    if named {
        Ok(())
    } else {
        Err(Refusal::Malformed(
            "`Content-Type` must be application/json",
        ))
    }
}

/// The body as what it should be: an object. Its parts are judged by whoever uses them.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // Lists would do for structs, by position.
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    begins
        .filter(|byte| **byte == b'{')
        .and_then(|_| serde_json::from_slice(body).ok())
        .ok_or(Refusal::Malformed("the body must be one JSON object"))
}

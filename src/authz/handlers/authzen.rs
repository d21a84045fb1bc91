//! `/access/v1/…`: the Authorization API of `OpenID` `AuthZEN`. What its requests share is here: who asks is known before the
//! body is looked at, every error is a line of text, and the request id comes back as it was sent.

pub(in crate::authz) mod discovery;
mod evaluation;
mod search;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use warp::http::{HeaderMap, HeaderValue, Method, Response, header};

use super::{answer::answer_as, object};
use crate::{
    authz::{Authz, authzen::callers::Right, endpoint::Endpoint, rejection::Refusal, trail::Trail},
    http::Unread,
};

/// What a caller must be allowed to.
fn right(endpoint: Endpoint) -> Right {
    match endpoint {
        Endpoint::SearchSubject | Endpoint::SearchResource | Endpoint::SearchAction => {
            Right::Search
        }
        _ => Right::Evaluate,
    }
}

pub(super) async fn ask(
    endpoint: Endpoint,
    authz: Arc<Authz>,
    method: Method,
    headers: HeaderMap,
    query: String,
    body: Unread,
) -> Response<String> {
    let trail = Trail::begin(&authz, endpoint, &headers);
    answer_as(&trail, line, async {
        if method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let asker = authz
            .asker(&headers, &query, right(endpoint), &trail)
            .await?;
        is_json(&headers)?;
        let body = body.read().await?;
        match endpoint {
            Endpoint::Evaluation => evaluation::one(&trail, &asker, &body).await,
            Endpoint::Evaluations => evaluation::many(&trail, &asker, &body).await,
            Endpoint::SearchSubject => search::subject(&trail, &asker, &body).await,
            Endpoint::SearchResource => search::resource(&trail, &asker, &body).await,
            Endpoint::SearchAction => search::action(&trail, &asker, &body).await,
            _ => Err(Refusal::NotFound),
        }
    })
    .await
}

/// A refusal in the standard's form: the status, and a line for people.
pub(in crate::authz) fn line(refusal: &Refusal, _request_id: &str) -> Response<String> {
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
    object(body).ok_or(Refusal::Malformed("the body must be one JSON object"))
}

//! What every answer about a user shares: it has an id, is counted and, if it is a refusal or drawn by lot, logged; and it is
//! one caller's own.

use std::{future::Future, time::Duration};

use serde::Serialize;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::authz::{rejection::Refusal, trail::Trail};

/// From the end of a request to its answer. Each wait inside has a shorter deadline of its own; this bounds their sum.
const DEADLINE: Duration = Duration::from_secs(5);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// As in the decision log.
const DECISION_ID: HeaderName = HeaderName::from_static("x-roster-decision-id");

/// Counts, logs and writes what `work` ends in, after [`DEADLINE`] at the latest. A refusal is a problem.
pub(super) async fn answer(
    trail: &Trail<'_>,
    work: impl Future<Output = Result<Response<String>, Refusal>>,
) -> Response<String> {
    let problem = |refusal: &Refusal, id: &str| refusal.problem().into_response(id);
    answer_as(trail, problem, work).await
}

/// As [`answer`], with refusals in another form.
pub(super) async fn answer_as(
    trail: &Trail<'_>,
    refused: impl Fn(&Refusal, &str) -> Response<String>,
    work: impl Future<Output = Result<Response<String>, Refusal>>,
) -> Response<String> {
    let timed = tokio::time::timeout(DEADLINE, work).await;
    let outcome = timed.unwrap_or(Err(Refusal::TimedOut));
    let decision_id = trail.id.to_string();
    let request_id = fit(trail.headers).unwrap_or(&decision_id);
    let (response, refusal) = match outcome {
        Ok(response) => (response, None),
        Err(refusal) => (refused(&refusal, request_id), Some(refusal)),
    };
    trail.ended(request_id, response.status().as_u16(), refusal.as_ref());
    let mut response = private(response, request_id);
    let headers = response.headers_mut();
    if let Some(sent) = trail.headers.get(REQUEST_ID) {
        // Unchanged, also where it is not fit for the log.
        headers.insert(REQUEST_ID, sent.clone());
    }
    if trail.endpoint.decides()
        && let Ok(id) = HeaderValue::try_from(decision_id)
    {
        headers.insert(DECISION_ID, id);
    }
    if trail.authz.is_leaving() {
        // Who keeps connections learns of it before this one is closed between two of their requests.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The caller's `X-Request-ID`, if it is fit to be logged.
fn fit(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
}

/// Marks an answer as one caller's own, to this request.
pub(super) fn private(response: Response<String>, request_id: &str) -> Response<String> {
    let mut response = unkept(response);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Marks an answer as nobody's to keep: it is of now, and of who asked.
pub(super) fn unkept(mut response: Response<String>) -> Response<String> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    response
}

/// A body of JSON.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response<String> {
    let text = serde_json::to_string(body).expect("maps with text keys always serialize");
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

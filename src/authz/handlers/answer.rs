//! What every answer about a user shares: it is counted, logged if it is a refusal, and one caller's own.

use std::{
    future::Future,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use serde::Serialize;
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::authz::{Authz, rejection::Refusal};

/// From the end of a request to its answer. Each wait inside has a shorter deadline of its own; this bounds their sum.
const DEADLINE: Duration = Duration::from_secs(5);

/// Counts, logs and writes what `work` ends in, after [`DEADLINE`] at the latest. A refusal is a problem.
pub(super) async fn answer(
    authz: &Authz,
    endpoint: &'static str,
    headers: &HeaderMap,
    work: impl Future<Output = Result<Response<String>, Refusal>>,
) -> Response<String> {
    let problem = |refusal: &Refusal, id: &str| refusal.problem().into_response(id);
    answer_as(authz, endpoint, headers, problem, work).await
}

/// As [`answer`], with refusals in another form.
pub(super) async fn answer_as(
    authz: &Authz,
    endpoint: &'static str,
    headers: &HeaderMap,
    refused: impl Fn(&Refusal, &str) -> Response<String>,
    work: impl Future<Output = Result<Response<String>, Refusal>>,
) -> Response<String> {
    let started = Instant::now();
    let request_id = request_id(headers);
    let timed = tokio::time::timeout(DEADLINE, work).await;
    let outcome = timed.unwrap_or(Err(Refusal::TimedOut));
    let code = outcome.as_ref().map_or_else(Refusal::code, |_| "ok");
    authz.counts.answered(endpoint, code, started.elapsed());
    let response = match outcome {
        Ok(response) => response,
        Err(refusal) => {
            log(endpoint, &request_id, headers, &refusal);
            refused(&refusal, &request_id)
        }
    };
    let mut response = private(response, &request_id);
    if let Some(sent) = headers.get("x-request-id") {
        // Unchanged, also where it is not fit for the log.
        response.headers_mut().insert("x-request-id", sent.clone());
    }
    response
}

fn log(endpoint: &str, request_id: &str, headers: &HeaderMap, refusal: &Refusal) {
    let token = fingerprint(headers);
    match refusal {
        Refusal::Directory(error) => tracing::error!(
            request.id = request_id,
            endpoint,
            error = error as &dyn std::error::Error,
            "a request could not be answered"
        ),
        _ => tracing::info!(
            request.id = request_id,
            endpoint,
            token.fingerprint = %token,
            code = refusal.code(),
            "a request was refused: {refusal}"
        ),
    }
}

/// Eight digits that tell one token from another in the log, without being of use to whoever reads them there.
fn fingerprint(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return "none".to_owned();
    };
    let token = value.as_bytes().rsplit(|byte| *byte == b' ').next();
    let hash = digest::digest(&digest::SHA256, token.unwrap_or_default());
    hash.as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The caller's `X-Request-ID`, if it is fit to be logged; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| new_id().to_string(), str::to_owned)
}

/// One that no other request has: drawn at the start, counted on from there, so that no request waits for the system's lot.
pub(super) fn new_id() -> Uuid {
    static FIRST: LazyLock<u128> = LazyLock::new(|| Uuid::new_v4().as_u128());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    uuid::Builder::from_random_bytes(FIRST.wrapping_add(count.into()).to_be_bytes()).into_uuid()
}

/// Marks an answer as one caller's own, to this request.
pub(super) fn private(response: Response<String>, request_id: &str) -> Response<String> {
    let mut response = unkept(response);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
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

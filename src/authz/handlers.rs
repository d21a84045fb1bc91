//! The endpoints: filters that route, handlers that answer.

use std::{convert::Infallible, future::Future, sync::Arc, time::Instant};

use aws_lc_rs::digest;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use warp::{
    Filter, Rejection, Reply,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};

use super::{Authz, rejection::Refusal};
use crate::{
    db::directory,
    telemetry::OPENMETRICS,
    user::{Auth0UserId, UserKey},
};

/// Every endpoint, and an answer for everything else.
pub fn routes(
    authz: Arc<Authz>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    endpoints(authz).recover(recover)
}

/// The endpoints alone, to be joined with another face on the same socket before [`recover`].
pub fn endpoints(
    authz: Arc<Authz>,
) -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    let state = warp::any().map(move || authz.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let read = warp::get().or(warp::head()).unify();

    let me = warp::path!("v1" / "me")
        .and(read)
        .and(state.clone())
        .and(warp::header::headers_cloned())
        .and(query)
        .then(me);
    let livez = warp::path!("livez").and(read).map(livez);
    let readyz = warp::path!("readyz")
        .and(read)
        .and(state.clone())
        .then(readyz);
    let metrics = warp::path!("metrics").and(read).and(state).map(metrics);

    me.or(livez).unify().or(readyz).unify().or(metrics).unify()
}

/// Answers what no endpoint took, as a problem.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<impl Reply, Infallible> {
    let request_id = Uuid::new_v4().to_string();
    let refusal = Refusal::from(&rejection);
    let mut response = refusal.problem().into_response(&request_id);
    if matches!(refusal, Refusal::MethodNotAllowed) {
        // RFC 9110 section 15.5.6 requires it; every endpoint so far is only read.
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(private(response, &request_id))
}

/// `GET /v1/me`: the user whom the token belongs to.
async fn me(authz: Arc<Authz>, headers: HeaderMap, query: String) -> Response<String> {
    #[derive(Serialize)]
    struct Me {
        user: MeUser,
        revision: String,
    }
    #[derive(Serialize)]
    struct MeUser {
        key: UserKey,
        email: Option<String>,
        name: Option<String>,
        role: Option<String>,
        permissions: Vec<String>,
        auth0_user_id: Auth0UserId,
    }

    answer(&authz, "/v1/me", &headers, async {
        let claims = authz.authenticate(&headers, &query).await?;
        authz.await_revision(&headers).await?;
        let known = authz.identify(&claims).await?;
        Ok(Me {
            user: MeUser {
                key: known.user.key,
                email: known.user.email,
                name: known.user.name,
                role: known.user.role,
                permissions: known.user.permissions,
                auth0_user_id: known.user.auth0_user_id,
            },
            revision: known.revision,
        })
    })
    .await
}

/// Counts, logs and writes what `work` ends in.
async fn answer<T: Serialize>(
    authz: &Authz,
    endpoint: &'static str,
    headers: &HeaderMap,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Response<String> {
    let started = Instant::now();
    let request_id = request_id(headers);
    let outcome = work.await;
    let code = outcome.as_ref().map_or_else(Refusal::code, |_| "ok");
    authz.counts.answered(endpoint, code, started.elapsed());
    let response = match outcome {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(refusal) => {
            log(endpoint, &request_id, headers, &refusal);
            refusal.problem().into_response(&request_id)
        }
    };
    private(response, &request_id)
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

/// The caller's `X-Request-ID`, if it is fit to be logged and sent back; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Marks an answer as one caller's own: nobody in between may keep it.
fn private(mut response: Response<String>, request_id: &str) -> Response<String> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    response
}

/// `GET /livez`: the process runs. It looks at nothing, so that an outage elsewhere never restarts it.
fn livez() -> Response<String> {
    uncached(json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// `GET /readyz`: requests can be answered now.
async fn readyz(authz: Arc<Authz>) -> Response<String> {
    let database = directory::ping(&authz.pool).await;
    let keys = authz.keys.health();
    let ready = database.is_ok() && keys.usable;
    let (status, word) = if ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let body = json!({
        "status": word,
        "checks": {
            "database": { "ok": database.is_ok(), "error": database.err().map(|e| e.to_string()) },
            "keys": { "ok": keys.usable, "age_seconds": keys.age.map(|age| age.as_secs()) },
        },
    });
    uncached(json_response(status, &body))
}

/// `GET /metrics`: everything the process counts, in the `OpenMetrics` text format.
fn metrics(authz: Arc<Authz>) -> Response<String> {
    let Ok(text) = authz.metrics.encode() else {
        let mut response = Response::new("the metrics could not be written".to_owned());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    let mut response = Response::new(text);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    uncached(response)
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response<String> {
    let text = serde_json::to_string(body).expect("maps with text keys always serialize");
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn uncached(mut response: Response<String>) -> Response<String> {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

//! For whoever runs the server: does it live, should it be asked, what has it done.

use std::sync::Arc;

use serde_json::json;
use warp::http::{HeaderValue, Response, StatusCode, header};

use super::answer::{json_response, unkept};
use crate::{authz::Authz, db::directory, telemetry::OPENMETRICS};

/// `GET /livez`: the process runs. It looks at nothing, so that an outage elsewhere never restarts it.
pub(super) fn livez() -> Response<String> {
    unkept(json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// `GET /readyz`: requests can be answered now.
pub(super) async fn readyz(authz: Arc<Authz>) -> Response<String> {
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
    unkept(json_response(status, &body))
}

/// `GET /metrics`: everything the process counts, in the `OpenMetrics` text format.
pub(super) fn metrics(authz: Arc<Authz>) -> Response<String> {
    authz.stand();
    let Ok(text) = authz.metrics.encode() else {
        let mut response = Response::new("the metrics could not be written".to_owned());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return unkept(response);
    };
    let mut response = Response::new(text);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    unkept(response)
}

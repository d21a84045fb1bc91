//! For whoever runs the server: does it live, should it be asked, what has it done, what can be asked.

use std::sync::{Arc, LazyLock};

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{HeaderValue, Response, StatusCode, header};

use super::answer::{json_response, unkept};
use crate::{
    authz::{Authz, openapi},
    db::directory,
    telemetry::OPENMETRICS,
};

/// The process runs.
#[derive(Serialize, JsonSchema)]
pub(in crate::authz) struct Liveness {
    status: Alive,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Alive {
    Ok,
}

/// Whether this server should be asked, and what speaks against it.
#[derive(Serialize, JsonSchema)]
pub(in crate::authz) struct Readiness {
    status: Ready,
    checks: Checks,
}

#[derive(Serialize, JsonSchema)]
enum Ready {
    #[serde(rename = "ready")]
    Ready,
    #[serde(rename = "not ready")]
    NotReady,
}

/// Those that are not `ok` are why the server is not ready; but memory, and the database while old answers are allowed, may be
/// missing.
#[derive(Serialize, JsonSchema)]
struct Checks {
    database: DatabaseCheck,
    keys: KeysCheck,
    memory: Option<MemoryCheck>,
    stop: StopCheck,
}

/// The database can be asked.
#[derive(Serialize, JsonSchema)]
struct DatabaseCheck {
    ok: bool,
    error: Option<String>,
}

/// The issuer's keys were read, and not too long ago.
#[derive(Serialize, JsonSchema)]
struct KeysCheck {
    ok: bool,
    age_seconds: Option<u64>,
}

/// Look-ups are answered from memory. Where they are not, each asks the database.
#[derive(Serialize, JsonSchema)]
struct MemoryCheck {
    ok: bool,
    users: usize,
    age_seconds: Option<f64>,
    canary_age_seconds: Option<f64>,
    /// Why the database is asked instead.
    reads_through: Option<&'static str>,
    /// What it holds may be told while the database cannot be asked (`authz.max_stale`).
    tells_old: bool,
}

/// The server was not asked to stop.
#[derive(Serialize, JsonSchema)]
struct StopCheck {
    ok: bool,
}

/// `GET /livez`: the process runs. It looks at nothing, so that an outage elsewhere never restarts it.
pub(super) fn livez() -> Response<String> {
    unkept(json_response(
        StatusCode::OK,
        &Liveness { status: Alive::Ok },
    ))
}

/// `GET /readyz`: requests can be answered now, and will be.
pub(super) async fn readyz(authz: Arc<Authz>) -> Response<String> {
    let database = directory::ping(&authz.pool).await;
    let (keys, memory) = (authz.keys.health(), authz.standing());
    let is_leaving = authz.is_leaving();
    let knows = database.is_ok() || memory.is_some_and(|memory| memory.tells_old);
    let (status, word) = if knows && keys.usable && !is_leaving {
        (StatusCode::OK, Ready::Ready)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Ready::NotReady)
    };
    let body = Readiness {
        status: word,
        checks: Checks {
            database: DatabaseCheck {
                ok: database.is_ok(),
                error: database.err().map(|error| error.to_string()),
            },
            keys: KeysCheck {
                ok: keys.usable,
                age_seconds: keys.age.map(|age| age.as_secs()),
            },
            memory: memory.map(|memory| MemoryCheck {
                ok: memory.reads_through.is_none(),
                users: memory.users,
                age_seconds: memory.age.map(|age| age.as_secs_f64()),
                canary_age_seconds: memory.canary_age.map(|age| age.as_secs_f64()),
                reads_through: memory.reads_through.map(|reason| reason.as_str()),
                tells_old: memory.tells_old,
            }),
            stop: StopCheck { ok: !is_leaving },
        },
    };
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

/// `GET /openapi.json`: what can be asked here, and what the answers are.
pub(super) fn openapi() -> Response<String> {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
    let mut response = Response::new(DOCUMENT.clone());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    unkept(response)
}

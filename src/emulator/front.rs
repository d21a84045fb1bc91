//! The front door every request passes: faults strike here, and the log is written here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use warp::{
    filters::BoxedFilter,
    http::{HeaderName, HeaderValue, StatusCode},
    reply::Response,
};

use super::{
    errors::{ApiError, json_response},
    faults::{Fault, FaultKind},
    jobs,
    requests::{Record, template},
    tenant::Tenant,
};

/// The largest request body, in bytes (docs: the Management API's payload limit). The control face may be sent more.
const MAX_BODY: usize = 1024 * 1024;
/// The largest import (docs: 500 KB, and the refusal says the number).
const MAX_IMPORT: usize = 512_000;
const MAX_CONTROL_BODY: usize = 256 * 1024 * 1024;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut on purpose")]
pub(super) struct Cut;

/// Answers one request, or cuts its connection.
pub(super) async fn answer(
    tenant: Arc<Tenant>,
    routes: BoxedFilter<(Response,)>,
    request: Request<Incoming>,
) -> Result<Response, Cut> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_control = path.starts_with("/_emulator/");
    let limit = match &*path {
        _ if is_control => MAX_CONTROL_BODY,
        "/api/v2/jobs/users-imports" => MAX_IMPORT,
        _ => MAX_BODY,
    };
    let body: Bytes = match Limited::new(body, limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(too_large(limit)),
    };
    let request = Request::from_parts(parts, Full::new(body.clone()));
    jobs::settle(&tenant).await;
    if is_control {
        return Ok(route(&routes, request).await);
    }

    let record = Record {
        at: tenant.clock.now(),
        method: request.method().to_string(),
        template: template(&path),
        body: Record::keep(&path, &body),
        size: body.len(),
        path,
        status: None,
        duration_us: 0,
    };
    let fault = tenant
        .faults
        .strike(&record.method, &record.template, &record.path);
    match fault {
        None => logged(tenant, record, async { Ok(route(&routes, request).await) }).await,
        // A task of its own, since a client that gives up must not undo what Auth0 would have done by then.
        Some(fault) => {
            let work = async move { logged(tenant, record, strike(fault, &routes, request)).await };
            tokio::spawn(work).await.unwrap_or(Err(Cut))
        }
    }
}

/// Does the work and writes it down.
async fn logged(
    tenant: Arc<Tenant>,
    mut record: Record,
    work: impl Future<Output = Result<Response, Cut>>,
) -> Result<Response, Cut> {
    let started = Instant::now();
    let result = work.await;
    record.status = result.as_ref().ok().map(Response::status);
    record.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tenant.requests.add(record);
    result
}

async fn strike(
    fault: Fault,
    routes: &BoxedFilter<(Response,)>,
    request: Request<Full<Bytes>>,
) -> Result<Response, Cut> {
    let delay = Duration::from_millis(fault.delay_ms.unwrap_or(0));
    if fault.kind != FaultKind::DelayAnswer {
        tokio::time::sleep(delay).await;
    }
    match fault.kind {
        FaultKind::Delay => Ok(route(routes, request).await),
        FaultKind::DelayAnswer => {
            let response = route(routes, request).await;
            tokio::time::sleep(delay).await;
            Ok(response)
        }
        FaultKind::Status => Ok(faulty(&fault)),
        FaultKind::CutBefore => Err(Cut),
        FaultKind::CutAfter => {
            route(routes, request).await;
            Err(Cut)
        }
    }
}

async fn route(routes: &BoxedFilter<(Response,)>, request: Request<Full<Bytes>>) -> Response {
    let service = TowerToHyperService::new(warp::service(routes.clone()));
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn faulty(fault: &Fault) -> Response {
    let status = fault
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match &fault.body {
        Some(body) => json_response(status, body),
        None if status == StatusCode::TOO_MANY_REQUESTS => {
            ApiError::too_many_requests().into_response()
        }
        None => ApiError::new(status, None, "A fault that was asked for").into_response(),
    };
    for (name, value) in &fault.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn too_large(limit: usize) -> Response {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        None,
        format!("Payload content length greater than maximum allowed: {limit}"),
    )
    .into_response()
}

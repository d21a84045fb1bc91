//! The jobs part of the Management API: imports, exports, verification mails, and how they went.
//!
//! A request only writes a job down; [`settle`] does the work once the job is due, before the next request of any kind
//! is looked at. So a test needs no waiting: it moves the clock, or changes `jobs.duration_ms`, and asks. Exports alone
//! take as long as they take, one after the other, and are asked for until they are done.
//!
//! * Promised: an import is done in one go, so nobody sees half of it; a job is done once; data vanish after 24 hours.
//! * Accepted: only so many jobs are remembered (see [`queue`]); a request that comes in while an import is being done
//!   may still see the time before it.
//!
//! Facts: docs pages `bulk-user-imports`, `bulk-user-import-schema` and `bulk-user-exports`, Auth0's schema, recordings.

use std::sync::Arc;

use serde_json::Value;
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    errors::{ApiError, json_response},
    limits::Class,
    management::answer,
    tenant::Tenant,
};
use crate::http::first_of;

mod queue;

mod export;
mod import;
mod verification;

mod run;

mod file;
mod records;

mod download;

pub(super) use self::{queue::Jobs, run::settle};

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let with_tenant = {
        let tenant = tenant.clone();
        warp::any().map(move || tenant.clone())
    };
    let bearer = warp::header::optional::<String>("authorization");
    let read = warp::path!("api" / "v2" / "jobs" / String)
        .and(warp::get())
        .and(with_tenant.clone())
        .and(bearer)
        .map(read);
    let errors = warp::path!("api" / "v2" / "jobs" / String / "errors")
        .and(warp::get())
        .and(with_tenant)
        .and(bearer)
        .map(errors);
    first_of([
        read.boxed(),
        errors.boxed(),
        import::route(tenant),
        export::route(tenant),
        verification::route(tenant),
        download::route(tenant),
    ])
}

const MAY_READ: &[&str] = &["create:users", "read:users"];

fn read(id: String, tenant: Arc<Tenant>, bearer: Option<String>) -> Response {
    answer(&tenant, bearer.as_deref(), Class::Others, MAY_READ, |_| {
        let (options, now) = (tenant.options(), tenant.clock.now());
        let mut shown = tenant
            .jobs
            .shown(&id, &options, now)
            .ok_or_else(no_such_job)?;
        if tenant.jobs.has_file(&id) {
            shown["location"] = download::link(&tenant, &id).into();
        }
        Ok(json_response(StatusCode::OK, &shown))
    })
}

/// An array of the records that failed, the job itself if it failed as a whole, or 204 for neither.
fn errors(id: String, tenant: Arc<Tenant>, bearer: Option<String>) -> Response {
    answer(&tenant, bearer.as_deref(), Class::Others, MAY_READ, |_| {
        let (options, now) = (tenant.options(), tenant.clock.now());
        let errors = tenant.jobs.errors(&id, &options, now);
        match errors.ok_or_else(no_such_job)? {
            Value::Null => Ok(StatusCode::NO_CONTENT.into_response()),
            errors => {
                let mut response = json_response(StatusCode::OK, &errors);
                // Recorded: without a character set.
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                Ok(response)
            }
        }
    })
}

fn no_such_job() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, None, "The job does not exist")
}

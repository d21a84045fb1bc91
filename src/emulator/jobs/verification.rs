//! `POST /api/v2/jobs/verification-email`: mails a user a link that verifies the address, in its own time.

use std::sync::Arc;

use hyper::body::Bytes;
use warp::{Filter, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::queue::Work;
use crate::emulator::{
    errors::{ApiError, json_response},
    limits::Class,
    management::answer,
    rules::text,
    tenant::{SharedGuard, Tenant},
    ticket_requests::{has_identity, known_client},
    validate::{
        self,
        Form::{AnyObject, ClientId, Text, UserId},
        Schema,
    },
};

const VERIFICATION: Schema = &[
    ("user_id", UserId, false),
    ("client_id", ClientId, false),
    ("identity", AnyObject, false),
    ("organization_id", Text(1, 50), false),
];

/// The route of this part.
pub(super) fn route(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("api" / "v2" / "jobs" / "verification-email")
        .and(warp::post())
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::body::bytes())
        .map(move |bearer: Option<String>, body: Bytes| {
            answer(
                &tenant,
                bearer.as_deref(),
                Class::Others,
                &["update:users"],
                |_| create(&tenant, &body),
            )
        })
        .boxed()
}

fn create(tenant: &Tenant, body: &[u8]) -> Result<Response, ApiError> {
    let options = tenant.options();
    let body = validate::body(VERIFICATION, &["user_id"], body)?;
    known_client(&body, &options)?;
    let user_id = text(&body, "user_id").unwrap_or_default();
    let user = tenant.directory.read_guard().get(user_id).cloned();
    let user = user.ok_or_else(ApiError::no_such_user)?;
    has_identity(&body, &user)?;
    if !user.is_database_user() {
        return Err(refusal("Connection must be a database connection."));
    }
    if user.email.is_none() {
        return Err(refusal("User does not have an email address."));
    }
    let work = Work::VerificationMail(user.user_id.clone());
    let job = tenant.jobs.add(work, &options, tenant.clock.now());
    Ok(json_response(StatusCode::CREATED, &job))
}

fn refusal(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, None, message)
}

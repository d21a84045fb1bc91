//! Tickets of the Management API: `/api/v2/tickets/password-change` and `/api/v2/tickets/email-verification`.
//!
//! Facts: Auth0's Management API schema (`ChangePasswordTicketRequestContent`, `VerifyEmailTicketRequestContent`) and
//! recorded answers. There are no organizations, so naming one is refused. What the links open is in [`super::mailed`].

use std::sync::Arc;

use hyper::body::Bytes;
use jiff::SignedDuration;
use serde_json::{Value, json};
use warp::{Filter, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::{
    errors::{ApiError, json_response},
    limits::Class,
    management::answer,
    options::Options,
    profile::User,
    rules::text,
    tenant::{SharedGuard, TICKET, Tenant},
    tickets::{Redirect, Ticket, TicketKind},
    validate::{
        self,
        Form::{AnyObject, ClientId, ConnectionId, Count, Email, Flag, Text, Url, UserId},
        Object, Schema, UNBOUNDED,
    },
};

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let password = warp::path!("api" / "v2" / "tickets" / "password-change");
    let verification = warp::path!("api" / "v2" / "tickets" / "email-verification");
    let kind = password
        .map(|| TicketKind::Password)
        .or(verification.map(|| TicketKind::Verification))
        .unify();
    let tenant = tenant.clone();
    kind.and(warp::post())
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::body::bytes())
        .map(move |kind, bearer: Option<String>, body: Bytes| {
            answer(
                &tenant,
                bearer.as_deref(),
                Class::Others,
                &["create:user_tickets"],
                |_| create(&tenant, kind, &body),
            )
        })
        .boxed()
}

const PASSWORD: Schema = &[
    ("user_id", UserId, false),
    ("email", Email, false),
    ("connection_id", ConnectionId, false),
    ("client_id", ClientId, false),
    ("organization_id", Text(1, 50), false),
    ("result_url", Url, false),
    ("ttl_sec", Count(0), false),
    ("mark_email_as_verified", Flag, false),
    ("includeEmailInRedirect", Flag, false),
    ("identity", AnyObject, false),
];

const VERIFICATION: Schema = &[
    ("user_id", UserId, false),
    ("client_id", ClientId, false),
    ("organization_id", Text(1, 50), false),
    ("result_url", Url, false),
    ("ttl_sec", Count(0), false),
    ("includeEmailInRedirect", Flag, false),
    ("identity", AnyObject, false),
];

const IDENTITY: Schema = &[
    ("user_id", Text(1, UNBOUNDED), false),
    ("provider", Text(1, UNBOUNDED), false),
    ("connection_id", ConnectionId, false),
];

fn create(tenant: &Tenant, kind: TicketKind, body: &[u8]) -> Result<Response, ApiError> {
    let options = tenant.options();
    let body = match kind {
        TicketKind::Password => {
            let body = validate::body(PASSWORD, &[], body)?;
            names_one_user(&body)?;
            not_together(&body, "result_url", "organization_id")?;
            body
        }
        TicketKind::Verification => {
            let body = validate::body(VERIFICATION, &["user_id"], body)?;
            not_together(&body, "result_url", "organization_id")?;
            not_together(&body, "result_url", "client_id")?;
            body
        }
    };
    known_client(&body, &options)?;
    let user = user(tenant, &body, &options)?;
    has_identity(&body, &user)?;
    if !user.is_database_user() {
        return Err(refusal(
            "The user's main connection does not support this operation.",
        ));
    }
    if user.email.is_none() {
        return Err(refusal("The user does not have an email address."));
    }

    let seconds = match body.get("ttl_sec").and_then(Value::as_u64) {
        None | Some(0) => TICKET,
        Some(seconds) => SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)),
    };
    let now = tenant.clock.now();
    let value = tenant.issue_ticket(Ticket {
        kind,
        user_id: user.user_id.clone(),
        expires_at: now.saturating_add(seconds).unwrap_or(jiff::Timestamp::MAX),
        mailed: false,
        verifies: flag(&body, "mark_email_as_verified"),
        redirect: redirect(&body, &options),
    });
    let page = match (kind, options.classic_login) {
        (TicketKind::Verification, _) => "u/email-verification",
        (TicketKind::Password, false) => "u/reset-password",
        (TicketKind::Password, true) => "lo/reset",
    };
    let ticket = format!("{}/{page}?ticket={value}#", tenant.base_url);
    Ok(json_response(
        StatusCode::CREATED,
        &json!({"ticket": ticket}),
    ))
}

/// A password ticket is for a `user_id`, or for an `email` of a `connection_id`.
fn names_one_user(body: &Object) -> Result<(), ApiError> {
    let named = ["user_id", "email", "connection_id"].map(|key| body.contains_key(key));
    match named {
        [true, false, false] | [false, true, true] => Ok(()),
        _ => Err(ApiError::invalid_body(
            "'Either user_id, or email and connection_id must be given'",
        )),
    }
}

fn not_together(body: &Object, one: &str, other: &str) -> Result<(), ApiError> {
    if body.contains_key(one) && body.contains_key(other) {
        return Err(ApiError::invalid_body(format_args!(
            "'{one} cannot be specified together with {other}'"
        )));
    }
    Ok(())
}

/// What a request refers to must be there: its client, and never an organization.
pub(super) fn known_client(body: &Object, options: &Options) -> Result<(), ApiError> {
    let clients = [&options.app.client_id, &options.m2m.client_id];
    if text(body, "client_id").is_some_and(|id| clients.iter().all(|client| *client != id)) {
        return Err(refusal("The client does not exist"));
    }
    if body.contains_key("organization_id") {
        return Err(refusal("The organization does not exist"));
    }
    Ok(())
}

/// The `identity` a request names, if it names one, must be one of the user's.
pub(super) fn has_identity(body: &Object, user: &User) -> Result<(), ApiError> {
    let Some(Value::Object(identity)) = body.get("identity") else {
        return Ok(());
    };
    validate::check(IDENTITY, identity)?;
    let (Some(id), Some(provider)) = (text(identity, "user_id"), text(identity, "provider")) else {
        return Err(ApiError::invalid_body(
            "'Missing required property: user_id or provider' on property identity",
        ));
    };
    let is_theirs = user
        .identities
        .iter()
        .any(|identity| identity.user_id == id && identity.provider == provider);
    match is_theirs {
        true => Ok(()),
        false => Err(refusal(
            "The user exists, but does not contain the given identity.",
        )),
    }
}

fn user(tenant: &Tenant, body: &Object, options: &Options) -> Result<Arc<User>, ApiError> {
    let directory = tenant.directory.read_guard();
    let user = match (text(body, "user_id"), text(body, "connection_id")) {
        (Some(user_id), _) => directory.get(user_id),
        (None, Some(id)) => {
            let connection = options
                .connection_named(id)
                .ok_or_else(|| refusal(format!("The connection with id {id} does not exist.")))?;
            let email = text(body, "email").unwrap_or_default().to_lowercase();
            directory.find(connection, &email)
        }
        (None, None) => None,
    };
    user.cloned().ok_or_else(ApiError::no_such_user)
}

/// With Classic Login a ticket leads to its `result_url`; Universal Login shows a page of its own.
fn redirect(body: &Object, options: &Options) -> Option<Redirect> {
    let url = url::Url::parse(text(body, "result_url")?).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    (options.classic_login && is_web).then(|| Redirect {
        url,
        tells_email: flag(body, "includeEmailInRedirect"),
    })
}

fn flag(body: &Object, key: &str) -> bool {
    body.get(key) == Some(&Value::Bool(true))
}

fn refusal(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, None, message)
}

//! What people do by mail: ask for a password mail, set the password through its link, verify an address.

use std::{collections::HashMap, sync::Arc};

use hyper::body::Bytes;
use serde_json::{Value, json};
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    errors::{OAuthError, json_response},
    journal::Event,
    limits::{Class, Verdict},
    mailbox::MailKind,
    pages,
    tenant::{SharedGuard, Tenant},
    tickets::{Redirect, Ticket, TicketKind},
};
use crate::http::first_of;

type Parameters = HashMap<String, String>;

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let with_tenant = {
        let tenant = tenant.clone();
        warp::any().map(move || tenant.clone())
    };
    let change_password = warp::path!("dbconnections" / "change_password")
        .and(warp::post())
        .and(with_tenant.clone())
        .and(warp::header::optional::<String>("content-type"))
        .and(warp::body::bytes())
        .map(|tenant: Arc<Tenant>, kind: Option<String>, body: Bytes| {
            change_password(&tenant, kind.as_deref(), &body)
        });
    let reset_page = warp::path!("u" / "reset-password")
        .or(warp::path!("lo" / "reset"))
        .unify();
    let reset_form = reset_page
        .and(warp::get())
        .and(with_tenant.clone())
        .and(warp::query::<Parameters>())
        .map(|tenant: Arc<Tenant>, query: Parameters| reset_form(&tenant, &query));
    let reset = reset_page
        .and(warp::post())
        .and(with_tenant.clone())
        .and(warp::query::<Parameters>())
        .and(warp::body::form::<Parameters>())
        .map(|tenant: Arc<Tenant>, query: Parameters, form: Parameters| {
            reset(&tenant, &query, &form)
        });
    let verify = warp::path!("u" / "email-verification")
        .and(warp::get())
        .and(with_tenant)
        .and(warp::query::<Parameters>())
        .map(|tenant: Arc<Tenant>, query: Parameters| verify(&tenant, &query));
    first_of([
        change_password.boxed(),
        reset_form.boxed(),
        reset.boxed(),
        verify.boxed(),
    ])
}

/// `POST /dbconnections/change_password`: 200 and a sentence whether or not there is such a user.
///
/// Auth0 counts calls per caller's IP and mail address; here all callers have one IP.
fn change_password(tenant: &Tenant, content_type: Option<&str>, body: &[u8]) -> Response {
    let parameters = match parameters(content_type, body) {
        Some(parameters) => parameters,
        None => {
            return OAuthError::invalid_request("The body is not a JSON object").into_response();
        }
    };
    let Some(email) = parameters.get("email").filter(|email| !email.is_empty()) else {
        return json_response(
            StatusCode::BAD_REQUEST,
            &json!({"error": "email is required"}),
        );
    };
    let Some(connection) = parameters.get("connection") else {
        return json_response(
            StatusCode::BAD_REQUEST,
            &json!({"error": "connection is required"}),
        );
    };
    let options = tenant.options();
    if *connection != options.connection {
        return OAuthError::invalid_request("connection not found").into_response();
    }
    let client_ids = [&options.app.client_id, &options.m2m.client_id];
    if parameters
        .get("client_id")
        .is_some_and(|id| !client_ids.contains(&id))
    {
        return OAuthError::invalid_request("unknown client").into_response();
    }

    let email = email.to_lowercase();
    let verdict = tenant.admit(Class::ChangePassword, &email);
    let mut response = match verdict {
        Verdict::Refused(_) => OAuthError::too_many_requests().into_response(),
        _ => {
            let user = tenant
                .directory
                .read_guard()
                .find(connection, &email)
                .cloned();
            if let Some(user) = user {
                tenant.mail(MailKind::ChangePassword, &user);
                tenant.note(Event::PasswordAsked, &user, None);
            }
            warp::reply::html("We've just sent you an email to reset your password.")
                .into_response()
        }
    };
    verdict.write(response.headers_mut(), &options.answers);
    response
}

fn parameters(content_type: Option<&str>, body: &[u8]) -> Option<Parameters> {
    if content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Some(url::form_urlencoded::parse(body).into_owned().collect());
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return None;
    };
    Some(
        object
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
            .collect(),
    )
}

fn reset_form(tenant: &Tenant, query: &Parameters) -> Response {
    match ticket(query).and_then(|ticket| tenant.ticket_holder(ticket, TicketKind::Password)) {
        Some(user) => pages::reset_password(user.email.as_deref().unwrap_or_default(), None),
        None => pages::message(StatusCode::GONE, "This link is no longer good", EXPIRED),
    }
}

fn reset(tenant: &Tenant, query: &Parameters, form: &Parameters) -> Response {
    let ticket = ticket(query).unwrap_or_default();
    let Some(user) = tenant.ticket_holder(ticket, TicketKind::Password) else {
        return pages::message(StatusCode::GONE, "This link is no longer good", EXPIRED);
    };
    let email = user.email.as_deref().unwrap_or_default();
    let password = form.get("password").map(String::as_str).unwrap_or_default();
    if form
        .get("re-enter-password")
        .is_some_and(|again| again != password)
    {
        return pages::reset_password(email, Some("The two passwords are not the same."));
    }
    match tenant.set_password(ticket, password) {
        Ok(Some(ticket)) => ended(
            &ticket,
            email,
            "Password changed",
            "You can now log in to the application with the new password.",
        ),
        Ok(None) => pages::message(StatusCode::GONE, "This link is no longer good", EXPIRED),
        Err(_) => pages::reset_password(
            email,
            Some("The password is too weak: eight characters at least, of three kinds."),
        ),
    }
}

fn verify(tenant: &Tenant, query: &Parameters) -> Response {
    let value = ticket(query).unwrap_or_default();
    let user = tenant.ticket_holder(value, TicketKind::Verification);
    match (user, tenant.verify_email(value)) {
        (Some(user), Some(ticket)) => {
            let email = user.email.as_deref().unwrap_or_default();
            ended(&ticket, email, "E-mail verified", "Thank you.")
        }
        _ => pages::message(StatusCode::GONE, "This link is no longer good", EXPIRED),
    }
}

const EXPIRED: &str = "A link works once, until it expires or a newer one takes its place.";

/// What people see in the end: the application, if the ticket leads there, else a page.
fn ended(ticket: &Ticket, email: &str, title: &str, text: &str) -> Response {
    let Some(Redirect { url, tells_email }) = &ticket.redirect else {
        return pages::message(StatusCode::OK, title, text);
    };
    let mut url = url.clone();
    url.query_pairs_mut()
        .extend_pairs([("success", "true"), ("message", text)])
        .extend_pairs(tells_email.then_some(("email", email)));
    match HeaderValue::from_str(url.as_str()) {
        Ok(location) => {
            let mut response = StatusCode::FOUND.into_response();
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => pages::message(StatusCode::OK, title, text),
    }
}

fn ticket(query: &Parameters) -> Option<&str> {
    query.get("ticket").map(String::as_str)
}

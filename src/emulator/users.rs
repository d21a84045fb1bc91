//! The users part of the Management API: `/api/v2/users`, `/api/v2/users/{id}` and `/api/v2/users-by-email`.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use warp::{Filter, Reply, filters::BoxedFilter, http::StatusCode, reply::Response};

use super::{
    errors::{ApiError, json_response},
    limits::Class,
    mailbox::MailKind,
    management::{UserId, answer},
    parameters::{Parameters, known, required},
    profile::User,
    search::{self, Query},
    tenant::{SharedGuard, Tenant},
    validate,
};
use crate::http::first_of;

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let with_tenant = {
        let tenant = tenant.clone();
        warp::any().map(move || tenant.clone())
    };
    let bearer = warp::header::optional::<String>("authorization");
    let users = warp::path!("api" / "v2" / "users");
    let user = warp::path!("api" / "v2" / "users" / UserId);
    let by_email = warp::path!("api" / "v2" / "users-by-email");
    let parameters = warp::query::<Parameters>();

    let update = user
        .and(warp::patch())
        .and(with_tenant.clone())
        .and(bearer)
        .and(warp::body::bytes())
        .map(update);
    let read = user
        .and(warp::get())
        .and(with_tenant.clone())
        .and(bearer)
        .and(parameters)
        .map(read);
    let delete = user
        .and(warp::delete())
        .and(with_tenant.clone())
        .and(bearer)
        .map(delete);
    let create = users
        .and(warp::post())
        .and(with_tenant.clone())
        .and(bearer)
        .and(warp::body::bytes())
        .map(create);
    let list = users
        .and(warp::get())
        .and(with_tenant.clone())
        .and(bearer)
        .and(parameters)
        .map(list);
    let by_email = by_email
        .and(warp::get())
        .and(with_tenant)
        .and(bearer)
        .and(parameters)
        .map(by_email_response);

    // The most frequent first: a filter that does not match costs a rejection.
    first_of([
        update.boxed(),
        read.boxed(),
        create.boxed(),
        delete.boxed(),
        by_email.boxed(),
        list.boxed(),
    ])
}

fn create(tenant: Arc<Tenant>, bearer: Option<String>, body: Bytes) -> Response {
    answer(
        &tenant,
        bearer.as_deref(),
        Class::WriteUsers,
        &["create:users"],
        |_| {
            let options = tenant.options();
            let body = validate::create(&body, &options.answers)?;
            let now = tenant.clock.now();
            let user = tenant
                .directory
                .write_guard()
                .create(&body, &options, now)?;
            // What is said decides; else an address that is not verified is asked about.
            let asked = body.get("verify_email").and_then(Value::as_bool);
            if asked.unwrap_or(!user.email_verified) {
                tenant.mail(MailKind::VerifyEmail, &user);
            }
            Ok(json_response(StatusCode::CREATED, &*user))
        },
    )
}

fn update(id: UserId, tenant: Arc<Tenant>, bearer: Option<String>, body: Bytes) -> Response {
    const SCOPES: &[&str] = &["update:users", "update:users_app_metadata"];
    answer(
        &tenant,
        bearer.as_deref(),
        Class::WriteUsers,
        SCOPES,
        |scopes| {
            let id = id.get()?;
            let options = tenant.options();
            let body = validate::patch(&body, &options.answers)?;
            let only_metadata = body.keys().all(|key| key == "app_metadata");
            if !scopes.has("update:users") && !only_metadata {
                return Err(ApiError::insufficient_scope(&["update:users"]));
            }
            if body.is_empty() {
                return Err(ApiError::invalid_body(
                    "'Too few properties defined (0), minimum 1'",
                ));
            }
            let now = tenant.clock.now();
            let user = tenant
                .directory
                .write_guard()
                .patch(id, &body, &options, now)?;
            if body.get("verify_email") == Some(&Value::Bool(true)) {
                tenant.mail(MailKind::VerifyEmail, &user);
            }
            if body.contains_key("password") || body.get("blocked") == Some(&Value::Bool(true)) {
                tenant.end_sessions(&user.user_id);
            }
            Ok(json_response(StatusCode::OK, &*user))
        },
    )
}

fn read(
    id: UserId,
    tenant: Arc<Tenant>,
    bearer: Option<String>,
    parameters: Parameters,
) -> Response {
    answer(
        &tenant,
        bearer.as_deref(),
        Class::ReadUsers,
        &["read:users"],
        |_| {
            let id = id.get()?;
            known(&parameters, &["fields", "include_fields"])?;
            let answers = &tenant.options().answers;
            let user = tenant.directory.read_guard().reached(id, answers).cloned();
            let user = user.ok_or_else(ApiError::no_such_user)?;
            Ok(json_response(StatusCode::OK, &shown(&user, &parameters)))
        },
    )
}

fn delete(id: UserId, tenant: Arc<Tenant>, bearer: Option<String>) -> Response {
    answer(
        &tenant,
        bearer.as_deref(),
        Class::DeleteUsers,
        &["delete:users"],
        |_| {
            // 204 whether or not there was one.
            tenant.delete_user(id.get()?);
            Ok(StatusCode::NO_CONTENT.into_response())
        },
    )
}

fn by_email_response(
    tenant: Arc<Tenant>,
    bearer: Option<String>,
    parameters: Parameters,
) -> Response {
    answer(
        &tenant,
        bearer.as_deref(),
        Class::ReadUsersByEmail,
        &["read:users"],
        |_| {
            known(&parameters, &["email", "fields", "include_fields"])?;
            let email = required(&parameters, "email")?;
            let users: Vec<Arc<User>> = tenant
                .directory
                .read_guard()
                .by_email(email)
                .cloned()
                .collect();
            let users: Vec<Value> = users.iter().map(|user| shown(user, &parameters)).collect();
            Ok(json_response(StatusCode::OK, &users))
        },
    )
}

fn list(tenant: Arc<Tenant>, bearer: Option<String>, parameters: Parameters) -> Response {
    const KNOWN: &[&str] = &[
        "q",
        "search_engine",
        "page",
        "per_page",
        "include_totals",
        "sort",
        "connection",
        "fields",
        "include_fields",
        "primary_order",
    ];
    answer(
        &tenant,
        bearer.as_deref(),
        Class::SearchUsers,
        &["read:users"],
        |_| {
            known(&parameters, KNOWN)?;
            let query = Query::read(&parameters)?;
            let now = tenant.clock.now();
            let found = search::run(&tenant.directory.read_guard(), &query, now);
            let users: Vec<Value> = found
                .users
                .iter()
                .map(|user| shown(user, &parameters))
                .collect();
            let body = match query.include_totals {
                true => json!({
                    "start": query.start(), "limit": query.per_page, "length": users.len(),
                    "users": users, "total": found.total,
                }),
                false => users.into(),
            };
            Ok(json_response(StatusCode::OK, &body))
        },
    )
}

/// The user with only, or without, the `fields` asked for.
fn shown(user: &User, parameters: &Parameters) -> Value {
    let value = json!(user);
    let Some(fields) = parameters.get("fields") else {
        return value;
    };
    let include = parameters.get("include_fields").map(String::as_str) != Some("false");
    let named = |key: &str| fields.split(',').any(|field| field.trim() == key);
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(key, _)| named(key) == include)
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

//! What creating and patching a user means, and what Auth0 refuses whoever else is there.
//!
//! Bodies come in checked by [`super::validate`]. Facts: docs pages `manage-metadata-api` and `block-and-unblock-users`,
//! and recorded answers.

use jiff::Timestamp;
use serde_json::Value;
use warp::http::StatusCode;

use super::{
    errors::ApiError,
    options::Options,
    passwords::{Password, is_strong},
    profile::{Identity, User, hex},
    validate::Object,
};

/// The connection of people who log in with Google.
pub(super) const GOOGLE: &str = "google-oauth2";

/// The user that `POST /users` asks for.
pub(super) fn new_user(body: &Object, options: &Options, now: Timestamp) -> Result<User, ApiError> {
    let connection = text(body, "connection").unwrap_or_default();
    if connection == GOOGLE {
        return Err(ApiError::bad_request(
            "operation_not_supported",
            "The connection does not support user creation through the API. It must either be a database or passwordless connection.",
        ));
    }
    if connection != options.connection {
        return Err(inexistent_connection());
    }
    usernames_allowed(body, options)?;
    let email = new_email(body).ok_or_else(|| required("email"))?;
    let password = text(body, "password").ok_or_else(|| required("password"))?;
    strong(password)?;

    let id = text(body, "user_id")
        .map(|id| match options.answers.user_id_prefix_doubled {
            true => id,
            false => id.strip_prefix("auth0|").unwrap_or(id),
        })
        .filter(|id| !id.is_empty())
        .map_or_else(|| hex(&rand::random::<[u8; 12]>()), str::to_owned);
    let identity = Identity {
        connection: connection.to_owned(),
        user_id: id,
        provider: "auth0".into(),
        is_social: false,
        profile_data: None,
    };
    let mut user = User::new(identity, now);
    user.email = Some(email);
    user.password = Some(Password::new(password));
    apply_plain(&mut user, body);
    apply_metadata(&mut user, body);
    user.fill_defaults();
    Ok(user)
}

/// Whether `PATCH /users/{id}` may do this to this user.
pub(super) fn may_patch(user: &User, body: &Object, options: &Options) -> Result<(), ApiError> {
    if text(body, "connection").is_some_and(|connection| !user.is_in(connection)) {
        return Err(inexistent_connection());
    }
    if !user.is_database_user() {
        may_patch_social(user, body, options)?;
    }
    usernames_allowed(body, options)?;
    match text(body, "password") {
        Some(password) => strong(password),
        None => Ok(()),
    }
}

/// Does what a body asks that [`may_patch`] has let through. A `blocked` beside a `password` wins over the unblocking.
pub(super) fn apply(user: &mut User, body: &Object, options: &Options, now: Timestamp) {
    if body.contains_key("email") {
        let email = new_email(body);
        if options.answers.email_change_unverifies && user.email != email {
            user.email_verified = false;
        }
        user.email = email;
    }
    if let Some(password) = text(body, "password") {
        user.password = Some(Password::new(password));
        user.last_password_reset = Some(now);
        lift_block(user);
    }
    apply_plain(user, body);
    apply_metadata(user, body);
}

/// The e-mail a body asks for, as the database connection stores it: in lower case.
pub(super) fn new_email(body: &Object) -> Option<String> {
    text(body, "email").map(str::to_lowercase)
}

/// Setting a password through the Management API lifts the administrator's block (docs: block-and-unblock-users).
pub(super) fn lift_block(user: &mut User) {
    if user.is_blocked() {
        user.blocked = Some(false);
    }
}

/// The refusal of a PATCH to somebody else's e-mail.
pub(super) fn email_exists(options: &Options) -> ApiError {
    ApiError::new(
        StatusCode::from_u16(options.answers.email_conflict_status)
            .unwrap_or(StatusCode::BAD_REQUEST),
        Some("auth0_idp_error"),
        "The specified new email already exists",
    )
}

/// The refusal of a PATCH to somebody else's username.
pub(super) fn username_exists() -> ApiError {
    ApiError::bad_request(
        "auth0_idp_error",
        "The specified new username already exists",
    )
}

pub(super) fn text<'a>(body: &'a Object, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str)
}

/// Fields that are simply set or, in a patch, unset by `null`.
pub(super) fn apply_plain(user: &mut User, body: &Object) {
    let unset_or_text = |key: &str, field: &mut Option<String>| {
        if let Some(value) = body.get(key) {
            *field = value.as_str().map(str::to_owned);
        }
    };
    unset_or_text("username", &mut user.username);
    unset_or_text("name", &mut user.name);
    unset_or_text("nickname", &mut user.nickname);
    unset_or_text("given_name", &mut user.given_name);
    unset_or_text("family_name", &mut user.family_name);
    unset_or_text("picture", &mut user.picture);
    unset_or_text("phone_number", &mut user.phone_number);
    if let Some(flag) = flag(body, "email_verified") {
        user.email_verified = flag;
    }
    user.blocked = flag(body, "blocked").or(user.blocked);
    user.phone_verified = flag(body, "phone_verified").or(user.phone_verified);
}

/// `app_metadata` vanishes when it is empty, `user_metadata` stays as `{}`: recorded so.
pub(super) fn apply_metadata(user: &mut User, body: &Object) {
    if let Some(Value::Object(change)) = body.get("app_metadata") {
        user.app_metadata =
            Some(merged(user.app_metadata.take(), change)).filter(|map| !map.is_empty());
    }
    if let Some(Value::Object(change)) = body.get("user_metadata") {
        user.user_metadata = Some(merged(user.user_metadata.take(), change));
    }
}

/// First-level merge: `null` removes a key, nested objects are replaced whole, and `{}` clears everything.
fn merged(current: Option<Object>, change: &Object) -> Object {
    let mut result = match change.is_empty() {
        true => Object::new(),
        false => current.unwrap_or_default(),
    };
    for (key, value) in change {
        if value.is_null() {
            result.remove(key);
        } else {
            result.insert(key.clone(), value.clone());
        }
    }
    result
}

/// A social user's profile is the provider's; metadata and the block are the tenant's.
fn may_patch_social(user: &User, body: &Object, options: &Options) -> Result<(), ApiError> {
    const OWNED_BY_THE_PROVIDER: &[&str] = &[
        "email",
        "email_verified",
        "username",
        "password",
        "verify_email",
    ];
    const SYNCED: &[&str] = &["name", "nickname", "given_name", "family_name", "picture"];
    let refused: Vec<&str> = body
        .keys()
        .map(String::as_str)
        .filter(|key| {
            OWNED_BY_THE_PROVIDER.contains(key)
                || (options.social_profile_sync && SYNCED.contains(key))
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let connection = user
        .identities
        .first()
        .map_or("", |identity| &identity.connection);
    Err(ApiError::bad_request(
        "operation_not_supported",
        format!(
            "The following user attributes cannot be updated: {}. The connection ({connection}) must either be a database connection or have disabled the sync of user profile attributes at each login.",
            refused.join(", "),
        ),
    ))
}

fn strong(password: &str) -> Result<(), ApiError> {
    if is_strong(password) {
        return Ok(());
    }
    Err(ApiError::weak_password())
}

fn required(key: &str) -> ApiError {
    ApiError::invalid_body(format_args!("'Missing required property: {key}'"))
}

fn inexistent_connection() -> ApiError {
    ApiError::bad_request("inexistent_connection", "The connection does not exist.")
}

fn usernames_allowed(body: &Object, options: &Options) -> Result<(), ApiError> {
    if options.requires_username || !body.contains_key("username") {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "invalid_body",
        "Cannot set username for connection without requires_username",
    ))
}

fn flag(body: &Object, key: &str) -> Option<bool> {
    body.get(key).and_then(Value::as_bool)
}

//! The bodies Auth0 answers errors with. There are two shapes: the Management API's and OAuth's.

use serde_json::{Value, json};
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

/// An error of the Management API: `{statusCode, error, message, errorCode?}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    message: String,
    code: Option<&'static str>,
    /// Whether `attributes.error` repeats the message, as it does when a token was sent but is no good.
    attributes: bool,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            message: message.into(),
            code,
            attributes: false,
        }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(code), message)
    }

    /// The body does not fit its schema; `what` goes between the quotes.
    pub(super) fn invalid_body(what: impl std::fmt::Display) -> Self {
        Self::bad_request("invalid_body", format!("Payload validation error: {what}."))
    }

    pub(super) fn missing_authentication() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "Missing authentication")
    }

    pub(super) fn bad_token(message: &str) -> Self {
        Self {
            attributes: true,
            ..Self::new(StatusCode::UNAUTHORIZED, None, message)
        }
    }

    pub(super) fn insufficient_scope(any_of: &[&str]) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Some("insufficient_scope"),
            format!("Insufficient scope, expected any of: {}", any_of.join(",")),
        )
    }

    pub(super) fn insufficient_scopes(all_of: &[&str]) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Some("insufficient_scope"),
            format!("Insufficient scope, expected all of: {}", all_of.join(",")),
        )
    }

    pub(super) fn no_such_user() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Some("inexistent_user"),
            "The user does not exist.",
        )
    }

    pub(super) fn user_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Some("auth0_idp_error"),
            "The user already exists.",
        )
    }

    pub(super) fn weak_password() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            None,
            "PasswordStrengthError: Password is too weak",
        )
    }

    pub(super) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Some("too_many_requests"),
            "Global limit has been reached",
        )
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "statusCode": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or("Error"),
            "message": self.message,
        });
        if let Some(code) = self.code {
            body["errorCode"] = code.into();
        }
        if self.attributes {
            body["attributes"] = json!({"error": self.message});
        }
        body
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body());
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error of the Authentication API: `{error, error_description}` (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OAuthError {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) description: String,
}

impl OAuthError {
    pub(super) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
        }
    }

    pub(super) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "Global limit has been reached",
        )
    }

    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(super) fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "invalid_grant", description)
    }

    /// A wrong secret, an unknown client and a wrong way to authenticate look the same in the field.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized")
    }

    pub(super) fn into_response(self) -> Response {
        json_response(
            self.status,
            &json!({"error": self.error, "error_description": self.description}),
        )
    }
}

/// `value` with `status`, as JSON that nobody may store.
pub(super) fn json_response(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let mut response = warp::reply::with_status(warp::reply::json(value), status).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

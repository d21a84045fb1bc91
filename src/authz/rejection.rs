//! Every way a request can be turned away, and the one place that says which HTTP answer that is.

use warp::{
    http::StatusCode,
    reject::{MethodNotAllowed, Rejection},
};

use super::{
    decision::Denial,
    problem::{Challenge, INSUFFICIENT_SCOPE, Problem},
    token::TokenError,
};
use crate::{
    db::directory::DirectoryError,
    http::{BodyError, MAX_BODY},
};

/// Why a request is not answered with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no bearer token was sent")]
    TokenMissing,
    #[error("the request is ambiguous: {0}")]
    InvalidRequest(&'static str),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("the user lacks a permission")]
    InsufficientScope {
        /// Everything that was asked for.
        required: Vec<String>,
        missing: Vec<String>,
    },
    #[error("the user has no role")]
    RoleMissing,
    #[error("the directory did not answer")]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Body(#[from] BodyError),
    /// What must be mended in it; never a value of it.
    #[error("{0}")]
    Malformed(&'static str),
    #[error("this caller may not ask that")]
    CallerNotAllowed,
    #[error("`authz.public_url` is not set, so this server does not say where it is")]
    NoPublicUrl,
    #[error("the request was not answered in time")]
    TimedOut,
    #[error("the revision asked for is none of this database")]
    RevisionUnknown,
    #[error("the revision asked for is not committed yet")]
    RevisionNotReached,
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this address does not take that method")]
    MethodNotAllowed,
    #[error("the request could not be read")]
    BadRequest,
}

impl Refusal {
    /// One of each kind, for `/openapi.json`.
    pub(super) fn every() -> Vec<Self> {
        let tokens = [
            TokenError::Malformed("…"),
            TokenError::Expired,
            TokenError::NotYetValid,
            TokenError::Issuer,
            TokenError::Audience,
            TokenError::Signature("…"),
            TokenError::KeyUnknown,
            TokenError::KeysUnavailable,
        ];
        let denials = [
            Denial::NotProvisioned,
            Denial::Blocked,
            Denial::EmailUnverified,
            Denial::Conflict,
        ];
        let bodies = [
            BodyError::TooLarge(MAX_BODY),
            BodyError::TooSlow,
            BodyError::Broken,
        ];
        let others = [
            Self::TokenMissing,
            Self::InvalidRequest("…"),
            Self::InsufficientScope {
                required: Vec::new(),
                missing: Vec::new(),
            },
            Self::RoleMissing,
            Self::Directory(DirectoryError::TimedOut),
            Self::Malformed("…"),
            Self::CallerNotAllowed,
            Self::NoPublicUrl,
            Self::TimedOut,
            Self::RevisionUnknown,
            Self::RevisionNotReached,
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::BadRequest,
        ];
        let tokens = tokens.into_iter().map(Self::from);
        let denials = denials.into_iter().map(Self::from);
        let bodies = bodies.into_iter().map(Self::from);
        tokens.chain(denials).chain(bodies).chain(others).collect()
    }

    /// The stable code that stands in answers, logs and metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::InvalidRequest(_) => "invalid_request",
            Self::Token(error) => error.code(),
            Self::Denied(denial) => denial.code(),
            Self::InsufficientScope { .. } => INSUFFICIENT_SCOPE,
            Self::RoleMissing => "role_missing",
            Self::Directory(_) => "database_unavailable",
            Self::Body(BodyError::TooLarge(_)) => "body_too_large",
            Self::Body(BodyError::TooSlow) => "body_too_slow",
            Self::Body(BodyError::Broken) => "bad_request",
            Self::Malformed(_) => "request_malformed",
            Self::CallerNotAllowed => "caller_not_allowed",
            Self::NoPublicUrl => "no_public_url",
            Self::TimedOut => "timed_out",
            Self::RevisionUnknown => "revision_unknown",
            Self::RevisionNotReached => "revision_not_reached",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadRequest => "bad_request",
        }
    }

    /// The answer for the caller.
    pub(super) fn problem(&self) -> Problem {
        let (status, challenge) = match self {
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, Challenge::Bare),
            Self::InvalidRequest(_) => {
                (StatusCode::BAD_REQUEST, Challenge::Error("invalid_request"))
            }
            Self::Token(TokenError::KeysUnavailable)
            | Self::Directory(_)
            | Self::TimedOut
            | Self::RevisionNotReached => (StatusCode::SERVICE_UNAVAILABLE, Challenge::None),
            Self::Token(_) => (StatusCode::UNAUTHORIZED, Challenge::Error("invalid_token")),
            Self::InsufficientScope { required, .. } => {
                (StatusCode::FORBIDDEN, Challenge::Scope(required.clone()))
            }
            Self::Denied(_) | Self::CallerNotAllowed | Self::RoleMissing => {
                (StatusCode::FORBIDDEN, Challenge::None)
            }
            Self::NotFound | Self::NoPublicUrl => (StatusCode::NOT_FOUND, Challenge::None),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, Challenge::None),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Challenge::None),
            Self::Body(BodyError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, Challenge::None),
            Self::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, Challenge::None),
            Self::RevisionUnknown | Self::BadRequest | Self::Body(BodyError::Broken) => {
                (StatusCode::BAD_REQUEST, Challenge::None)
            }
        };
        let missing = match self {
            Self::InsufficientScope { missing, .. } => Some(missing.clone()),
            _ => None,
        };
        Problem {
            status,
            code: self.code(),
            detail: self.to_string(),
            missing,
            challenge,
        }
    }
}

impl From<&Rejection> for Refusal {
    /// What warp could not route. The handlers reject nothing themselves.
    fn from(rejection: &Rejection) -> Self {
        if rejection.is_not_found() {
            Self::NotFound
        } else if rejection.find::<MethodNotAllowed>().is_some() {
            Self::MethodNotAllowed
        } else {
            Self::BadRequest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_challenges_follow_the_contract() {
        let table = [
            (Refusal::TokenMissing, 401, "token_missing", Challenge::Bare),
            (
                Refusal::InvalidRequest("x"),
                400,
                "invalid_request",
                Challenge::Error("invalid_request"),
            ),
            (
                TokenError::Expired.into(),
                401,
                "token_expired",
                Challenge::Error("invalid_token"),
            ),
            (
                TokenError::KeyUnknown.into(),
                401,
                "key_unknown",
                Challenge::Error("invalid_token"),
            ),
            (
                TokenError::KeysUnavailable.into(),
                503,
                "keys_unavailable",
                Challenge::None,
            ),
            (
                Denial::NotProvisioned.into(),
                403,
                "user_not_provisioned",
                Challenge::None,
            ),
            (Denial::Blocked.into(), 403, "user_blocked", Challenge::None),
            (
                Denial::EmailUnverified.into(),
                403,
                "email_unverified",
                Challenge::None,
            ),
            (
                Denial::Conflict.into(),
                403,
                "identity_conflict",
                Challenge::None,
            ),
            (
                Refusal::InsufficientScope {
                    required: vec!["a".into(), "b".into()],
                    missing: vec!["b".into()],
                },
                403,
                "insufficient_scope",
                Challenge::Scope(vec!["a".into(), "b".into()]),
            ),
            (Refusal::RoleMissing, 403, "role_missing", Challenge::None),
            (
                DirectoryError::TimedOut.into(),
                503,
                "database_unavailable",
                Challenge::None,
            ),
            (
                BodyError::TooLarge(9).into(),
                413,
                "body_too_large",
                Challenge::None,
            ),
            (
                BodyError::TooSlow.into(),
                408,
                "body_too_slow",
                Challenge::None,
            ),
            (
                BodyError::Broken.into(),
                400,
                "bad_request",
                Challenge::None,
            ),
            (Refusal::TimedOut, 503, "timed_out", Challenge::None),
            (
                Refusal::RevisionUnknown,
                400,
                "revision_unknown",
                Challenge::None,
            ),
            (
                Refusal::RevisionNotReached,
                503,
                "revision_not_reached",
                Challenge::None,
            ),
            (
                Refusal::Malformed("x"),
                400,
                "request_malformed",
                Challenge::None,
            ),
            (
                Refusal::CallerNotAllowed,
                403,
                "caller_not_allowed",
                Challenge::None,
            ),
            (Refusal::NoPublicUrl, 404, "no_public_url", Challenge::None),
            (Refusal::NotFound, 404, "not_found", Challenge::None),
            (
                Refusal::MethodNotAllowed,
                405,
                "method_not_allowed",
                Challenge::None,
            ),
        ];
        for (refusal, status, code, challenge) in table {
            let problem = refusal.problem();
            assert_eq!(
                (problem.status.as_u16(), problem.code, problem.challenge),
                (status, code, challenge)
            );
        }
    }
}

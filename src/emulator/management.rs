//! What every call of the Management API goes through: the token, its scope, the rate limit, the answer's headers.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    str::FromStr,
    sync::{Arc, RwLock},
};

use percent_encoding::percent_decode_str;
use serde_json::Value;
use warp::{http::StatusCode, reply::Response};

use super::{
    errors::ApiError,
    limits::{Class, Verdict},
    tenant::{SharedGuard, Tenant},
    validate::is_user_id,
    verify::{Problem, verified},
};

/// What a token may do.
#[derive(Debug)]
pub(super) struct Scopes(HashSet<String>);

impl Scopes {
    pub(super) fn has(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }
}

/// The scopes a call needs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs<'a> {
    Any(&'a [&'a str]),
    All(&'a [&'a str]),
}

impl<'a> Needs<'a> {
    /// Of the scopes the schema lists for writing roles, all or any: undocumented.
    pub(super) fn role_writes(tenant: &Tenant, scopes: &'a [&'a str]) -> Self {
        match tenant.options().answers.role_writes_need_all_scopes {
            true => Self::All(scopes),
            false => Self::Any(scopes),
        }
    }

    fn are_met(self, scopes: &Scopes) -> Result<(), ApiError> {
        match self {
            Self::Any(needed) if needed.iter().any(|scope| scopes.has(scope)) => Ok(()),
            Self::Any(needed) => Err(ApiError::insufficient_scope(needed)),
            Self::All(needed) if needed.iter().all(|scope| scopes.has(scope)) => Ok(()),
            Self::All(needed) => Err(ApiError::insufficient_scopes(needed)),
        }
    }
}

/// Answers one call: checks the token, that it has one of the scopes `any_of`, and the limit of `class`, then works.
pub(super) fn answer(
    tenant: &Tenant,
    authorization: Option<&str>,
    class: Class,
    any_of: &[&str],
    work: impl FnOnce(&Scopes) -> Result<Response, ApiError>,
) -> Response {
    answer_needing(tenant, authorization, class, Needs::Any(any_of), work)
}

/// As [`answer`], for calls that may need several scopes.
pub(super) fn answer_needing(
    tenant: &Tenant,
    authorization: Option<&str>,
    class: Class,
    needs: Needs<'_>,
    work: impl FnOnce(&Scopes) -> Result<Response, ApiError>,
) -> Response {
    let scopes = match authorize(tenant, authorization) {
        Ok(scopes) => scopes,
        Err(error) => return error.into_response(),
    };
    if let Err(error) = needs.are_met(&scopes) {
        return error.into_response();
    }
    let verdict = tenant.admit(class, "");
    let mut response = match verdict {
        Verdict::Refused(_) => ApiError::too_many_requests().into_response(),
        _ => work(&scopes).unwrap_or_else(ApiError::into_response),
    };
    if shows_limits(response.status()) {
        verdict.write(response.headers_mut(), &tenant.options().answers);
    }
    response
}

/// Recorded answers with 400, 401 and 404 carried no rate-limit headers; 403 is taken to be like them.
fn shows_limits(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
    )
}

/// Tokens that were verified once, so that ten thousand calls a second do not check as many signatures.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(RwLock<HashMap<String, Verified>>);

#[derive(Debug, Clone)]
struct Verified {
    scopes: Arc<Scopes>,
    /// Seconds since 1970.
    expires_at: i64,
}

/// More tokens than any client holds at a time; past it the cache starts anew.
const MAX_VERIFIED: usize = 1024;

impl VerifiedTokens {
    /// Forgets them all, since a key is good no more.
    pub(super) fn clear(&self) {
        self.0.write_guard().clear();
    }
}

fn authorize(tenant: &Tenant, authorization: Option<&str>) -> Result<Arc<Scopes>, ApiError> {
    let token = authorization
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(ApiError::missing_authentication)?;
    let cached = tenant.verified.0.read_guard().get(token).cloned();
    let verified = match cached {
        Some(verified) => verified,
        None => {
            let verified = verify(tenant, token)?;
            let mut cache = tenant.verified.0.write_guard();
            if cache.len() >= MAX_VERIFIED {
                cache.clear();
            }
            cache.insert(token.to_owned(), verified.clone());
            verified
        }
    };
    if verified.expires_at <= tenant.clock.now().as_second() {
        return Err(ApiError::bad_token(
            "Expired token received for JSON Web Token validation",
        ));
    }
    Ok(verified.scopes)
}

fn verify(tenant: &Tenant, token: &str) -> Result<Verified, ApiError> {
    let audience = tenant.management_audience();
    let claims = verified(tenant, token, &audience).map_err(|problem| match problem {
        Problem::Signature => {
            ApiError::bad_token("Invalid signature received for JSON Web Token validation")
        }
        Problem::Audience => ApiError::bad_token(&format!("Bad audience, expected: {audience}")),
        Problem::Other => ApiError::bad_token("Invalid token"),
    })?;
    let scope = claims
        .get("scope")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Verified {
        scopes: Arc::new(Scopes(scope.split(' ').map(str::to_owned).collect())),
        expires_at: claims
            .get("exp")
            .and_then(Value::as_i64)
            .unwrap_or(i64::MIN),
    })
}

/// A user's id in a path, percent-decoded: warp hands out segments as they came, and Auth0's ids hold a `|`.
#[derive(Debug)]
pub(super) struct UserId(Option<String>);

impl UserId {
    /// The id.
    ///
    /// # Errors
    /// 400 `invalid_uri` for what cannot be one: no UTF-8, or not `provider|id`.
    pub(super) fn get(&self) -> Result<&str, ApiError> {
        self.0.as_deref().ok_or_else(|| {
            ApiError::bad_request(
                "invalid_uri",
                "Path validation error: 'Object didn't pass validation for format user-id' on property id.",
            )
        })
    }
}

impl From<&str> for UserId {
    fn from(decoded: &str) -> Self {
        Self(is_user_id(decoded).then(|| decoded.to_owned()))
    }
}

impl FromStr for UserId {
    type Err = Infallible;

    fn from_str(segment: &str) -> Result<Self, Infallible> {
        let decoded = percent_decode_str(segment).decode_utf8().ok();
        Ok(Self(
            decoded
                .filter(|id| is_user_id(id))
                .map(|id| id.into_owned()),
        ))
    }
}

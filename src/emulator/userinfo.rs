//! `/userinfo`: what an access token with the scope `openid` tells about its bearer.

use std::sync::Arc;

use serde_json::Value;
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    errors::{OAuthError, json_response},
    limits::{Class, Verdict},
    mint,
    tenant::{Guard, SharedGuard, Tenant},
    verify::verified,
};

/// The route of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("userinfo")
        .and(warp::get().or(warp::post()).unify())
        .and(warp::header::optional::<String>("authorization"))
        .map(move |bearer: Option<String>| userinfo(&tenant, bearer.as_deref()))
        .boxed()
}

fn userinfo(tenant: &Tenant, bearer: Option<&str>) -> Response {
    let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else {
        return unauthorized("Bearer realm=\"Users\"");
    };
    let Some((user_id, scope)) = token_holder(tenant, token) else {
        return unauthorized(
            "Bearer realm=\"Users\", error=\"invalid_token\", error_description=\"The access token is not valid\"",
        );
    };
    let verdict = tenant.admit(Class::UserInfo, &user_id);
    let mut response = match verdict {
        Verdict::Refused(_) => OAuthError::too_many_requests().into_response(),
        _ => told(tenant, &user_id, &scope),
    };
    verdict.write(response.headers_mut(), &tenant.options().answers);
    response
}

fn told(tenant: &Tenant, user_id: &str, scope: &str) -> Response {
    let user = tenant.directory.read_guard().get(user_id).cloned();
    let Some(user) = user else {
        return unauthorized("Bearer realm=\"Users\", error=\"invalid_token\"");
    };
    let mut claims = mint::profile_claims(&user, scope);
    claims.insert("sub".into(), user.user_id.as_str().into());
    json_response(StatusCode::OK, &Value::from(claims))
}

/// Whose access token this is, and its scopes: an opaque one, or a JWT whose audience names `/userinfo`.
fn token_holder(tenant: &Tenant, token: &str) -> Option<(String, String)> {
    let now = tenant.clock.now();
    if let Some(opaque) = tenant.grants.guard().opaque(token) {
        let is_good = now < opaque.expires_at && mint::has_scope(&opaque.scope, "openid");
        return is_good.then(|| (opaque.user_id.clone(), opaque.scope.clone()));
    }
    let claims = verified(tenant, token, &mint::userinfo_audience(tenant)).ok()?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let expires_at = claims.get("exp").and_then(Value::as_i64)?;
    (now.as_second() < expires_at).then_some(())?;
    Some((text("sub")?, text("scope").unwrap_or_default()))
}

/// A 401 here is plain text with a challenge, unlike the Management API's.
fn unauthorized(challenge: &'static str) -> Response {
    let mut response =
        warp::reply::with_status("Unauthorized", StatusCode::UNAUTHORIZED).into_response();
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

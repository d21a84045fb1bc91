//! `/oauth/token`, the JWKS and the discovery document.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hyper::body::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    action::{self, ActionError},
    errors::{OAuthError, json_response},
    grants::Login,
    journal::Event,
    limits::{Class, Verdict},
    mint,
    options::Options,
    tenant::{Guard, SharedGuard, Tenant},
};

/// The routes of this part.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let with_tenant = {
        let tenant = tenant.clone();
        warp::any().map(move || tenant.clone())
    };
    let token = warp::path!("oauth" / "token")
        .and(warp::post())
        .and(with_tenant.clone())
        .and(warp::header::optional::<String>("content-type"))
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::body::bytes())
        .then(
            |tenant: Arc<Tenant>,
             kind: Option<String>,
             authorization: Option<String>,
             body: Bytes| async move {
                // Signing and the Action take milliseconds; other requests need not wait for them.
                tokio::task::spawn_blocking(move || {
                    token(&tenant, kind.as_deref(), authorization.as_deref(), &body)
                })
                .await
                .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
            },
        );
    let jwks = warp::path!(".well-known" / "jwks.json")
        .and(warp::get())
        .and(with_tenant.clone())
        .map(|tenant: Arc<Tenant>| {
            let mut response = json_response(StatusCode::OK, &tenant.keys.read_guard().jwks());
            response.headers_mut().insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static(
                    "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400",
                ),
            );
            response
        });
    let discovery = warp::path!(".well-known" / "openid-configuration")
        .and(warp::get())
        .and(with_tenant)
        .map(|tenant: Arc<Tenant>| json_response(StatusCode::OK, &discovery(&tenant)));
    token.or(jwks).unify().or(discovery).unify().boxed()
}

/// A token request's parameters, whichever way they were sent.
type Parameters = HashMap<String, String>;

fn token(
    tenant: &Tenant,
    content_type: Option<&str>,
    authorization: Option<&str>,
    body: &[u8],
) -> Response {
    let verdict = tenant.admit(Class::Token, "");
    let mut response = match verdict {
        Verdict::Refused(_) => OAuthError::too_many_requests().into_response(),
        _ => granted(tenant, content_type, authorization, body)
            .unwrap_or_else(OAuthError::into_response),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    verdict.write(headers, &tenant.options().answers);
    response
}

fn granted(
    tenant: &Tenant,
    content_type: Option<&str>,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Response, OAuthError> {
    let mut parameters = parameters(content_type, body)?;
    if let Some((id, secret)) = authorization.and_then(basic) {
        parameters.insert("client_id".into(), id);
        parameters.insert("client_secret".into(), secret);
    }
    let body = match required(&parameters, "grant_type")? {
        "client_credentials" => client_credentials(tenant, &parameters)?,
        "authorization_code" => authorization_code(tenant, &parameters)?,
        "refresh_token" => refresh_token(tenant, &parameters)?,
        other => {
            return Err(OAuthError::new(
                StatusCode::FORBIDDEN,
                "unsupported_grant_type",
                format!("Unsupported grant type: {other}"),
            ));
        }
    };
    Ok(json_response(StatusCode::OK, &body))
}

fn client_credentials(tenant: &Tenant, parameters: &Parameters) -> Result<Value, OAuthError> {
    let options = tenant.options();
    let client_id = required(parameters, "client_id")?;
    if client_id != options.m2m.client_id || !is_secret(parameters, &options.m2m.client_secret) {
        return Err(OAuthError::unauthorized());
    }
    let denied =
        |description: String| OAuthError::new(StatusCode::FORBIDDEN, "access_denied", description);
    let audience = parameters.get("audience").ok_or_else(|| {
        denied(
            "No audience parameter was provided, and no default audience has been configured"
                .into(),
        )
    })?;
    let scope = if *audience == tenant.management_audience() {
        options.m2m.scopes.join(" ")
    } else if options.audiences.contains(audience) {
        String::new()
    } else {
        return Err(denied(format!(
            "Service not enabled within domain: {audience}"
        )));
    };
    let lifetime = options.token_lifetime_seconds;
    let claims = mint::machine_claims(tenant, client_id, audience, &scope, lifetime);
    let mut body = json!({
        "access_token": mint::signed(tenant, &claims).map_err(|_| cannot_sign())?,
        "expires_in": lifetime,
        "token_type": "Bearer",
    });
    if !scope.is_empty() {
        body["scope"] = scope.into();
    }
    Ok(body)
}

fn authorization_code(tenant: &Tenant, parameters: &Parameters) -> Result<Value, OAuthError> {
    let client_id = required(parameters, "client_id")?;
    let code = required(parameters, "code")?;
    app_client(&tenant.options(), parameters)?;
    let login = tenant
        .grants
        .guard()
        .redeem_code(code, tenant.clock.now())
        .filter(|login| login.authorization.client_id == client_id)
        .ok_or_else(|| OAuthError::invalid_grant("Invalid authorization code"))?;
    let redirect_uri = parameters.get("redirect_uri");
    if redirect_uri.is_some_and(|uri| *uri != login.authorization.redirect_uri) {
        return Err(OAuthError::invalid_grant(
            "The redirect URI is wrong. You sent a different one to /authorize.",
        ));
    }
    verify_pkce(login.authorization.code_challenge.as_deref(), parameters)?;
    issue(tenant, login)
}

fn refresh_token(tenant: &Tenant, parameters: &Parameters) -> Result<Value, OAuthError> {
    let client_id = required(parameters, "client_id")?;
    let token = required(parameters, "refresh_token")?;
    app_client(&tenant.options(), parameters)?;
    let mut login = tenant
        .sessions
        .guard()
        .exchange(token, tenant.clock.now())
        .filter(|login| login.authorization.client_id == client_id)
        .ok_or_else(|| OAuthError::invalid_grant("Unknown or invalid refresh token."))?;
    let user = tenant.directory.read_guard().get(&login.user_id).cloned();
    let user =
        user.ok_or_else(|| OAuthError::invalid_grant("Unknown or invalid refresh token."))?;
    if user.is_blocked() && tenant.options().answers.blocked_refresh_refused {
        tenant.note(Event::FailedRefresh, &user, Some(client_id));
        return Err(OAuthError::new(
            StatusCode::FORBIDDEN,
            "unauthorized",
            "user is blocked",
        ));
    }
    login.claims = action::run(tenant, &login.authorization, &user).map_err(|error| {
        let reason = match error {
            ActionError::Denied(reason) => reason,
            ActionError::Failed(_) => "The action failed".into(),
        };
        OAuthError::new(StatusCode::FORBIDDEN, "access_denied", reason)
    })?;
    tenant.note(Event::Refresh, &user, Some(client_id));
    mint::cut_scope(tenant, &mut login.authorization, &user);
    let tokens = mint::user_tokens(tenant, &login, &user).map_err(|_| cannot_sign())?;
    Ok(answer(tenant, &login, tokens))
}

fn issue(tenant: &Tenant, login: Login) -> Result<Value, OAuthError> {
    let user = tenant.directory.read_guard().get(&login.user_id).cloned();
    let user = user.ok_or_else(|| OAuthError::invalid_grant("Invalid authorization code"))?;
    let mut cut = login.clone();
    mint::cut_scope(tenant, &mut cut.authorization, &user);
    let tokens = mint::user_tokens(tenant, &cut, &user).map_err(|_| cannot_sign())?;
    let mut body = answer(tenant, &cut, tokens);
    if mint::has_scope(&login.authorization.scope, "offline_access") {
        let now = tenant.clock.now();
        body["refresh_token"] = tenant.sessions.guard().issue(login, now).into();
    }
    Ok(body)
}

fn answer(tenant: &Tenant, login: &Login, tokens: mint::Tokens) -> Value {
    let mut body = json!({
        "access_token": tokens.access_token,
        "scope": login.authorization.scope,
        "expires_in": tenant.options().token_lifetime_seconds,
        "token_type": "Bearer",
    });
    if let Some(id_token) = tokens.id_token {
        body["id_token"] = id_token.into();
    }
    body
}

/// A public client needs PKCE, a confidential one its secret.
fn app_client(options: &Options, parameters: &Parameters) -> Result<(), OAuthError> {
    let known = parameters.get("client_id") == Some(&options.app.client_id);
    let proven = match &options.app.client_secret {
        Some(secret) => is_secret(parameters, secret),
        None => true,
    };
    match known && proven {
        true => Ok(()),
        false => Err(OAuthError::unauthorized()),
    }
}

/// RFC 7636 section 4.6, S256 only.
fn verify_pkce(challenge: Option<&str>, parameters: &Parameters) -> Result<(), OAuthError> {
    let Some(challenge) = challenge else {
        return Ok(());
    };
    let verifier = parameters
        .get("code_verifier")
        .ok_or_else(|| OAuthError::invalid_request("Parameter 'code_verifier' is required"))?;
    match URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge {
        true => Ok(()),
        false => Err(OAuthError::invalid_grant("Failed to verify code verifier")),
    }
}

fn parameters(content_type: Option<&str>, body: &[u8]) -> Result<Parameters, OAuthError> {
    let json = content_type.is_some_and(|kind| kind.starts_with("application/json"));
    if !json {
        return Ok(url::form_urlencoded::parse(body).into_owned().collect());
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err(OAuthError::invalid_request("The body is not a JSON object"));
    };
    Ok(object
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect())
}

/// `client_secret_basic`, RFC 6749 section 2.3.1.
fn basic(authorization: &str) -> Option<(String, String)> {
    let encoded = authorization.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn required<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, OAuthError> {
    parameters
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| OAuthError::invalid_request(format!("Missing required parameter: {name}")))
}

fn is_secret(parameters: &Parameters, secret: &SecretString) -> bool {
    parameters
        .get("client_secret")
        .is_some_and(|sent| sent == secret.expose_secret())
}

fn cannot_sign() -> OAuthError {
    OAuthError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "server_error",
        "A token could not be signed",
    )
}

fn discovery(tenant: &Tenant) -> Value {
    let base = &tenant.base_url;
    json!({
        "issuer": tenant.issuer(),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/oauth/token"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "end_session_endpoint": format!("{base}/v2/logout"),
        "scopes_supported": ["openid", "profile", "offline_access", "email"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": [
            "aud", "email", "email_verified", "exp", "family_name", "given_name", "iat", "iss", "name", "nickname",
            "picture", "sub",
        ],
    })
}

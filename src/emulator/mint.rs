//! Making tokens: claims as Auth0 sets them, signed with the current key.
//!
//! Claims and audiences: docs pages `access-token-profiles` and `get-access-tokens`, and recorded tokens.

use aws_lc_rs::error::Unspecified;
use serde_json::{Map, Value, json};

use super::{
    clock::iso,
    grants::{Authorization, Login, Opaque, secret},
    profile::User,
    tenant::{Guard, SharedGuard, Tenant},
};

/// Claims that `setCustomClaim` must not set; Auth0 leaves them out without a word (docs: create-custom-claims).
const RESERVED: &str = "acr act active amr at_hash ath attest aud auth_time authorization_details azp c_hash client_id cnf cty \
    dest entitlements events exp groups gty htm htu iat internalService iss jcard jku jti jwe jwk kid may_act \
    mky nbf nonce object_id org_id org_name orig origid permissions roles rph s_hash scope sid sip_callid \
    sip_cseq_num sip_date sip_from_tag sip_via_branch sub sub_jwk toe txn typ uuid vot vtm x5t#S256";

/// Domains of Auth0's own that no claim may be named after.
const AUTH0_DOMAINS: &[&str] = &["auth0.com", "webtask.io", "webtask.run"];

/// The tokens of one login.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) id_token: Option<String>,
}

/// Signs claims with the current key.
pub(super) fn signed(tenant: &Tenant, claims: &Value) -> Result<String, Unspecified> {
    let key = tenant.keys.read_guard().current().clone();
    key.sign(&key.header(), claims)
}

/// The token of a machine-to-machine client.
pub(super) fn machine_claims(
    tenant: &Tenant,
    client_id: &str,
    audience: &str,
    scope: &str,
    lifetime_seconds: u32,
) -> Value {
    let now = tenant.clock.now().as_second();
    let mut claims = json!({
        "iss": tenant.issuer(),
        "sub": format!("{client_id}@clients"),
        "aud": audience,
        "iat": now,
        "exp": now + i64::from(lifetime_seconds),
        "gty": "client-credentials",
        "azp": client_id,
    });
    if !scope.is_empty() {
        claims["scope"] = scope.into();
    }
    claims
}

/// The tokens of a user who has logged in. Without an audience the access token is opaque; without `openid` there is no
/// ID token.
pub(super) fn user_tokens(
    tenant: &Tenant,
    login: &Login,
    user: &User,
) -> Result<Tokens, Unspecified> {
    let options = tenant.options();
    let authorization = &login.authorization;
    let openid = has_scope(&authorization.scope, "openid");
    let access_token = match &authorization.audience {
        Some(audience) => {
            let claims = access_claims(
                tenant,
                login,
                user,
                audience,
                options.token_lifetime_seconds,
            );
            signed(tenant, &claims)?
        }
        None => {
            let lifetime = jiff::SignedDuration::from_secs(options.token_lifetime_seconds.into());
            let expires_at = tenant
                .clock
                .now()
                .saturating_add(lifetime)
                .unwrap_or(jiff::Timestamp::MAX);
            tenant.grants.guard().issue_opaque(Opaque {
                user_id: user.user_id.clone(),
                scope: authorization.scope.clone(),
                expires_at,
            })
        }
    };
    let id_token = openid
        .then(|| {
            let claims = id_claims(tenant, login, user, options.id_token_lifetime_seconds);
            signed(tenant, &claims)
        })
        .transpose()?;
    Ok(Tokens {
        access_token,
        id_token,
    })
}

/// What an access token for a custom API says.
pub(super) fn access_claims(
    tenant: &Tenant,
    login: &Login,
    user: &User,
    audience: &str,
    lifetime_seconds: u32,
) -> Value {
    let authorization = &login.authorization;
    let now = tenant.clock.now().as_second();
    let audience = match has_scope(&authorization.scope, "openid") {
        true => json!([audience, userinfo_audience(tenant)]),
        false => json!(audience),
    };
    let mut claims = Map::new();
    add_custom(&mut claims, &login.claims.access_token);
    claims.extend(object(json!({
        "iss": tenant.issuer(),
        "sub": user.user_id,
        "aud": audience,
        "iat": now,
        "exp": now + i64::from(lifetime_seconds),
        "azp": authorization.client_id,
    })));
    if !authorization.scope.is_empty() {
        claims.insert("scope".into(), authorization.scope.as_str().into());
    }
    if tenant.options().rbac {
        let api = authorization.audience.as_deref().unwrap_or_default();
        claims.insert("permissions".into(), permissions(tenant, user, api).into());
    }
    claims.into()
}

/// With RBAC a scope of the API is granted to those only who have the permission of that name.
pub(super) fn cut_scope(tenant: &Tenant, authorization: &mut Authorization, user: &User) {
    let options = tenant.options();
    let Some(api) = authorization.audience.as_deref().filter(|_| options.rbac) else {
        return;
    };
    let has = permissions(tenant, user, api);
    let stays = |scope: &&str| {
        !options.api_scopes.iter().any(|of_api| of_api == scope)
            || has.iter().any(|has| has == scope)
    };
    let scopes: Vec<&str> = authorization.scope.split(' ').filter(stays).collect();
    authorization.scope = scopes.join(" ");
}

/// What a user may do at one API.
fn permissions(tenant: &Tenant, user: &User, api: &str) -> Vec<String> {
    let permissions = tenant.rbac.guard().permissions_of(&user.user_id);
    permissions
        .into_keys()
        .filter(|permission| permission.resource_server_identifier == api)
        .map(|permission| permission.permission_name)
        .collect()
}

fn id_claims(tenant: &Tenant, login: &Login, user: &User, lifetime_seconds: u32) -> Value {
    let authorization = &login.authorization;
    let now = tenant.clock.now().as_second();
    let mut claims = profile_claims(user, &authorization.scope);
    add_custom(&mut claims, &login.claims.id_token);
    claims.extend(object(json!({
        "iss": tenant.issuer(),
        "sub": user.user_id,
        "aud": authorization.client_id,
        "iat": now,
        "exp": now + i64::from(lifetime_seconds),
        "sid": login.sid,
    })));
    if let Some(nonce) = &authorization.nonce {
        claims.insert("nonce".into(), nonce.as_str().into());
    }
    claims.into()
}

/// What the scopes `profile` and `email` say about a user, in ID tokens and at `/userinfo`.
pub(super) fn profile_claims(user: &User, scope: &str) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            claims.insert(name.into(), value.as_str().into());
        }
    };
    if has_scope(scope, "profile") {
        add("nickname", &user.nickname);
        add("name", &user.name);
        add("given_name", &user.given_name);
        add("family_name", &user.family_name);
        add("picture", &user.picture);
        claims.insert("updated_at".into(), iso(user.updated_at).into());
    }
    if has_scope(scope, "email")
        && let Some(email) = &user.email
    {
        claims.insert("email".into(), email.as_str().into());
        claims.insert("email_verified".into(), user.email_verified.into());
    }
    claims
}

/// Second member of the `aud` of a user's access token, which makes it good for `/userinfo` too.
pub(super) fn userinfo_audience(tenant: &Tenant) -> String {
    format!("{}/userinfo", tenant.base_url)
}

/// Whether a space separated list of scopes has this one.
pub(super) fn has_scope(scope: &str, wanted: &str) -> bool {
    scope.split(' ').any(|scope| scope == wanted)
}

/// A new session id.
pub(super) fn session_id() -> String {
    secret()
}

fn add_custom(claims: &mut Map<String, Value>, custom: &Map<String, Value>) {
    for (name, value) in custom {
        if is_allowed(name) && !value.is_null() {
            claims.insert(name.clone(), value.clone());
        }
    }
}

fn is_allowed(name: &str) -> bool {
    let of_auth0 = url::Url::parse(name).is_ok_and(|url| {
        url.host_str().is_some_and(|host| {
            AUTH0_DOMAINS
                .iter()
                .any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
        })
    });
    !RESERVED.split(' ').any(|reserved| reserved == name)
        && !of_auth0
        && !name.starts_with("urn:auth0")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_and_auth0s_own_domains_are_left_out() {
        for (name, allowed) in [
            ("https://roster.dev/role", true),
            ("email", true),
            ("employee", true),
            ("permissions", false),
            ("roles", false),
            ("sub", false),
            ("https://tenant.auth0.com/role", false),
            ("urn:auth0:role", false),
        ] {
            assert_eq!(is_allowed(name), allowed, "{name}");
        }
    }
}

//! Tokens on demand, good and bad ones: what a verifier must accept, and everything it must not.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    action,
    control::Refusal,
    grants::{Authorization, CustomClaims, Login},
    keys::{KeyName, SigningKey, unsigned},
    mint,
    tenant::{SharedGuard, Tenant},
};

/// An access token to make. Everything is optional: `{}` is a good token of nobody in particular.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// Whose; the user must be there, and the Action runs for them. Absent: `sub` and the rest come from `claims`.
    user_id: Option<String>,
    /// The API; the first configured one if absent.
    audience: Option<String>,
    scope: String,
    client_id: Option<String>,
    /// Seconds until it expires; zero or less makes one that has.
    expires_in: Option<i64>,
    /// Seconds until it begins to be good (`nbf`).
    not_before_in: Option<i64>,
    /// Claims put in place of the usual ones; `null` takes one out.
    claims: Map<String, Value>,
    /// Header fields put in place of the usual ones; `null` takes one out. `alg` changes only what the header says, but
    /// for `none` and `HS256`, which are made as their forgers make them.
    header: Map<String, Value>,
    key: KeyName,
    /// Whether to spoil the signature.
    bad_signature: bool,
    /// Whether to run the Action for the user.
    run_action: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            user_id: None,
            audience: None,
            scope: "openid profile email".into(),
            client_id: None,
            expires_in: None,
            not_before_in: None,
            claims: Map::new(),
            header: Map::new(),
            key: KeyName::Current,
            bad_signature: false,
            run_action: true,
        }
    }
}

/// Makes a token: `{access_token, claims, header}`.
///
/// # Errors
/// There is no such user or key, or the Action failed.
pub(super) fn mint(tenant: &Tenant, wanted: Wanted) -> Result<Value, Refusal> {
    let key = tenant
        .keys
        .read_guard()
        .named(wanted.key)
        .map_err(|_| "no key could be made")?
        .ok_or("key: there is no previous key")?;
    let mut claims = claims(tenant, &wanted)?;
    overlay(&mut claims, wanted.claims);
    let mut header = key.header();
    overlay(&mut header, wanted.header);
    let mut token = sign(&key, &header, &claims)?;
    if wanted.bad_signature {
        token = spoilt(&token);
    }
    Ok(json!({"access_token": token, "claims": claims, "header": header}))
}

fn claims(tenant: &Tenant, wanted: &Wanted) -> Result<Value, Refusal> {
    let options = tenant.options();
    let audience = match &wanted.audience {
        Some(audience) => audience.clone(),
        None => options.audiences.first().cloned().unwrap_or_default(),
    };
    let authorization = Authorization {
        client_id: wanted
            .client_id
            .clone()
            .unwrap_or_else(|| options.app.client_id.clone()),
        scope: wanted.scope.clone(),
        audience: Some(audience.clone()),
        ..Authorization::default()
    };
    let user = match &wanted.user_id {
        Some(user_id) => tenant
            .directory
            .read_guard()
            .get(user_id)
            .map(|user| (**user).clone())
            .ok_or("user_id: no such user")?,
        None => super::profile::User::nobody(tenant.clock.now()),
    };
    let custom = match wanted.user_id.is_some() && wanted.run_action {
        true => action::run(tenant, &authorization, &user).map_err(|error| error.to_string())?,
        false => CustomClaims::default(),
    };
    let login = Login {
        authorization,
        user_id: user.user_id.clone(),
        sid: mint::session_id(),
        claims: custom,
    };
    let lifetime = options.token_lifetime_seconds;
    let mut claims = mint::access_claims(tenant, &login, &user, &audience, lifetime);
    let now = tenant.clock.now().as_second();
    if let Some(seconds) = wanted.expires_in {
        claims["exp"] = (now + seconds).into();
        // A token that has expired was issued before that.
        claims["iat"] = (now.min(now + seconds - 1)).into();
    }
    if let Some(seconds) = wanted.not_before_in {
        claims["nbf"] = (now + seconds).into();
    }
    Ok(claims)
}

/// Signs as the header says, as far as forgers go: `none` has no signature, `HS256` takes the public key for a secret.
fn sign(key: &SigningKey, header: &Value, claims: &Value) -> Result<String, Refusal> {
    match header["alg"].as_str() {
        Some("none") => Ok(format!("{}.", unsigned(header, claims))),
        Some("HS256") => {
            let message = unsigned(header, claims);
            let secret = hmac::Key::new(hmac::HMAC_SHA256, key.modulus().as_bytes());
            let tag = hmac::sign(&secret, message.as_bytes());
            Ok(format!(
                "{message}.{}",
                URL_SAFE_NO_PAD.encode(tag.as_ref())
            ))
        }
        _ => key
            .sign(header, claims)
            .map_err(|_| "the token could not be signed".into()),
    }
}

/// The same token with one character of its signature changed (not the last, whose low bits mean nothing).
fn spoilt(token: &str) -> String {
    let Some((message, signature)) = token.rsplit_once('.') else {
        return token.to_owned();
    };
    let mut chars: Vec<char> = signature.chars().collect();
    if let Some(first) = chars.first_mut() {
        *first = if *first == 'A' { 'B' } else { 'A' };
    }
    format!("{message}.{}", chars.into_iter().collect::<String>())
}

fn overlay(base: &mut Value, changes: Map<String, Value>) {
    let Value::Object(base) = base else { return };
    for (name, value) in changes {
        if value.is_null() {
            base.remove(&name);
        } else {
            base.insert(name, value);
        }
    }
}

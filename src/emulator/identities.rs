//! Linking and unlinking accounts: `/api/v2/users/{id}/identities`.
//!
//! Linking folds a secondary account into the primary: it leaves every list, its metadata is lost, and it is deleted with
//! the primary. Unlinking takes the **bare** id; what names nobody answers 200 and changes nothing, as recorded for an id
//! with its prefix.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::{ApiError, json_response},
    limits::Class,
    management::{Needs, UserId},
    options::connection_id,
    profile::{Identity, User},
    tenant::{SharedGuard, Tenant},
    verify::verified,
};

const SCOPES: Needs<'_> = Needs::Any(&["update:users", "update:current_user_identities"]);

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    Some(match (method, path) {
        ("POST", ["users", _, "identities"]) => link,
        ("DELETE", ["users", _, "identities", _, _]) => unlink,
        _ => return None,
    })
}

/// Whom to link, in one of two ways.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secondary {
    /// An ID token of the secondary account.
    link_with: Option<String>,
    provider: Option<String>,
    user_id: Option<Value>,
    connection_id: Option<String>,
}

fn link(call: &Call) -> Response {
    call.answer(Class::Others, SCOPES, |_| {
        let secondary = call.body::<Secondary>()?.user_id(&call.tenant)?;
        let primary = UserId::from(call.part(1));
        let now = call.tenant.clock.now();
        let mut directory = call.tenant.directory.write_guard();
        let user = directory.link(primary.get()?, &secondary, now)?;
        drop(directory);
        call.tenant.forget(&secondary);
        Ok(json_response(StatusCode::CREATED, &shown(&user)))
    })
}

fn unlink(call: &Call) -> Response {
    call.answer(Class::Others, SCOPES, |_| {
        let primary = UserId::from(call.part(1));
        let (provider, id) = (call.part(3), call.part(4));
        let now = call.tenant.clock.now();
        let mut directory = call.tenant.directory.write_guard();
        let user = directory.unlink(primary.get()?, provider, id, now)?;
        Ok(json_response(StatusCode::OK, &shown(&user)))
    })
}

impl Secondary {
    /// The id of the secondary account, with its prefix; it may have been sent with or without.
    fn user_id(self, tenant: &Tenant) -> Result<String, ApiError> {
        if let Some(token) = self.link_with {
            if self.provider.is_some() || self.user_id.is_some() {
                return Err(ApiError::invalid_body("'link_with stands alone'"));
            }
            return holder(tenant, &token).ok_or_else(|| {
                ApiError::bad_request("invalid_body", "The link_with token is invalid")
            });
        }
        let missing =
            |key: &str| ApiError::invalid_body(format_args!("'Missing required property: {key}'"));
        let provider = self.provider.ok_or_else(|| missing("provider"))?;
        let id = match self.user_id.ok_or_else(|| missing("user_id"))? {
            Value::String(id) if !id.is_empty() => id,
            Value::Number(id) => id.to_string(),
            _ => return Err(ApiError::invalid_body("'Invalid type' on property user_id")),
        };
        let id = match id.split_once('|') {
            Some((prefix, _)) if prefix == provider => id,
            _ => format!("{provider}|{id}"),
        };
        self.connection_id
            .is_none_or(|wanted| {
                let directory = tenant.directory.read_guard();
                let user = directory.get(&id);
                user.is_some_and(|user| has_connection(tenant, user, &wanted))
            })
            .then_some(id)
            .ok_or_else(ApiError::no_such_user)
    }
}

fn has_connection(tenant: &Tenant, user: &User, wanted: &str) -> bool {
    let options = tenant.options();
    user.identities
        .iter()
        .any(|identity| match identity.connection == options.connection {
            true => options.connection_id() == wanted,
            false => connection_id(&identity.connection) == wanted,
        })
}

/// Whose ID token this is, while it is good.
fn holder(tenant: &Tenant, token: &str) -> Option<String> {
    let claims = verified(tenant, token, &tenant.options().app.client_id).ok()?;
    let expires_at = claims.get("exp").and_then(Value::as_i64)?;
    (tenant.clock.now().as_second() < expires_at).then_some(())?;
    claims.get("sub").and_then(Value::as_str).map(str::to_owned)
}

/// All identities with their `profileData`; in users only the linked ones have it.
fn shown(user: &User) -> Value {
    user.identities
        .iter()
        .map(|identity| {
            let data = identity
                .profile_data
                .clone()
                .unwrap_or_else(|| profile_data(user));
            let mut shown = json!(identity);
            shown["profileData"] = data.into();
            shown
        })
        .collect()
}

/// What an identity keeps of a user's profile: what was given, not what Auth0 has made up from the address.
pub(super) fn profile_data(user: &User) -> Map<String, Value> {
    let mut made_up = User::new(
        Identity {
            connection: String::new(),
            user_id: String::new(),
            provider: String::new(),
            is_social: false,
            profile_data: None,
        },
        user.created_at,
    );
    made_up.email.clone_from(&user.email);
    made_up.fill_defaults();
    let mut data = Map::new();
    for (key, given, default) in [
        ("email", &user.email, &None),
        ("username", &user.username, &None),
        ("phone_number", &user.phone_number, &None),
        ("name", &user.name, &made_up.name),
        ("nickname", &user.nickname, &made_up.nickname),
        ("given_name", &user.given_name, &None),
        ("family_name", &user.family_name, &None),
        ("picture", &user.picture, &made_up.picture),
    ] {
        if let Some(text) = given
            && given != default
        {
            data.insert(key.into(), text.as_str().into());
        }
    }
    data.insert("email_verified".into(), user.email_verified.into());
    data
}

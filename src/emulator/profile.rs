//! One user of the tenant, in the shape the Management API shows.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    clock::{serialize_iso, serialize_perhaps_iso},
    passwords::Password,
};

/// A user. What was never set is absent from the JSON, as in Auth0: notably `blocked` and both metadata objects.
#[derive(Debug, Clone, Serialize)]
pub(super) struct User {
    /// `provider|id`.
    pub(super) user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nickname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) picture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_metadata: Option<Map<String, Value>>,
    /// The first one is the primary.
    pub(super) identities: Vec<Identity>,
    #[serde(serialize_with = "serialize_iso")]
    pub(super) created_at: Timestamp,
    #[serde(serialize_with = "serialize_iso")]
    pub(super) updated_at: Timestamp,
    #[serde(
        serialize_with = "serialize_perhaps_iso",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) last_login: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logins_count: Option<u64>,
    #[serde(
        serialize_with = "serialize_perhaps_iso",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) last_password_reset: Option<Timestamp>,
    #[serde(skip)]
    pub(super) password: Option<Password>,
}

/// One way the user logs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) connection: String,
    /// Without the provider's prefix.
    pub(super) user_id: String,
    pub(super) provider: String,
    #[serde(rename = "isSocial")]
    pub(super) is_social: bool,
    #[serde(
        rename = "profileData",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) profile_data: Option<Map<String, Value>>,
}

impl User {
    /// A user of `identity` who has nothing yet.
    pub(super) fn new(identity: Identity, now: Timestamp) -> Self {
        Self {
            user_id: format!("{}|{}", identity.provider, identity.user_id),
            email: None,
            email_verified: false,
            username: None,
            phone_number: None,
            phone_verified: None,
            name: None,
            nickname: None,
            given_name: None,
            family_name: None,
            picture: None,
            blocked: None,
            app_metadata: None,
            user_metadata: None,
            identities: vec![identity],
            created_at: now,
            updated_at: now,
            last_login: None,
            last_ip: None,
            logins_count: None,
            last_password_reset: None,
            password: None,
        }
    }

    /// A user of no connection, for tokens whose claims a test sets itself.
    pub(super) fn nobody(now: Timestamp) -> Self {
        Self::new(
            Identity {
                connection: String::new(),
                user_id: "nobody".into(),
                provider: "auth0".into(),
                is_social: false,
                profile_data: None,
            },
            now,
        )
    }

    /// Fills in what Auth0 makes up from the e-mail: `name` is the address, `nickname` its local part, `picture` a
    /// Gravatar.
    pub(super) fn fill_defaults(&mut self) {
        let Some(email) = &self.email else { return };
        let local = email.split('@').next().unwrap_or(email);
        self.name.get_or_insert_with(|| email.clone());
        self.nickname.get_or_insert_with(|| local.to_owned());
        self.picture.get_or_insert_with(|| gravatar(email));
    }

    /// An administrator's block is on; a flag that was never set is none.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked == Some(true)
    }

    pub(super) fn is_in(&self, connection: &str) -> bool {
        self.identities
            .iter()
            .any(|identity| identity.connection == connection)
    }

    /// Whether the two have a connection in common.
    pub(super) fn shares(&self, other: &Self) -> bool {
        self.identities
            .iter()
            .any(|identity| other.is_in(&identity.connection))
    }

    /// Whether the primary identity lives in Auth0's own store.
    pub(super) fn is_database_user(&self) -> bool {
        self.identities
            .first()
            .is_some_and(|identity| identity.provider == "auth0")
    }
}

/// Auth0 keys it by MD5; we take SHA-256, which Gravatar reads as well, rather than a library for nothing else.
fn gravatar(email: &str) -> String {
    let initials: String = email.chars().take(2).collect();
    format!(
        "https://s.gravatar.com/avatar/{}?s=480&r=pg&d=https%3A%2F%2Fcdn.auth0.com%2Favatars%2F{initials}.png",
        hex(digest(&SHA256, email.as_bytes()).as_ref()),
    )
}

/// Lower case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

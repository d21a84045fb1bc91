//! Auth0's JSON, the only place that knows its field names.
//!
//! Reading is tolerant: unknown fields are ignored, absent and null ones have their documented meaning, and what only
//! informs (times, counts) is dropped when it looks odd. Writing is strict: Auth0 refuses unknown keys with a 400.
//! Sources: the Management API reference and <https://auth0.com/docs/manage-users/user-accounts/user-profiles/user-profile-structure>.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{
    jobs::{Refusal, Summary},
    user::{Identity, NewUser, Patch, Strategy, User},
};
use crate::user::Auth0UserId;

/// The provider prefix of users in a database connection.
const DATABASE_PREFIX: &str = "auth0|";

/// The code of the 404 that means "no such user", unlike one of a proxy or a wrong path.
pub(super) const NO_SUCH_USER: &str = "inexistent_user";

/// Body of `POST /oauth/token` (RFC 6749 section 4.4.2, form encoded, with Auth0's `audience`).
#[derive(Serialize)]
pub(super) struct TokenRequest<'a> {
    grant_type: &'static str,
    client_id: &'a str,
    client_secret: &'a str,
    audience: &'a str,
}

impl<'a> TokenRequest<'a> {
    pub(super) fn new(client_id: &'a str, client_secret: &'a str, audience: &'a str) -> Self {
        Self {
            grant_type: "client_credentials",
            client_id,
            client_secret,
            audience,
        }
    }
}

/// A 200 of `POST /oauth/token`.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    /// Seconds.
    #[serde(default = "one_day")]
    pub(super) expires_in: u64,
    /// Granted scopes, separated by spaces.
    #[serde(default)]
    pub(super) scope: String,
}

/// Auth0's default lifetime of a Management API token.
fn one_day() -> u64 {
    86_400
}

/// Body of `POST /api/v2/users`.
#[derive(Serialize)]
pub(super) struct CreateUser<'a> {
    connection: &'a str,
    user_id: &'a str,
    email: &'a str,
    password: &'a str,
    email_verified: bool,
    verify_email: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    blocked: bool,
    #[serde(skip_serializing_if = "no_keys")]
    app_metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "no_keys")]
    user_metadata: &'a Map<String, Value>,
}

impl<'a> CreateUser<'a> {
    /// `None` where the id is not one of a database connection. Auth0 adds the prefix itself, so the bare id is sent.
    pub(super) fn new(new: &'a NewUser, connection: &'a str, password: &'a str) -> Option<Self> {
        Some(Self {
            connection,
            user_id: bare_id(&new.id)?,
            email: &new.email,
            password,
            email_verified: false,
            verify_email: false,
            name: new.name.as_deref(),
            blocked: new.blocked,
            app_metadata: &new.app_metadata,
            user_metadata: &new.user_metadata,
        })
    }
}

/// Body of `PATCH /api/v2/users/{id}`.
#[derive(Serialize)]
pub(super) struct UpdateUser<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_email: Option<bool>,
    /// The inner `None` is sent as null, which unsets the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<bool>,
    #[serde(skip_serializing_if = "no_keys")]
    app_metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "no_keys")]
    user_metadata: &'a Map<String, Value>,
}

impl<'a> From<&'a Patch> for UpdateUser<'a> {
    fn from(patch: &'a Patch) -> Self {
        let with_email = patch.email.as_ref().map(|_| false);
        Self {
            email: patch.email.as_deref(),
            email_verified: with_email,
            verify_email: with_email,
            name: patch.name.as_ref().map(Option::as_deref),
            blocked: patch.blocked,
            app_metadata: &patch.app_metadata,
            user_metadata: &patch.user_metadata,
        }
    }
}

/// Body of `POST /dbconnections/change_password`: Auth0 mails a link to choose a password.
#[derive(Serialize)]
pub(super) struct ChangePassword<'a> {
    pub(super) client_id: &'a str,
    pub(super) email: &'a str,
    pub(super) connection: &'a str,
}

/// Body of `POST /api/v2/jobs/users-exports`: a line of JSON for each user of every connection.
#[derive(Serialize)]
pub(super) struct UsersExport {
    format: &'static str,
    fields: [ExportField; 8],
}

#[derive(Serialize)]
struct ExportField {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    export_as: Option<&'static str>,
}

impl Default for UsersExport {
    fn default() -> Self {
        let names = [
            ("user_id", None),
            ("email", None),
            ("email_verified", None),
            ("name", None),
            ("blocked", None),
            ("app_metadata", None),
            ("user_metadata", None),
            // Whether Auth0 would nest a dotted name is not documented.
            ("identities[0].connection", Some("connection")),
        ];
        Self {
            format: "json",
            fields: names.map(|(name, export_as)| ExportField { name, export_as }),
        }
    }
}

/// A job in an answer of the Management API.
#[derive(Deserialize)]
pub(super) struct JobAnswer {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) location: Option<String>,
    #[serde(default)]
    percentage_done: Value,
    #[serde(default)]
    pub(super) status_details: Value,
    #[serde(default)]
    summary: Value,
}

impl JobAnswer {
    pub(super) fn percent(&self) -> Option<u8> {
        self.percentage_done.as_u64()?.try_into().ok()
    }

    pub(super) fn summary(&self) -> Option<Summary> {
        let number = |name: &str| self.summary.get(name)?.as_u64();
        Some(Summary {
            total: number("total")?,
            inserted: number("inserted")?,
            failed: number("failed")?,
        })
    }
}

/// A user in the file of an import.
#[derive(Serialize)]
pub(super) struct ImportRecord<'a> {
    user_id: &'a str,
    email: &'a str,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "no_keys")]
    app_metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "no_keys")]
    user_metadata: &'a Map<String, Value>,
}

impl<'a> ImportRecord<'a> {
    /// `None` where the id is not one of a database connection. See [`super::jobs`] for why the address counts as verified.
    pub(super) fn new(new: &'a NewUser) -> Option<Self> {
        Some(Self {
            user_id: bare_id(&new.id)?,
            email: &new.email,
            email_verified: true,
            name: new.name.as_deref(),
            app_metadata: &new.app_metadata,
            user_metadata: &new.user_metadata,
        })
    }
}

/// One of a 200 of `GET /api/v2/jobs/{id}/errors`.
#[derive(Deserialize)]
pub(super) struct ImportError {
    #[serde(default)]
    user: Value,
    #[serde(default)]
    errors: Vec<Value>,
}

impl ImportError {
    pub(super) fn refusal(self) -> Refusal {
        let bare = self.user.get("user_id").and_then(Value::as_str);
        let code = self
            .errors
            .first()
            .and_then(|error| error.get("code")?.as_str());
        Refusal {
            id: bare.map(|bare| match bare.starts_with(DATABASE_PREFIX) {
                true => Auth0UserId(bare.to_owned()),
                false => Auth0UserId(format!("{DATABASE_PREFIX}{bare}")),
            }),
            code: code.unwrap_or("import_error").to_owned(),
        }
    }
}

/// A user in an answer of the Management API, or in a line of an export.
#[derive(Deserialize)]
pub(super) struct UserAnswer {
    user_id: String,
    email: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    email_verified: bool,
    name: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    blocked: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    app_metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "null_is_default")]
    user_metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "null_is_default")]
    identities: Vec<IdentityAnswer>,
    /// In exports, instead of the identities: the connection of the first one.
    connection: Option<String>,
    #[serde(default)]
    last_login: Value,
    #[serde(default)]
    logins_count: Value,
    #[serde(default)]
    created_at: Value,
}

#[derive(Deserialize)]
struct IdentityAnswer {
    #[serde(default)]
    provider: String,
    /// A number with some social providers.
    #[serde(default)]
    user_id: Value,
    #[serde(default, deserialize_with = "null_is_default")]
    connection: String,
    #[serde(default, rename = "isSocial", deserialize_with = "null_is_default")]
    is_social: bool,
}

/// One of a 200 of `GET /api/v2/connections`.
#[derive(Deserialize)]
pub(super) struct ConnectionAnswer {
    pub(super) id: String,
    pub(super) name: String,
    strategy: String,
}

impl ConnectionAnswer {
    pub(super) fn strategy(self) -> Strategy {
        match &*self.strategy {
            "auth0" => Strategy::Database,
            _ => Strategy::Other(self.strategy),
        }
    }
}

impl From<UserAnswer> for User {
    fn from(answer: UserAnswer) -> Self {
        let first = answer.connection.filter(|_| answer.identities.is_empty());
        let first = first.map(|connection| Identity::first(&answer.user_id, connection));
        let identities = answer.identities.into_iter().map(Identity::from);
        Self {
            identities: first.into_iter().chain(identities).collect(),
            id: Auth0UserId(answer.user_id),
            email: answer.email,
            email_verified: answer.email_verified,
            name: answer.name,
            blocked: answer.blocked,
            app_metadata: answer.app_metadata,
            user_metadata: answer.user_metadata,
            last_login: time(&answer.last_login),
            logins_count: answer.logins_count.as_u64(),
            created_at: time(&answer.created_at),
        }
    }
}

impl Identity {
    /// The one that a user is named after.
    fn first(user_id: &str, connection: String) -> Self {
        let (provider, bare) = user_id.split_once('|').unwrap_or(("", user_id));
        Self {
            provider: provider.to_owned(),
            user_id: bare.to_owned(),
            connection,
            is_social: false,
        }
    }
}

impl From<IdentityAnswer> for Identity {
    fn from(answer: IdentityAnswer) -> Self {
        Self {
            provider: answer.provider,
            user_id: match answer.user_id {
                Value::String(id) => id,
                Value::Null => String::new(),
                other => other.to_string(),
            },
            connection: answer.connection,
            is_social: answer.is_social,
        }
    }
}

/// What an error answer says: code and words, in either of Auth0's shapes.
#[derive(Debug, PartialEq)]
pub(super) struct Complaint {
    pub(super) code: Option<String>,
    pub(super) words: Option<String>,
}

impl Complaint {
    /// Management API: `{"statusCode", "error": "Not Found", "message", "errorCode"?}`.
    pub(super) fn management(body: &[u8]) -> Self {
        Self::read(body, &["errorCode"], &["message", "error"])
    }

    /// Authentication API: `{"error", "error_description"}`, at some endpoints `{"code", "description"}`.
    pub(super) fn authentication(body: &[u8]) -> Self {
        Self::read(
            body,
            &["error", "code"],
            &["error_description", "description", "message"],
        )
    }

    fn read(body: &[u8], codes: &[&str], words: &[&str]) -> Self {
        let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let first = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| body.get(*key)?.as_str())
                .map(str::to_owned)
        };
        Self {
            code: first(codes).as_deref().and_then(super::error::plain_code),
            words: first(words),
        }
    }
}

fn bare_id(id: &Auth0UserId) -> Option<&str> {
    let bare = id.as_str().strip_prefix(DATABASE_PREFIX)?;
    (!bare.is_empty()).then_some(bare)
}

/// An empty metadata object must not go out: Auth0 takes `{}` as "clear all", keys of other writers included.
fn no_keys(metadata: &&Map<String, Value>) -> bool {
    metadata.is_empty()
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests;

//! What an emulated tenant is set up with: its connection, clients, plan, and the answers Auth0 does not document.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::rules::GOOGLE;

mod answers;
mod jobs;
mod sense;

pub use self::{
    answers::{Answers, LinkedAway, MissingFeature},
    jobs::{ExportFile, JobOptions},
    sense::BadOptions,
};

/// The Action that Roster ships for the user's own tenant; the emulator runs the same file.
pub const SHIPPED_ACTION: &str = include_str!("../../config/auth0-action.js");

/// The settings of one emulated tenant. Every field has a default; an unknown key is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where clients reach the emulator, without a trailing slash; the issuer is this with one. Absent: `http://` and
    /// the address it listens on. Read at the start only.
    pub base_url: Option<String>,
    /// Name of the database connection.
    pub connection: String,
    /// Id of the database connection, `con_` and 16 letters and digits; absent: made from its name, always the same.
    pub connection_id: Option<String>,
    /// Whether users of the database connection may have a `username`.
    pub requires_username: bool,
    /// The machine-to-machine application that may call the Management API.
    pub m2m: MachineClient,
    /// The application people log in to.
    pub app: AppClient,
    /// Identifiers of the custom APIs that access tokens may be asked for.
    pub audiences: Vec<String>,
    /// Scopes those APIs define. Of what an application asks for, only these and the standard ones (`openid`, `profile`, …) are granted.
    pub api_scopes: Vec<String>,
    /// Seconds an access token is good for, at most 30 days. Auth0's default is a day.
    pub token_lifetime_seconds: u32,
    /// Seconds an ID token is good for. Auth0's default is ten hours.
    pub id_token_lifetime_seconds: u32,
    /// Which rate limits apply.
    pub plan: Plan,
    /// Milliseconds by which search lags behind writes, by the tenant's clock. Auth0's is late by an unknown time; none
    /// here unless asked for, so that only tests about it wait. GET by id and by e-mail are never late.
    pub search_delay_ms: u32,
    /// Milliseconds after which sessions and refresh tokens that were ended through the Management API have ended.
    /// Auth0 answers 202 and takes an unknown time; none here unless asked for.
    pub revocation_delay_ms: u32,
    /// Whether the custom APIs enforce RBAC and add permissions to access tokens: `permissions` lists what the user has
    /// there, and `scope` is cut to it.
    pub rbac: bool,
    /// What it does where Auth0's documentation leaves two answers open.
    pub answers: Answers,
    /// How its jobs go.
    pub jobs: JobOptions,
    /// Whether people meet the Classic Login pages: tickets then lead to `/lo/reset`, and to their `result_url` at last.
    pub classic_login: bool,
    /// Whether the keys of the JWKS say their `alg`, which a tenant setting of Auth0's can drop.
    pub jwks_alg: bool,
    /// Whether social connections sync the profile at each login (Auth0's default), which makes name-like fields of
    /// their users read-only.
    pub social_profile_sync: bool,
    /// JavaScript of the post-login Action; absent: the one Roster ships. An empty text runs none.
    pub action: Option<String>,
    /// How many requests the log keeps.
    pub keep_requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base_url: None,
            connection: "Username-Password-Authentication".into(),
            connection_id: None,
            requires_username: false,
            m2m: MachineClient::default(),
            app: AppClient::default(),
            audiences: vec!["https://api.example.test".into()],
            api_scopes: Vec::new(),
            token_lifetime_seconds: 86_400,
            id_token_lifetime_seconds: 36_000,
            plan: Plan::Unlimited,
            search_delay_ms: 0,
            revocation_delay_ms: 0,
            rbac: false,
            answers: Answers::default(),
            jobs: JobOptions::default(),
            classic_login: false,
            jwks_alg: true,
            social_profile_sync: true,
            action: None,
            keep_requests: 100_000,
        }
    }
}

impl Options {
    /// These options with the keys of `changes` replaced; a table given in part keeps its other keys.
    ///
    /// # Errors
    /// A key that does not exist, a value of the wrong type, or options no tenant can have.
    pub fn with(&self, changes: Map<String, Value>) -> Result<Self, BadOptions> {
        let mut merged = serde_json::to_value(self)?;
        for (key, change) in changes {
            match (merged.get_mut(&key), change) {
                (Some(Value::Object(table)), Value::Object(change)) => table.extend(change),
                (_, change) => merged[key] = change,
            }
        }
        let options: Self = serde_json::from_value(merged)?;
        options.check()?;
        Ok(options)
    }

    /// The id of the database connection.
    pub fn connection_id(&self) -> String {
        match &self.connection_id {
            Some(id) => id.clone(),
            None => connection_id(&self.connection),
        }
    }

    /// The name of the connection with this id, of those there are.
    pub(super) fn connection_named(&self, id: &str) -> Option<&str> {
        if id == self.connection_id() {
            return Some(&self.connection);
        }
        (id == connection_id(GOOGLE)).then_some(GOOGLE)
    }

    /// The Action to run at login, if any.
    pub(super) fn action_source(&self) -> Option<&str> {
        Some(self.action.as_deref().unwrap_or(SHIPPED_ACTION))
            .filter(|text| !text.trim().is_empty())
    }
}

/// The id of a connection that nobody has chosen one for: the same for the same name, so that it outlives a restart.
pub(super) fn connection_id(name: &str) -> String {
    const CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digest = digest(&SHA256, name.as_bytes());
    let id: String = digest.as_ref()[..16]
        .iter()
        .map(|byte| char::from(CHARACTERS[usize::from(*byte) % CHARACTERS.len()]))
        .collect();
    format!("con_{id}")
}

/// A machine-to-machine application.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MachineClient {
    /// Its public name in token requests.
    pub client_id: String,
    /// Its secret.
    #[serde(serialize_with = "exposed")]
    pub client_secret: SecretString,
    /// The Management API scopes granted to it.
    pub scopes: Vec<String>,
}

impl Default for MachineClient {
    fn default() -> Self {
        const SCOPES: &[&str] = &[
            "read:users",
            "create:users",
            "update:users",
            "delete:users",
            "read:connections",
        ];
        Self {
            client_id: "roster-m2m".into(),
            client_secret: "roster-m2m-secret".into(),
            scopes: SCOPES.iter().map(|&scope| scope.into()).collect(),
        }
    }
}

/// The application that people log in to: public (PKCE) unless it has a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppClient {
    /// Its public name.
    pub client_id: String,
    /// The secret of a confidential (server side) application.
    #[serde(serialize_with = "perhaps_exposed")]
    pub client_secret: Option<SecretString>,
    /// Callback URLs that may be redirected to, beside any on this machine's loopback address.
    pub callbacks: Vec<String>,
}

impl Default for AppClient {
    fn default() -> Self {
        Self {
            client_id: "demo-app".into(),
            client_secret: None,
            callbacks: Vec::new(),
        }
    }
}

/// Auth0's plans, as far as their rate limits differ (`rate-limit-policy` and `rate-limit-configurations` of its docs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// No limits and no rate-limit headers.
    Unlimited,
    /// 2 calls at once and 2 a second over the whole Management API.
    Free,
    /// A bucket per endpoint class; 20 user writes at once, 200 a minute.
    Essentials,
    /// As Essentials.
    Professional,
    /// 50 at once, 16 a second over the whole Management API.
    Enterprise,
    /// 10 at once, 2 a second over the whole Management API.
    EnterpriseNonProduction,
    /// 20 a second over the whole Management API.
    PrivateCloudDevelopment,
    /// The tier of 100 requests a second: 50 of them to the Management API.
    PrivateCloud100,
    /// The tier of 500 requests a second: 250 of them to the Management API.
    PrivateCloud500,
    /// The tier of 1,500 requests a second: 750 of them to the Management API.
    PrivateCloud1500,
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn perhaps_exposed<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => exposed(secret, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(changes: Value) -> Result<Options, BadOptions> {
        let Value::Object(changes) = changes else {
            unreachable!("tests pass objects")
        };
        Options::default().with(changes)
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let options = changed(json!({"plan": "free", "m2m": {"client_id": "other"}})).unwrap();
        assert_eq!(options.plan, Plan::Free);
        assert_eq!(options.m2m.client_id, "other");
        assert_eq!(
            options.m2m.client_secret.expose_secret(),
            "roster-m2m-secret"
        );
        assert_eq!(options.connection, "Username-Password-Authentication");
    }

    #[test]
    fn a_key_that_does_not_exist_is_refused() {
        assert!(changed(json!({"plam": "free"})).is_err());
        assert!(changed(json!({"m2m": {"secret": "x"}})).is_err());
    }

    #[test]
    fn a_connection_has_an_id_of_its_own_that_stays_unless_one_is_chosen() {
        let id = Options::default().connection_id();
        assert_eq!(id, Options::default().connection_id());
        assert_eq!(id.len(), "con_".len() + 16);
        let other = changed(json!({"connection": "Other"})).unwrap();
        assert_ne!(other.connection_id(), id);
        let chosen = changed(json!({"connection_id": "con_ftSSLHb0O7rcUGmF"})).unwrap();
        assert_eq!(chosen.connection_id(), "con_ftSSLHb0O7rcUGmF");
    }

    #[test]
    fn printing_options_does_not_print_the_secret() {
        assert!(!format!("{:?}", Options::default()).contains("roster-m2m-secret"));
    }
}

//! Configuration: `config/default.toml` < a file < the environment, checked once, before anything starts.
//!
//! Promises: a key that does not exist and a value that does not fit stop the program, with the key, where it came from
//! and what fits; no value is ever quoted in an error, since it may be a secret in the wrong place; secrets cannot be
//! printed. `config/default.toml` is the list of keys and their documentation, there is no second one.
//!
//! What needs other rooms' knowledge is checked there: the connection strings by `db::connect::Endpoint::parse`.

mod callers;
mod console;
mod error;
mod layers;
mod permission_format;
mod read;
mod sections;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use callers::{Caller, Credential};
pub use console::{Console, Login};
pub use error::ConfigError;
pub use permission_format::{Grant, PermissionFormat};

use layers::Layers;

/// The embedded defaults with the documentation of every key.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// Everything a person may set. Absent parts of [`Config::database`], [`Config::auth0`] and [`Config::authz`] are
/// errors only for the commands that ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http.*`
    pub http: Http,
    /// `console.*`; none: there is no console.
    pub console: Option<Console>,
    /// `invitation.*`
    pub invitation: Invitation,
    /// `guard.*`
    pub guard: Guard,
    /// `removal.*`
    pub removal: Removal,
    /// `reactor.*`
    pub reactor: Reactor,
    /// `sweep.*`
    pub sweep: Sweep,
    /// `audit.*`
    pub audit: Audit,
    /// `history.*`
    pub history: History,
    /// `log.*`
    pub log: Log,
    database: Result<Database, Missing>,
    auth0: Result<Auth0, Missing>,
    authz: Result<Authz, Missing>,
}

/// The keys a command needs and nobody has set.
type Missing = Vec<&'static str>;

/// Where the users are.
#[derive(Debug, Clone)]
pub struct Database {
    /// The connection string, as libpq understands it.
    pub url: SecretString,
    /// The one for LISTEN: `url`, unless a pooler is in between.
    pub listen_url: SecretString,
    /// Sessions of one process at most, beside the listener's own.
    pub pool_size: usize,
}

/// The tenant that is written to.
#[derive(Debug, Clone)]
pub struct Auth0 {
    /// Where the Management API is, without a path.
    pub base_url: Url,
    /// The Management API's identifier in token requests.
    pub audience: String,
    /// Of the machine-to-machine application.
    pub client_id: String,
    /// Of the machine-to-machine application.
    pub client_secret: SecretString,
    /// The database connection users are created in.
    pub connection: String,
    /// Auth0's id of it; none: asked for where it is needed.
    pub connection_id: Option<String>,
    /// Whether many new users may go by import jobs.
    pub import_jobs: bool,
    /// The share of Auth0's rate limits to use, in (0, 1].
    pub budget_share: f64,
}

/// Whose tokens are believed, and how they lead to a user.
#[derive(Debug, Clone)]
pub struct Authz {
    /// Compared byte by byte with `iss`, so kept as it was written.
    pub issuer: String,
    /// A token must be for one of them; never empty.
    pub audience: Vec<String>,
    /// Where the signing keys are.
    pub jwks_url: Url,
    /// The claim that holds the address.
    pub email_claim: String,
    /// Whether unknown accounts may be matched by address.
    pub email_match: EmailMatch,
    /// Prefixes of `sub` for which they may.
    pub email_match_subjects: Vec<String>,
    /// Where look-ups are answered from.
    pub directory: DirectoryMode,
    /// How old an answer may be while the database cannot be asked.
    pub max_stale: Duration,
    /// How old a token may be, by its `iat`, whatever its `exp` says.
    pub max_token_age: Option<Duration>,
    /// How permissions name actions on resources.
    pub permission_format: PermissionFormat,
    /// The programs that may ask about anybody.
    pub callers: Vec<Caller>,
    /// Where applications reach the server, as they write it; https.
    pub public_url: Option<String>,
    /// Where decisions are logged.
    pub decision_log: DecisionSink,
    /// The share of allows that is, in [0, 1].
    pub decision_log_sample: f64,
}

/// `authz.decision_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionSink {
    /// Nowhere.
    Off,
    /// On stdout, where `roster run` writes nothing else.
    Stdout,
    /// At the end of this file.
    File(PathBuf),
}

/// `authz.directory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryMode {
    /// From a copy that each commit changes; from the database where that copy cannot tell.
    Memory,
    /// From the database, each time.
    ReadThrough,
}

/// `authz.email_match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailMatch {
    /// By an address that the token says is verified.
    Verified,
    /// Only accounts that Roster knows get in.
    Never,
}

/// The server's face.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// With what to encrypt; plain HTTP without it.
    pub tls: Option<Tls>,
    /// How long it still answers once it is asked to stop.
    pub stop_delay: Duration,
}

/// `http.tls`: PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's certificate first, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Telling new users.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// How.
    pub send: InvitationSend,
    /// The Auth0 application that the mail speaks for.
    pub client_id: Option<String>,
    /// Mails a minute at most.
    pub per_minute: u32,
}

/// `invitation.send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationSend {
    /// Auth0 mails a link to set a password.
    Auth0Email,
    /// Nobody is told.
    Nothing,
}

/// When removals wait for a person.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Removals within this time count together.
    pub window: Duration,
    /// So many are never held.
    pub removals_min: u32,
    /// Nor is this share of the active users, in [0, 1].
    pub removals_share: f64,
    /// E-mail addresses or user keys.
    pub protected: Vec<String>,
    /// The last so many users of `admin_role` are protected too.
    pub min_admins: u32,
    /// The role that counts as administrator.
    pub admin_role: Option<String>,
}

/// What follows a block.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Deletion this long after the block, of accounts that Roster made; `None` leaves it at the block.
    pub delete_after: Option<Duration>,
    /// How long access tokens are good in the tenant, so that history can tell when the last one has expired.
    pub token_lifetime: Duration,
}

/// The loop's pace.
#[derive(Debug, Clone)]
pub struct Reactor {
    /// The longest that a lost notification delays a change.
    pub poll_interval: Duration,
    /// Calls to Auth0 under way at a time.
    pub workers: usize,
    /// How long a claim lasts without a word from its worker.
    pub lease: Duration,
}

/// Looking at everything.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// How often.
    pub every: Duration,
}

/// Comparing with Auth0 itself.
#[derive(Debug, Clone)]
pub struct Audit {
    /// How often, by the reactor; `None`: only when a person asks.
    pub every: Option<Duration>,
}

/// The past.
#[derive(Debug, Clone)]
pub struct History {
    /// How long changes and attempts are kept.
    pub keep: Duration,
}

/// What is written to stderr.
#[derive(Debug, Clone)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Directives for `tracing_subscriber::EnvFilter`, known to be well-formed.
    pub filter: String,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}

impl Config {
    /// Reads the file (if one is given), `.env` (of the working directory or above it) and the environment.
    ///
    /// # Errors
    /// The first thing that is wrong; none of it is fixed by trying again.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = file {
            layers.add_file(path)?;
        }
        layers.add_environment()?;
        Self::read(&layers)
    }

    /// As [`Config::load`], from the text of a file and variables by name. Reads nothing else.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from(
        file: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if let Some(text) = file {
            layers.add_text("the configuration file", text)?;
        }
        layers.add_variables(variables.clone(), None)?;
        Self::read(&layers)
    }

    /// The database.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] names what to set.
    pub fn database(&self) -> Result<&Database, ConfigError> {
        present(&self.database)
    }

    /// The tenant.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] names what to set.
    pub fn auth0(&self) -> Result<&Auth0, ConfigError> {
        present(&self.auth0)
    }

    /// What the authorization server needs to judge tokens.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] names what to set.
    pub fn authz(&self) -> Result<&Authz, ConfigError> {
        present(&self.authz)
    }
}

fn present<T>(section: &Result<T, Missing>) -> Result<&T, ConfigError> {
    section.as_ref().map_err(|keys| ConfigError::missing(keys))
}

impl Database {
    /// Whether LISTEN goes another way than everything else.
    pub fn listens_elsewhere(&self) -> bool {
        self.url.expose_secret() != self.listen_url.expose_secret()
    }
}

#[cfg(test)]
mod tests;

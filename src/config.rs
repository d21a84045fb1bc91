//! Configuration: `config/default.toml` < a file < the environment, checked once, before anything starts.
//!
//! Promises: a key that does not exist and a value that does not fit stop the program, with the key, where it came from
//! and what fits; no value is ever quoted in an error, since it may be a secret in the wrong place; secrets cannot be
//! printed. `config/default.toml` is the list of keys and their documentation, there is no second one.
//!
//! What needs other rooms' knowledge is checked there: the connection strings by `db::connect::Endpoint::parse`.

mod error;
mod layers;
mod read;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use error::ConfigError;

use layers::Layers;

/// The embedded defaults with the documentation of every key.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// Everything a person may set. Absent parts of [`Config::database`], [`Config::auth0`] and [`Config::authz`] are
/// errors only for the commands that ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http.*`
    pub http: Http,
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

    fn read(from: &Layers) -> Result<Self, ConfigError> {
        let base_url = base_url(from)?;
        Ok(Self {
            database: database(from)?,
            auth0: auth0(from, base_url.as_ref())?,
            authz: authz(from, base_url.as_ref())?,
            http: Http {
                listen: from.parsed(
                    "http.listen",
                    "an address and a port, such as 127.0.0.1:8080",
                )?,
            },
            invitation: Invitation {
                send: from.choice(
                    "invitation.send",
                    &[
                        ("auth0_email", InvitationSend::Auth0Email),
                        ("none", InvitationSend::Nothing),
                    ],
                )?,
                client_id: from.text("invitation.client_id")?,
                per_minute: from.number("invitation.per_minute", 1..=10_000)?,
            },
            guard: Guard {
                window: from.duration("guard.window", SECOND)?,
                removals_min: from.number("guard.removals_min", 0..=1_000_000)?,
                removals_share: from.share("guard.removals_share")?,
                protected: from.list("guard.protected")?,
                min_admins: from.number("guard.min_admins", 0..=1_000_000)?,
                admin_role: from.text("guard.admin_role")?,
            },
            removal: Removal {
                delete_after: from.optional_duration("removal.delete_after", SECOND)?,
            },
            reactor: Reactor {
                poll_interval: from.duration("reactor.poll_interval", Duration::from_millis(10))?,
                workers: from.number("reactor.workers", 1..=256)?,
                lease: from.duration("reactor.lease", SECOND)?,
            },
            sweep: Sweep {
                every: from.duration("sweep.every", SECOND)?,
            },
            history: History {
                keep: from.duration("history.keep", Duration::from_secs(60))?,
            },
            log: Log {
                format: from.choice(
                    "log.format",
                    &[
                        ("auto", LogFormat::Auto),
                        ("text", LogFormat::Text),
                        ("json", LogFormat::Json),
                    ],
                )?,
                filter: filter(from)?,
            },
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn present<T>(section: &Result<T, Missing>) -> Result<&T, ConfigError> {
    section.as_ref().map_err(|keys| ConfigError::missing(keys))
}

/// The values, or the keys of those that are not there.
fn all_of<const N: usize>(
    pairs: [(&'static str, Option<String>); N],
) -> Result<[String; N], Missing> {
    let missing: Missing = pairs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| *key)
        .collect();
    if missing.is_empty() {
        Ok(pairs.map(|(_, value)| value.unwrap_or_default()))
    } else {
        Err(missing)
    }
}

fn database(from: &Layers) -> Result<Result<Database, Missing>, ConfigError> {
    let url = from.text("database.url")?;
    let listen_url = from.text("database.listen_url")?;
    let pool_size = from.number("database.pool_size", 2..=1_000)?;
    Ok(all_of([("database.url", url)]).map(|[url]| Database {
        listen_url: listen_url.unwrap_or_else(|| url.clone()).into(),
        url: url.into(),
        pool_size,
    }))
}

fn base_url(from: &Layers) -> Result<Option<Url>, ConfigError> {
    const DOMAIN: &str =
        "the tenant's domain without https:// or a path, such as my-tenant.eu.auth0.com";
    let domain = from.text("auth0.domain")?;
    let from_domain = match &domain {
        None => None,
        Some(domain) => Some(
            Url::parse(&format!("https://{domain}"))
                .ok()
                .filter(|url| url.host_str() == Some(domain.to_ascii_lowercase().as_str()))
                .ok_or_else(|| from.bad("auth0.domain", DOMAIN))?,
        ),
    };
    let given = from.url("auth0.base_url")?;
    if given.as_ref().is_some_and(|url| url.path() != "/") {
        return Err(from.bad("auth0.base_url", "a URL without a path"));
    }
    Ok(given.or(from_domain))
}

fn auth0(from: &Layers, base_url: Option<&Url>) -> Result<Result<Auth0, Missing>, ConfigError> {
    let connection = from.required_text("auth0.connection")?;
    let budget_share = from.share("auth0.budget_share")?;
    if budget_share == 0.0 {
        return Err(from.bad("auth0.budget_share", "a number above 0, at most 1"));
    }
    let audience = from.text("auth0.audience")?;
    let values = all_of([
        ("auth0.domain", base_url.map(Url::to_string)),
        ("auth0.client_id", from.text("auth0.client_id")?),
        ("auth0.client_secret", from.text("auth0.client_secret")?),
    ]);
    Ok(values.and_then(|[base, client_id, client_secret]| {
        Ok(Auth0 {
            // A URL without a path is written with a slash at its end.
            audience: audience.unwrap_or_else(|| format!("{base}api/v2/")),
            base_url: base_url.cloned().ok_or_else(|| vec!["auth0.domain"])?,
            client_id,
            client_secret: client_secret.into(),
            connection,
            budget_share,
        })
    }))
}

fn authz(from: &Layers, base_url: Option<&Url>) -> Result<Result<Authz, Missing>, ConfigError> {
    from.url("authz.issuer")?;
    let issuer = from
        .text("authz.issuer")?
        .or_else(|| base_url.map(Url::to_string));
    let jwks_url = from.url("authz.jwks_url")?;
    let jwks_url = jwks_url.or_else(|| {
        let issuer = issuer.as_deref()?.trim_end_matches('/');
        Url::parse(&format!("{issuer}/.well-known/jwks.json")).ok()
    });
    let audience = from.list("authz.audience")?;
    let email_claim = from.required_text("authz.email_claim")?;
    let email_match = from.choice(
        "authz.email_match",
        &[
            ("verified", EmailMatch::Verified),
            ("never", EmailMatch::Never),
        ],
    )?;
    let email_match_subjects = from.list("authz.email_match_subjects")?;

    let mut missing = Missing::new();
    if audience.is_empty() {
        missing.push("authz.audience");
    }
    let (Some(issuer), Some(jwks_url), false) = (issuer, jwks_url, audience.is_empty()) else {
        if from.text("authz.issuer")?.is_none() && base_url.is_none() {
            missing.insert(0, "authz.issuer");
        }
        return Ok(Err(missing));
    };
    Ok(Ok(Authz {
        issuer,
        audience,
        jwks_url,
        email_claim,
        email_match,
        email_match_subjects,
    }))
}

fn filter(from: &Layers) -> Result<String, ConfigError> {
    let filter = from.required_text("log.filter")?;
    match tracing_subscriber::EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => Err(from.bad(
            "log.filter",
            "a level or directives, such as info or warn,roster=debug",
        )),
    }
}

impl Database {
    /// Whether LISTEN goes another way than everything else.
    pub fn listens_elsewhere(&self) -> bool {
        self.url.expose_secret() != self.listen_url.expose_secret()
    }
}

#[cfg(test)]
mod tests;

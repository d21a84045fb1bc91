//! Reaching PostgreSQL: one connection string in, sessions and pools out.
//!
//! Promises: a string that works with libpq (psql) either works here with the same meaning or is refused with an error
//! that names the key; nothing waits without a limit; a password is in no error and in no `Debug`.
//!
//! What it does not do: read libpq's environment variables (`PGHOST`, …) or service files, authenticate by GSSAPI, or
//! notice that a server it is connected to has become a standby. For the last, ask [`is_lost`] about each error.

mod conninfo;
mod error;
mod pairs;
mod passfile;
mod tls;

use std::{fmt, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, PoolBuilder, RecyclingMethod, Runtime,
    Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Connection, SimpleQueryMessage, Socket,
    config::Host,
    error::{DbError, SqlState},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use error::UrlError;

use super::pool::Pool;

/// The TLS stream of a [`Connection`] made here.
pub type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// What every session of ours sets first; the pool does it by itself, who uses [`Endpoint::connect`] sends it.
///
/// `jit` costs more than it gains on queries for a few keys. The limits end what a lost client left behind, and a wait
/// for a table that somebody holds, such as to alter it. Everything
/// we run is schema-qualified, so the search path holds nothing that somebody else could put an object into.
pub const SESSION_SETTINGS: &str = "\
    set jit = off; \
    set plan_cache_mode = force_generic_plan; \
    set statement_timeout = '30s'; \
    set lock_timeout = '5s'; \
    set idle_in_transaction_session_timeout = '30s'; \
    set search_path = pg_catalog, pg_temp";

/// Per address, for the TCP handshake alone.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What TLS, authentication and the look whether the server accepts writes may take on top.
const HANDSHAKE_ALLOWANCE: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection of a pool, or for an old one to be made usable.
const POOL_PATIENCE: Duration = Duration::from_secs(5);
/// After so long without work a session shows a sign of life before it is used: a peer that is gone is found before somebody waits
/// for its answer.
const IDLE: Duration = Duration::from_secs(1);
/// How long that may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// How often a pooler is looked for at the start.
const POOLER_LOOKS: usize = 5;

/// Where a database is and how to get in. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// Why no session with the database came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answered, or someone who is not getting on with it.
    #[error("connecting to {endpoint} took longer than {limit:?}")]
    Timeout {
        /// Hosts, database and user, without the password.
        endpoint: String,
        /// The limit that was reached.
        limit: Duration,
    },
    /// The server or the network refused.
    #[error("could not connect to {endpoint}")]
    Refused {
        /// Hosts, database and user, without the password.
        endpoint: String,
        /// What tokio-postgres says.
        source: tokio_postgres::Error,
    },
}

impl Endpoint {
    /// Reads a libpq connection string: `postgres://…` with one or more hosts, or `host=… dbname=…`.
    ///
    /// Where the string is silent: keep-alives after 15 s idle, then every 5 s, three times; `tcp_user_timeout` 20 s;
    /// `connect_timeout` 5 s; `application_name` is `roster`; of several hosts the first that accepts writes.
    ///
    /// # Errors
    /// [`UrlError`] names the key that is unknown, unsupported or has a bad value. Files the string names
    /// (`sslrootcert`, `sslcert`, `sslkey`, `passfile`) are read here, so that they fail the start and not a night.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (config, tls) = conninfo::parse(url)?;
        Ok(Self { config, tls })
    }

    /// The same place under another `application_name`, which `pg_stat_activity` and `roster.history` show.
    #[must_use]
    pub fn named(mut self, application_name: &str) -> Self {
        self.config.application_name(application_name);
        self
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_dbname(mut self, dbname: &str) -> Self {
        self.config.dbname(dbname);
        self
    }

    /// The name of the database, where the connection string says it.
    pub fn dbname(&self) -> Option<&str> {
        self.config.get_dbname()
    }

    /// The most that [`Endpoint::connect`] takes: every host may need its own `connect_timeout`.
    pub fn deadline(&self) -> Duration {
        let hosts = self
            .config
            .get_hosts()
            .len()
            .max(self.config.get_hostaddrs().len());
        let each = self
            .config
            .get_connect_timeout()
            .copied()
            .unwrap_or(TCP_CONNECT_TIMEOUT);
        each * u32::try_from(hosts.max(1)).unwrap_or(u32::MAX) + HANDSHAKE_ALLOWANCE
    }

    /// Opens one session, within [`Endpoint::deadline`] (10 s for one host) as a whole.
    ///
    /// The connection is handed over undriven: a listener polls it with `poll_message`, which a plain
    /// `connection.await` would not do (that throws notifications away). [`Endpoint::session`] is the short way.
    ///
    /// # Errors
    /// [`ConnectError`], which is worth a retry with backoff in either case.
    pub async fn connect(&self) -> Result<(Client, Connection<Socket, TlsStream>), ConnectError> {
        let limit = self.deadline();
        match timeout(limit, self.config.connect(self.tls.clone())).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(source)) => Err(ConnectError::Refused {
                endpoint: self.to_string(),
                source,
            }),
            Err(_) => Err(ConnectError::Timeout {
                endpoint: self.to_string(),
                limit,
            }),
        }
    }

    /// Opens one session that a task of its own drives until the client is dropped; nothing is set on it.
    ///
    /// For work that must not share [`SESSION_SETTINGS`], such as a migration. Notifications are lost.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    pub async fn session(&self) -> Result<Client, ConnectError> {
        let (client, connection) = self.connect().await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a database session ended with an error");
            }
        });
        Ok(client)
    }

    /// A pool of at most `size` sessions, each with [`SESSION_SETTINGS`]; connects when first asked.
    ///
    /// Waiting for a free session, making one and reusing one all have limits; one that was idle has to show that somebody is there.
    pub fn pool(&self, size: usize) -> Pool {
        let settings = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move {
                // deadpool's create timeout does not cover its hooks.
                let set = client.batch_execute(SESSION_SETTINGS);
                match timeout(HANDSHAKE_ALLOWANCE, set).await {
                    Ok(result) => result.map_err(HookError::Backend),
                    Err(_) => Err(HookError::message("setting up the session took too long")),
                }
            })
        });
        let sessions = self.sessions(size).post_create(settings);
        Pool::new(built(sessions), false)
    }

    /// As [`Endpoint::pool`], where a pooler hands out servers by transaction: nothing is set on a session there.
    pub fn pool_behind_a_pooler(&self, size: usize) -> Pool {
        Pool::new(built(self.sessions(size)), true)
    }

    fn sessions(&self, size: usize) -> PoolBuilder {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            // A dead session is found by its keep-alives, its first failing query, and the sign of life after it was idle; a
            // query each time would only double the round trips.
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(POOL_PATIENCE),
                create: Some(self.deadline()),
                recycle: Some(POOL_PATIENCE),
            })
            .pre_recycle(Hook::async_fn(|client: &mut ClientWrapper, metrics| {
                Box::pin(async move {
                    if metrics.last_used() < IDLE {
                        return Ok(());
                    }
                    match timeout(SIGN_OF_LIFE, client.batch_execute("select 1")).await {
                        Ok(result) => result.map_err(HookError::Backend),
                        Err(_) => Err(HookError::message("the session gives no sign of life")),
                    }
                })
            }))
    }

    /// Whether a pooler is in between that hands out servers by transaction: two sessions with one and the same server, or one
    /// session with two, tell so. Who really has a server keeps it.
    ///
    /// A pooler that is busy with others might not show it at once, so it is looked for a few times. Nothing is set and no statement
    /// prepared, so nothing stays behind there.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn has_a_pooler(&self) -> Result<bool, ConnectError> {
        let (one, other) = (self.session().await?, self.session().await?);
        let looked = async {
            for _ in 0..POOLER_LOOKS {
                let before = server_of(&one, "").await?;
                let beside = server_of(&other, "begin; ").await?;
                let after = server_of(&one, "").await?;
                other.batch_execute("rollback").await?;
                if before == beside || before != after {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match timeout(HANDSHAKE_ALLOWANCE, looked).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(source)) => Err(ConnectError::Refused {
                endpoint: self.to_string(),
                source,
            }),
            // With a single server for everybody, one waits for the other. Where it was slow for another reason, a transaction more
            // does no harm.
            Err(_) => Ok(true),
        }
    }
}

/// The process that serves a session, as a simple query tells.
async fn server_of(
    session: &Client,
    before: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    let query = format!("{before}select pg_backend_pid()");
    let said = session.simple_query(&query).await?;
    Ok(said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

fn built(sessions: PoolBuilder) -> deadpool_postgres::Pool {
    let built = sessions.build();
    built.expect("a runtime is set, which is all that building can miss")
}

/// Hosts, database and user as a person would name them: `db1:5432,db2:5432/app as roster`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts();
        let mut places: Vec<String> = hosts
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        if places.is_empty() {
            let addresses = self.config.get_hostaddrs().iter();
            places = addresses.map(ToString::to_string).collect();
        }
        let ports = self.config.get_ports();
        for (index, place) in places.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            write!(f, "{comma}{place}:{port}")?;
        }
        if let Some(dbname) = self.config.get_dbname() {
            write!(f, "/{dbname}")?;
        }
        if let Some(user) = self.config.get_user() {
            write!(f, " as {user}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Whether the session that raised `error` is of no more use: it ended, is about to, or its server became a standby.
///
/// A pool does not see the last case by itself: take the object out of it (`Object::take`) and ask for another, which
/// goes through the host list again. The codes are PostgreSQL's, appendix A: class 08, 57P01 to 57P03, 25006.
pub fn is_lost(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        return error.is_closed() || is_io(error);
    };
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(code)
        || error
            .as_db_error()
            .is_some_and(says_that_statements_are_gone)
}

/// Whether a session has lost its prepared statements, or found somebody else's: what comes of a pooler that hands out servers by
/// transaction.
pub(super) fn says_that_statements_are_gone(error: &DbError) -> bool {
    [
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
    ]
    .contains(error.code())
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
}

#[cfg(test)]
mod tests;

//! What `roster run` runs: reactor and authorization server, started from one configuration and stopped in order.
//!
//! Everything that can be wrong with the configuration or the installation is found before a port is bound.

use std::{net::SocketAddr, sync::Arc};

use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;
use warp::Filter;

use crate::{
    audit::{Audit, schedule},
    auth0,
    authz::{self, Authz},
    config::{self, Config, ConfigError, InvitationSend},
    console::{self, Console},
    db::{
        DbError,
        connect::{ConnectError, Endpoint, UrlError},
        migrate,
        mirror::{LOST_CALL_WAIT, Terms},
        pool::{Pool, QUICK},
        reactors,
    },
    http,
    progress::Progress,
    reactor::{self, AFTERLOOKS, Imports, Reactor},
    telemetry::Metrics,
};

/// What a call waits at most for one of the workers, and a little more.
const LONGEST_LINE: std::time::Duration = std::time::Duration::from_secs(10);
/// Sessions of the console.
const CONSOLE_SESSIONS: usize = 4;
/// Between two looks at the certificate's files.
const CERTIFICATE_LOOKS: std::time::Duration = std::time::Duration::from_secs(5);
/// An accept loop that waits for nobody comes round in a second.
const LONGEST_STEP: std::time::Duration = std::time::Duration::from_secs(60);

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Both.
    Everything,
    /// Only the mirror to Auth0.
    Reactor,
    /// Only authorization.
    Server,
}

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration lacks something, or has something that does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `database.url` or `database.listen_url`.
    #[error("{key} cannot be used")]
    Url {
        /// Which of the two.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: UrlError,
    },
    /// The settings of the Auth0 client.
    #[error("the settings of Auth0 cannot be used")]
    Auth0(#[from] auth0::SettingsError),
    /// The settings of the authorization server.
    #[error("the settings of the authorization server cannot be used")]
    Authz(#[from] authz::SettingsError),
    /// The settings of the console.
    #[error("the settings of the console cannot be used")]
    Console(#[from] console::SettingsError),
    /// The database could not be reached.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// The database refused something.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The schema is not there, or the view is not written yet.
    #[error("the schema roster is not installed in this database")]
    NotInstalled,
    /// The certificate or its key.
    #[error("http.tls cannot be used")]
    Tls(#[from] http::TlsError),
    /// The address of the server is taken or not ours.
    #[error("http.listen: {address} cannot be listened on")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// The two ways into the database that a configuration names.
#[derive(Debug, Clone)]
pub struct Ways {
    /// For what `run` asks and writes; a transaction pooler may be on it.
    pub main: Endpoint,
    /// For LISTEN, `migrate` and the other commands: direct, even where `main` goes through a pooler.
    pub listen: Endpoint,
}

impl Ways {
    /// Reads both connection strings.
    ///
    /// # Errors
    /// [`ServiceError::Config`] or [`ServiceError::Url`].
    pub fn of(config: &Config) -> Result<Self, ServiceError> {
        let database = config.database()?;
        let parse = |key, url: &secrecy::SecretString| {
            Endpoint::parse(url.expose_secret()).map_err(|source| ServiceError::Url { key, source })
        };
        Ok(Self {
            main: parse("database.url", &database.url)?,
            listen: parse("database.listen_url", &database.listen_url)?.named("roster listener"),
        })
    }
}

/// Runs until `stop`; whether every part gets on is told to `progress`. `ready` is told the server's address (none for the reactor alone) once everything stands.
///
/// # Errors
/// [`ServiceError`], all of them before anything runs.
pub async fn run(
    config: &Config,
    part: Part,
    progress: Progress,
    ready: oneshot::Sender<Option<SocketAddr>>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let metrics = Metrics::default();
    let ways = Ways::of(config)?;
    let pool = pool(&ways, config.database()?.pool_size).await?;
    let reactor = match part {
        Part::Server => None,
        _ => Some(reactor(config, pool.clone(), progress.clone())?),
    };
    let audit = reactor.as_ref().map(|reactor| {
        // One budget for both, and a call at a time, so that an audit hardly delays the mirror.
        Audit::new(ways.listen.clone(), reactor.client.clone(), 1)
    });
    let authz = match part {
        Part::Reactor => None,
        _ => Some(Authz::new(
            authz::Settings::from(config.authz()?),
            pool.clone(),
            metrics.clone(),
        )?),
    };
    let installed = pool
        .on(QUICK, async |session| {
            Ok(migrate::is_installed(session).await)
        })
        .await?;
    if !installed.unwrap_or(false) {
        return Err(ServiceError::NotInstalled);
    }
    // What comes after that is waited out, so that whoever asks the server meanwhile is answered.
    if let Some(reactor) = &reactor {
        reactor.register().await?;
    }
    let tls = match (&config.http.tls, &authz) {
        (Some(files), Some(_)) => Some(http::Tls::load(files).await?),
        _ => None,
    };
    let address = config.http.listen;
    let listener = match part {
        Part::Reactor => None,
        _ => Some(
            TcpListener::bind(address)
                .await
                .map_err(|source| ServiceError::Listen { address, source })?,
        ),
    };
    let bound = listener
        .as_ref()
        .and_then(|listener| listener.local_addr().ok());
    // Whichever part ends first takes the other with it, so that a supervisor sees one whole process.
    let stop = stop.child_token();
    let console = match (&config.console, &authz, bound) {
        (Some(settings), Some(authz), Some(bound)) => {
            let stop = stop.clone();
            Some(console(settings, bound, authz.clone(), &ways, stop)?)
        }
        _ => None,
    };
    tracing::info!(database = %ways.main, http = bound.map(|b| b.to_string()), "roster starts");

    let listen = ways.listen.clone();
    let mirror = async {
        match reactor {
            Some(reactor) => reactor.run(ways.listen, stop.clone()).await,
            None => stop.cancelled().await,
        }
        stop.cancel();
    };
    let server = async {
        if let (Some(authz), Some(listener)) = (authz, listener) {
            // Whoever shares the load out learns of a stop before the server stops.
            let (asked, stop) = (stop.clone(), CancellationToken::new());
            let (leaving, stopped, delay) = (authz.clone(), stop.clone(), config.http.stop_delay);
            tokio::spawn(async move {
                asked.cancelled().await;
                leaving.leave();
                tokio::time::sleep(delay).await;
                stopped.cancel();
            });
            let (keys, keys_stop) = (authz.clone(), stop.clone());
            let fresh = tokio::spawn(async move { keys.keep_fresh(keys_stop).await });
            let (kept, kept_stop, endpoint) = (authz.clone(), stop.clone(), listen.clone());
            let (watched, every) = (progress.clone(), config.sweep.every);
            let kept = tokio::spawn(async move {
                kept.keep_directory(endpoint, every, &watched, kept_stop)
                    .await;
            });
            if let Some(tls) = tls.clone() {
                let stop = stop.clone();
                tokio::spawn(async move { tls.follow(CERTIFICATE_LOOKS, stop).await });
            }
            let pages = console.iter().map(|console| console.routes());
            let faces = http::first_of(
                pages
                    .chain([authz::endpoints(authz.clone())
                        .map(warp::Reply::into_response)
                        .boxed()])
                    .collect::<Vec<_>>(),
            );
            let service = http::warp_service(faces.recover(authz::recover));
            let part = progress.part("server", LONGEST_STEP);
            let limits = http::Limits::within_open_files();
            http::serve_watched(listener, tls, service, limits, part, stop).await;
            let _ = (fresh.await, kept.await);
            authz.flush_decision_log().await;
        } else {
            stop.cancelled().await;
        }
        stop.cancel();
    };
    let audits = async {
        if let Some(audit) = audit {
            schedule::run(audit, pool.clone(), config.audit.every, stop.clone()).await;
        }
    };
    let telling = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = progress.begun() => drop(ready.send(bound)),
        }
    };
    // In this order: each makes its parts known when it is first asked, before anybody waits for them to begin.
    tokio::join!(biased; mirror, server, telling, audits);
    Ok(())
}

/// The console on its own few sessions, so that a page that takes its time keeps no application waiting.
fn console(
    settings: &config::Console,
    bound: SocketAddr,
    authz: Arc<Authz>,
    ways: &Ways,
    stop: CancellationToken,
) -> Result<Arc<Console>, ServiceError> {
    let here = || Url::parse(&format!("http://{bound}"));
    let url = match &settings.url {
        Some(url) => url.clone(),
        None => here().map_err(console::SettingsError::Url)?,
    };
    // Direct where there is a pooler: an edit's settings are the session's.
    let pool = ways
        .listen
        .clone()
        .named("roster console")
        .pool(CONSOLE_SESSIONS);
    Ok(Console::new(settings, &url, authz, pool, stop)?)
}

/// Sessions by the main way, with or without a pooler on it.
async fn pool(ways: &Ways, size: usize) -> Result<Pool, ServiceError> {
    if !ways.main.has_a_pooler().await? {
        return Ok(ways.main.pool(size));
    }
    tracing::info!(
        database = %ways.main,
        "database.url goes through a transaction pooler: each piece of work is one transaction"
    );
    Ok(ways.main.pool_behind_a_pooler(size))
}

/// The client of the tenant that the configuration names.
///
/// # Errors
/// [`ServiceError::Config`] or [`ServiceError::Auth0`].
pub fn client(config: &Config) -> Result<auth0::Client, ServiceError> {
    let settings = config.auth0()?;
    Ok(auth0::Client::new(auth0::Settings {
        base_url: settings.base_url.clone(),
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.clone(),
        audience: settings.audience.clone(),
        connection: settings.connection.clone(),
        invitation_client_id: config.invitation.client_id.clone(),
        budget_share: settings.budget_share,
        call_timeout: auth0::Settings::CALL_TIMEOUT,
        // The reactor claims only what the pace allows, so a call waits for its turn only in a crowd.
        permit_wait: std::time::Duration::from_secs(5),
    })?)
}

fn reactor(config: &Config, pool: Pool, progress: Progress) -> Result<Reactor, ServiceError> {
    let client = client(config)?;
    let auth0 = config.auth0()?;
    let config::Guard {
        window,
        removals_min,
        removals_share,
        protected,
        min_admins,
        admin_role,
    } = config.guard.clone();
    let settings = reactors::Settings {
        // One spelling, since another tenant means starting over in observe.
        tenant: client.tenant().to_owned(),
        connection: auth0.connection.clone(),
        guard_window: window.as_secs_f64(),
        guard_removals_min: i32::try_from(removals_min).unwrap_or(i32::MAX),
        guard_removals_share: removals_share,
        guard_protected: protected.iter().map(|who| who.to_lowercase()).collect(),
        guard_min_admins: i32::try_from(min_admins).unwrap_or(i32::MAX),
        guard_admin_role: admin_role,
        delete_after: config.removal.delete_after.map(|d| d.as_secs_f64()),
        token_lifetime: config.removal.token_lifetime.as_secs_f64(),
        invitation_send: match config.invitation.send {
            InvitationSend::Auth0Email => "auth0_email".to_owned(),
            InvitationSend::Nothing => "none".to_owned(),
        },
    };
    let call_deadline = reactor::call_deadline(&client);
    Ok(Reactor {
        pool,
        terms: Terms {
            reactor: Uuid::new_v4(),
            // A lease must outlast what its worker does between two turns: at most the two calls of a look, and the wait for them.
            lease: config
                .reactor
                .lease
                .max(LONGEST_LINE + client.longest_call() * 2),
            call_deadline,
            claim_ids: Uuid::new_v4,
            lost_call_wait: LOST_CALL_WAIT,
            jitter: rand::random,
            invitations_per_minute: config.invitation.per_minute,
        },
        client,
        settings,
        poll_interval: config.reactor.poll_interval,
        afterlooks: AFTERLOOKS,
        imports: match auth0.import_jobs {
            true => Imports::Auto {
                connection_id: auth0.connection_id.clone(),
            },
            false => Imports::Never,
        },
        sweep_every: config.sweep.every,
        history_keep: config.history.keep,
        workers: config.reactor.workers,
        progress,
    })
}

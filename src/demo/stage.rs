//! Starting the parts in order and stopping them in the other one.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    db::{self, connect::Endpoint, migrate::migrate},
    emulator,
    progress::Progress,
    service::{self, Part as Run},
};

use super::{Outcome, Setup, application::Application, cluster::Cluster, tenant::Tenant, web};

/// What the demo changes of the defaults.
const CONFIG: &str = include_str!("../../config/demo.toml");
/// Longer than a server takes to drain and a reactor to end its calls.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long the server may take until it answers: it has the tenant's keys to fetch.
const READY_LIMIT: Duration = Duration::from_secs(15);

/// The demo's configuration, with `variables` on top.
pub(super) fn config(variables: &BTreeMap<String, String>) -> Result<Config> {
    let mut variables = variables.clone();
    if let Ok(filter) = std::env::var("RUST_LOG") {
        variables.insert("RUST_LOG".to_owned(), filter);
    }
    Ok(Config::load_from(Some(CONFIG), &variables)?)
}

/// Everything that runs, as those see it who look at it from outside.
pub(super) struct Set {
    /// A session with the application's database, as a person at psql has one.
    pub(super) dba: Client,
    /// The connection string for anybody.
    pub(super) database_url: String,
    /// PostgreSQL's major version.
    pub(super) version: u32,
    /// A directory that ends with the demo and is closed to others.
    pub(super) dir: PathBuf,
    /// The emulated Auth0.
    pub(super) tenant: Tenant,
    /// The address of reactor and server, without a slash at its end.
    pub(super) server: String,
    /// The application, as far as it has anything to do with this.
    pub(super) application: Application,
    /// Where the application's page is.
    pub(super) web: String,
    /// What another `roster` needs to work on the same database and tenant.
    pub(super) variables: BTreeMap<String, String>,
}

/// What was started so far.
pub(super) struct Stage<'a> {
    cluster: &'a Cluster,
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            parts: Vec::new(),
        }
    }

    /// Starts everything on top of PostgreSQL. May be dropped at any point; [`Stage::strike`] ends what is there then.
    pub(super) async fn build(&mut self, setup: &Setup) -> Result<Set> {
        let database_url = self.cluster.url(db::demo::DATABASE);
        let mut dba = self.database().await?;
        migrate(&mut dba, false).await?;
        // Before anybody is in the table and before the reactor runs: nobody counts as having been there before it.
        db::control::set_mode(&dba, &setup.mode).await?;

        let (listener, tenant_url) = listen().await?;
        let (options, stop) = (setup.tenant.clone(), CancellationToken::new());
        let serve = emulator::serve(listener, options, stop.clone());
        self.start("the Auth0 emulator", stop, async { Ok(serve.await?) });
        let found = BTreeMap::from([
            ("DATABASE_URL".to_owned(), database_url.clone()),
            ("ROSTER__AUTH0__BASE_URL".to_owned(), tenant_url.clone()),
        ]);
        let config = config(&found)?;
        let tenant = Tenant::new(tenant_url.clone())?;
        let server = self.service(config.clone()).await?;

        let (listener, web) = listen().await?;
        let application = Application::new(
            &tenant_url,
            &server,
            &format!("{web}/callback"),
            &setup.tenant.app.client_id,
            &config.authz()?.audience[0],
        )?;
        let stop = CancellationToken::new();
        let pages = web::serve(listener, application.clone(), stop.clone());
        self.start("the application's page", stop, async {
            pages.await;
            Ok(())
        });
        application.ready(READY_LIMIT).await?;
        Ok(Set {
            dba,
            database_url,
            version: self.cluster.version(),
            dir: self.cluster.dir().to_owned(),
            tenant,
            server,
            application,
            web,
            variables: variables(found, &config)?,
        })
    }

    /// Waits until a part ends by itself, which none should.
    pub(super) async fn broken(&mut self) -> Result<Outcome> {
        let ends = self.parts.iter_mut().map(|part| {
            let name = part.name;
            Box::pin(async move { (name, (&mut part.task).await) })
        });
        match futures_util::future::select_all(ends).await.0 {
            (name, Ok(Ok(()))) => bail!("{name} ended by itself"),
            (name, Ok(Err(error))) => Err(error.context(format!("{name} ended by itself"))),
            (name, Err(error)) => Err(error).with_context(|| format!("{name} broke down")),
        }
    }

    /// Ends the parts, the last started first.
    pub(super) async fn strike(&mut self) {
        while let Some(Part {
            name,
            stop,
            mut task,
        }) = self.parts.pop()
        {
            stop.cancel();
            if !task.is_finished() && timeout(STOP_LIMIT, &mut task).await.is_err() {
                tracing::warn!("{name} did not stop in time and was cut off");
                task.abort();
            }
        }
    }

    /// Makes the application's database, and a session with it.
    async fn database(&self) -> Result<Client> {
        let server = Endpoint::parse(&self.cluster.url("postgres"))?.named("roster demo");
        db::demo::make_database(&server.session().await?).await?;
        Ok(server.with_dbname(db::demo::DATABASE).session().await?)
    }

    /// Starts reactor and server; gives their address.
    async fn service(&mut self, config: Config) -> Result<String> {
        let (ready, is_ready) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        self.start("roster", stop, async move {
            Ok(service::run(
                &config,
                Run::Everything,
                Progress::default(),
                ready,
                stopped,
            )
            .await?)
        });
        match is_ready.await {
            Ok(Some(address)) => Ok(format!("http://{address}")),
            // The reason is what the task ended with.
            _ => Err(match self.broken().await {
                Err(error) => error,
                Ok(_) => anyhow::anyhow!("roster did not start"),
            }),
        }
    }

    fn start(
        &mut self,
        name: &'static str,
        stop: CancellationToken,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.parts.push(Part {
            name,
            stop,
            task: tokio::spawn(work),
        });
    }
}

/// What was found at the start, and what of the demo's configuration another `roster` has to be told as well.
fn variables(
    mut found: BTreeMap<String, String>,
    config: &Config,
) -> Result<BTreeMap<String, String>> {
    let (auth0, authz) = (config.auth0()?, config.authz()?);
    // The emulator's secret is no secret: it is the same for everybody.
    let secret = auth0.client_secret.expose_secret();
    let sender = config.invitation.client_id.as_deref();
    found.extend(
        [
            ("AUTH0_MGMT_CLIENT_ID", auth0.client_id.as_str()),
            ("AUTH0_MGMT_CLIENT_SECRET", secret),
            ("ROSTER__AUTHZ__AUDIENCE", &authz.audience.join(",")),
            ("ROSTER__AUTHZ__EMAIL_CLAIM", &authz.email_claim),
            ("ROSTER__INVITATION__CLIENT_ID", sender.unwrap_or_default()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Ok(found)
}

/// A free port on this machine, and its address as a URL.
async fn listen() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no free port was found")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

//! One private PostgreSQL for the whole test program, and a database of its own for each test.
//!
//! The server is started by the first test that asks and ends with the process: statics are not dropped, but
//! [`Cluster`] notices the end of its process. `ROSTER_TEST_PG` (a `postgres://` URL of a superuser, on a server with
//! `max_prepared_transactions` set) uses another server instead, for instance to try a second PostgreSQL version.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use roster::{
    db::connect::Endpoint,
    demo::cluster::{Cluster, Options},
};
use tokio_postgres::{Client, error::SqlState};

/// A database that only one test uses. It is dropped with the value, whoever is still connected.
pub(crate) struct Database {
    name: String,
    server: Server,
}

/// Where a database is.
enum Server {
    /// On the one server of the whole test program.
    Shared,
    /// On a server that a story may stop: its connection string, with one host or more.
    Own(String),
}

impl Database {
    /// The database that `url` names, made by `roster migrate` for this story alone on a server of its own.
    pub(crate) async fn on_its_own(url: &str) -> Self {
        let database = Self {
            name: "postgres".to_owned(),
            server: Server::Own(url.to_owned()),
        };
        let mut client = database.client().await;
        roster::db::migrate::migrate(&mut client, false)
            .await
            .expect("a migrated database");
        database
    }

    /// A new, empty database.
    pub(crate) async fn empty() -> Self {
        Self::create("template0").await
    }

    /// A new database after `roster migrate`, copied from one that was migrated once.
    pub(crate) async fn migrated() -> Self {
        static TEMPLATE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                // Kept until the server ends: each test has a runtime of its own, so nothing may stay connected.
                let template = std::mem::ManuallyDrop::new(Self::empty().await);
                let mut client = template.client().await;
                roster::db::migrate::migrate(&mut client, false)
                    .await
                    .expect("a migrated template");
                template.name().to_owned()
            })
            .await;
        Self::create(template).await
    }

    /// A copy of this one, with which nobody is connected.
    pub(crate) async fn copy_of(template: &Self) -> Self {
        Self::create(template.name()).await
    }

    async fn create(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // With the process id, since a server that ROSTER_TEST_PG names outlives us.
        let name = format!("test_{}_{number}", std::process::id());
        let server = server_client().await;
        // The session that migrated the template may still be on its way out.
        let create = format!("create database {name} template {template}");
        let mut made = server.batch_execute(&create).await;
        while matches!(&made, Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE)) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            made = server.batch_execute(&create).await;
        }
        made.expect("a new database");
        Self {
            name,
            server: Server::Shared,
        }
    }

    /// The connection string: through the private socket where there is one, which connects fastest.
    pub(crate) fn url(&self) -> String {
        match &self.server {
            Server::Shared => server_url(&self.name),
            Server::Own(url) => url.clone(),
        }
    }

    /// The connection string over TCP, for stories with a proxy in between.
    pub(crate) fn tcp_url(&self) -> String {
        match (&self.server, other_server()) {
            (Server::Own(url), _) => url.clone(),
            (Server::Shared, Some(url)) => at_database(&url, &self.name),
            (Server::Shared, None) => cluster().url(&self.name),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url()).expect("the connection string of a test database")
    }

    /// A session of its own, as `psql` would have it: none of Roster's session settings.
    pub(crate) async fn client(&self) -> Client {
        let endpoint = self.endpoint().named("test");
        // A machine may be so busy that a session takes longer than the program has patience for.
        for _ in 0..5 {
            if let Ok(session) = endpoint.session().await {
                return session;
            }
        }
        let last = endpoint.session().await;
        last.expect("a session with a test database")
    }

    /// A pool as the program has it.
    pub(crate) fn pool(&self) -> roster::db::pool::Pool {
        self.endpoint().pool(4)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Server::Own(_) = self.server {
            return;
        }
        let sql = format!("drop database if exists {} with (force)", self.name);
        // The test's own runtime may be at its end; nobody needs to wait for this one.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { server_client().await.batch_execute(&sql).await })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let options = Options::default()
            .set("max_connections", "200")
            .set("max_prepared_transactions", "10");
        Cluster::start_blocking(&options).expect("a private PostgreSQL for the tests")
    })
}

fn other_server() -> Option<String> {
    std::env::var("ROSTER_TEST_PG")
        .ok()
        .filter(|url| !url.is_empty())
}

fn server_url(dbname: &str) -> String {
    match other_server() {
        Some(url) => at_database(&url, dbname),
        None => cluster().socket_url(dbname),
    }
}

fn at_database(url: &str, dbname: &str) -> String {
    let mut url = url::Url::parse(url).expect("ROSTER_TEST_PG is a postgres:// URL");
    url.set_path(dbname);
    url.into()
}

async fn server_client() -> Client {
    let endpoint =
        Endpoint::parse(&server_url("postgres")).expect("the connection string of the test server");
    endpoint
        .session()
        .await
        .expect("a session with the test server")
}

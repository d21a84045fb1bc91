//! A whole world for a story: a migrated database, an emulated tenant, and a reactor that takes its steps by hand.

use std::time::Duration;

use roster::{
    auth0,
    db::{mirror::Terms, reactors::Settings},
    emulator,
    reactor::Reactor,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Database;

/// An emulated tenant, served until it is dropped.
pub(crate) struct Tenant {
    pub(crate) url: String,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Tenant {
    pub(crate) async fn start(options: emulator::Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        tokio::spawn(emulator::serve(listener, options, stop.clone()));
        Self {
            url,
            http: reqwest::Client::new(),
            stop,
        }
    }

    /// Everything there is of `what`: `users`, `mail` or `requests`.
    pub(crate) async fn list(&self, what: &str) -> Vec<Value> {
        let url = format!("{}/_emulator/{what}", self.url);
        let answer = self.http.get(url).send().await.expect("the control face");
        answer.json().await.expect("a list")
    }

    /// The one user with this address, if there is one.
    pub(crate) async fn user(&self, email: &str) -> Option<Value> {
        let mut users = self.list("users").await;
        users.retain(|user| user["email"] == email);
        assert!(
            users.len() <= 1,
            "{} accounts have this address",
            users.len()
        );
        users.pop()
    }

    /// How often a Management API request of this method arrived at a path that begins so.
    pub(crate) async fn calls(&self, method: &str, path: &str) -> usize {
        let requests = self.list("requests").await;
        let matching = |request: &&Value| {
            request["method"] == method
                && request["path"]
                    .as_str()
                    .is_some_and(|p| p.starts_with(path))
        };
        requests.iter().filter(matching).count()
    }

    /// `POST` to the control face: `faults`, `users`, `options`, …
    pub(crate) async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/_emulator/{what}", self.url);
        let answer = self
            .http
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("the control face");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{what}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The next `times` requests on `route`, such as `PATCH /api/v2/users/{id}`, fail in this way.
    pub(crate) async fn fault(&self, route: &str, kind: &str, times: u32, more: Value) {
        let mut fault = json!({"route": route, "kind": kind, "times": times});
        for (key, value) in more.as_object().into_iter().flatten() {
            fault[key] = value.clone();
        }
        self.control("faults", fault).await;
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Database, tenant and reactor.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) sql: Client,
    pub(crate) tenant: Tenant,
    pub(crate) reactor: Reactor,
}

impl World {
    /// In mode `enforce`, with nobody in it.
    pub(crate) async fn new() -> Self {
        let world = Self::observing().await;
        world.run("select roster.set_mode('enforce')").await;
        world.settle().await;
        world
    }

    /// As installed: in mode `observe`.
    pub(crate) async fn observing() -> Self {
        let database = Database::migrated().await;
        let tenant = Tenant::start(emulator::Options::default()).await;
        let reactor = reactor(&database, &tenant);
        reactor.register().await.expect("a registered reactor");
        Self {
            sql: database.client().await,
            database,
            tenant,
            reactor,
        }
    }

    /// Statements as a DBA would give them.
    pub(crate) async fn run(&self, statements: &str) {
        self.sql.batch_execute(statements).await.expect(statements);
    }

    /// The first column of a query, as text.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let rows = self.sql.query(query, &[]).await.expect(query);
        rows.iter()
            .map(|row| row.get::<_, Option<String>>(0).unwrap_or_default())
            .collect()
    }

    /// The reactor folds and works until nothing is due now. Waits for retries are cut short first.
    pub(crate) async fn settle(&self) {
        self.reactor.settle().await.expect("a settled reactor");
    }

    /// As [`World::settle`], again and again as if time went by: what waits for a moment is due now.
    pub(crate) async fn settle_in_time(&self) {
        for _ in 0..8 {
            self.settle().await;
            self.run(
                "update roster.mirror set next_attempt_at = null where due; \
                 update roster.accounts set call_deadline = now() where call_id is not null",
            )
            .await;
        }
        self.settle().await;
    }

    /// `action state` of every row of the plan, in order.
    pub(crate) async fn plan(&self) -> Vec<String> {
        self.texts("select user_key || ' ' || action || ' ' || state from roster.plan order by 1")
            .await
    }
}

/// A reactor on this database and tenant.
pub(crate) fn reactor(database: &Database, tenant: &Tenant) -> Reactor {
    let base_url: url::Url = tenant.url.parse().expect("an URL");
    let options = emulator::Options::default();
    let client = auth0::Client::new(auth0::Settings {
        audience: format!("{}/api/v2/", tenant.url),
        base_url,
        client_id: options.m2m.client_id,
        client_secret: options.m2m.client_secret,
        connection: options.connection.clone(),
        invitation_client_id: Some(options.app.client_id),
        budget_share: 1.0,
        call_timeout: Duration::from_secs(5),
        permit_wait: Duration::from_secs(5),
    })
    .expect("settings of the emulator");
    Reactor {
        pool: database.pool(),
        terms: Terms {
            reactor: Uuid::new_v4(),
            lease: Duration::from_secs(60),
            call_deadline: client.longest_call(),
            invitations_per_minute: 1000,
        },
        client,
        settings: Settings {
            tenant: tenant.url.clone(),
            connection: options.connection,
            guard_window: 3600.0,
            guard_removals_min: 20,
            guard_removals_share: 0.05,
            guard_protected: Vec::new(),
            guard_min_admins: 0,
            guard_admin_role: None,
            delete_after: None,
            invitation_send: "auth0_email".to_owned(),
        },
        poll_interval: Duration::from_secs(2),
        sweep_every: Duration::from_secs(300),
        history_keep: Duration::from_secs(3600),
        workers: 16,
    }
}

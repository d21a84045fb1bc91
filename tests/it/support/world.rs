//! A whole world for a story: a migrated database, an emulated tenant, and a reactor that takes its steps by hand.

use std::time::Duration;

use roster::{
    auth0,
    db::{
        changes,
        connect::Endpoint,
        mirror::{LOST_CALL_WAIT, Terms},
        reactors::Settings,
        write_back,
    },
    emulator,
    progress::Progress,
    reactor::{self, AFTERLOOKS, Reactor},
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Database;
pub(crate) use super::tenant::{Tenant, client, text};

/// How long a story waits for what must come, also on a machine that is busy with other things. Only a failing one waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Until the lease of a reactor ends by itself: longer than any story's patience.
const LEASE: Duration = Duration::from_secs(600);

/// Set to [`OTHER`], this variable has every world's tenant give the other answer wherever Auth0 documents none.
pub(crate) const ANSWERS: &str = "ROSTER_TEST_ANSWERS";
/// The other answers.
pub(crate) const OTHER: &str = "other";

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
        Self::with(|_| {}).await
    }

    /// As [`World::new`], with these settings of the planner.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let world = Self::installed(Database::migrated().await, change).await;
        world.enforce().await;
        world
    }

    /// As installed: in mode `observe`.
    pub(crate) async fn observing() -> Self {
        Self::installed(Database::migrated().await, |_| {}).await
    }

    /// In mode `observe`, on a database that is migrated.
    pub(crate) async fn installed(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let tenant = Tenant::start(options()).await;
        let mut reactor = reactor(&database, client(&tenant, |_| {}), &tenant);
        change(&mut reactor.settings);
        reactor.register().await.expect("a registered reactor");
        Self {
            sql: database.client().await,
            database,
            tenant,
            reactor,
        }
    }

    /// From now on Roster may do everything.
    pub(crate) async fn enforce(&self) {
        self.run("select roster.set_mode('enforce')").await;
        self.settle().await;
    }

    /// A new session instead of [`World::sql`], which ends when its server does; as soon as there is one to be had.
    pub(crate) async fn reconnect(&mut self) {
        let ends = tokio::time::Instant::now() + PATIENCE;
        let endpoint = self.database.endpoint().named("test");
        self.sql = loop {
            match endpoint.session().await {
                Ok(session) => break session,
                Err(error) if tokio::time::Instant::now() > ends => panic!("{error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
    }

    /// Another reactor on the same database and tenant, such as one that was started after the first one died.
    pub(crate) async fn another(&self) -> Reactor {
        self.another_with(|_| {}).await
    }

    /// As [`World::another`], with these settings of its client.
    pub(crate) async fn another_with(&self, change: impl FnOnce(&mut auth0::Settings)) -> Reactor {
        let client = client(&self.tenant, change);
        let mut another = reactor(&self.database, client, &self.tenant);
        another.settings = self.reactor.settings.clone();
        another.register().await.expect("a registered reactor");
        another
    }

    /// Statements as a DBA would give them.
    pub(crate) async fn run(&self, statements: &str) {
        self.sql.batch_execute(statements).await.expect(statements);
    }

    /// Users with these addresses; the part before the @ is the name.
    pub(crate) async fn add(&self, emails: &[&str]) {
        let insert = "insert into users (email, name) select e, split_part(e, '@', 1) from unnest($1::text[]) e";
        self.sql.execute(insert, &[&emails]).await.expect(insert);
    }

    /// `number` users, `user-1@example.test` and on, in one statement.
    pub(crate) async fn add_many(&self, number: usize) {
        self.run(&format!(
            "insert into users (email, name) select format('user-%s@example.test', i), 'User' from generate_series(1, {number}) i"
        ))
        .await;
    }

    /// The first column of a query, as text.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let rows = self.sql.query(query, &[]).await.expect(query);
        rows.iter()
            .map(|row| row.get::<_, Option<String>>(0).unwrap_or_default())
            .collect()
    }

    /// Whether a query says true; no row and null do not.
    pub(crate) async fn says(&self, query: &str) -> bool {
        let row = self.sql.query_opt(query, &[]).await.expect(query);
        row.and_then(|row| row.get(0)) == Some(true)
    }

    /// Waits until a query says true.
    pub(crate) async fn until(&self, query: &str) {
        eventually(query, async || self.says(query).await).await;
    }

    /// Waits until that loop listens, and has looked at what was there.
    pub(crate) async fn listening(&self, running: &Running) {
        self.until(&format!(
            "select last_listen_at is not null and bell_heard_at is not null from roster.reactors where id = '{}'",
            running.id
        ))
        .await;
    }

    /// Waits until the tenant has an account with this address.
    pub(crate) async fn arrives(&self, email: &str) {
        eventually(email, async || self.tenant.user(email).await.is_some()).await;
    }

    /// The reactor folds and works until nothing is due now.
    pub(crate) async fn settle(&self) {
        self.reactor.settle().await.expect("a settled reactor");
    }

    /// The reactor takes over what changed, and does nothing about it.
    pub(crate) async fn fold(&self) {
        changes::fold(&self.reactor.pool).await.expect("a fold");
    }

    /// As [`World::settle`], again and again as if time went by: what waits for a moment is due now.
    pub(crate) async fn settle_in_time(&self) {
        for _ in 0..8 {
            self.settle().await;
            self.time_passes().await;
        }
        self.settle().await;
    }

    /// Every wait ends: for a retry, for a call's deadline, for the lease of a reactor that is gone.
    pub(crate) async fn time_passes(&self) {
        self.run(
            "update roster.mirror set next_attempt_at = null where due; \
             update roster.mirror set lease_until = now() where lease_until is not null; \
             update roster.accounts set call_deadline = now() where call_id is not null",
        )
        .await;
        // In Auth0 too, such as until an address may be used again.
        let a_while = serde_json::json!({"advance_seconds": 10});
        self.tenant.control("clock", a_while).await;
    }

    /// Everybody is looked at, as each `sweep.every`, and what is found is done.
    pub(crate) async fn sweep(&self) {
        changes::sweep(&self.reactor.pool).await.expect("a sweep");
        write_back::write_back(&self.reactor.pool, None)
            .await
            .expect("ids written back");
        self.settle().await;
    }

    /// `action state` of every row of the plan, in order.
    pub(crate) async fn plan(&self) -> Vec<String> {
        self.texts("select user_key || ' ' || action || ' ' || state from roster.plan order by 1")
            .await
    }

    /// `problem code` of every row of `roster.problems`, in order.
    pub(crate) async fn problems(&self) -> Vec<String> {
        self.texts("select problem || ' ' || code from roster.problems order by 1")
            .await
    }

    /// The reactor's own loop on this endpoint, until it is stopped.
    pub(crate) fn start(&self, change: impl FnOnce(&mut Reactor)) -> Running {
        self.start_on(self.database.endpoint(), change)
    }

    /// As [`World::start`], reaching the database in another way.
    pub(crate) fn start_on(
        &self,
        endpoint: Endpoint,
        change: impl FnOnce(&mut Reactor),
    ) -> Running {
        let mut reactor = self.reactor.clone();
        reactor.terms.reactor = Uuid::new_v4();
        reactor.pool = endpoint.pool(8);
        reactor.terms.call_deadline = reactor::call_deadline(&reactor.client);
        reactor.terms.lost_call_wait = LOST_CALL_WAIT;
        reactor.terms.jitter = rand::random;
        reactor.poll_interval = Duration::from_secs(3600);
        reactor.sweep_every = Duration::from_secs(3600);
        reactor.progress = Progress::default();
        change(&mut reactor);
        let (id, stop) = (reactor.terms.reactor, CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            reactor.register().await.expect("a registered reactor");
            reactor.run(endpoint, stopped).await;
        });
        Running { id, stop, task }
    }
}

/// A reactor's own loop at work.
pub(crate) struct Running {
    pub(crate) id: Uuid,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops it in order, as SIGTERM would.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("a stop in time")
            .expect("an orderly end");
    }
}

/// Waits until `condition` holds; fails if it does not within the patience of a story.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let ends = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < ends, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The tenant of a story, which answers what Auth0 leaves open in the usual way or in the other one.
fn options() -> emulator::Options {
    let other = std::env::var_os(ANSWERS).is_some_and(|answers| answers == OTHER);
    emulator::Options {
        answers: match other {
            true => emulator::Answers::other(),
            false => emulator::Answers::default(),
        },
        ..emulator::Options::default()
    }
}

/// A reactor on this database and tenant.
fn reactor(database: &Database, client: auth0::Client, tenant: &Tenant) -> Reactor {
    Reactor {
        pool: database.pool(),
        terms: Terms {
            reactor: Uuid::new_v4(),
            lease: LEASE,
            // Steps by hand take as long as they take: no wait ends among them but by [`World::time_passes`].
            call_deadline: LEASE / 2,
            claim_ids: Uuid::new_v4,
            lost_call_wait: LEASE,
            jitter: || 1000.0,
            invitations_per_minute: 1000,
        },
        settings: Settings {
            tenant: tenant.url.clone(),
            connection: client.connection().to_owned(),
            guard_window: 3600.0,
            guard_removals_min: 20,
            guard_removals_share: 0.05,
            guard_protected: Vec::new(),
            guard_min_admins: 0,
            guard_admin_role: None,
            delete_after: None,
            token_lifetime: 86_400.0,
            invitation_send: "auth0_email".to_owned(),
        },
        client,
        poll_interval: Duration::from_secs(2),
        afterlooks: AFTERLOOKS,
        sweep_every: Duration::from_secs(300),
        history_keep: Duration::from_secs(3600),
        workers: 16,
        imports: reactor::Imports::Never,
        progress: Progress::default(),
    }
}

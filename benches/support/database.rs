//! A private PostgreSQL with Roster installed, and people in it who are mirrored already.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use roster::{
    db::{connect::Endpoint, migrate},
    demo::cluster::{Cluster, Options},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// How long anything may take before a bench counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);
/// Often enough to say when something was done, seldom enough to cost nothing beside it.
const POLL: Duration = Duration::from_millis(25);

/// Roles with permissions of their own, so that a changed role changes both.
const ROLES: &str = "insert into role_permissions values ('Artist', 'read:songs'), ('Artist', 'write:songs'), \
    ('Editor', 'read:songs'), ('Editor', 'edit:songs'), ('Editor', 'publish:songs')";

pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    /// A session as `psql` would have it.
    pub(crate) sql: Client,
}

impl Database {
    /// A new server that flushes its commits, with Roster installed and allowed to do everything.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Result<Self> {
        let options = Options {
            durable: true,
            ..options
        };
        let cluster = Cluster::start(options).await?;
        let endpoint = Endpoint::parse(&cluster.socket_url("postgres"))?;
        let mut sql = endpoint.session().await?;
        migrate::migrate(&mut sql, false).await?;
        sql.batch_execute("select roster.set_mode('enforce')")
            .await?;
        sql.batch_execute(ROLES).await?;
        Ok(Self { cluster, sql })
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.socket_url("postgres")
    }

    /// Another session.
    pub(crate) async fn session(&self) -> Result<Client> {
        Ok(Endpoint::parse(&self.url())?.session().await?)
    }

    /// People whom Roster has created and recorded already, with nothing left to do for them; written as they would stand
    /// after that, since creating 100 000 of them takes longer than measuring.
    pub(crate) async fn people(&self, number: u32) -> Result<()> {
        self.sql
            .batch_execute(&format!(
                "insert into users (email, name, auth0_user_id)
                    select 'person' || n || '@example.test', 'Person ' || n, 'auth0|' || md5(n::text) from generate_series(1, {number}) n;
                insert into roster.mirror (user_key, email, lane, due, due_since, synced_at)
                    select user_key, email, 'update', false, null, now() from roster.desired_users;
                insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, email_verified, name, app_metadata, observed_at)
                    select auth0_user_id, user_key, 1, 'made', 'linked', email, false, name,
                        roster.owned_app_metadata(app_metadata, role, permissions), now()
                    from roster.desired_users;
                update roster.changes set folded_at = now() where folded_at is null"
            ))
            .await?;
        self.tidy().await?;
        let left = self.number("select count(*) from roster.plan").await?;
        if left != 0 {
            bail!("{left} users are to be planned for who should be in sync");
        }
        Ok(())
    }

    /// Tables with the indexes of `users` to compare it with: `bare` has no trigger, `touched` only the one for `updated_at`
    /// that comes with a users table made by Roster.
    pub(crate) async fn tables_without_capture(&self) -> Result<()> {
        self.sql
            .batch_execute(
                "create table bare (like users including all);
                create table touched (like users including all);
                create trigger users_updated_at before update on touched for each row
                when ((old.id, old.email, old.name, old.role, old.blocked)
                        is distinct from (new.id, new.email, new.name, new.role, new.blocked)
                    or old.auth0_user_id is not distinct from new.auth0_user_id)
                execute function roster.touch()",
            )
            .await?;
        Ok(())
    }

    /// The people as the emulator is told of them.
    pub(crate) async fn accounts(&self) -> Result<Vec<Value>> {
        let rows = self
            .sql
            .query(
                "select auth0_user_id, email, name, app_metadata from roster.accounts",
                &[],
            )
            .await?;
        let account = |row: &tokio_postgres::Row| {
            json!({"user_id": row.get::<_, String>(0), "email": row.get::<_, String>(1), "name": row.get::<_, String>(2),
                "app_metadata": row.get::<_, Value>(3)})
        };
        Ok(rows.iter().map(account).collect())
    }

    /// Leaves no dead rows, stale statistics or unwritten pages of one round to the next.
    pub(crate) async fn tidy(&self) -> Result<()> {
        self.sql.batch_execute("vacuum (analyze)").await?;
        self.sql.batch_execute("checkpoint").await?;
        Ok(())
    }

    pub(crate) async fn number(&self, query: &str) -> Result<i64> {
        Ok(self.sql.query_one(query, &[]).await?.get(0))
    }

    /// Waits until a query says true; gives how long that took.
    pub(crate) async fn until(&self, query: &str) -> Result<Duration> {
        let statement = self.sql.prepare(query).await?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.sql.query_one(&statement, &[]).await?.get(0) {
                return Ok(begin.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("not so after {PATIENCE:?}: {query}")
    }

    /// Waits until everything is folded and nobody is due.
    pub(crate) async fn until_settled(&self) -> Result<Duration> {
        self.until(
            "select not exists (select from roster.changes where folded_at is null) \
                and not exists (select from roster.mirror where due)",
        )
        .await
    }

    pub(crate) async fn stop(self) {
        drop(self.sql);
        self.cluster.stop().await;
    }
}

//! A migrated database spoken to as `psql` would: statements in, rows as text out, for stories told in SQL alone.

use tokio_postgres::{Client, SimpleQueryMessage, error::DbError};

use super::Database;

/// Folds, then gives each user who may log in the account Auth0 would have by now: afterwards the plan is empty.
pub(crate) const SETTLE: &str = "
    select roster.fold();
    insert into roster.accounts
        (auth0_user_id, user_key, incarnation, origin, state, email, email_verified, name, app_metadata, user_metadata, observed_at)
    select 'auth0|' || d.user_key || repeat('+', m.incarnation - 1), d.user_key, m.incarnation, 'made', 'linked', lower(d.email), true,
        d.name, roster.owned_app_metadata(d.app_metadata, d.role, d.permissions), d.user_metadata, now()
    from roster.desired_users d join roster.mirror m on m.user_key = d.user_key
    where not d.blocked and roster.row_fault(d.email) is null and not exists (
        select from roster.accounts a where a.user_key = d.user_key and a.incarnation = m.incarnation
    );
    update roster.mirror set due = false, look_wanted = false";

/// One session with a database of its own.
pub(crate) struct Sql {
    database: Database,
    client: Client,
}

impl Sql {
    /// As a new installation is: nobody chose a mode yet. The outbox is empty.
    pub(crate) async fn observing() -> Self {
        let database = Database::migrated().await;
        let client = database.client().await;
        let sql = Self { database, client };
        sql.run("select roster.fold(); delete from roster.changes")
            .await;
        sql
    }

    /// After `roster mode enforce`. The outbox is empty.
    pub(crate) async fn enforcing() -> Self {
        let sql = Self::observing().await;
        sql.run(
            "select roster.set_mode('enforce'); select roster.fold(); delete from roster.changes",
        )
        .await;
        sql
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Another session with the same database.
    pub(crate) async fn session(&self) -> Client {
        self.database.client().await
    }

    pub(crate) async fn run(&self, statements: &str) {
        run(&self.client, statements).await;
    }

    /// Each statement in a transaction of its own; in [`Sql::run`] those of one call share one.
    pub(crate) async fn one_by_one(&self, statements: &str) {
        for statement in statements.split("; ") {
            self.run(statement).await;
        }
    }

    /// Each row as its columns in text with blanks between; null is `-`.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        rows(&self.client, query).await
    }

    /// The one row there is.
    pub(crate) async fn row(&self, query: &str) -> String {
        let rows = self.rows(query).await;
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.into_iter().next().unwrap_or_default()
    }

    /// The plan as `user action state`, in order.
    pub(crate) async fn plan(&self) -> Vec<String> {
        self.rows("select user_key, action, state from roster.plan order by user_key::int, auth0_user_id, action")
            .await
    }

    /// What the server says against it.
    pub(crate) async fn refusal(&self, statements: &str) -> DbError {
        refusal(&self.client, statements).await
    }

    /// The server's major version.
    pub(crate) async fn version(&self) -> i32 {
        let number = self.row("show server_version_num").await;
        number.parse::<i32>().expect("a version number") / 10_000
    }
}

pub(crate) async fn run(client: &Client, statements: &str) {
    if let Err(error) = client.batch_execute(statements).await {
        panic!("{statements}: {error:?}");
    }
}

pub(crate) async fn rows(client: &Client, query: &str) -> Vec<String> {
    let messages = match client.simple_query(query).await {
        Ok(messages) => messages,
        Err(error) => panic!("{query}: {error:?}"),
    };
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|i| row.get(i).unwrap_or("-"))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            _ => None,
        })
        .collect()
}

pub(crate) async fn refusal(client: &Client, statements: &str) -> DbError {
    match client.batch_execute(statements).await {
        Ok(()) => panic!("{statements}: was not refused"),
        Err(error) => match error.as_db_error() {
            Some(refusal) => refusal.clone(),
            None => panic!("{statements}: {error:?}"),
        },
    }
}

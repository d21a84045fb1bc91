//! What the demo says in SQL: its sample people, and statements as a person would type them into psql.

use tokio_postgres::Client;

use super::DbError;

/// The database the demo makes in its private server.
pub const DATABASE: &str = "app";
const PEOPLE: &str = include_str!("../../sql/demo/people.sql");

/// A person whose row comes and goes. The texts stand in statements as they are, so they hold no quotes.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The address, in lower case.
    pub email: &'static str,
    /// The name.
    pub name: &'static str,
}

impl Sample {
    /// Adds the row. Two lines, which fit a terminal.
    pub fn insert(&self, role: &str) -> String {
        let Self { email, name } = self;
        format!(
            "insert into users (email, name, role)\n    values ('{email}', '{name}', '{role}');"
        )
    }

    /// Gives the person another role.
    pub fn set_role(&self, role: &str) -> String {
        format!(
            "update users set role = '{role}' where email = '{}';",
            self.email
        )
    }

    /// Removes the row.
    pub fn delete(&self) -> String {
        format!("delete from users where email = '{}';", self.email)
    }
}

/// Makes the application's database. `client` is a session with another one of the same server.
///
/// # Errors
/// [`DbError`].
pub async fn make_database(client: &Client) -> Result<(), DbError> {
    client
        .batch_execute(&format!("create database {DATABASE}"))
        .await?;
    Ok(())
}

/// How many rows there are.
#[derive(Debug, Clone, Copy)]
pub struct People {
    /// All of them.
    pub all: usize,
    /// Those that are not blocked.
    pub active: usize,
}

/// Puts the sample roles and people in, in one transaction.
///
/// # Errors
/// [`DbError`].
pub async fn add_people(client: &Client) -> Result<People, DbError> {
    run(client, &format!("begin; {PEOPLE} commit;")).await?;
    let row = client
        .query_one(
            "select count(*), count(*) filter (where not blocked) from public.users",
            &[],
        )
        .await?;
    let number = |index| usize::try_from(row.get::<_, i64>(index)).unwrap_or_default();
    Ok(People {
        all: number(0),
        active: number(1),
    })
}

/// Runs a statement as psql would: in simple protocol, a transaction of its own.
///
/// # Errors
/// [`DbError`].
pub async fn run(client: &Client, statement: &str) -> Result<(), DbError> {
    Ok(client.batch_execute(statement).await?)
}

/// Everything committed so far, as the header `X-Roster-At-Least` takes it.
///
/// # Errors
/// [`DbError`].
pub async fn revision(client: &Client) -> Result<String, DbError> {
    let now = "select pg_current_snapshot()::text";
    Ok(client.query_one(now, &[]).await?.get(0))
}

/// The Auth0 id that stands in the row with this address.
///
/// # Errors
/// [`DbError`].
pub async fn auth0_user_id(client: &Client, email: &str) -> Result<Option<String>, DbError> {
    let row = client
        .query_opt(
            "select auth0_user_id::text from public.users where email = $1",
            &[&email],
        )
        .await?;
    Ok(row.and_then(|row| row.get(0)))
}

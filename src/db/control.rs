//! The buttons and the views for people, as the command line and the console use them: each is a function or a view of the
//! schema, so that psql has the same.

use serde_json::Value;
use tokio_postgres::{Client, types::ToSql};

use super::DbError;

/// Looks at a user again (e-mail, key or Auth0 id). Gives how many users that concerns.
///
/// # Errors
/// [`DbError`]; `RO003` where nobody is meant.
pub async fn resync(client: &Client, who: &str) -> Result<i32, DbError> {
    Ok(client
        .query_one("select roster.resync($1)", &[&who])
        .await?
        .get(0))
}

/// Looks at everybody.
///
/// # Errors
/// [`DbError`].
pub async fn resync_all(client: &Client) -> Result<(), DbError> {
    client.execute("select roster.resync_all()", &[]).await?;
    Ok(())
}

/// Tries what failed again: everything, or what failed with this code. Gives how many users that concerns.
///
/// # Errors
/// [`DbError`].
pub async fn retry_failed(client: &Client, code: Option<&str>) -> Result<i32, DbError> {
    Ok(client
        .query_one("select roster.retry_failed($1)", &[&code])
        .await?
        .get(0))
}

/// Sets the mode.
///
/// # Errors
/// [`DbError`]; `RO004` where there is no such mode.
pub async fn set_mode(client: &Client, mode: &str) -> Result<(), DbError> {
    client
        .execute("select roster.set_mode($1)", &[&mode])
        .await?;
    Ok(())
}

/// Stops calls to Auth0.
///
/// # Errors
/// [`DbError`].
pub async fn pause(client: &Client, reason: &str) -> Result<(), DbError> {
    client
        .execute("select roster.pause($1)", &[&reason])
        .await?;
    Ok(())
}

/// Ends a pause.
///
/// # Errors
/// [`DbError`].
pub async fn resume(client: &Client) -> Result<(), DbError> {
    client.execute("select roster.resume()", &[]).await?;
    Ok(())
}

/// Lets held removals go ahead (`all`, or one user). Gives how many.
///
/// # Errors
/// [`DbError`]; `RO005` where none is held.
pub async fn release_held(client: &Client, which: &str) -> Result<i32, DbError> {
    Ok(client
        .query_one("select roster.release_held($1)", &[&which])
        .await?
        .get(0))
}

/// Keeps the accounts of held removals (`all`, or one user). Gives how many.
///
/// # Errors
/// [`DbError`]; `RO005` where none is held.
pub async fn discard_held(client: &Client, which: &str) -> Result<i32, DbError> {
    Ok(client
        .query_one("select roster.discard_held($1)", &[&which])
        .await?
        .get(0))
}

/// What [`wait`] saw.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Receipt {
    /// Everything the last commit asked for is done.
    pub converged: bool,
    /// How many users it concerned.
    pub users: i32,
    /// Removals of theirs that wait for a person.
    pub held: i32,
    /// Those that are parked or disputed.
    pub failed: i32,
    /// What the mode or a pause does not let happen.
    pub suppressed: i32,
    /// Seconds.
    pub waited: f64,
}

/// Waits until this connection's last commit has reached Auth0, at most `timeout` seconds.
///
/// # Errors
/// [`DbError`].
pub async fn wait(client: &Client, timeout: f64) -> Result<Receipt, DbError> {
    // Our sessions end statements after a while; this one is meant to take its time.
    let limit = format!("set statement_timeout = '{}s'", timeout.ceil() as u64 + 10);
    client.batch_execute(&limit).await?;
    let row = client
        .query_one(
            "select converged, users, held, failed, suppressed, extract(epoch from waited)::float8 from roster.wait(make_interval(secs => $1))",
            &[&timeout],
        )
        .await?;
    Ok(Receipt {
        converged: row.get(0),
        users: row.get(1),
        held: row.get(2),
        failed: row.get(3),
        suppressed: row.get(4),
        waited: row.get(5),
    })
}

/// The row of `roster.status`, as JSON.
///
/// # Errors
/// [`DbError`].
pub async fn status(client: &Client) -> Result<Value, DbError> {
    Ok(client
        .query_one("select to_jsonb(s) from roster.status s", &[])
        .await?
        .get(0))
}

/// How many rows of the plan the mode or a pause does not let happen.
///
/// # Errors
/// [`DbError`].
pub async fn suppressed(client: &Client) -> Result<i64, DbError> {
    let count = "select count(*) from roster.plan where state = 'suppressed'";
    Ok(client.query_one(count, &[]).await?.get(0))
}

/// The rows of `roster.problems`, as JSON objects.
///
/// # Errors
/// [`DbError`].
pub async fn problems(client: &Client) -> Result<Vec<Value>, DbError> {
    objects(client, "select to_jsonb(p) from roster.problems p", &[]).await
}

pub(super) const HELD: &str = "select to_jsonb(h) from roster.held h order by since, user_key";

/// The rows of `roster.held`, as JSON objects, the longest held first.
///
/// # Errors
/// [`DbError`].
pub async fn held(client: &Client) -> Result<Vec<Value>, DbError> {
    objects(client, HELD, &[]).await
}

async fn objects(
    client: &Client,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Value>, DbError> {
    let rows = client.query(query, parameters).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

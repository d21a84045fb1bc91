//! What the last audit found, and the verdicts on it, as the command line has them: views and functions of the schema.

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::db::DbError;

/// A row of `roster.drift`.
#[derive(Debug, Clone, Serialize)]
pub struct Drift {
    /// For `#id`.
    pub id: i64,
    /// `missing`, `extra`, `changed`, …
    pub kind: String,
    /// The user, if there is one.
    pub user_key: Option<String>,
    /// The account, if there is one.
    pub auth0_user_id: Option<String>,
    /// Never logged.
    pub email: Option<String>,
    /// `{"field": {"from": in Auth0, "to": in Postgres}}`.
    pub changes: Value,
    /// More about it.
    pub detail: Option<String>,
    /// What the plan said of it.
    pub planned: Option<String>,
    /// The next step.
    pub what_to_do: String,
}

/// All rows of `roster.drift`: at most some kinds for each user an audit looks at, which are few after an export.
///
/// # Errors
/// [`DbError`].
pub async fn drift(client: &Client) -> Result<Vec<Drift>, DbError> {
    let query = "select id, kind, user_key, auth0_user_id, email, changes, detail, planned, what_to_do from roster.drift order by id";
    let rows = client.query(query, &[]).await?;
    let drift = |row: &tokio_postgres::Row| Drift {
        id: row.get(0),
        kind: row.get(1),
        user_key: row.get(2),
        auth0_user_id: row.get(3),
        email: row.get(4),
        changes: row.get(5),
        detail: row.get(6),
        planned: row.get(7),
        what_to_do: row.get(8),
    };
    Ok(rows.iter().map(drift).collect())
}

/// Has drift mended by the plan (`all`, `#id`, a kind or a user). Gives how many findings.
///
/// # Errors
/// [`DbError`]; `RO020` where nothing is meant, `RO021` where nothing of it can be reverted.
pub async fn revert(client: &Client, which: &str) -> Result<i32, DbError> {
    judge(client, "select roster.revert_drift($1)", which).await
}

/// As [`revert`] of `all`, where there may be nothing to revert.
///
/// # Errors
/// [`DbError`].
pub async fn revert_all(client: &Client) -> Result<i32, DbError> {
    let any = "select exists (select from roster.drift where roster.is_revertible(kind))";
    match client.query_one(any, &[]).await?.get(0) {
        true => revert(client, "all").await,
        false => Ok(0),
    }
}

/// Leaves drift as it is, until it changes. Gives how many findings.
///
/// # Errors
/// [`DbError`]; `RO020` where nothing is meant.
pub async fn ignore(client: &Client, which: &str) -> Result<i32, DbError> {
    judge(client, "select roster.ignore_drift($1)", which).await
}

/// The statements that would let the rows say what Auth0 has.
///
/// # Errors
/// [`DbError`]; `RO020` where nothing is meant.
pub async fn adopt(client: &Client, which: &str) -> Result<Vec<String>, DbError> {
    let rows = client
        .query("select statement from roster.adopt_drift($1)", &[&which])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn judge(client: &Client, query: &str, which: &str) -> Result<i32, DbError> {
    Ok(client.query_one(query, &[&which]).await?.get(0))
}

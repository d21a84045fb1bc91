//! What happened, and why things are as they are: `roster.explain` and the views of history, as the command line and the console
//! show them.

use serde_json::Value;
use tokio_postgres::Client;

use super::DbError;

/// Why a user (e-mail, key or Auth0 id) is as it is, with the next step; of a permission, why it is granted or denied.
///
/// # Errors
/// [`DbError`]; `RO003` where nobody is meant.
pub async fn explain(
    client: &Client,
    who: &str,
    permission: Option<&str>,
) -> Result<String, DbError> {
    Ok(client
        .query_one("select roster.explain($1, $2)", &[&who, &permission])
        .await?
        .get(0))
}

/// The newest transactions, newest first, as JSON objects.
///
/// # Errors
/// [`DbError`].
pub async fn transactions(client: &Client, limit: i64) -> Result<Vec<Value>, DbError> {
    let query =
        "select to_jsonb(t) from (select * from roster.transactions order by txid desc limit $1) t";
    let rows = client.query(query, &[&limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What Auth0 was told because of a transaction, user by user, as JSON objects.
///
/// # Errors
/// [`DbError`].
pub async fn of_transaction(client: &Client, txid: u64, limit: i64) -> Result<Vec<Value>, DbError> {
    let query = "select to_jsonb(t) from roster.history_of_transaction($1::text::xid8) t limit $2";
    let rows = client.query(query, &[&txid.to_string(), &limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The last events of a user, oldest first, as JSON objects.
///
/// # Errors
/// [`DbError`]; `RO003` where nobody is meant.
pub async fn of_user(client: &Client, who: &str, limit: i64) -> Result<Vec<Value>, DbError> {
    let query = "select to_jsonb(h) from ( \
         select * from roster.history_of($1) order by at desc limit $2) h order by at";
    let rows = client.query(query, &[&who, &limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The newest removals with how long somebody could still get in, newest first, as JSON objects.
///
/// # Errors
/// [`DbError`].
pub async fn removals(client: &Client, limit: i64) -> Result<Vec<Value>, DbError> {
    let query = "select to_jsonb(r) from (select * from roster.removals order by committed_at desc limit $1) r";
    let rows = client.query(query, &[&limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

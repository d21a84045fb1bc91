//! What happened, and why things are as they are: `roster.explain` and the views of history, as the command line and the console
//! show them.

use serde_json::Value;
use tokio_postgres::Client;

use super::{DbError, statement::Statement};

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

/// The newest transactions, newest first; of those before `before`, if one is given.
pub fn transactions(before: Option<u64>, limit: usize) -> Statement {
    let before = before.map(|txid| txid.to_string());
    let condition = match before {
        Some(_) => "where txid < $1::text::xid8 ",
        None => "",
    };
    Statement::new(
        format!("select * from roster.transactions {condition}order by txid desc limit {limit}"),
        before.as_deref().map(Some),
    )
}

/// One of them.
pub fn transaction(txid: u64) -> Statement {
    let txid = txid.to_string();
    Statement::new(
        "select * from roster.transactions where txid = $1::text::xid8",
        [Some(txid.as_str())],
    )
}

/// What became of the users of some transactions, of each the first `most` by key.
pub fn of_transactions(txids: &[u64], most: usize) -> Statement {
    let txids: Vec<String> = txids.iter().map(u64::to_string).collect();
    Statement::new(
        format!(
            "select t.txid, h.user_key, h.email, h.outcome\n\
             from unnest($1::text::xid8[]) t (txid) cross join lateral roster.history_of_transaction(t.txid, '', {most}) h"
        ),
        [Some(format!("{{{}}}", txids.join(",")).as_str())],
    )
}

/// What Auth0 was told because of a transaction, user by user in the order of their keys, of those after `after`.
pub fn of_transaction(txid: u64, after: &str, limit: usize) -> Statement {
    let txid = txid.to_string();
    Statement::new(
        format!("select * from roster.history_of_transaction($1::text::xid8, $2, {limit})"),
        [Some(txid.as_str()), Some(after)],
    )
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

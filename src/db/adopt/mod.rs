//! Adoption: an existing users table is looked at, and a mapping for it proposed as SQL that a person reads before it is run.
//!
//! Promised: looking writes nothing; what is proposed is shown with five users as it would map them; it is applied only when told to, and
//! never over a mapping that is there. Names are guessed, so what was guessed and what could not be is said in comments of the SQL itself.
//! [`proposal`] is pure.

pub mod proposal;
mod shape;

use serde_json::Value;
use tokio_postgres::Client;

pub use self::{
    proposal::{Proposal, Unclear},
    shape::{Column, Link, Shape, inspect},
};
use super::DbError;

/// Users as this view would show them, as JSON objects; at most `limit`.
///
/// # Errors
/// [`DbError`]: the view cannot be run as it stands.
pub async fn sample(
    client: &Client,
    proposal: &Proposal,
    limit: i64,
) -> Result<Vec<Value>, DbError> {
    let query = format!("select to_jsonb(d) from ({}) d limit $1", proposal.select);
    let rows = client.query(&query, &[&limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether `roster.desired_users` is there already.
///
/// # Errors
/// [`DbError`].
pub async fn is_mapped(client: &Client) -> Result<bool, DbError> {
    let query = "select to_regclass('roster.desired_users') is not null";
    Ok(client.query_one(query, &[]).await?.get(0))
}

/// Makes the view, before the schema around it: what `roster migrate` finds it keeps.
///
/// # Errors
/// [`DbError`].
pub async fn map(client: &Client, proposal: &Proposal) -> Result<(), DbError> {
    let statements = format!(
        "begin; create schema if not exists roster; {} commit",
        proposal.view
    );
    client.batch_execute(&statements).await?;
    Ok(())
}

/// Everything else, once the schema is there: the tables are watched, ids written back, imports know where to go.
///
/// # Errors
/// [`DbError`].
pub async fn settle(client: &Client, proposal: &Proposal) -> Result<(), DbError> {
    client
        .batch_execute(&format!("begin; {} commit", proposal.after.concat()))
        .await?;
    // CONCURRENTLY, so each by itself.
    for index in &proposal.indexes {
        client.batch_execute(index).await?;
    }
    Ok(())
}

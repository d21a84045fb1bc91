//! What is wrong, for the console.

use serde_json::Value;
use tokio_postgres::Client;

use crate::db::{
    DbError,
    console::edit::{Author, begin},
    control,
    pool::{Pool, QUICK},
    statement::Statement,
};

/// The rows of `roster.problems`, and what reads them.
///
/// # Errors
/// [`DbError`].
pub async fn problems(client: &Client) -> Result<(Vec<Value>, Statement), DbError> {
    let statement = Statement::new("select * from roster.problems", []);
    Ok((statement.objects(client).await?, statement))
}

/// Tries again, for its author, what failed with this code. Gives how many users that concerns.
///
/// # Errors
/// [`DbError`].
pub async fn retry(pool: &Pool, author: &Author, code: &str) -> Result<i32, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        control::retry_failed(tx.client(), Some(code)).await
    })
    .await
}

/// What one would type to try a group again.
pub fn retry_shown(code: &str) -> Statement {
    Statement::new("select roster.retry_failed($1)", [Some(code)])
}

//! What is wrong, for the console: what is noted somewhere at once, and what only reading every row finds where they are few or somebody asks.

use serde_json::Value;
use tokio_postgres::Client;

use crate::db::{
    DbError,
    console::edit::{Author, begin},
    control,
    pool::{Pool, QUICK},
    statement::Statement,
};

/// Bytes of `roster.mirror` with some 20 000 users; so many rows are read in a few hundredths of a second.
const FEW: &str = "select pg_relation_size('roster.mirror') < 4 * 1024 * 1024";

/// What is wrong.
#[derive(Debug)]
pub struct Problems {
    /// Rows of `roster.problems`.
    pub found: Vec<Value>,
    /// Every row was read for it.
    pub is_whole: bool,
    pub statement: Statement,
}

/// The rows of `roster.problems`; of a large table only what is known without reading it, unless `whole`.
///
/// # Errors
/// [`DbError`].
pub async fn problems(client: &Client, whole: bool) -> Result<Problems, DbError> {
    let is_whole = whole || client.query_one(FEW, &[]).await?.get(0);
    let view = match is_whole {
        true => "select * from roster.problems",
        false => "select * from roster.problems_noted",
    };
    let statement = Statement::new(view, []);
    Ok(Problems {
        found: statement.objects(client).await?,
        is_whole,
        statement,
    })
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

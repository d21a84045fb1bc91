//! Buttons of the console that write no row of the application's: each is a function of schema `roster`, as in psql.

use super::edit::{Author, begin};
use crate::db::{
    DbError,
    pool::{Pool, QUICK},
    statement::Statement,
};

/// A button.
#[derive(Debug, Clone)]
pub enum Press {
    /// Looks at a user again.
    Sync(String),
    /// Releases a staged invitation of a user, or wants a new one.
    Invite(String),
    /// This account is that user's.
    Link {
        key: String,
        account: String,
    },
    /// This account is nobody's, as far as Roster knows.
    Unlink(String),
    /// Stops calls to Auth0, for this reason.
    Pause(String),
    Resume,
    Mode(String),
}

impl Press {
    /// What is run, and shown.
    pub fn statement(&self) -> Statement {
        match self {
            Self::Sync(key) => Statement::new("select roster.resync($1)::text", [Some(&**key)]),
            Self::Invite(key) => Statement::new("select roster.invite($1)", [Some(&**key)]),
            Self::Link { key, account } => Statement::new(
                "select roster.link($1, $2)::text",
                [Some(&**key), Some(&**account)],
            ),
            Self::Unlink(account) => {
                Statement::new("select roster.unlink($1)::text", [Some(&**account)])
            }
            Self::Pause(reason) => {
                Statement::new("select roster.pause($1)::text", [Some(&**reason)])
            }
            Self::Resume => Statement::new("select roster.resume()::text", []),
            Self::Mode(mode) => Statement::new("select roster.set_mode($1)::text", [Some(&**mode)]),
        }
    }
}

/// Presses it, as somebody. Gives what the function says.
///
/// # Errors
/// [`DbError`]; `RO003` and on where the function refuses, with a hint.
pub async fn press(pool: &Pool, author: &Author, press: &Press) -> Result<String, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        let rows = press.statement().rows(tx.client()).await?;
        let said: Option<String> = rows.first().and_then(|row| row.get(0));
        Ok(said.unwrap_or_default())
    })
    .await
}

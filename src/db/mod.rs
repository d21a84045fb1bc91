//! Everything that speaks to PostgreSQL. SQL stands here, in `sql/` and in `triggers/`, and nowhere else.
//!
//! Read on in [`listener`] (being woken), [`changes`] (fold), [`mirror`] (claim, begin, record) and [`plan`].

pub mod adopt;
pub mod audit;
pub mod begin;
pub mod changes;
mod claim;
pub mod connect;
pub mod console;
pub mod control;
pub mod demo;
pub mod directory;
pub mod doctor;
pub mod done;
mod findings;
pub mod heartbeat;
pub mod import;
mod leases;
pub mod listener;
pub mod migrate;
pub mod mirror;
pub mod past;
pub mod plan;
pub mod pool;
pub mod reactors;
mod record;
pub mod statement;
mod stuck;
pub mod write_back;

use tokio_postgres::error::SqlState;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No session was to be had.
    #[error("no database session")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// The server refused a statement, or the connection was lost.
    #[error("{}", if connect::is_lost(.0) { "the session with the database was lost" } else { "the database refused a statement" })]
    Sql(#[from] tokio_postgres::Error),
    /// No answer came in time: the way to the server fell silent, or somebody holds what is needed.
    #[error("the database did not answer within {limit:?}")]
    TimedOut {
        /// The limit that was reached.
        limit: std::time::Duration,
    },
    /// The database holds what this version does not know.
    #[error("{what}: {value}")]
    Unexpected {
        /// What was met.
        what: &'static str,
        /// The value.
        value: String,
    },
}

impl DbError {
    /// The server's own error, where it answered with one.
    pub fn server(&self) -> Option<&tokio_postgres::error::DbError> {
        match self {
            Self::Sql(error) => error.as_db_error(),
            Self::Pool(deadpool_postgres::PoolError::Backend(error)) => error.as_db_error(),
            _ => None,
        }
    }

    /// Whether somebody else's lock stood in the way: it passes, and says nothing of what was asked.
    pub fn is_held_up(&self) -> bool {
        self.server().is_some_and(|error| {
            [
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::T_R_DEADLOCK_DETECTED,
            ]
            .contains(error.code())
        })
    }

    /// Whether the database could not be reached, as opposed to refusing something.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Sql(error) => connect::is_lost(error),
            // Also where a server refuses a new session: what it says then is not about the work.
            Self::Pool(_) | Self::TimedOut { .. } => true,
            Self::Unexpected { .. } => false,
        }
    }
}

//! Why an audit came to nothing. Whatever it is, nothing was changed, and what the last audit found stands.

use std::{io, time::Duration};

use crate::{
    auth0::{CallError, Detail, ExportError},
    db::{DbError, audit::ListError, connect::ConnectError},
    telemetry::with_causes,
};

/// Why an audit came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No session with the database.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// The database refused something, or went away.
    #[error("the audit could not be kept in the database")]
    Database(#[from] DbError),
    /// One at a time.
    #[error("another audit of this database is under way")]
    Another,
    /// The configuration names a tenant that this mirror does not belong to.
    #[error(
        "this mirror belongs to the tenant {theirs}, and the configuration names another; nothing was changed"
    )]
    AnotherTenant {
        /// The mirror's.
        theirs: String,
    },
    /// It was asked to stop.
    #[error("the audit was stopped before its end; nothing was changed")]
    Stopped,
    /// Auth0 did not answer, or refused.
    #[error("auth0 could not be asked; nothing was changed")]
    Call(#[from] CallError),
    /// The file of the export.
    #[error("the export could not be read to its end; nothing was changed")]
    Export(#[from] ExportError),
    /// The job ended without a file.
    #[error("auth0 could not export its users; nothing was changed")]
    JobFailed {
        /// Auth0's own words, for the database only.
        why: Detail,
    },
    /// The job does not end.
    #[error("auth0 did not export its users within {limit:?}; nothing was changed")]
    JobTakesTooLong {
        /// How long it was waited.
        limit: Duration,
    },
    /// Nothing to read from.
    #[error(
        "auth0 has exported its users, but gives no link that may be followed; nothing was changed"
    )]
    NoLink,
    /// Accounts can be listed from an export alone.
    #[error(
        "auth0 gives no export of this tenant, and only that shows all accounts; audit without --accounts"
    )]
    NoList,
    /// The list of accounts.
    #[error("the list of accounts cannot be written; nothing was changed")]
    List(#[from] io::Error),
    /// Nobody in the export.
    #[error(
        "the export has nobody in it, though {linked} accounts are linked; nothing was changed"
    )]
    Empty {
        /// Accounts that Roster linked.
        linked: i64,
    },
    /// The export lacks people who are there.
    #[error(
        "the export shows {shown} of {linked} linked accounts, and others are there all the same: it is late or incomplete; nothing was changed"
    )]
    Incomplete {
        /// Linked accounts in the export.
        shown: i64,
        /// Accounts that Roster linked.
        linked: i64,
    },
}

/// What an error means to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Something is wrong.
    Wrong,
    /// A person has to mend credentials, scopes or the configuration.
    Configuration,
    /// Auth0 or the database is not to be reached now.
    Unreachable,
}

impl AuditError {
    /// Short and stable, for `roster.audits` and logs.
    pub fn code(&self) -> &str {
        match self {
            Self::Connect(_) => "database_unreachable",
            Self::Database(_) => "database_refused",
            Self::Another => "audit_under_way",
            Self::AnotherTenant { .. } => "another_tenant",
            Self::Stopped => "stopped",
            Self::Call(error) => error.code(),
            Self::Export(ExportError::Refused { .. } | ExportError::Lost(_)) => {
                "export_unreachable"
            }
            Self::Export(ExportError::File(_)) => "export_damaged",
            Self::JobFailed { .. } | Self::JobTakesTooLong { .. } | Self::NoLink => "export_failed",
            Self::NoList => "no_export",
            Self::List(_) => "list_not_written",
            Self::Empty { .. } => "export_empty",
            Self::Incomplete { .. } => "export_incomplete",
        }
    }

    /// What `roster.audits` says of it.
    pub(super) fn detail(&self) -> String {
        let said = with_causes(self);
        match self {
            Self::JobFailed { why } => match why.as_str() {
                Some(words) => format!("{said}: {words}"),
                None => said,
            },
            _ => said,
        }
    }

    /// What it means to who asked.
    pub fn means(&self) -> Means {
        match self {
            Self::AnotherTenant { .. } => Means::Configuration,
            Self::Connect(_) => Means::Unreachable,
            Self::Database(error) if error.is_unreachable() => Means::Unreachable,
            Self::Export(ExportError::Refused { .. } | ExportError::Lost(_)) => Means::Unreachable,
            Self::Call(error) => match error {
                CallError::Token { source, .. } if source.is_config() => Means::Configuration,
                CallError::Refused {
                    status: 401 | 403, ..
                } => Means::Configuration,
                CallError::Refused {
                    status: 400..=499, ..
                } => Means::Wrong,
                CallError::Malformed { .. } => Means::Wrong,
                _ => Means::Unreachable,
            },
            _ => Means::Wrong,
        }
    }
}

impl From<ListError> for AuditError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Database(error) => Self::Database(error),
            ListError::File(error) => Self::List(error),
        }
    }
}

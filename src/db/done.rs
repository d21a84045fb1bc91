//! What a call came to: the one type the reactor hands to the database.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::plan::Action;

/// An account as Auth0 showed it.
#[derive(Clone, PartialEq, Serialize)]
pub struct Observed {
    /// With its provider's prefix.
    pub auth0_user_id: String,
    /// As shown.
    pub email: Option<String>,
    /// As shown.
    pub email_verified: bool,
    /// As shown.
    pub name: Option<String>,
    /// As shown; absent means false.
    pub blocked: bool,
    /// All of it; only the owned keys are kept.
    pub app_metadata: Map<String, Value>,
    /// All of it; only the owned keys are kept.
    pub user_metadata: Map<String, Value>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed")
            .field("auth0_user_id", &self.auth0_user_id)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// What a failure means for the next try. The words stand in `roster.mirror.error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait as told; everybody waits.
    Throttled,
    /// Try again with backoff.
    Transient,
    /// Parked until the row changes.
    Data,
    /// A person has to mend the tenant or the configuration; tried again now and then.
    Config,
    /// An account is there already; look.
    Conflict,
}

impl Class {
    /// The word in the database, in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Data => "data",
            Self::Config => "config",
            Self::Conflict => "conflict",
        }
    }
}

/// A call that did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub class: Class,
    /// Stable code.
    pub code: String,
    /// Not before this; else by backoff.
    pub retry_after: Option<Duration>,
    /// Whether Auth0 may have applied it all the same.
    pub perhaps_applied: bool,
}

/// What came of a look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The account that was looked for by its id.
    pub own: Option<Observed>,
    /// An account in the connection that becomes the user's.
    pub adopt: Option<Observed>,
    /// Log-ins elsewhere of the same, verified address.
    pub further: Vec<Observed>,
    /// Why a person has to decide.
    pub dispute: Option<&'static str>,
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Done; the account is now as shown.
    Observed(Observed),
    /// Deleted, or was not there to be deleted.
    Deleted,
    /// Looked.
    Looked(Findings),
    /// The mail was accepted.
    Mailed,
    /// Auth0 does not know the account.
    Missing,
    /// Not done.
    Failed(Failure),
    /// Never sent: it waited too long for its turn, or the reactor stops. The plan is read again.
    NotMade,
}

/// A call that is over, as far as this worker knows.
#[derive(Debug, Clone)]
pub struct Done {
    /// Whom it was for.
    pub user_key: String,
    /// The account; absent for a look by address.
    pub auth0_user_id: Option<String>,
    /// Which begun call it was.
    pub call_id: Uuid,
    /// What it was to do.
    pub action: Action,
    /// Owned fields, old and new.
    pub changes: Value,
    /// What it came to.
    pub effect: Effect,
    /// HTTP status.
    pub status: Option<u16>,
    /// Auth0's own words, for the database only.
    pub detail: Option<String>,
    /// When the call began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
}

impl Done {
    /// `ok`, or the stable error code.
    pub fn code(&self) -> &str {
        match &self.effect {
            Effect::Failed(failure) => &failure.code,
            Effect::Missing => "account_missing",
            Effect::NotMade => "not_made",
            Effect::Looked(Findings {
                dispute: Some(code),
                ..
            }) => code,
            _ => "ok",
        }
    }
}

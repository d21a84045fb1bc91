//! Doctor: looks at everything an installation stands on, and says what to do about each thing that is not as it should be.
//!
//! Promised: it changes nothing, here or in Auth0; each check is by itself, so that one that fails hides no other; every finding that is
//! not fine has a remedy that can be carried out as it stands. Not promised: that what is fine now stays so; `roster status` tells that.

mod database;
mod server;
mod tenant;

use serde::Serialize;

use crate::config::Config;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// It could not be looked at.
    Unknown,
    /// It works, and will cost somebody something.
    Warning,
    /// Something does not work.
    Fault,
    /// Nothing answers there.
    Unreachable,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable; of a closed list.
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do: a statement, a setting, a place to go to. None where it is fine.
    pub remedy: Option<String>,
}

impl Finding {
    fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Fine,
            found: found.into(),
            remedy: None,
        }
    }

    fn bad(
        check: &'static str,
        level: Level,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            level,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(check, Level::Warning, found, remedy)
    }

    fn fault(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(check, Level::Fault, found, remedy)
    }
}

/// Looks at all of it: configuration, database, tenant, authorization server.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let (mut findings, tenant, server) = tokio::join!(
        database::examine(config),
        tenant::examine(config),
        server::examine(config),
    );
    findings.extend(tenant);
    findings.extend(server);
    findings
}

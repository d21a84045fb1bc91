//! Audits by the clock, `audit.every`, and those that `roster.audit()` asks for, in a process that runs the reactor.
//!
//! Whether one is due is asked of the database, so that several reactors make one together, and a restart none too many. A failed one is
//! tried again sooner than the next would come. None is begun while Roster is paused. It is no part of the process's own health: whatever
//! holds an audit up has a limit of its own, and is no reason to start the process anew.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Audit, AuditError, Step, Witness};
use crate::{
    db::{audit, pool::Pool},
    telemetry::with_causes,
};

/// How often the database is asked whether an audit is due; `roster.audit()` promises it.
const ASKED_EACH: Duration = Duration::from_secs(10);
/// A failed audit is tried again after this, if the next would not come sooner.
const AFTER_A_FAILURE: Duration = Duration::from_secs(15 * 60);

/// Makes audits each `every` and whenever somebody asks, until `stop`.
pub async fn run(audit: Audit, pool: Pool, every: Option<Duration>, stop: CancellationToken) {
    let mut asks = interval(ASKED_EACH);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = asks.tick() => {}
        }
        let due = tokio::select! {
            () = stop.cancelled() => return,
            due = audit::is_due(&pool, every, AFTER_A_FAILURE.min(every.unwrap_or(AFTER_A_FAILURE))) => due,
        };
        match due {
            Ok(true) => one(&audit, &stop).await,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "whether an audit is due is not known");
            }
        }
    }
}

async fn one(audit: &Audit, stop: &CancellationToken) {
    match audit.run(&Log, stop).await {
        Ok(summary) => tracing::info!(
            audit = summary.id,
            source = summary.source,
            accounts = summary.accounts_seen,
            found = summary.found,
            unconfirmed = summary.unconfirmed,
            "an audit finished"
        ),
        // Another reactor makes it.
        Err(AuditError::Another | AuditError::Stopped) => {}
        Err(error) => {
            tracing::warn!(code = error.code(), error = %with_causes(&error), "an audit failed");
        }
    }
}

/// Tells the log what is worth a line.
struct Log;

impl Witness for Log {
    fn sees(&self, step: Step<'_>) {
        if let Step::NoExport { code } = step {
            tracing::info!(code, "no exports here: linked accounts are read one by one");
        }
    }
}

//! Heartbeat: a reactor's sign of life in `roster.reactors`, by which the others know that its leases count.
//!
//! Wanted: it comes in time however busy the reactor is, and stops when the reactor, its database or its process hangs.
//!
//! Design: a task and a session of its own, so that neither a long sweep nor a crowd in the pool delays it. Each beat has a deadline,
//! after which the session is given up and another one is made. What it is asked to write is asked for anew each time; without an
//! answer there is no beat. Each beat looks at the database's clock too (`triggers/clock.sql`), since the last one tells if it was set
//! back.

use std::{convert::Infallible, time::Duration};

use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, error::Elapsed, interval, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connect::{ConnectError, Endpoint};
use crate::telemetry::with_causes;

/// How often a reactor writes its heartbeat. `roster.heartbeat_patience()` bears some that are missing.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A beat that takes longer is none: by then the others have given this reactor up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Beats each [`HEARTBEAT`] until `stop`, whenever `budget` gives something to write.
pub async fn beat(
    endpoint: Endpoint,
    reactor: Uuid,
    budget: impl Fn() -> Option<Value>,
    stop: CancellationToken,
) {
    let beats = async {
        let mut tick = interval(HEARTBEAT);
        // After a pause one beat says all there is to say.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let error = match beat_on_one_session(&endpoint, reactor, &budget, &mut tick).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::debug!(error = %with_causes(&error), "no heartbeat");
            tick.tick().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = beats => {}
    }
}

/// Why a session was given up.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("connecting failed")]
    Connect(#[from] ConnectError),
    #[error("the server refused a statement")]
    Sql(#[from] tokio_postgres::Error),
    #[error("the server did not answer in time")]
    Silent(#[from] Elapsed),
}

async fn beat_on_one_session(
    endpoint: &Endpoint,
    reactor: Uuid,
    budget: &impl Fn() -> Option<Value>,
    tick: &mut Interval,
) -> Result<Infallible, Ended> {
    let client = endpoint.clone().named("roster heartbeat").session().await?;
    // One statement that nothing has to be prepared or set for, so that it comes through a transaction pooler too. If a crash undoes a
    // beat, the next one follows at once.
    let beat = "select extract(epoch from roster.heed_the_clock())::float8, roster.heartbeat($1, $2), set_config('synchronous_commit', 'off', true)";
    loop {
        if let Some(budget) = budget() {
            let values = [
                (&reactor as &(dyn ToSql + Sync), Type::UUID),
                (&budget, Type::JSONB),
            ];
            let rows = timeout(PATIENCE, client.query_typed(beat, &values)).await??;
            if let Some(seconds) = rows.first().and_then(|row| row.get::<_, Option<f64>>(0)) {
                tracing::warn!(
                    seconds,
                    "the database's clock was set back; what waits for a time was moved with it"
                );
            }
        }
        tick.tick().await;
    }
}

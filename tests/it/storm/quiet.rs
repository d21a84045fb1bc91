//! After the storm: no more faults, and time goes by until nothing is left to do. How long that may take is bounded in rounds.

use std::time::Duration;

use roster::db::{changes, write_back};
use serde_json::json;
use tokio::time::sleep;

use super::{
    faults::Counts,
    history::{Event, History, Mix, What},
    place::{CALL_TIMEOUT, Stage},
    play::{Crew, exchange},
    statements::Kind,
    way::Flow,
};

/// Each round all waits are over, so this is more than any backoff, look or circle of addresses needs.
const ROUNDS: usize = 30;
/// An orderly stop is over long before, on a machine however busy.
const STOPS: Duration = Duration::from_secs(300);

/// Stops the reactors, then has another one do what is left; gives what is wrong with that.
pub(super) async fn comes(
    stage: &Stage<'_>,
    crew: Crew,
    history: &History,
    mix: &Mix,
    counts: &Counts,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (way, _) in &crew.seats {
        way.set(Flow::Open);
    }
    stage
        .control
        .batch_execute("select roster.resume()")
        .await
        .expect("a session");
    for (_, seat) in &crew.seats {
        match exchange(seat, None) {
            None => {}
            Some(process) if !history.in_order => {
                crew.kill(process);
                counts.add("killed at the end", 1);
            }
            Some(process) => {
                let stopped = process.stop(STOPS).await;
                wrong
                    .extend((!stopped).then(|| format!("a reactor did not stop within {STOPS:?}")));
            }
        }
    }
    crew.are_dead().await;
    // What a reactor asked for in its last moment has been done by then, since the tenant is at work on this very thread.
    sleep(CALL_TIMEOUT + Duration::from_millis(200)).await;
    let reactor = stage.closing_reactor();
    while let Err(error) = reactor.register().await {
        if !error.is_unreachable() {
            return vec![format!("no reactor could be started: {error:?}")];
        }
    }
    let unseen = |event: &Event| matches!(&event.what, What::Tx(_, tx) if tx.kind == Kind::Unseen);
    let mut sweep = mix.sweeps && history.events.iter().any(unseen);
    for round in 0..ROUNDS {
        // The machine may be so busy that the database is not reached in time.
        while let Err(error) = reactor.settle().await {
            if !error.is_unreachable() {
                wrong.push(format!("round {round}: {error:?}"));
                break;
            }
        }
        if unnoticed(stage).await == 0 && (sweep || mix.sweeps && in_doubt(stage).await) {
            sweep = changes::sweep(&reactor.pool).await.is_err();
        } else if left(stage).await == 0 {
            counts.add("rounds", round as u64);
            let written = write_back::write_back(&reactor.pool, None).await;
            wrong.extend(written.err().map(|error| format!("{error:?}")));
            return wrong;
        }
        time_passes(stage, counts).await;
    }
    let plan = "select concat_ws(' ', p.user_key, p.auth0_user_id, p.action, p.state, p.reason, p.changes::text) from roster.plan p \
         union all select concat_ws(' ', user_key, 'due', error_code, disputed) from roster.mirror where due";
    let rows = stage.control.query(plan, &[]).await.expect(plan);
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    wrong.push(format!("not quiet after {ROUNDS} rounds: {rows:#?}"));
    wrong
}

/// How many reactors are told of changes, and were not before they had looked at what was there.
pub(super) async fn listening(stage: &Stage<'_>) -> usize {
    let query = "select count(*) from roster.reactors where last_listen_at is not null and bell_heard_at is not null";
    let row = stage.control.query_one(query, &[]).await.expect(query);
    usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)
}

/// Changes that no reactor took over yet.
pub(super) async fn unnoticed(stage: &Stage<'_>) -> i64 {
    let query = "select count(*) from roster.changes where folded_at is null";
    stage
        .control
        .query_one(query, &[])
        .await
        .expect(query)
        .get(0)
}

/// Whether a call may have been applied after the look that was to tell.
async fn in_doubt(stage: &Stage<'_>) -> bool {
    let query = "select exists (select from roster.accounts where doubted_at < now() - interval '1 minute')";
    stage
        .control
        .query_one(query, &[])
        .await
        .expect(query)
        .get(0)
}

/// All that is not done.
pub(super) async fn left(stage: &Stage<'_>) -> i64 {
    let query = "select (select count(*) from roster.changes where folded_at is null) + (select count(*) from roster.mirror where due) \
         + (select count(*) from roster.plan where state in ('due', 'waiting', 'held', 'suppressed'))";
    stage
        .control
        .query_one(query, &[])
        .await
        .expect(query)
        .get(0)
}

/// Every wait ends, and a person releases what was held.
async fn time_passes(stage: &Stage<'_>, counts: &Counts) {
    for waits in [
        "update roster.mirror set next_attempt_at = null where due",
        "update roster.mirror set lease_until = now() where lease_until is not null",
        "update roster.accounts set call_deadline = now() where call_id is not null",
        "update roster.accounts set doubted_at = doubted_at - interval '2 minutes' where doubted_at is not null",
        "update roster.invitations set changed_at = now() - interval '2 minutes' where state = 'sending'",
    ] {
        // The last statement of a killed reactor may still be under way; the next round comes.
        let _ = stage.control.batch_execute(waits).await;
    }
    let held = "select count(*) from roster.plan where state = 'held'";
    let held: i64 = stage.control.query_one(held, &[]).await.expect(held).get(0);
    if held > 0 {
        counts.add("held", held.cast_unsigned());
        let release = "select roster.release_held('all')";
        stage.control.batch_execute(release).await.expect(release);
    }
    let a_while = json!({"advance_seconds": 10});
    stage.tenant.control("clock", a_while).await;
}

//! Leases between their claim and their end: renewed while calls go on, given back, set aside; and when the next one is to be had.
//!
//! Which reactors are gone, so that their leases hold nobody any more, says `triggers/leases.sql`.

use std::time::Duration;

use deadpool_postgres::Transaction;
use uuid::Uuid;

use super::{
    DbError,
    mirror::{Claim, Terms},
    pool::{Pool, QUICK},
};

/// A lease outlasts a call's deadline by this, so that its result can still be recorded.
const FOR_THE_RECORD: Duration = Duration::from_secs(5);
/// When to look again at a user whose row, or that of whoever had the account before, somebody's transaction holds: perhaps for long.
pub(super) const WHILE_HELD: Duration = Duration::from_millis(100);

/// Lets a user go whose turn the database refused, to be tried again in a minute and told of in `roster.problems`.
///
/// # Errors
/// [`DbError`]; the lease ends by itself then.
pub async fn set_aside(
    pool: &Pool,
    reactor: Uuid,
    claim: &Claim,
    words: &str,
) -> Result<(), DbError> {
    pool.on(QUICK, async |session| {
        session
            .execute(
                "update roster.mirror set lease_by = null, lease_until = null, next_attempt_at = now() + interval '1 minute', \
                    attempts = attempts + 1, error_code = 'database_refused', error_class = 'transient', error_detail = $3, error_at = now() \
                 where user_key = $1 and lease_by = $2 and claim_id = $4",
                &[&claim.user_key, &reactor, &words, &claim.id],
            )
            .await?;
        Ok(())
    })
    .await
}

/// In how long the next user is due, of those that wait for a time or for a lease to end.
///
/// # Errors
/// [`DbError`].
pub async fn next_due(pool: &Pool) -> Result<Option<Duration>, DbError> {
    let seconds: Option<f64> = pool
        .on(QUICK, async |session| {
            let statement = session
                .prepare_cached(
                    "select extract(epoch from min(greatest(m.next_attempt_at, \
                        case when m.lease_by not in (select g.id from roster.reactors_gone g) then m.lease_until end)) - now())::float8 from roster.mirror m \
                     where m.due and not exists (select from roster.settings where paused_at is not null)",
                )
                .await?;
            Ok(session.query_one(&statement, &[]).await?.get(0))
        })
        .await?;
    Ok(seconds.map(|s| match Duration::try_from_secs_f64(s) {
        // A little later than exactly then, so that the look finds it due.
        Ok(wait) => wait + Duration::from_millis(2),
        Err(_) if s > 0.0 => Duration::from_secs(3600),
        Err(_) => WHILE_HELD,
    }))
}

/// Gives leases back unused: an orderly stop.
///
/// # Errors
/// [`DbError`]; the leases end by themselves then.
pub async fn give_back(pool: &Pool, reactor: Uuid) -> Result<(), DbError> {
    pool.on(QUICK, async |session| {
        session
            .execute(
                "update roster.mirror set lease_by = null, lease_until = null where lease_by = $1",
                &[&reactor],
            )
            .await?;
        Ok(())
    })
    .await
}

/// Leases that might end before the calls do last again from now; a fresh one is left, since each write costs.
pub(super) async fn renew(
    tx: &Transaction<'_>,
    terms: &Terms,
    keys: &[&str],
) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "update roster.mirror set lease_until = clock_timestamp() + make_interval(secs => $2) \
             where user_key = any($1) and lease_until < clock_timestamp() + make_interval(secs => $3)",
        )
        .await?;
    let (lease, needed) = (
        terms.lease.as_secs_f64(),
        (terms.call_deadline + FOR_THE_RECORD).as_secs_f64(),
    );
    tx.execute(&statement, &[&keys, &lease, &needed]).await?;
    Ok(())
}

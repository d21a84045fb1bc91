//! The outbox: fold takes new changes over into the mirror; old history is dropped.

use std::time::Duration;

use super::{
    DbError,
    pool::{LONG, Pool},
};

/// Changes folded in one transaction. Each may name many users.
const FOLD_BATCH: i32 = 500;

/// What one fold did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// Changes taken over; 0 when there was nothing, or another reactor is at it.
    pub changes: i32,
    /// There may be more: this was as many as one fold takes.
    pub more: bool,
    /// One of them could not name its users, so everybody was looked at.
    pub looked_at_everybody: bool,
}

/// Takes the next new changes over into `roster.mirror`. The commit does not wait for the disk: if a crash undoes it, the
/// changes are simply new again.
///
/// # Errors
/// [`DbError`]; nothing was folded then.
pub async fn fold(pool: &Pool) -> Result<Folded, DbError> {
    let (changes, looked_at_everybody) = pool
        .on(LONG, async |session| {
            let statement = session
                .prepare_cached(
                    "select folded, looked_at_everybody from set_config('synchronous_commit', 'off', true), roster.fold($1)",
                )
                .await?;
            let row = session.query_one(&statement, &[&FOLD_BATCH]).await?;
            Ok((row.get(0), row.get(1)))
        })
        .await?;
    Ok(Folded {
        changes,
        more: changes >= FOLD_BATCH,
        looked_at_everybody,
    })
}

/// Compares everybody with what Auth0 last showed; says how many were made due.
///
/// # Errors
/// [`DbError`].
pub async fn sweep(pool: &Pool) -> Result<i32, DbError> {
    pool.on(LONG, async |session| {
        let row = session
            .query_one("select made_due from roster.sweep()", &[])
            .await?;
        Ok(row.get(0))
    })
    .await
}

/// Drops history older than `keep`; a change that is not folded is never dropped.
///
/// # Errors
/// [`DbError`].
pub async fn forget(pool: &Pool, keep: Duration) -> Result<(), DbError> {
    let keep = keep.as_secs_f64();
    for delete in [
        "delete from roster.changes where folded_at < now() - make_interval(secs => $1)",
        "delete from roster.account_changes where changed_at < now() - make_interval(secs => $1)",
        "delete from roster.attempts where started_at < now() - make_interval(secs => $1)",
    ] {
        pool.on(LONG, async |session| {
            Ok(session.execute(delete, &[&keep]).await?)
        })
        .await?;
    }
    Ok(())
}

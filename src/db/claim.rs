//! Claim: which of the users that are due come next, and a lease on each of them.
//!
//! Wanted: removals before anything else; of the rest every lane gets on, however many come in another; a claim costs what it takes and
//! not what waits, also at 100 000 waiting users.

use std::sync::LazyLock;

use tokio_postgres::Row;

use super::{
    DbError,
    mirror::{Claim, Terms},
    pool::{Pool, QUICK},
};

/// The lanes that share what removals leave, each with its weight: a place goes to a waiting lane by lot, and of two that wait the one
/// with twice the weight gets twice as many. So none starves, however many come in another.
const SHARES: [(&str, u8); 3] = [("creation", 4), ("update", 2), ("bulk", 1)];

/// Leases up to `limit` users that are due, none of those `at_work` here: removals first, then by lot as [`SHARES`] says, of each lane the
/// longest waiting first. None while paused. The commit does not wait for the disk: a lease that a crash undoes was held by nobody.
///
/// # Errors
/// [`DbError`]; nothing is leased then.
pub async fn claim(
    pool: &Pool,
    terms: &Terms,
    limit: usize,
    at_work: &[String],
) -> Result<Vec<Claim>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // Not counted by the database: a crash may undo this claim, and the next one must not be taken for it.
    let id = (terms.claim_ids)();
    pool.on(QUICK, async |session| {
        let statement = session.prepare_cached(&CLAIM).await?;
        let lease = terms.lease.as_secs_f64();
        let rows = session
            .query(&statement, &[&terms.reactor, &lease, &limit, &id, &at_work])
            .await?;
        let claim = |row: &Row| Claim {
            user_key: row.get(0),
            id,
        };
        Ok(rows.iter().map(claim).collect())
    })
    .await
}

/// Counts the users who could go to Auth0 by [`claim_new`], up to `most`.
///
/// # Errors
/// [`DbError`].
pub async fn new_users(pool: &Pool, most: i64) -> Result<i64, DbError> {
    let query =
        format!("select count(*) from (select from roster.mirror m where {NEW} limit $1) n");
    pool.on(QUICK, async |session| {
        let statement = session.prepare_cached(&query).await?;
        Ok(session.query_one(&statement, &[&most]).await?.get(0))
    })
    .await
}

/// Leases up to `limit` users who are to be created and of whom nothing was ever tried, longest waiting first. Of those who turn out to
/// have something else to do, none.
///
/// # Errors
/// [`DbError`]; nothing is leased then.
pub async fn claim_new(pool: &Pool, terms: &Terms, limit: i64) -> Result<Vec<Claim>, DbError> {
    let id = (terms.claim_ids)();
    let query = format!(
        "with waiting as ( \
            select m.user_key from roster.mirror m where {NEW} order by m.due_since limit $3 for update skip locked), \
         picked as ( \
            select p.user_key from roster.plan p where p.user_key = any (array(select w.user_key from waiting w)) \
            group by p.user_key having bool_and(p.action = 'create' and p.state = 'due')) \
         update roster.mirror m set lease_by = $1, lease_until = now() + make_interval(secs => $2), claim_id = $4 \
         where m.user_key = any (array(select p.user_key from picked p)) \
         returning m.user_key"
    );
    pool.on(QUICK, async |session| {
        let statement = session.prepare_cached(&query).await?;
        let lease = terms.lease.as_secs_f64();
        let rows = session
            .query(&statement, &[&terms.reactor, &lease, &limit, &id])
            .await?;
        let claim = |row: &Row| Claim {
            user_key: row.get(0),
            id,
        };
        Ok(rows.iter().map(claim).collect())
    })
    .await
}

/// Users of whom there is no account, not even one that was tried, and about whom nothing is to be found out first.
const NEW: &str = "m.due and m.lane in ('creation', 'bulk') and not m.look_wanted and not m.conflict and m.disputed is null \
    and m.error_code is null and (m.next_attempt_at is null or m.next_attempt_at <= now()) \
    and (m.lease_until is null or m.lease_until <= now() or m.lease_by in (select g.id from roster.reactors_gone g)) \
    and not exists (select from roster.accounts a where a.user_key = m.user_key and a.incarnation = m.incarnation) \
    and not exists (select from roster.settings where paused_at is not null or mode = 'observe')";

/// Each lane is read along its own part of the index, no further than there are places. The sum of a lane's draws is when its next user
/// comes, as of arrivals at a rate of its weight; the first to come get the places (A.-L. Efraimidis, P. G. Spirakis, "Weighted random
/// sampling with a reservoir", 2006). The keys are an array at last, since a join would be planned as if a tenth of all were picked.
static CLAIM: LazyLock<String> = LazyLock::new(|| {
    let lane = |name: &str, places: &str| {
        format!(
            "{name}_lane as ( \
                select m.user_key, m.due_since from roster.mirror m \
                where m.due and m.lane = '{name}' and m.user_key <> all ($5::text[]) and (m.next_attempt_at is null or m.next_attempt_at <= now()) \
                    and (m.lease_until is null or m.lease_until <= now() or m.lease_by in (select g.id from roster.reactors_gone g)) \
                    and not exists (select from roster.settings where paused_at is not null) \
                order by m.due_since limit {places} for update skip locked)"
        )
    };
    let left = "(select $3 - count(*) from removal_lane)";
    let lanes: Vec<String> = SHARES.iter().map(|(name, _)| lane(name, left)).collect();
    let draws: Vec<String> = SHARES
        .iter()
        .map(|(name, weight)| {
            format!("select user_key, sum(-ln(1 - random()) / {weight}) over (order by due_since, user_key) as comes from {name}_lane")
        })
        .collect();
    format!(
        "with {}, {}, \
            picked as ( \
                select user_key from removal_lane \
                union all (select user_key from ({}) drawn order by comes limit {left})) \
         update roster.mirror m set lease_by = $1, lease_until = now() + make_interval(secs => $2), claim_id = $4 \
         where m.user_key = any (array(select user_key from picked)) \
         returning m.user_key, set_config('synchronous_commit', 'off', true)",
        lane("removal", "$3"),
        lanes.join(", "),
        draws.join(" union all "),
    )
});

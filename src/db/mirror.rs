//! Claim, begin, finish: how reactors share the users that are due.
//!
//! Wanted: nothing due is forgotten, nobody is worked on by two reactors at a time, and no transaction is open while Auth0
//! is called.
//!
//! Design: [`claim`] leases due users. Then [`turn`] runs before and after every call, each time in one short transaction
//! that holds the user's mirror row: it records what the last call came to, reads `roster.plan`, and begins the next call
//! (an id is chosen, the call is marked as in flight) or ends the work on that user. Because the plan is read again under
//! the row's lock at the end, a change made during a call is simply the next call; one that is folded later waits for the
//! lock and makes the user due again.
//!
//! Known races, and how they end:
//! * A lease that ended while its worker lived: the row names another reactor (or none) by then, and the late worker's
//!   result is refused. Its call stays marked as in flight until its deadline, then the account is looked at.
//! * A crash between begin and the call, or between the call and its record: the same look.
//! * A crash between claim and begin: the lease ends, the user is due still.

use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use uuid::Uuid;

use super::{
    DbError,
    plan::{Action, COLUMNS, PlanRow},
    record::{self, Done},
};

/// A user this reactor holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whom.
    pub user_key: String,
}

/// A call that is marked as in flight and is to be made now.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The planned row; `auth0_user_id` is set for everything but a look by address.
    pub row: PlanRow,
    /// Fences the record of this call.
    pub call_id: Uuid,
    /// Whether Auth0 had said that the account exists already.
    pub conflict: bool,
    /// Whether the user's row is there; a look for a removed user adopts nothing.
    pub live: bool,
    /// Whether the account is one Roster knows, as opposed to an id that the row claims.
    pub known: bool,
}

/// How a reactor works.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Which reactor.
    pub reactor: Uuid,
    /// How long a claim lasts without a word; longer than a call's hard deadline.
    pub lease: Duration,
    /// After this a call that was begun is surely over.
    pub call_deadline: Duration,
    /// Invitation mails a minute, of all reactors together.
    pub invitations_per_minute: u32,
}

/// Accounts one user may take over in one turn.
const MOST_TAKEOVERS: u32 = 8;

/// Leases up to `limit` users that are due, removals first, the longest waiting first. None while paused. The commit does
/// not wait for the disk: a lease that a crash undoes was held by nobody.
///
/// # Errors
/// [`DbError`]; nothing is leased then.
pub async fn claim(pool: &Pool, terms: &Terms, limit: usize) -> Result<Vec<Claim>, DbError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "with picked as ( \
                select m.user_key from roster.mirror m \
                where m.due and (m.next_attempt_at is null or m.next_attempt_at <= now()) \
                    and (m.lease_until is null or m.lease_until <= now()) \
                    and not exists (select from roster.settings where paused_at is not null) \
                order by m.lane, m.due_since limit $3 for update skip locked) \
             update roster.mirror m set lease_by = $1, lease_until = now() + make_interval(secs => $2) \
             from picked where m.user_key = picked.user_key returning m.user_key, set_config('synchronous_commit', 'off', true)",
        )
        .await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client
        .query(
            &statement,
            &[&terms.reactor, &terms.lease.as_secs_f64(), &limit],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Claim {
            user_key: row.get(0),
        })
        .collect())
}

/// Records what the last calls came to, and begins the next call of each user, if there is one. Users without another call
/// are let go. Gives the calls to make. Without `more` nothing begins: what is due stays so, for whoever comes next.
///
/// # Errors
/// [`DbError`]; then nothing of this turn is recorded, and the calls it was to record count as unanswered.
pub async fn turn(
    pool: &Pool,
    terms: &Terms,
    claims: &[Claim],
    done: Vec<Done>,
    more: bool,
) -> Result<Vec<Begun>, DbError> {
    let mut client = pool.get().await?;
    let tx = client.transaction().await?;
    let held = lock(&tx, terms, claims).await?;
    for done in done {
        if held.contains(&done.user_key) {
            record::record(&tx, terms.reactor, &done).await?;
        } else {
            tracing::warn!(user.key = %done.user_key, action = done.action.as_str(), "a late result was refused");
        }
    }
    let mut begun = Vec::new();
    let mut settled = Vec::new();
    let mut open = held;
    // A takeover needs no call: it is done here and the plan read again; not for ever, should it change nothing.
    let mut takeovers = 0;
    while !open.is_empty() {
        takeovers += 1;
        let rows = plan(&tx, &open).await?;
        let mut again = Vec::new();
        for key in open {
            let mine: Vec<&PlanRow> = rows.iter().filter(|row| row.user_key == key).collect();
            match next(&mine) {
                Some(row) if row.action == Action::Rekey && takeovers <= MOST_TAKEOVERS => {
                    record::rekey(&tx, terms.reactor, row).await?;
                    again.push(key);
                }
                Some(row) if row.action == Action::Rekey => {
                    settled.push(Settled::later(key, Duration::from_secs(60)));
                }
                Some(_) if !more => settled.push(Settled::later(key, Duration::ZERO)),
                Some(row) => match begin(&tx, terms, row).await? {
                    Some(call) => begun.push(call),
                    None => settled.push(Settled::later(key, Duration::from_secs(5))),
                },
                None => settled.push(Settled {
                    key,
                    wait: wait(&mine),
                    agrees: mine.iter().all(|row| row.action == Action::Invite),
                }),
            }
        }
        open = again;
    }
    let begun_keys: Vec<&str> = begun
        .iter()
        .map(|call| call.row.user_key.as_str())
        .collect();
    renew(&tx, terms, &begun_keys).await?;
    release(&tx, &settled).await?;
    tx.commit().await?;
    Ok(begun)
}

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
    let client = pool.get().await?;
    client
        .execute(
            "update roster.mirror set lease_by = null, lease_until = null, next_attempt_at = now() + interval '1 minute', \
                attempts = attempts + 1, error_code = 'database_refused', error_class = 'transient', error_detail = $3, error_at = now() \
             where user_key = $1 and lease_by = $2",
            &[&claim.user_key, &reactor, &words],
        )
        .await?;
    Ok(())
}

/// In how long the next user is due, of those that wait for a time or for a lease to end.
///
/// # Errors
/// [`DbError`].
pub async fn next_due(pool: &Pool) -> Result<Option<Duration>, DbError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "select extract(epoch from min(greatest(m.next_attempt_at, m.lease_until)) - now())::float8 from roster.mirror m \
             where m.due and not exists (select from roster.settings where paused_at is not null)",
        )
        .await?;
    let seconds: Option<f64> = client.query_one(&statement, &[]).await?.get(0);
    // A little later than exactly then, so that the look finds it due.
    Ok(seconds.map(|s| {
        Duration::try_from_secs_f64(s.max(0.0) + 0.002).unwrap_or(Duration::from_secs(3600))
    }))
}

/// Gives leases back unused: an orderly stop.
///
/// # Errors
/// [`DbError`]; the leases end by themselves then.
pub async fn give_back(pool: &Pool, reactor: Uuid) -> Result<(), DbError> {
    let client = pool.get().await?;
    client
        .execute(
            "update roster.mirror set lease_by = null, lease_until = null where lease_by = $1",
            &[&reactor],
        )
        .await?;
    Ok(())
}

/// Accounts whose id the application's table does not have yet are written back, each in a transaction of its own; a row
/// that somebody holds is left for the next time.
///
/// # Errors
/// [`DbError`].
pub async fn write_back(pool: &Pool, keys: Option<&[String]>) -> Result<(), DbError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "select a.user_key, a.auth0_user_id from roster.accounts a \
             join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation \
             join roster.desired_users d on d.user_key = a.user_key \
             where a.origin <> 'further' and a.state = 'linked' and d.auth0_user_id is null \
                and ($1::text[] is null or a.user_key = any($1)) limit 1000",
        )
        .await?;
    // Fold knows this transaction, so that the write is no news of the user; the reason is for people who read history.
    let write = client
        .prepare_cached(
            "with own as ( \
                update roster.accounts set written_back_txid = pg_current_xact_id() where auth0_user_id = $2 \
                returning set_config('roster.reason', 'roster wrote the Auth0 id back', true)) \
             select roster.write_back($1, $2) from own",
        )
        .await?;
    for row in client.query(&statement, &[&keys]).await? {
        let (key, id): (String, String) = (row.get(0), row.get(1));
        if let Err(error) = client.execute(&write, &[&key, &id]).await {
            // The DBA's own function, or a constraint of the application's table; the link does not depend on it.
            tracing::warn!(user.key = %key, code = error.code().map_or("", |c| c.code()), "the Auth0 id could not be written back");
        }
    }
    Ok(())
}

async fn lock(
    tx: &Transaction<'_>,
    terms: &Terms,
    claims: &[Claim],
) -> Result<Vec<String>, DbError> {
    let keys: Vec<&str> = claims.iter().map(|claim| claim.user_key.as_str()).collect();
    // The setting makes the plan see our own leases as none.
    let statement = tx
        .prepare_cached(
            "select user_key, set_config('roster.reactor', $2::uuid::text, true) from roster.mirror \
             where user_key = any($1) and lease_by = $2 order by user_key for update",
        )
        .await?;
    let rows = tx.query(&statement, &[&keys, &terms.reactor]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn plan(tx: &Transaction<'_>, keys: &[String]) -> Result<Vec<PlanRow>, DbError> {
    let statement = tx
        .prepare_cached(&format!("{COLUMNS} where user_key = any($1)"))
        .await?;
    let rows = tx.query(&statement, &[&keys]).await?;
    rows.iter().map(PlanRow::from_row).collect()
}

/// Of one user's rows the one to do next: takeovers and removals before anything that grants.
fn next<'a>(rows: &[&'a PlanRow]) -> Option<&'a PlanRow> {
    rows.iter()
        .filter(|row| row.state == "due")
        .min_by_key(|row| row.action)
        .copied()
}

/// How long a user with nothing to do now is left alone; `None`: until something changes.
fn wait(rows: &[&PlanRow]) -> Option<Duration> {
    let now = jiff::Timestamp::now();
    rows.iter()
        // A deletion that waits for its day is found by the sweep.
        .filter(|row| row.state == "waiting" && row.action != Action::Delete)
        .map(|row| match row.due_at {
            Some(at) => {
                Duration::try_from(at.duration_since(now)).unwrap_or_default()
                    + Duration::from_millis(1)
            }
            // For another user's turn, or another worker's.
            None => Duration::from_secs(1),
        })
        .min()
}

async fn begin(
    tx: &Transaction<'_>,
    terms: &Terms,
    row: &PlanRow,
) -> Result<Option<Begun>, DbError> {
    let call_id = Uuid::new_v4();
    let mut row = row.clone();
    // From the clock, not from when the transaction began: it may have waited for the row.
    let deadline = terms.call_deadline.as_secs_f64();
    match row.action {
        Action::Create => {
            // Chosen before the first call, so that a create whose answer is lost is found by its id.
            let statement = tx
                .prepare_cached(
                    "insert into roster.accounts as a (auth0_user_id, user_key, incarnation, origin, state, email, call_id, call_action, call_deadline) \
                     select coalesce((select k.auth0_user_id from roster.accounts k where k.auth0_user_id = $2 and k.user_key = $1), \
                        'auth0|' || gen_random_uuid()), m.user_key, m.incarnation, 'made', 'chosen', $3, $4, 'create', \
                        clock_timestamp() + make_interval(secs => $5) \
                     from roster.mirror m where m.user_key = $1 \
                     on conflict (auth0_user_id) do update \
                     set email = excluded.email, call_id = excluded.call_id, call_action = excluded.call_action, call_deadline = excluded.call_deadline \
                     returning auth0_user_id",
                )
                .await?;
            let email = row.email.as_deref().map(str::to_lowercase);
            let made = tx
                .query_one(
                    &statement,
                    &[
                        &row.user_key,
                        &row.auth0_user_id,
                        &email,
                        &call_id,
                        &deadline,
                    ],
                )
                .await?;
            row.auth0_user_id = Some(made.get(0));
        }
        Action::Invite => {
            let statement = tx
                .prepare_cached(
                    "insert into roster.invitations (user_key, incarnation, epoch, auth0_user_id, state) \
                     select m.user_key, m.incarnation, m.invite_epoch, $2, 'sending' from roster.mirror m \
                     where m.user_key = $1 and (select count(*) from roster.invitations i \
                        where i.state in ('sending', 'sent') and i.changed_at > now() - interval '1 minute') < $3 \
                     on conflict do nothing returning epoch",
                )
                .await?;
            let per_minute = i64::from(terms.invitations_per_minute);
            let ledger = tx
                .query_opt(
                    &statement,
                    &[&row.user_key, &row.auth0_user_id, &per_minute],
                )
                .await?;
            if ledger.is_none() {
                return Ok(None);
            }
        }
        // Reading changes nothing, so nothing has to be remembered of it.
        Action::Look => {}
        _ => {
            let statement = tx
                .prepare_cached(
                    "update roster.accounts set call_id = $2, call_action = $3, call_deadline = clock_timestamp() + make_interval(secs => $4) \
                     where auth0_user_id = $1",
                )
                .await?;
            let action = row.action.as_str();
            tx.execute(
                &statement,
                &[&row.auth0_user_id, &call_id, &action, &deadline],
            )
            .await?;
        }
    }
    let (conflict, live, known) = match row.action {
        Action::Look => facts(tx, &row).await?,
        _ => (false, true, true),
    };
    Ok(Some(Begun {
        row,
        call_id,
        conflict,
        live,
        known,
    }))
}

/// What a look has to know: had Auth0 said that the account exists, is the row there for this account, is the id ours.
async fn facts(tx: &Transaction<'_>, row: &PlanRow) -> Result<(bool, bool, bool), DbError> {
    let statement = tx
        .prepare_cached(
            "select m.conflict, exists (select from roster.desired_users d where d.user_key = m.user_key) \
                and not exists (select from roster.accounts a where a.auth0_user_id = $2 and a.incarnation <> m.incarnation), \
                exists (select from roster.accounts a where a.auth0_user_id = $2 and a.user_key = m.user_key) \
             from roster.mirror m where m.user_key = $1",
        )
        .await?;
    let row = tx
        .query_one(&statement, &[&row.user_key, &row.auth0_user_id])
        .await?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

async fn renew(tx: &Transaction<'_>, terms: &Terms, keys: &[&str]) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached("update roster.mirror set lease_until = clock_timestamp() + make_interval(secs => $2) where user_key = any($1)")
        .await?;
    tx.execute(&statement, &[&keys, &terms.lease.as_secs_f64()])
        .await?;
    Ok(())
}

/// A user who is let go.
struct Settled {
    key: String,
    /// Due again after this; `None`: when something changes.
    wait: Option<Duration>,
    /// Auth0 is known to agree with the row; an invitation may still be open.
    agrees: bool,
}

impl Settled {
    fn later(key: String, wait: Duration) -> Self {
        Self {
            key,
            wait: Some(wait),
            agrees: false,
        }
    }
}

async fn release(tx: &Transaction<'_>, settled: &[Settled]) -> Result<(), DbError> {
    if settled.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = settled.iter().map(|one| one.key.as_str()).collect();
    let waits: Vec<Option<f64>> = settled
        .iter()
        .map(|one| one.wait.map(|wait| wait.as_secs_f64()))
        .collect();
    let agree: Vec<bool> = settled.iter().map(|one| one.agrees).collect();
    // A failure that was to pass by itself is over when there is nothing left to try again.
    let statement = tx
        .prepare_cached(
            "update roster.mirror m set lease_by = null, lease_until = null, due = w.wait is not null, \
                next_attempt_at = case when w.wait is null then null \
                    when m.next_attempt_at > now() then m.next_attempt_at else now() + make_interval(secs => w.wait) end, \
                attempts = case when w.is_over then 0 else m.attempts end, \
                error_code = case when not w.is_over then m.error_code end, \
                error_class = case when not w.is_over then m.error_class end, \
                error_detail = case when not w.is_over then m.error_detail end, \
                error_at = case when not w.is_over then m.error_at end, \
                synced_at = case when w.agrees and m.disputed is null and (m.error_code is null or w.is_over) then now() else m.synced_at end \
             from ( \
                select s.*, s.wait is null and coalesce(e.error_class in ('transient', 'throttled', 'config'), false) as is_over \
                from unnest($1::text[], $2::float8[], $3::boolean[]) s (user_key, wait, agrees) \
                join roster.mirror e on e.user_key = s.user_key) w \
             where m.user_key = w.user_key",
        )
        .await?;
    tx.execute(&statement, &[&keys, &waits, &agree]).await?;
    Ok(())
}

//! Begin, record, finish: how reactors share the users that are due.
//!
//! Wanted: nothing due is forgotten, nobody is worked on by two reactors at a time, and no transaction is open while Auth0
//! is called.
//!
//! Design: [`claim()`] leases due users. Then [`turn`] runs before and after every call, each time in one short transaction
//! that holds the user's mirror row: it records what the last call came to, reads `roster.plan`, and begins the next call
//! (an id is chosen, the call is marked as in flight) or ends the work on that user. Because the plan is read again under
//! the row's lock at the end, a change made during a call is simply the next call; one that is folded later waits for the
//! lock and makes the user due again. The one case that needs no second reading: the plan was this one update, Auth0's answer shows it
//! applied as planned and everything else as it was known, and the user's generation says that no change was folded meanwhile.
//!
//! A lease ends by its time, or earlier once its reactor is known to be gone (`triggers/leases.sql`).
//!
//! Known races, and how they end:
//! * A lease that ended while its worker lived, or that a crash of the database undid: the row names another claim (or nobody) by then,
//!   also if the same reactor took the user again, and the late worker's result is refused. Its call stays marked as in flight until
//!   its deadline, then the account is looked at.
//! * A call that Auth0 applies after that look, since it was under way for so long: the sweep looks a second time.
//! * A crash between begin and the call, or between the call and its record: the same look.
//! * A crash between claim and begin: the lease ends, the user is due still.
//! * A key that means another person by the time a call ends, since its row went and the key was used again: the result tells of the
//!   account, and nothing of the person of now.
//! * An account that another user takes over: under the rows of both, and not while a call is open. What was planned for it before that
//!   in the same turn is not begun, since a call is only marked on an account of the user it was planned for.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    DbError,
    begin::{self, Begun, Next, Started},
    done::{Done, Effect},
    leases::{WHILE_HELD, renew},
    plan::{Action, COLUMNS, PlanRow},
    pool::{Pool, QUICK},
    record, stuck,
};
pub use super::{
    claim::{claim, claim_new, new_users},
    leases::{give_back, next_due, set_aside},
};

/// A user this reactor holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whom.
    pub user_key: String,
    /// Fences the turns of this claim: a lease that was lost and taken again, perhaps by the same reactor, is another one.
    pub id: Uuid,
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
    /// Makes [`Claim::id`]: never the same twice, of all reactors together.
    pub claim_ids: fn() -> Uuid,
    /// Invitation mails a minute, of all reactors together.
    pub invitations_per_minute: u32,
    /// For so long a call may be under way still whose answer its worker did not get: [`LOST_CALL_WAIT`].
    pub lost_call_wait: Duration,
    /// The share of the longest wait after which a failed call is tried again, from 0 to 1: by lot, so that not all of them come together.
    pub jitter: fn() -> f64,
}

/// Until an account is looked at after a lost answer. What comes even later is seen by the second look.
pub const LOST_CALL_WAIT: Duration = Duration::from_secs(1);

/// What a turn came to.
#[derive(Debug, Default)]
pub struct Turn {
    /// The calls to make.
    pub begun: Vec<Begun>,
    /// Users whose rows somebody holds: nothing of theirs was recorded or begun, and they need another turn.
    pub held_up: HashSet<String>,
}

/// Accounts one user may take over in one turn.
const MOST_TAKEOVERS: u32 = 8;

/// Records what the last calls came to, and begins the next call of each user, if there is one. Users without another call
/// are let go. Gives the calls to make. Without `more` nothing begins: what is due stays so, for whoever comes next. Of each user there
/// is one claim, and `done` is of that one.
///
/// # Errors
/// [`DbError`]; then nothing of this turn is recorded, and the calls it was to record count as unanswered.
pub async fn turn(
    pool: &Pool,
    terms: &Terms,
    claims: &[Claim],
    done: &[Done],
    more: bool,
) -> Result<Turn, DbError> {
    pool.transaction(QUICK, async |tx| {
        take_turn(tx, terms, claims, done, more).await
    })
    .await
}

async fn take_turn(
    tx: &Transaction<'_>,
    terms: &Terms,
    claims: &[Claim],
    done: &[Done],
    more: bool,
) -> Result<Turn, DbError> {
    let Locked { users, held_up } = lock(tx, terms, claims).await?;
    let (done, late): (Vec<&Done>, Vec<&Done>) = done
        .iter()
        .filter(|done| !held_up.contains(&done.user_key))
        .partition(|done| users.contains_key(&done.user_key));
    for done in late {
        tracing::warn!(user.key = %done.user_key, action = done.action.as_str(), "a late result was refused");
    }
    let before = record::record(tx, terms, &users, &done).await?;
    let mut next = Vec::new();
    let mut settled = Vec::new();
    let mut held_addresses = Vec::new();
    for done in &done {
        if done.effect == Effect::NotMade {
            // Who did not get a turn makes room for whoever comes first by now, such as a removal.
            settled.push(Settled::later(done.user_key.clone(), Duration::ZERO));
        } else if done.alone
            && users[&done.user_key].is_as_begun(done)
            && before
                .get(&done.user_key)
                .is_some_and(|b| done.is_as_planned(b))
        {
            // Who had one thing to do, had it done as planned, and was not named by a change since, needs no other look at the plan.
            settled.push(Settled {
                key: done.user_key.clone(),
                wait: None,
                agrees: true,
                left: Some(Vec::new()),
            });
        }
    }
    let over: HashSet<&str> = settled.iter().map(|one| one.key.as_str()).collect();
    let mut open: Vec<String> = users
        .keys()
        .filter(|key| !over.contains(key.as_str()))
        .cloned()
        .collect();
    // A takeover needs no call: it is done here and the plan read again; not for ever, should it change nothing.
    let mut takeovers = 0;
    while !open.is_empty() {
        takeovers += 1;
        let Planned {
            mut rows,
            paused,
            now,
        } = plan(tx, &open).await?;
        let mut again = Vec::new();
        for key in open {
            let mine = rows.remove(&key).unwrap_or_default();
            match first_due(&mine) {
                Some(row) if row.action == Action::Rekey && takeovers <= MOST_TAKEOVERS => {
                    match record::rekey(tx, terms.reactor, row).await? {
                        true => again.push(key),
                        false => settled.push(Settled::later(key, WHILE_HELD)),
                    }
                }
                Some(row) if row.action == Action::Rekey => {
                    settled.push(Settled::later(key, Duration::from_secs(60)));
                }
                Some(_) if !more => settled.push(Settled::later(key, Duration::ZERO)),
                Some(row) => next.push(Next {
                    row: row.clone(),
                    generation: users[&key].generation,
                    alone: mine.len() == 1,
                }),
                None if paused && mine.iter().any(|row| row.state == "suppressed") => {
                    settled.push(Settled {
                        left: Some(mine),
                        ..Settled::later(key, Duration::ZERO)
                    });
                }
                None => {
                    let waiting = mine
                        .iter()
                        .filter(|row| row.state == "waiting" && row.due_at.is_none());
                    held_addresses.extend(waiting.filter_map(|row| row.email.clone()));
                    settled.push(Settled {
                        key,
                        wait: wait(&mine, now),
                        agrees: mine.iter().all(|row| row.action == Action::Invite),
                        left: Some(mine),
                    });
                }
            }
        }
        open = again;
    }
    let Started { begun, later } = begin::begin(tx, terms, next).await?;
    let later = later.into_iter();
    settled.extend(later.map(|(key, wait)| Settled::later(key, wait)));
    let begun_keys: Vec<&str> = begun
        .iter()
        .map(|call| call.row.user_key.as_str())
        .collect();
    renew(tx, terms, &begun_keys).await?;
    release(tx, &settled).await?;
    let left = settled.iter();
    let left = left.filter_map(|one| Some((one.key.as_str(), one.left.as_deref()?)));
    stuck::note(tx, &left.collect::<Vec<_>>()).await?;
    ask_for(tx, &held_addresses).await?;
    Ok(Turn { begun, held_up })
}

/// What a user's mirror row says, while it is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Raised by every change.
    generation: i64,
    /// Which person the key means now.
    incarnation: i32,
}

impl Held {
    /// Whether the call was for the person the key means now.
    pub(super) fn is_meant_by(self, done: &Done) -> bool {
        self.incarnation == done.incarnation
    }

    /// Whether no change was folded since the call was begun, so that what it was refused still stands in the row.
    pub(super) fn is_as_begun(self, done: &Done) -> bool {
        self.generation == done.generation
    }
}

/// The users of a turn who are still this reactor's.
struct Locked {
    users: HashMap<String, Held>,
    /// Whose rows somebody holds.
    held_up: HashSet<String>,
}

/// A row that somebody holds, such as a person with an open transaction, is left for another turn, so that nobody waits for it.
async fn lock(tx: &Transaction<'_>, terms: &Terms, claims: &[Claim]) -> Result<Locked, DbError> {
    let keys: Vec<&str> = claims.iter().map(|claim| claim.user_key.as_str()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.id).collect();
    // The first setting makes the plan see our own leases as none. The second: what is begun must be known after a crash, or an id
    // that Auth0 has by then is forgotten, or a mail sent again. Where a commit is to wait for less than that, it waits here all the same.
    let statement = tx
        .prepare_cached(
            "with mine as materialized ( \
                select m.user_key from roster.mirror m join unnest($1::text[], $3::uuid[]) c (user_key, id) on c.user_key = m.user_key \
                where m.lease_by = $2 and m.claim_id = c.id), \
             locked as ( \
                select m.user_key, m.generation, m.incarnation from roster.mirror m \
                where m.user_key = any($1) and m.lease_by = $2 \
                    and (m.user_key, m.claim_id) in (select * from unnest($1::text[], $3::uuid[])) \
                order by m.user_key for update skip locked) \
             select mine.user_key, locked.generation, locked.incarnation, set_config('roster.reactor', $2::uuid::text, true), \
                set_config('synchronous_commit', case when current_setting('synchronous_commit') = 'off' then 'on' \
                    else current_setting('synchronous_commit') end, true) \
             from mine left join locked on locked.user_key = mine.user_key",
        )
        .await?;
    let mut found = Locked {
        users: HashMap::with_capacity(claims.len()),
        held_up: HashSet::new(),
    };
    for row in tx.query(&statement, &[&keys, &terms.reactor, &ids]).await? {
        match row.get(1) {
            Some(generation) => {
                let incarnation = row.get(2);
                found.users.insert(
                    row.get(0),
                    Held {
                        generation,
                        incarnation,
                    },
                );
            }
            None => drop(found.held_up.insert(row.get(0))),
        }
    }
    Ok(found)
}

/// What is planned for some users.
struct Planned {
    /// By key.
    rows: HashMap<String, Vec<PlanRow>>,
    /// Nothing begins, and who has something to do stays due for when the pause ends.
    paused: bool,
    /// By the database's clock, which all times of a plan are of: this host's may be hours off.
    now: Timestamp,
}

/// Whether a pause holds the plan up is asked together with it: between two statements one may begin or end.
async fn plan(tx: &Transaction<'_>, keys: &[String]) -> Result<Planned, DbError> {
    let statement = tx
        .prepare_cached(&format!(
            "select p.*, s.paused_at is not null as paused, now() as now from ({COLUMNS} where user_key = any($1)) p cross join roster.settings s"
        ))
        .await?;
    let mut planned = Planned {
        rows: HashMap::with_capacity(keys.len()),
        paused: false,
        now: Timestamp::UNIX_EPOCH,
    };
    for row in &tx.query(&statement, &[&keys]).await? {
        planned.paused = row.get("paused");
        planned.now = row.get("now");
        let row = PlanRow::from_row(row)?;
        let key = row.user_key.clone();
        planned.rows.entry(key).or_default().push(row);
    }
    Ok(planned)
}

/// Of one user's rows the one to do next: takeovers and removals before anything that grants.
fn first_due(rows: &[PlanRow]) -> Option<&PlanRow> {
    rows.iter()
        .filter(|row| row.state == "due")
        .min_by_key(|row| row.action)
}

/// How long a user with nothing to do now is left alone; `None`: until something changes.
fn wait(rows: &[PlanRow], now: Timestamp) -> Option<Duration> {
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

/// Whoever waits may do so for the address of an account that lost its user. That one gives it up once whoever has the address now has
/// an account, such as one taken over, and no change tells of that. Who is at work is left for the next time.
async fn ask_for(tx: &Transaction<'_>, addresses: &[String]) -> Result<(), DbError> {
    if addresses.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "select m.user_key from roster.mirror m join roster.accounts a on a.user_key = m.user_key \
             where lower(a.email) in (select lower(w.email) from unnest($1::text[]) w (email)) and a.state <> 'gone' and not m.due \
             for update of m skip locked",
        )
        .await?;
    let holders = tx.query(&statement, &[&addresses]).await?;
    let mut holders: Vec<String> = holders.iter().map(|row| row.get(0)).collect();
    if holders.is_empty() {
        return Ok(());
    }
    let planned = plan(tx, &holders).await?.rows;
    holders.retain(|key| {
        planned
            .get(key)
            .is_some_and(|rows| first_due(rows).is_some())
    });
    let statement = tx
        .prepare_cached(
            "update roster.mirror set due = true, due_since = now(), generation = generation + 1, lane = 'removal' where user_key = any($1)",
        )
        .await?;
    tx.execute(&statement, &[&holders]).await?;
    Ok(())
}

/// A user who is let go.
struct Settled {
    key: String,
    /// Due again after this; `None`: when something changes.
    wait: Option<Duration>,
    /// Auth0 is known to agree with the row; an invitation may still be open.
    agrees: bool,
    /// What is left of the plan; `None`: it was not read to its end.
    left: Option<Vec<PlanRow>>,
}

impl Settled {
    fn later(key: String, wait: Duration) -> Self {
        Self {
            key,
            wait: Some(wait),
            agrees: false,
            left: None,
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

//! What happens in a storm and when, made from a seed before it begins: the same seed gives the same history. How the sessions, reactors
//! and faults interleave is left to the machine, as it is in life.

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use serde_json::json;

use super::{
    faults::Fault,
    operator::Deed,
    place::CALL_TIMEOUT,
    statements::{Dice, Kind, Tx},
};

/// What a storm is made of.
#[derive(Debug, Clone)]
pub(super) struct Mix {
    /// SQL sessions.
    pub(super) sessions: usize,
    /// Between the one and the other, without it.
    pub(super) reactors: (usize, usize),
    /// Statements that change rows, at least so many.
    pub(super) statements: usize,
    /// Over how long they are spread.
    pub(super) span: Duration,
    /// Each kind of transaction with its weight.
    pub(super) kinds: &'static [(Kind, u32)],
    /// Each fault with its weight.
    pub(super) faults: &'static [(&'static str, u32)],
    /// How many faults.
    pub(super) wild: usize,
    /// One more outage of Auth0: when it begins, and how long it is in milliseconds.
    pub(super) outage: Option<(Duration, u64)>,
    /// How many deeds of other people.
    pub(super) deeds: usize,
    /// How long half of the commits take at most, from the ring to their end.
    pub(super) commit_takes: Duration,
    pub(super) poll: Duration,
    /// How long a reactor waits for an answer of Auth0's. Short, so that a slow answer costs little; where no fault excuses what a lost
    /// answer leaves in doubt, longer than a busy machine takes.
    pub(super) call_timeout: Duration,
    /// How long a reactor's claim lasts: longer than a call's deadline, and shorter than a process or a network may stand still.
    pub(super) lease: Duration,
    /// The sweep comes in the end, if something was unseen or is in doubt.
    pub(super) sweeps: bool,
    /// It begins when everybody has an account.
    pub(super) settled: bool,
    /// Statements come in bursts, and each has to be noticed before the next one comes.
    pub(super) bursts: bool,
}

/// Everything at once.
const KINDS: &[(Kind, u32)] = &[
    (Kind::Insert, 10),
    (Kind::Upsert, 4),
    (Kind::Copy, 1),
    (Kind::Again, 6),
    (Kind::Recycle, 6),
    (Kind::Role, 10),
    (Kind::Toggle, 6),
    (Kind::Name, 6),
    (Kind::Blocked, 8),
    (Kind::Rename, 9),
    (Kind::Swap, 4),
    (Kind::Round, 2),
    (Kind::Delete, 10),
    (Kind::Replace, 3),
    (Kind::Move, 3),
    (Kind::Key, 4),
    (Kind::RolePermission, 1),
    (Kind::UserPermission, 5),
    (Kind::Rollback, 3),
    (Kind::Savepoint, 3),
    (Kind::Repeatable, 4),
    (Kind::Serializable, 4),
    (Kind::Several, 5),
    (Kind::Silent, 3),
    (Kind::Unseen, 1),
    (Kind::Detached, 1),
];

const FAULTS: &[(&str, u32)] = &[
    ("429", 3),
    ("429 with headers", 2),
    ("5xx", 5),
    ("late", 3),
    ("slow", 4),
    ("slow answer", 4),
    ("cut before", 5),
    ("cut after", 6),
    ("token refused", 1),
    ("token broken", 2),
    ("outage", 2),
    ("kill", 8),
    ("stall", 3),
    ("terminated", 2),
    ("way cut", 3),
    ("way frozen", 3),
];

impl Default for Mix {
    fn default() -> Self {
        Self {
            sessions: 3,
            reactors: (2, 4),
            // Some are refused, such as an address that is taken.
            statements: 230,
            span: Duration::from_millis(3_000),
            kinds: KINDS,
            faults: FAULTS,
            wild: 16,
            outage: None,
            deeds: 8,
            commit_takes: Duration::from_millis(30),
            poll: Duration::from_millis(500),
            call_timeout: CALL_TIMEOUT,
            lease: Duration::from_millis(2_000),
            sweeps: true,
            settled: false,
            bursts: false,
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// After the storm's beginning, at the earliest.
    pub(super) at: Duration,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// A transaction of this session.
    Tx(usize, Tx),
    Deed(Deed),
    Fault(Fault),
}

/// All that happens in one storm.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) seed: u64,
    pub(super) reactors: usize,
    /// Whether the reactors are stopped in order at the end, or killed.
    pub(super) in_order: bool,
    /// More removals than this are held for a person.
    pub(super) removals_min: i32,
    /// Whether accounts that Roster made are deleted as soon as they are blocked.
    pub(super) deletes: bool,
    pub(super) events: Vec<Event>,
}

impl History {
    /// The history of this seed.
    pub(super) fn of(seed: u64, mix: &Mix) -> Self {
        let mut dice = Dice::seed_from_u64(seed);
        let mut events = Vec::new();
        let mut written = 0;
        while written < mix.statements {
            let session = dice.random_range(0..mix.sessions);
            let tx = Tx::of(*weighted(mix.kinds, &mut dice), &mut dice);
            written += tx.changes();
            events.push(Event {
                at: moment(mix, &mut dice),
                what: What::Tx(session, tx),
            });
        }
        for _ in 0..mix.deeds {
            events.push(Event {
                at: moment(mix, &mut dice),
                what: What::Deed(Deed::any(&mut dice)),
            });
        }
        for _ in 0..mix.wild {
            let word = *weighted(mix.faults, &mut dice);
            events.push(Event {
                at: moment(mix, &mut dice),
                what: What::Fault(Fault::of(word, &mut dice)),
            });
        }
        events.extend(mix.outage.map(|(at, ms)| Event {
            at,
            what: What::Fault(Fault::Outage {
                how: json!({"kind": "status", "status": 503}),
                ms,
            }),
        }));
        events.sort_by_key(|event| event.at);
        Self {
            seed,
            reactors: dice.random_range(mix.reactors.0..mix.reactors.1),
            in_order: dice.random_bool(0.5),
            removals_min: match dice.random_bool(0.05) {
                true => 4,
                false => 1_000_000,
            },
            deletes: seed.is_multiple_of(4),
            events,
        }
    }
}

/// Some time within the span.
fn moment(mix: &Mix, dice: &mut Dice) -> Duration {
    mix.span.mul_f64(dice.random_range(0.0..1.0))
}

fn weighted<'a, T>(choices: &'a [(T, u32)], dice: &mut Dice) -> &'a T {
    let (choice, _) = choices
        .choose_weighted(dice, |(_, weight)| *weight)
        .expect("something to choose from");
    choice
}

/// The whole history, one event a line.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.in_order {
            true => "stopped in order",
            false => "killed",
        };
        writeln!(
            f,
            "seed {}, {} reactors, {end} at the end, {} removals allowed, accounts {}",
            self.seed,
            self.reactors,
            self.removals_min,
            match self.deletes {
                true => "deleted at once",
                false => "never deleted",
            }
        )?;
        for event in &self.events {
            write!(f, "{:>5} ms  ", event.at.as_millis())?;
            match &event.what {
                What::Tx(session, tx) => {
                    let begin = tx
                        .begin
                        .map(|begin| format!("{begin}; "))
                        .unwrap_or_default();
                    let end = tx
                        .begin
                        .map(|_| format!("; {}", tx.end))
                        .unwrap_or_default();
                    let all = tx.statements.join("; ").replace('\n', "\\n");
                    writeln!(f, "session {session}: {begin}{all}{end}")?;
                }
                What::Deed(deed) => writeln!(f, "somebody: {deed:?}")?,
                What::Fault(fault) => writeln!(f, "fault: {fault:?}")?,
            }
        }
        Ok(())
    }
}

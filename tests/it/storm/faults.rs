//! What goes wrong in a storm, and how often it did.
//!
//! | fault | what it is |
//! |---|---|
//! | `429`, `429 with headers` | Auth0 holds the caller back, and says for how long or does not |
//! | `5xx` | Auth0 or something before it fails |
//! | `late` | Auth0 takes its time, and the answer comes while the call still waits |
//! | `slow`, `slow answer` | longer than the call waits: applied late, or at once and told late |
//! | `cut before`, `cut after` | the connection ends before the call was applied, or after it |
//! | `token refused`, `token broken` | `/oauth/token` answers 401, or 5xx, while tokens last some seconds only |
//! | `outage` | all of Auth0 is away for a while |
//! | `kill` | a reactor ends at whichever await it is, and with it its connections; another one starts later |
//! | `stall` | a reactor's process stands still for longer than its leases last, and goes on |
//! | `terminated` | somebody ends all of the reactors' sessions with PostgreSQL |
//! | `way cut`, `way frozen` | the network between a reactor and PostgreSQL ends its connections, or is silent for a while and then goes on or ends them |
//!
//! Four more are counted here and made elsewhere: `bell lost`, `triggers off` (by [`super::statements`]), `pause` (by
//! [`super::operator`]) and `killed at the end` (by [`super::quiet`]). What Auth0 does wrong is done by the emulator, which also says how often it did.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{place::CALL_TIMEOUT, statements::Dice};
use crate::support::world::{Tenant, text};

/// How often each thing happened, by its word.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counts {
    pub(super) fn add(&self, word: &'static str, number: u64) {
        *self.lock().entry(word).or_default() += number;
    }

    pub(super) fn of(&self, word: &str) -> u64 {
        self.lock().get(word).copied().unwrap_or_default()
    }

    /// All of another's too.
    pub(super) fn also(&self, other: &Self) {
        for (word, number) in other.lock().iter() {
            self.add(word, *number);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each word with its number.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.lock();
        let all: Vec<String> = counts
            .iter()
            .map(|(word, number)| format!("{word} {number}"))
            .collect();
        f.write_str(&all.join(", "))
    }
}

/// The words that are counted; in a run of many seeds none stays at nothing.
pub(super) const WORDS: &[&str] = &[
    "429",
    "429 with headers",
    "5xx",
    "late",
    "slow",
    "slow answer",
    "cut before",
    "cut after",
    "token refused",
    "token broken",
    "outage",
    "kill",
    "killed at the end",
    "stall",
    "terminated",
    "way cut",
    "way frozen",
    "bell lost",
    "triggers off",
    "pause",
];

/// One fault of a storm.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The emulator's next answers on a route.
    Answers {
        word: &'static str,
        route: &'static str,
        times: u32,
        how: Value,
    },
    /// All of the emulator's answers for a while.
    Outage {
        how: Value,
        ms: u64,
    },
    Kill {
        which: usize,
        down_ms: u64,
    },
    Stall {
        which: usize,
        ms: u64,
    },
    Terminate,
    CutWay {
        which: usize,
        ms: u64,
    },
    FreezeWay {
        which: usize,
        ms: u64,
        then_cut: bool,
    },
}

/// The routes of which each is struck about as often.
const ROUTES: &[&str] = &[
    "POST /api/v2/users",
    "PATCH /api/v2/users/{id}",
    "PATCH /api/v2/users/{id}",
    "PATCH /api/v2/users/{id}",
    "POST /dbconnections/change_password",
    "GET /api/v2/users/{id}",
    "/api/v2/*",
];
const TOKEN: &str = "POST /oauth/token";

impl Fault {
    /// A fault of this word.
    pub(super) fn of(word: &'static str, dice: &mut Dice) -> Self {
        let which = dice.random_range(0..8);
        let route = *ROUTES.choose(dice).expect("a route");
        let times = dice.random_range(1..5);
        let answers = |how| Self::Answers {
            word,
            route,
            times,
            how,
        };
        let token = |how| Self::Answers {
            word,
            route: TOKEN,
            times,
            how,
        };
        // Later than the client waits; earlier than anybody looks what came of it.
        let late = u64::try_from(CALL_TIMEOUT.as_millis()).unwrap_or(0) + 100;
        match word {
            "429" => answers(json!({"kind": "status", "status": 429})),
            "429 with headers" => {
                let headers = match dice.random_bool(0.5) {
                    true => json!({"retry-after": "1"}),
                    false => {
                        json!({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"})
                    }
                };
                answers(json!({"kind": "status", "status": 429, "headers": headers}))
            }
            "5xx" => {
                let status = *[500, 502, 503].choose(dice).expect("a status");
                answers(json!({"kind": "status", "status": status}))
            }
            "late" => answers(json!({"kind": "delay_answer", "delay_ms": late / 3})),
            "slow" => answers(json!({"kind": "delay", "delay_ms": late})),
            "slow answer" => answers(json!({"kind": "delay_answer", "delay_ms": late})),
            "cut before" => answers(json!({"kind": "cut_before"})),
            "cut after" => answers(json!({"kind": "cut_after"})),
            "token refused" => token(
                json!({"kind": "status", "status": 401, "body": {"error": "access_denied", "error_description": "Unauthorized"}}),
            ),
            "token broken" => token(json!({"kind": "status", "status": 503})),
            "outage" => {
                let how = match dice.random_bool(0.5) {
                    true => json!({"kind": "cut_before"}),
                    false => json!({"kind": "status", "status": 503}),
                };
                let ms = dice.random_range(200..800);
                Self::Outage { how, ms }
            }
            "kill" => Self::Kill {
                which,
                down_ms: dice.random_range(10..400),
            },
            "stall" => Self::Stall {
                which,
                ms: dice.random_range(100..2_500),
            },
            "terminated" => Self::Terminate,
            "way cut" => Self::CutWay {
                which,
                ms: dice.random_range(10..500),
            },
            "way frozen" => Self::FreezeWay {
                which,
                ms: dice.random_range(200..3_000),
                then_cut: dice.random_bool(0.5),
            },
            other => panic!("no fault is called {other}"),
        }
    }
}

/// The emulator's faults of one storm: what was asked for, and how often it struck.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    asked: Counts,
    struck: Counts,
    /// One at a time, or a fault would be counted that is just being taken away.
    alone: Arc<tokio::sync::Mutex<()>>,
}

/// A header by which a fault is known again.
const MARK: &str = "x-storm";

impl Answers {
    pub(super) fn new(struck: Counts) -> Self {
        Self {
            asked: Counts::default(),
            struck,
            alone: Arc::default(),
        }
    }

    pub(super) async fn ask(
        &self,
        tenant: &Tenant,
        word: &'static str,
        route: Option<&str>,
        times: u32,
        how: &Value,
    ) {
        let mut fault = how.clone();
        fault["times"] = times.into();
        fault["headers"][MARK] = word.into();
        if let Some(route) = route {
            fault["route"] = route.into();
        }
        let _alone = self.alone.lock().await;
        self.asked.add(word, times.into());
        tenant.control("faults", fault).await;
    }

    /// All of Auth0 is away for so long.
    pub(super) async fn outage(&self, tenant: &Tenant, how: &Value, lasts: Duration) {
        self.ask(tenant, "outage", None, 1_000_000, how).await;
        tokio::time::sleep(lasts).await;
        let _alone = self.alone.lock().await;
        let others: Vec<Value> = self
            .take_all(tenant)
            .await
            .into_iter()
            .filter(|fault| fault["headers"][MARK] != "outage")
            .collect();
        for fault in others {
            let word = word(&fault);
            let times = fault["times"].as_u64().unwrap_or_default();
            self.asked.add(word, times);
            tenant.control("faults", fault).await;
        }
    }

    /// No more faults.
    pub(super) async fn end(&self, tenant: &Tenant) {
        let _alone = self.alone.lock().await;
        self.take_all(tenant).await;
    }

    /// Counts what has struck, and gives back what has not.
    async fn take_all(&self, tenant: &Tenant) -> Vec<Value> {
        let left = tenant.list("faults").await;
        tenant.mend().await;
        let unused = Counts::default();
        for fault in &left {
            unused.add(word(fault), fault["times"].as_u64().unwrap_or_default());
        }
        let asked = std::mem::take(&mut *self.asked.lock());
        for (word, number) in asked {
            self.struck
                .add(word, number.saturating_sub(unused.of(word)));
        }
        left
    }
}

fn word(fault: &Value) -> &'static str {
    let word = text(&fault["headers"][MARK]);
    WORDS
        .iter()
        .find(|known| **known == word)
        .expect("a fault of the storm's")
}

//! The directory in memory: asked by every request, written by one keeper.
//!
//! Promises: it answers only while a look at the database began at most [`FRESH`] ago and the listener has been shown to hear since
//! then; only for an account that it knows; and never from a state that the keeper knows to be overtaken. In every other case it says
//! why not ([`Reason`]), and the database is asked.

use std::{
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::table::Table;
use crate::db::directory::{Answer, Found, Revision, Snapshot};

/// The published bound: nothing older than this is answered from memory while the database can be asked.
pub(super) const FRESH: Duration = Duration::from_secs(3);

/// Why memory gives no answer. A closed list: these are labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not to be used, or not filled yet.
    Loading,
    /// A change concerns everybody, who are being read anew.
    Reloading,
    /// Changes could go unnoticed.
    Blind,
    /// There is no connection that hears.
    Listener,
    /// It has not heard its own bell for too long.
    Canary,
    /// The last look is too long ago.
    Behind,
    /// The revision asked for is newer.
    Revision,
    /// The account is none that it knows.
    Unknown,
}

impl Reason {
    /// The word that stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Reloading => "reloading",
            Self::Blind => "blind",
            Self::Listener => "listener",
            Self::Canary => "canary",
            Self::Behind => "behind",
            Self::Revision => "revision",
            Self::Unknown => "unknown",
        }
    }
}

/// What stands in the table may be told, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Not(Reason),
}

/// What a lock holds together.
pub(super) struct Held {
    pub(super) state: State,
    /// Nothing in the table is older. None until it was first ready.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) table: Table,
}

/// Times are microseconds of [`now`]; 0 is never.
pub(super) struct Memory {
    held: RwLock<Held>,
    /// Until then it may be asked. The one thing that a request reads before the table.
    fresh_until: AtomicU64,
    listening: AtomicBool,
    looked_at: AtomicU64,
    heard_at: AtomicU64,
    /// When the last look began after which it was ready.
    ready_at: AtomicU64,
    nudge: Notify,
    looks: watch::Sender<()>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            held: RwLock::new(Held {
                state: State::Not(Reason::Loading),
                snapshot: None,
                table: Table::default(),
            }),
            fresh_until: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            looked_at: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            ready_at: AtomicU64::new(0),
            nudge: Notify::new(),
            looks: watch::Sender::new(()),
        }
    }
}

impl Memory {
    /// The answer that the database would give, if it is known.
    ///
    /// # Errors
    /// [`Reason`].
    pub(super) fn find(
        &self,
        subject: &str,
        at_least: Option<&Revision>,
    ) -> Result<Answer, Reason> {
        let now = now();
        if now > self.fresh_until.load(Relaxed) {
            return Err(self.stale(now));
        }
        let held = self.read();
        match held.state {
            State::Ready => held.find(subject, at_least),
            State::Not(reason) => Err(reason),
        }
    }

    /// As [`Memory::find`], for when the database cannot be asked: the state may be as old as `max_stale`.
    ///
    /// # Errors
    /// [`Reason`].
    pub(super) fn find_stale(
        &self,
        subject: &str,
        at_least: Option<&Revision>,
        max_stale: Duration,
    ) -> Result<Answer, Reason> {
        if !self.tells_old(max_stale) {
            return Err(Reason::Behind);
        }
        self.read().find(subject, at_least)
    }

    /// Whether what it holds is not older than `max_stale`, which must allow something.
    pub(super) fn tells_old(&self, max_stale: Duration) -> bool {
        let ready_at = self.ready_at.load(Relaxed);
        !max_stale.is_zero() && ready_at > 0 && now() <= ready_at.saturating_add(micros(max_stale))
    }

    /// Whether it can be asked now, and about that revision. Looks once more for it, for `patience` at most.
    pub(super) async fn awaits(&self, revision: &Revision, patience: Duration) -> bool {
        let asked_at = now();
        let reached = || match self.reaches(revision) {
            // Whoever looked since the question was asked has seen all there is.
            Some(false)
                if self.looked_at.load(Relaxed) < asked_at
                    && now() <= self.fresh_until.load(Relaxed) =>
            {
                None
            }
            reached => Some(reached == Some(true)),
        };
        if let Some(reached) = reached() {
            return reached;
        }
        let mut looks = self.looks.subscribe();
        self.nudge.notify_one();
        let waited = tokio::time::timeout(patience, async {
            loop {
                if let Some(reached) = reached() {
                    return reached;
                }
                if looks.changed().await.is_err() {
                    return false;
                }
            }
        });
        waited.await.unwrap_or(false)
    }

    /// None where no revision is told.
    fn reaches(&self, revision: &Revision) -> Option<bool> {
        let held = self.read();
        (held.state == State::Ready).then(|| held.reaches(revision))
    }

    /// Somebody wants a look that begins now.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    fn stale(&self, now: u64) -> Reason {
        let old = |at: &AtomicU64| now > at.load(Relaxed).saturating_add(micros(FRESH));
        if let State::Not(reason) = self.read().state {
            reason
        } else if !self.listening.load(Relaxed) {
            Reason::Listener
        } else if old(&self.heard_at) {
            Reason::Canary
        } else {
            Reason::Behind
        }
    }

    /// How many users it holds.
    pub(super) fn users(&self) -> usize {
        self.read().table.len()
    }

    /// Since the last look at the database began, and since the bell rang that was last heard.
    pub(super) fn ages(&self) -> (Option<Duration>, Option<Duration>) {
        let now = now();
        let age = |at: &AtomicU64| match at.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_micros(now.saturating_sub(at))),
        };
        (age(&self.looked_at), age(&self.heard_at))
    }

    /// None while it may be asked.
    pub(super) fn why_not(&self) -> Option<Reason> {
        let now = now();
        match self.read().state {
            State::Not(reason) => Some(reason),
            State::Ready if now > self.fresh_until.load(Relaxed) => Some(self.stale(now)),
            State::Ready => None,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        // A writer that panicked half-way ends the keeper too, and the freshness with it.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the keeper alone.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look that began then is taken over.
    pub(super) fn looked(&self, began: u64) {
        if self.read().state == State::Ready {
            self.ready_at.store(began, Relaxed);
        }
        self.looked_at.store(began, Relaxed);
        self.freshen();
        self.looks.send_replace(());
    }

    /// What it holds is as the last look saw it, from now on to be answered from.
    pub(super) fn became_ready(&self) {
        self.ready_at.store(self.looked_at.load(Relaxed), Relaxed);
    }

    /// A bell that was rung then was heard.
    pub(super) fn heard(&self, rang: u64) {
        self.listening.store(true, Relaxed);
        self.heard_at.fetch_max(rang, Relaxed);
        self.freshen();
    }

    /// From now on nobody tells of changes.
    pub(super) fn lost(&self) {
        self.fresh_until.store(0, Relaxed);
        self.listening.store(false, Relaxed);
        self.looks.send_replace(());
    }

    fn freshen(&self) {
        let since = self
            .looked_at
            .load(Relaxed)
            .min(self.heard_at.load(Relaxed));
        if since > 0 {
            self.fresh_until.store(since + micros(FRESH), Relaxed);
        }
    }
}

impl Held {
    fn reaches(&self, revision: &Revision) -> bool {
        self.snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.reaches(revision))
    }

    fn find(&self, subject: &str, at_least: Option<&Revision>) -> Result<Answer, Reason> {
        let snapshot = self.snapshot.as_ref().ok_or(Reason::Loading)?;
        if at_least.is_some_and(|revision| !snapshot.reaches(revision)) {
            return Err(Reason::Revision);
        }
        let user = self.table.find(subject).ok_or(Reason::Unknown)?;
        Ok(Answer {
            found: Found::User(user),
            revision: snapshot.as_str().to_owned(),
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds on a clock that nobody sets, and that goes on while the machine sleeps: who wakes up has an old copy.
pub(super) fn now() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    let time = clock_gettime(CLOCK).expect("every kernel that tokio runs on has it");
    micros(Duration::from(time))
}

//! When the database is looked at again without a new wake, and why.

use std::time::Duration;

use tokio::time::Instant;

/// When to look again after a wake, for those who relied on somebody else's ring.
pub const AFTERLOOKS: &[Duration] = &[
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1000),
];

/// Why the database is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There may be changes to fold.
    ForChanges,
    /// There is room for users who are due.
    ForRoom,
}

/// When to look again without being woken.
#[derive(Debug, Default)]
pub(super) struct Looks {
    after_a_wake: Vec<Instant>,
    then: Option<Instant>,
}

impl Looks {
    pub(super) fn restart(&mut self, afterlooks: &[Duration]) {
        let now = Instant::now();
        self.after_a_wake = afterlooks.iter().rev().map(|delay| now + *delay).collect();
    }

    /// Beside the looks after a wake, after this long and not as planned before.
    pub(super) fn also(&mut self, delay: Option<Duration>) {
        self.then = delay.map(|delay| Instant::now() + delay);
    }

    fn next(&self) -> Option<Instant> {
        [self.after_a_wake.last().copied(), self.then]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn is_any(&self) -> bool {
        self.next().is_some()
    }

    pub(super) fn next_or_now(&self) -> Instant {
        self.next().unwrap_or_else(Instant::now)
    }

    pub(super) fn took(&mut self) -> Look {
        let now = Instant::now();
        self.after_a_wake.retain(|at| *at > now);
        if self.then.is_some_and(|at| at <= now) {
            self.then = None;
        }
        Look::ForChanges
    }
}

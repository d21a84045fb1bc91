//! The arithmetic of one token bucket, learnt from answers. No I/O, no clock: time comes in.
//!
//! Auth0 says after each call how many are left and when the bucket is full again; between two answers the level is
//! estimated. The properties wanted:
//!
//! * While the limit is known, the level is kept above the part of it that is left to others (`1 - share`), but for
//!   a rounding: Auth0 tells whole calls and whole seconds.
//! * A burst of concurrent calls counts each of them: an answer's level is lowered by the calls under way, which it may not
//!   have counted yet. An answer to an older call than what is known already changes nothing.
//! * A refused call (429) empties the bucket and holds it. Calls that were under way meanwhile neither lift the hold nor
//!   make it longer by their number.
//! * No wait lasts for ever, whatever the headers say: an empty bucket grants a call after at most [`LONGEST_WAIT`].
//!
//! A bucket whose answers carry no headers is not paced until a call is refused; then its rate is guessed: one call a
//! second at first, a little more with each success, half of it with each further refusal.

use std::time::Duration;

use tokio::time::Instant;

use super::quota::{Pacing, Quota};

/// What is granted at once while nothing is known.
pub(super) const UNPACED: u32 = 1024;
/// Longest wait that follows from computed or header times other than `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest `Retry-After` believed; a call every five minutes costs nobody anything.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Seconds by which a reset seems later than it is, on average: both times that tell it are whole seconds.
const ROUNDING: f64 = 0.5;
/// First step of the exponential waits, as Auth0's SDKs have it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Shortest hold after a refusal.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);
/// A guessed rate (calls a second) above which the bucket goes without pacing again.
const GUESS_CEILING: f64 = 100.0;

/// What is known about the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Knowledge {
    /// No headers and no refusal yet.
    Nothing,
    /// A call was refused, but no header tells the limit.
    Guessed,
    /// The headers' limit.
    Limit(u32),
}

/// One bucket. `now` must never go back between calls.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    share: f64,
    knowledge: Knowledge,
    /// Calls left at `at`.
    level: f64,
    /// Calls a second.
    rate: f64,
    at: Instant,
    held_until: Option<Instant>,
    /// Refusals in a row.
    strikes: u32,
    /// Calls made so far; a call's number is this after it was taken.
    issued: u64,
    /// Calls that were taken and have not ended.
    under_way: u32,
    /// Number of the newest call whose answer counted; older answers tell nothing new.
    learnt_from: u64,
}

impl Bucket {
    /// `share` of the limit is ours, above 0 and at most 1.
    pub(super) fn new(share: f64, now: Instant) -> Self {
        Self {
            share,
            knowledge: Knowledge::Nothing,
            level: 0.0,
            rate: 0.0,
            at: now,
            held_until: None,
            strikes: 0,
            issued: 0,
            under_way: 0,
            learnt_from: 0,
        }
    }

    /// The limit, once an answer told it.
    pub(super) fn limit(&self) -> Option<u32> {
        match self.knowledge {
            Knowledge::Limit(limit) => Some(limit),
            _ => None,
        }
    }

    /// Calls left of the limit, ours or not.
    pub(super) fn remaining(&self, now: Instant) -> Option<u32> {
        self.limit().map(|_| self.level_at(now) as u32)
    }

    /// Calls a second that go on for ever, of our share of the limit.
    pub(super) fn sustained(&self) -> Option<f64> {
        self.limit().map(|_| self.rate * self.share)
    }

    /// Whether an answer or a refusal came yet.
    pub(super) fn is_tried(&self) -> bool {
        self.learnt_from > 0
    }

    /// Calls that were taken and have not ended.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// How long until the bucket is full.
    pub(super) fn full_in(&self, now: Instant) -> Option<Duration> {
        let limit = self.limit()?;
        Some(self.time_for(f64::from(limit) - self.level_at(now)))
    }

    /// How long no call is made because one was refused.
    pub(super) fn held_for(&self, now: Instant) -> Option<Duration> {
        self.held_until
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Calls that may be made at once.
    pub(super) fn available(&self, now: Instant) -> u32 {
        if self.held_for(now).is_some() {
            return 0;
        }
        match self.knowledge {
            Knowledge::Nothing => UNPACED,
            _ => ((self.level_at(now) - self.reserve()) as u32).min(UNPACED),
        }
    }

    /// How long until a call may be made; zero when one may be made at once.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let held = self.held_for(now).unwrap_or_default();
        if self.knowledge == Knowledge::Nothing || self.available(now) > 0 {
            return held;
        }
        let missing = self.reserve() + 1.0 - self.level_at(now);
        held.max(self.time_for(missing))
            .max(Duration::from_millis(1))
    }

    /// Takes a call, if one may be made at once, and gives its number. Each is to be ended, answered or not.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        (self.available(now) > 0).then(|| {
            self.settle(now);
            self.level -= 1.0;
            self.under_way += 1;
            self.issued += 1;
            self.issued
        })
    }

    /// A call that was taken has ended, after its answer (if one came) was reported.
    pub(super) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Call `number` was answered, not with a 429.
    pub(super) fn answered(&mut self, number: u64, quota: Option<Quota>, now: Instant) {
        if number <= self.learnt_from {
            return;
        }
        self.learnt_from = number;
        self.strikes = 0;
        match (quota, self.knowledge) {
            (Some(quota), _) => self.learn(quota, now),
            (None, Knowledge::Guessed) => {
                self.settle(now);
                // About one call a second more, each second.
                self.rate += 1.0 / self.rate;
                if self.rate > GUESS_CEILING {
                    self.knowledge = Knowledge::Nothing;
                }
            }
            (None, _) => {}
        }
    }

    /// Call `number` was refused with a 429. Gives how long the bucket is held for it. `jitter` is from 0 to 1.
    pub(super) fn refused(
        &mut self,
        number: u64,
        pacing: Pacing,
        jitter: f64,
        now: Instant,
    ) -> Duration {
        self.settle(now);
        // A call that was made before the last refusal was known says nothing about how it was obeyed.
        let fresh = number > self.learnt_from;
        if fresh {
            self.strikes += 1;
            self.learnt_from = self.issued;
        }
        match (pacing.quota, self.knowledge) {
            (Some(quota), _) => self.learn(quota, now),
            (None, Knowledge::Nothing) => {
                self.knowledge = Knowledge::Guessed;
                self.rate = 1.0;
            }
            (None, Knowledge::Guessed) if fresh => self.rate = (self.rate / 2.0).max(0.5),
            (None, _) => {}
        }
        self.level = 0.0;
        let reset = pacing.quota.and_then(|quota| quota.reset_in);
        let wait = match (pacing.retry_after, reset) {
            (Some(told), _) => told.min(LONGEST_RETRY_AFTER),
            (None, Some(reset)) => reset.clamp(FIRST_WAIT, LONGEST_WAIT),
            (None, None) if fresh => backoff(self.strikes, jitter),
            (None, None) => self.held_for(now).unwrap_or_default(),
        };
        let wait = wait.max(SHORTEST_HOLD);
        self.hold(wait, now);
        wait
    }

    /// Makes no call for `wait`; a longer hold stays.
    pub(super) fn hold(&mut self, wait: Duration, now: Instant) {
        self.held_until = self.held_until.max(Some(now + wait));
    }

    /// Two buckets turned out to be one: the lower level is the true one.
    pub(super) fn merge(&mut self, other: &Self, now: Instant) {
        self.settle(now);
        self.level = self.level.min(other.level_at(now));
        self.held_until = self.held_until.max(other.held_until);
    }

    /// The level as an answer tells it, less the other calls under way.
    fn learn(&mut self, quota: Quota, now: Instant) {
        let limit = quota.limit.max(1);
        let remaining = quota.remaining.min(limit);
        let missing = limit - remaining;
        self.knowledge = Knowledge::Limit(limit);
        let told = quota
            .reset_in
            .filter(|_| missing > 0)
            .map(|reset| f64::from(missing) / (reset.as_secs_f64() - ROUNDING).max(ROUNDING));
        let slowest = (self.reserve() + 1.0) / LONGEST_WAIT.as_secs_f64();
        self.rate = told.unwrap_or(self.rate).max(slowest);
        let others = self.under_way.saturating_sub(1);
        self.level = f64::from(remaining.saturating_sub(others));
        self.at = now;
    }

    /// The part of the limit that is left to others. A full bucket grants at least one call.
    fn reserve(&self) -> f64 {
        self.limit().map_or(0.0, |limit| {
            let limit = f64::from(limit);
            ((1.0 - self.share) * limit).min(limit - 1.0)
        })
    }

    fn capacity(&self) -> f64 {
        match self.knowledge {
            Knowledge::Nothing => 0.0,
            Knowledge::Guessed => self.rate.max(1.0),
            Knowledge::Limit(limit) => f64::from(limit),
        }
    }

    fn level_at(&self, now: Instant) -> f64 {
        let refilled = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        // Rounded so that the instant `wait` names finds the call there, despite floating point.
        let level = (self.level + refilled).min(self.capacity());
        (level * 1e6).round() / 1e6
    }

    fn settle(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.at = now;
    }

    fn time_for(&self, calls: f64) -> Duration {
        if calls <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(calls / self.rate).unwrap_or(LONGEST_WAIT)
    }
}

/// Exponential with full jitter, from one second, at most a minute.
fn backoff(strikes: u32, jitter: f64) -> Duration {
    FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(strikes.saturating_sub(1)))
        .min(LONGEST_WAIT)
        .mul_f64(jitter.clamp(0.0, 1.0))
}

/// Auth0's side of a bucket, with times told in whole seconds.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct TenantBucket {
    limit: f64,
    rate: f64,
    level: f64,
    start: Instant,
    at: Instant,
}

#[cfg(test)]
impl TenantBucket {
    pub(super) fn new(limit: u32, per_minute: u32, now: Instant) -> Self {
        Self {
            limit: limit.into(),
            rate: f64::from(per_minute) / 60.0,
            level: limit.into(),
            start: now,
            at: now,
        }
    }

    /// A call that arrives now: what its answer tells, an error if it is a 429.
    pub(super) fn call(&mut self, now: Instant) -> Result<Quota, Pacing> {
        let passed = (now - self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.limit);
        self.at = now;
        let granted = self.level >= 1.0;
        if granted {
            self.level -= 1.0;
        }
        let clock = (now - self.start).as_secs_f64();
        let full = clock + (self.limit - self.level) / self.rate;
        let quota = Quota {
            limit: self.limit as u32,
            remaining: self.level as u32,
            reset_in: Some(Duration::from_secs((full.ceil() - clock.floor()) as u64)),
        };
        if granted {
            return Ok(quota);
        }
        Err(Pacing {
            quota: Some(quota),
            retry_after: None,
        })
    }
}

#[cfg(test)]
mod tests;

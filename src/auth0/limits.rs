//! The pace of all calls of this process, shared by every worker.
//!
//! Auth0 counts calls per tenant and endpoint class (<https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy>);
//! which limits a tenant has follows from its plan and is learnt from answers. A [`Pace`] keeps one bucket a class
//! (the arithmetic is in [`super::bucket`]) and lets callers wait for their turn. It promises order only within reason:
//! who waits longest is not necessarily served first.
//!
//! Free and Enterprise plans have one bucket for the whole Management API. It is recognised by reads and writes of users
//! having the same limit, which no plan with buckets of their own has; then these classes share one bucket here too. A 429
//! that does not tell a limit, or tells one that another class has as well, pauses the other classes briefly: it may have been theirs.

use std::{sync::Mutex, sync::MutexGuard, sync::PoisonError, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{bucket::Bucket, quota::Pacing};

/// Endpoints that share a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `GET` of users, by id and by e-mail.
    ReadUsers,
    /// `POST` and `PATCH` of users.
    WriteUsers,
    /// `DELETE` of users.
    DeleteUsers,
    /// The rest of the Management API: jobs, tickets and more.
    Other,
    /// The Authentication API's reset mail.
    ChangePassword,
}

impl Class {
    /// All of them, in the order of their buckets.
    pub const ALL: [Self; 5] = [
        Self::ReadUsers,
        Self::WriteUsers,
        Self::DeleteUsers,
        Self::Other,
        Self::ChangePassword,
    ];

    /// The name in logs, metrics and `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadUsers => "read_users",
            Self::WriteUsers => "write_users",
            Self::DeleteUsers => "delete_users",
            Self::Other => "other",
            Self::ChangePassword => "change_password",
        }
    }

    fn is_management(self) -> bool {
        self != Self::ChangePassword
    }
}

/// What is left of one class's limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassBudget {
    pub class: Class,
    /// Size of the bucket; `None` until an answer told it.
    pub limit: Option<u32>,
    /// Calls left, those kept for others included. An estimate between answers.
    pub remaining: Option<u32>,
    /// Calls a second that Roster's share of the limit allows for ever. An estimate.
    pub per_second: Option<f64>,
    /// Until the bucket is full again. An estimate.
    pub reset_in: Option<Duration>,
    /// How long no call is made because one was refused.
    pub held_for: Option<Duration>,
}

/// The buckets and those who wait for them.
#[derive(Debug)]
pub struct Pace {
    buckets: Mutex<Buckets>,
    changed: Notify,
}

/// The right to make one call; its answer is reported with [`Pace::answered`] or [`Pace::refused`].
/// Dropping it ends the call.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    pace: &'a Pace,
    class: Class,
    slot: usize,
    number: u64,
}

impl Pace {
    /// Longest pause of the classes that a 429 of another one may concern.
    const BRIEF: Duration = Duration::from_secs(2);

    /// `share` of every limit is used, above 0 and at most 1.
    pub(super) fn new(share: f64) -> Self {
        let now = Instant::now();
        Self {
            buckets: Mutex::new(Buckets(Class::ALL.map(|_| Bucket::new(share, now)))),
            changed: Notify::new(),
        }
    }

    /// Waits until a call of this class may be made. It does not reserve the call: somebody else may be faster.
    pub async fn ready(&self, class: Class) {
        self.turn(class, |bucket, now| {
            (bucket.available(now) > 0).then_some(())
        })
        .await;
    }

    /// Calls of this class that may be made at once, 1024 while no limit is known.
    pub fn available(&self, class: Class) -> u32 {
        self.lock().of(class).available(Instant::now())
    }

    /// Whether Auth0 answered any call yet. Before that no limit is known.
    pub fn is_tried(&self) -> bool {
        self.lock().0.iter().any(Bucket::is_tried)
    }

    /// Calls of all classes that have had their turn and not ended.
    pub fn under_way(&self) -> u32 {
        self.lock().0.iter().map(Bucket::under_way).sum()
    }

    /// Every class with what is left of it.
    pub fn budget(&self) -> Vec<ClassBudget> {
        let now = Instant::now();
        let mut buckets = self.lock();
        Class::ALL
            .map(|class| {
                let bucket = buckets.of(class);
                ClassBudget {
                    class,
                    limit: bucket.limit(),
                    remaining: bucket.remaining(now),
                    per_second: bucket.sustained(),
                    reset_in: bucket.full_in(now),
                    held_for: bucket.held_for(now),
                }
            })
            .to_vec()
    }

    /// Waits for a call and takes it; after `patience` gives how long it would still take.
    pub(super) async fn take(
        &self,
        class: Class,
        patience: Duration,
    ) -> Result<Permit<'_>, Duration> {
        // Who would wait in vain is told at once.
        let wait = self.lock().of(class).wait(Instant::now());
        if wait > patience {
            return Err(wait);
        }
        let number = self.turn(class, Bucket::take);
        match tokio::time::timeout(patience, number).await {
            Ok((slot, number)) => Ok(Permit {
                pace: self,
                class,
                slot,
                number,
            }),
            Err(_) => Err(self.lock().of(class).wait(Instant::now())),
        }
    }

    /// The permit's call was answered, not with a 429.
    pub(super) fn answered(&self, permit: &Permit<'_>, pacing: Pacing) {
        let now = Instant::now();
        self.lock().change(permit, now, |bucket| {
            bucket.answered(permit.number, pacing.quota, now);
        });
        self.changed.notify_waiters();
    }

    /// The permit's call was refused with a 429. Gives how long calls of its class are held.
    pub(super) fn refused(&self, permit: &Permit<'_>, pacing: Pacing) -> Duration {
        let now = Instant::now();
        let mut buckets = self.lock();
        let hold = buckets.change(permit, now, |bucket| {
            bucket.refused(permit.number, pacing, rand::random(), now)
        });
        if permit.class.is_management() {
            buckets.pause_others(permit, pacing, hold.min(Self::BRIEF), now);
        }
        hold
    }

    /// Waits until `attempt` on the class's bucket succeeds, each time trying again when that may have changed.
    async fn turn<T>(
        &self,
        class: Class,
        attempt: impl Fn(&mut Bucket, Instant) -> Option<T>,
    ) -> (usize, T) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that a change between look and wait is not missed.
            changed.as_mut().enable();
            let wait = {
                let now = Instant::now();
                let mut buckets = self.lock();
                let slot = buckets.slot(class);
                let bucket = &mut buckets.0[slot];
                match attempt(bucket, now) {
                    Some(success) => return (slot, success),
                    None => bucket.wait(now),
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        // Nothing in here panics half-way; numbers are numbers even if it did.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.pace.lock().0[self.slot].ended();
    }
}

/// A bucket a class, in the order of [`Class::ALL`].
#[derive(Debug)]
struct Buckets([Bucket; Class::ALL.len()]);

impl Buckets {
    /// Where the class's bucket is.
    fn slot(&self, class: Class) -> usize {
        if class.is_management() && self.is_global() {
            Class::ReadUsers as usize
        } else {
            class as usize
        }
    }

    fn of(&mut self, class: Class) -> &mut Bucket {
        let slot = self.slot(class);
        &mut self.0[slot]
    }

    /// Whether the Management API has one bucket for all (module head).
    fn is_global(&self) -> bool {
        let limit = |class: Class| self.0[class as usize].limit();
        limit(Class::ReadUsers).is_some() && limit(Class::ReadUsers) == limit(Class::WriteUsers)
    }

    /// Changes the bucket that the permit was taken from, and notices when that makes one bucket of several.
    fn change<T>(
        &mut self,
        permit: &Permit<'_>,
        now: Instant,
        change: impl FnOnce(&mut Bucket) -> T,
    ) -> T {
        let was_global = self.is_global();
        let result = change(&mut self.0[permit.slot]);
        if self.is_global() && !was_global {
            // What the other classes learnt stays in their buckets, unused, until the limits differ again.
            let writes = self.0[Class::WriteUsers as usize].clone();
            self.0[Class::ReadUsers as usize].merge(&writes, now);
        }
        result
    }

    fn pause_others(&mut self, permit: &Permit<'_>, pacing: Pacing, pause: Duration, now: Instant) {
        for class in Class::ALL {
            let bucket = &mut self.0[class as usize];
            let differs = matches!(
                (pacing.quota, bucket.limit()),
                (Some(quota), Some(limit)) if quota.limit != limit
            );
            if class.is_management() && class as usize != permit.slot && !differs {
                bucket.hold(pause, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;

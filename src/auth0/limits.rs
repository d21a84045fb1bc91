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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassBudget {
    pub class: Class,
    /// Size of the bucket; `None` until an answer told it.
    pub limit: Option<u32>,
    /// Calls left, those kept for others included. An estimate between answers.
    pub remaining: Option<u32>,
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
mod tests {
    use super::{
        super::{bucket::TenantBucket, quota::Quota},
        *,
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    fn told(limit: u32, remaining: u32, reset_in: u64) -> Pacing {
        Pacing {
            quota: Some(Quota {
                limit,
                remaining,
                reset_in: Some(Duration::from_secs(reset_in)),
            }),
            retry_after: None,
        }
    }

    fn retry_after(seconds: u64) -> Pacing {
        Pacing {
            quota: None,
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    async fn call(pace: &Pace, class: Class, pacing: Pacing) {
        let permit = pace.take(class, PATIENCE).await.unwrap();
        pace.answered(&permit, pacing);
    }

    async fn refused_call(pace: &Pace, class: Class, pacing: Pacing) {
        let permit = pace.take(class, PATIENCE).await.unwrap();
        pace.refused(&permit, pacing);
    }

    #[test]
    fn every_class_has_the_bucket_at_its_place() {
        assert_eq!(Class::ALL.map(|class| class as usize), [0, 1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_held_waits_until_the_hold_ends() {
        let pace = Pace::new(1.0);
        let start = Instant::now();
        refused_call(&pace, Class::WriteUsers, retry_after(9)).await;
        assert_eq!(pace.available(Class::WriteUsers), 0);
        pace.ready(Class::WriteUsers).await;
        assert!(start.elapsed() >= Duration::from_secs(9));
        assert_ne!(pace.available(Class::WriteUsers), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_wakes_who_waits() {
        let pace = Pace::new(1.0);
        let first = pace.take(Class::ReadUsers, PATIENCE).await.unwrap();
        let second = pace.take(Class::ReadUsers, PATIENCE).await.unwrap();
        pace.answered(&first, told(40, 0, 86_400));
        let start = Instant::now();
        tokio::join!(pace.ready(Class::ReadUsers), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.answered(&second, told(40, 39, 1));
        });
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn many_workers_take_no_more_than_there_is() {
        let pace = Pace::new(0.8);
        call(&pace, Class::WriteUsers, told(20, 14, 3_600)).await;
        let takes = (0..50).map(|_| pace.take(Class::WriteUsers, Duration::ZERO));
        let taken = futures_util::future::join_all(takes).await;
        assert_eq!(taken.iter().filter(|permit| permit.is_ok()).count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_that_long_is_told_at_once_how_long_it_takes() {
        let pace = Pace::new(1.0);
        refused_call(&pace, Class::ChangePassword, retry_after(45)).await;
        let start = Instant::now();
        let wait = pace
            .take(Class::ChangePassword, PATIENCE)
            .await
            .unwrap_err();
        assert_eq!(
            (wait, start.elapsed()),
            (Duration::from_secs(45), Duration::ZERO)
        );
        assert!(pace.take(Class::ChangePassword, wait).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_pauses_the_classes_it_may_concern() {
        use Class::*;
        // What the 429 tells, and who is paused after reads of 40 and deletes of 20 are known.
        for (refusal, paused) in [
            (
                retry_after(60),
                vec![ReadUsers, WriteUsers, DeleteUsers, Other],
            ),
            (told(20, 0, 60), vec![WriteUsers, DeleteUsers, Other]),
            (told(7, 0, 60), vec![WriteUsers, Other]),
        ] {
            let pace = Pace::new(1.0);
            call(&pace, ReadUsers, told(40, 39, 1)).await;
            call(&pace, DeleteUsers, told(20, 19, 1)).await;
            refused_call(&pace, WriteUsers, refusal).await;
            let held = |pace: &Pace| -> Vec<Class> {
                let budget = pace.budget().into_iter();
                budget
                    .filter(|budget| budget.held_for.is_some())
                    .map(|budget| budget.class)
                    .collect()
            };
            assert_eq!(held(&pace), paused, "{refusal:?}");
            tokio::time::advance(Pace::BRIEF).await;
            assert_eq!(held(&pace), [WriteUsers], "{refusal:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_reset_mail_pauses_nothing_else() {
        let pace = Pace::new(1.0);
        refused_call(&pace, Class::ChangePassword, retry_after(60)).await;
        assert!(
            Class::ALL[..4]
                .iter()
                .all(|&class| pace.available(class) > 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn equal_limits_of_reads_and_writes_mean_one_bucket() {
        let pace = Pace::new(1.0);
        call(&pace, Class::ReadUsers, told(50, 40, 3_600)).await;
        call(&pace, Class::WriteUsers, told(50, 10, 3_600)).await;
        assert_eq!(
            Class::ALL.map(|class| pace.available(class)),
            [10, 10, 10, 10, 1024]
        );
        let permit = pace.take(Class::DeleteUsers, PATIENCE).await.unwrap();
        assert_eq!(pace.available(Class::ReadUsers), 9);
        drop(permit);
        // Another plan, with buckets of their own.
        call(&pace, Class::ReadUsers, told(40, 30, 3_600)).await;
        assert_eq!(pace.available(Class::ReadUsers), 30);
        assert_eq!(pace.available(Class::WriteUsers), 10);
        assert_eq!(pace.available(Class::DeleteUsers), 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_says_what_is_known() {
        let pace = Pace::new(0.8);
        call(&pace, Class::WriteUsers, told(20, 1, 10)).await;
        let [read, write, ..] = pace.budget()[..] else {
            panic!("a line for each class")
        };
        let nothing_known = ClassBudget {
            class: Class::ReadUsers,
            limit: None,
            remaining: None,
            reset_in: None,
            held_for: None,
        };
        assert_eq!(read, nothing_known);
        let known = ClassBudget {
            class: Class::WriteUsers,
            limit: Some(20),
            remaining: Some(1),
            reset_in: Some(Duration::from_millis(9_500)),
            held_for: None,
        };
        assert_eq!(write, known);
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_workers_stay_within_the_limit_once_it_is_known() {
        // Burst and calls a minute, what of them is used at least, and the 429s of the first moment, when nothing
        // is known.
        for (limit, per_minute, used, unavoidable) in [
            (40, 500, 0.95, 0),
            (20, 200, 0.95, 0),
            (50, 960, 0.95, 0),
            (2, 120, 0.6, 14),
        ] {
            let pace = Pace::new(0.8);
            let start = Instant::now();
            let tenant = Mutex::new(TenantBucket::new(limit, per_minute, start));
            let (calls, refusals) = (Mutex::new(0), Mutex::new(0));
            let worker = async |number: u64| {
                for turn in 0.. {
                    if start.elapsed() > Duration::from_secs(600) {
                        return;
                    }
                    let Ok(permit) = pace.take(Class::WriteUsers, PATIENCE).await else {
                        continue;
                    };
                    // Some calls are faster than others, on both ways.
                    let way =
                        |salt| Duration::from_millis(20 + (number * 37 + turn * 61 + salt) % 150);
                    tokio::time::sleep(way(0)).await;
                    let told = tenant.lock().unwrap().call(Instant::now());
                    tokio::time::sleep(way(83)).await;
                    match told {
                        Ok(quota) => {
                            *calls.lock().unwrap() += 1;
                            let quota = Some(quota);
                            pace.answered(
                                &permit,
                                Pacing {
                                    quota,
                                    retry_after: None,
                                },
                            );
                        }
                        Err(pacing) => {
                            *refusals.lock().unwrap() += 1;
                            pace.refused(&permit, pacing);
                        }
                    }
                }
            };
            futures_util::future::join_all((0..16).map(worker)).await;
            let (calls, refusals) = (calls.into_inner().unwrap(), refusals.into_inner().unwrap());
            assert!(
                refusals <= unavoidable,
                "limit {limit}: {refusals} refusals"
            );
            let granted = f64::from(per_minute) * 10.0;
            assert!(
                f64::from(calls) > used * granted,
                "limit {limit}: {calls} of {granted}"
            );
        }
    }
}

//! Work: the users under this reactor's leases, from their claim until they are let go.
//!
//! ```text
//! claimed ──► waiting ──► turn (record, plan, begin) ──► call ──► waiting … ──► let go, id written back
//! ```
//!
//! Wanted: a call's result is recorded at once when little is going on, and many results share a transaction when much is;
//! a slow call holds nobody else up; the number of users at work is bounded.
//!
//! Design: one task owns all of it. Whoever waits for a turn waits together; as soon as one of [`TURNS`] transactions is free it takes
//! them all (at most [`MOST_A_TURN`]), so batches grow by themselves with the load. Calls run beside that, as many at a time as
//! `reactor.workers` says; a few more are begun ahead, as many as take [`AHEAD`], so that a worker need not wait for the disk between two
//! quick calls. Each user carries a place, which is free again once the user is let go, however that came about.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinError, JoinSet},
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{AFTER_A_FAULT, Reactor, apply};
use crate::{
    db::{
        DbError,
        begin::Begun,
        done::Done,
        mirror::{self, Claim, Turn},
        write_back,
    },
    progress::{self, Part},
    telemetry::with_causes,
};

/// Transactions at a time: while one waits for the disk, another may work.
const TURNS: usize = 2;
/// Users in one transaction, so that none holds its locks for long.
const MOST_A_TURN: usize = 256;
/// Calls are begun ahead for about this long.
const AHEAD: Duration = Duration::from_millis(50);
/// Calls that may be begun ahead for each one that is made at the time.
const MOST_AHEAD: usize = 15;
/// A call that was begun and did not get its turn for so long is not made: its deadline counts from when it was begun. The user is let
/// go then, so that who comes first by now, such as a removal, does not wait for all who came before.
const LONGEST_QUEUE: Duration = Duration::from_secs(5);

/// Of several turns, calls and write-backs at a time one ends within this, or is tried again: each has a deadline of half a minute, and a
/// session may have to be made first.
const LONGEST_STEP: Duration = Duration::from_secs(150);

/// When a user whose row somebody held gets another turn.
const WHILE_HELD: Duration = Duration::from_millis(100);

/// The hand-over to the task that works.
pub(super) struct Work {
    places: Arc<Semaphore>,
    at_work: AtWork,
    /// How long calls take says how many of the places may be taken now.
    pace: Arc<CallPace>,
    workers: usize,
    claimed: mpsc::UnboundedSender<Held>,
    let_go: Arc<Notify>,
    /// Dropped, it ends at once, as in a crash; see [`Work::finish`].
    task: AbortOnDropHandle<()>,
}

/// The keys of the users at work.
type AtWork = Arc<Mutex<HashSet<String>>>;

/// A user at work.
struct Held {
    claim: Claim,
    at_work: AtWork,
    _place: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        keys(&self.at_work).remove(&self.claim.user_key);
    }
}

fn keys(at_work: &AtWork) -> MutexGuard<'_, HashSet<String>> {
    // Nothing panics while it is held.
    at_work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user who waits for a turn: just claimed, or with what the last call came to.
struct Waiting {
    held: Held,
    done: Option<Done>,
}

impl Work {
    pub(super) fn start(reactor: Arc<Reactor>, stop: CancellationToken) -> Self {
        let workers = reactor.workers;
        let (claimed, claims) = mpsc::unbounded_channel();
        let pace = Arc::new(CallPace::default());
        let let_go = Arc::new(Notify::new());
        let desk = Desk {
            part: Arc::new(reactor.progress.part("work", LONGEST_STEP)),
            lines: Arc::new(Semaphore::new(reactor.workers)),
            reactor,
            stop,
            pace: pace.clone(),
            let_go: let_go.clone(),
            waiting: Vec::new(),
            to_write_back: Vec::new(),
            turns: JoinSet::new(),
            calls: JoinSet::new(),
            write_backs: JoinSet::new(),
        };
        Self {
            places: Arc::new(Semaphore::new(places(workers))),
            at_work: AtWork::default(),
            pace,
            workers,
            claimed,
            let_go,
            task: AbortOnDropHandle::new(tokio::spawn(desk.run(claims))),
        }
    }

    /// How many more users may be claimed now.
    pub(super) fn room(&self) -> usize {
        (self.workers * self.pace.calls_a_worker()).saturating_sub(self.users())
    }

    /// Users at work now.
    pub(super) fn users(&self) -> usize {
        places(self.workers) - self.places.available_permits()
    }

    /// The keys of the users at work, who are not to be claimed again: what their calls came to may wait for the database for longer than
    /// a lease.
    pub(super) fn at_work(&self) -> Vec<String> {
        keys(&self.at_work).iter().cloned().collect()
    }

    /// Takes over users who were claimed; no more of them than there was [`Work::room`] for, and none who is at work.
    pub(super) fn take(&self, claims: Vec<Claim>) {
        for claim in claims {
            match self.places.clone().try_acquire_owned() {
                // The task ends only after this end of the channel.
                Ok(_place) => {
                    keys(&self.at_work).insert(claim.user_key.clone());
                    let at_work = self.at_work.clone();
                    drop(self.claimed.send(Held {
                        claim,
                        at_work,
                        _place,
                    }));
                }
                Err(_) => {
                    tracing::error!(user.key = %claim.user_key, "claimed without a place; the lease ends by itself");
                }
            }
        }
    }

    /// Returns once somebody was let go since this was last asked.
    pub(super) async fn let_go(&self) {
        self.let_go.notified().await;
    }

    /// Returns once nobody is at work.
    pub(super) async fn idle(&self) {
        while self.users() > 0 {
            self.let_go.notified().await;
        }
    }

    /// Lets every call that was begun end and be recorded, for at most `patience`.
    pub(super) async fn finish(self, patience: Duration) {
        drop(self.claimed);
        if timeout(patience, self.task).await.is_err() {
            tracing::warn!("some calls did not end in time; their accounts are looked at later");
        }
    }
}

/// Users at work at a time, at most.
fn places(workers: usize) -> usize {
    workers * (1 + MOST_AHEAD)
}

/// How long calls took lately, as a moving average.
#[derive(Default)]
struct CallPace(AtomicU64);

impl CallPace {
    fn took(&self, duration: Duration) {
        let took = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 8);
        let average = match self.0.load(Ordering::Relaxed) {
            0 => took,
            average => (average * 7 + took.min(u64::MAX / 8)) / 8,
        };
        self.0.store(average.max(1), Ordering::Relaxed);
    }

    /// One, and as many as would be made within [`AHEAD`].
    fn calls_a_worker(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => 1,
            average => {
                let ahead = AHEAD.as_micros() as u64 / average;
                1 + usize::try_from(ahead).unwrap_or(MOST_AHEAD).min(MOST_AHEAD)
            }
        }
    }
}

/// The task that works.
struct Desk {
    part: Arc<Part>,
    reactor: Arc<Reactor>,
    /// Once cancelled no further call begins.
    stop: CancellationToken,
    lines: Arc<Semaphore>,
    pace: Arc<CallPace>,
    let_go: Arc<Notify>,
    waiting: Vec<Waiting>,
    to_write_back: Vec<Held>,
    turns: JoinSet<Turned>,
    calls: JoinSet<Waiting>,
    write_backs: JoinSet<()>,
}

/// What one transaction came to.
#[derive(Default)]
struct Turned {
    begun: Vec<(Held, Begun)>,
    over: Vec<Held>,
    /// Whose rows somebody held.
    again: Vec<Waiting>,
}

impl Desk {
    async fn run(mut self, mut claims: mpsc::UnboundedReceiver<Held>) {
        let mut open = true;
        let mut idle = interval(progress::TICK);
        loop {
            if self.turns.is_empty() && self.calls.is_empty() && self.write_backs.is_empty() {
                self.part.step();
                if !open && self.waiting.is_empty() && self.to_write_back.is_empty() {
                    break;
                }
            }
            self.start_turns();
            self.start_write_back();
            tokio::select! {
                held = claims.recv(), if open => match held {
                    Some(held) => {
                        self.waiting.push(Waiting { held, done: None });
                        while let Ok(held) = claims.try_recv() {
                            self.waiting.push(Waiting { held, done: None });
                        }
                    }
                    None => open = false,
                },
                Some(ended) = self.calls.join_next() => {
                    self.part.step();
                    self.called(ended);
                    while let Some(ended) = self.calls.try_join_next() {
                        self.called(ended);
                    }
                }
                Some(turned) = self.turns.join_next() => {
                    self.part.step();
                    let Turned { begun, over, again } = turned.unwrap_or_default();
                    for waiting in again {
                        self.calls.spawn(async move {
                            sleep(WHILE_HELD).await;
                            waiting
                        });
                    }
                    for (held, begun) in begun {
                        self.start_call(held, begun);
                    }
                    self.to_write_back.extend(over);
                    self.let_go.notify_one();
                }
                Some(_) = self.write_backs.join_next() => {
                    self.part.step();
                    self.let_go.notify_one();
                }
                _ = idle.tick() => {}
            }
        }
    }

    fn called(&mut self, ended: Result<Waiting, JoinError>) {
        match ended {
            Ok(waiting) => self.waiting.push(waiting),
            // A task that panicked holds no place any more; the user's lease ends by itself.
            Err(_) => self.let_go.notify_one(),
        }
    }

    fn start_turns(&mut self) {
        while !self.waiting.is_empty() && self.turns.len() < TURNS {
            let most = self.waiting.len().min(MOST_A_TURN);
            let batch: Vec<Waiting> = self.waiting.drain(..most).collect();
            let (reactor, stop) = (self.reactor.clone(), self.stop.clone());
            let part = self.part.clone();
            self.turns
                .spawn(async move { reactor.take_turn(batch, &stop, &part).await });
        }
    }

    fn start_call(&mut self, held: Held, begun: Begun) {
        let (client, lines) = (self.reactor.client.clone(), self.lines.clone());
        let (pace, stop) = (self.pace.clone(), self.stop.clone());
        self.calls.spawn(async move {
            let line = lines.acquire().await;
            let done = if line.is_ok() && begun.at.elapsed() < LONGEST_QUEUE && !stop.is_cancelled()
            {
                let done = apply::apply(&client, begun).await;
                pace.took(done.duration);
                done
            } else {
                apply::not_made(begun)
            };
            Waiting {
                held,
                done: Some(done),
            }
        });
    }

    fn start_write_back(&mut self) {
        if self.to_write_back.is_empty() || !self.write_backs.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.to_write_back);
        let pool = self.reactor.pool.clone();
        self.write_backs.spawn(async move {
            let keys: Vec<&str> = held.iter().map(|h| h.claim.user_key.as_str()).collect();
            if let Err(error) = write_back::write_back(&pool, Some(&keys)).await {
                tracing::debug!(error = %with_causes(&error), "ids are written back by the next sweep");
            }
        });
    }
}

/// Whom a transaction is for, and what their last calls came to.
struct Batch {
    claims: Vec<Claim>,
    done: Vec<Done>,
}

impl Batch {
    /// These users, and what their last calls came to.
    fn of(self, users: HashSet<String>) -> HashMap<String, Option<Done>> {
        let mut of: HashMap<_, _> = users.into_iter().map(|key| (key, None)).collect();
        for done in self.done {
            if let Some(place) = of.get_mut(&done.user_key) {
                *place = Some(done);
            }
        }
        of
    }

    fn halves(mut self) -> [Self; 2] {
        let claims = self.claims.split_off(self.claims.len() / 2);
        let of_others: HashSet<&str> = claims.iter().map(|claim| claim.user_key.as_str()).collect();
        let (others, done) = self
            .done
            .into_iter()
            .partition(|done| of_others.contains(done.user_key.as_str()));
        [
            Self {
                claims: self.claims,
                done,
            },
            Self {
                claims,
                done: others,
            },
        ]
    }
}

impl Reactor {
    /// One transaction for all who wait.
    async fn take_turn(
        &self,
        batch: Vec<Waiting>,
        stop: &CancellationToken,
        part: &Part,
    ) -> Turned {
        let mut held = Vec::with_capacity(batch.len());
        let mut done = Vec::with_capacity(batch.len());
        for one in batch {
            held.push(one.held);
            done.extend(one.done);
        }
        let claims = held.iter().map(|held| held.claim.clone()).collect();
        let (begun, mut again) = self.turn(Batch { claims, done }, stop, part).await;
        let mut calls: HashMap<String, Begun> = begun
            .into_iter()
            .map(|call| (call.row.user_key.clone(), call))
            .collect();
        let mut turned = Turned::default();
        for held in held {
            let key = &held.claim.user_key;
            match (calls.remove(key), again.remove(key)) {
                (Some(call), _) => turned.begun.push((held, call)),
                (None, Some(done)) => turned.again.push(Waiting { held, done }),
                (None, None) => turned.over.push(held),
            }
        }
        turned
    }

    /// One turn. What calls came to is tried to be recorded until it is: an outage of the database loses no result, however long it
    /// takes, and whoever took a user over meanwhile is known by the lease. Users who were only claimed are let go after half a
    /// lease. Turns that wait hold their users' places, so they are bounded. One user whom the database refuses, or whose row somebody
    /// holds, holds up nobody else: the batch is halved until that one is alone. Gives what was begun, and who needs another turn.
    async fn turn(
        &self,
        batch: Batch,
        stop: &CancellationToken,
        part: &Part,
    ) -> (Vec<Begun>, HashMap<String, Option<Done>>) {
        let until = Instant::now() + self.terms.lease / 2;
        let mut begun = Vec::new();
        let mut again = HashMap::new();
        let mut batches = vec![batch];
        while let Some(batch) = batches.pop() {
            let (claims, done) = (&batch.claims, &batch.done);
            let more = !stop.is_cancelled();
            match mirror::turn(&self.pool, &self.terms, claims, done, more).await {
                Ok(Turn {
                    begun: calls,
                    held_up,
                }) => {
                    begun.extend(calls);
                    again.extend(batch.of(held_up));
                }
                Err(error)
                    if error.server().is_some()
                        && !error.is_unreachable()
                        && !error.is_held_up() =>
                {
                    match claims.as_slice() {
                        [claim] => self.set_aside(claim, &error).await,
                        _ => batches.extend(batch.halves()),
                    }
                }
                // Once it stops, only results are worth waiting for, and whoever stops it says how long.
                Err(error) if !done.is_empty() || more && Instant::now() < until => {
                    tracing::warn!(error = %with_causes(&error), "results could not be recorded yet");
                    // It is the database that hangs, and this does not.
                    part.step();
                    batches.push(batch);
                    sleep(AFTER_A_FAULT).await;
                }
                Err(error) => {
                    let users: usize = batches.iter().map(|batch| batch.claims.len()).sum();
                    tracing::error!(error = %with_causes(&error), users = users + claims.len(), "users are let go; their leases end by themselves");
                    break;
                }
            }
        }
        (begun, again)
    }

    async fn set_aside(&self, claim: &Claim, error: &DbError) {
        let words = error.server().map_or("", |e| e.message());
        tracing::error!(user.key = %claim.user_key, error = %with_causes(error), "the database refuses this user's turn");
        let _ = mirror::set_aside(&self.pool, self.terms.reactor, claim, words).await;
    }
}

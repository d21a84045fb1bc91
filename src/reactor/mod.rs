//! The reactor: woken, it folds what changed, claims who is due, and carries out the plan on Auth0.
//!
//! ```text
//! listen ──► look: fold ► claim ─► work: turn (plan, begin) ► apply ► turn (record, plan, begin) … ► let go
//! ```
//!
//! Wanted: every committed change reaches Auth0 once, soon, removals first; nothing is lost or doubled when a process dies
//! between any two steps; an orderly stop leaves no call cut and no lease behind.
//!
//! Design: level-triggered. A wake only says "look"; what is to be done is read from `roster.plan` when it is about to be
//! done. One loop owns the waiting: it listens, looks, then waits for the next ring, the next poll, the next retry or a
//! worker. Workers are tasks of at most [`BATCH`] users each; between their two transactions Auth0 is called, and nothing is open
//! in the database.
//!
//! Known races:
//! * A writer that relied on another's ring (`triggers/bell.sql`) commits a moment after the look: each wake is followed by looks
//!   after [`AFTERLOOKS`]; the poll is the bound.
//! * A result that cannot be recorded because the database went away: tried again while the lease lasts; after that the call counts
//!   as unanswered and the account is looked at.

pub mod apply;
pub mod outcome;
pub mod plan;

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use futures_util::future::join_all;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth0::{Class, Client},
    db::{
        DbError, changes,
        connect::Endpoint,
        for_the_log,
        listener::{self, Heard},
        mirror::{self, Claim, Terms},
        reactors::{self, Fallback, HEARTBEAT, Note, Settings},
        record::Done,
    },
};

/// Users that one worker takes at a time: enough to share its two transactions, few enough that a slow call delays few.
const BATCH: usize = 16;
/// When to look again after a wake, for those who relied on somebody else's ring.
const AFTERLOOKS: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1000),
];
/// How long to leave a database alone that just failed.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);

/// What a reactor works with.
#[derive(Clone)]
pub struct Reactor {
    /// The database.
    pub pool: Pool,
    /// Auth0.
    pub client: Client,
    /// Who it is, and how long its claims last.
    pub terms: Terms,
    /// What the planner is told.
    pub settings: Settings,
    /// The longest that a lost ring delays a change.
    pub poll_interval: Duration,
    /// How often everybody is looked at.
    pub sweep_every: Duration,
    /// How long history is kept.
    pub history_keep: Duration,
    /// Calls to Auth0 under way at a time.
    pub workers: usize,
}

impl Reactor {
    /// Runs until `stop`; listens on `endpoint`, which must not go through a transaction pooler.
    ///
    /// # Errors
    /// [`DbError`] if the reactor could not be registered. Later faults are logged and waited out.
    pub async fn run(self, endpoint: Endpoint, stop: CancellationToken) -> Result<(), DbError> {
        self.register().await?;
        let reactor = Arc::new(self);
        let (heard, mut hears) = mpsc::channel(16);
        let listening = tokio::spawn(listener::listen(endpoint, heard, stop.clone()));
        let mut workers = Workers::new(reactor.clone(), stop.clone());
        let mut poll = interval(reactor.poll_interval);
        let mut sweep = interval_at(Instant::now() + reactor.sweep_every, reactor.sweep_every);
        let mut heartbeat = interval(HEARTBEAT);
        let mut looks = Looks::default();
        loop {
            let look = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                heard = hears.recv() => match heard {
                    Some(heard) => reactor.hear(heard, &mut looks).await,
                    None => break,
                },
                () = workers.ended() => true,
                () = sleep_until(looks.next_or_now()), if looks.is_any() => looks.took(),
                () = reactor.client.pace().ready(Class::WriteUsers), if workers.held_back => true,
                _ = poll.tick() => true,
                _ = sweep.tick() => {
                    reactor.sweep().await;
                    true
                }
                _ = heartbeat.tick() => {
                    reactor.beat().await;
                    false
                }
            };
            if look {
                tokio::select! {
                    () = stop.cancelled() => break,
                    looked = reactor.look(&mut workers) => match looked {
                        Ok(next) => looks.also(next),
                        Err(error) => {
                            tracing::warn!(error = %for_the_log(&error), "the database could not be looked at");
                            looks.also(Some(AFTER_A_FAULT));
                        }
                    },
                }
            }
        }
        workers.finish().await;
        let _ = listening.await;
        reactor.say_goodbye().await;
        Ok(())
    }

    /// Writes the settings, and says so if the mode had to fall back to observe.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn register(&self) -> Result<(), DbError> {
        match reactors::register(&self.pool, self.terms.reactor, &self.settings).await? {
            Some(Fallback::AnotherDatabase) => tracing::warn!(
                "this database is a copy of the one the mode was chosen for: observing only, until roster mode says otherwise"
            ),
            Some(Fallback::AnotherTenant) => tracing::warn!(
                "this mirror belongs to another tenant: observing only, until roster mode says otherwise"
            ),
            None => {}
        }
        let (mode, paused) = reactors::mode(&self.pool).await?;
        if mode == "observe" {
            tracing::warn!(
                "mode observe: Auth0 is read and nothing is written to it; see roster plan, then roster mode enforce"
            );
        } else {
            tracing::info!(mode, paused, "the reactor runs");
        }
        Ok(())
    }

    /// Takes everything over that changed, then works until nothing is due now: what [`Reactor::run`] does, by hand and once.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn settle(&self) -> Result<(), DbError> {
        while changes::fold(&self.pool).await?.changes > 0 {}
        loop {
            let claims = mirror::claim(&self.pool, &self.terms, BATCH).await?;
            if claims.is_empty() {
                return Ok(());
            }
            self.work(claims, &CancellationToken::new()).await;
            while changes::fold(&self.pool).await?.changes > 0 {}
        }
    }

    async fn hear(&self, heard: Heard, looks: &mut Looks) -> bool {
        let note = match heard {
            Heard::Rang => {
                looks.restart();
                return true;
            }
            Heard::Listening => Note::Listened,
            Heard::Probed { came_back } => {
                if !came_back {
                    tracing::warn!(
                        "the database accepts LISTEN and delivers nothing: a transaction pooler? set database.listen_url to a direct \
                         connection; polling carries on"
                    );
                }
                Note::Bell { heard: came_back }
            }
            Heard::Lost => return false,
        };
        if let Err(error) = reactors::note(&self.pool, self.terms.reactor, note).await {
            tracing::debug!(error = %for_the_log(&error), "a note could not be written");
        }
        heard == Heard::Listening
    }

    /// Folds what is new and gives work to free workers. Gives when the next user is due, if that is known.
    async fn look(&self, workers: &mut Workers) -> Result<Option<Duration>, DbError> {
        loop {
            let folded = changes::fold(&self.pool).await?;
            if folded.looked_at_everybody {
                reactors::note(&self.pool, self.terms.reactor, Note::Swept).await?;
            }
            if !folded.more {
                break;
            }
        }
        workers.held_back = false;
        loop {
            let free = workers.free();
            if free == 0 {
                // The next worker to end looks again.
                return Ok(None);
            }
            let allowed = self.client.pace().available(Class::WriteUsers) as usize;
            if allowed == 0 {
                workers.held_back = true;
                return Ok(None);
            }
            let claims =
                mirror::claim(&self.pool, &self.terms, free.min(allowed).min(BATCH)).await?;
            if claims.is_empty() {
                return mirror::next_due(&self.pool).await;
            }
            workers.start(claims);
        }
    }

    /// Works on claimed users until there is nothing to do for them now. Once `stop` is cancelled no further call begins.
    async fn work(&self, claims: Vec<Claim>, stop: &CancellationToken) {
        let keys: Vec<String> = claims.iter().map(|claim| claim.user_key.clone()).collect();
        let mut claims = claims;
        let mut done = Vec::new();
        loop {
            let begun = match self.turn(&claims, done, stop).await {
                Ok(begun) => begun,
                Err(error) => {
                    tracing::error!(error = %for_the_log(&error), users = claims.len(), "results could not be recorded; they are looked at later");
                    return;
                }
            };
            if begun.is_empty() {
                break;
            }
            claims = begun
                .iter()
                .map(|call| Claim {
                    user_key: call.row.user_key.clone(),
                })
                .collect();
            done = join_all(
                begun
                    .into_iter()
                    .map(|begun| apply::apply(&self.client, begun)),
            )
            .await;
        }
        if let Err(error) = mirror::write_back(&self.pool, Some(&keys)).await {
            tracing::debug!(error = %for_the_log(&error), "ids are written back by the next sweep");
        }
    }

    /// One turn, tried again while the lease lasts, so that a database that restarts loses no result.
    async fn turn(
        &self,
        claims: &[Claim],
        done: Vec<Done>,
        stop: &CancellationToken,
    ) -> Result<Vec<mirror::Begun>, DbError> {
        let until = Instant::now() + self.terms.lease / 2;
        loop {
            let more = !stop.is_cancelled();
            match mirror::turn(&self.pool, &self.terms, claims, done.clone(), more).await {
                Err(error) if error.server().is_some() && !error.is_unreachable() => {
                    return Ok(self.turn_one_by_one(claims, done, more).await);
                }
                Err(error) if Instant::now() < until && !done.is_empty() => {
                    tracing::warn!(error = %for_the_log(&error), "results could not be recorded yet");
                    tokio::time::sleep(AFTER_A_FAULT).await;
                }
                result => return result,
            }
        }
    }

    /// One user whom the database refuses must not hold up the others of the batch.
    async fn turn_one_by_one(
        &self,
        claims: &[Claim],
        done: Vec<Done>,
        more: bool,
    ) -> Vec<mirror::Begun> {
        let mut begun = Vec::new();
        for claim in claims {
            let mine = done
                .iter()
                .filter(|done| done.user_key == claim.user_key)
                .cloned()
                .collect();
            let alone = std::slice::from_ref(claim);
            match mirror::turn(&self.pool, &self.terms, alone, mine, more).await {
                Ok(calls) => begun.extend(calls),
                Err(error) => {
                    let words = error.server().map_or("", |e| e.message()).to_owned();
                    tracing::error!(user.key = %claim.user_key, error = %for_the_log(&error), "the database refuses this user's turn");
                    let _ = mirror::set_aside(&self.pool, self.terms.reactor, claim, &words).await;
                }
            }
        }
        begun
    }

    async fn sweep(&self) {
        let swept = async {
            let found = changes::sweep(&self.pool).await?;
            mirror::write_back(&self.pool, None).await?;
            changes::forget(&self.pool, self.history_keep).await?;
            reactors::note(&self.pool, self.terms.reactor, Note::Swept).await?;
            Ok::<_, DbError>(found)
        };
        match swept.await {
            Ok(0) => tracing::debug!("the sweep found nothing"),
            Ok(found) => tracing::info!(found, "the sweep found users who differ"),
            Err(error) => tracing::warn!(error = %for_the_log(&error), "the sweep failed"),
        }
    }

    async fn beat(&self) {
        let budget: Vec<_> = self
            .client
            .pace()
            .budget()
            .iter()
            .filter_map(|class| {
                Some(serde_json::json!({"class": class.class.as_str(), "limit": class.limit?, "remaining": class.remaining?}))
            })
            .collect();
        if let Err(error) =
            reactors::heartbeat(&self.pool, self.terms.reactor, &budget.into()).await
        {
            tracing::debug!(error = %for_the_log(&error), "no heartbeat");
        }
    }

    async fn say_goodbye(&self) {
        let goodbye = async {
            mirror::give_back(&self.pool, self.terms.reactor).await?;
            reactors::note(&self.pool, self.terms.reactor, Note::Stopped).await
        };
        match timeout(Duration::from_secs(5), goodbye).await {
            Ok(Ok(())) => tracing::info!("the reactor stopped; no lease is left"),
            _ => tracing::warn!(
                "the reactor stopped without the database; its leases end by themselves"
            ),
        }
    }
}

/// The tasks at work, and how many users they hold.
struct Workers {
    reactor: Arc<Reactor>,
    stop: CancellationToken,
    tasks: JoinSet<usize>,
    users: usize,
    /// The last look ended because Auth0's rate limit allows no call now.
    held_back: bool,
}

impl Workers {
    fn new(reactor: Arc<Reactor>, stop: CancellationToken) -> Self {
        Self {
            reactor,
            stop,
            tasks: JoinSet::new(),
            users: 0,
            held_back: false,
        }
    }

    fn free(&self) -> usize {
        self.reactor.workers.saturating_sub(self.users)
    }

    fn start(&mut self, claims: Vec<Claim>) {
        let (reactor, stop, users) = (self.reactor.clone(), self.stop.clone(), claims.len());
        self.users += users;
        self.tasks.spawn(async move {
            reactor.work(claims, &stop).await;
            users
        });
    }

    /// Returns when a task ended; never while there is none.
    async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(users)) => self.users -= users,
            // A panic in a task; its users' leases end by themselves.
            Some(Err(_)) => self.users = self.users.saturating_sub(BATCH),
            None => std::future::pending().await,
        }
    }

    /// Lets every call that was begun end and be recorded.
    async fn finish(&mut self) {
        let patience = self.reactor.client.longest_call() + Duration::from_secs(5);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!("some calls did not end in time; their accounts are looked at later");
        }
    }
}

/// When to look again without being woken.
#[derive(Debug, Default)]
struct Looks {
    after_a_wake: Vec<Instant>,
    then: Option<Instant>,
}

impl Looks {
    fn restart(&mut self) {
        let now = Instant::now();
        self.after_a_wake = AFTERLOOKS.iter().rev().map(|delay| now + *delay).collect();
    }

    /// Beside the looks after a wake, after this long and not as planned before.
    fn also(&mut self, delay: Option<Duration>) {
        self.then = delay.map(|delay| Instant::now() + delay);
    }

    fn next(&self) -> Option<Instant> {
        [self.after_a_wake.last().copied(), self.then]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_any(&self) -> bool {
        self.next().is_some()
    }

    fn next_or_now(&self) -> Instant {
        self.next().unwrap_or_else(Instant::now)
    }

    fn took(&mut self) -> bool {
        let now = Instant::now();
        self.after_a_wake.retain(|at| *at > now);
        if self.then.is_some_and(|at| at <= now) {
            self.then = None;
        }
        true
    }
}

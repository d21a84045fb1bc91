//! The keeper: fills the memory and keeps it true, alone.
//!
//! ```text
//! listen ─► hear your own bell ─► begin (a snapshot) ─► load beside looks ─► ready ─► look at each ring, nudge and second
//! ```
//!
//! Wanted: after a commit the next look has it, milliseconds later; whatever is lost on the way only makes the memory say nothing.
//!
//! Design: one loop owns everything that writes. A look goes on from the snapshot of the look before (`db::directory::feed`), so
//! notifications need not arrive, only be missed seldom. Each second it looks and rings a bell of its own, from the session that
//! looks: that this is heard shows that the listener is not deaf, and that both are connected to one server. A load reads everybody
//! on a third session while looks go on; where both speak of a user, the look is newer.
//!
//! Known races:
//! * A late read overwrites a newer one: looks come one after another; a load leaves alone what a look has touched since it began.
//! * A ring between load and look: LISTEN stands before the first snapshot, and the second look needs no ring.
//! * A writer that relied on another's ring (`triggers/bell.sql`): looks after [`AFTERLOOKS`], and each second.
//! * A change that concerns everybody: the memory says nothing from the look that sees it until a load that began later is over.
//! * What leaves no row behind (`Look::mapping`, `Feed::blind`) is found by the same look; what even that cannot tell, such as a view
//!   whose function was replaced, by the load that is repeated every `sweep.every`.
//! * Another server under the same name: its sessions are not these. They end, and everything begins anew.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{
    memory::{FRESH, Memory, Reason, State, now},
    table::Load,
};
use crate::{
    db::{
        connect::Endpoint,
        directory::{self, Fact, Feed, Look, News, Snapshot},
        listener::{self, Ears, Ended},
    },
    progress::Part,
    reactor::AFTERLOOKS,
    telemetry::with_causes,
};

/// Between two looks and two bells at most.
const SECOND: Duration = Duration::from_secs(1);
/// How long a bell may take before the connections are made anew.
const DEAF: Duration = Duration::from_secs(10);
/// After so long without a look, history may have been dropped meanwhile (`history.keep` is a minute at least): everything is read anew.
const ABSENCE: Duration = Duration::from_secs(30);
/// Batches of a load that may wait for the keeper.
const AHEAD: usize = 4;
/// Longer than any step takes: a look ends after 10 s, and a session may have to be made first.
pub(super) const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Keeps `memory` true until `stop`, and makes everything anew whenever something is lost.
pub(super) async fn keep(
    memory: Arc<Memory>,
    endpoint: Endpoint,
    reload_every: Duration,
    part: Part,
    stop: CancellationToken,
) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
        .without_max_times();
    let mut delays = backoff.build();
    let mut told = String::new();
    loop {
        part.step();
        // However this ends, also by a panic, nobody is told old things.
        let lost = Lost(memory.clone());
        let kept = Kept::begin(&memory, &endpoint, reload_every);
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = async {
                let kept = kept.await?;
                delays = backoff.build();
                told.clear();
                kept.on(&part).await
            } => ended,
        };
        drop(lost);
        let delay = delays.next().unwrap_or(Duration::from_secs(10));
        if let Err(error) = ended {
            let why = with_causes(&error);
            // A pooler stays one: said once.
            if why != told {
                tracing::warn!(
                    error = %why,
                    retry_ms = delay.as_millis(),
                    "the directory in memory is not told of changes any more: each request asks the database"
                );
                told = why;
            }
        }
        let until = Instant::now() + delay;
        while Instant::now() < until {
            part.step();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(until.min(Instant::now() + SECOND)) => {}
            }
        }
    }
}

struct Lost(Arc<Memory>);

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.lost();
    }
}

/// One stretch of keeping it true, on one set of connections.
struct Kept<'a> {
    memory: &'a Memory,
    endpoint: &'a Endpoint,
    reload_every: Duration,
    ears: Ears,
    feed: Feed,
    bell: Bell,
    /// Where the next look goes on from.
    cursor: Snapshot,
    mapping: String,
    /// When the last look began.
    looked_at: u64,
    loading: Option<Loading>,
    /// When everybody is to be read (again).
    load_at: Instant,
    /// Of the last one.
    load_took: Duration,
}

/// Everybody is being read.
struct Loading {
    load: Load,
    batches: mpsc::Receiver<Vec<Fact>>,
    task: AbortOnDropHandle<Result<String, Ended>>,
    began: Instant,
    /// Something that concerns everybody came meanwhile.
    overtaken: bool,
}

/// Nonces nobody can guess, so that no bell counts but one of ours; each rung at a known time.
struct Bell {
    prefix: Uuid,
    rung: Vec<(String, u64)>,
    number: u64,
}

/// What the loop waits for.
enum Event {
    Look { poll: bool },
    Batch(Option<Vec<Fact>>),
    Load,
}

impl<'a> Kept<'a> {
    async fn begin(
        memory: &'a Memory,
        endpoint: &'a Endpoint,
        reload_every: Duration,
    ) -> Result<Kept<'a>, Ended> {
        let mut ears = listener::ears(endpoint, "listen roster; listen roster_canary").await?;
        let feed = Feed::connect(endpoint).await?;
        let mut bell = Bell::new();
        feed.ring(bell.ring()).await?;
        let heard = async {
            while let Some(ring) = ears.rung.recv().await {
                if bell.heard(ring.channel(), ring.payload()).is_some() {
                    return Ok(());
                }
            }
            Err(Ended::Silent)
        };
        timeout(DEAF, heard).await.map_err(|_| Ended::Deaf)??;
        let cursor = feed.begin().await?;
        Ok(Kept {
            memory,
            endpoint,
            reload_every,
            ears,
            feed,
            bell,
            cursor,
            // No word yet, so the first look finds another one.
            mapping: String::new(),
            looked_at: now(),
            loading: None,
            load_at: Instant::now() + reload_every,
            load_took: Duration::ZERO,
        })
    }

    async fn on(mut self, part: &Part) -> Result<(), Ended> {
        self.not_ready(Reason::Loading);
        let mut second = interval(SECOND);
        let mut again: Vec<Instant> = Vec::new();
        let mut heard_at = Instant::now();
        loop {
            part.step();
            let next = again.last().copied();
            let is_loading = self.loading.is_some();
            let event = tokio::select! {
                rung = self.ears.rung.recv() => {
                    let Some(ring) = rung else {
                        return Err(Ended::Silent);
                    };
                    let mut is_news = false;
                    // One look is enough for all that rang before it.
                    for ring in std::iter::once(ring).chain(std::iter::from_fn(|| self.ears.rung.try_recv().ok())) {
                        match self.bell.heard(ring.channel(), ring.payload()) {
                            Some(rang) => {
                                heard_at = Instant::now();
                                self.memory.heard(rang);
                            }
                            None => is_news |= ring.channel() == "roster",
                        }
                    }
                    if !is_news {
                        continue;
                    }
                    let now = Instant::now();
                    again = AFTERLOOKS.iter().rev().map(|delay| now + *delay).collect();
                    Event::Look { poll: false }
                }
                _ = second.tick() => Event::Look { poll: true },
                () = self.memory.nudged() => Event::Look { poll: false },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let now = Instant::now();
                    again.retain(|at| *at > now);
                    Event::Look { poll: false }
                }
                batch = next_batch(&mut self.loading), if is_loading => Event::Batch(batch),
                () = sleep_until(self.load_at), if !is_loading => Event::Load,
            };
            match event {
                Event::Look { poll } => {
                    if heard_at.elapsed() > DEAF {
                        return Err(Ended::Deaf);
                    }
                    self.look(poll).await?;
                }
                // So that nothing in the table is newer than the snapshot that answers name.
                Event::Batch(Some(batch)) if batch.is_empty() => self.look(false).await?,
                Event::Batch(Some(batch)) => self.take_over(batch),
                Event::Batch(None) => self.loaded().await,
                Event::Load => self.load(),
            }
        }
    }

    async fn look(&mut self, ring: bool) -> Result<(), Ended> {
        let began = now();
        let look = match ring {
            false => self.feed.look(&self.cursor).await?,
            true => {
                let (look, rang) = tokio::join!(
                    self.feed.look(&self.cursor),
                    self.feed.ring(self.bell.ring())
                );
                rang?;
                look?
            }
        };
        let was_absent = Duration::from_micros(began - self.looked_at) > ABSENCE;
        self.looked_at = began;
        let is_mapped_otherwise = look.mapping != self.mapping;
        self.take(look, was_absent);
        if is_mapped_otherwise {
            self.check().await?;
        }
        self.memory.looked(began);
        Ok(())
    }

    /// Takes over what a look found, in one piece: who sees its snapshot sees all of it.
    fn take(&mut self, look: Look, was_absent: bool) {
        let mut held = self.memory.write();
        let held = &mut *held;
        let mut is_overtaken = was_absent || look.mapping != self.mapping;
        match look.news {
            News::Everybody => is_overtaken = true,
            News::Of(changes) => {
                for change in changes {
                    if let Some(loading) = &mut self.loading {
                        loading.load.touch(&change.key);
                    }
                    match change.user {
                        Some(user) => {
                            held.table.put(user);
                        }
                        None => held.table.remove(&change.key),
                    }
                }
            }
        }
        if is_overtaken {
            if held.state == State::Ready {
                held.state = State::Not(Reason::Reloading);
            }
            match &mut self.loading {
                Some(loading) => loading.overtaken = true,
                // Half of the time at most is spent on reading everybody.
                None => self.load_at = self.load_at.min(Instant::now() + self.load_took),
            }
        }
        if held.state == State::Ready {
            held.snapshot = Some(look.snapshot.clone());
        }
        self.cursor = look.snapshot;
        self.mapping = look.mapping;
    }

    /// Users come out of tables in another way than before: can their changes still be seen?
    async fn check(&mut self) -> Result<(), Ended> {
        let blind = self.feed.blind().await?;
        if blind.is_empty() {
            let mut held = self.memory.write();
            if held.state == State::Not(Reason::Blind) {
                held.state = State::Not(Reason::Reloading);
            }
            return Ok(());
        }
        self.not_ready(Reason::Blind);
        tracing::warn!(
            reasons = blind.join("; "),
            "changes of users could go unnoticed, so each request asks the database; see authz.directory"
        );
        Ok(())
    }

    fn not_ready(&mut self, reason: Reason) {
        self.memory.write().state = State::Not(reason);
    }

    fn load(&mut self) {
        self.load_at = Instant::now() + self.reload_every;
        if self.memory.write().state == State::Not(Reason::Blind) {
            return;
        }
        let (sender, batches) = mpsc::channel(AHEAD);
        let (endpoint, server) = (self.endpoint.clone(), self.feed.server().to_owned());
        let task = async move { directory::load(&endpoint, &server, sender).await };
        self.loading = Some(Loading {
            load: Load::default(),
            batches,
            task: AbortOnDropHandle::new(tokio::spawn(task)),
            began: Instant::now(),
            overtaken: false,
        });
    }

    fn take_over(&mut self, batch: Vec<Fact>) {
        let Some(loading) = &mut self.loading else {
            return;
        };
        let mut held = self.memory.write();
        for fact in batch {
            held.table.put_loaded(&mut loading.load, fact);
        }
    }

    /// Everybody was read, or that failed.
    async fn loaded(&mut self) {
        let Some(loading) = self.loading.take() else {
            return;
        };
        self.load_took = loading.began.elapsed();
        match loading.task.await {
            Ok(Ok(mapping)) => {
                let mut held = self.memory.write();
                held.table.finish(&loading.load);
                if loading.overtaken || mapping != self.mapping {
                    self.load_at = Instant::now() + self.load_took;
                } else if held.state != State::Not(Reason::Blind) {
                    if held.state != State::Ready {
                        tracing::info!(
                            users = held.table.len(),
                            duration_ms = self.load_took.as_millis(),
                            "the directory is in memory"
                        );
                    }
                    held.state = State::Ready;
                    // All that the last look saw, and perhaps more.
                    held.snapshot = Some(self.cursor.clone());
                    self.memory.became_ready();
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %with_causes(&error), "the directory could not be read into memory");
                self.load_at = Instant::now() + SECOND.max(self.load_took);
            }
            Err(error) => {
                tracing::error!(error = %error, "reading the directory was broken off");
                self.load_at = Instant::now() + SECOND;
            }
        }
    }
}

async fn next_batch(loading: &mut Option<Loading>) -> Option<Vec<Fact>> {
    match loading {
        Some(loading) => loading.batches.recv().await,
        None => None,
    }
}

impl Bell {
    fn new() -> Self {
        Self {
            prefix: Uuid::new_v4(),
            rung: Vec::new(),
            number: 0,
        }
    }

    /// The next nonce, as rung now.
    fn ring(&mut self) -> &str {
        let now = now();
        let late = u64::try_from((FRESH * 2).as_micros()).unwrap_or(u64::MAX);
        self.rung.retain(|(_, rang)| rang + late > now);
        self.number += 1;
        self.rung
            .push((format!("{}-{}", self.prefix, self.number), now));
        &self.rung.last().expect("just rung").0
    }

    /// When that bell was rung, if it is one of ours.
    fn heard(&mut self, channel: &str, nonce: &str) -> Option<u64> {
        let ours = |(rung, _): &(String, u64)| rung == nonce;
        let place = self.rung.iter().position(ours);
        let place = place.filter(|_| channel == "roster_canary")?;
        Some(self.rung.remove(place).1)
    }
}

//! The reactor: woken, it folds what changed, claims who is due, and carries out the plan on Auth0.
//!
//! ```text
//! listen ──► look: fold ► claim ─► work: turn (plan, begin) ► call ► turn (record, plan, begin) … ► let go
//! ```
//!
//! Wanted: every committed change reaches Auth0 once, soon, removals first; nothing is lost or doubled when a process dies
//! between any two steps; an orderly stop leaves no call cut and no lease behind.
//!
//! Design: level-triggered. A wake only says "look"; what is to be done is read from `roster.plan` when it is about to be
//! done. One loop owns the waiting: it listens, looks, then waits for the next ring, the next poll, the next retry or for
//! somebody to be let go. `work` owns the users that were claimed; while Auth0 is called, nothing is open in the database.
//!
//! Known races:
//! * A writer that relied on another's ring (`triggers/bell.sql`) commits a moment after the look: each wake is followed by looks
//!   after [`AFTERLOOKS`]; the poll is the bound.
//! * A result that cannot be recorded because the database went away: tried again until it can; if another reactor has taken the
//!   user over by then, or this one is stopped, the call counts as unanswered and the account is looked at.

pub mod apply;
mod first_load;
mod looks;
#[cfg(test)]
mod model;
pub mod outcome;
pub mod plan;
mod work;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, interval, interval_at, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{apply::call_deadline, first_load::Imports, looks::AFTERLOOKS};
use self::{
    looks::{Look, Looks},
    work::Work,
};
use crate::{
    auth0::{Class, Client},
    db::{
        DbError, changes,
        connect::Endpoint,
        heartbeat,
        listener::{self, Heard},
        mirror::{self, Terms},
        pool::Pool,
        reactors::{self, Fallback, Note, Settings},
        write_back,
    },
    progress::{self, Part, Progress},
    telemetry::with_causes,
};

/// How long to leave a database alone that just failed.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);
/// Users at work until Auth0's first answer, which tells the rate limit: the smallest plan grants two calls at once.
const FIRST_CALLS: usize = 2;
/// Longer than any statement of the loop takes: sessions end each after half a minute, and one may have to be made first.
const LONGEST_STEP: Duration = Duration::from_secs(90);
/// What the results of the last calls may take at a stop.
const FOR_THE_RECORD: Duration = Duration::from_secs(5);
/// What the last word to the database may take.
const GOODBYE: Duration = Duration::from_secs(5);

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
    /// When to look again after a wake, shortest wait first: [`AFTERLOOKS`].
    pub afterlooks: &'static [Duration],
    /// How often everybody is looked at.
    pub sweep_every: Duration,
    /// How long history is kept.
    pub history_keep: Duration,
    /// Calls to Auth0 under way at a time.
    pub workers: usize,
    /// Whether many new users may go by import jobs.
    pub imports: Imports,
    /// Where its parts tell that they get on.
    pub progress: Progress,
}

impl Reactor {
    /// Runs until `stop`, once it is [registered](Reactor::register); listens on `endpoint`, which must not go through a transaction
    /// pooler. Ends within [`Reactor::longest_stop`] after that. Faults are logged and waited out.
    pub async fn run(self, endpoint: Endpoint, stop: CancellationToken) {
        let part = self.progress.part("reactor", LONGEST_STEP);
        let listener_part = self
            .progress
            .part("listener", endpoint.deadline() + listener::LONGEST_STEP);
        let reactor = Arc::new(self);
        let (heard, mut hears) = mpsc::channel(16);
        let listening = listener::listen(endpoint.clone(), heard, listener_part, stop.clone());
        let listening = AbortOnDropHandle::new(tokio::spawn(listening));
        // It goes on while the last calls end: until then the leases are to count.
        let beating = AbortOnDropHandle::new(tokio::spawn(reactor.clone().beat(endpoint)));
        let work = Work::start(reactor.clone(), stop.clone());
        let loaded = Arc::new(Notify::new());
        let loading = first_load::run(reactor.clone(), loaded.clone(), stop.clone());
        let loading = AbortOnDropHandle::new(tokio::spawn(loading));
        let mut held_back = false;
        let mut poll = interval(reactor.poll_interval);
        let mut sweep = interval_at(Instant::now() + reactor.sweep_every, reactor.sweep_every);
        let mut idle = interval(progress::TICK);
        let mut looks = Looks::default();
        loop {
            part.step();
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                heard = hears.recv() => match heard {
                    Some(heard) => Event::Heard(heard),
                    None => break,
                },
                () = sleep_until(looks.next_or_now()), if looks.is_any() => Event::Look(looks.took()),
                () = work.let_go() => Event::Look(Look::ForRoom),
                () = loaded.notified() => Event::Look(Look::ForRoom),
                () = reactor.client.pace().ready(Class::WriteUsers), if held_back => Event::Look(Look::ForRoom),
                _ = poll.tick() => Event::Look(Look::ForChanges),
                _ = sweep.tick() => Event::Sweep,
                _ = idle.tick() => continue,
            };
            let handled = async {
                let look = match event {
                    Event::Heard(heard) => reactor.hear(heard, &mut looks).await,
                    Event::Look(look) => Some(look),
                    Event::Sweep => {
                        reactor.sweep(&part).await;
                        Some(Look::ForChanges)
                    }
                };
                match look {
                    Some(look) => reactor.look(look, &work, &part).await.map(Some),
                    None => Ok(None),
                }
            };
            let handled = tokio::select! {
                () = stop.cancelled() => break,
                handled = handled => handled,
            };
            match handled {
                Ok(None) => {}
                Ok(Some(Looked {
                    held_back: later,
                    next,
                })) => {
                    held_back = later;
                    looks.also(next);
                }
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "the database could not be looked at");
                    looks.also(Some(AFTER_A_FAULT));
                }
            }
        }
        drop((part, hears));
        work.finish(reactor.terms.call_deadline + FOR_THE_RECORD)
            .await;
        drop((listening, beating, loading));
        reactor.say_goodbye().await;
    }

    /// The longest that an orderly stop takes: for the calls under way, for their results, and for a last word to the database.
    pub fn longest_stop(&self) -> Duration {
        self.terms.call_deadline + FOR_THE_RECORD + GOODBYE
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
        let work = Work::start(Arc::new(self.clone()), CancellationToken::new());
        loop {
            reactors::heartbeat(&self.pool, self.terms.reactor, &self.budget()).await?;
            while changes::fold(&self.pool).await?.changes > 0 {}
            let claims = mirror::claim(&self.pool, &self.terms, work.room(), &[]).await?;
            if claims.is_empty() {
                return Ok(());
            }
            work.take(claims);
            work.idle().await;
        }
    }

    async fn hear(&self, heard: Heard, looks: &mut Looks) -> Option<Look> {
        let note = match heard {
            Heard::Rang => {
                looks.restart(self.afterlooks);
                return Some(Look::ForChanges);
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
            Heard::Lost => return None,
        };
        if let Err(error) = self.note(note).await {
            tracing::debug!(error = %with_causes(&error), "a note could not be written");
        }
        (heard == Heard::Listening).then_some(Look::ForChanges)
    }

    async fn note(&self, note: Note) -> Result<(), DbError> {
        if !reactors::note(&self.pool, self.terms.reactor, note).await? {
            tracing::warn!(
                "the database does not know this reactor: a failover? it registers again"
            );
            self.register().await?;
            reactors::note(&self.pool, self.terms.reactor, note).await?;
        }
        Ok(())
    }

    /// Folds what is new, where that is looked for, and claims as many users as there is room for.
    async fn look(&self, look: Look, work: &Work, part: &Part) -> Result<Looked, DbError> {
        if look == Look::ForChanges {
            self.fold(part).await?;
        }
        let room = work.room();
        if room == 0 {
            // Whoever is let go next brings the next look.
            return Ok(Looked::default());
        }
        let allowed = self.client.pace().available(Class::WriteUsers) as usize;
        if allowed == 0 {
            return Ok(Looked {
                held_back: true,
                next: None,
            });
        }
        let limit = room.min(self.places(allowed, work.users()));
        if limit == 0 {
            return Ok(Looked::default());
        }
        let claims = mirror::claim(&self.pool, &self.terms, limit, &work.at_work()).await?;
        let there_may_be_more = claims.len() == limit;
        work.take(claims);
        Ok(Looked {
            held_back: false,
            next: match there_may_be_more {
                true => None,
                false => mirror::next_due(&self.pool).await?,
            },
        })
    }

    /// How many users may be claimed for `allowed` calls when so many are at work: none who would only wait for the rate limit, since
    /// whoever comes first by then, such as a removal, would wait behind them.
    fn places(&self, allowed: usize, at_work: usize) -> usize {
        let pace = self.client.pace();
        if !pace.is_tried() {
            return FIRST_CALLS.saturating_sub(at_work);
        }
        let without_a_turn = at_work.saturating_sub(pace.under_way() as usize);
        allowed.saturating_sub(without_a_turn)
    }

    async fn fold(&self, part: &Part) -> Result<(), DbError> {
        loop {
            part.step();
            let folded = changes::fold(&self.pool).await?;
            if folded.looked_at_everybody {
                self.note(Note::Swept).await?;
            }
            if !folded.more {
                return Ok(());
            }
        }
    }

    async fn sweep(&self, part: &Part) {
        let swept = async {
            let found = changes::sweep(&self.pool).await?;
            part.step();
            write_back::write_back(&self.pool, None).await?;
            part.step();
            changes::forget(&self.pool, self.history_keep).await?;
            part.step();
            self.note(Note::Swept).await?;
            Ok::<_, DbError>(found)
        };
        match swept.await {
            Ok(0) => tracing::debug!("the sweep found nothing"),
            Ok(found) => tracing::info!(found, "the sweep found users who differ"),
            Err(error) => tracing::warn!(error = %with_causes(&error), "the sweep failed"),
        }
    }

    /// Shows the others that this reactor is there, while every part of the process gets on.
    async fn beat(self: Arc<Self>, endpoint: Endpoint) {
        let budget = || match self.progress.stuck() {
            None => Some(self.budget()),
            Some(part) => {
                tracing::error!(part, "a part of this process hangs: no heartbeat");
                None
            }
        };
        // Ended by whoever started it.
        heartbeat::beat(
            endpoint,
            self.terms.reactor,
            budget,
            CancellationToken::new(),
        )
        .await;
    }

    /// What is left of Auth0's rate limits.
    fn budget(&self) -> serde_json::Value {
        let classes = self.client.pace().budget();
        let known = classes.iter().filter_map(|class| {
            Some(serde_json::json!({
                "class": class.class.as_str(), "limit": class.limit?, "remaining": class.remaining?, "per_second": class.per_second?,
            }))
        });
        known.collect()
    }

    async fn say_goodbye(&self) {
        let goodbye = async {
            mirror::give_back(&self.pool, self.terms.reactor).await?;
            reactors::note(&self.pool, self.terms.reactor, Note::Stopped).await
        };
        match timeout(GOODBYE, goodbye).await {
            Ok(Ok(_)) => tracing::info!("the reactor stopped; no lease is left"),
            _ => tracing::warn!(
                "the reactor stopped without the database; its leases end by themselves"
            ),
        }
    }
}

/// What the loop waits for.
#[derive(Debug, Clone, Copy)]
enum Event {
    Heard(Heard),
    Look(Look),
    Sweep,
}

/// What a look came to.
#[derive(Debug, Default)]
struct Looked {
    /// Auth0's rate limit allows no call now.
    held_back: bool,
    /// When the next user is due, if that is known.
    next: Option<Duration>,
}

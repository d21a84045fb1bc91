//! Who is this: what every endpoint asks, however the answer is had.
//!
//! Promises: whatever is answered is what `db::directory::find` says or said: now, in the usual case; at most [`memory::FRESH`] ago,
//! whatever is lost on the way; at most `authz.max_stale` ago, while the database cannot be asked at all.
//!
//! The memory knows users by account alone, and only what it is sure of: an unknown account, a match by address, a conflict, a person
//! whose address is just changing are the database's to judge. So what memory does not know yet is never a refusal.

mod flights;
mod keeper;
mod memory;
mod packed;
mod table;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::memory::Reason;
use self::{flights::Flights, memory::Memory};
use super::{metrics::Counts, rejection::Refusal};
use crate::{
    config::DirectoryMode,
    db::{
        connect::Endpoint,
        directory::{self, Answer, DirectoryError, Reached, Revision},
        pool::Pool,
    },
    progress::Progress,
    user::{Auth0UserId, UserKey},
};

/// How long a request waits for the revision it asks for. By contract; a commit that takes longer is asked for again.
const REVISION_WAIT: Duration = Duration::from_millis(250);
/// Between two looks at whether it is there.
const REVISION_POLL: Duration = Duration::from_millis(10);
/// After the database could not be asked, it is not asked again for so long where an old answer is allowed.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);

/// What an answer must not be older than. Made by [`Directory::await_revision`] alone, so that it can be seen by now.
#[derive(Debug, Clone, Default)]
#[must_use = "an answer that does not know of it may be older"]
pub(super) struct AtLeast(Option<Revision>);

/// Where an answer is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Memory,
    /// From memory, while the database could not be asked.
    Stale,
    Database,
}

impl Source {
    /// The word that stands in the decision log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Stale => "stale",
            Self::Database => "database",
        }
    }
}

/// How the memory stands, for metrics and `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Users in memory.
    pub users: usize,
    /// Since the last look at the database began. None before the first.
    pub age: Option<Duration>,
    /// Since the bell rang that was last heard. None before the first.
    pub canary_age: Option<Duration>,
    /// Why each request asks the database; none while memory answers.
    pub reads_through: Option<Reason>,
    /// While the database cannot be asked, what it holds may be told (`authz.max_stale`).
    pub tells_old: bool,
}

/// The users, as of now.
pub(super) struct Directory {
    pool: Pool,
    counts: Counts,
    /// None in the mode `read_through`.
    memory: Option<Arc<Memory>>,
    flights: Flights,
    max_stale: Duration,
    /// When the database could last not be asked, in microseconds; 0 is never.
    failed_at: AtomicU64,
}

impl Directory {
    /// Nothing is asked yet. Memory stays empty, and the database is asked, until [`Directory::keep`] runs.
    pub(super) fn new(
        pool: Pool,
        mode: DirectoryMode,
        max_stale: Duration,
        counts: Counts,
    ) -> Self {
        Self {
            flights: Flights::new(pool.clone(), pool.max_size() / 2),
            pool,
            counts,
            memory: (mode == DirectoryMode::Memory).then(Arc::default),
            max_stale,
            failed_at: AtomicU64::new(0),
        }
    }

    /// Keeps the memory true until `stop`, by way of `endpoint`, which must not go through a transaction pooler.
    pub(super) async fn keep(
        &self,
        endpoint: Endpoint,
        reload_every: Duration,
        progress: &Progress,
        stop: CancellationToken,
    ) {
        if let Some(memory) = self.memory.clone() {
            let longest = endpoint.deadline() + keeper::LONGEST_STEP;
            let part = progress.part("directory", longest);
            keeper::keep(memory, endpoint, reload_every, part, stop).await;
        }
    }

    /// How the memory stands; none in the mode `read_through`.
    pub(super) fn standing(&self) -> Option<Standing> {
        let memory = self.memory.as_deref()?;
        let (age, canary_age) = memory.ages();
        Some(Standing {
            users: memory.users(),
            age,
            canary_age,
            reads_through: memory.why_not(),
            tells_old: memory.tells_old(self.max_stale),
        })
    }

    /// Waits until what the caller has written, or has seen elsewhere, can be seen.
    ///
    /// # Errors
    /// [`Refusal::RevisionUnknown`], [`Refusal::RevisionNotReached`], [`Refusal::Directory`].
    pub(super) async fn await_revision(
        &self,
        wanted: Option<Revision>,
    ) -> Result<AtLeast, Refusal> {
        let Some(wanted) = wanted else {
            return Ok(AtLeast::default());
        };
        let deadline = Instant::now() + REVISION_WAIT;
        if let Some(memory) = &self.memory
            && memory.awaits(&wanted, REVISION_WAIT).await
        {
            return Ok(AtLeast(Some(wanted)));
        }
        loop {
            match directory::reached(&self.pool, &wanted).await? {
                Reached::Yes => return Ok(AtLeast(Some(wanted))),
                Reached::Unknown => return Err(Refusal::RevisionUnknown),
                Reached::NotYet if Instant::now() >= deadline => {
                    return Err(Refusal::RevisionNotReached);
                }
                Reached::NotYet => tokio::time::sleep(REVISION_POLL).await,
            }
        }
    }

    /// Finds the user whom `subject` belongs to, or else the one who has `email`; as [`directory::find`] would.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(super) async fn find(
        &self,
        subject: &Auth0UserId,
        email: Option<&str>,
        at_least: &AtLeast,
    ) -> Result<(Answer, Source), DirectoryError> {
        let Some(memory) = &self.memory else {
            let answer = directory::find(&self.pool, subject, email).await?;
            return Ok((answer, Source::Database));
        };
        let at_least = at_least.0.as_ref();
        match memory.find(subject.as_str(), at_least) {
            Ok(answer) => {
                self.counts.answered_from_memory();
                return Ok((answer, Source::Memory));
            }
            Err(reason) => self.counts.read_through(reason),
        }
        let stale = || memory.find_stale(subject.as_str(), at_least, self.max_stale);
        let has_just_failed = self.failed_at.load(Relaxed) > 0
            && memory::now().saturating_sub(self.failed_at.load(Relaxed))
                < AFTER_A_FAULT.as_micros() as u64;
        if has_just_failed && let Ok(answer) = stale() {
            self.counts.answered_stale();
            return Ok((answer, Source::Stale));
        }
        match self.flights.find(subject, email).await {
            Ok(answer) => Ok((answer, Source::Database)),
            Err(error) => {
                self.failed_at.store(memory::now(), Relaxed);
                let answer = stale().map_err(|_| error)?;
                self.counts.answered_stale();
                Ok((answer, Source::Stale))
            }
        }
    }

    /// As [`directory::follow`].
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(super) async fn follow(
        &self,
        key: &UserKey,
        subject: &Auth0UserId,
        email: &str,
    ) -> Result<(), DirectoryError> {
        directory::follow(&self.pool, key, subject, email).await
    }
}

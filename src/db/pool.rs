//! Sessions to work on, lent for one piece of work at a time.
//!
//! Promises: every piece of work has an end on our side of the wire, since a server that is gone without a word ends none
//! ([`QUICK`], [`LONG`]); a session whose work did not end well is never lent again, and the idle ones beside it are let go with it,
//! since what struck one has most likely struck all: a server that stopped, that fell silent, that became a standby. A session is made to
//! its end also where whoever asked for it gives up sooner, so that the next one finds it: where the first of several hosts is gone
//! without a word, making one takes longer than a look-up waits.
//!
//! Behind a transaction pooler ([`Pool::behind_a_pooler`]) nothing may outlast a transaction, for the next one may have another server,
//! and this one serves other people. So each piece of work is one transaction there, with our settings in force until its end, and
//! it takes its prepared statements along. That costs a plan each time, and needs nothing of the pooler: any PgBouncer will do.
//!
//! What it does not do: try again. Whoever works knows what may be repeated.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, PoolError, Transaction};
use futures_util::poll;
use tokio::time::timeout;

use super::{
    DbError,
    connect::{SESSION_SETTINGS, says_that_statements_are_gone},
};

/// For a few statements on some users. As long as `tcp_user_timeout`: what is slower than that is an outage.
pub const QUICK: Duration = Duration::from_secs(20);
/// For statements about everybody: longer than the server's own `statement_timeout`, which says what was slow.
pub const LONG: Duration = Duration::from_secs(35);

/// Sessions with one database. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Pool {
    sessions: deadpool_postgres::Pool,
    behind_a_pooler: Arc<AtomicBool>,
}

impl Pool {
    pub(super) fn new(sessions: deadpool_postgres::Pool, behind_a_pooler: bool) -> Self {
        Self {
            sessions,
            behind_a_pooler: Arc::new(AtomicBool::new(behind_a_pooler)),
        }
    }

    /// Whether each piece of work is one transaction, because a pooler hands out servers by transaction.
    pub fn behind_a_pooler(&self) -> bool {
        self.behind_a_pooler.load(Ordering::Relaxed)
    }

    /// How many sessions there are at most.
    pub fn max_size(&self) -> usize {
        self.sessions.status().max_size
    }

    /// Does `work` on a session, within `limit` once there is one. What it does in several statements is several transactions,
    /// unless a pooler makes one of it: it must be right either way.
    ///
    /// # Errors
    /// [`DbError`]; after [`DbError::TimedOut`] and a lost connection it is not known whether the work was done.
    pub async fn on<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&Object) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let session = self.lend().await?;
        self.work_on(session, limit, work).await
    }

    /// As [`Pool::on`], where the wait for a session counts too.
    ///
    /// # Errors
    /// [`DbError`], after at most `limit`.
    pub async fn soon<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&Object) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let begin = Instant::now();
        match timeout(limit, self.lend()).await {
            Ok(session) => {
                let left = limit.saturating_sub(begin.elapsed());
                self.work_on(session?, left, work).await
            }
            // Those that were there before may be why; one that was made since is for the next.
            Err(_) => {
                self.forget(begin);
                Err(DbError::TimedOut { limit })
            }
        }
    }

    async fn work_on<T>(
        &self,
        session: Lent,
        limit: Duration,
        work: impl AsyncFnOnce(&Object) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let pooled = self.behind_a_pooler();
        let result = timeout(limit, async {
            if !pooled {
                return work(&session).await;
            }
            session.batch_execute(&format!("begin; {}", *LOCAL)).await?;
            let result = work(&session).await;
            session.statement_cache.clear();
            let end = if result.is_ok() { "commit" } else { "rollback" };
            session.batch_execute(end).await?;
            result
        });
        let result = result.await;
        self.take_back(session, result, limit)
    }

    /// Does `work` in one transaction, within `limit` once there is a session; commits it if the work ends well.
    ///
    /// # Errors
    /// [`DbError`], as [`Pool::on`].
    pub async fn transaction<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let mut session = self.lend().await?;
        let pooled = self.behind_a_pooler();
        let result = timeout(limit, async {
            let tx = session.transaction().await?;
            if pooled {
                tx.batch_execute(&LOCAL).await?;
            }
            let result = work(&tx).await;
            if pooled {
                tx.statement_cache.clear();
            }
            match result {
                Ok(_) => tx.commit().await?,
                Err(_) => tx.rollback().await?,
            }
            result
        });
        let result = result.await;
        self.take_back(session, result, limit)
    }

    async fn lend(&self) -> Result<Lent, DbError> {
        let sessions = self.sessions.clone();
        let mut lent = Box::pin(async move { sessions.get().await });
        let at_once = poll!(lent.as_mut());
        let lent = match at_once {
            Poll::Ready(lent) => Ok(lent),
            // Goes on by itself if this is dropped; the pool's own limits end it.
            Poll::Pending => tokio::spawn(lent).await,
        };
        match lent {
            Ok(Ok(session)) => Ok(Lent(Some(session))),
            Ok(Err(error)) => {
                if matches!(error, PoolError::Timeout(_)) {
                    self.forget(Instant::now());
                }
                Err(error.into())
            }
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is at its end, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn take_back<T>(
        &self,
        session: Lent,
        result: Result<Result<T, DbError>, tokio::time::error::Elapsed>,
        limit: Duration,
    ) -> Result<T, DbError> {
        let result = result.unwrap_or(Err(DbError::TimedOut { limit }));
        match &result {
            Err(error) if error.is_unreachable() => {
                if error.server().is_some_and(says_that_statements_are_gone)
                    && !self.behind_a_pooler.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!(
                        "prepared statements get lost: a transaction pooler? from now on each piece of work is one transaction"
                    );
                }
                drop(session);
                self.forget(Instant::now());
            }
            _ => session.ended_well(),
        }
        result
    }

    /// Lets go of every idle session that was made before then; who works keeps theirs.
    fn forget(&self, then: Instant) {
        self.sessions.retain(|_, metrics| metrics.created > then);
    }
}

/// Begins a piece of work behind a pooler. The settings are gone with the transaction.
static LOCAL: LazyLock<String> = LazyLock::new(|| SESSION_SETTINGS.replace("set ", "set local "));

/// A session at work. Dropped without [`Lent::ended_well`], such as when the work is broken off half-way, it is not lent again.
struct Lent(Option<Object>);

impl Lent {
    fn ended_well(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Lent {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.0.as_ref().expect("it is there until it is given back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Object {
        self.0.as_mut().expect("it is there until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            drop(Object::take(session));
        }
    }
}

//! Asking the database for many who want the same.
//!
//! Promises: at most so many look-ups are under way at a time, so that a flood of unknown accounts leaves sessions to others; and one
//! account has one look-up under way and one that waits. Who comes while it waits shares it: it begins later than they asked, so
//! none of them gets an answer older than the question. Nobody joins one that has begun.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    db::{
        directory::{self, Answer, DEADLINE, DirectoryError},
        pool::Pool,
    },
    user::Auth0UserId,
};

type Asked = (Auth0UserId, Option<String>);
type Flight = BoxFuture<'static, Result<Answer, Arc<DirectoryError>>>;

/// Waiting look-ups that are remembered before those that nobody waits for any more are forgotten.
const CROWD: usize = 1024;

pub(super) struct Flights {
    pool: Pool,
    places: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<Asked, WeakShared<Flight>>>>,
}

impl Flights {
    /// So many at a time.
    pub(super) fn new(pool: Pool, places: usize) -> Self {
        Self {
            pool,
            places: Arc::new(Semaphore::new(places.max(1))),
            waiting: Arc::default(),
        }
    }

    /// As [`directory::find`].
    ///
    /// # Errors
    /// [`DirectoryError`], after at most twice [`DEADLINE`].
    pub(super) async fn find(
        &self,
        subject: &Auth0UserId,
        email: Option<&str>,
    ) -> Result<Answer, DirectoryError> {
        let asked = (subject.clone(), email.map(str::to_owned));
        self.join(asked).await.map_err(DirectoryError::Shared)
    }

    fn join(&self, asked: Asked) -> Shared<Flight> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = waiting.get(&asked).and_then(WeakShared::upgrade) {
            return flight;
        }
        if waiting.len() >= CROWD {
            waiting.retain(|_, flight| flight.upgrade().is_some());
        }
        let (pool, places, others) = (self.pool.clone(), self.places.clone(), self.waiting.clone());
        let this = asked.clone();
        let flight = async move {
            let place = timeout(DEADLINE, places.acquire()).await;
            // From here on nobody joins: the question is about to be asked.
            others
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&this);
            let Ok(_place) = place else {
                return Err(Arc::new(DirectoryError::TimedOut));
            };
            directory::find(&pool, &this.0, this.1.as_deref())
                .await
                .map_err(Arc::new)
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            waiting.insert(asked, weak);
        }
        flight
    }
}

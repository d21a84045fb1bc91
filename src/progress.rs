//! Progress: whether every part of this process still gets on with its work, or waits for some in good health.
//!
//! Wanted: a process with a part that hangs is told from one that has nothing to do. Its heartbeat in the database stops then, so that
//! other reactors take its users over, and so does what systemd's watchdog is fed with, so that it is started anew.
//!
//! Design: a part says [`Part::step`] whenever a piece of its work is done, and each [`TICK`] while there is none. One that has said
//! nothing for its patience, which is longer than any of its pieces may take, is stuck. A part that is dropped has ended and is asked
//! for nothing more; one that is dropped by a panic counts as stuck for ever.
//!
//! It mends nothing, and does not know what a part does.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How often an idle part says that it is there.
pub const TICK: Duration = Duration::from_secs(1);

/// All parts of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    parts: Mutex<Vec<State>>,
    begun: Notify,
}

/// What is known of a part.
#[derive(Debug, Clone, Copy)]
struct State {
    name: &'static str,
    patience: Duration,
    stepped_at: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Begun,
    Ended,
    Panicked,
}

/// One part's way to tell that it gets on.
#[derive(Debug)]
pub struct Part {
    progress: Progress,
    place: usize,
}

impl Progress {
    /// A part that is about to start. Within `patience` from now, and then from each step, it is to make the next one.
    pub fn part(&self, name: &'static str, patience: Duration) -> Part {
        let mut parts = self.lock();
        parts.push(State {
            name,
            patience,
            stepped_at: Instant::now(),
            stage: Stage::Starting,
        });
        Part {
            progress: self.clone(),
            place: parts.len() - 1,
        }
    }

    /// A part that has not made its next step in time.
    pub fn stuck(&self) -> Option<&'static str> {
        let parts = self.lock();
        let stuck = parts.iter().find(|part| match part.stage {
            Stage::Starting | Stage::Begun => part.stepped_at.elapsed() > part.patience,
            Stage::Ended => false,
            Stage::Panicked => true,
        });
        stuck.map(|part| part.name)
    }

    /// Returns once every part that was made so far has made its first step.
    pub async fn begun(&self) {
        loop {
            let mut changed = std::pin::pin!(self.0.begun.notified());
            // Registered before the look, so that a step between look and wait is not missed.
            changed.as_mut().enable();
            if self.lock().iter().all(|part| part.stage != Stage::Starting) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, place: usize, stage: Stage) {
        let mut parts = self.lock();
        let part = &mut parts[place];
        part.stepped_at = Instant::now();
        let is_first = part.stage == Stage::Starting;
        part.stage = stage;
        drop(parts);
        if is_first {
            self.0.begun.notify_waiters();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter()).finish()
    }
}

impl Part {
    /// A piece of work is done, or there is none.
    pub fn step(&self) {
        self.progress.note(self.place, Stage::Begun);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let stage = match std::thread::panicking() {
            true => Stage::Panicked,
            false => Stage::Ended,
        };
        self.progress.note(self.place, stage);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_part_is_stuck_once_its_patience_is_over_and_not_before() {
        let progress = Progress::default();
        let part = progress.part("loop", MINUTE);
        for _ in 0..3 {
            advance(MINUTE).await;
            assert_eq!(progress.stuck(), None);
            part.step();
        }
        advance(MINUTE + TICK).await;
        assert_eq!(progress.stuck(), Some("loop"));
        part.step();
        assert_eq!(progress.stuck(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_part_that_gets_on_does_not_hide_another_that_hangs() {
        let progress = Progress::default();
        let (_hangs, works) = (progress.part("work", MINUTE), progress.part("loop", MINUTE));
        advance(MINUTE + TICK).await;
        works.step();
        assert_eq!(progress.stuck(), Some("work"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ended_is_asked_for_nothing_and_one_that_panicked_is_missed() {
        let progress = Progress::default();
        drop(progress.part("server", MINUTE));
        advance(MINUTE + TICK).await;
        assert_eq!(progress.stuck(), None);
        let part = progress.part("work", MINUTE);
        let panicked = tokio::spawn(async move {
            let _part = part;
            panic!("as a test");
        });
        assert!(panicked.await.is_err());
        assert_eq!(progress.stuck(), Some("work"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_has_begun_once_each_part_has() {
        let progress = Progress::default();
        let (one, two) = (progress.part("loop", MINUTE), progress.part("work", MINUTE));
        one.step();
        let wait = tokio::time::timeout(TICK, progress.begun());
        assert!(wait.await.is_err(), "one of them has not");
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.begun().await }
        });
        tokio::task::yield_now().await;
        two.step();
        waiting.await.expect("begun");
    }
}

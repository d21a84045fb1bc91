//! What a supervisor such as systemd is told (`sd_notify(3)`, <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>):
//! that the service is ready, that it stops, and as long as every part gets on that it is alive.
//!
//! The watchdog is fed by progress and not by a timer alone: a part that hangs ends it, and the supervisor starts the process anew. So
//! does a process that does not get to run at all. Where nobody supervises (no `NOTIFY_SOCKET`), nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;

/// Where the watchdog's limit is not told, nobody watches; the parts are looked at all the same, for the log.
const UNWATCHED: Duration = Duration::from_secs(30);

/// Tells the supervisor how the service fares, from the moment it is ready on; never returns after that.
pub async fn supervise<T>(
    progress: Progress,
    ready: oneshot::Receiver<T>,
    stop: CancellationToken,
) {
    if ready.await.is_ok() {
        // Three words in a limit, so that one may be late.
        let every = sd_notify::watchdog_enabled().unwrap_or(UNWATCHED) / 3;
        report(progress, every, stop, tell).await;
    }
}

async fn report(
    progress: Progress,
    every: Duration,
    stop: CancellationToken,
    tell: impl Fn(NotifyState<'static>),
) {
    tell(NotifyState::Ready);
    let mut feed = interval(every.max(Duration::from_millis(1)));
    feed.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_to_stop = false;
    loop {
        tokio::select! {
            () = stop.cancelled(), if !told_to_stop => {
                told_to_stop = true;
                tell(NotifyState::Stopping);
            }
            _ = feed.tick() => match progress.stuck() {
                None => tell(NotifyState::Watchdog),
                Some(part) => tracing::error!(part, "a part of this process hangs: the watchdog is not fed"),
            },
        }
    }
}

fn tell(state: NotifyState<'static>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %error, "the supervisor could not be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::sleep;

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    /// What is told from now on, in order.
    fn told(progress: &Progress, stop: &CancellationToken) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (words, progress, stop) = (told.clone(), progress.clone(), stop.clone());
        tokio::spawn(report(progress, EVERY, stop, move |state| {
            words.lock().expect("a list").push(state.to_string());
        }));
        told
    }

    fn count(told: &Mutex<Vec<String>>, word: &str) -> usize {
        let told = told.lock().expect("a list");
        told.iter().filter(|said| *said == word).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_is_not_covered_by_the_timer() {
        let progress = Progress::default();
        let part = progress.part("reactor", EVERY * 3);
        let told = told(&progress, &CancellationToken::new());
        sleep(EVERY * 2).await;
        assert_eq!(count(&told, "READY=1"), 1);
        assert_eq!(count(&told, "WATCHDOG=1"), 2);
        sleep(EVERY * 10).await;
        assert_eq!(count(&told, "WATCHDOG=1"), 4, "its patience, and no longer");
        part.step();
        sleep(EVERY).await;
        assert_eq!(count(&told, "WATCHDOG=1"), 5, "it was only slow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_told_once_and_the_watchdog_is_fed_until_the_end() {
        let (progress, stop) = (Progress::default(), CancellationToken::new());
        let told = told(&progress, &stop);
        sleep(EVERY).await;
        stop.cancel();
        sleep(EVERY * 2).await;
        assert_eq!(count(&told, "STOPPING=1"), 1);
        assert!(count(&told, "WATCHDOG=1") >= 3);
    }
}

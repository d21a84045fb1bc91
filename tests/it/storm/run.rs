//! Many storms side by side, each worker with a runtime and a tenant of its own.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    history::{History, Mix},
    place,
    play::{self, Outcome},
    sabotage::Sabotage,
};

/// Storms at a time: most of one is waiting.
const WORKERS: u64 = 5;

/// Plays these seeds, or until one ends as `enough` says, and gives how they ended in order. Those under way then are broken off: what
/// lacks a safeguard may go round in circles.
pub(super) fn seeds(
    seeds: RangeInclusive<u64>,
    mix: &Mix,
    sabotage: Option<Sabotage>,
    enough: impl Fn(u64, &Outcome) -> bool + Sync,
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(*seeds.start());
    let (over, _) = watch::channel(false);
    let outcomes = Mutex::new(Vec::new());
    let number = seeds.clone().count() as u64;
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(number) {
            scope.spawn(|| {
                alone(async {
                    let tenant = place::tenant().await;
                    let mut is_over = over.subscribe();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if !seeds.contains(&seed) {
                            break;
                        }
                        let history = History::of(seed, mix);
                        let outcome = tokio::select! {
                            outcome = play::play(&tenant, &history, mix, sabotage) => outcome,
                            _ = is_over.wait_for(|over| *over) => break,
                        };
                        if enough(seed, &outcome) {
                            over.send_replace(true);
                        }
                        outcomes
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((seed, outcome));
                    }
                });
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

/// Runs this on a runtime of its own.
pub(super) fn alone<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

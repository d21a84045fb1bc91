//! Many storms side by side, each worker with a runtime and a tenant of its own.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    history::{History, Mix},
    place,
    play::{self, Outcome},
    sabotage::Sabotage,
};

/// Storms at a time: most of one is waiting.
const WORKERS: u64 = 8;

/// Plays these seeds, at least until one ends as `enough` says, and gives how they ended in order.
pub(super) fn seeds(
    seeds: RangeInclusive<u64>,
    mix: &Mix,
    sabotage: Option<Sabotage>,
    enough: impl Fn(u64, &Outcome) -> bool + Sync,
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(*seeds.start());
    let over = AtomicBool::new(false);
    let outcomes = Mutex::new(Vec::new());
    let number = seeds.clone().count() as u64;
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(number) {
            scope.spawn(|| {
                alone(async {
                    let tenant = place::tenant().await;
                    while !over.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if !seeds.contains(&seed) {
                            break;
                        }
                        let history = History::of(seed, mix);
                        let outcome = play::play(&tenant, &history, mix, sabotage).await;
                        over.fetch_or(enough(seed, &outcome), Ordering::Relaxed);
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

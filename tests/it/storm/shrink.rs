//! A history that ended badly is played again with parts of it left out, as long as it still ends badly.
//!
//! Delta debugging (Zeller, *Yesterday, my program worked*, 1999): halves first, then quarters and so on. A part is only left out if the
//! rest failed again; since storms interleave differently each time, the rest is tried a few times. Bounded in tries and time, so what is left is
//! small, not smallest.

use std::time::{Duration, Instant};

use super::{
    history::{Event, History, Mix},
    place,
    play::{self, Outcome},
    run,
};

/// Storms played in all, and for how long.
const MOST: u64 = 60;
const LONGEST: Duration = Duration::from_secs(120);
/// A storm fails by chance, so each is given several.
const CHANCES: usize = 2;

/// A smaller history, and how it ended.
pub(super) struct Small {
    pub(super) history: History,
    pub(super) wrong: Vec<String>,
}

/// The smallest part of this history that was seen to end badly.
pub(super) fn shrunk(history: &History, mix: &Mix) -> Small {
    run::alone(async {
        let tenant = place::tenant().await;
        let (mut left, started) = (super::number("STORM_TRIES", MOST), Instant::now());
        let mut small = Small {
            history: history.clone(),
            wrong: vec!["not seen again".to_owned()],
        };
        let mut parts = 2;
        while parts <= small.history.events.len() && left > 0 && started.elapsed() < LONGEST {
            let mut is_smaller = false;
            for part in 0..parts {
                let rest = without(&small.history, part, parts);
                if let Some(outcome) = fails(&tenant, &rest, mix, &mut left).await {
                    small = Small {
                        history: rest,
                        wrong: outcome.wrong,
                    };
                    is_smaller = true;
                    break;
                }
            }
            parts = match is_smaller {
                true => (parts - 1).max(2),
                false => parts * 2,
            };
        }
        small
    })
}

fn without(history: &History, part: usize, parts: usize) -> History {
    let number = history.events.len();
    let (from, to) = (number * part / parts, number * (part + 1) / parts);
    let kept =
        |(place, event): (usize, &Event)| (!(from..to).contains(&place)).then(|| event.clone());
    History {
        events: history.events.iter().enumerate().filter_map(kept).collect(),
        ..history.clone()
    }
}

async fn fails(
    tenant: &crate::support::world::Tenant,
    history: &History,
    mix: &Mix,
    left: &mut u64,
) -> Option<Outcome> {
    for _ in 0..CHANCES {
        *left = left.checked_sub(1)?;
        let outcome = play::play(tenant, history, mix, None).await;
        if !outcome.wrong.is_empty() {
            return Some(outcome);
        }
    }
    None
}

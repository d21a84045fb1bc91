//! A line of the log that would be there for each request while something is out of order, told once a second.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_secs(1);

/// What was told last, and how often it was not since.
#[derive(Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How many have not been told since the last one that was; none if this one is not to be told either.
    pub(super) fn tells(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, untold) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            *untold += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_a_second_with_how_many_were_not() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let told = |ms| seldom.tells(start + Duration::from_millis(ms));
        assert_eq!(told(0), Some(0));
        assert_eq!((told(1), told(999)), (None, None));
        assert_eq!(told(1000), Some(2));
        assert_eq!(told(5000), Some(0));
    }
}

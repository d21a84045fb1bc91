//! The tenant's clock: the machine's, moved forward by as much as a test asks for.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde::Serializer;

/// Tells the tenant's time.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    /// Now, in whole milliseconds as Auth0 shows it.
    pub(super) fn now(&self) -> Timestamp {
        let ms = Timestamp::now().as_millisecond() + self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }

    /// Moves the time forward by this many seconds.
    pub(super) fn advance(&self, seconds: u32) {
        self.ahead_ms
            .fetch_add(i64::from(seconds) * 1000, Ordering::Relaxed);
    }

    /// Back to the machine's time.
    pub(super) fn reset(&self) {
        self.ahead_ms.store(0, Ordering::Relaxed);
    }
}

/// The smallest step of a time Auth0 shows.
pub(super) const TICK: SignedDuration = SignedDuration::from_millis(1);

/// `2023-01-25T19:00:26.187Z`: how Auth0 writes a time, always with milliseconds.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

pub(super) fn serialize_iso<S: Serializer>(
    time: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso(*time))
}

pub(super) fn serialize_perhaps_iso<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize_iso(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_even_when_they_are_zero() {
        assert_eq!(
            iso(Timestamp::from_second(0).unwrap()),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            iso(Timestamp::from_millisecond(1_674_673_226_187).unwrap()),
            "2023-01-25T19:00:26.187Z"
        );
    }
}

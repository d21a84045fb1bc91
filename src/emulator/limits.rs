//! Rate limits: token buckets by plan and endpoint class, as Auth0 describes them.
//!
//! Which buckets a plan has is in [`super::plans`]. A call takes from the global bucket first, then from its endpoint's
//! (docs: rate-limit-policy). `x-ratelimit-reset` is when the bucket is **full** again, not when the next token comes.

use std::collections::HashMap;

use jiff::Timestamp;
use warp::http::{HeaderMap, HeaderValue};

use super::{
    options::{Answers, Plan},
    plans::{Size, sizes},
};

pub(super) use super::plans::Class;

/// What the headers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    limit: u32,
    remaining: u32,
    /// Seconds since 1970 when the bucket is full again.
    reset: i64,
    /// Seconds until one more call fits.
    wait: i64,
}

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The plan has no limit here.
    Unlimited,
    /// Go on, and say how the bucket stands.
    Granted(Standing),
    /// 429.
    Refused(Standing),
}

impl Verdict {
    /// Says in the headers how the bucket stands. What a 429 says is not documented, so the answers do.
    pub(super) fn write(self, headers: &mut HeaderMap, answers: &Answers) {
        match self {
            Self::Unlimited => {}
            Self::Granted(standing) => standing.write(headers),
            Self::Refused(standing) => {
                if answers.rate_limit_headers_on_429 {
                    standing.write(headers);
                }
                if answers.retry_after {
                    standing.write_retry_after(headers);
                }
            }
        }
    }
}

impl Standing {
    fn write(self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(self.reset));
    }

    fn write_retry_after(self, headers: &mut HeaderMap) {
        headers.insert("retry-after", HeaderValue::from(self.wait));
    }
}

/// The buckets of one tenant.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    buckets: HashMap<(&'static str, String), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Limiter {
    /// Takes one call of `class` from its buckets. `subject` tells apart who has a bucket each; empty where all share.
    pub(super) fn take(
        &mut self,
        plan: Plan,
        class: Class,
        subject: &str,
        now: Timestamp,
    ) -> Verdict {
        let mut verdict = Verdict::Unlimited;
        for size in sizes(plan, class) {
            let bucket = self
                .buckets
                .entry((size.name, size.subject(subject).to_owned()))
                .or_insert(Bucket {
                    tokens: size.burst,
                    at: now,
                });
            bucket.refill(size, now);
            if bucket.tokens < 1.0 {
                return Verdict::Refused(bucket.standing(size, now));
            }
            bucket.tokens -= 1.0;
            verdict = Verdict::Granted(bucket.standing(size, now));
        }
        verdict
    }

    /// Fills all buckets.
    pub(super) fn reset(&mut self) {
        self.buckets.clear();
    }
}

impl Bucket {
    fn refill(&mut self, size: &Size, now: Timestamp) {
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + seconds * size.per_minute / 60.0).min(size.burst);
        self.at = now;
    }

    fn standing(&self, size: &Size, now: Timestamp) -> Standing {
        let per_second = size.per_minute / 60.0;
        let full_in = (size.burst - self.tokens) / per_second;
        let one_in = (1.0 - self.tokens).max(0.0) / per_second;
        Standing {
            limit: size.burst as u32,
            remaining: self.tokens as u32,
            reset: (now.as_millisecond() as f64 / 1000.0 + full_in).ceil() as i64,
            wait: (one_in.ceil() as i64).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_twenty_first_write_at_once_is_refused_and_the_reset_says_when_the_bucket_is_full() {
        let mut limiter = Limiter::default();
        for left in (0..20).rev() {
            let Verdict::Granted(standing) =
                limiter.take(Plan::Essentials, Class::WriteUsers, "", at(0))
            else {
                panic!("refused with {left} left")
            };
            assert_eq!((standing.limit, standing.remaining), (20, left));
        }
        let refused = limiter.take(Plan::Essentials, Class::WriteUsers, "", at(0));
        let expected = Standing {
            limit: 20,
            remaining: 0,
            reset: 6,
            wait: 1,
        };
        assert_eq!(refused, Verdict::Refused(expected));
    }

    #[test]
    fn a_bucket_fills_at_its_rate_and_not_beyond_its_size() {
        let mut limiter = Limiter::default();
        for _ in 0..20 {
            limiter.take(Plan::Essentials, Class::WriteUsers, "", at(0));
        }
        for _ in 0..10 {
            let verdict = limiter.take(Plan::Essentials, Class::WriteUsers, "", at(3));
            assert!(matches!(verdict, Verdict::Granted(_)));
        }
        let verdict = limiter.take(Plan::Essentials, Class::WriteUsers, "", at(3));
        assert!(matches!(verdict, Verdict::Refused(_)));
        let Verdict::Granted(standing) =
            limiter.take(Plan::Essentials, Class::WriteUsers, "", at(3600))
        else {
            panic!("an hour fills every bucket")
        };
        assert_eq!(standing.remaining, 19);
    }

    #[test]
    fn classes_share_a_bucket_on_free_and_have_their_own_on_essentials() {
        for (plan, third) in [(Plan::Free, false), (Plan::Essentials, true)] {
            let mut limiter = Limiter::default();
            limiter.take(plan, Class::WriteUsers, "", at(0));
            limiter.take(plan, Class::ReadUsers, "", at(0));
            let verdict = limiter.take(plan, Class::DeleteUsers, "", at(0));
            assert_eq!(matches!(verdict, Verdict::Granted(_)), third);
        }
    }

    #[test]
    fn password_mails_are_counted_per_address() {
        let mut limiter = Limiter::default();
        for _ in 0..10 {
            limiter.take(Plan::Enterprise, Class::ChangePassword, "a@a.test", at(0));
        }
        let same = limiter.take(Plan::Enterprise, Class::ChangePassword, "a@a.test", at(0));
        let other = limiter.take(Plan::Enterprise, Class::ChangePassword, "b@a.test", at(0));
        assert!(matches!(same, Verdict::Refused(_)));
        assert!(matches!(other, Verdict::Granted(_)));
    }
}

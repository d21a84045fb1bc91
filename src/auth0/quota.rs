//! What the headers of an answer say about the rate limit.
//!
//! `x-ratelimit-limit`, `-remaining` and `-reset` (epoch seconds; when the bucket is *full* again) come with most answers,
//! `Retry-After` with some 429s (<https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy>).
//! The reset is compared with the answer's own `Date` where it has one, so our clock need not be right.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// A bucket as one answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// Size of the bucket.
    pub(super) limit: u32,
    /// Calls left in it, this one taken off.
    pub(super) remaining: u32,
    /// Until it is full again; zero when that should have been already.
    pub(super) reset_in: Option<Duration>,
}

/// The rate-limit headers of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pacing {
    pub(super) quota: Option<Quota>,
    pub(super) retry_after: Option<Duration>,
}

impl Pacing {
    /// Reads the headers; `now` stands in where the answer has no `Date`.
    pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let now = text(DATE.as_str()).and_then(http_date).unwrap_or(now);
        let until = |second: i64| {
            capped(u64::try_from(second.saturating_sub(now.as_second())).unwrap_or(0))
        };
        let quota = || {
            Some(Quota {
                limit: text("x-ratelimit-limit")?.parse().ok()?,
                remaining: text("x-ratelimit-remaining")?.parse().ok()?,
                reset_in: text("x-ratelimit-reset")
                    .and_then(|reset| reset.parse().ok())
                    .map(until),
            })
        };
        // RFC 9110 section 10.2.3: seconds or a date.
        let retry_after = text(RETRY_AFTER.as_str()).and_then(|wait| match wait.parse() {
            Ok(seconds) => Some(capped(seconds)),
            Err(_) => http_date(wait).map(|at| until(at.as_second())),
        });
        Self {
            quota: quota().filter(|quota| quota.limit > 0),
            retry_after,
        }
    }
}

/// At most a day, so that no sum with a time can overflow.
fn capped(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(86_400))
}

/// The preferred form of RFC 9110 section 5.6.7, which is one of RFC 2822's.
fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE_1630700205: &str = "Fri, 03 Sep 2021 20:16:45 GMT";

    fn read(headers: &[(&'static str, &str)], now: i64) -> Pacing {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Pacing::read(&headers, Timestamp::from_second(now).unwrap())
    }

    fn quota(limit: u32, remaining: u32, reset_in: Option<u64>) -> Option<Quota> {
        Some(Quota {
            limit,
            remaining,
            reset_in: reset_in.map(Duration::from_secs),
        })
    }

    #[test]
    fn the_reset_is_measured_from_the_answers_own_date() {
        let headers = [
            ("date", DATE_1630700205),
            ("x-ratelimit-limit", "50"),
            ("x-ratelimit-remaining", "49"),
            ("x-ratelimit-reset", "1630700206"),
        ];
        let our_clock_is_a_day_ahead = 1_630_700_205 + 86_400;
        let pacing = read(&headers, our_clock_is_a_day_ahead);
        assert_eq!(pacing.quota, quota(50, 49, Some(1)));
        assert_eq!(pacing.retry_after, None);
    }

    #[test]
    fn without_a_date_our_clock_counts_and_a_past_reset_is_no_wait() {
        let headers = [
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1000"),
        ];
        assert_eq!(read(&headers, 940).quota, quota(10, 0, Some(60)));
        assert_eq!(read(&headers, 1_005).quota, quota(10, 0, Some(0)));
    }

    #[test]
    fn headers_that_make_no_sense_are_as_good_as_none() {
        for (limit, remaining) in [("0", "0"), ("many", "1"), ("10", "-1"), ("10", "")] {
            let headers = [
                ("x-ratelimit-limit", limit),
                ("x-ratelimit-remaining", remaining),
            ];
            assert_eq!(read(&headers, 0), Pacing::default(), "{limit} {remaining}");
        }
        let no_reset = [
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", "soon"),
        ];
        assert_eq!(read(&no_reset, 0).quota, quota(10, 3, None));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("7", Some(7)),
            ("Fri, 03 Sep 2021 20:17:45 GMT", Some(60)),
            ("Fri, 03 Sep 2021 20:00:00 GMT", Some(0)),
            ("later", None),
            ("-5", None),
        ] {
            let pacing = read(&[("date", DATE_1630700205), ("retry-after", value)], 0);
            assert_eq!(
                pacing.retry_after,
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}

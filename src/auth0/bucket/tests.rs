use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn quota(limit: u32, remaining: u32, reset_in: u64) -> Quota {
    Quota {
        limit,
        remaining,
        reset_in: Some(Duration::from_secs(reset_in)),
    }
}

fn refusal(quota: Option<Quota>, retry_after: Option<u64>) -> Pacing {
    Pacing {
        quota,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

/// A bucket that has just learnt `quota` from its only call.
fn learnt(share: f64, quota: Quota, now: Instant) -> Bucket {
    let mut bucket = Bucket::new(share, now);
    let number = bucket.take(now).unwrap();
    bucket.answered(number, Some(quota), now);
    bucket.ended();
    bucket
}

#[test]
fn nothing_known_is_nothing_paced() {
    let now = Instant::now();
    let mut bucket = Bucket::new(0.8, now);
    for _ in 0..100 {
        assert!(bucket.take(now).is_some());
    }
    assert_eq!(bucket.available(now), UNPACED);
    assert_eq!(bucket.wait(now), Duration::ZERO);
    assert_eq!(
        (bucket.limit(), bucket.remaining(now), bucket.full_in(now)),
        (None, None, None)
    );
}

#[test]
fn a_share_of_the_limit_is_left_to_others() {
    let now = Instant::now();
    for (share, limit, remaining, available) in [
        (0.8, 20, 19, 15),
        (0.8, 20, 5, 1),
        (0.8, 20, 4, 0),
        (1.0, 20, 4, 4),
        (0.5, 50, 50, 25),
        // However small the share, a full bucket grants a call.
        (0.1, 2, 2, 1),
        (0.8, 1, 1, 1),
        // More left than there can be.
        (1.0, 10, 99, 10),
    ] {
        let bucket = learnt(share, quota(limit, remaining, 6), now);
        assert_eq!(
            bucket.available(now),
            available,
            "{share} of {limit}, {remaining} left"
        );
    }
}

#[test]
fn the_wait_follows_from_the_reset() {
    let now = Instant::now();
    // 19 missing, full in about 9.5 s: two a second.
    let bucket = learnt(1.0, quota(19, 0, 10), now);
    assert_eq!(bucket.wait(now), seconds(0.5));
    assert_eq!(bucket.full_in(now), Some(seconds(9.5)));
    assert_eq!(bucket.available(now + seconds(0.49)), 0);
    assert_eq!(bucket.available(now + seconds(0.5)), 1);
    assert_eq!(bucket.wait(now + seconds(0.5)), Duration::ZERO);
    assert_eq!(bucket.remaining(now + seconds(3.0)), Some(6));
    assert_eq!(bucket.available(now + seconds(99.0)), 19);
    // With a fifth kept for others, 4.8 have to come.
    assert_eq!(learnt(0.8, quota(19, 0, 10), now).wait(now), seconds(2.4));
}

#[test]
fn no_wait_is_longer_than_a_minute_whatever_the_reset_says() {
    let now = Instant::now();
    for reset in [0, 1, 5_184, 86_400] {
        for limit in [1, 2, 10, 300] {
            let bucket = learnt(0.8, quota(limit, 0, reset), now);
            assert!(
                bucket.wait(now) <= LONGEST_WAIT,
                "limit {limit}, reset in {reset} s"
            );
            assert_ne!(
                bucket.available(now + LONGEST_WAIT),
                0,
                "limit {limit}, reset in {reset} s"
            );
        }
    }
}

#[test]
fn calls_under_way_are_taken_off_an_answer() {
    let now = Instant::now();
    let mut bucket = Bucket::new(1.0, now);
    let numbers: Vec<u64> = (0..5).map(|_| bucket.take(now).unwrap()).collect();
    let mut answered = |number, quota| {
        bucket.answered(number, Some(quota), now);
        bucket.ended();
        bucket.available(now)
    };
    assert_eq!(
        answered(numbers[1], quota(10, 9, 1)),
        5,
        "four are under way"
    );
    assert_eq!(
        answered(numbers[0], quota(10, 8, 1)),
        5,
        "an older call tells nothing new"
    );
    assert_eq!(
        answered(numbers[4], quota(10, 4, 1)),
        2,
        "others called too"
    );
}

#[test]
fn a_refusal_holds_as_told_else_until_the_reset_else_exponentially() {
    let now = Instant::now();
    for (pacing, hold) in [
        (refusal(None, Some(7)), 7.0),
        (refusal(Some(quota(20, 0, 30)), Some(7)), 7.0),
        (refusal(None, Some(86_400)), 300.0),
        (refusal(None, Some(0)), 0.1),
        (refusal(Some(quota(20, 0, 30)), None), 30.0),
        (refusal(Some(quota(20, 0, 5_000)), None), 60.0),
        (refusal(Some(quota(20, 0, 0)), None), 1.0),
        (refusal(None, None), 0.5),
    ] {
        let mut bucket = Bucket::new(1.0, now);
        let number = bucket.take(now).unwrap();
        assert_eq!(
            bucket.refused(number, pacing, 0.5, now),
            seconds(hold),
            "{pacing:?}"
        );
        assert_eq!(bucket.held_for(now), Some(seconds(hold)), "{pacing:?}");
        assert_eq!(bucket.take(now), None, "{pacing:?}");
    }
}

#[test]
fn waits_double_with_refusals_in_a_row_up_to_a_minute() {
    let waits = [0, 1, 2, 3, 7, 40].map(|strikes| backoff(strikes, 1.0).as_secs());
    assert_eq!(waits, [1, 1, 2, 4, 60, 60]);
    assert_eq!(backoff(3, 0.25), seconds(1.0));
    assert_eq!(backoff(3, 0.0), Duration::ZERO);
}

#[test]
fn a_burst_of_refusals_counts_once() {
    let now = Instant::now();
    let mut bucket = Bucket::new(1.0, now);
    let numbers: Vec<u64> = (0..16).map(|_| bucket.take(now).unwrap()).collect();
    let hold = bucket.refused(numbers[3], refusal(None, None), 1.0, now);
    for &number in &numbers[4..] {
        bucket.refused(number, refusal(None, None), 1.0, now);
    }
    assert_eq!(bucket.held_for(now), Some(hold));
    bucket.answered(numbers[0], Some(quota(20, 19, 1)), now);
    assert_eq!(
        bucket.available(now),
        0,
        "an answer from before the refusal does not lift it"
    );
    // The next refusal is the second in a row, not the seventeenth.
    let later = now + seconds(1.0);
    let number = bucket.take(later).unwrap();
    assert_eq!(
        bucket.refused(number, refusal(None, None), 1.0, later),
        seconds(2.0)
    );
}

#[test]
fn without_headers_a_refused_class_starts_slowly_and_recovers() {
    let mut now = Instant::now();
    let mut bucket = Bucket::new(0.8, now);
    let number = bucket.take(now).unwrap();
    now += bucket.refused(number, refusal(None, None), 1.0, now);
    assert_eq!(bucket.available(now), 1, "one call tries it");
    let mut calls = 0;
    while bucket.available(now) < UNPACED {
        now += bucket.wait(now);
        let number = bucket.take(now).unwrap();
        bucket.answered(number, None, now);
        calls += 1;
        assert!(calls < 100_000, "it never recovered");
    }
    assert!(calls > 1_000, "it recovered after {calls} calls");
}

#[test]
fn a_long_run_uses_most_of_the_refill_and_is_never_refused() {
    // Burst and calls a minute: users of a self-service plan read and written, a free and an Enterprise tenant.
    for (limit, per_minute) in [(40, 500), (20, 200), (2, 120), (50, 960)] {
        let start = Instant::now();
        let mut tenant = TenantBucket::new(limit, per_minute, start);
        let mut bucket = Bucket::new(0.8, start);
        let mut now = start;
        let mut calls = 0;
        while now - start < Duration::from_secs(600) {
            // Each call takes 20 ms, one after the other.
            now += bucket.wait(now).max(Duration::from_millis(20));
            let Some(number) = bucket.take(now) else {
                continue;
            };
            let quota = tenant.call(now).expect("the tenant never refuses");
            let kept = 0.2 * f64::from(limit);
            assert!(
                tenant.level >= kept.floor() - 0.5,
                "{} of {limit} left",
                tenant.level
            );
            bucket.answered(number, Some(quota), now);
            bucket.ended();
            calls += 1;
        }
        let granted = f64::from(per_minute) * 10.0;
        assert!(
            f64::from(calls) > 0.8 * granted,
            "limit {limit}: {calls} of {granted}"
        );
    }
}

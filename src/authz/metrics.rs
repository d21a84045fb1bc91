//! What the authorization server counts. Labels come from closed lists; nothing a caller sends becomes one.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use super::directory::{Reason, Standing};
use crate::telemetry::Metrics;

/// Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    requests: Family<Request, Counter>,
    durations: Family<Endpoint, Histogram>,
    fetches: Family<Fetch, Counter>,
    from_memory: Counter,
    stale: Counter,
    read_through: Family<ReadThrough, Counter>,
    gauges: Arc<Gauges>,
}

/// What is looked at when somebody asks for the metrics.
#[derive(Debug, Default)]
struct Gauges {
    users: Gauge,
    age: Gauge<f64, AtomicU64>,
    canary_age: Gauge<f64, AtomicU64>,
    tokens: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadThrough {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fetch {
    outcome: &'static str,
}

impl Counts {
    /// Registers everything, under names that begin with `roster_authz_`.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let counts = Self {
            requests: Family::default(),
            // From 100 µs, below which no look-up ends, to 1.6 s, above the directory's deadline.
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.0001, 2.0, 15))
            }),
            fetches: Family::default(),
            from_memory: Counter::default(),
            stale: Counter::default(),
            read_through: Family::default(),
            gauges: Arc::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "authz_requests",
                "Answers by endpoint and code: ok, or why not",
                counts.requests.clone(),
            );
            registry.register(
                "authz_request_duration_seconds",
                "From a request's headers to its answer",
                counts.durations.clone(),
            );
            registry.register(
                "authz_key_fetches",
                "Fetches of the issuer's keys by outcome",
                counts.fetches.clone(),
            );
            registry.register(
                "authz_from_memory",
                "Look-ups that memory answered",
                counts.from_memory.clone(),
            );
            registry.register(
                "authz_read_through",
                "Look-ups that memory did not answer, by the reason",
                counts.read_through.clone(),
            );
            registry.register(
                "authz_stale",
                "Look-ups answered from memory because the database could not be asked (authz.max_stale)",
                counts.stale.clone(),
            );
            registry.register(
                "authz_users_in_memory",
                "Users in memory",
                counts.gauges.users.clone(),
            );
            registry.register(
                "authz_memory_age_seconds",
                "Since the last look at the database for changes began; -1 before the first",
                counts.gauges.age.clone(),
            );
            registry.register(
                "authz_canary_age_seconds",
                "Since the bell rang that was last heard; -1 before the first",
                counts.gauges.canary_age.clone(),
            );
            registry.register(
                "authz_verified_tokens",
                "Tokens that need not be verified again",
                counts.gauges.tokens.clone(),
            );
        });
        counts
    }

    /// One request was answered. `code` is `ok` or the code of the refusal.
    pub(super) fn answered(&self, endpoint: &'static str, code: &'static str, took: Duration) {
        self.requests
            .get_or_create(&Request { endpoint, code })
            .inc();
        self.durations
            .get_or_create(&Endpoint { endpoint })
            .observe(took.as_secs_f64());
    }

    /// Memory had the answer.
    pub(super) fn answered_from_memory(&self) {
        self.from_memory.inc();
    }

    /// Memory had an answer that is older than usual, and nobody else had any.
    pub(super) fn answered_stale(&self) {
        self.stale.inc();
    }

    /// Memory had none, and why.
    pub(super) fn read_through(&self, reason: Reason) {
        let reason = reason.as_str();
        self.read_through
            .get_or_create(&ReadThrough { reason })
            .inc();
    }

    /// How things stand just now.
    pub(super) fn stand(&self, memory: Option<Standing>, tokens: usize) {
        let seconds = |age: Option<Duration>| age.map_or(-1.0, |age| age.as_secs_f64());
        let gauges = &self.gauges;
        gauges
            .users
            .set(memory.map_or(0, |memory| memory.users as i64));
        gauges
            .age
            .set(seconds(memory.and_then(|memory| memory.age)));
        gauges
            .canary_age
            .set(seconds(memory.and_then(|memory| memory.canary_age)));
        gauges.tokens.set(tokens as i64);
    }

    /// One fetch of the issuer's keys has ended.
    pub(super) fn fetched_keys(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.fetches.get_or_create(&Fetch { outcome }).inc();
    }
}

//! What the authorization server counts. Labels come from closed lists; nothing a caller sends becomes one.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::telemetry::Metrics;

/// Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    requests: Family<Request, Counter>,
    durations: Family<Endpoint, Histogram>,
    fetches: Family<Fetch, Counter>,
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

    /// One fetch of the issuer's keys has ended.
    pub(super) fn fetched_keys(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.fetches.get_or_create(&Fetch { outcome }).inc();
    }
}

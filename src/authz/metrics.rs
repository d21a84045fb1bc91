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

use super::{
    decision_log::Kept,
    directory::{Reason, Standing},
    endpoint::Endpoint,
    trail::word,
};
use crate::telemetry::Metrics;

/// Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    requests: Family<Request, Counter>,
    decisions: Family<Decision, Counter>,
    /// The counters of what most requests end in, and the histograms, by endpoint: looked up once.
    usual: Arc<[Usual]>,
    fetches: Family<Fetch, Counter>,
    from_memory: Counter,
    stale: Counter,
    read_through: Family<ReadThrough, Counter>,
    log: Kept,
    gauges: Arc<Gauges>,
}

#[derive(Debug)]
struct Usual {
    answered: Counter,
    allowed: Counter,
    duration: Histogram,
}

/// What is looked at when somebody asks for the metrics.
#[derive(Debug, Default)]
struct Gauges {
    users: Gauge,
    age: Gauge<f64, AtomicU64>,
    canary_age: Gauge<f64, AtomicU64>,
    keys_age: Gauge<f64, AtomicU64>,
    tokens: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    code: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    endpoint: &'static str,
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
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

/// What a request is called that was answered as it asked.
const OK: (u16, &str) = (200, "ok");

/// From 10 µs, which an answer from memory takes, to 5.2 s, above each request's deadline.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 20))
}

impl Counts {
    /// Registers everything, under names that begin with `roster_authz_`.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let (requests, decisions) = (Family::default(), Family::default());
        let durations = Family::<Took, Histogram>::new_with_constructor(histogram);
        let usual = Endpoint::ALL.map(|endpoint| {
            let path = endpoint.path();
            let is_there = |counted: bool, counter: &dyn Fn() -> Counter| match counted {
                true => counter(),
                // Of no family: nobody is shown it.
                false => Counter::default(),
            };
            Usual {
                answered: is_there(endpoint.is_counted(), &|| {
                    Self::request(&requests, path, OK.0, OK.1)
                }),
                allowed: is_there(endpoint.decides(), &|| {
                    Self::decision(&decisions, path, true, OK.1)
                }),
                duration: match endpoint.is_counted() {
                    true => durations.get_or_create_owned(&Took { endpoint: path }),
                    false => histogram(),
                },
            }
        });
        let counts = Self {
            requests,
            decisions,
            usual: usual.into(),
            fetches: Family::default(),
            from_memory: Counter::default(),
            stale: Counter::default(),
            read_through: Family::default(),
            log: Kept::default(),
            gauges: Arc::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "authz_requests",
                "Answers by endpoint, code (ok, or why not) and HTTP status",
                counts.requests.clone(),
            );
            registry.register(
                "authz_decisions",
                "Decisions by endpoint and reason; each evaluation of a batch is one",
                counts.decisions.clone(),
            );
            registry.register(
                "authz_request_duration_seconds",
                "From a request's headers to its answer",
                durations,
            );
            registry.register(
                "authz_decisions_logged",
                "Lines written to the decision log",
                counts.log.written.clone(),
            );
            registry.register(
                "authz_decisions_not_logged",
                "Lines of the decision log that were lost, since it could not be written, or not fast enough",
                counts.log.lost.clone(),
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
                "authz_keys_age_seconds",
                "Since the issuer's keys were read; -1 before the first time",
                counts.gauges.keys_age.clone(),
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
    pub(super) fn answered(
        &self,
        endpoint: Endpoint,
        status: u16,
        code: &'static str,
        took: Duration,
    ) {
        let usual = &self.usual[endpoint as usize];
        usual.duration.observe(took.as_secs_f64());
        if (status, code) == OK {
            usual.answered.inc();
        } else {
            Self::request(&self.requests, endpoint.path(), status, code).inc();
        }
    }

    /// One decision was made. `reason` is `ok`, or why not.
    pub(super) fn decided(&self, endpoint: Endpoint, allowed: bool, reason: &'static str) {
        if allowed {
            self.usual[endpoint as usize].allowed.inc();
        } else {
            Self::decision(&self.decisions, endpoint.path(), false, reason).inc();
        }
    }

    /// Where the decision log counts what becomes of its lines.
    pub(super) fn log(&self) -> Kept {
        self.log.clone()
    }

    fn request(
        requests: &Family<Request, Counter>,
        endpoint: &'static str,
        status: u16,
        code: &'static str,
    ) -> Counter {
        requests.get_or_create_owned(&Request {
            endpoint,
            code,
            status,
        })
    }

    fn decision(
        decisions: &Family<Decision, Counter>,
        endpoint: &'static str,
        allowed: bool,
        reason: &'static str,
    ) -> Counter {
        decisions.get_or_create_owned(&Decision {
            endpoint,
            decision: word(allowed),
            reason,
        })
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
    pub(super) fn stand(
        &self,
        memory: Option<Standing>,
        keys_age: Option<Duration>,
        tokens: usize,
    ) {
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
        gauges.keys_age.set(seconds(keys_age));
        gauges.tokens.set(tokens as i64);
    }

    /// One fetch of the issuer's keys has ended.
    pub(super) fn fetched_keys(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.fetches.get_or_create(&Fetch { outcome }).inc();
    }
}

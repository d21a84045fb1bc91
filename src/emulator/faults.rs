//! Faults on demand: wrong statuses, delays, and connections cut before or after a request was applied.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tenant::Guard;

/// One fault, until it has struck `times` times or is taken away.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// `PATCH /api/v2/users/{id}`, with a template's or a request's own path; a `*` at the end stands for any rest.
    /// Absent: every route but the control face.
    #[serde(default)]
    route: Option<String>,
    pub(super) kind: FaultKind,
    /// Answered by `status`; 500 if absent.
    #[serde(default)]
    pub(super) status: Option<u16>,
    /// Milliseconds to wait: before anything else happens, or with `delay_answer` after it was applied.
    #[serde(default)]
    pub(super) delay_ms: Option<u64>,
    /// Headers of the answer that `status` makes.
    #[serde(default)]
    pub(super) headers: std::collections::BTreeMap<String, String>,
    /// Body of the answer that `status` makes; Auth0's error shape if absent.
    #[serde(default)]
    pub(super) body: Option<Value>,
    /// How often it strikes; absent: until taken away.
    #[serde(default)]
    times: Option<u32>,
    /// The share of requests it strikes, 0 to 1; absent: all.
    #[serde(default)]
    rate: Option<f64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultKind {
    /// Answer a status; nothing is applied.
    Status,
    /// Wait, then carry on, whether or not the client is still there.
    Delay,
    /// Apply, then wait before answering.
    DelayAnswer,
    /// Close the connection; nothing is applied.
    CutBefore,
    /// Apply, then close the connection without an answer.
    CutAfter,
}

/// The faults in force, in the order they were asked for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many there are, so that a request without faults takes no lock.
    count: AtomicUsize,
    faults: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        let mut faults = self.faults.guard();
        faults.push(fault);
        self.count.store(faults.len(), Ordering::Release);
    }

    pub(super) fn clear(&self) {
        let mut faults = self.faults.guard();
        faults.clear();
        self.count.store(0, Ordering::Release);
    }

    pub(super) fn list(&self) -> Vec<Fault> {
        self.faults.guard().clone()
    }

    /// The first fault that strikes this request, counted down.
    pub(super) fn strike(&self, method: &str, template: &str, path: &str) -> Option<Fault> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut faults = self.faults.guard();
        let index = faults.iter().position(|fault| {
            fault.is_about(method, template, path)
                && fault.rate.is_none_or(|rate| rand::random::<f64>() < rate)
        })?;
        let fault = faults[index].clone();
        if let Some(times) = &mut faults[index].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(index);
                self.count.store(faults.len(), Ordering::Release);
            }
        }
        Some(fault)
    }
}

impl Fault {
    fn is_about(&self, method: &str, template: &str, path: &str) -> bool {
        let Some(route) = &self.route else {
            return true;
        };
        let (wanted_method, wanted_path) = match route.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, route.as_str()),
        };
        wanted_method.is_none_or(|wanted| wanted == method)
            && match wanted_path.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => wanted_path == template || wanted_path == path,
            }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(fault: Value) -> Faults {
        let faults = Faults::default();
        faults.add(serde_json::from_value(fault).unwrap());
        faults
    }

    fn strikes(faults: &Faults, method: &str, path: &str) -> bool {
        faults.strike(method, "/api/v2/users/{id}", path).is_some()
    }

    #[test]
    fn a_fault_strikes_its_route_only_and_as_often_as_told() {
        let faults =
            faults(json!({"route": "PATCH /api/v2/users/{id}", "kind": "cut_before", "times": 2}));
        assert!(!strikes(&faults, "GET", "/api/v2/users/a"));
        assert!(strikes(&faults, "PATCH", "/api/v2/users/a"));
        assert!(strikes(&faults, "PATCH", "/api/v2/users/b"));
        assert!(!strikes(&faults, "PATCH", "/api/v2/users/a"));
    }

    #[test]
    fn a_route_may_be_one_path_or_a_beginning() {
        let one = faults(json!({"route": "GET /api/v2/users/a", "kind": "delay", "delay_ms": 1}));
        assert!(strikes(&one, "GET", "/api/v2/users/a"));
        assert!(!strikes(&one, "GET", "/api/v2/users/b"));
        let all = faults(json!({"route": "/api/v2/*", "kind": "status", "status": 503}));
        assert!(strikes(&all, "DELETE", "/api/v2/users/b"));
        assert!(!strikes(&all, "POST", "/oauth/token"));
    }

    #[test]
    fn a_rate_of_nothing_never_strikes_and_a_rate_of_one_always_does() {
        assert!(!strikes(
            &faults(json!({"kind": "status", "rate": 0.0})),
            "GET",
            "/x"
        ));
        assert!(strikes(
            &faults(json!({"kind": "status", "rate": 1.0})),
            "GET",
            "/x"
        ));
    }
}

//! A log of the requests the tenant has answered, so that a test can say how many calls a change cost.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::{clock::iso, tenant::Guard};

/// The longest body that is kept, in bytes; longer ones are logged by size only.
const KEEP_BODY: usize = 16 * 1024;

/// Body keys whose values are replaced before anyone sees them.
const SECRETS: &[&str] = &[
    "password",
    "client_secret",
    "client_assertion",
    "refresh_token",
    "code",
    "code_verifier",
    "link_with",
];

/// One request.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) template: Cow<'static, str>,
    /// None: the connection was cut instead.
    pub(super) status: Option<StatusCode>,
    pub(super) duration_us: u64,
    pub(super) size: usize,
    /// The body of a Management API request as it came; read and cleaned only when somebody asks.
    pub(super) body: Option<Box<[u8]>>,
}

impl Record {
    /// The part of a body that is kept.
    pub(super) fn keep(path: &str, body: &[u8]) -> Option<Box<[u8]>> {
        (path.starts_with("/api/v2/") && !body.is_empty() && body.len() <= KEEP_BODY)
            .then(|| body.into())
    }

    fn show(&self, number: u64) -> Value {
        json!({
            "number": number,
            "at": iso(self.at),
            "method": self.method,
            "path": self.path,
            "route": self.template,
            "status": self.status.map(|status| status.as_u16()),
            "duration_us": self.duration_us,
            "size": self.size,
            "body": self.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).map(cleaned),
        })
    }
}

/// A bounded ring of requests.
#[derive(Debug)]
pub(super) struct RequestLog {
    keep: AtomicUsize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    /// The number of the next record; numbers start at 1 and are never given twice.
    next: u64,
}

impl RequestLog {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            keep: AtomicUsize::new(keep),
            ring: Mutex::new(Ring {
                records: VecDeque::new(),
                next: 1,
            }),
        }
    }

    pub(super) fn set_keep(&self, keep: usize) {
        self.keep.store(keep, Ordering::Relaxed);
    }

    pub(super) fn add(&self, record: Record) {
        let keep = self.keep.load(Ordering::Relaxed);
        let mut ring = self.ring.guard();
        ring.next += 1;
        ring.records.push_back(Arc::new(record));
        while ring.records.len() > keep {
            ring.records.pop_front();
        }
    }

    /// Records with a number above `after`, oldest first.
    pub(super) fn show(&self, after: u64) -> Vec<Value> {
        // Bodies are read outside the lock, or who looks at the log would hold up everybody.
        let records: Vec<(u64, Arc<Record>)> = {
            let ring = self.ring.guard();
            let first = ring.next - ring.records.len() as u64;
            (first..)
                .zip(&ring.records)
                .filter(|(number, _)| *number > after)
                .map(|(number, record)| (number, record.clone()))
                .collect()
        };
        records
            .iter()
            .map(|(number, record)| record.show(*number))
            .collect()
    }

    pub(super) fn clear(&self) {
        self.ring.guard().records.clear();
    }
}

/// The route a path belongs to: ids become `{id}`.
pub(super) fn template(path: &str) -> Cow<'static, str> {
    const COLLECTIONS: &[&str] = &[
        "users",
        "roles",
        "jobs",
        "sessions",
        "refresh-tokens",
        "user-blocks",
        "connections",
    ];
    const JOBS: &[&str] = &["users-imports", "users-exports", "verification-email"];
    let Some(rest) = path.strip_prefix("/api/v2/") else {
        return Cow::Owned(path.to_owned());
    };
    match rest.split('/').collect::<Vec<_>>()[..] {
        ["users"] => "/api/v2/users".into(),
        ["users-by-email"] => "/api/v2/users-by-email".into(),
        ["users", _] => "/api/v2/users/{id}".into(),
        ["users", _, "identities", _, _] => {
            "/api/v2/users/{id}/identities/{provider}/{user_id}".into()
        }
        [collection, id, ref more @ ..]
            if COLLECTIONS.contains(&collection)
                && !(collection == "jobs" && JOBS.contains(&id))
                && !(collection == "refresh-tokens" && id == "revoke") =>
        {
            let more: String = more.iter().map(|part| format!("/{part}")).collect();
            format!("/api/v2/{collection}/{{id}}{more}").into()
        }
        _ => Cow::Owned(path.to_owned()),
    }
}

fn cleaned(mut body: Value) -> Value {
    match &mut body {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                *value = if SECRETS.contains(&key.as_str()) {
                    "[redacted]".into()
                } else {
                    cleaned(value.take())
                };
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = cleaned(item.take())),
        _ => {}
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &str) -> Record {
        Record {
            at: Timestamp::UNIX_EPOCH,
            method: "POST".into(),
            path: "/api/v2/users".into(),
            template: "/api/v2/users".into(),
            status: Some(StatusCode::CREATED),
            duration_us: 1,
            size: body.len(),
            body: Record::keep("/api/v2/users", body.as_bytes()),
        }
    }

    #[test]
    fn ids_become_a_placeholder() {
        assert_eq!(template("/api/v2/users/auth0%7Ca"), "/api/v2/users/{id}");
        assert_eq!(
            template("/api/v2/users/a/roles"),
            "/api/v2/users/{id}/roles"
        );
        assert_eq!(
            template("/api/v2/jobs/job_1/errors"),
            "/api/v2/jobs/{id}/errors"
        );
        assert_eq!(
            template("/api/v2/jobs/users-imports"),
            "/api/v2/jobs/users-imports"
        );
        assert_eq!(
            template("/api/v2/refresh-tokens/revoke"),
            "/api/v2/refresh-tokens/revoke"
        );
        assert_eq!(template("/oauth/token"), "/oauth/token");
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_numbers_go_on() {
        let log = RequestLog::new(2);
        for _ in 0..3 {
            log.add(record("{}"));
        }
        let numbers: Vec<_> = log.show(0).iter().map(|r| r["number"].clone()).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(log.show(2).len(), 1);
        log.clear();
        log.add(record("{}"));
        assert_eq!(log.show(0)[0]["number"], 4);
    }

    #[test]
    fn a_password_is_not_shown() {
        let log = RequestLog::new(1);
        log.add(record(r#"{"password": "Correct-horse-1", "name": "Ann"}"#));
        let body = &log.show(0)[0]["body"];
        assert_eq!(body["password"], "[redacted]");
        assert_eq!(body["name"], "Ann");
    }
}

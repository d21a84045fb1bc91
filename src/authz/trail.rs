//! What becomes known of a request on its way, for the decision log and the metrics. It decides nothing.
//!
//! Most requests are let in and not logged. So nothing is written as text before it is sure that a line is wanted.

use std::{
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use uuid::Uuid;
use warp::http::HeaderMap;

use super::{
    Authz,
    decision_log::{Fingerprint, Line, Shown},
    directory::Source,
    endpoint::Endpoint,
    rejection::Refusal,
    token::Claims,
    verified::Digest,
};
use crate::{
    config::{Caller, Credential},
    db::directory::{Answer, Found},
    user::UserKey,
};

/// Permissions of one request that a line shows.
const MOST_SHOWN: usize = 32;

/// A request that is being answered.
pub(super) struct Trail<'a> {
    pub(super) authz: &'a Authz,
    pub(super) endpoint: Endpoint,
    pub(super) headers: &'a HeaderMap,
    pub(super) started: Instant,
    /// Of the decision. It is the request's too, where the caller names none.
    pub(super) id: Uuid,
    is_sampled: bool,
    token: OnceLock<Digest>,
    claims: OnceLock<Arc<Claims>>,
    program: OnceLock<Fingerprint>,
    user: OnceLock<UserKey>,
    revision: OnceLock<String>,
    source: OnceLock<Source>,
    others: OnceLock<()>,
    required: OnceLock<Arc<[String]>>,
    evaluations: OnceLock<Vec<Evaluated>>,
}

/// One evaluation of a request, for its line and for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evaluated {
    pub(super) user: Option<UserKey>,
    /// Without the resource's id, which may be anything.
    pub(super) permission: Option<String>,
    pub(super) reason: Reason,
}

/// Why an evaluation ended as it did. A closed list: these are labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Permitted,
    /// The user is known and has no permission for it.
    PermissionMissing,
    /// Nobody is meant, or it is not clear who.
    SubjectUnknown,
    /// It could not be made.
    Malformed,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "ok",
            Self::PermissionMissing => "permission_missing",
            Self::SubjectUnknown => "subject_unknown",
            Self::Malformed => "request_malformed",
        }
    }
}

/// What a decision is called, in the log and in metrics.
pub(super) const fn word(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

impl<'a> Trail<'a> {
    pub(super) fn begin(authz: &'a Authz, endpoint: Endpoint, headers: &'a HeaderMap) -> Self {
        Self {
            authz,
            endpoint,
            headers,
            started: Instant::now(),
            id: new_id(),
            is_sampled: authz.log.as_ref().is_some_and(|log| log.draws()),
            token: OnceLock::new(),
            claims: OnceLock::new(),
            program: OnceLock::new(),
            user: OnceLock::new(),
            revision: OnceLock::new(),
            source: OnceLock::new(),
            others: OnceLock::new(),
            required: OnceLock::new(),
            evaluations: OnceLock::new(),
        }
    }

    /// A token came, good or not.
    pub(super) fn presented(&self, token: Digest) {
        let _ = self.token.set(token);
    }

    /// It is good.
    pub(super) fn authenticated(&self, claims: &Arc<Claims>) {
        let _ = self.claims.set(claims.clone());
    }

    /// A program asks, with a credential that holds.
    pub(super) fn asked_by(&self, program: &Caller) {
        let credential = match &program.credential {
            Credential::ClientId(id) => Fingerprint::of(id),
            // What it is compared with is the hash already.
            Credential::ApiKeySha256(hash) => Fingerprint::from_hash(hash),
        };
        let _ = self.program.set(credential);
    }

    /// The directory has answered whose token it is.
    pub(super) fn found(&self, answer: &Answer, source: Source) {
        let _ = self.source.set(source);
        let _ = self.revision.set(answer.revision.clone());
        if let Found::User(user) = &answer.found {
            let _ = self.user.set(user.key.clone());
        }
    }

    /// Whom the request is about is looked up in the database, whatever was known of who asks.
    pub(super) fn asked_database(&self) {
        let _ = self.others.set(());
    }

    /// The permissions that are asked for.
    pub(super) fn requires(&self, permissions: &Arc<[String]>) {
        let _ = self.required.set(permissions.clone());
    }

    /// Each evaluation that the answer tells.
    pub(super) fn evaluated(&self, evaluations: Vec<Evaluated>) {
        let _ = self.evaluations.set(evaluations);
    }

    /// The request is answered: counts it, and writes what is to be kept of it.
    pub(super) fn ended(&self, request_id: &str, status: u16, refusal: Option<&Refusal>) {
        let took = self.started.elapsed();
        let (endpoint, counts) = (self.endpoint, &self.authz.counts);
        let code = refusal.map_or("ok", Refusal::code);
        counts.answered(endpoint, status, code, took);
        if let Some(refusal) = refusal {
            self.tell(request_id, refusal);
        }
        if !endpoint.decides() {
            return;
        }
        let evaluations = match refusal {
            None => self.evaluations.get().map(Vec::as_slice),
            Some(_) => None,
        };
        match evaluations {
            None => counts.decided(endpoint, refusal.is_none(), code),
            Some(evaluations) => {
                for one in evaluations {
                    let allowed = one.reason == Reason::Permitted;
                    counts.decided(endpoint, allowed, one.reason.as_str());
                }
            }
        }
        let Some(log) = &self.authz.log else {
            return;
        };
        let of_asker = self.others.get().is_none();
        let source = match of_asker {
            true => self.source.get().copied(),
            false => Some(Source::Database),
        };
        let is_wanted = |allowed: bool| !allowed || self.is_sampled;
        let line = |allowed: bool, code| Line {
            time: Timestamp::now(),
            decision_id: self.id,
            evaluation: None,
            request_id: Shown(request_id),
            endpoint: endpoint.path(),
            decision: word(allowed),
            code,
            status,
            user: self.user.get().map(|key| Shown(key.as_str())),
            caller: None,
            program: self.program.get().copied(),
            account: self.account(),
            token: self.token.get().map(Digest::fingerprint),
            required: self.required.get().map(|all| shown(all)),
            missing: match refusal {
                Some(Refusal::InsufficientScope { missing, .. }) => Some(shown(missing)),
                _ => None,
            },
            source: source.map(Source::as_str),
            revision: self.revision.get().map(String::as_str).filter(|_| of_asker),
            duration_ms: took.as_secs_f64() * 1e3,
        };
        let Some(evaluations) = evaluations else {
            if is_wanted(refusal.is_none()) {
                log.write(&line(refusal.is_none(), code));
            }
            return;
        };
        for (number, one) in evaluations.iter().enumerate() {
            let allowed = one.reason == Reason::Permitted;
            if is_wanted(allowed) {
                let line = line(allowed, one.reason.as_str());
                log.write(&Line {
                    evaluation: Some(number),
                    caller: line.user,
                    user: one.user.as_ref().map(|key| Shown(key.as_str())),
                    required: one.permission.as_ref().map(|one| vec![Shown(one)]),
                    ..line
                });
            }
        }
    }

    /// In the program's own log: what is wrong with it; and refusals, which nobody asks for there while they have a log of their own.
    fn tell(&self, request_id: &str, refusal: &Refusal) {
        let endpoint = self.endpoint.path();
        macro_rules! refused {
            ($level:ident) => {
                tracing::$level!(
                    request.id = %Shown(request_id),
                    decision.id = %self.id,
                    endpoint,
                    token.fingerprint = self.token.get().map(|token| display(token.fingerprint())),
                    code = refusal.code(),
                    "a request was refused: {refusal}"
                )
            };
        }
        match refusal {
            // While the database is away, that is each request.
            Refusal::Directory(error) => match self.authz.faults_told.tells(Instant::now()) {
                Some(untold) => tracing::error!(
                    request.id = %Shown(request_id),
                    decision.id = %self.id,
                    endpoint,
                    error = error as &dyn std::error::Error,
                    untold,
                    "a request could not be answered"
                ),
                None => refused!(debug),
            },
            _ if self.authz.log.is_some() => refused!(debug),
            _ => refused!(info),
        }
    }

    fn account(&self) -> Option<Fingerprint> {
        let claims = self.claims.get()?;
        Some(Fingerprint::of(claims.subject.as_str()))
    }
}

fn shown(permissions: &[String]) -> Vec<Shown<'_>> {
    let some = permissions.iter().take(MOST_SHOWN);
    some.map(|permission| Shown(permission)).collect()
}

/// One that no other request has: drawn at the start, counted on from there, so that no request waits for the system's lot.
pub(super) fn new_id() -> Uuid {
    static FIRST: LazyLock<u128> = LazyLock::new(|| Uuid::new_v4().as_u128());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    uuid::Builder::from_random_bytes(FIRST.wrapping_add(count.into()).to_be_bytes()).into_uuid()
}

//! The jobs there are: written down, claimed when due, ended, shown, forgotten. Pure but for its lock.
//!
//! Jobs of a kind are done in the order they came. Whatever ends a job that is forgotten meanwhile ends nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use rand::distr::{Alphanumeric, SampleString};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{export::Export, import::Import, records::Imported};
use crate::emulator::{clock::iso, options::Options, tenant::Guard};

/// How long anything about a job is kept (docs: 24 hours).
const KEEP: SignedDuration = SignedDuration::from_hours(24);
/// After how long an import that has not been done fails (docs: two hours).
const IMPORT_TIMEOUT: SignedDuration = SignedDuration::from_hours(2);
/// How many imports may be under way (docs: two).
const MAX_ACTIVE_IMPORTS: usize = 2;

/// What a job is about.
#[derive(Debug)]
pub(super) enum Work {
    Import(Import),
    Export(Arc<Export>),
    /// To the user with this id.
    VerificationMail(String),
}

/// The kinds of jobs. Each has its own order and bound; past that the oldest is forgotten before its time.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Import,
    Export,
    VerificationMail,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Import, Self::Export, Self::VerificationMail];

    /// A million users take 1 000 imports; the file of an export of as many about 40 MB; a verification job is
    /// little more than two ids.
    const fn keep(self) -> usize {
        match self {
            Self::Import => 2_000,
            Self::Export => 8,
            Self::VerificationMail => 100_000,
        }
    }
}

/// How far a job is.
#[derive(Debug)]
enum State {
    /// Nobody has begun.
    Waiting,
    /// Somebody is at it.
    Claimed,
    Completed(Result),
    /// Perhaps with a reason.
    Failed(Option<&'static str>),
}

/// What a job leaves.
#[derive(Debug)]
enum Result {
    Nothing,
    Imported { summary: Summary, errors: Value },
    File(Bytes),
}

/// How many records an import had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) failed: usize,
    pub(super) updated: usize,
    pub(super) inserted: usize,
    pub(super) total: usize,
}

#[derive(Debug)]
struct Job {
    id: String,
    created_at: Timestamp,
    work: Work,
    state: State,
}

/// A job that is to be done now, by whoever got this.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) id: String,
    pub(super) task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Import(Import),
    Export(Arc<Export>),
    VerificationMail(String),
}

/// All jobs of the tenant, and what their files are signed and made with.
#[derive(Debug)]
pub(in crate::emulator) struct Jobs {
    queue: Mutex<Queue>,
    /// Signs the links to files.
    pub(super) key: hmac::Key,
    /// Whose file is being made: one at a time.
    pub(super) turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: HashMap<String, Job>,
    lanes: [Lane; 3],
}

/// The ids of the jobs of one kind, oldest first.
#[derive(Debug, Default)]
struct Lane {
    all: VecDeque<String>,
    waiting: VecDeque<String>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Jobs {
    /// Writes a job down and shows it. None: that would be one import too many at a time.
    pub(super) fn add(&self, work: Work, options: &Options, now: Timestamp) -> Option<Value> {
        let mut queue = self.queue.guard();
        queue.forget_old(now);
        if matches!(work, Work::Import(_)) && queue.active_imports() >= MAX_ACTIVE_IMPORTS {
            return None;
        }
        let job = Job {
            id: format!("job_{}", Alphanumeric.sample_string(&mut rand::rng(), 16)),
            created_at: now,
            work,
            state: State::Waiting,
        };
        let shown = job.show(options, now);
        queue.add(job);
        Some(shown)
    }

    /// The job as `GET /jobs/{id}` shows it, but for the link to its file.
    pub(super) fn shown(&self, id: &str, options: &Options, now: Timestamp) -> Option<Value> {
        let mut queue = self.queue.guard();
        queue.forget_old(now);
        queue.jobs.get(id).map(|job| job.show(options, now))
    }

    /// The errors as `GET /jobs/{id}/errors` shows them; null for none.
    pub(super) fn errors(&self, id: &str, options: &Options, now: Timestamp) -> Option<Value> {
        let mut queue = self.queue.guard();
        queue.forget_old(now);
        let job = queue.jobs.get(id)?;
        Some(match &job.state {
            State::Completed(Result::Imported { errors, .. }) => errors.clone(),
            State::Failed(_) => job.show(options, now),
            _ => Value::Null,
        })
    }

    /// The file of a completed export.
    pub(super) fn file(&self, id: &str, now: Timestamp) -> Option<(Arc<Export>, Bytes)> {
        let mut queue = self.queue.guard();
        queue.forget_old(now);
        match queue.jobs.get(id)? {
            Job {
                work: Work::Export(export),
                state: State::Completed(Result::File(file)),
                ..
            } => Some((export.clone(), file.clone())),
            _ => None,
        }
    }

    pub(super) fn has_file(&self, id: &str) -> bool {
        let queue = self.queue.guard();
        let state = queue.jobs.get(id).map(|job| &job.state);
        matches!(state, Some(State::Completed(Result::File(_))))
    }

    /// The jobs that are due, which are nobody else's from now on. `takes` is how long a job waits to be done; imports
    /// that would wait for too long fail instead.
    pub(super) fn claim_due(&self, takes: SignedDuration, now: Timestamp) -> Vec<Claimed> {
        let mut queue = self.queue.guard();
        let mut claimed = Vec::new();
        for kind in Kind::ALL {
            let times_out = matches!(kind, Kind::Import) && takes >= IMPORT_TIMEOUT;
            let wait = if times_out { IMPORT_TIMEOUT } else { takes };
            while let Some(job) = queue.next_due(kind, wait, now) {
                if times_out {
                    job.state = State::Failed(Some("The job timed out."));
                    continue;
                }
                job.state = State::Claimed;
                claimed.push(Claimed {
                    id: job.id.clone(),
                    task: job.task(),
                });
            }
        }
        claimed
    }

    pub(super) fn end_import(&self, id: &str, imported: Imported) {
        self.end(
            id,
            State::Completed(Result::Imported {
                summary: imported.summary,
                errors: imported.errors,
            }),
        );
    }

    pub(super) fn end_export(&self, id: &str, file: Bytes) {
        self.end(id, State::Completed(Result::File(file)));
    }

    pub(super) fn end_mail(&self, id: &str) {
        self.end(id, State::Completed(Result::Nothing));
    }

    pub(super) fn fail(&self, id: &str, why: Option<&'static str>) {
        self.end(id, State::Failed(why));
    }

    fn end(&self, id: &str, state: State) {
        if let Some(job) = self.queue.guard().jobs.get_mut(id) {
            job.state = state;
        }
    }

    /// Forgets all jobs. Links to their files lead nowhere.
    pub(in crate::emulator) fn clear(&self) {
        *self.queue.guard() = Queue::default();
    }
}

impl Queue {
    fn lane(&mut self, kind: Kind) -> &mut Lane {
        &mut self.lanes[kind as usize]
    }

    fn add(&mut self, job: Job) {
        let kind = job.kind();
        while self.lane(kind).all.len() >= kind.keep() {
            self.forget_oldest(kind);
        }
        self.lane(kind).all.push_back(job.id.clone());
        self.lane(kind).waiting.push_back(job.id.clone());
        self.jobs.insert(job.id.clone(), job);
    }

    fn forget_old(&mut self, now: Timestamp) {
        for kind in Kind::ALL {
            let is_old = |created_at| now.duration_since(created_at) >= KEEP;
            while self
                .created_at(self.lanes[kind as usize].all.front())
                .is_some_and(is_old)
            {
                self.forget_oldest(kind);
            }
        }
    }

    fn forget_oldest(&mut self, kind: Kind) {
        let lane = self.lane(kind);
        let oldest = lane.all.pop_front();
        if lane.waiting.front() == oldest.as_ref() {
            lane.waiting.pop_front();
        }
        if let Some(id) = oldest {
            self.jobs.remove(&id);
        }
    }

    fn created_at(&self, id: Option<&String>) -> Option<Timestamp> {
        id.and_then(|id| self.jobs.get(id))
            .map(|job| job.created_at)
    }

    fn active_imports(&self) -> usize {
        self.lanes[Kind::Import as usize]
            .all
            .iter()
            .rev()
            .filter_map(|id| self.jobs.get(id))
            .filter(|job| matches!(job.state, State::Waiting | State::Claimed))
            .count()
    }

    /// The next job of a kind, if it has waited for so long; it waits no more.
    fn next_due(&mut self, kind: Kind, wait: SignedDuration, now: Timestamp) -> Option<&mut Job> {
        let created_at = self.created_at(self.lanes[kind as usize].waiting.front())?;
        if now.duration_since(created_at) < wait {
            return None;
        }
        let id = self.lane(kind).waiting.pop_front()?;
        self.jobs.get_mut(&id)
    }
}

impl Job {
    fn kind(&self) -> Kind {
        match self.work {
            Work::Import(_) => Kind::Import,
            Work::Export(_) => Kind::Export,
            Work::VerificationMail(_) => Kind::VerificationMail,
        }
    }

    /// What is to be done. The records of an import go along and are not kept.
    fn task(&mut self) -> Task {
        match &mut self.work {
            Work::Import(import) => Task::Import(import.begin()),
            Work::Export(export) => Task::Export(export.clone()),
            Work::VerificationMail(user_id) => Task::VerificationMail(user_id.clone()),
        }
    }

    fn show(&self, options: &Options, now: Timestamp) -> Value {
        let mut shown = match &self.work {
            Work::Import(import) => import.show(),
            Work::Export(export) => export.show(),
            Work::VerificationMail(_) => json!({"type": "verification_email"}),
        };
        shown["id"] = self.id.as_str().into();
        shown["created_at"] = iso(self.created_at).into();
        match &self.state {
            State::Waiting | State::Claimed => self.show_progress(&mut shown, options, now),
            State::Completed(result) => {
                shown["status"] = "completed".into();
                if let Result::Imported { summary, .. } = result {
                    shown["summary"] = json!(summary);
                }
            }
            State::Failed(why) => {
                shown["status"] = "failed".into();
                if let Some(why) = why {
                    shown["status_details"] = (*why).into();
                }
            }
        }
        shown
    }

    /// A fresh job is `pending` (recorded). One that is under way says how far it is, unless it calls that `pending`
    /// too, of which there are recordings without.
    fn show_progress(&self, shown: &mut Value, options: &Options, now: Timestamp) {
        let takes = i128::from(options.jobs.duration_ms);
        let age = now.duration_since(self.created_at).as_millis();
        let status = match age {
            0 => "pending",
            _ => &options.answers.job_running_status,
        };
        shown["status"] = status.into();
        if status != "pending" {
            let left = (takes - age).max(0);
            let done = (100 * age).checked_div(takes).unwrap_or(99).min(99);
            shown["percentage_done"] = json!(done as u64);
            shown["time_left_seconds"] = json!((left / 1000) as u64);
        }
    }
}

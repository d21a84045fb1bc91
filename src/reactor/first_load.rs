//! First load: many new users go to Auth0 by import jobs, where that is faster than a call each.
//!
//! ```text
//! worth it? ─► claim ─► turn (plan, begin) ─► begin the job ─► ask until it is over ─► turn (record)
//! ```
//!
//! Wanted: what an operator waits for an hour at 200 writes a minute is done in minutes; all else stays as it is for a create. The plan
//! says who is created, ids are chosen and calls marked before the file goes out, and what is not known afterwards is looked up.
//!
//! Design: beside the loop that makes one call for each, with leases and deadlines of its own that outlast a job. Only users of whom
//! nothing was ever tried go this way; whom the job refuses is tried again by a call of his own, which tells why. The same users wait
//! longer for a removal meanwhile: until the job is over.
//!
//! Known races:
//! * The answer to the job's begin is lost, the job fails or does not end in time, its result cannot be read: everybody in the file
//!   counts as perhaps applied, and is looked at by the chosen id.
//! * The process dies or stops: the calls stay marked, and whoever comes next looks once [`LONGEST`] is over.
//! * Another reactor, or somebody else, has two imports under way already: nobody waits for that, and it is asked for again later.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Reactor, apply, outcome,
    plan::{self, Call},
};
use crate::{
    auth0::{CallError, Class as Limit, ImportFile, Job, JobState, NewUser, Refusal},
    db::{
        DbError,
        begin::Begun,
        done::{Class, Done, Effect, Failure, Observed},
        mirror::{self, Claim, Terms},
        plan::Action,
    },
    telemetry::with_causes,
};

/// Fewer are there sooner than a job is.
const LEAST: i64 = 200;
/// Counted no further than this.
const MOST: i64 = 100_000;
/// Users in one file.
const IN_A_FILE: i64 = 1_000;
/// Jobs at a time, by Auth0's rule.
const AT_A_TIME: usize = 2;
/// How long a job takes, as long as none was seen.
const USUAL: Duration = Duration::from_secs(60);
/// When a job counts as lost; Auth0 itself gives up after two hours.
pub(super) const LONGEST: Duration = Duration::from_secs(900);
/// Before a job's deadline its result is to be recorded.
const FOR_THE_RECORD: Duration = Duration::from_secs(30);
/// Between two looks at whether it is worth it, and after a job that could not be begun.
const EVERY: Duration = Duration::from_secs(5);
const AFTER_A_REFUSAL: Duration = Duration::from_secs(30);
/// When a missing right, or a missing connection, is asked for again.
const AFTER_A_MISTAKE: Duration = Duration::from_secs(3600);
/// Users in one transaction.
const A_TURN: usize = 256;
/// Between two questions how far a job is.
const POLL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Whether import jobs are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imports {
    /// Each new user is a call.
    Never,
    /// Where it is faster.
    Auto {
        /// Auth0's id of the connection; else it is asked for, which takes the scope `read:connections`.
        connection_id: Option<String>,
    },
}

/// Loads until `stop`; what is under way then stays marked. `loaded` is told of each end of a job, since some of its users may have more
/// to do.
pub(super) async fn run(reactor: Arc<Reactor>, loaded: Arc<Notify>, stop: CancellationToken) {
    let Imports::Auto { connection_id } = reactor.imports.clone() else {
        return;
    };
    let mut load = FirstLoad {
        terms: Terms {
            lease: LONGEST + Duration::from_secs(300),
            call_deadline: LONGEST,
            ..reactor.terms.clone()
        },
        connection: connection_id,
        reactor,
        loaded,
        usual: USUAL,
        told: 0,
    };
    loop {
        let pause = match load.look().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "a first load could not be looked at");
                AFTER_A_REFUSAL
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

struct FirstLoad {
    reactor: Arc<Reactor>,
    terms: Terms,
    loaded: Arc<Notify>,
    /// Auth0's id of the connection, once it is known.
    connection: Option<String>,
    /// How long a job takes, as seen.
    usual: Duration,
    /// So many were there when it was last told.
    told: i64,
}

/// How a file went.
enum Went {
    /// It was imported, in this time.
    Well(Duration),
    /// There was nobody to import.
    Nobody,
    /// Auth0 would not begin it now.
    NotNow,
}

impl FirstLoad {
    /// Imports what there is, if that is worth it, and says when to look again.
    async fn look(&mut self) -> Result<Duration, DbError> {
        let waiting = mirror::new_users(&self.reactor.pool, MOST).await?;
        let Some((by_jobs, by_calls)) = self.times(waiting) else {
            self.told = 0;
            return Ok(EVERY);
        };
        if self.connection.is_none() {
            match self.reactor.client.connection_id().await {
                Ok(Some(id)) => self.connection = Some(id),
                told => {
                    let why = told
                        .err()
                        .map_or("there is no such connection".to_owned(), |error| {
                            with_causes(&error)
                        });
                    tracing::warn!(
                        users = waiting, by_calls_s = by_calls.as_secs(), by_jobs_s = by_jobs.as_secs(), error = %why,
                        "import jobs would be faster: grant read:connections, or set auth0.connection_id"
                    );
                    return Ok(AFTER_A_MISTAKE);
                }
            }
        }
        if waiting > self.told {
            tracing::info!(
                users = waiting,
                eta_s = by_jobs.as_secs(),
                by_calls_s = by_calls.as_secs(),
                "new users go to Auth0 by import jobs"
            );
        }
        self.told = waiting;
        let connection = self.connection.clone().unwrap_or_default();
        let mut jobs = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (reactor, terms, connection) =
                (self.reactor.clone(), self.terms.clone(), connection.clone());
            jobs.spawn(async move { file(&reactor, &terms, &connection).await });
        }
        let mut pause = Duration::ZERO;
        while let Some(went) = jobs.join_next().await {
            self.loaded.notify_one();
            match went {
                Ok(Ok(Went::Well(took))) => self.usual = (self.usual + took) / 2,
                Ok(Ok(Went::Nobody)) => pause = pause.max(EVERY),
                Ok(Ok(Went::NotNow)) => pause = pause.max(AFTER_A_REFUSAL),
                Ok(Err(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(error = %error, "an import was broken off; its users are looked at later");
                    pause = pause.max(AFTER_A_REFUSAL);
                }
            }
        }
        Ok(pause)
    }

    /// How long so many users take by jobs and by calls, if jobs are at least twice as fast.
    fn times(&self, waiting: i64) -> Option<(Duration, Duration)> {
        let budget = self.reactor.client.pace().budget();
        let writes = budget.iter().find(|one| one.class == Limit::WriteUsers);
        times(waiting, writes?.per_second?, self.usual)
    }
}

/// How long so many users take by jobs and by calls, if jobs are at least twice as fast.
fn times(waiting: i64, per_second: f64, a_job: Duration) -> Option<(Duration, Duration)> {
    if waiting < LEAST || per_second <= 0.0 {
        return None;
    }
    let at_a_time = IN_A_FILE * AT_A_TIME as i64;
    let rounds = (waiting + at_a_time - 1) / at_a_time;
    let by_jobs = a_job * u32::try_from(rounds).unwrap_or(u32::MAX);
    let by_calls = Duration::from_secs_f64(waiting as f64 / per_second);
    (by_jobs * 2 <= by_calls).then_some((by_jobs, by_calls))
}

/// One file, from the claim of its users to the record of what became of them.
async fn file(reactor: &Reactor, terms: &Terms, connection: &str) -> Result<Went, DbError> {
    let claims = mirror::claim_new(&reactor.pool, terms, IN_A_FILE).await?;
    if claims.is_empty() {
        return Ok(Went::Nobody);
    }
    let mut begun = Vec::new();
    for some in claims.chunks(A_TURN) {
        match mirror::turn(&reactor.pool, terms, some, &[], true).await {
            Ok(turn) => begun.extend(turn.begun),
            Err(error) => {
                // Nobody waits for leases that last as long as a job.
                let not_made = begun.into_iter().map(apply::not_made).collect();
                record(reactor, terms, &claims, not_made).await;
                return Err(error);
            }
        }
    }
    let started = Instant::now();
    let ends = started + LONGEST - FOR_THE_RECORD;
    let (mut file, mut users, mut done) = (ImportFile::default(), Vec::new(), Vec::new());
    for begun in begun {
        match plan::call(&begun) {
            Ok(Call::Create(new)) if file.push(&new) => users.push((begun, new)),
            // Whom there is no room for, and who has something else to do by now, is the other loop's.
            _ => done.push(apply::not_made(begun)),
        }
    }
    let (went, effects) = match file.users() {
        0 => (Went::Nobody, Vec::new()),
        _ => match reactor.client.begin_import(connection, &file).await {
            Err(error) if error.status() == Some(429) => (
                Went::NotNow,
                users.iter().map(|_| (Effect::NotMade, None)).collect(),
            ),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), users = users.len(), "an import could not be begun");
                let effect = outcome::of_error(Action::Create, &error);
                (
                    Went::NotNow,
                    users
                        .iter()
                        .map(|_| (effect.clone(), error.status()))
                        .collect(),
                )
            }
            Ok(job) => {
                let result = ended(reactor, job, users.len(), ends).await;
                let took = started.elapsed();
                match &result {
                    Ok(refusals) => tracing::info!(
                        users = users.len(),
                        refused = refusals.len(),
                        duration_ms = took.as_millis() as u64,
                        "an import job is done"
                    ),
                    Err(code) => tracing::warn!(
                        users = users.len(),
                        code,
                        "an import job is not known to be done: its users are looked at"
                    ),
                }
                (
                    Went::Well(took),
                    users
                        .iter()
                        .map(|(_, new)| (effect(new, &result), Some(202)))
                        .collect(),
                )
            }
        },
    };
    done.extend(
        users
            .into_iter()
            .zip(effects)
            .map(|((begun, _), (effect, status))| over(begun, effect, status, started)),
    );
    record(reactor, terms, &claims, done).await;
    Ok(went)
}

/// Waits until the job is over. Whom it refused, or why that is not known.
async fn ended(
    reactor: &Reactor,
    mut job: Job,
    users: usize,
    ends: Instant,
) -> Result<Vec<Refusal>, &'static str> {
    let mut pause = POLL.0;
    loop {
        match job.state {
            JobState::Completed(_) => break,
            JobState::Failed => return Err("import_failed"),
            JobState::UnderWay if Instant::now() + pause >= ends => {
                return Err("import_unfinished");
            }
            JobState::UnderWay => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(POLL.1);
        // A question that gets no answer is asked again.
        match reactor.client.job(&job.id).await {
            Ok(shown) => job = shown,
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "how far an import is could not be asked")
            }
        }
    }
    let summary = job.summary.ok_or("import_unexplained")?;
    let refusals = match summary.failed {
        0 => Vec::new(),
        _ => refusals(reactor, &job.id, ends).await?,
    };
    let is_all =
        summary.total == users as u64 && summary.inserted + summary.failed == summary.total;
    let is_told = refusals.len() as u64 == summary.failed
        && refusals.iter().all(|refusal| refusal.id.is_some());
    match is_all && is_told {
        true => Ok(refusals),
        false => Err("import_unexplained"),
    }
}

async fn refusals(
    reactor: &Reactor,
    job: &str,
    ends: Instant,
) -> Result<Vec<Refusal>, &'static str> {
    loop {
        match reactor.client.refusals(job).await {
            Ok(refusals) => return Ok(refusals),
            Err(CallError::Malformed { .. }) => return Err("import_unexplained"),
            Err(_) if Instant::now() + POLL.1 >= ends => return Err("import_unexplained"),
            Err(_) => sleep(POLL.1).await,
        }
    }
}

/// What the job's result means for one of its users.
fn effect(new: &NewUser, result: &Result<Vec<Refusal>, &'static str>) -> Effect {
    let failed = |class, code: &str, perhaps_applied| {
        Effect::Failed(Failure {
            class,
            code: code.to_owned(),
            retry_after: None,
            perhaps_applied,
        })
    };
    match result {
        Err(code) => failed(Class::Transient, code, true),
        Ok(refusals) => match refusals
            .iter()
            .find(|refusal| refusal.id.as_ref() == Some(&new.id))
        {
            Some(refusal) if refusal.code.to_uppercase().contains("DUPLICATE") => {
                failed(Class::Conflict, "user_exists", false)
            }
            // A call of his own tells why.
            Some(_) => failed(Class::Transient, "import_refused", false),
            None => Effect::Observed(Observed {
                auth0_user_id: new.id.as_str().to_owned(),
                email: Some(new.email.to_lowercase()),
                email_verified: true,
                name: new.name.clone(),
                blocked: false,
                has_logged_in: false,
                app_metadata: new.app_metadata.clone(),
                user_metadata: new.user_metadata.clone(),
            }),
        },
    }
}

fn over(begun: Begun, effect: Effect, status: Option<u16>, started: Instant) -> Done {
    Done {
        effect,
        status,
        started,
        duration: started.elapsed(),
        ..apply::not_made(begun)
    }
}

/// Records until it is recorded, or until others look at the accounts anyway.
async fn record(reactor: &Reactor, terms: &Terms, claims: &[Claim], done: Vec<Done>) {
    let until = Instant::now() + FOR_THE_RECORD;
    let mut claims: Vec<Claim> = claims.to_vec();
    let mut done = done;
    while !claims.is_empty() && Instant::now() < until {
        let (mut claims_left, mut done_left) = (Vec::new(), Vec::new());
        for some in claims.chunks(A_TURN) {
            let mine: Vec<Done> = done
                .iter()
                .filter(|done| some.iter().any(|claim| claim.user_key == done.user_key))
                .cloned()
                .collect();
            let is_left = |key: &str, left: &std::collections::HashSet<String>| left.contains(key);
            let left = match mirror::turn(&reactor.pool, terms, some, &mine, false).await {
                Ok(turn) => turn.held_up,
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "an import could not be recorded yet");
                    some.iter().map(|claim| claim.user_key.clone()).collect()
                }
            };
            claims_left.extend(
                some.iter()
                    .filter(|claim| is_left(&claim.user_key, &left))
                    .cloned(),
            );
            done_left.extend(
                mine.into_iter()
                    .filter(|done| is_left(&done.user_key, &left)),
            );
        }
        (claims, done) = (claims_left, done_left);
        if !claims.is_empty() {
            sleep(super::AFTER_A_FAULT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_chosen_where_they_are_at_least_twice_as_fast() {
        let minute = Duration::from_secs(60);
        // 200 writes a minute, of which Roster takes 80 %.
        let per_second = 200.0 / 60.0 * 0.8;
        assert_eq!(times(100, per_second, minute), None);
        assert_eq!(times(300, per_second, minute), None);
        let (by_jobs, by_calls) = times(10_000, per_second, minute).expect("jobs");
        assert_eq!((by_jobs, by_calls.as_secs() / 60), (minute * 5, 62));
        assert_eq!(times(10_000, 1_000.0, minute), None);
        assert_eq!(times(10_000, 0.0, minute), None);
    }
}

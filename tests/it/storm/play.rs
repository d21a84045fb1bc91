//! One storm: it is set up, rages, becomes quiet, and is judged.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    faults::{Answers, Counts, Fault},
    history::{History, Mix, What},
    operator, oracle,
    place::Stage,
    process::Process,
    quiet,
    sabotage::Sabotage,
    session::{Session, Unheard},
    statements::Tx,
    way::{Flow, Way},
};
use crate::support::world::Tenant;

/// Many times longer than any storm lasts, on a machine however busy: what is not over by then never ends.
const LONGEST: Duration = Duration::from_secs(900);
/// What is not noticed by then is not noticed at all: the last look after a wake comes a second after it, the next poll in an hour.
const NOTICED: Duration = Duration::from_secs(30);

/// How a storm ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Empty: well.
    pub(super) wrong: Vec<String>,
    pub(super) counts: Counts,
}

/// The reactors of a storm, each with its way to the database.
pub(super) struct Crew {
    pub(super) seats: Vec<(Way, Mutex<Option<Process>>)>,
    killed: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Crew {
    async fn start(stage: &Stage<'_>, number: usize) -> Self {
        let mut seats = Vec::new();
        for _ in 0..number {
            let way = Way::to(&stage.database.url()).await;
            let process = Process::start(stage.reactor(&way), way.endpoint());
            seats.push((way, Mutex::new(Some(process))));
        }
        Self {
            seats,
            killed: Mutex::default(),
        }
    }

    pub(super) fn kill(&self, process: Process) {
        let ends = process.kill();
        let killed = self.killed.lock();
        killed.unwrap_or_else(PoisonError::into_inner).push(ends);
    }

    /// Returns once nothing moves any more of those that were killed.
    pub(super) async fn are_dead(&self) {
        let killed =
            std::mem::take(&mut *self.killed.lock().unwrap_or_else(PoisonError::into_inner));
        let buried =
            tokio::task::spawn_blocking(|| killed.into_iter().map(|ends| ends.join()).collect());
        let buried: Vec<std::thread::Result<()>> = buried.await.expect("a thread that waits");
        assert!(buried.iter().all(Result::is_ok), "{buried:?}");
    }

    fn seat(&self, which: usize) -> &(Way, Mutex<Option<Process>>) {
        &self.seats[which % self.seats.len()]
    }
}

/// Takes a process from its seat, or puts one there.
pub(super) fn exchange(seat: &Mutex<Option<Process>>, process: Option<Process>) -> Option<Process> {
    std::mem::replace(
        &mut *seat.lock().unwrap_or_else(PoisonError::into_inner),
        process,
    )
}

/// Plays this history once.
pub(super) async fn play(
    tenant: &Tenant,
    history: &History,
    mix: &Mix,
    sabotage: Option<Sabotage>,
) -> Outcome {
    let counts = Counts::default();
    let played = async {
        let stage = Stage::set(tenant, sabotage, mix, history).await;
        let crew = Crew::start(&stage, history.reactors).await;
        let answers = Answers::new(counts.clone());
        while mix.settled && quiet::left(&stage).await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        let mut wrong = match mix.bursts {
            true => in_bursts(&stage, &crew, history, mix, &counts).await,
            false => rage(&stage, &crew, &answers, history, mix, &counts).await,
        };
        answers.end(tenant).await;
        wrong.extend(quiet::comes(&stage, crew, history, mix, &counts).await);
        wrong.extend(oracle::verdict(&stage, &counts).await);
        count(&stage, &counts).await;
        wrong
    };
    let wrong = match tokio::time::timeout(LONGEST, played).await {
        Ok(wrong) => wrong,
        Err(_) => vec![format!("it was not over after {LONGEST:?}")],
    };
    Outcome { wrong, counts }
}

/// Everything at its time, all at once.
async fn rage(
    stage: &Stage<'_>,
    crew: &Crew,
    answers: &Answers,
    history: &History,
    mix: &Mix,
    counts: &Counts,
) -> Vec<Unheard> {
    let others = stage.auth0();
    let start = Instant::now();
    let sessions = join_all((0..mix.sessions).map(|number| async move {
        let list: Vec<(Duration, &Tx)> = history
            .events
            .iter()
            .filter_map(|event| match &event.what {
                What::Tx(session, tx) if *session == number => Some((event.at, tx)),
                _ => None,
            })
            .collect();
        Session::open(stage, counts).await.run(start, &list).await
    }));
    let others = &others;
    let beside = join_all(history.events.iter().map(|event| async move {
        match &event.what {
            What::Tx(..) => {}
            What::Deed(deed) => {
                sleep_until(start + event.at).await;
                operator::act(stage, others, deed, counts).await;
            }
            What::Fault(fault) => {
                sleep_until(start + event.at).await;
                strike(stage, crew, answers, fault, counts).await;
            }
        }
    }));
    let (unheard, _) = tokio::join!(sessions, beside);
    unheard.into_iter().flatten().collect()
}

async fn strike(stage: &Stage<'_>, crew: &Crew, answers: &Answers, fault: &Fault, counts: &Counts) {
    let tenant = stage.tenant;
    match fault {
        Fault::Answers {
            word,
            route,
            times,
            how,
        } => answers.ask(tenant, word, Some(route), *times, how).await,
        Fault::Outage { how, ms } => {
            answers
                .outage(tenant, how, Duration::from_millis(*ms))
                .await;
        }
        Fault::Kill { which, down_ms } => {
            let (way, seat) = crew.seat(*which);
            let Some(process) = exchange(seat, None) else {
                return;
            };
            crew.kill(process);
            counts.add("kill", 1);
            sleep(Duration::from_millis(*down_ms)).await;
            exchange(
                seat,
                Some(Process::start(stage.reactor(way), way.endpoint())),
            );
        }
        Fault::Stall { which, ms } => {
            let lasts = Duration::from_millis(*ms);
            let (_, seat) = crew.seat(*which);
            if let Some(process) = &*seat.lock().unwrap_or_else(PoisonError::into_inner) {
                process.stall(lasts);
                counts.add("stall", 1);
            }
            // Who is killed while it stands still may move once more at the end of it.
            sleep(lasts).await;
        }
        Fault::Terminate => {
            let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                 where datname = current_database() and application_name = 'roster'";
            let row = stage.control.query_one(terminate, &[]).await;
            let number: i64 = row.map(|row| row.get(0)).unwrap_or_default();
            counts.add("terminated", number.cast_unsigned());
        }
        Fault::CutWay { which, ms } => {
            let (way, _) = crew.seat(*which);
            counts.add("way cut", way.set(Flow::Cut));
            sleep(Duration::from_millis(*ms)).await;
            way.set(Flow::Open);
        }
        Fault::FreezeWay {
            which,
            ms,
            then_cut,
        } => {
            let (way, _) = crew.seat(*which);
            counts.add("way frozen", way.set(Flow::Frozen));
            sleep(Duration::from_millis(*ms)).await;
            if *then_cut {
                way.set(Flow::Cut);
                sleep(Duration::from_millis(10)).await;
            }
            way.set(Flow::Open);
        }
    }
}

/// A transaction of each session at a time; what they wrote has to be noticed before the next ones.
async fn in_bursts(
    stage: &Stage<'_>,
    crew: &Crew,
    history: &History,
    mix: &Mix,
    counts: &Counts,
) -> Vec<Unheard> {
    while quiet::listening(stage).await < crew.seats.len() {
        sleep(Duration::from_millis(20)).await;
    }
    let mut sessions = Vec::new();
    for _ in 0..mix.sessions {
        sessions.push(Session::open(stage, counts).await);
    }
    let all: Vec<&Tx> = history
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Tx(_, tx) => Some(tx),
            _ => None,
        })
        .collect();
    for burst in all.chunks(mix.sessions) {
        let said = sessions
            .iter_mut()
            .zip(burst)
            .map(|(session, tx)| session.say(tx));
        let unheard: Vec<Unheard> = join_all(said)
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect();
        if !unheard.is_empty() {
            return unheard;
        }
        let ends = Instant::now() + NOTICED;
        while quiet::unnoticed(stage).await > 0 {
            if Instant::now() > ends {
                return vec![format!("{burst:?} was not noticed")];
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    Vec::new()
}

/// What the storm was, in numbers.
async fn count(stage: &Stage<'_>, counts: &Counts) {
    let requests = stage.tenant.list("requests").await;
    let calls = requests
        .iter()
        .filter(|r| r["path"] != "/oauth/token")
        .count();
    counts.add("calls", calls as u64);
    let deleted = requests
        .iter()
        .filter(|r| r["method"] == "DELETE" && r["status"] == 204);
    counts.add("deleted", deleted.count() as u64);
    counts.add("mails", stage.tenant.list("mail").await.len() as u64);
    let changes = "select count(*) from storm.history where is_mirrored";
    let row = stage.control.query_one(changes, &[]).await.expect(changes);
    counts.add("changes", row.get::<_, i64>(0).cast_unsigned());
}

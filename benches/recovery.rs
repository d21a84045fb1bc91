//! `cargo bench --bench recovery`: how long changes wait once PostgreSQL is back after it was away.
//!
//! Four ways to be away, while `roster run` is at work: a restart in order and a crash, both over at once, a crash that takes half a
//! minute to mend, and the loss of the primary, after which its standby is promoted (streaming replication, both hosts in
//! `DATABASE_URL`). A row is changed as soon as somebody can write again; time runs from there to the request at Auth0. So it
//! is all of Roster's own delay: to notice, to connect, to look. How long nobody could write is shown beside it.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use roster::{
    db::connect::Endpoint,
    demo::cluster::{Cluster, Stop},
};

use support::{
    database::Database,
    figures::{Report, median, percentile, print_machine},
    processes::{self, Emulator},
    rounds,
};

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
/// Longer than the waits between two tries to connect grow.
const LONG: Duration = Duration::from_secs(30);
const LISTENS: &str = "select exists (select from roster.reactors where bell_heard_at is not null)";

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new("PostgreSQL comes back");
    let mut database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    database.people(10).await?;
    emulator.put(&database.accounts().await?).await?;
    let reactor = processes::run(&database.url(), &emulator.url)?;
    database.until(LISTENS).await?;
    for (what, how, pause) in [
        ("after a restart", Stop::Fast, Duration::ZERO),
        ("after a crash", Stop::Immediate, Duration::ZERO),
        ("after a crash mended in 30 s", Stop::Immediate, LONG),
    ] {
        let mut measured = Vec::new();
        for round in 0..rounds() {
            let gone = Instant::now();
            database.cluster.halt(how).await?;
            tokio::time::sleep(pause).await;
            database.cluster.resume().await?;
            database.sql = session(&database.cluster).await?;
            let away = gone.elapsed();
            let role = format!("{what} {round}");
            measured.push((away, arrives(&database.sql, &emulator, &role).await?));
            database.until_settled().await?;
        }
        show(&mut report, what, measured);
    }
    drop((reactor, emulator));
    database.stop().await;

    let mut measured = Vec::new();
    for _ in 0..rounds() {
        measured.push(failover().await?);
    }
    show(&mut report, "after a failover", measured);
    report.print("8-recovery")
}

fn show(report: &mut Report, what: &str, measured: Vec<(Duration, Duration)>) {
    println!("{what}: {measured:.2?}");
    let (mut away, mut waited): (Vec<f64>, Vec<f64>) = measured
        .iter()
        .map(|(away, waited)| (away.as_secs_f64(), waited.as_secs_f64()))
        .unzip();
    let worst = percentile(&mut waited, 1.0);
    report.row(
        &format!("{what}, a change arrives after"),
        format!("{:.1} s", median(waited)),
        format!(
            "at most {worst:.1} s; nobody could write for {:.1} s",
            percentile(&mut away, 0.5)
        ),
    );
}

/// The primary is lost and its standby promoted. Gives for how long nobody could write, and how long the first change after that waited.
async fn failover() -> Result<(Duration, Duration)> {
    let mut database = Database::start().await?;
    let standby = database.cluster.standby().await?;
    let emulator = Emulator::start()?;
    database.people(10).await?;
    emulator.put(&database.accounts().await?).await?;
    let reactor = processes::run(&both(&database.cluster, &standby), &emulator.url)?;
    database.until(LISTENS).await?;
    database
        .until("select bool_and(replay_lsn >= pg_current_wal_lsn()) from pg_stat_replication")
        .await?;
    let gone = Instant::now();
    database.cluster.halt(Stop::Immediate).await?;
    standby.promote().await?;
    database.sql = session(&standby).await?;
    let away = gone.elapsed();
    let waited = arrives(&database.sql, &emulator, "after a failover").await?;
    drop((reactor, emulator));
    database.stop().await;
    standby.stop().await;
    Ok((away, waited))
}

/// Both hosts; sessions are with the one that accepts writes.
fn both(first: &Cluster, second: &Cluster) -> String {
    let url = first.url("postgres");
    let login = url.rsplit_once('@').map_or("", |(login, _)| login);
    format!(
        "{login}@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        first.port(),
        second.port()
    )
}

/// As soon as there is one to be had.
async fn session(server: &Cluster) -> Result<tokio_postgres::Client> {
    let endpoint = Endpoint::parse(&server.socket_url("postgres"))?;
    let begin = Instant::now();
    loop {
        match endpoint.session().await {
            Ok(session) => return Ok(session),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Changes a row; gives how long it takes until Auth0 is asked to.
async fn arrives(
    sql: &tokio_postgres::Client,
    emulator: &Emulator,
    role: &str,
) -> Result<Duration> {
    let update = "update users set role = $1 where email = 'person1@example.test'";
    sql.execute(update, &[&role]).await?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let asked = emulator.requests().await?;
        let is_it = |role_asked: &serde_json::Value| role_asked == role;
        if asked
            .iter()
            .any(|request| is_it(&request["body"]["app_metadata"]["role"]))
        {
            return Ok(begin.elapsed());
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("no request {role:?}")
}

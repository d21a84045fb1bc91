//! `cargo bench --bench drain`: how fast a backlog goes out. 20 000 users who are mirrored get another role by one UPDATE
//! while Roster is paused; then the pause ends, and each of them costs one PATCH.
//!
//! The emulator answers without limits from a process of its own; `roster run` is the release binary with the default
//! configuration, but for what `ROSTER__REACTOR__…` in the environment says. Time runs from the end of the pause to the last
//! PATCH that the emulator received, and to the moment when nobody is due any more: that includes the look at everybody
//! which the end of a pause brings. All three share this machine's cores, so what each used of them is shown beside it.

mod support;

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use support::{
    database::Database,
    figures::{Report, median, print_machine, thousands},
    processes::{self, Emulator, Process, postgres_usage},
    rounds,
};

const USERS: u32 = 20_000;
/// The best peer's figure for the same work (pg-boss, tuned), measured on another day.
const BEST_PEER: f64 = 8_596.0;

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    database.people(USERS).await?;
    emulator.put(&database.accounts().await?).await?;
    let reactor = processes::run(&database.url(), &emulator.url)?;
    database
        .until("select exists (select from roster.reactors where last_listen_at is not null)")
        .await?;

    let mut drained = Vec::new();
    for _ in 0..rounds() {
        let round = drain(&database, &emulator, &reactor).await?;
        println!("{round:.2?}");
        drained.push(round);
    }
    let middle = |figure: fn(&Drained) -> f64| median(drained.iter().map(figure).collect());
    let users = f64::from(USERS);
    let rate = users / middle(|d| d.last_call.as_secs_f64());
    let mut report = Report::new(&format!("drain of {} queued changes", thousands(users)));
    report.row(
        "to the last PATCH",
        format!("{} events/s", thousands(rate)),
        format!(
            "best peer {} ({:.2}×)",
            thousands(BEST_PEER),
            rate / BEST_PEER
        ),
    );
    report.row(
        "until all is recorded",
        format!(
            "{} events/s",
            thousands(users / middle(|d| d.settled.as_secs_f64()))
        ),
        "",
    );
    report.row(
        "first PATCH after the pause",
        format!("{:.0} ms", middle(|d| d.first_call.as_secs_f64() * 1000.0)),
        "",
    );
    let a_call = |seconds: f64| format!("{:.0} µs a change", seconds * 1e6 / users);
    for (name, cpu, memory) in [
        (
            "reactor",
            middle(|d| d.reactor_cpu),
            format!("peak {:.0} MB", reactor.usage().peak_kb / 1024.0),
        ),
        (
            "emulator",
            middle(|d| d.emulator_cpu),
            format!("peak {:.0} MB", emulator.process.usage().peak_kb / 1024.0),
        ),
        (
            "PostgreSQL",
            middle(|d| d.postgres_cpu),
            format!(
                "{:.0} MB at the end",
                postgres_usage(&database.cluster).now_kb / 1024.0
            ),
        ),
    ] {
        report.row(
            &format!("processor time of {name}"),
            format!("{cpu:.2} s"),
            format!("{}; {memory}", a_call(cpu)),
        );
    }
    report.print("3-drain")?;
    drop((reactor, emulator));
    database.stop().await;
    Ok(())
}

#[derive(Debug)]
struct Drained {
    first_call: Duration,
    last_call: Duration,
    settled: Duration,
    reactor_cpu: f64,
    emulator_cpu: f64,
    postgres_cpu: f64,
}

async fn drain(database: &Database, emulator: &Emulator, reactor: &Process) -> Result<Drained> {
    database.tidy().await?;
    emulator.forget_requests().await?;
    let sql = &database.sql;
    sql.batch_execute("select roster.pause('a bench')").await?;
    sql.batch_execute(
        "update users set role = case role when 'Artist' then 'Editor' else 'Artist' end",
    )
    .await?;
    database
        .until("select not exists (select from roster.changes where folded_at is null)")
        .await?;
    let queued = database
        .number("select count(*) from roster.mirror where due")
        .await?;
    ensure!(queued == i64::from(USERS), "{queued} users are queued");
    sql.batch_execute("checkpoint").await?;

    let used = || {
        [
            reactor.usage().cpu_seconds,
            emulator.process.usage().cpu_seconds,
            postgres_usage(&database.cluster).cpu_seconds,
        ]
    };
    let before = used();
    sql.batch_execute("select roster.resume()").await?;
    let resumed = Timestamp::now();
    let settled = database.until_settled().await?;
    let after = used();

    let mut patched = HashSet::new();
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    let mut requests = emulator.requests().await?;
    // A token is asked for now and then.
    requests.retain(|request| request["route"] != "/oauth/token");
    for request in &requests {
        ensure!(
            request["method"] == "PATCH" && request["status"] == 200,
            "only changes that are accepted: {request}"
        );
        patched.insert(request["path"].as_str().context("a path")?);
        let at: Timestamp = request["at"].as_str().context("a time")?.parse()?;
        (first, last) = (first.min(at), last.max(at));
    }
    ensure!(
        requests.len() == USERS as usize && patched.len() == requests.len(),
        "{} calls for {} users",
        requests.len(),
        patched.len()
    );
    all_agree(database, emulator).await?;
    Ok(Drained {
        first_call: since(resumed, first),
        last_call: since(resumed, last),
        settled,
        reactor_cpu: after[0] - before[0],
        emulator_cpu: after[1] - before[1],
        postgres_cpu: after[2] - before[2],
    })
}

fn since(begin: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(begin)).unwrap_or_default()
}

/// The tenant shows what the rows say.
async fn all_agree(database: &Database, emulator: &Emulator) -> Result<()> {
    let role: String = database
        .sql
        .query_one(
            "select min(role) from users having min(role) = max(role)",
            &[],
        )
        .await?
        .get(0);
    let users = emulator.users().await?;
    let agree = |user: &&Value| user["app_metadata"]["role"] == role.as_str();
    let agreeing = users.iter().filter(agree).count();
    ensure!(
        users.len() == USERS as usize && agreeing == users.len(),
        "{agreeing} of {} users agree",
        users.len()
    );
    Ok(())
}

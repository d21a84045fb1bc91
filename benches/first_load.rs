//! `cargo bench --bench first_load`: 10 000 new users (`USERS=2000` for another number) on the plan most tenants have, which takes 200 writes a
//! minute: by import jobs, as Roster does by itself, until the last one is linked; and with a call for each, of which two minutes are
//! measured and the rest is reckoned, since it would take an hour.
//!
//! The emulator has the plan's buckets and real time. How long Auth0 takes for an import job of 1 000 users it does not say: here it takes
//! a minute.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use support::{
    database::Database,
    figures::{Report, print_machine, thousands},
    processes::{self, Emulator, Process},
};

const USERS: u32 = 10_000;
const A_JOB: Duration = Duration::from_secs(60);
/// The bucket is full at first: what comes then is no measure.
const BEGINNING: Duration = Duration::from_secs(30);
const MEASURED: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(3_600);
const POLL: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let users = std::env::var("USERS").ok().and_then(|n| n.parse().ok());
    let users: u32 = users.unwrap_or(USERS);
    let mut report = Report::new(&format!(
        "{} new users at 200 writes a minute",
        thousands(users.into())
    ));

    let (database, emulator, reactor) = begin(users, "auto").await?;
    let start = Instant::now();
    while linked(&database).await? < i64::from(users) {
        ensure!(start.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(POLL).await;
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let accounts = emulator.users().await?.len();
    ensure!(accounts == users as usize, "{accounts} accounts");
    let jobs = calls(&emulator, "/api/v2/jobs/users-imports").await?;
    let creates = calls(&emulator, "/api/v2/users").await?;
    report.row(
        "by import jobs",
        format!("{minutes:.1} minutes"),
        format!("{jobs} jobs of a minute, {creates} calls of POST /users"),
    );
    drop((reactor, emulator));
    database.stop().await;

    let (database, emulator, reactor) = begin(users, "never").await?;
    tokio::time::sleep(BEGINNING).await;
    let (start, before) = (Instant::now(), linked(&database).await?);
    tokio::time::sleep(MEASURED).await;
    let rate = (linked(&database).await? - before) as f64 / (start.elapsed().as_secs_f64() / 60.0);
    report.row(
        "with a call for each",
        format!("{:.0} minutes", f64::from(users) / rate),
        format!("reckoned from {rate:.0} users a minute"),
    );
    report.print("13-first-load")?;
    drop((reactor, emulator));
    database.stop().await;
    Ok(())
}

/// Users are written, and Roster is started.
async fn begin(users: u32, jobs: &str) -> Result<(Database, Emulator, Process)> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    let duration = A_JOB.as_millis();
    let options = json!({"plan": "essentials", "jobs": {"duration_ms": duration}});
    emulator.options(options).await?;
    let insert = format!(
        "insert into users (email, name) select format('person%s@example.test', n), 'Person' from generate_series(1, {users}) n"
    );
    database.sql.batch_execute(&insert).await?;
    let reactor = processes::run_with(
        &database.url(),
        &emulator.url,
        &[("ROSTER__AUTH0__IMPORT_JOBS", jobs)],
    )?;
    Ok((database, emulator, reactor))
}

async fn linked(database: &Database) -> Result<i64> {
    let linked = "select count(*) from roster.accounts where state = 'linked' and call_id is null";
    database.number(linked).await
}

/// POSTs there that were answered well.
async fn calls(emulator: &Emulator, path: &str) -> Result<usize> {
    let requests = emulator.requests().await?;
    let well = requests.iter().filter(|request| {
        request["method"] == "POST"
            && request["path"] == path
            && request["status"]
                .as_u64()
                .is_some_and(|status| status < 300)
    });
    Ok(well.count())
}

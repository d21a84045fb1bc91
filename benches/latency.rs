//! `cargo bench --bench latency`: how soon a committed change is asked of Auth0, and how many calls a change costs.
//!
//! Everything is real and on this machine: a private PostgreSQL that flushes its commits, the emulator and `roster run` of
//! the release binary in processes of their own. Commits and requests are timed by the same clock; the emulator's log has
//! whole milliseconds, rounded down, so half a millisecond is added to each.

mod support;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use support::{
    database::Database,
    figures::{Report, percentile, print_machine, show_ms},
    processes::{self, Emulator},
};

const USERS: u32 = 500;
const CHANGES_A_SECOND: u32 = 50;
const CHANGES: u32 = 1500;

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    let reactor = processes::run(&database.url(), &emulator.url)?;
    let people = format!(
        "insert into users (email, name) select 'person' || n || '@example.test', 'Person ' || n from generate_series(1, {USERS}) n"
    );
    database.sql.batch_execute(&people).await?;
    settled(&database).await?;

    let mut report = Report::new("one change at a time");
    latency(&database, &emulator, &mut report).await?;
    calls(&database, &emulator, &mut report).await?;
    report.print("5-latency")?;
    drop((reactor, emulator));
    database.stop().await;
    Ok(())
}

async fn latency(database: &Database, emulator: &Emulator, report: &mut Report) -> Result<()> {
    let rows = database
        .sql
        .query("select id, auth0_user_id from users order by id", &[])
        .await?;
    let ids: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    ensure!(ids.len() == USERS as usize, "{} users are there", ids.len());
    emulator.forget_requests().await?;

    let update = database
        .sql
        .prepare("update users set role = $2 where id = $1")
        .await?;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / CHANGES_A_SECOND);
    let mut committed: HashMap<String, Vec<f64>> = HashMap::new();
    for number in 0..CHANGES {
        tick.tick().await;
        let (id, auth0_id) = &ids[number as usize % ids.len()];
        let role = format!("Role {number}");
        database.sql.execute(&update, &[id, &role]).await?;
        committed.entry(auth0_id.clone()).or_default().push(now());
    }
    settled(database).await?;

    let mut waits = Vec::new();
    for request in patches(emulator).await? {
        let path = request["path"].as_str().unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let at: Timestamp = request["at"].as_str().context("a time")?.parse()?;
        let at = at.as_nanosecond() as f64 / 1e9 + 0.0005;
        let commits = committed
            .get_mut(&id.replace("%7C", "|"))
            .context("a request for a known user")?;
        ensure!(!commits.is_empty(), "more requests than changes for {id}");
        waits.push((at - commits.remove(0)).max(0.0) * 1000.0);
    }
    ensure!(
        committed.values().all(Vec::is_empty),
        "{} requests for {CHANGES} changes",
        waits.len()
    );
    for (name, p) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        report.row(
            &format!("commit → request received, {CHANGES_A_SECOND} changes/s, {name}"),
            show_ms(percentile(&mut waits, p)),
            match name {
                "p50" => "best peer 1.1 ms",
                "p99" => "best peer 9.9 ms",
                _ => "",
            },
        );
    }
    report.row(
        "calls per changed user",
        format!("{:.3}", waits.len() as f64 / f64::from(CHANGES)),
        "",
    );
    Ok(())
}

async fn calls(database: &Database, emulator: &Emulator, report: &mut Report) -> Result<()> {
    let count = async |statements: &[&str]| -> Result<usize> {
        emulator.forget_requests().await?;
        for statement in statements {
            database.sql.batch_execute(statement).await?;
        }
        settled(database).await?;
        Ok(patches(emulator).await?.len())
    };
    let everybody = count(&["update users set role = 'Everybody'"]).await?;
    ensure!(everybody == USERS as usize, "{everybody} calls");
    report.row(
        &format!("calls for one UPDATE of {USERS} users"),
        everybody.to_string(),
        "",
    );
    let nothing = count(&[
        "update users set role = role, updated_at = now()",
        "update users set created_at = now()",
    ])
    .await?;
    ensure!(nothing == 0, "{nothing} calls for nothing");
    report.row(
        "calls for updates that change nothing mirrored",
        nothing.to_string(),
        "",
    );
    let quick: Vec<String> = (0..10)
        .map(|n| format!("update users set role = 'Quick {n}' where id = 1"))
        .collect();
    let quick: Vec<&str> = quick.iter().map(String::as_str).collect();
    let quick = count(&quick).await?;
    ensure!((1..=10).contains(&quick), "{quick} calls");
    report.row(
        "calls for ten quick updates of one user",
        quick.to_string(),
        "",
    );
    Ok(())
}

async fn patches(emulator: &Emulator) -> Result<Vec<Value>> {
    let mut requests = emulator.requests().await?;
    requests.retain(|request| request["method"] == "PATCH");
    Ok(requests)
}

/// Nothing is left to do, ids written back included: that is a commit of its own.
async fn settled(database: &Database) -> Result<()> {
    database
        .until(
            "select reactors > 0 and pending = 0 and unfolded = 0 \
                and not exists (select from public.users where auth0_user_id is null) from roster.status",
        )
        .await?;
    Ok(())
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

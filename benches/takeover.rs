//! `cargo bench --bench takeover`: how long a user waits whose reactor was killed with SIGKILL, while another one runs.
//!
//! Two kinds of users: one whose reactor was only looking, so that nothing can be under way, and one with a write under way, which Auth0
//! might still apply: that is waited for before the account is looked at and the change made. Time runs from the kill to the
//! other reactor's first request for that user, or to the moment when Auth0 shows the change.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use support::{
    database::Database,
    figures::{Report, median, print_machine},
    processes::{self, Emulator, Process},
    rounds,
};

/// More than that a reactor must have been heard before it may give another one up.
const HEARD: &str = "select count(*) = 2 from roster.reactors where stopped_at is null and heartbeat_at > now() - interval '2 s' \
    and beating_since < now() - interval '6 s'";
const USER: &str = "person1@example.test";

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    database.people(10).await?;
    emulator.put(&database.accounts().await?).await?;

    let (mut looks, mut writes) = (Vec::new(), Vec::new());
    let mut one = processes::run(&database.url(), &emulator.url)?;
    for round in 0..rounds().min(3) {
        let look = "select roster.resync('person1@example.test')";
        let (other, took) = take_over(&database, &emulator, one, "GET", look, |_| true).await?;
        looks.push(took);
        let role = format!("Role {round}");
        let write = format!("update users set role = '{role}' where email = '{USER}'");
        let shown = |user: &Value| user["app_metadata"]["role"] == role.as_str();
        let (other, took) = take_over(&database, &emulator, other, "PATCH", &write, shown).await?;
        writes.push(took);
        one = other;
        println!(
            "round {round}: {:.1} s, {:.1} s",
            looks[round], writes[round]
        );
    }
    let mut report = Report::new("a reactor is killed");
    let seconds = |figures: Vec<f64>| format!("{:.1} s", median(figures));
    report.row("its users are taken over after", seconds(looks), "");
    report.row(
        "one with a write under way is as the row says after",
        seconds(writes),
        "",
    );
    report.print("7-takeover")?;
    drop((one, emulator));
    database.stop().await;
    Ok(())
}

/// Has the reactor `victim` make a call that never ends, starts another one, kills the first, and waits until the other one has made a
/// call for the user and Auth0 shows what is wanted. Gives the other one, and how many seconds that took.
async fn take_over(
    database: &Database,
    emulator: &Emulator,
    victim: Process,
    method: &str,
    statement: &str,
    shown: impl Fn(&Value) -> bool,
) -> Result<(Process, f64)> {
    database.until_settled().await?;
    let route = format!("{method} /api/v2/users/{{id}}");
    let endless = json!({"route": route, "kind": "delay", "delay_ms": 3_600_000, "times": 1});
    // The other one is ready before the call begins, since its victim gives the call up after ten seconds.
    let other = processes::run(&database.url(), &emulator.url)?;
    database.until(HEARD).await?;
    emulator.fault(endless).await?;
    emulator.forget_requests().await?;
    database.sql.batch_execute(statement).await?;
    database
        .until("select exists (select from roster.leases)")
        .await?;
    let holder =
        "select r.pid::bigint from roster.leases l join roster.reactors r on r.id = l.reactor";
    while !emulator.faults().await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whichever of the two got the user is the one to be killed.
    let pid = database.number(holder).await?;
    let (killed, other) = match pid == i64::from(victim.id()) {
        true => (victim, other),
        false => (other, victim),
    };
    let begin = Instant::now();
    drop(killed);
    while begin.elapsed() < Duration::from_secs(120) {
        let asked = emulator.requests().await?;
        let asked = asked
            .iter()
            .any(|r| r["method"] == method && r["status"] == 200);
        let users = emulator.users().await?;
        let user = users.iter().find(|user| user["email"] == USER);
        if asked && shown(user.context("the user")?) {
            return Ok((other, begin.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("nobody took the user over")
}

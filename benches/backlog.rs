//! `cargo bench --bench backlog`: how long a deleted user can still log in while Auth0 is the slower side. 2 000 users who are mirrored get
//! another role by one UPDATE on a tenant that takes two calls a second, which is work for twenty minutes; meanwhile rows are deleted one
//! by one.
//!
//! Time runs from the end of a DELETE to the block in Auth0, as the emulator shows it; every deletion is measured at another moment of
//! the rate limit's second. `roster run` has the default configuration, so that a fifth of the limit is left to others.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use support::{
    database::Database,
    figures::{Report, median, percentile, print_machine, thousands},
    processes::{self, Emulator},
    rounds,
};

const USERS: u32 = 2_000;
/// Fewer than the guard holds (20).
const DELETIONS_A_ROUND: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    let emulator = Emulator::start()?;
    emulator.options(json!({"plan": "free"})).await?;
    database.people(USERS).await?;
    emulator.put(&database.accounts().await?).await?;
    let reactor = processes::run(&database.url(), &emulator.url)?;
    database
        .until("select exists (select from roster.reactors where last_listen_at is not null)")
        .await?;
    database
        .sql
        .batch_execute("update users set role = 'Editor'")
        .await?;
    while writes(&emulator).await?.len() < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (mut took, mut passed) = (Vec::new(), Vec::new());
    for number in 1..=(rounds() * DELETIONS_A_ROUND).min(18) {
        let (seconds, before_it) = delete(&database, &emulator, number).await?;
        println!("{seconds:.2} s, {before_it} calls went before it");
        took.push(seconds);
        passed.push(before_it as f64);
        // Not always at the same moment of a second.
        tokio::time::sleep(Duration::from_millis(1_000 + 370 * number as u64 % 1_000)).await;
    }
    let left = database
        .number("select count(*) from roster.mirror where due and lane = 'bulk'")
        .await?;
    ensure!(left > 1_000, "the backlog is over: {left} are left");

    let mut report = Report::new(&format!(
        "a row is deleted, {} updates wait for 2 calls a second",
        thousands(f64::from(USERS))
    ));
    let worst = percentile(&mut took, 1.0);
    report.row(
        "blocked in Auth0 after",
        format!("{:.1} s", median(took)),
        format!("at most {worst:.1} s, aim 3 s"),
    );
    let most = percentile(&mut passed, 1.0);
    report.row(
        "calls that went before it",
        format!("{:.0}", median(passed)),
        format!("at most {most:.0}"),
    );
    report.print("9-backlog")?;
    drop((reactor, emulator));
    database.stop().await;
    Ok(())
}

/// The requests that count against the limit of writes.
async fn writes(emulator: &Emulator) -> Result<Vec<Value>> {
    let mut requests = emulator.requests().await?;
    requests.retain(|request| request["method"] == "PATCH");
    Ok(requests)
}

/// Deletes a row; gives the seconds until the user is blocked in Auth0, and how many changes of others went out meanwhile.
async fn delete(database: &Database, emulator: &Emulator, number: usize) -> Result<(f64, usize)> {
    let email = format!("person{}@example.test", USERS as usize - number);
    let delete = "delete from users where email = $1 returning auth0_user_id";
    let id: String = database.sql.query_one(delete, &[&email]).await?.get(0);
    let begin = Instant::now();
    let before = writes(emulator).await?.len();
    while begin.elapsed() < PATIENCE {
        let writes = writes(emulator).await?;
        let block = writes
            .iter()
            .skip(before)
            .position(|request| request["body"]["blocked"] == true && request["status"] == 200);
        let seconds = begin.elapsed().as_secs_f64();
        if let Some(before_it) = block {
            let users = emulator.users().await?;
            let user = users.iter().find(|user| user["user_id"] == id.as_str());
            ensure!(user.context("the user")?["blocked"] == true, "{id}");
            return Ok((seconds, before_it));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("nobody blocked {id}")
}

//! `cargo bench --bench audit`: what it takes to compare everybody with Auth0 itself: the time of `roster audit` from its start to its
//! end, the most memory it ever held, and how that grows from 100 000 to 1 000 000 users. `USERS=100000` measures one size.
//!
//! Three accounts differ and are confirmed by a look each. The emulator writes the file as fast as it can; Auth0 takes its time.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use support::{
    database::Database,
    figures::{Report, median, print_machine, thousands},
    processes::{self, Emulator},
    rounds,
};

const SIZES: [u32; 2] = [100_000, 1_000_000];
const POLL: Duration = Duration::from_millis(20);
const PAGE: u32 = 20_000;

#[tokio::main]
async fn main() -> Result<()> {
    let one = std::env::var("USERS").ok().and_then(|n| n.parse().ok());
    let sizes = one.map_or_else(|| SIZES.to_vec(), |users| vec![users]);
    let mut report = Report::new("audit");
    for users in sizes {
        size(users, &mut report).await?;
    }
    report.print("10-audit")
}

async fn size(users: u32, report: &mut Report) -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    database.people(users).await?;
    let emulator = Emulator::start()?;
    put(&database, &emulator, users).await?;
    let (mut seconds, mut peak_kb) = (Vec::new(), 0.0_f64);
    for _ in 0..rounds().min(3) {
        let begin = Instant::now();
        let mut audit = processes::audit(&database.url(), &emulator.url)?;
        let code = loop {
            // The last look before its end has the most it ever held, but for a moment.
            peak_kb = peak_kb.max(audit.usage().peak_kb);
            match audit.ended()? {
                Some(code) => break code,
                None => tokio::time::sleep(POLL).await,
            }
        };
        seconds.push(begin.elapsed().as_secs_f64());
        ensure!(code == 2, "it ended with {code}");
        let found = database.number("select count(*) from roster.drift").await?;
        ensure!(found == 3, "{found} differences were found");
    }
    let what = format!("{} users", thousands(users.into()));
    report.row(
        &what,
        format!("{:.1} s", median(seconds)),
        format!("{:.0} MB at its most", peak_kb / 1024.0),
    );
    database.stop().await;
    Ok(())
}

/// The emulator gets everybody, three of them otherwise than they should be.
async fn put(database: &Database, emulator: &Emulator, users: u32) -> Result<()> {
    let page = "select auth0_user_id, email, name, app_metadata from roster.accounts where user_key::integer > $1 and user_key::integer <= $2";
    for from in (0..users).step_by(PAGE as usize) {
        let (from, to) = (from as i32, (from + PAGE) as i32);
        let rows = database.sql.query(page, &[&from, &to]).await?;
        let account = |(number, row): (usize, &tokio_postgres::Row)| {
            let name: String = match (from, number) {
                (0, 0..3) => "Somebody".to_owned(),
                _ => row.get(2),
            };
            json!({"user_id": row.get::<_, String>(0), "email": row.get::<_, String>(1), "name": name,
                "app_metadata": row.get::<_, Value>(3)})
        };
        let accounts: Vec<Value> = rows.iter().enumerate().map(account).collect();
        emulator.put(&accounts).await?;
    }
    Ok(())
}

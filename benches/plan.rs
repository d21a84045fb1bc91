//! `cargo bench --bench plan`: what deciding costs, at 100 000 mirrored users. The whole plan, the sweep, a fold of a change
//! that names all of them, the views that pages show, and the plan of a few users, which a reactor reads before and after
//! each call.
//!
//! Sessions are set up as Roster's own (`db::connect::SESSION_SETTINGS`), statements prepared; the whole plan is read with
//! all users in sync and with all of them changed. What changes something is rolled back, and everything is vacuumed and
//! analysed after it, so that rounds are alike.

mod support;

use std::time::Instant;

use anyhow::{Result, ensure};
use roster::db::connect::SESSION_SETTINGS;
use tokio_postgres::Client;

use support::{
    database::Database,
    figures::{Report, median, ms, print_machine, show_ms},
    rounds,
};

const USERS: u32 = 100_000;
/// Reads of something small, of which the middle one counts.
const READS: u32 = 200;
const PLAN: &str = "select user_key, auth0_user_id, email, action, state, lane, due_at, reason, changes from roster.plan";

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    database.people(USERS).await?;
    let sql = database.session().await?;
    sql.batch_execute(SESSION_SETTINGS).await?;

    let mut report = Report::new("planning, 100 000 users");
    whole(&database, &sql, &mut report).await?;
    open(&database, &sql, &mut report).await?;
    pages(&sql, &mut report).await?;
    few(&sql, &mut report, "in sync", 0).await?;
    database
        .sql
        .batch_execute("update users set role = 'Editor'")
        .await?;
    database.sql.batch_execute("select roster.fold()").await?;
    database.tidy().await?;
    few(&sql, &mut report, "changed", 1).await?;
    report.print("4-plan")?;
    drop(sql);
    database.stop().await;
    Ok(())
}

async fn whole(database: &Database, sql: &Client, report: &mut Report) -> Result<()> {
    let mut taken: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds() {
        taken[0].push(read(sql, PLAN, 0).await?);
        sql.batch_execute("begin").await?;
        let begin = Instant::now();
        let found: i32 = sql.query_one("select roster.sweep()", &[]).await?.get(0);
        taken[1].push(ms(begin.elapsed()));
        ensure!(found == 0, "the sweep found {found} users");

        sql.batch_execute("update public.users set role = 'Editor'")
            .await?;
        let begin = Instant::now();
        sql.batch_execute("select roster.fold()").await?;
        taken[2].push(ms(begin.elapsed()));
        let due = sql
            .query_one("select count(*) from roster.mirror where due", &[])
            .await?;
        let due: i64 = due.get(0);
        ensure!(due == i64::from(USERS), "{due} users are due");
        taken[3].push(read(sql, PLAN, USERS as usize).await?);
        sql.batch_execute("rollback").await?;
        database.tidy().await?;
    }
    for ((what, aim), taken) in [
        ("the whole plan, all in sync", "aim 1 s"),
        ("a sweep that finds nothing", "aim 1 s"),
        ("a fold of one change of all 100 000", ""),
        ("the whole plan, all changed", ""),
    ]
    .into_iter()
    .zip(taken)
    {
        report.row(what, show_ms(median(taken)), aim);
    }
    Ok(())
}

/// What somebody waits who looks before committing: the plan of those whom the open transaction touched.
async fn open(database: &Database, sql: &Client, report: &mut Report) -> Result<()> {
    let touched = format!("{PLAN} where user_key = any (array(select user_key from roster.news))");
    for users in [1, 1_000, USERS] {
        let update = format!("update public.users set role = 'Editor' where id <= {users}");
        let mut taken = Vec::new();
        for _ in 0..rounds() {
            sql.batch_execute("begin").await?;
            sql.batch_execute(&update).await?;
            taken.push(read(sql, &touched, users as usize).await?);
            sql.batch_execute("rollback").await?;
            database.tidy().await?;
        }
        report.row(
            &format!("the plan of a transaction that has touched {users}, before its commit"),
            show_ms(median(taken)),
            "",
        );
    }
    Ok(())
}

/// What a page of a console, or a command, reads.
async fn pages(sql: &Client, report: &mut Report) -> Result<()> {
    for (what, query, rows) in [
        ("roster.status", "select * from roster.status", 1),
        ("roster.held", "select * from roster.held", 0),
        ("roster.problems", "select * from roster.problems", 0),
        (
            "roster.user_sync of one user",
            "select * from roster.user_sync where user_key = '4711'",
            1,
        ),
        (
            "roster.user_sync, a page by key",
            "select * from roster.user_sync where user_key > '4711' order by user_key limit 50",
            50,
        ),
    ] {
        let mut taken = Vec::new();
        for _ in 0..rounds() * 4 {
            taken.push(read(sql, query, rows).await?);
        }
        report.row(what, show_ms(median(taken)), "aim 50 ms");
    }
    Ok(())
}

/// The plan of as many users as a reactor works on at a time; each of them has `rows` rows in it.
async fn few(sql: &Client, report: &mut Report, state: &str, rows: usize) -> Result<()> {
    let statement = sql
        .prepare(&format!("{PLAN} where user_key = any ($1)"))
        .await?;
    for users in [1, 16, 256] {
        let mut taken = Vec::new();
        for number in 0..READS {
            // Others each time, spread over the table.
            let keys: Vec<String> = (0..users)
                .map(|n| (1 + (number * 7919 + n * 389) % USERS).to_string())
                .collect();
            let begin = Instant::now();
            let planned = sql.query(&statement, &[&keys]).await?;
            taken.push(ms(begin.elapsed()));
            ensure!(
                planned.len() == users as usize * rows,
                "{} rows for {users} users",
                planned.len()
            );
        }
        let ms = median(taken);
        report.row(
            &format!("the plan of {users}, {state}"),
            show_ms(ms),
            format!("{:.0} µs a user", ms * 1000.0 / f64::from(users)),
        );
    }
    Ok(())
}

/// Milliseconds to read all of it.
async fn read(sql: &Client, query: &str, rows: usize) -> Result<f64> {
    let begin = Instant::now();
    let got = sql.query(query, &[]).await?;
    let took = ms(begin.elapsed());
    ensure!(got.len() == rows, "{} rows of: {query}", got.len());
    Ok(took)
}

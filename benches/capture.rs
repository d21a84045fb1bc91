//! `cargo bench --bench capture`: what the change triggers cost a writer of many rows.
//!
//! Three tables with the same rows and indexes take turns: `bare` has no trigger; `touched` has the `updated_at` trigger that
//! comes with a users table made by Roster; `users` has that and the capture. Each round empties the table, copies 100 000
//! rows into it, changes a mirrored column of all of them, then a column that is not mirrored. Before each of the three the
//! table is vacuumed and analysed and a checkpoint written, autovacuum is off, and `roster.changes` is emptied, so that every
//! round finds the same. No reactor runs: what folding costs is measured by `--bench plan`.

mod support;

use std::time::Instant;

use anyhow::{Result, ensure};
use roster::demo::cluster::Options;

use support::{
    database::Database,
    figures::{Report, median, ms, print_machine, show_ms},
    rounds,
};

const ROWS: i64 = 100_000;
const TABLES: [&str; 3] = ["bare", "touched", "users"];
/// What is written, and whether a capture has something to tell of it.
const STATEMENTS: [(&str, &str, bool); 3] = [
    (
        "COPY of 100 000 rows",
        "copy {table} (email, name) from '{rows}'",
        true,
    ),
    (
        "UPDATE of a mirrored column",
        "update {table} set name = name || 'x'",
        true,
    ),
    (
        "UPDATE of another column",
        "update {table} set created_at = created_at + interval '1 second'",
        false,
    ),
];

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::with(Options::default().set("autovacuum", "off")).await?;
    print_machine(&database.sql).await?;
    database.tables_without_capture().await?;
    let rows = rows_to_copy(&database).await?;

    let mut taken = vec![vec![Vec::new(); TABLES.len()]; STATEMENTS.len()];
    for round in 0..rounds() {
        for turn in 0..TABLES.len() {
            // Another one begins each round, so that none is always first after the noise of another.
            let which = (turn + round) % TABLES.len();
            let times = write(&database, TABLES[which], &rows).await?;
            println!("{}: {}", TABLES[which], times.map(show_ms).join(", "));
            for (statement, time) in times.into_iter().enumerate() {
                taken[statement][which].push(time);
            }
        }
    }
    let mut report = Report::new("capture, 100 000 rows in one statement");
    for ((what, _, _), taken) in STATEMENTS.into_iter().zip(taken) {
        let times: Vec<f64> = taken.into_iter().map(median).collect();
        report.row(
            what,
            format!("{} ({:.2}× bare)", show_ms(times[2]), times[2] / times[0]),
            format!(
                "bare {}; with updated_at alone {} ({:.2}× of that)",
                show_ms(times[0]),
                show_ms(times[1]),
                times[2] / times[1]
            ),
        );
    }
    report.print("1-capture")?;
    database.stop().await;
    Ok(())
}

/// Makes the file to copy from; gives its path as the server knows it.
async fn rows_to_copy(database: &Database) -> Result<String> {
    let file = database.cluster.dir().join("data/people.copy");
    let file = file.to_string_lossy();
    let make = format!(
        "copy (select 'person' || n || '@example.test', 'Person ' || n from generate_series(1, {ROWS}) n) to '{file}'"
    );
    database.sql.batch_execute(&make).await?;
    Ok(file.into_owned())
}

/// Runs the statements on one table; gives the milliseconds each took.
async fn write(database: &Database, table: &str, rows: &str) -> Result<[f64; STATEMENTS.len()]> {
    let sql = &database.sql;
    sql.batch_execute(&format!("truncate {table} cascade"))
        .await?;
    let mut times = [0.0; STATEMENTS.len()];
    for (time, (what, statement, is_news)) in times.iter_mut().zip(STATEMENTS) {
        sql.batch_execute("truncate roster.changes").await?;
        sql.batch_execute(&format!("vacuum (analyze) {table}"))
            .await?;
        sql.batch_execute("checkpoint").await?;
        let statement = statement.replace("{table}", table).replace("{rows}", rows);
        let begin = Instant::now();
        let written = sql.execute(&statement, &[]).await?;
        *time = ms(begin.elapsed());

        ensure!(i64::try_from(written)? == ROWS, "{what}: {written} rows");
        let told = database
            .number("select coalesce(sum(cardinality(user_keys)), 0) from roster.changes")
            .await?;
        let expected = if table == "users" && is_news { ROWS } else { 0 };
        ensure!(told == expected, "{what} on {table} told of {told} users");
    }
    Ok(times)
}

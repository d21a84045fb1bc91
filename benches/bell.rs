//! `cargo bench --bench bell`: what capture and bell cost those who commit one row at a time, many at once.
//!
//! `pgbench -M prepared` updates one random row a transaction, from 16 and from 48 sessions. The variants take turns: the
//! bare table; the same with the `updated_at` trigger that a users table made by Roster has, and so have all that follow but
//! the naive one; capture without and with the bell, heard by a session that only LISTENs; the naive way, a row trigger that
//! sends a NOTIFY with JSON in each commit, heard likewise; and capture and bell while the release binary's `roster run`
//! works on the same cores, observing, and mirroring to an emulator in a process of its own. Before each, everything is
//! vacuumed, a checkpoint is written and the outbox is emptied; autovacuum is off.

mod support;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use roster::demo::cluster::{Binaries, Options};
use tokio_postgres::Client;

use support::{
    database::Database,
    figures::{Report, median, print_machine, thousands},
    processes::{self, Emulator},
    rounds,
};

const PEOPLE: u32 = 10_000;
const WRITERS: [u32; 2] = [16, 48];
const SECONDS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Bare,
    Touched,
    CaptureOnly,
    Bell,
    Naive,
    Observing,
    Mirroring,
}

const VARIANTS: [(Variant, &str); 7] = [
    (Variant::Bare, "bare table"),
    (Variant::Touched, "updated_at trigger alone"),
    (Variant::CaptureOnly, "capture, no bell"),
    (Variant::Bell, "capture and bell, one listener"),
    (Variant::Naive, "naive: JSON in a NOTIFY each commit"),
    (
        Variant::Observing,
        "capture and bell, roster run observing on the same cores",
    ),
    (
        Variant::Mirroring,
        "capture and bell, roster run mirroring to the emulator on the same cores",
    ),
];

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::default()
        .set("autovacuum", "off")
        .set("max_connections", "100");
    let database = Database::with(options).await?;
    print_machine(&database.sql).await?;
    database.people(PEOPLE).await?;
    make_tables(&database).await?;
    let emulator = Emulator::start()?;
    emulator.put(&database.accounts().await?).await?;
    let listener = database.session().await?;

    let mut measured = vec![vec![Vec::new(); VARIANTS.len()]; WRITERS.len()];
    for round in 0..rounds() {
        for turn in 0..VARIANTS.len() {
            let which = (turn + round) % VARIANTS.len();
            for (writers, measured) in WRITERS.into_iter().zip(&mut measured) {
                let (variant, name) = VARIANTS[which];
                let tps = measure(&database, &listener, &emulator, variant, writers).await?;
                println!("{name}, {writers} writers: {} commits/s", thousands(tps));
                measured[which].push(tps);
            }
        }
    }
    let mut report = Report::new("bell, one-row updates");
    for (writers, measured) in WRITERS.into_iter().zip(measured) {
        let rates: Vec<f64> = measured.into_iter().map(median).collect();
        for ((_, name), rate) in VARIANTS.into_iter().zip(&rates) {
            report.row(
                &format!("{writers} writers, {name}"),
                format!("{} commits/s", thousands(*rate)),
                format!(
                    "{:.2} of bare, {:.2} of updated_at alone",
                    rate / rates[0],
                    rate / rates[1]
                ),
            );
        }
    }
    report.print("2-bell")?;
    drop(emulator);
    database.stop().await;
    Ok(())
}

async fn make_tables(database: &Database) -> Result<()> {
    database.tables_without_capture().await?;
    database
        .sql
        .batch_execute(
            "insert into bare select * from users;
            insert into touched select * from users;
            create table naive (like users including all);
            insert into naive select * from users;
            create function naive_notify() returns trigger language plpgsql as $$
            begin
                perform pg_notify('naive', json_build_object('id', new.id, 'email', new.email, 'name', new.name, 'role', new.role)::text);
                return null;
            end $$;
            create trigger naive_notify after update on naive for each row execute function naive_notify()",
        )
        .await?;
    Ok(())
}

/// Commits a second of one variant.
async fn measure(
    database: &Database,
    listener: &Client,
    emulator: &Emulator,
    variant: Variant,
    writers: u32,
) -> Result<f64> {
    let sql = &database.sql;
    let mode = match variant {
        Variant::Observing => "observe",
        _ => "enforce",
    };
    sql.batch_execute(&format!("select roster.set_mode('{mode}')"))
        .await?;
    sql.batch_execute(
        "truncate roster.changes, roster.attempts;
        update roster.mirror set due = false, lease_by = null, lease_until = null where due or lease_by is not null",
    )
    .await?;
    database.tidy().await?;
    let reactor = match variant {
        Variant::Observing | Variant::Mirroring => {
            listener.batch_execute("unlisten *").await?;
            let reactor = processes::run(&database.url(), &emulator.url)?;
            database
                .until(&format!(
                    "select exists (select from roster.reactors where pid = {} and last_listen_at is not null)",
                    reactor.id()
                ))
                .await?;
            Some(reactor)
        }
        _ => {
            listener
                .batch_execute("listen roster; listen naive")
                .await?;
            None
        }
    };
    let (table, is_captured) = match variant {
        Variant::Bare => ("bare", false),
        Variant::Touched => ("touched", false),
        Variant::Naive => ("naive", false),
        _ => ("users", true),
    };
    let bench = pgbench(database, table, writers, variant == Variant::CaptureOnly).await?;
    drop(reactor);

    let written = database
        .number(&format!(
            "select count(*) from {table} where name like 'Changed %'"
        ))
        .await?;
    ensure!(written > 0, "{table} was not written to");
    let told = database
        .number("select count(*) from roster.changes where op = 'update' and user_keys <> '{}'")
        .await?;
    let commits = if is_captured { bench.commits } else { 0 };
    ensure!(told == commits, "{told} changes for {commits} commits");
    Ok(bench.tps)
}

struct Bench {
    tps: f64,
    commits: i64,
}

async fn pgbench(database: &Database, table: &str, writers: u32, is_silent: bool) -> Result<Bench> {
    // Beside the server itself, wherever a link to it may stand.
    let program = Binaries::find()?.postgres().canonicalize()?;
    let program = program.with_file_name("pgbench");
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(
        script.path(),
        format!(
            "\\set id random(1, {PEOPLE})\n\\set number random(1, 1000000000)\n\
             update {table} set name = 'Changed ' || :number where id = :id;\n"
        ),
    )?;
    let mut command = Command::new(&program);
    command
        .args(["-n", "-M", "prepared", "-j", "2"])
        .args(["-c", &writers.to_string(), "-T", &SECONDS.to_string()])
        .arg("-f")
        .arg(script.path())
        .env("PGHOST", database.cluster.dir())
        .env("PGPORT", database.cluster.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .stdin(Stdio::null());
    if is_silent {
        command.env("PGOPTIONS", "-c roster.bell=off");
    }
    let missing = format!("pgbench at {}", program.display());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await?
        .context(missing)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "pgbench failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let number = |prefix: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(prefix))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(Bench {
        tps: number("tps = ").context("its commits a second")?,
        commits: number("number of transactions actually processed: ")
            .context("its number of commits")? as i64,
    })
}

//! `cargo bench --bench footprint`: what Roster weighs. The memory of `roster run` when idle and at its most under load, the
//! size of the program, how many crates it is made of, and with `BUILD=1` how long those take to build from nothing.

mod support;

use std::{
    collections::HashSet,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use support::{
    database::Database,
    figures::{Report, print_machine, thousands},
    processes::{self, Emulator},
};

const USERS: u32 = 5_000;
const BINARY: &str = env!("CARGO_BIN_EXE_roster");

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new("footprint");
    let database = Database::start().await?;
    print_machine(&database.sql).await?;
    memory(&database, &mut report).await?;
    database.stop().await;

    report.row(
        "the program, with line tables for traces",
        format!("{} MB", thousands(fs::metadata(BINARY)?.len() as f64 / 1e6)),
        "",
    );
    report.row("crates it is made of", crates()?.to_string(), "");
    if std::env::var("BUILD").is_ok_and(|build| build == "1") {
        build(&mut report, "release", &["--release"])?;
        build(&mut report, "debug", &[])?;
    }
    report.print("6-footprint")
}

async fn memory(database: &Database, report: &mut Report) -> Result<()> {
    database.people(USERS).await?;
    let emulator = Emulator::start()?;
    emulator.put(&database.accounts().await?).await?;
    let reactor = processes::run(&database.url(), &emulator.url)?;
    database
        .until("select exists (select from roster.reactors where last_listen_at is not null)")
        .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let show = |kb: f64| format!("{:.0} MB", kb / 1024.0);
    report.row(
        "memory of roster run, idle",
        show(reactor.usage().now_kb),
        "reactor and server",
    );
    database
        .sql
        .batch_execute("update users set role = 'Editor'")
        .await?;
    database.until_settled().await?;
    let left = database.number("select count(*) from roster.plan").await?;
    ensure!(left == 0, "{left} users are not in sync");
    report.row(
        &format!("memory of roster run, {} changes", thousands(USERS.into())),
        show(reactor.usage().peak_kb),
        "at its most",
    );
    Ok(())
}

/// Crates that the program itself needs, without those for tests and builds.
fn crates() -> Result<usize> {
    let output = cargo()
        .args(["tree", "--locked", "--prefix", "none", "--edges", "normal"])
        .output()
        .context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed");
    let text = String::from_utf8(output.stdout)?;
    let name = |line: &str| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    let names: HashSet<String> = text.lines().filter_map(name).collect();
    // All but Roster itself.
    Ok(names.len() - 1)
}

fn build(report: &mut Report, profile: &str, arguments: &[&str]) -> Result<()> {
    let target = tempfile::tempdir()?;
    let begin = Instant::now();
    let built = cargo()
        .args([
            "build",
            "--locked",
            "--quiet",
            "--bin",
            "roster",
            "--target-dir",
        ])
        .arg(target.path())
        .args(arguments)
        .status()?;
    ensure!(built.success(), "the {profile} build failed");
    report.row(
        &format!("{profile} build from nothing"),
        format!("{} s", thousands(begin.elapsed().as_secs_f64())),
        "crates downloaded already",
    );
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

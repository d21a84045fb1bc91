//! `cargo bench --bench import`: a CSV file of 100 000 people through `roster import`, from its start to its end, and the most memory it
//! ever held: all of them new, the same file again, and with every name changed. `LINES=…` takes another number.

mod support;

use std::{
    fmt::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use support::{
    database::Database,
    figures::{Report, median, print_machine, thousands},
    processes::Process,
    rounds,
};

const LINES: u32 = 100_000;
const POLL: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<()> {
    let lines = std::env::var("LINES").ok().and_then(|n| n.parse().ok());
    let lines: u32 = lines.unwrap_or(LINES);
    let folder = tempfile::tempdir()?;
    let mut taken: [Vec<f64>; 3] = Default::default();
    let mut peak_kb = 0.0_f64;
    for _ in 0..rounds().min(3) {
        let database = Database::start().await?;
        print_machine(&database.sql).await?;
        for (step, name) in ["Somebody", "Somebody", "Somebody else"].iter().enumerate() {
            let mut text = "email,name,role\n".to_owned();
            for number in 0..lines {
                writeln!(text, "person{number}@example.com,{name} {number},Artist")?;
            }
            let file = folder.path().join("people.csv");
            std::fs::write(&file, text)?;
            let begin = Instant::now();
            let mut import = Process::spawn(
                Command::new(env!("CARGO_BIN_EXE_roster"))
                    .args(["import".as_ref(), file.as_os_str()])
                    .env("DATABASE_URL", database.url())
                    .stdout(Stdio::null()),
            )?;
            let code = loop {
                peak_kb = peak_kb.max(import.usage().peak_kb);
                match import.ended()? {
                    Some(code) => break code,
                    None => tokio::time::sleep(POLL).await,
                }
            };
            taken[step].push(begin.elapsed().as_secs_f64());
            ensure!(code == 0, "it ended with {code}");
            let named = format!("select count(*) from users where name like '{name} %'");
            let named = database.number(&named).await?;
            ensure!(named == i64::from(lines), "{named} people are called so");
        }
        database.stop().await;
    }
    let mut report = Report::new(&format!("import of {} lines", thousands(lines.into())));
    for (what, taken) in ["all new", "all there already", "all changed"]
        .iter()
        .zip(taken)
    {
        report.row(what, format!("{:.1} s", median(taken)), "");
    }
    report.row(
        "memory of the program",
        format!("{:.0} MB", peak_kb / 1024.0),
        "",
    );
    report.print("11-import")
}

//! Figures and how they are shown: medians, the machine they were measured on, and a table for a README.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use tokio_postgres::Client;

/// The middle one of what was measured; of an even number the lower of the two in the middle.
pub(crate) fn median(mut measured: Vec<f64>) -> f64 {
    measured.sort_by(f64::total_cmp);
    measured
        .get(measured.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The value that a share `p` of what was measured does not exceed.
pub(crate) fn percentile(measured: &mut [f64], p: f64) -> f64 {
    measured.sort_by(f64::total_cmp);
    let last = measured.len().saturating_sub(1) as f64;
    measured
        .get((last * p) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// In milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// `1 234 ms`, `12.3 ms`, `0.31 ms`.
pub(crate) fn show_ms(ms: f64) -> String {
    match ms {
        ms if ms >= 100.0 => format!("{} ms", thousands(ms)),
        ms if ms >= 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

/// A whole number with a space between thousands.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// What was measured, as a Markdown table that also reads as plain text.
#[derive(Debug)]
pub(crate) struct Report<const COLUMNS: usize = 3> {
    header: [String; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl Report {
    pub(crate) fn new(title: &str) -> Self {
        Self::of([title, "measured", "beside"])
    }

    /// A figure, and what it is to be compared with; an empty text where there is nothing.
    pub(crate) fn row(&mut self, what: &str, figure: impl Into<String>, beside: impl Into<String>) {
        self.cells([what.to_owned(), figure.into(), beside.into()]);
    }
}

impl<const COLUMNS: usize> Report<COLUMNS> {
    pub(crate) fn of(header: [&str; COLUMNS]) -> Self {
        Self {
            header: header.map(str::to_owned),
            rows: Vec::new(),
        }
    }

    pub(crate) fn cells(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    /// Prints the table on stdout, and keeps it as `bench/<name>.md` where cargo lets benches keep files, so that `make bench`
    /// can show all of them together.
    pub(crate) fn print(&self, name: &str) -> Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]);
            cells
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let line = |cells: &[String; COLUMNS]| {
            let padded: Vec<String> = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            format!("| {} |\n", padded.join(" | "))
        };
        let rules = widths.map(|width| "-".repeat(width));
        let mut table = line(&self.header) + &line(&rules);
        for row in &self.rows {
            table += &line(row);
        }
        println!("\n{table}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{name}.md")), table)?;
        Ok(())
    }
}

/// Prints what the figures were measured on: figures without it say little.
pub(crate) async fn print_machine(sql: &Client) -> Result<()> {
    let server = sql
        .query_one(
            "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), \
                current_setting('shared_buffers')",
            &[],
        )
        .await?;
    let (version, fsync, commit, buffers): (&str, &str, &str, &str) =
        (server.get(0), server.get(1), server.get(2), server.get(3));
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    println!(
        "machine: {cores} cores of {model}, load at the start {load}; PostgreSQL {version}, fsync {fsync}, \
         synchronous_commit {commit}, shared_buffers {buffers}"
    );
    Ok(())
}

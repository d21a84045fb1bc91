//! The release binary's processes, and what they and PostgreSQL use: processor time and memory, as `/proc` has them.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use roster::{demo::cluster::Cluster, emulator};
use secrecy::ExposeSecret;
use serde_json::Value;

/// Of the clock that `/proc/<pid>/stat` counts in: Linux shows hundredths of a second on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

/// A process of ours that ends with the value.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        // Outside the repository, so that nobody's `.env` takes part.
        let child = command.current_dir(std::env::temp_dir()).spawn();
        let program = command.get_program().display();
        Ok(Self(child.with_context(|| format!("{program}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its exit code, once it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<i32>> {
        let status = self.0.try_wait()?;
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            cpu_seconds: cpu_seconds(self.id(), false),
            peak_kb: status_kb(self.id(), "VmHWM:"),
            now_kb: status_kb(self.id(), "VmRSS:"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process used so far; zero where the system does not tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The most memory it ever held, in KiB.
    pub(crate) peak_kb: f64,
    /// The memory it holds, in KiB.
    pub(crate) now_kb: f64,
}

/// `roster emulator`, without limits, in a process of its own.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) process: Process,
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Emulator {
    pub(crate) fn start() -> Result<Self> {
        let mut process = Process::spawn(
            Command::new(env!("CARGO_BIN_EXE_roster"))
                .args(["emulator", "--listen", "127.0.0.1:0", "--json"])
                .stdout(Stdio::piped()),
        )?;
        let stdout = process.0.stdout.take().context("its stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("what the emulator said")?;
        let url = said["url"].as_str().context("the emulator's address")?;
        Ok(Self {
            process,
            url: url.to_owned(),
            http: reqwest::Client::new(),
        })
    }

    /// Puts users there, whatever Auth0's rules say.
    pub(crate) async fn put(&self, users: &[Value]) -> Result<()> {
        let url = format!("{}/_emulator/users", self.url);
        for some in users.chunks(20_000) {
            let answer = self.http.post(&url).json(&some).send().await?;
            answer.error_for_status()?;
        }
        Ok(())
    }

    pub(crate) async fn users(&self) -> Result<Vec<Value>> {
        let url = format!("{}/_emulator/users", self.url);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// The requests it answered, oldest first; it keeps the last 100 000.
    pub(crate) async fn requests(&self) -> Result<Vec<Value>> {
        let url = format!("{}/_emulator/requests", self.url);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// Changes some of its options.
    pub(crate) async fn options(&self, options: Value) -> Result<()> {
        let url = format!("{}/_emulator/options", self.url);
        let answer = self.http.post(url).json(&options).send().await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// Has requests fail as `POST /_emulator/faults` says.
    pub(crate) async fn fault(&self, fault: Value) -> Result<()> {
        let url = format!("{}/_emulator/faults", self.url);
        let answer = self.http.post(url).json(&fault).send().await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// The faults that have not struck yet.
    pub(crate) async fn faults(&self) -> Result<Vec<Value>> {
        let url = format!("{}/_emulator/faults", self.url);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// A token made as `wanted`.
    pub(crate) async fn token(&self, wanted: Value) -> Result<String> {
        let url = format!("{}/_emulator/tokens", self.url);
        let answer = self.http.post(url).json(&wanted).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let token = answer["access_token"].as_str();
        Ok(token.with_context(|| answer.to_string())?.to_owned())
    }

    pub(crate) async fn forget_requests(&self) -> Result<()> {
        let url = format!("{}/_emulator/requests", self.url);
        self.http.delete(url).send().await?.error_for_status()?;
        Ok(())
    }
}

/// `roster run` on that database and emulator. What the environment says of `ROSTER__REACTOR__…` reaches it.
pub(crate) fn run(database_url: &str, emulator_url: &str) -> Result<Process> {
    run_with(database_url, emulator_url, &[])
}

/// As [`run`], with these variables.
pub(crate) fn run_with(
    database_url: &str,
    emulator_url: &str,
    variables: &[(&str, &str)],
) -> Result<Process> {
    Process::spawn(
        command("run", database_url, emulator_url)
            .env("ROSTER__HTTP__LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied()),
    )
}

/// `roster run --only server`, likewise, on this port and with this `authz.directory`.
pub(crate) fn server(
    database_url: &str,
    emulator_url: &str,
    port: u16,
    directory: &str,
) -> Result<Process> {
    Process::spawn(
        command("run", database_url, emulator_url)
            .args(["--only", "server"])
            .env("ROSTER__HTTP__LISTEN", format!("127.0.0.1:{port}"))
            .env("ROSTER__AUTHZ__DIRECTORY", directory),
    )
}

/// `roster audit`, as [`run`].
pub(crate) fn audit(database_url: &str, emulator_url: &str) -> Result<Process> {
    Process::spawn(&mut command("audit", database_url, emulator_url))
}

fn command(name: &str, database_url: &str, emulator_url: &str) -> Command {
    let options = emulator::Options::default();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command
        .arg(name)
        .env("DATABASE_URL", database_url)
        .env("ROSTER__AUTH0__BASE_URL", emulator_url)
        .env("AUTH0_MGMT_CLIENT_ID", &options.m2m.client_id)
        .env(
            "AUTH0_MGMT_CLIENT_SECRET",
            options.m2m.client_secret.expose_secret(),
        )
        .env("ROSTER__AUTHZ__AUDIENCE", options.audiences.join(","))
        .env("ROSTER__INVITATION__SEND", "none")
        .env("RUST_LOG", "error")
        .stdout(Stdio::null());
    command
}

/// What all processes of a private PostgreSQL used so far: processor time of those that ended too, memory of those there
/// are, shared pages counted once.
pub(crate) fn postgres_usage(cluster: &Cluster) -> Usage {
    let server = cluster.pid().unwrap_or_default();
    let backends = children(server);
    let held: f64 = backends
        .iter()
        .chain([&server])
        .map(|pid| pss_kb(*pid))
        .sum();
    let running: f64 = backends.iter().map(|pid| cpu_seconds(*pid, false)).sum();
    Usage {
        cpu_seconds: cpu_seconds(server, true) + running,
        peak_kb: held,
        now_kb: held,
    }
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|fields| fields[1] == parent.to_string()))
        .collect()
}

/// The fields after the name, so `[1]` is the parent, `[11]` to `[14]` the times.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
    (fields.len() > 14).then_some(fields)
}

fn cpu_seconds(pid: u32, with_ended_children: bool) -> f64 {
    let fields = if with_ended_children { 11..15 } else { 11..13 };
    stat(pid).map_or(0.0, |stat| {
        let ticks = stat[fields].iter().filter_map(|n| n.parse::<f64>().ok());
        ticks.sum::<f64>() / TICKS_A_SECOND
    })
}

fn status_kb(pid: u32, field: &str) -> f64 {
    number_after(&format!("/proc/{pid}/status"), field)
}

fn pss_kb(pid: u32) -> f64 {
    number_after(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn number_after(path: &str, field: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix(field)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0.0)
}

//! `make bench`: how soon a committed change is asked of Auth0, how many calls a change costs, and what an idle `roster run` holds
//! in memory.
//!
//! Everything is real and on this machine: a private PostgreSQL that flushes its commits, the emulator over HTTP (in this
//! process, so that commits and requests are read off one clock), and the release binary's `roster run`. Nothing here is
//! asserted; figures depend on the machine, so it is named beside them.

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use roster::{
    db::{connect::Endpoint, migrate},
    demo::cluster::{Cluster, Options},
    emulator,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

const USERS: usize = 500;
const CHANGES_A_SECOND: u32 = 50;
const CHANGES: u32 = 1500;

#[tokio::main]
async fn main() -> Result<()> {
    let bench = Bench::start().await?;
    println!("machine: {}", machine());
    bench.idle_memory().await?;
    bench.latency().await?;
    bench.calls_per_change().await?;
    bench.stop().await
}

struct Bench {
    cluster: Cluster,
    sql: Client,
    emulator: String,
    http: reqwest::Client,
    run: Child,
    stop: CancellationToken,
}

impl Bench {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Options {
            durable: true,
            ..Options::default()
        })
        .await?;
        let url = cluster.socket_url("postgres");
        let mut sql = Endpoint::parse(&url)?.session().await?;
        migrate::migrate(&mut sql, false).await?;
        sql.batch_execute("select roster.set_mode('enforce')")
            .await?;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let emulator = format!("http://{}", listener.local_addr()?);
        let options = emulator::Options::default();
        let stop = CancellationToken::new();
        let run = Command::new(env!("CARGO_BIN_EXE_roster"))
            .arg("run")
            .env("DATABASE_URL", &url)
            .env("ROSTER__AUTH0__BASE_URL", &emulator)
            .env("AUTH0_MGMT_CLIENT_ID", &options.m2m.client_id)
            .env(
                "AUTH0_MGMT_CLIENT_SECRET",
                options.m2m.client_secret.expose_secret(),
            )
            .env("ROSTER__AUTHZ__AUDIENCE", options.audiences.join(","))
            .env("ROSTER__HTTP__LISTEN", "127.0.0.1:0")
            .env("ROSTER__INVITATION__SEND", "none")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .context("the roster binary")?;
        tokio::spawn(emulator::serve(listener, options, stop.clone()));
        Ok(Self {
            cluster,
            sql,
            emulator,
            http: reqwest::Client::new(),
            run,
            stop,
        })
    }

    async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.run.kill()?;
        self.run.wait()?;
        self.cluster.stop().await;
        Ok(())
    }

    async fn idle_memory(&self) -> Result<()> {
        self.settled().await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.run.id()))?;
        let rss = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap_or("VmRSS: ?");
        println!(
            "idle `roster run`, reactor and server: {}",
            rss.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        );
        Ok(())
    }

    async fn latency(&self) -> Result<()> {
        let people = format!(
            "insert into users (email, name) select 'person' || n || '@example.test', 'Person ' || n from generate_series(1, {USERS}) n"
        );
        self.sql.batch_execute(&people).await?;
        self.settled().await?;
        let ids = self
            .sql
            .query("select id, auth0_user_id from users order by id", &[])
            .await?;
        let ids: Vec<(i32, String)> = ids.iter().map(|row| (row.get(0), row.get(1))).collect();
        ensure!(ids.len() == USERS, "{} users are there", ids.len());

        let before = self.requests().await?;
        let last = before
            .last()
            .and_then(|r| r["number"].as_u64())
            .unwrap_or(0);
        let update = self
            .sql
            .prepare("update users set role = $2 where id = $1")
            .await?;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / CHANGES_A_SECOND);
        let mut committed: HashMap<String, Vec<f64>> = HashMap::new();
        for number in 0..CHANGES {
            tick.tick().await;
            let (id, auth0_id) = &ids[number as usize % USERS];
            self.sql
                .execute(&update, &[id, &format!("Role {number}")])
                .await?;
            committed.entry(auth0_id.clone()).or_default().push(now());
        }
        self.settled().await?;

        let mut waits = Vec::new();
        for request in self
            .requests()
            .await?
            .iter()
            .filter(|r| r["number"].as_u64() > Some(last) && r["method"] == "PATCH")
        {
            let path = request["path"].as_str().unwrap_or_default();
            let id = path
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .replace("%7C", "|");
            let at: Timestamp = request["at"].as_str().context("a time")?.parse()?;
            let at = at.as_nanosecond() as f64 / 1e9;
            let commits = committed
                .get_mut(&id)
                .context("a request for a known user")?;
            ensure!(!commits.is_empty(), "more requests than changes for {id}");
            waits.push((at - commits.remove(0)).max(0.0) * 1000.0);
        }
        waits.sort_by(f64::total_cmp);
        let percentile = |p: f64| waits[((waits.len() - 1) as f64 * p) as usize];
        println!(
            "commit → request received at {CHANGES_A_SECOND} changes/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} changes)",
            percentile(0.5),
            percentile(0.99),
            percentile(1.0),
            waits.len()
        );
        println!(
            "calls per change, single updates: {:.3}",
            waits.len() as f64 / f64::from(CHANGES)
        );
        Ok(())
    }

    async fn calls_per_change(&self) -> Result<()> {
        let count = async |statements: &[&str]| -> Result<usize> {
            let before = self.requests().await?.len();
            for statement in statements {
                self.sql.batch_execute(statement).await?;
            }
            self.settled().await?;
            Ok(self.requests().await?.len() - before)
        };
        let one = count(&["update users set role = 'Everybody'"]).await?;
        println!(
            "calls for one UPDATE of {USERS} users: {one} ({:.3} a user)",
            one as f64 / USERS as f64
        );
        let none = count(&[
            "update users set role = role, updated_at = now()",
            "update users set created_at = now()",
        ])
        .await?;
        println!("calls for updates that change nothing mirrored: {none}");
        let quick: Vec<String> = (0..10)
            .map(|n| format!("update users set role = 'Quick {n}' where id = 1"))
            .collect();
        let quick: Vec<&str> = quick.iter().map(String::as_str).collect();
        println!(
            "calls for ten quick updates of one user: {}",
            count(&quick).await?
        );
        Ok(())
    }

    async fn requests(&self) -> Result<Vec<Value>> {
        let url = format!("{}/_emulator/requests", self.emulator);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// Waits until a reactor is there and nothing is left to do.
    async fn settled(&self) -> Result<()> {
        for _ in 0..6000 {
            let row = self
                .sql
                .query_one(
                    "select reactors > 0 and pending = 0 and unfolded = 0 from roster.status",
                    &[],
                )
                .await?;
            if row.get(0) {
                // The record of the last call, and what is written back, are commits of their own.
                let written_back = self
                    .sql
                    .query_one(
                        "select not exists (select from public.users where auth0_user_id is null)",
                        &[],
                    )
                    .await?;
                if written_back.get(0) {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the mirror did not settle in five minutes")
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {model}")
}

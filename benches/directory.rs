//! `cargo bench --bench directory`: what the directory in memory weighs, how long it takes to fill, and how soon a commit is in the
//! answers, of `roster run --only server` with 10 000 users and with a million (`USERS=50000` for another number instead).
//!
//! The answers' delay is that of one writer who changes a role, then asks again and again until it is so; beside it the same asked of
//! PostgreSQL itself in each request.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use support::{
    database::Database,
    figures::{Report, ms, percentile, print_machine, show_ms, thousands},
    processes::{self, Emulator, Process},
    rounds,
};

const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new("directory in memory");
    let few = std::env::var("USERS")
        .ok()
        .and_then(|users| users.parse().ok());
    for users in few.map_or(vec![10_000, 1_000_000], |users| vec![users]) {
        let database = Database::start().await?;
        print_machine(&database.sql).await?;
        database.people(users).await?;
        fill(&database, users, &mut report).await?;
        database.stop().await;
    }
    report.print("8-directory")
}

async fn fill(database: &Database, users: u32, report: &mut Report) -> Result<()> {
    let emulator = Emulator::start()?;
    let shown = thousands(users.into());
    for mode in ["memory", "read_through"] {
        let server = Server::start(database, &emulator, mode)?;
        let begin = Instant::now();
        server.until_answers().await?;
        if mode == "memory" {
            server.until_holds(users).await?;
            report.row(
                &format!("{shown} users: read into memory in"),
                show_ms(ms(begin.elapsed())),
                "from the start of the process",
            );
            tokio::time::sleep(Duration::from_secs(3)).await;
            let usage = server.process.usage();
            report.row(
                &format!("{shown} users: memory of the server, now / at most"),
                format!(
                    "{:.0} / {:.0} MB",
                    usage.now_kb / 1024.0,
                    usage.peak_kb / 1024.0
                ),
                "",
            );
        }
        let mut delays = server.delays(database, &emulator, 40 * rounds()).await?;
        report.row(
            &format!("{shown} users: commit to changed answer, {mode}, p50 / p99"),
            format!(
                "{} / {}",
                show_ms(percentile(&mut delays, 0.5)),
                show_ms(percentile(&mut delays, 0.99))
            ),
            "",
        );
        if mode == "memory" {
            let usage = server.process.usage();
            report.row(
                &format!("{shown} users: the same after {} changes", delays.len()),
                format!(
                    "{:.0} / {:.0} MB",
                    usage.now_kb / 1024.0,
                    usage.peak_kb / 1024.0
                ),
                "",
            );
        }
    }
    Ok(())
}

struct Server {
    process: Process,
    url: String,
    http: reqwest::Client,
}

impl Server {
    fn start(database: &Database, emulator: &Emulator, mode: &str) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        Ok(Self {
            process: processes::server(&database.url(), &emulator.url, port, mode)?,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    async fn until_answers(&self) -> Result<()> {
        self.until(async || Some(self.get("/livez", "").await?.is_object()))
            .await
    }

    async fn until_holds(&self, users: u32) -> Result<()> {
        let line = format!("roster_authz_users_in_memory {users}\n");
        self.until(async || Some(self.get("/metrics", "").await?.as_str()?.contains(&line)))
            .await
    }

    async fn until(&self, condition: impl AsyncFn() -> Option<bool>) -> Result<()> {
        let begin = Instant::now();
        while condition().await != Some(true) {
            ensure!(begin.elapsed() < PATIENCE, "it never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn get(&self, path: &str, token: &str) -> Option<Value> {
        let request = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(token);
        let text = request.send().await.ok()?.text().await.ok()?;
        Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// In milliseconds, from the end of a commit to the first answer that has it.
    async fn delays(
        &self,
        database: &Database,
        emulator: &Emulator,
        number: usize,
    ) -> Result<Vec<f64>> {
        let user =
            "select auth0_user_id, user_key from roster.desired_users order by user_key limit 1";
        let user = database.sql.query_one(user, &[]).await?;
        let token = emulator
            .token(json!({ "claims": { "sub": user.get::<_, &str>(0) } }))
            .await?;
        let mut delays = Vec::new();
        for turn in 0..number {
            let role = ["Artist", "Editor"][turn % 2];
            let update = format!(
                "update users set role = '{role}' where id::text = '{}'",
                user.get::<_, &str>(1)
            );
            database.sql.batch_execute(&update).await?;
            let committed = Instant::now();
            loop {
                let answer = self.get("/v1/me", &token).await.context("an answer")?;
                let told = answer["user"]["role"]
                    .as_str()
                    .with_context(|| answer.to_string())?;
                if told == role {
                    break;
                }
                ensure!(committed.elapsed() < PATIENCE, "it never came");
            }
            delays.push(ms(committed.elapsed()));
        }
        Ok(delays)
    }
}

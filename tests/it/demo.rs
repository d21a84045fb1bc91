//! The demo and its tour, played as a person plays them: nothing but what is printed and what answers counts.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use anyhow::Result;
use roster::{
    config::Config,
    db::connect::Endpoint,
    demo::{self, Options, Outcome, Setup},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const TOUR: Options = Options {
    tour: true,
    json: false,
};

/// A tour, and what it printed.
async fn tour(options: Options, setup: Setup) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = demo::perform(options, setup, &mut out, CancellationToken::new())
        .await
        .expect("a demo that runs");
    (outcome, String::from_utf8(out).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_the_tour_holds() {
    let (outcome, told) = tour(TOUR, Setup::default()).await;
    let Outcome::Toured(verdict) = outcome else {
        panic!("{outcome:?}: {told}");
    };
    assert!(outcome.held(), "{told}");
    assert!(!told.contains('✗'), "{told}");
    assert_eq!(told.matches('✓').count(), verdict.held as usize, "{told}");
    for seen in [
        "GET /v1/me: Manager (publish:songs, read:songs); token says Artist",
        "GET /v1/me at once: 403 user_not_provisioned",
        "log-in: refused, user is blocked",
        "log-in by Google: refused, user is blocked",
        "Artist (read:songs, write:songs), both accounts",
    ] {
        assert!(told.contains(seen), "{seen} is not in {told}");
    }
    for line in told.lines() {
        assert!(
            line.chars().count() <= 80,
            "too wide for a terminal: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_carries_nothing_fails_the_tour_of_both_people() {
    let mut setup = Setup::default();
    setup.tenant.action = Some(String::new());
    let (outcome, told) = tour(TOUR, setup).await;
    assert!(!outcome.held(), "{told}");
    assert!(told.contains("✗ log-in: the role is null"), "{told}");
    assert!(
        !told.contains("Delete"),
        "what follows is not tried: {told}"
    );
    // Without the Action's claims nobody knows whose address a Google token holds.
    assert!(told.contains("✗ GET /v1/me: 403"), "{told}");
    assert!(
        told.ends_with("what follows on them was not tried.\n"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactor_that_only_observes_fails_the_tour() {
    let setup = Setup {
        mode: "observe".to_owned(),
        patience: Duration::from_millis(300),
        ..Setup::default()
    };
    let options = Options { json: true, ..TOUR };
    let (outcome, told) = tour(options, setup).await;
    assert!(!outcome.held(), "{told}");
    let lines: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["held"], false);
    assert_eq!(lines[0]["seen"], "0 accounts and 0 mails for 5 people");
    let verdict = lines.last().expect("a verdict");
    assert_eq!(
        (&verdict["held"], &verdict["failed"]),
        (&0.into(), &1.into())
    );
}

/// Hands each thing that is written over.
struct Told(Sender<String>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let sent = self.0.send(text).map_err(io::Error::other);
        sent.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A demo that runs, and the line of JSON that it prints first.
async fn running(stop: &CancellationToken) -> (tokio::task::JoinHandle<Result<Outcome>>, Value) {
    let (demo, line) = printing(stop, true, "\n").await;
    (demo, serde_json::from_str(&line).expect("JSON"))
}

/// A demo that runs, and what it prints first, up to this `end`.
async fn printing(
    stop: &CancellationToken,
    json: bool,
    end: &'static str,
) -> (tokio::task::JoinHandle<Result<Outcome>>, String) {
    let (tell, told) = channel();
    let stop = stop.clone();
    let demo = tokio::spawn(async move {
        let options = Options { json, tour: false };
        demo::perform(options, Setup::default(), &mut Told(tell), stop).await
    });
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        while !line.ends_with(end) {
            let more = told.recv_timeout(Duration::from_secs(120));
            line.push_str(&more.expect("a line within two minutes"));
        }
        line
    });
    (demo, line.await.expect("what is printed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_says_to_export_lets_every_command_work_on_it() {
    let stop = CancellationToken::new();
    let (demo, told) = printing(&stop, false, "leaves nothing behind.\n").await;
    let exports: Vec<(String, String)> = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for words in [
        ["status", "--json"],
        ["doctor", "--json"],
        ["audit", "--json"],
    ] {
        let exports = exports.clone();
        let said = tokio::task::spawn_blocking(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
            command.args(words).env_clear().envs(exports);
            command.stdin(Stdio::null()).output()
        });
        let said = said.await.expect("an end").expect("the program runs");
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(0), "{words:?}: {error}{said:?}");
        let told = String::from_utf8_lossy(&said.stdout);
        assert!(!told.contains("never used"), "{words:?}: {told}");
    }
    stop.cancel();
    let outcome = demo.await.expect("an end").expect("an outcome");
    assert_eq!(outcome, Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_answers_until_the_demo_is_stopped_and_nothing_is_left_then() {
    let stop = CancellationToken::new();
    let (demo, line) = running(&stop).await;
    let text = |key: &str| {
        line[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {line}"))
    };
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    for key in [
        "users",
        "mail",
        "requests",
        "jwks",
        "application",
        "console",
        "readyz",
        "metrics",
    ] {
        let answer = http.get(text(key)).send().await.expect(key);
        assert!(answer.status().is_success(), "{key}: {}", answer.status());
    }
    let me = http
        .get(text("me"))
        .bearer_auth(text("token"))
        .send()
        .await
        .expect("me");
    let me: Value = me.json().await.expect("JSON");
    assert_eq!(me["user"]["email"], "ada@example.com");
    assert_eq!(me["user"]["role"], "Admin");

    // `curl -s -H @FILE URL`, as it is pasted.
    let mut words = text("curl").split(' ');
    let file = words
        .nth(3)
        .and_then(|word| word.strip_prefix('@'))
        .expect("a file");
    let header = std::fs::read_to_string(file).expect("a header");
    assert_eq!(
        header.trim(),
        format!("Authorization: Bearer {}", text("token"))
    );
    assert_eq!(words.next(), line["me"].as_str());

    // With these variables another roster works on the same database and tenant.
    let variables = serde_json::from_value(line["environment"].clone()).expect("texts");
    let config = Config::load_from(None, &variables).expect("a configuration");
    config.auth0().expect("the tenant");
    config.authz().expect("whose tokens are believed");

    let endpoint = Endpoint::parse(text("database_url")).expect("a good string");
    endpoint.session().await.expect("a session");
    let dir = std::path::Path::new(file)
        .parent()
        .expect("a directory")
        .to_owned();
    assert!(dir.is_dir());

    stop.cancel();
    let outcome = demo.await.expect("an end").expect("an outcome");
    assert_eq!(outcome, Outcome::Stopped);
    assert!(outcome.held());
    assert!(!dir.exists());
    endpoint.session().await.expect_err("no server is left");
    for key in ["users", "application", "readyz"] {
        http.get(text(key))
            .send()
            .await
            .expect_err("nobody listens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_stopped_while_it_starts_says_nothing_and_a_tour_so_stopped_did_not_hold() {
    for (tour, expected) in [(false, Outcome::Stopped), (true, Outcome::Interrupted)] {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut out = Vec::new();
        let options = Options { tour, json: false };
        let outcome = demo::perform(options, Setup::default(), &mut out, stop).await;
        assert_eq!(outcome.expect("an outcome"), expected);
        assert_eq!(expected.held(), !tour);
        assert!(out.is_empty());
    }
}

#[test]
fn without_postgresql_the_program_says_what_to_do() {
    let said = Command::new(env!("CARGO_BIN_EXE_roster"))
        .arg("demo")
        .env("ROSTER_PG_BIN", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.contains("ROSTER_PG_BIN=/nowhere does not lead to a PostgreSQL server"),
        "{said}"
    );
}

//! The binary as an operator has it: what it prints, and the exit code that scripts read.

use std::{io::Write, process::Command};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Database,
    process::{Going, output, roster, with_tenant},
    world::World,
};

async fn json(database: &Database, words: &str) -> (i32, Value) {
    let (code, stdout, stderr) = output(roster(database, &format!("{words} --json"))).await;
    let value =
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{words}: {e}: {stdout} {stderr}"));
    (code, value)
}

#[tokio::test]
async fn migrate_is_repeated_and_its_script_printed() {
    let database = Database::empty().await;
    let (code, script, _) = output(roster(&database, "migrate --print-sql")).await;
    assert_eq!(code, 0);
    assert!(
        script.contains("create table roster.changes"),
        "the numbered files are in it"
    );
    let (code, told, _) = output(roster(&database, "migrate")).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("public.users"), "{told}");
    let (code, report) = json(&database, "migrate").await;
    assert_eq!(
        (code, report["applied"].as_array().map(Vec::len)),
        (0, Some(0))
    );
}

#[tokio::test]
async fn migrate_exits_4_where_a_view_has_to_be_written_first() {
    let database = Database::empty().await;
    let sql = database.client().await;
    sql.batch_execute("create table users (id int primary key, mail text)")
        .await
        .expect("a table");
    let (code, told, _) = output(roster(&database, "migrate")).await;
    assert_eq!(code, 4);
    assert!(told.contains("create view roster.desired_users"), "{told}");
    let (code, _, said) = output(roster(&database, "plan")).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("roster migrate"), "{said}");
}

#[tokio::test]
async fn a_database_that_goes_while_roster_starts_is_told_as_one_that_is_not_reached() {
    let world = World::new().await;
    world
        .run(
            "create function gone() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$; \
             create trigger gone before insert on roster.reactors for each row execute function gone()",
        )
        .await;
    let command = with_tenant(roster(&world.database, "run"), &world);
    let (code, _, told) = output(command).await;
    assert_eq!(code, 5, "{told}");
    for words in [
        "error: the session with the database was lost",
        "next: check that PostgreSQL runs",
    ] {
        assert_eq!(told.matches(words).count(), 1, "{words}: {told}");
    }
}

#[tokio::test]
async fn a_plan_tells_what_would_be_done_and_its_exit_code_whether_there_is_anything() {
    let world = World::observing().await;
    let (code, rows) = json(&world.database, "plan").await;
    assert_eq!((code, rows), (0, Value::Array(vec![])));
    world
        .run("insert into users (email, name) values ('ada@example.test', 'Ada')")
        .await;
    let (code, rows) = json(&world.database, "plan").await;
    assert_eq!(code, 2);
    assert_eq!(rows[0]["action"], "look");
    let (code, table, _) = output(roster(&world.database, "plan ada@example.test")).await;
    assert_eq!(code, 2);
    assert!(
        table.contains("ada@example.test") && table.contains("look"),
        "{table}"
    );
}

#[tokio::test]
async fn nobody_known_by_that_name_is_an_error_with_a_hint() {
    let world = World::observing().await;
    let (code, _, said) = output(roster(&world.database, "sync nobody@example.test")).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("RO003") && said.contains("hint: select"),
        "{said}"
    );
}

#[tokio::test]
async fn mode_pause_and_resume_show_in_status() {
    let world = World::observing().await;
    let status = async || json(&world.database, "status").await.1["status"].clone();
    assert_eq!(status().await["mode_was_chosen"], false);
    assert_eq!(output(roster(&world.database, "mode enforce")).await.0, 0);
    assert_eq!(status().await["mode"], "enforce");
    assert_eq!(output(roster(&world.database, "pause moving")).await.0, 0);
    assert_eq!(status().await["pause_reason"], "moving");
    assert_eq!(output(roster(&world.database, "resume")).await.0, 0);
    assert_eq!(status().await["paused_at"], Value::Null);
    assert_eq!(output(roster(&world.database, "mode sideways")).await.0, 4);
}

#[tokio::test]
async fn held_removals_are_listed_released_and_discarded() {
    let world = World::new().await;
    world
        .run("insert into users (email) select 'p' || n || '@example.test' from generate_series(1, 30) n")
        .await;
    world.settle().await;
    world.run("delete from users where id <= 25").await;
    world.settle().await;
    let (code, held) = json(&world.database, "held").await;
    assert_eq!((code, held.as_array().map(Vec::len)), (3, Some(25)));
    assert_eq!(output(roster(&world.database, "status")).await.0, 3);
    assert_eq!(
        output(roster(&world.database, "held --discard 1")).await.0,
        0
    );
    assert_eq!(
        output(roster(&world.database, "held --release all"))
            .await
            .0,
        0
    );
    world.settle().await;
    let users = world.tenant.list("users").await;
    let blocked = users.iter().filter(|user| user["blocked"] == true).count();
    assert_eq!(blocked, 24);
    let (code, _, said) = output(roster(&world.database, "held --release all")).await;
    assert_eq!(code, 1);
    assert!(said.contains("RO005"), "{said}");
}

#[tokio::test]
async fn a_running_roster_syncs_and_stops_in_order() {
    let world = World::new().await;
    let mut run = Going::start(with_tenant(roster(&world.database, "run"), &world));
    world
        .run("insert into users (email, name) values ('ada@example.test', 'Ada')")
        .await;
    let (code, receipt) = json(&world.database, "sync ada@example.test --wait 20").await;
    assert_eq!(
        (code, &receipt["converged"]),
        (0, &Value::Bool(true)),
        "{receipt}"
    );
    assert!(world.tenant.user("ada@example.test").await.is_some());

    run.signal(Signal::SIGTERM);
    assert_eq!(run.end().await, Some(0));
    assert_eq!(
        world
            .texts("select count(*)::text from roster.mirror where lease_by is not null")
            .await,
        ["0"]
    );
    let log = run.log();
    assert!(log.contains("the reactor stopped"), "{log}");
    for secret in ["ada@example.test", "roster-m2m-secret", "eyJ"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_bad_setting_stops_run_before_a_port_is_bound_and_names_key_origin_and_remedy() {
    let world = World::observing().await;
    let tried = |name: &'static str, value: &'static str| {
        let mut command = with_tenant(roster(&world.database, "run"), &world);
        command.env(name, value);
        output(command)
    };
    for (name, value, key) in [
        (
            "ROSTER__REACTOR__POLL_INTERVAL",
            "soon",
            "reactor.poll_interval",
        ),
        (
            "ROSTER__REACTOR__POLL_INTERVALL",
            "2s",
            "reactor.poll_interval",
        ),
        ("ROSTER__HTTP__LISTEN", "everywhere", "http.listen"),
        (
            "DATABASE_URL",
            "postgres://localhost/x?sslmod=require",
            "database.url",
        ),
    ] {
        let (code, _, said) = tried(name, value).await;
        assert_eq!(code, 4, "{name}: {said}");
        assert!(said.contains(key), "{name}: {said}");
    }
    let (code, _, said) = tried("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").await;
    assert_eq!(code, 5, "{said}");
}

#[tokio::test]
async fn run_says_plainly_that_it_only_observes() {
    let world = World::observing().await;
    let mut run = Going::start(with_tenant(
        roster(&world.database, "run --only reactor"),
        &world,
    ));
    world
        .until("select bool_or(last_listen_at is not null) from roster.reactors")
        .await;
    run.signal(Signal::SIGKILL);
    let log = run.log();
    assert!(log.contains("nothing is written to it"), "{log}");
}

#[tokio::test]
async fn the_emulator_starts_with_the_options_of_a_file_and_shows_them() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(br#"{"plan": "free", "answers": {"retry_after": true}}"#)
        .expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command
        .args(["emulator", "--json", "--listen", "127.0.0.1:0", "--options"])
        .arg(file.path());
    let mut going = Going::of(command);
    let stdout = going.stdout();
    let mut told = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
    let told = told.next().expect("a word").expect("JSON");
    let url = told["options"].as_str().expect("an address").to_owned();
    let options: Value = reqwest::get(url)
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(options["plan"], "free");
    assert_eq!(options["answers"]["retry_after"], true);
}

#[tokio::test]
async fn options_of_the_emulator_that_do_not_exist_are_refused_with_the_file_and_the_key() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(br#"{"plam": "free"}"#).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(["emulator", "--options"]).arg(file.path());
    let (code, _, stderr) = output(command).await;
    assert_eq!(code, 1);
    let name = file.path().display().to_string();
    assert!(
        stderr.contains(&name) && stderr.contains("plam"),
        "{stderr}"
    );
}

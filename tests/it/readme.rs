//! What the README says is tried: its commands parse, its SQL runs, its keys and codes exist.

use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
};

use roster::{cli, config};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{
    authz::Server,
    packages,
    world::{Tenant, World},
};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    README
        .split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

#[test]
fn every_roster_command_of_the_readme_parses() {
    let mut seen = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let command = line.split('#').next().unwrap_or_default().trim();
        if command.starts_with("roster ") {
            cli::check(command.split_whitespace())
                .unwrap_or_else(|error| panic!("{command}: {error}"));
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} commands are shown");
    // Those of the table, with its placeholders filled in.
    for command in [
        "roster status --watch",
        "roster plan ada@example.com",
        "roster sync ada@example.com --wait",
        "roster sync --all",
        "roster sync --failed",
        "roster held --release all",
        "roster held --discard 17",
        "roster mode observe",
        "roster pause why",
        "roster resume",
        "roster explain ada@example.com --permission read:songs",
        "roster history",
        "roster history ada@example.com",
        "roster history --transaction 751",
        "roster history --removals",
        "roster audit --output drift.csv --format csv",
        "roster audit --repair",
        "roster audit --revert all",
        "roster audit --adopt changed",
        "roster audit --ignore #17",
        "roster migrate --apply",
        "roster init --users-table hr.people",
        "roster doctor",
        "roster run --only server",
        "roster demo --tour",
        "roster emulator --listen 127.0.0.1:4000",
    ] {
        cli::check(command.split_whitespace()).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

/// What the README names as shown by a test is shown by one that exists.
#[test]
fn every_test_that_the_readme_names_is_there() {
    let section = README
        .split("\n## Replacing your script\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the section");
    let names: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with("` |"))
        .filter_map(|line| line.rsplit('`').nth(1))
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let (module, test) = name.rsplit_once("::").expect("a module and a test");
        let file = format!(
            "{}/tests/it/{}.rs",
            env!("CARGO_MANIFEST_DIR"),
            module.replace("::", "/")
        );
        let text = std::fs::read_to_string(&file).expect(&file);
        assert!(
            text.contains(&format!("async fn {test}()")),
            "{name} is not in {file}"
        );
    }
}

#[test]
fn every_make_target_of_the_readme_exists() {
    let makefile = include_str!("../../Makefile");
    for target in ["demo", "test", "bench"] {
        assert!(README.contains(&format!("make {target}")), "{target}");
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
}

#[tokio::test]
async fn the_sql_of_the_readme_runs() {
    let world = World::new().await;
    world
        .run(
            "create role roster_run; create role roster_lookup; create role alice; create role bob; \
             insert into users (email) values ('someone@example.com')",
        )
        .await;
    world.settle().await;
    for block in blocks("sql") {
        // The address of the invitation is not there yet in the README's order.
        let block = block.replace("invite('ada@example.com')", "invite('someone@example.com')");
        world.run(&block).await;
    }
    world.settle().await;
    let ada = world.tenant.user("ada@example.com").await;
    assert!(ada.is_none(), "inserted and deleted before anybody looked");
    world
        .run("drop role roster_run; drop role roster_lookup; drop role alice; drop role bob")
        .await;
}

#[tokio::test]
async fn every_view_and_function_of_the_readme_exists() {
    let world = World::observing().await;
    let mut seen = 0;
    for statement in README.split('`').filter(|text| text.starts_with("select ")) {
        let statement = statement.replace("\\|", "|").replace('…', "none");
        // Executed where it only reads, else at least parsed and planned.
        let prepared = world.sql.prepare(&statement).await;
        assert!(prepared.is_ok(), "{statement}: {prepared:?}");
        seen += 1;
    }
    assert!(seen > 8, "{seen} statements are shown");
}

#[test]
fn the_settings_of_the_readme_are_accepted() {
    let block = blocks("ini").concat();
    let variables: BTreeMap<String, String> = block
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace('…', &"ab".repeat(32))))
        .collect();
    assert!(variables.len() >= 5);
    let config = config::Config::load_from(None, &variables).expect("the README's settings");
    config.database().expect("a database");
    config.auth0().expect("a tenant");
    config.authz().expect("an audience");
    assert!(
        config
            .console
            .is_some_and(|console| console.login.is_some())
    );
}

#[test]
fn the_callers_of_the_readme_are_accepted() {
    let shown = blocks("toml").concat();
    let file = shown.replace("9f86d0…", &"9f86d081".repeat(8));
    assert!(file.contains("[[authz.callers]]"));
    let settings = [
        ("ROSTER__AUTHZ__ISSUER", "https://tenant.example/"),
        ("ROSTER__AUTHZ__AUDIENCE", "https://api.example.com"),
    ];
    let variables = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = config::Config::load_from(Some(&file), &variables.into()).expect("its callers");
    let callers = &config.authz().expect("all of it").callers;
    assert!(callers.len() == 1 && callers[0].evaluate && callers[0].search);
}

#[tokio::test]
async fn the_control_face_is_as_the_readme_says() {
    let tenant = Tenant::start(roster::emulator::Options::default()).await;
    let shown: Vec<&str> = blocks("sh")
        .iter()
        .flat_map(|block| block.lines())
        .filter(|line| line.starts_with("curl") && line.contains("/_emulator/"))
        .collect();
    assert!(shown.len() >= 3, "{shown:?}");
    for line in shown {
        let body = line.split('\'').nth(1).expect("a body");
        let what = line.split("/_emulator/").nth(1).expect("a path");
        tenant
            .control(what, serde_json::from_str(body).expect("JSON"))
            .await;
    }
    let (_, table) = README.split_once("| `/_emulator/…` |").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("an end");
    let mut seen = 0;
    for what in table
        .lines()
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
    {
        let url = format!("{}/_emulator/{what}", tenant.url);
        let known = async |method: reqwest::Method| {
            let request = reqwest::Client::new().request(method, &url).body("{}");
            request.send().await.expect("an answer").status() != reqwest::StatusCode::NOT_FOUND
        };
        assert!(
            known(reqwest::Method::GET).await || known(reqwest::Method::POST).await,
            "{what}"
        );
        seen += 1;
    }
    assert!(seen >= 9, "{seen} calls are shown");
}

/// Runs a program that reads its source from its input.
async fn run(program: &mut Command, source: &str, server: &Server, token: &str) -> Output {
    let mut child = program
        .env("ROSTER", &server.url)
        .env("TOKEN", token)
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(source.as_bytes()).await.expect("a reader");
    drop(stdin);
    child.wait_with_output().await.expect("an end")
}

/// What it prints.
async fn printed(program: &mut Command, source: &str, server: &Server, token: &str) -> String {
    let output = run(program, source, server, token).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}\n{told}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What each example for applications prints: those of the shell, then Node's and Python's.
async fn examples(server: &Server, token: &str) -> Vec<String> {
    let node = packages::node().await.expect("Node");
    let mut all = Vec::new();
    for block in blocks("sh") {
        if block.contains("$ROSTER") {
            let mut bash = Command::new("bash");
            all.push(printed(bash.args(["-eu"]), block, server, token).await);
        }
    }
    for block in blocks("js") {
        let mut program = Command::new(&node.program);
        let program = program.args(["--input-type=module", "-"]);
        all.push(printed(program, block, server, token).await);
    }
    for block in blocks("python") {
        let mut program = Command::new("python3");
        all.push(printed(program.arg("-"), block, server, token).await);
    }
    all
}

#[tokio::test]
async fn the_examples_for_applications_run_as_they_stand() {
    let server = Server::start().await;
    server
        .run(
            "insert into public.role_permissions values ('Artist', 'read:songs');
             insert into public.users (id, email) values (17, 'ada@example.com')",
        )
        .await;
    server.fold().await;
    server.link("auth0|ada", 17).await;
    server.answers("auth0|ada").await;
    let token = server.issuer.token("auth0|ada");
    let [curl, authzen, node, python] = &examples(&server, &token).await[..] else {
        panic!("four examples");
    };
    for printed in [curl, node, python] {
        assert!(printed.contains("ada@example.com"), "{printed}");
        assert!(printed.contains("insufficient_scope"), "{printed}");
        assert!(printed.contains("edit:songs"), "{printed}");
    }
    assert!(authzen.contains("\"decision\":false"), "{authzen}");
    for printed in [node, python].map(|printed| printed.to_lowercase()) {
        assert!(printed.contains("decision: false"), "{printed}");
    }
    server
        .commit(
            "insert into public.role_permissions values ('Artist', 'edit:songs'), ('Artist', 'read:record')",
        )
        .await;
    let [curl, authzen, node, python] = &examples(&server, &token).await[..] else {
        panic!("four examples");
    };
    assert!(!curl.contains("insufficient_scope"), "{curl}");
    assert!(authzen.contains("\"decision\":true"), "{authzen}");
    for printed in [node, python].map(|printed| printed.to_lowercase()) {
        assert!(printed.contains("may edit"), "{printed}");
        assert!(printed.contains("decision: true"), "{printed}");
    }
}

#[tokio::test]
async fn the_examples_for_applications_say_why_nobody_is_let_in() {
    let server = Server::start().await;
    let node = packages::node().await.expect("Node");
    let mut js = Command::new(&node.program);
    js.args(["--input-type=module", "-"]);
    let mut python = Command::new("python3");
    python.arg("-");
    for (mut program, source) in [
        (js, blocks("js").remove(0)),
        (python, blocks("python").remove(0)),
    ] {
        let output = run(&mut program, source, &server, "no-token").await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains("nobody is let in: 401"),
            "{told}"
        );
    }
}

#[test]
fn every_configuration_of_the_readme_is_shipped() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxies");
    let (_, section) = README.split_once("### Behind a proxy").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("an end");
    let mut shipped = 0;
    for file in std::fs::read_dir(folder).expect("a folder") {
        let name = file
            .expect("a file")
            .file_name()
            .into_string()
            .expect("UTF-8");
        assert!(section.contains(&format!("`{name}`")), "{name}");
        shipped += 1;
    }
    assert_eq!(shipped, 7);
}

//! The command line: what it prints, its exit codes, and what is left when it dies.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::tools::{ADA, audited, drift, renamed, with_a_renamed_ada};
use crate::support::{
    process::{Going, output, roster, with_tenant},
    world::{World, eventually},
};

async fn command(world: &World, words: &str) -> (i32, String, String) {
    output(with_tenant(roster(&world.database, words), world)).await
}

#[tokio::test]
async fn the_command_exits_2_on_differences_and_0_once_they_are_repaired() {
    let world = with_a_renamed_ada().await;
    let (code, table, said) = command(&world, "audit --repair").await;
    assert_eq!(code, 2, "{table} {said}");
    for words in [
        "changed",
        ADA,
        "name: Somebody → ada",
        "1 finding given to the plan",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    world.settle().await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    let (code, table, said) = command(&world, "audit").await;
    assert_eq!(code, 0, "{table} {said}");
    assert!(table.contains("no differences"), "{table}");
}

/// In the order of the alphabet.
fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn findings_are_one_json_document_whose_fields_stay_the_same() {
    let world = with_a_renamed_ada().await;
    let (code, document, _) = command(&world, "audit --json").await;
    assert_eq!(code, 2);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(keys(&document), ["audit", "drift"]);
    let audit =
        "accounts_linked accounts_seen candidates found id on_their_way open source unconfirmed";
    assert_eq!(keys(&document["audit"]).join(" "), audit);
    let drift = "auth0_user_id changes detail email id kind planned user_key what_to_do";
    assert_eq!(keys(&document["drift"][0]).join(" "), drift);
    assert_eq!(document["audit"]["open"], 1);
    let name = json!({"name": {"from": "Somebody", "to": "ada"}});
    assert_eq!(document["drift"][0]["changes"], name);
    world.run("select roster.ignore_drift('all')").await;
    let (code, document, _) = command(&world, "audit --json").await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((code, &document["drift"]), (0, &json!([])));
}

#[tokio::test]
async fn a_csv_file_has_a_line_a_field_and_the_same_header_always() {
    let world = with_a_renamed_ada().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("drift.csv");
    let words = format!("audit --format csv --output {}", file.display());
    let (code, told, _) = command(&world, &words).await;
    assert_eq!(code, 2);
    assert!(told.contains("1 difference"), "{told}");
    let header =
        "id,kind,user_key,auth0_user_id,email,field,auth0,postgres,detail,planned,what_to_do";
    let text = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(text.lines().next(), Some(header));
    let mut records = csv::Reader::from_path(&file).expect("a file");
    let records: Vec<csv::StringRecord> = records
        .records()
        .collect::<Result<_, _>>()
        .expect("records");
    let fields: Vec<&str> = records
        .iter()
        .flat_map(|record| [&record[1], &record[4], &record[5], &record[6], &record[7]])
        .collect();
    assert_eq!(fields, ["changed", ADA, "name", "Somebody", "ada"]);
    world.run("select roster.ignore_drift('all')").await;
    let (code, text, _) = command(&world, "audit --format csv").await;
    assert_eq!((code, text.trim_end()), (0, header));
    let (code, _, said) = command(&world, "audit --output /nowhere/drift.csv").await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("--output: /nowhere/drift.csv"), "{said}");
}

#[tokio::test]
async fn verdicts_are_given_on_the_command_line_without_another_audit() {
    let world = with_a_renamed_ada().await;
    audited(&world).await;
    let (code, statement, said) = command(&world, "audit --adopt all").await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        statement.trim(),
        "update public.users set name = 'Somebody' where id = '1';"
    );
    let (code, told, _) = command(&world, "audit --revert #1").await;
    assert_eq!(
        (code, told.trim()),
        (0, "1 finding given to the plan; see roster plan.")
    );
    let (code, _, said) = command(&world, "audit --ignore all").await;
    assert_eq!(code, 1);
    assert!(said.contains("select * from roster.drift;"), "{said}");
    assert_eq!(
        world
            .texts("select count(*)::text from roster.audits")
            .await,
        ["1"]
    );
}

#[tokio::test]
async fn the_command_exits_5_where_auth0_cannot_be_reached_and_4_where_it_refuses_us() {
    let world = with_a_renamed_ada().await;
    // As before the first reactor: another address would be another tenant.
    world.run("update roster.settings set tenant = null").await;
    for (variable, value, expected) in [
        ("ROSTER__AUTH0__BASE_URL", "http://127.0.0.1:1", 5),
        ("AUTH0_MGMT_CLIENT_SECRET", "another", 4),
    ] {
        let mut command = with_tenant(roster(&world.database, "audit"), &world);
        command.env(variable, value);
        let (code, _, said) = output(command).await;
        assert_eq!(code, expected, "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
    }
}

#[tokio::test]
async fn a_reactor_audits_by_itself_and_stops_in_order() {
    let world = with_a_renamed_ada().await;
    let mut command = with_tenant(roster(&world.database, "run --only reactor"), &world);
    command.env("ROSTER__AUDIT__EVERY", "1h");
    let mut going = Going::start(command);
    world.until("select count(*) = 1 from roster.drift").await;
    going.signal(Signal::SIGTERM);
    assert_eq!(going.end().await, Some(0), "{}", going.log());
}

#[tokio::test]
async fn killed_half_way_it_has_changed_nothing_and_the_next_one_does_it_all() {
    let world = with_a_renamed_ada().await;
    audited(&world).await;
    world.run("select roster.ignore_drift('all')").await;
    renamed(&world, ADA, "Somebody else").await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    let long = json!({"delay_ms": 60_000});
    world
        .tenant
        .fault("GET /api/v2/users/{id}", "delay", 1, long)
        .await;
    let mut going = Going::start(with_tenant(
        roster(&world.database, "audit --repair"),
        &world,
    ));
    eventually("a look", async || world.tenant.has_struck().await).await;
    going.signal(Signal::SIGKILL);
    assert_eq!(going.end().await, None);
    assert_eq!(
        drift(&world).await,
        Vec::<String>::new(),
        "the last one's findings stand"
    );
    world.settle().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "Somebody else"
    );
    // Until the server has noticed that it is gone, another audit is under way.
    eventually("another audit", async || {
        command(&world, "audit --repair").await.0 == 2
    })
    .await;
    world.settle().await;
    assert_eq!(world.tenant.account(ADA).await["name"], "ada");
    let ends = world
        .texts("select concat_ws(' ', state, error_code) from roster.audits order by id")
        .await;
    assert_eq!(ends, ["finished", "failed interrupted", "finished"]);
}

#[tokio::test]
async fn ctrl_c_ends_it_and_says_that_nothing_was_changed() {
    let world = with_a_renamed_ada().await;
    let long = json!({"delay_ms": 60_000});
    world
        .tenant
        .fault("GET /api/v2/users/{id}", "delay", 1, long)
        .await;
    let mut going = Going::start(with_tenant(roster(&world.database, "audit"), &world));
    eventually("a look", async || world.tenant.has_struck().await).await;
    going.signal(Signal::SIGINT);
    assert_eq!(going.end().await, Some(1));
    assert!(going.log().contains("nothing was changed"));
    assert_eq!(world.problems().await, ["audit failed stopped"]);
}

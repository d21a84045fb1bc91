//! A tenant that has users already, class by class, before anything is written.

use serde_json::json;

use crate::support::{
    process::{output, roster, with_tenant},
    world::World,
};

/// People in a table and in a tenant that know nothing of each other, and Roster only observes.
async fn strangers() -> World {
    let world = World::observing().await;
    let account = |id: &str, verified: bool| {
        let (_, address) = id.split_once('|').unwrap_or_default();
        let address = address.split('-').next().unwrap_or_default();
        json!({"user_id": id, "email": format!("{address}@example.test"), "email_verified": verified})
    };
    for (id, verified) in [
        ("auth0|ada", true),
        ("auth0|bob", false),
        ("auth0|carol-1", true),
        ("auth0|carol-2", true),
        ("auth0|nobody", true),
        ("google-oauth2|ada", true),
        ("google-oauth2|bob", false),
        ("auth0|fay", false),
    ] {
        world.tenant.has(account(id, verified)).await;
    }
    world
        .add(&[
            "Ada@example.test",
            "bob@example.test",
            "carol@example.test",
            "dora@example.test",
            "eve@example.test",
            "fay@example.test",
        ])
        .await;
    world
        .run("update users set auth0_user_id = 'auth0|gone' where email like 'eve%'; update users set auth0_user_id = 'auth0|fay' where email like 'fay%'")
        .await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    world
}

/// `class address id detail` of each line of the list, in order.
async fn listed(world: &World) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("accounts.csv");
    let words = format!("audit --accounts {}", file.display());
    let (code, told, said) = output(with_tenant(roster(&world.database, &words), world)).await;
    assert_eq!(code, 2, "{told} {said}");
    let text = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(
        text.lines().next(),
        Some("class,user_key,auth0_user_id,email,detail")
    );
    let mut lines: Vec<String> = csv::Reader::from_reader(text.as_bytes())
        .records()
        .map(|line| {
            let line = line.expect("a line");
            format!("{}: {} {} {}", &line[0], &line[3], &line[2], &line[4])
        })
        .collect();
    lines.sort();
    lines
}

const STRANGERS: [&str; 10] = [
    "disputed: bob@example.test auth0|bob account_unverified",
    "disputed: carol@example.test auth0|carol-1 accounts_double",
    "disputed: carol@example.test auth0|carol-2 accounts_double",
    "disputed: eve@example.test  claimed_account_missing",
    "matchable: ada@example.test auth0|ada ",
    "matchable: ada@example.test google-oauth2|ada a further log-in",
    "matchable: fay@example.test auth0|fay the row names it",
    "only in Auth0: bob@example.test google-oauth2|bob an unverified address of another connection",
    "only in Auth0: nobody@example.test auth0|nobody ",
    "only in Postgres: dora@example.test  ",
];

#[tokio::test]
async fn every_account_of_a_tenant_is_classed_by_its_export_alone_and_nothing_is_written() {
    let world = strangers().await;
    assert_eq!(listed(&world).await, STRANGERS);
    assert_eq!(world.tenant.writes().await, 1, "the export job alone");
    assert!(world.says("select count(*) = 0 from roster.accounts").await);
}

#[tokio::test]
async fn what_the_list_foretells_is_what_looks_come_to() {
    let world = strangers().await;
    world.settle().await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    let linked = |line: &&str| match line.strip_prefix("matchable: ") {
        Some(rest) => {
            let words: Vec<&str> = rest.split(' ').collect();
            format!("linked: {} {} ", words[0], words[1])
        }
        None => (*line).to_owned(),
    };
    let mut after: Vec<String> = STRANGERS.iter().map(linked).collect();
    after.sort();
    assert_eq!(listed(&world).await, after);
    assert_eq!(world.tenant.writes().await, 1, "the export job alone");
}

#[tokio::test]
async fn a_tenant_without_exports_cannot_be_listed_and_that_is_said() {
    let world = strangers().await;
    let refusal = json!({"status": 403});
    world
        .tenant
        .fault("POST /api/v2/jobs/users-exports", "status", 100, refusal)
        .await;
    let dir = tempfile::tempdir().expect("a directory");
    let words = format!("audit --accounts {}", dir.path().join("a.csv").display());
    let (code, _, said) = output(with_tenant(roster(&world.database, &words), &world)).await;
    assert_ne!(code, 0);
    assert!(said.contains("audit without --accounts"), "{said}");
}

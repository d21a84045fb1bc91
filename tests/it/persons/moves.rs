//! One transaction moves people between keys: everybody keeps their own account, and nobody gets another's.

use serde_json::Value;

use crate::support::world::{World, text};

const PEOPLE: [&str; 3] = ["ada@example.test", "bob@example.test", "cyd@example.test"];

/// What one transaction does to three people under the keys 1 to 3, and who of them is gone after it.
const MOVES: &[(&str, &[&str])] = &[
    (
        "update users set id = 11 where id = 1; insert into users (id, email) values (1, 'eve@example.test')",
        &[],
    ),
    (
        "delete from users where id = 2; update users set id = 2 where id = 1",
        &["bob@example.test"],
    ),
    (
        "update users set id = -id; update users set id = 1 - id where id < 0",
        &[],
    ),
    (
        "update users set id = -id where id < 3; update users set id = 3 + id where id < 0",
        &[],
    ),
    (
        "create temp table kept on commit drop as select * from users; delete from users; \
         insert into users (id, email, auth0_user_id) select 4 - id, email, auth0_user_id from kept",
        &[],
    ),
    (
        "create temp table kept on commit drop as select * from users; delete from users; \
         insert into users (id, email) select 1 + id % 3, email from kept",
        &[],
    ),
    (
        "alter table users drop constraint users_pkey cascade; update users set id = 1 + id % 3",
        &[],
    ),
];

#[tokio::test]
async fn whoever_moves_to_another_key_keeps_the_account() {
    for ids in ["", "update users set auth0_user_id = null; "] {
        for (number, (statements, gone)) in MOVES.iter().enumerate() {
            let world = World::new().await;
            world.add(&PEOPLE).await;
            world.settle().await;
            let mut before = Vec::new();
            for email in PEOPLE {
                before.push(world.tenant.account(email).await["user_id"].clone());
            }
            // Without ids nothing tells one statement that moves keys from one that changes addresses.
            if !ids.is_empty() && statements.starts_with("alter") {
                continue;
            }
            world
                .run(&format!("begin; {ids}{statements}; commit"))
                .await;
            world.settle_in_time().await;
            let what = format!("move {number} {ids}");
            for (email, id) in PEOPLE.into_iter().zip(before) {
                let account = world.tenant.account(email).await;
                assert_eq!(account["user_id"], id, "{what}: {email}");
                let is_gone = gone.contains(&email);
                assert_eq!(account["blocked"] == true, is_gone, "{what}: {email}");
                let named = format!(
                    "select email from users where auth0_user_id = '{}'",
                    text(&id)
                );
                let names: &[&str] = if is_gone { &[] } else { &[email] };
                assert_eq!(world.texts(&named).await, names, "{what}");
            }
            let mut mailed = world.tenant.mailed().await;
            mailed.sort();
            mailed.dedup();
            assert_eq!(
                mailed,
                {
                    let mut once = world.tenant.mailed().await;
                    once.sort();
                    once
                },
                "{what}: nobody is invited twice"
            );
            assert_eq!(world.plan().await, [""; 0], "{what}");
            assert_eq!(world.problems().await, [""; 0], "{what}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_inserted_again_at_once_with_another_address_is_one_person_still() {
    let world = World::new().await;
    world.add(&PEOPLE).await;
    world.settle().await;
    let ada = world.tenant.account("ada@example.test").await;
    world
        .run("delete from users where id = 1; insert into users (id, email) values (1, 'king@example.test')")
        .await;
    world.settle_in_time().await;
    let king = world.tenant.account("king@example.test").await;
    assert_eq!(king["user_id"], ada["user_id"]);
    assert_ne!(king["blocked"], Value::Bool(true));
}

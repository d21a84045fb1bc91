//! Who is the same person: rows that go and come back, keys and addresses that change hands, accounts that are there already.

mod links;
mod moves;

use roster::auth0::Patch;
use serde_json::{Value, json};

use crate::support::world::{World, text};

/// Ada has an account; Keep stays, so that the table is never empty.
async fn with_ada() -> (World, Value) {
    let world = World::new().await;
    world.add(&["ada@example.test", "keep@example.test"]).await;
    world.settle().await;
    let ada = world.tenant.account("ada@example.test").await;
    world.tenant.forget_requests().await;
    (world, ada)
}

const DELETE_ADA: &str = "delete from users where email = 'ada@example.test'";

async fn by_id(world: &World, id: &Value) -> Value {
    let users = world.tenant.list("users").await;
    let found = users.into_iter().find(|user| user["user_id"] == *id);
    found.expect("an account with this id")
}

#[tokio::test]
async fn a_deleted_row_is_blocked_and_never_deleted() {
    let (world, ada) = with_ada().await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    world.sweep().await;
    let user = by_id(&world, &ada["user_id"]).await;
    assert_eq!(user["blocked"], true);
    assert_eq!(user["email"], "ada@example.test");
    assert_eq!(world.tenant.patches().await, [json!({"blocked": true})]);
    assert_eq!(world.tenant.calls("DELETE", "/api/v2").await, 0);
}

#[tokio::test]
async fn a_blocked_account_is_deleted_when_its_time_is_over_if_roster_made_it() {
    let world = World::with(|settings| settings.delete_after = Some(3600.0)).await;
    let adopted = json!({"email": "old@example.test", "email_verified": true});
    world.tenant.has(adopted).await;
    world
        .add(&["old@example.test", "ada@example.test", "keep@example.test"])
        .await;
    world.settle().await;
    world
        .run("delete from users where email <> 'keep@example.test'")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.calls("DELETE", "/api/v2").await, 0);
    world
        .run(
            "update roster.mirror set removed_at = removed_at - interval '2 hours'; \
             update roster.accounts set removed_at = removed_at - interval '2 hours'",
        )
        .await;
    world.sweep().await;
    assert_eq!(world.tenant.calls("DELETE", "/api/v2").await, 1);
    assert!(world.tenant.user("ada@example.test").await.is_none());
    let old = world.tenant.account("old@example.test").await;
    assert_eq!(old["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_row_that_returns_with_another_key_takes_its_account_over() {
    let (world, ada) = with_ada().await;
    world.run(DELETE_ADA).await;
    world.settle().await;
    world.add(&["ADA@Example.Test"]).await;
    world.settle().await;
    let back = world.tenant.account("ada@example.test").await;
    assert_eq!(back["user_id"], ada["user_id"]);
    assert_eq!(back["blocked"], false);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 0);
    assert_eq!(world.tenant.list("mail").await.len(), 2);
    // And the id is written into the new row.
    assert_eq!(
        world
            .texts("select auth0_user_id from users where email = 'ADA@Example.Test'")
            .await,
        [text(&ada["user_id"])]
    );
}

#[tokio::test]
async fn a_row_replaced_in_one_transaction_is_not_even_blocked() {
    let (world, ada) = with_ada().await;
    world
        .run(&format!("begin; {DELETE_ADA}; insert into users (email, name) values ('ada@example.test', 'Ada King'); commit"))
        .await;
    world.settle().await;
    let user = by_id(&world, &ada["user_id"]).await;
    assert_eq!(user["name"], "Ada King");
    assert_eq!(user["blocked"], Value::Null);
    assert_eq!(world.tenant.patches().await.len(), 1);
    assert_eq!(world.tenant.list("users").await.len(), 2);
}

#[tokio::test]
async fn a_row_that_carries_the_id_comes_before_one_that_has_the_address() {
    let (world, ada) = with_ada().await;
    world
        .run("update users set id = 4711, email = 'king@example.test' where email = 'ada@example.test'")
        .await;
    world.add(&["ada@example.test"]).await;
    world.fold().await;
    let rekeys = "select user_key || ' ' || auth0_user_id from roster.plan where action = 'rekey' order by 1";
    let taken = format!("4711 {}", text(&ada["user_id"]));
    assert_eq!(world.texts(rekeys).await, [taken]);
    world.settle_in_time().await;
    let king = world.tenant.account("king@example.test").await;
    assert_eq!(king["user_id"], ada["user_id"]);
    let other = world.tenant.account("ada@example.test").await;
    assert_eq!(other["blocked"], Value::Null);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_primary_key_keeps_the_account() {
    let (world, ada) = with_ada().await;
    world
        .run("update users set id = 4711, name = 'Ada King' where email = 'ada@example.test'")
        .await;
    world.settle().await;
    let user = by_id(&world, &ada["user_id"]).await;
    assert_eq!(user["name"], "Ada King");
    assert_eq!(user["blocked"], Value::Null);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 0);
}

#[tokio::test]
async fn a_recycled_key_means_another_person() {
    let (world, ada) = with_ada().await;
    let key = &world
        .texts("select id::text from users where email = 'ada@example.test'")
        .await[0];
    world.run(DELETE_ADA).await;
    world.settle().await;
    world
        .run(&format!(
            "insert into users (id, email) values ({key}, 'eve@example.test')"
        ))
        .await;
    world.settle().await;
    let old = by_id(&world, &ada["user_id"]).await;
    assert_eq!(old["blocked"], true);
    assert_eq!(old["email"], "ada@example.test");
    let eve = world.tenant.account("eve@example.test").await;
    assert_eq!(eve["blocked"], Value::Null);
    assert_eq!(
        world.tenant.mailed().await.last().map(String::as_str),
        Some("eve@example.test")
    );
    assert_eq!(world.tenant.list("users").await.len(), 3);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_recycled_key_means_another_person_also_when_nobody_looked_in_between() {
    let (world, ada) = with_ada().await;
    let key = &world
        .texts("select id::text from users where email = 'ada@example.test'")
        .await[0];
    world.run(DELETE_ADA).await;
    world
        .run(&format!(
            "insert into users (id, email) values ({key}, 'eve@example.test')"
        ))
        .await;
    world.settle().await;
    assert_eq!(by_id(&world, &ada["user_id"]).await["blocked"], true);
    let eve = world.tenant.account("eve@example.test").await;
    assert_ne!(eve["user_id"], ada["user_id"]);
}

#[tokio::test]
async fn two_people_may_exchange_their_addresses() {
    let (world, ada) = with_ada().await;
    let keep = world.tenant.account("keep@example.test").await;
    world
        .run(
            "begin; update users set email = 'x' where email = 'ada@example.test'; \
             update users set email = 'ada@example.test' where email = 'keep@example.test'; \
             update users set email = 'keep@example.test' where email = 'x'; commit",
        )
        .await;
    world.settle_in_time().await;
    assert_eq!(
        by_id(&world, &ada["user_id"]).await["email"],
        "keep@example.test"
    );
    assert_eq!(
        by_id(&world, &keep["user_id"]).await["email"],
        "ada@example.test"
    );
    assert_eq!(world.tenant.patches().await.len(), 3);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn three_people_may_pass_their_addresses_round() {
    let world = World::new().await;
    let people = ["ann@example.test", "bea@example.test", "cyd@example.test"];
    world.add(&people).await;
    world.settle().await;
    let ids = "select auth0_user_id from users order by id";
    let ids = world.texts(ids).await;
    world
        .run(
            "begin; update users set email = 'x' || email; \
             update users set email = case id when 1 then 'bea' when 2 then 'cyd' else 'ann' end || '@example.test'; commit",
        )
        .await;
    world.settle_in_time().await;
    for (id, email) in ids.iter().zip([people[1], people[2], people[0]]) {
        let user = world.tenant.account(email).await;
        assert_eq!(user["user_id"], **id, "{email}");
    }
    assert_eq!(world.tenant.list("users").await.len(), 3);
    // One of them had to step aside.
    assert_eq!(world.tenant.patches().await.len(), 4);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_address_handed_on_waits_for_the_one_who_has_it() {
    let (world, ada) = with_ada().await;
    world
        .run(
            "begin; update users set email = 'new@example.test' where email = 'ada@example.test'; \
             update users set email = 'ada@example.test' where email = 'keep@example.test'; commit",
        )
        .await;
    world.settle_in_time().await;
    assert_eq!(
        by_id(&world, &ada["user_id"]).await["email"],
        "new@example.test"
    );
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "keep"
    );
    assert_eq!(world.tenant.patches().await.len(), 2);
}

#[tokio::test]
async fn a_removed_account_gives_its_address_up_to_somebody_who_is_there() {
    let (world, ada) = with_ada().await;
    world.run(DELETE_ADA).await;
    world.settle().await;
    world
        .run("update users set email = 'ada@example.test' where email = 'keep@example.test'")
        .await;
    world.settle_in_time().await;
    let old = by_id(&world, &ada["user_id"]).await;
    assert_eq!(old["blocked"], true);
    assert!(
        text(&old["email"]).ends_with("@roster.invalid"),
        "{}",
        old["email"]
    );
    let keep = world.tenant.account("ada@example.test").await;
    assert_eq!(keep["name"], "keep");
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_auth0_refuses_to_create_without_a_reason_to_be_seen_is_tried_again_and_then_disputed()
{
    let world = World::new().await;
    let taken = json!({"status": 409, "body": {"statusCode": 409, "error": "Conflict", "message": "The user already exists."}});
    world
        .tenant
        .fault("POST /api/v2/users", "status", 1000, taken)
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    assert_eq!(world.problems().await, ["failing conflict_unexplained"]);
    for _ in 0..2 {
        world.settle_in_time().await;
    }
    assert_eq!(world.problems().await, ["disputed conflict_unexplained"]);
    let tries = world.tenant.calls("POST", "/api/v2/users").await;
    assert!((3..10).contains(&tries), "{tries} tries");
}

#[tokio::test]
async fn an_account_deleted_in_auth0_is_made_again() {
    let (world, ada) = with_ada().await;
    let client = &world.reactor.client;
    let id = roster::user::Auth0UserId(text(&ada["user_id"]));
    client.delete_user(&id).await.expect("deleted by somebody");
    world
        .run("update users set name = 'Ada King' where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["name"], "Ada King");
    assert_eq!(
        user["user_id"], ada["user_id"],
        "under the id that is linked"
    );
}

#[tokio::test]
async fn who_gets_another_key_while_the_account_is_being_made_keeps_it() {
    let world = World::new().await;
    let lost = json!({});
    world
        .tenant
        .fault("POST /api/v2/users", "cut_after", 1, lost)
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world.run("update users set id = 99").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert_eq!(world.tenant.mailed().await, ["ada@example.test"]);
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_blocked_user_gets_the_address_of_one_who_left() {
    let (world, ada) = with_ada().await;
    world.add(&["bob@example.test"]).await;
    world.settle().await;
    world.run(DELETE_ADA).await;
    world
        .run("update users set blocked = true where email = 'bob@example.test'")
        .await;
    world.settle().await;
    // Somebody else waits for the address that is given up.
    world
        .run("update users set email = 'ada@example.test' where email = 'bob@example.test'")
        .await;
    world.add(&["bob@example.test"]).await;
    world.settle_in_time().await;
    let taken = world.tenant.account("ada@example.test").await;
    assert_ne!(taken["user_id"], ada["user_id"]);
    assert_eq!(taken["blocked"], true);
    assert!(world.tenant.user("bob@example.test").await.is_some());
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn who_was_made_and_not_told_of_is_invited_although_the_key_means_another_by_now() {
    let world = World::new().await;
    let lost = json!({});
    world
        .tenant
        .fault("POST /api/v2/users", "cut_after", 1, lost)
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world.run("delete from users").await;
    world
        .run("insert into users (id, email) values (1, 'bob@example.test')")
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 2);
    let mut mailed = world.tenant.mailed().await;
    mailed.sort();
    assert_eq!(mailed, ["ada@example.test", "bob@example.test"]);
}

#[tokio::test]
async fn an_account_of_ours_that_has_an_address_nobody_knew_of_gives_it_up() {
    let (world, ada) = with_ada().await;
    let moved = Patch {
        email: Some("eve@example.test".to_owned()),
        ..Patch::default()
    };
    world
        .tenant
        .somebody_patches("ada@example.test", moved)
        .await;
    world.add(&["eve@example.test"]).await;
    world.settle_in_time().await;
    let mine = world.tenant.account("ada@example.test").await;
    assert_eq!(mine["user_id"], ada["user_id"]);
    assert!(world.tenant.user("eve@example.test").await.is_some());
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_two_accounts_that_lost_their_users_one_is_taken_by_its_id_and_the_other_gives_its_address_up()
 {
    let (world, ada) = with_ada().await;
    world.add(&["bob@example.test"]).await;
    world.settle().await;
    world
        .run("delete from users where email in ('ada@example.test', 'bob@example.test')")
        .await;
    world.settle_in_time().await;
    let id = text(&ada["user_id"]);
    world
        .run(&format!(
            "insert into users (email, auth0_user_id) values ('bob@example.test', '{id}')"
        ))
        .await;
    world.settle_in_time().await;
    let bob = world.tenant.account("bob@example.test").await;
    assert_eq!(
        (text(&bob["user_id"]), &bob["blocked"]),
        (id, &json!(false))
    );
    assert_eq!(world.plan().await, Vec::<String>::new());
}

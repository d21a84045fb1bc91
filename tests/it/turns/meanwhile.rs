//! What happens to a user, a key or an account between the beginning of a call and its record: the key is used again for somebody else,
//! somebody takes the account over, the row is corrected.

use roster::{
    db::{done::Done, mirror::Claim},
    reactor::apply,
};
use serde_json::{Value, json};

use super::{ADA, BOB, claimed, turn};
use crate::support::world::{World, text};

const EVE: &str = "eve@example.test";

/// Of all who are due the calls of these actions, each made and all but the last one recorded.
async fn under_way(world: &World, actions: &[&str]) -> (Vec<Claim>, Vec<Done>) {
    world.fold().await;
    let claims = claimed(world, 16).await;
    let mut done = Vec::new();
    for action in actions {
        let begun = turn(world, &claims, &done).await.remove(0);
        assert_eq!(begun.row.action.as_str(), *action);
        done = vec![apply::apply(&world.reactor.client, begun).await];
    }
    (claims, done)
}

/// Everybody goes, and then, in another transaction, this row comes.
async fn comes_instead(world: &World, row: &str) {
    world.run("delete from users").await;
    world.run(&format!("insert into users {row}")).await;
    world.fold().await;
}

/// Ada has an account, and another name by now.
async fn renamed() -> World {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("update users set name = 'King'").await;
    world
}

/// The next call that changes a user is refused so.
async fn refuses(world: &World, status: u16) {
    let route = "PATCH /api/v2/users/{id}";
    let refusal = json!({"status": status});
    world.tenant.fault(route, "status", 1, refusal).await;
}

/// There before Roster.
async fn has(world: &World, id: &str, email: &str) {
    let there = json!({"user_id": id, "email": email, "email_verified": true});
    world.tenant.has(there).await;
}

#[tokio::test]
async fn an_account_that_is_taken_over_in_a_turn_is_not_changed_for_its_former_user_as_well() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    comes_instead(
        &world,
        "(id, email, blocked) values (7, 'ada@example.test', true)",
    )
    .await;
    let claims = claimed(&world, 16).await;
    assert_eq!(claims.len(), 2);
    let begun = turn(&world, &claims, &[]).await;
    let keys: Vec<&str> = begun
        .iter()
        .map(|call| call.row.user_key.as_str())
        .collect();
    assert_eq!(keys, ["7"], "two at a time would be each other's ban");
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    world.run("update users set blocked = false").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], false);
}

#[tokio::test]
async fn an_account_is_not_taken_over_while_a_turn_of_its_former_user_goes_on() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let account = text(&world.tenant.account(ADA).await["user_id"]);
    comes_instead(&world, "(id, email) values (7, 'ada@example.test')").await;
    // As a turn does that has read its plan and begins a call.
    world
        .run("begin; select from roster.mirror where user_key = '1' for update")
        .await;
    let claims = claimed(&world, 16).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(turn(&world, &claims, &[]).await.len(), 0);
    let owner = format!("select user_key from roster.accounts where auth0_user_id = '{account}'");
    assert_eq!(world.texts(&owner).await, ["1"]);
    world.run("commit").await;
    world.settle_in_time().await;
    assert_eq!(world.texts(&owner).await, ["7"]);
    assert_eq!(world.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_mail_is_recorded_although_somebody_took_its_account_over_meanwhile() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    let (claims, done) = under_way(&world, &["create", "invite"]).await;
    comes_instead(&world, "(id, email) values (7, 'ada@example.test')").await;
    turn(&world, &claimed(&world, 16).await, &[]).await;
    turn(&world, &claims, &done).await;
    let ledger = "select user_key || ' ' || state from roster.invitations";
    assert_eq!(world.texts(ledger).await, ["7 sent"]);
}

#[tokio::test]
async fn a_create_for_who_had_the_key_wants_no_invitation_for_who_has_it() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.add(&[BOB]).await;
    let (claims, done) = under_way(&world, &["create"]).await;
    comes_instead(&world, "(id, email) values (2, 'ada@example.test')").await;
    turn(&world, &claims, &done).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, [ADA], "once, under either key");
    assert_ne!(world.tenant.account(ADA).await["blocked"], true);
    assert_eq!(world.tenant.account(BOB).await["blocked"], true);
}

#[tokio::test]
async fn an_account_found_for_who_had_the_key_becomes_nobodys() {
    let world = World::new().await;
    has(&world, "auth0|bob", BOB).await;
    world.add(&[BOB]).await;
    let (claims, done) = under_way(&world, &["create", "look"]).await;
    comes_instead(&world, "(id, email) values (1, 'eve@example.test')").await;
    turn(&world, &claims, &done).await;
    world.settle_in_time().await;
    let eve = world.tenant.account(EVE).await;
    assert_ne!(eve["user_id"], "auth0|bob", "his password would be hers");
    assert_eq!(world.tenant.account(BOB).await["user_id"], "auth0|bob");
    assert_eq!(world.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_blocked_person_is_looked_for_although_a_call_for_who_had_the_key_went_well() {
    let world = renamed().await;
    has(&world, "auth0|eve", EVE).await;
    let (claims, done) = under_way(&world, &["update"]).await;
    comes_instead(
        &world,
        "(id, email, blocked) values (1, 'eve@example.test', true)",
    )
    .await;
    turn(&world, &claims, &done).await;
    world.settle_in_time().await;
    for email in [ADA, EVE] {
        assert_eq!(
            world.tenant.account(email).await["blocked"],
            true,
            "{email}"
        );
    }
}

#[tokio::test]
async fn what_auth0_refuses_of_who_had_the_key_parks_nobody() {
    let world = renamed().await;
    refuses(&world, 400).await;
    let (claims, done) = under_way(&world, &["update"]).await;
    comes_instead(&world, "(id, email) values (1, 'eve@example.test')").await;
    turn(&world, &claims, &done).await;
    let plan = world.plan().await;
    assert!(!plan.contains(&"1 create parked".to_owned()), "{plan:?}");
    world.settle_in_time().await;
    assert_ne!(world.tenant.account(EVE).await, Value::Null);
    assert_eq!(world.plan().await, [""; 0]);
}

#[tokio::test]
async fn what_was_refused_before_the_row_was_corrected_does_not_park_the_corrected_row() {
    for (blocked, action, status) in [(false, "update", 400), (true, "block", 409)] {
        let world = renamed().await;
        world
            .run(&format!("update users set blocked = {blocked}"))
            .await;
        refuses(&world, status).await;
        let (claims, done) = under_way(&world, &[action]).await;
        world
            .run("update users set name = 'Lovelace', blocked = false")
            .await;
        world.fold().await;
        turn(&world, &claims, &done).await;
        world.settle_in_time().await;
        assert_eq!(
            world.tenant.account(ADA).await["name"],
            "Lovelace",
            "{action}"
        );
        assert_eq!(world.plan().await, [""; 0]);
    }
}

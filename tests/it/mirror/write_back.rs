//! The Auth0 id in the application's own row: written without waiting for anybody, and never followed where somebody else wrote it.

use serde_json::json;

use super::ADA;
use crate::support::world::{World, text};

#[tokio::test]
async fn writing_the_id_back_leaves_the_rest_of_the_row_alone() {
    let world = World::new().await;
    world.run(ADA).await;
    let touched = "select updated_at::text from users";
    let before = world.texts(touched).await;
    world.settle().await;
    assert_eq!(world.texts(touched).await, before);
    assert!(
        world
            .says("select auth0_user_id like 'auth0|%' from users")
            .await
    );
    // It is in the history, and no news that would be looked at, or that would make what failed be tried again.
    let written =
        "select count(*) = 1 from roster.history where reason = 'roster wrote the Auth0 id back'";
    assert!(world.says(written).await);
    assert_eq!(
        world
            .texts("select generation::text from roster.mirror")
            .await,
        ["1"]
    );
}

#[tokio::test]
async fn a_refused_change_is_not_tried_again_because_the_id_was_written_back() {
    let world = World::new().await;
    let slow = json!({"delay_ms": 1000});
    world
        .tenant
        .fault("POST /api/v2/users", "delay", 1, slow)
        .await;
    let refusal = json!({"status": 400});
    world
        .tenant
        .fault("PATCH /api/v2/users/{id}", "status", 100, refusal)
        .await;
    world.run(ADA).await;
    let meanwhile = async {
        world
            .until("select bool_or(call_id is not null) from roster.accounts")
            .await;
        world.run("update users set role = 'Admin'").await;
    };
    tokio::join!(world.settle(), meanwhile);
    world.settle_in_time().await;
    // Once for the change that was seen during the call, once when it was folded.
    assert_eq!(world.tenant.patches().await.len(), 2);
    assert_eq!(world.plan().await[1], "1 update parked");
}

#[tokio::test]
async fn writing_the_id_back_waits_for_nobody_who_holds_the_row() {
    let world = World::new().await;
    world.run(ADA).await;
    let editor = world.database.client().await;
    editor
        .batch_execute("begin; select from users for update")
        .await
        .expect("a held row");
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert!(world.says("select auth0_user_id is null from users").await);
    editor.batch_execute("rollback").await.expect("let go");
    world.sweep().await;
    assert!(
        world
            .says("select auth0_user_id is not null from users")
            .await
    );
}

#[tokio::test]
async fn an_id_changed_by_hand_is_disputed_and_not_followed() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let ours = text(&world.tenant.account("ada@example.test").await["user_id"]);
    let theirs = world
        .tenant
        .has(json!({"email": "bob@example.test", "name": "Bob", "email_verified": true}))
        .await;
    world
        .run(&format!(
            "update users set auth0_user_id = '{theirs}', name = 'Ada King'"
        ))
        .await;
    world.settle_in_time().await;
    assert_eq!(
        world.tenant.account("bob@example.test").await["name"],
        "Bob"
    );
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "Ada"
    );
    assert_eq!(world.plan().await, ["1 update disputed"]);
    assert_eq!(
        world.problems().await,
        ["id changed by hand auth0_user_id_disputed"]
    );
    world
        .run(&format!("update users set auth0_user_id = '{ours}'"))
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "Ada King"
    );
}

#[tokio::test]
async fn an_id_of_an_account_that_is_gone_is_overwritten_under_a_new_key_too() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let old = text(&world.tenant.account("ada@example.test").await["user_id"]);
    let id = roster::user::Auth0UserId(old.clone());
    let client = &world.reactor.client;
    client.delete_user(&id).await.expect("deleted by somebody");
    // A look between the two statements of a changed key finds nobody who wants it.
    world
        .run("update roster.accounts set state = 'gone'; update users set id = id + 100")
        .await;
    world.settle_in_time().await;
    world.sweep().await;
    let new = text(&world.tenant.account("ada@example.test").await["user_id"]);
    assert_ne!(new, old);
    assert_eq!(world.texts("select auth0_user_id from users").await, [new]);
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.problems().await, Vec::<String>::new());
}

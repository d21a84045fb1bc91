//! Accounts that Roster did not make: found there, attached at log-in, linked away, unlinked, and named by hand.

use serde_json::{Value, json};

use super::{DELETE_ADA, by_id, with_ada};
use crate::support::world::{World, text};

#[tokio::test]
async fn a_verified_account_that_is_there_already_becomes_the_users() {
    let world = World::new().await;
    let there = json!({"email": "ada@example.test", "email_verified": true, "app_metadata": {"billing": 7}});
    let id = world.tenant.has(there).await;
    world.add(&["Ada@example.test"]).await;
    world.settle_in_time().await;
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["user_id"], *id);
    assert_eq!(
        user["app_metadata"],
        json!({"billing": 7, "role": "Artist", "permissions": []})
    );
    assert_eq!(
        world.texts("select auth0_user_id from users").await,
        [id],
        "the id is written back"
    );
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_unverified_account_is_disputed_until_a_person_links_it() {
    let world = World::new().await;
    let id = world
        .tenant
        .has(json!({"email": "ada@example.test", "name": "Nobody"}))
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "Nobody"
    );
    assert_eq!(world.problems().await, ["disputed account_unverified"]);
    let states = world.texts("select state from roster.plan").await;
    assert_eq!(states, ["disputed"]);
    world
        .run(&format!("select roster.link('ada@example.test', '{id}')"))
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "ada"
    );
    assert_eq!(world.problems().await, Vec::<String>::new());
    assert_eq!(world.tenant.list("users").await.len(), 1);
}

#[tokio::test]
async fn two_accounts_with_the_address_are_disputed() {
    let world = World::new().await;
    for id in ["auth0|one", "auth0|two"] {
        let there = json!({"user_id": id, "email": "ada@example.test", "email_verified": true});
        world.tenant.has(there).await;
    }
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(world.problems().await, ["disputed accounts_double"]);
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(world.tenant.patches().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_google_account_attached_at_login_gets_the_role_and_the_block() {
    let (world, _) = with_ada().await;
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    let google = world.tenant.has(google).await;
    world
        .run(&format!(
            "select roster.follow((select user_key from roster.desired_users where email = 'ada@example.test'), '{google}', 'ada@example.test')"
        ))
        .await;
    world.settle().await;
    let id = json!(google);
    let user = by_id(&world, &id).await;
    assert_eq!(user["app_metadata"]["role"], "Artist");
    world
        .run("update users set role = 'Admin', name = 'Ada King', email = 'king@example.test' where email = 'ada@example.test'")
        .await;
    world.settle().await;
    let user = by_id(&world, &id).await;
    assert_eq!(user["app_metadata"]["role"], "Admin");
    assert_eq!(
        user["email"], "ada@example.test",
        "it is Google's to change"
    );
    world
        .run("update users set blocked = true where email = 'king@example.test'")
        .await;
    world.settle().await;
    assert_eq!(by_id(&world, &id).await["blocked"], true);
    let own = world.tenant.account("king@example.test").await;
    assert_eq!(own["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_google_account_of_a_removed_row_follows_the_row_that_has_its_address_later() {
    let (world, _) = with_ada().await;
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    let google = json!(world.tenant.has(google).await);
    let follow = "select roster.follow(user_key, 'google-oauth2|7', email) from roster.desired_users where email = 'ada@example.test'";
    world.run(follow).await;
    world.run(DELETE_ADA).await;
    world.add(&["new@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(by_id(&world, &google).await["blocked"], true);

    // Who has an account of their own takes over none, but the log-in is theirs by its verified address.
    world
        .run("update users set email = 'ada@example.test', role = 'Admin' where email = 'new@example.test'")
        .await;
    world.settle_in_time().await;
    let user = by_id(&world, &google).await;
    assert_eq!(user["blocked"], false);
    assert_eq!(user["app_metadata"]["role"], "Admin");
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    assert_eq!(by_id(&world, &google).await["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_google_account_beside_the_taken_address_follows_as_well() {
    let world = World::new().await;
    let own = json!({"email": "ada@example.test", "email_verified": true});
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    world.tenant.has(own).await;
    let google = json!(world.tenant.has(google).await);
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    let users = world.tenant.list("users").await;
    assert_eq!(users.len(), 2);
    for user in users {
        assert_eq!(user["app_metadata"]["role"], "Artist");
    }
    world
        .run("delete from users; insert into users (email) values ('keep@example.test')")
        .await;
    world.settle().await;
    assert_eq!(by_id(&world, &google).await["blocked"], true);
}

/// Somebody links Ada's account into the one she has with Google.
async fn linked_away(world: &World, ada: &Value) -> Value {
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    let google = json!(world.tenant.has(google).await);
    let into = format!("/api/v2/users/{}/identities", text(&google));
    let secondary = json!({"provider": "auth0", "user_id": ada["user_id"]});
    assert_eq!(world.tenant.post(&into, secondary).await, 201);
    google
}

#[tokio::test]
async fn an_account_linked_away_is_followed_to_where_it_went() {
    let (world, ada) = with_ada().await;
    let google = linked_away(&world, &ada).await;
    world
        .run("update users set role = 'Admin' where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    assert_eq!(
        by_id(&world, &google).await["app_metadata"]["role"],
        "Admin"
    );
    assert_eq!(
        world
            .texts("select auth0_user_id from users where email = 'ada@example.test'")
            .await,
        [text(&google)]
    );
    // No second account beside it.
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(world.tenant.list("mail").await.len(), 2);
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    assert_eq!(by_id(&world, &google).await["blocked"], true);
}

#[tokio::test]
async fn whose_account_was_linked_away_before_the_removal_is_blocked_where_it_went() {
    let (world, ada) = with_ada().await;
    let google = linked_away(&world, &ada).await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    assert_eq!(by_id(&world, &google).await["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_google_account_linked_into_the_users_own_leaves_that_the_users() {
    let (world, ada) = with_ada().await;
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    world.tenant.has(google).await;
    world
        .run("select roster.follow('1', 'google-oauth2|7', 'ada@example.test')")
        .await;
    world.settle().await;
    let into = format!("/api/v2/users/{}/identities", text(&ada["user_id"]));
    let secondary = json!({"provider": "google-oauth2", "user_id": "7"});
    assert_eq!(world.tenant.post(&into, secondary).await, 201);
    world.tenant.forget_requests().await;
    world
        .run("update users set role = 'Admin', email = 'king@example.test' where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    let king = world.tenant.account("king@example.test").await;
    assert_eq!(king["user_id"], ada["user_id"]);
    assert_eq!(king["app_metadata"]["role"], "Admin");
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 0);
}

#[tokio::test]
async fn a_tenant_that_contradicts_itself_is_not_asked_without_a_break() {
    let (world, _) = with_ada().await;
    let gone = json!({"status": 404, "body": {"statusCode": 404, "error": "Not Found", "message": "The user does not exist.", "errorCode": "inexistent_user"}});
    world
        .tenant
        .fault("PATCH /api/v2/users/{id}", "status", 1000, gone)
        .await;
    world
        .run("update users set role = 'Admin' where email = 'ada@example.test'")
        .await;
    world.settle().await;
    let tries = world.tenant.patches().await.len();
    assert!(tries < 10, "{tries} tries");
    world.tenant.mend().await;
    world.settle_in_time().await;
    let ada = world.tenant.account("ada@example.test").await;
    assert_eq!(ada["app_metadata"]["role"], "Admin");
}

#[tokio::test]
async fn an_account_that_was_unlinked_is_left_alone_and_linked_again_it_is_followed() {
    let (world, ada) = with_ada().await;
    let id = text(&ada["user_id"]);
    world.run(&format!("select roster.unlink('{id}')")).await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(
        by_id(&world, &ada["user_id"]).await["blocked"],
        Value::Null,
        "nobody's account is nobody's to block"
    );
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 2);
    world
        .run(&format!("select roster.link('ada@example.test', '{id}'); update users set role = 'Admin' where email = 'ada@example.test'"))
        .await;
    world.settle_in_time().await;
    let user = by_id(&world, &ada["user_id"]).await;
    assert_eq!(user["app_metadata"]["role"], "Admin");
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_id_changed_by_hand_is_put_back_or_linked_by_a_person() {
    let (world, ada) = with_ada().await;
    let other =
        json!({"user_id": "auth0|other", "email": "other@example.test", "email_verified": true});
    world.tenant.has(other).await;
    let change = "update users set auth0_user_id = 'auth0|other', role = 'Admin' where email = 'ada@example.test'";
    world.run(change).await;
    world.settle_in_time().await;
    world.sweep().await;
    for id in [&ada["user_id"], &json!("auth0|other")] {
        let role = &by_id(&world, id).await["app_metadata"]["role"];
        assert_ne!(role, "Admin", "{id}");
    }
    assert_eq!(
        world.problems().await,
        ["id changed by hand auth0_user_id_disputed"]
    );
    // It is never the reason for not blocking whom the row blocks.
    world
        .run("update users set blocked = true where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    assert_eq!(by_id(&world, &ada["user_id"]).await["blocked"], true);
    world
        .run(&format!(
            "update users set auth0_user_id = '{}', blocked = false where email = 'ada@example.test'",
            text(&ada["user_id"])
        ))
        .await;
    world.settle_in_time().await;
    let user = by_id(&world, &ada["user_id"]).await;
    assert_eq!(user["app_metadata"]["role"], "Admin");
    assert_eq!(user["blocked"], false);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_is_linked_to_a_used_key_before_it_is_known_whom_it_means() {
    let (world, _) = with_ada().await;
    let there = json!({"email": "eve@old.test", "email_verified": true});
    let id = world.tenant.has(there).await;
    world.run(DELETE_ADA).await;
    world.settle().await;
    let link = format!("select roster.link('eve@example.test', '{id}')");
    world
        .run("begin; insert into users (id, email) values (1, 'eve@example.test')")
        .await;
    let refused = world.sql.batch_execute(&link).await;
    let refused = refused.expect_err("it would be the former person's, and blocked");
    let refused = refused.as_db_error().expect("a word of the server's");
    assert_eq!(refused.code().code(), "RO012");
    assert!(refused.hint().is_some_and(|hint| hint.contains(&link)));
    world
        .run("rollback; insert into users (id, email) values (1, 'eve@example.test')")
        .await;
    world.fold().await;
    world.run(&link).await;
    world.settle_in_time().await;
    let eve = by_id(&world, &json!(id)).await;
    assert_eq!(eve["email"], "eve@example.test");
    assert_ne!(eve["blocked"], true);
    assert_eq!(world.plan().await, [""; 0]);
}

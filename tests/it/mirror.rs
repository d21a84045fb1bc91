//! What a change in SQL does to Auth0: the reactor takes its steps by hand, the tenant's final state is what counts.

use serde_json::json;

use crate::support::world::World;

const ADA: &str =
    "insert into users (email, name, role) values ('Ada@example.test', 'Ada', 'Artist')";

#[tokio::test]
async fn a_new_row_becomes_an_account_and_one_mail() {
    let world = World::new().await;
    world
        .run("insert into role_permissions values ('Artist', 'paint:canvas')")
        .await;
    world.run(ADA).await;
    world.settle().await;
    let user = world
        .tenant
        .user("ada@example.test")
        .await
        .expect("an account");
    assert_eq!(user["name"], "Ada");
    assert_eq!(user["email_verified"], false);
    assert_eq!(
        user["app_metadata"],
        json!({"role": "Artist", "permissions": ["paint:canvas"]})
    );
    let mail = world.tenant.list("mail").await;
    assert_eq!(mail.len(), 1, "{mail:?}");
    assert_eq!(mail[0]["to"], "ada@example.test");
    assert_eq!(world.plan().await, Vec::<String>::new());
    // The id is written back, and nothing else of the row is touched.
    assert_eq!(
        world.texts("select auth0_user_id from users").await,
        [user["user_id"].as_str().expect("an id")]
    );
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
}

#[tokio::test]
async fn an_update_is_one_patch_of_what_changed() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    world.run("update users set role = 'Admin'").await;
    world.settle().await;
    let user = world
        .tenant
        .user("ada@example.test")
        .await
        .expect("an account");
    assert_eq!(user["app_metadata"]["role"], "Admin");
    let requests = world.tenant.list("requests").await;
    let patches: Vec<_> = requests.iter().filter(|r| r["method"] == "PATCH").collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(
        patches[0]["body"],
        json!({"app_metadata": {"role": "Admin"}})
    );
}

#[tokio::test]
async fn a_deleted_row_blocks_and_its_return_unblocks() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    world.run("delete from users").await;
    world
        .run("insert into users (email, name) values ('keep@example.test', 'Keep')")
        .await;
    world.settle().await;
    let before = world
        .tenant
        .user("ada@example.test")
        .await
        .expect("an account");
    assert_eq!(before["blocked"], true);
    world.run(ADA).await;
    world.settle().await;
    let after = world
        .tenant
        .user("ada@example.test")
        .await
        .expect("an account");
    assert_eq!(after["blocked"], false);
    assert_eq!(after["user_id"], before["user_id"]);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 2);
}

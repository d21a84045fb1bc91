//! What a change in SQL does to Auth0: the reactor takes its steps by hand, the tenant's final state is what counts.

mod write_back;

use roster::auth0::Patch;
use serde_json::{Map, Value, json};

use crate::support::world::{World, eventually, text};

const ADA: &str =
    "insert into users (email, name, role) values ('Ada@example.test', 'Ada', 'Artist')";

/// The mapping with these two expressions for the metadata columns.
async fn map_metadata(world: &World, app: &str, user: &str) {
    world
        .run(&format!(
            "create or replace view roster.desired_users as \
             select u.id::text as user_key, u.email::text as email, u.name::text as name, u.role::text as role, '{{}}'::text[] as permissions, \
                u.blocked as blocked, u.auth0_user_id::text as auth0_user_id, ({app})::jsonb as app_metadata, ({user})::jsonb as user_metadata \
             from public.users u"
        ))
        .await;
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[tokio::test]
async fn a_new_row_becomes_an_account_and_one_mail() {
    let world = World::new().await;
    world
        .run("insert into role_permissions values ('Artist', 'paint:canvas')")
        .await;
    world.run(ADA).await;
    world.settle().await;
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["name"], "Ada");
    assert_eq!(user["email_verified"], false);
    assert_eq!(
        user["app_metadata"],
        json!({"role": "Artist", "permissions": ["paint:canvas"], "roster": {"user_key": "1"}}),
        "with the mark of who made it"
    );
    assert_eq!(world.tenant.mailed().await, ["ada@example.test"]);
    assert_eq!(world.plan().await, Vec::<String>::new());
    // The id is written back, and nothing else of the row is touched.
    assert_eq!(
        world.texts("select auth0_user_id from users").await,
        [text(&user["user_id"])]
    );
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
}

#[tokio::test]
async fn a_create_has_auth0_mail_nobody_and_its_password_is_kept_nowhere() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let created = &world.tenant.requests("POST", "/api/v2/users").await[0]["body"];
    assert_eq!(created["verify_email"], false);
    assert_eq!(created["password"], "[redacted]");
    // The one mail there is was asked for as an invitation.
    let mail = world.tenant.list("mail").await;
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0]["kind"], "change_password");
    let remembered = world
        .texts("select concat(a, b) from roster.attempts a, roster.accounts b")
        .await;
    assert!(!remembered.is_empty());
    assert!(!remembered.concat().contains("password"));
    // Looking again and again sends no second mail.
    world.run("select roster.resync_all()").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await.len(), 1);
}

#[tokio::test]
async fn a_row_inserted_blocked_creates_nothing_until_it_is_unblocked() {
    let world = World::new().await;
    world
        .run("insert into users (email, blocked) values ('ada@example.test', true)")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await, Vec::<Value>::new());
    assert_eq!(world.tenant.writes().await, 0);
    world.run("update users set blocked = false").await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["blocked"],
        Value::Null
    );
    assert_eq!(world.tenant.mailed().await, ["ada@example.test"]);
}

#[tokio::test]
async fn an_update_is_one_patch_of_what_changed() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    world.run("update users set role = 'Admin'").await;
    world.settle().await;
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["app_metadata"]["role"], "Admin");
    assert_eq!(
        world.tenant.patches().await,
        [json!({"app_metadata": {"role": "Admin"}})]
    );
}

#[tokio::test]
async fn a_change_that_changes_nothing_mirrored_costs_no_call() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    world.tenant.forget_requests().await;
    for statement in [
        "update users set created_at = now()",
        "update users set role = role, name = name",
        "update users set email = upper(email)",
        "update users set role = 'Admin'; update users set role = 'Artist'",
        "insert into role_permissions values ('Nobody', 'paint:canvas')",
        "begin; update users set name = 'Someone'; rollback",
    ] {
        world.run(statement).await;
        world.settle_in_time().await;
        let requests = world.tenant.list("requests").await;
        assert_eq!(requests, Vec::<Value>::new(), "{statement}");
    }
}

#[tokio::test]
async fn ten_quick_updates_of_one_user_are_at_most_two_patches() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let slow = json!({"delay_ms": 1000});
    let route = "PATCH /api/v2/users/{id}";
    world.tenant.fault(route, "delay", 1, slow).await;
    world.run("update users set name = 'Name 1'").await;
    let further = async {
        world
            .until("select bool_or(call_id is not null) from roster.accounts")
            .await;
        for number in 2..=10 {
            let update = format!("update users set name = 'Name {number}'");
            world.run(&update).await;
        }
    };
    tokio::join!(world.settle(), further);
    world.settle().await;
    let patches = world.tenant.patches().await;
    assert!(patches.len() <= 2, "{patches:?}");
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["name"], "Name 10");
}

#[tokio::test]
async fn a_change_during_a_call_is_one_more_call_at_once() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let slow = json!({"delay_ms": 1000});
    let route = "PATCH /api/v2/users/{id}";
    world.tenant.fault(route, "delay", 1, slow).await;
    world.run("update users set role = 'Admin'").await;
    let meanwhile = async {
        world
            .until("select bool_or(call_id is not null) from roster.accounts")
            .await;
        world.run("update users set name = 'Countess'").await;
    };
    // One settle, no retry, no wait.
    tokio::join!(world.settle(), meanwhile);
    assert_eq!(
        world.tenant.patches().await,
        [
            json!({"app_metadata": {"role": "Admin"}}),
            json!({"name": "Countess"})
        ]
    );
}

#[tokio::test]
async fn a_new_address_goes_out_unverified_in_one_patch() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    world
        .run("update users set email = 'Countess@example.test', name = 'Countess'")
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.patches().await,
        [
            json!({"email": "countess@example.test", "email_verified": false, "verify_email": false, "name": "Countess"})
        ]
    );
    let user = world.tenant.account("countess@example.test").await;
    assert_eq!(user["email_verified"], false);
}

#[tokio::test]
async fn metadata_columns_of_the_view_are_mirrored_key_by_key() {
    let world = World::new().await;
    world
        .run("alter table users add team text, add colour text")
        .await;
    world.run("select roster.watch('users', 'id')").await;
    map_metadata(
        &world,
        "jsonb_build_object('team', u.team)",
        "jsonb_build_object('colour', u.colour)",
    )
    .await;
    world
        .run("insert into users (email, team, colour) values ('ada@example.test', 'Blue', 'red')")
        .await;
    world.settle().await;
    let theirs = Patch {
        app_metadata: object(json!({"billing": {"plan": "gold"}})),
        user_metadata: object(json!({"theme": "dark"})),
        ..Patch::default()
    };
    world
        .tenant
        .somebody_patches("ada@example.test", theirs)
        .await;

    world.run("update users set team = 'Green'").await;
    world.settle().await;
    // Null is no value: the key goes away. So does one that the view no longer has.
    world.run("update users set team = null").await;
    world.settle().await;
    map_metadata(&world, "'{}'", "'{}'").await;
    world.sweep().await;
    assert_eq!(
        world.tenant.patches().await[1..],
        [
            json!({"app_metadata": {"team": "Green"}}),
            json!({"app_metadata": {"team": null}}),
            json!({"user_metadata": {"colour": null}}),
        ]
    );
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["app_metadata"]["billing"], json!({"plan": "gold"}));
    assert_eq!(user["app_metadata"]["team"], Value::Null);
    assert_eq!(user["user_metadata"], json!({"theme": "dark"}));
    world.sweep().await;
    assert_eq!(world.tenant.patches().await.len(), 4, "and then no more");
}

#[tokio::test]
async fn a_permission_given_to_a_role_reaches_everybody_who_has_it() {
    let world = World::new().await;
    world.add_many(50).await;
    world
        .run("insert into users (email, role) values ('other@example.test', 'Guest')")
        .await;
    world.settle().await;
    world
        .run("insert into role_permissions values ('Artist', 'paint:canvas')")
        .await;
    world.settle().await;
    let users = world.tenant.list("users").await;
    let painters = users
        .iter()
        .filter(|user| user["app_metadata"]["permissions"] == json!(["paint:canvas"]));
    assert_eq!(painters.count(), 50);
    assert_eq!(world.tenant.patches().await.len(), 50);
}

#[tokio::test]
async fn a_users_own_permissions_come_on_top_of_the_roles() {
    let world = World::new().await;
    world
        .run("insert into role_permissions values ('Artist', 'paint:canvas')")
        .await;
    world.run(ADA).await;
    world
        .run("insert into user_permissions select id, 'edit:site' from users")
        .await;
    world.settle().await;
    let permissions = async || {
        world.tenant.account("ada@example.test").await["app_metadata"]["permissions"].clone()
    };
    assert_eq!(permissions().await, json!(["edit:site", "paint:canvas"]));
    world.run("delete from user_permissions").await;
    world.settle().await;
    assert_eq!(permissions().await, json!(["paint:canvas"]));
    world.run("delete from role_permissions").await;
    world.settle().await;
    assert_eq!(permissions().await, json!([]));
}

#[tokio::test]
async fn the_blocked_column_blocks_and_unblocks() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    for blocked in [true, false, true] {
        let update = format!("update users set blocked = {blocked}, name = 'Ada {blocked}'");
        world.run(&update).await;
        world.settle().await;
        let user = world.tenant.account("ada@example.test").await;
        assert_eq!(user["blocked"], blocked);
        assert_eq!(user["name"], format!("Ada {blocked}"));
    }
    assert_eq!(world.tenant.patches().await.len(), 3);
}

#[tokio::test]
async fn a_ban_made_in_auth0_is_shown_and_never_lifted() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let ban = Patch {
        blocked: Some(true),
        ..Patch::default()
    };
    world.tenant.somebody_patches("ada@example.test", ban).await;
    world
        .run("select roster.resync('ada@example.test'); update users set name = 'Ada King'")
        .await;
    world.settle().await;
    assert!(
        world
            .problems()
            .await
            .contains(&"banned in Auth0 ban_made_elsewhere".to_owned())
    );
    // Nor by way of the column.
    for blocked in [true, false] {
        let update = format!("update users set blocked = {blocked}");
        world.run(&update).await;
        world.settle_in_time().await;
    }
    let user = world.tenant.account("ada@example.test").await;
    assert_eq!(user["blocked"], true);
    assert_eq!(user["name"], "Ada King");
}

#[tokio::test]
async fn an_unacceptable_address_is_parked_and_goes_through_once_corrected() {
    let world = World::new().await;
    world.add(&["nowhere", "fine@example.test"]).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, ["fine@example.test"]);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.plan().await, ["1 create parked"]);
    assert_eq!(world.problems().await, ["row not acceptable email_invalid"]);
    world
        .run("update users set email = 'now@example.test' where email = 'nowhere'")
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("now@example.test").await["name"],
        "nowhere"
    );
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_auth0_refuses_is_tried_once_and_again_when_the_row_changes() {
    let world = World::new().await;
    let refusal = json!({"status": 400});
    let route = "POST /api/v2/users";
    world.tenant.fault(route, "status", 100, refusal).await;
    world.run(ADA).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.plan().await, ["1 create parked"]);
    let problems = world.problems().await;
    assert!(problems[0].starts_with("parked "), "{problems:?}");
    world.tenant.mend().await;
    world.run("update users set name = 'Ada King'").await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("ada@example.test").await["name"],
        "Ada King"
    );
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_is_over_once_there_is_nothing_left_to_try_again() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let refusal = json!({"status": 429});
    world
        .tenant
        .fault("PATCH /api/v2/users/{id}", "status", 1, refusal)
        .await;
    world
        .run("insert into role_permissions values ('Artist', 'paint:canvas')")
        .await;
    world.settle().await;
    assert_eq!(world.problems().await, ["failing rate_limited"]);
    world.run("delete from role_permissions").await;
    world.settle_in_time().await;
    assert_eq!(world.problems().await, Vec::<String>::new());
    assert_eq!(world.tenant.patches().await.len(), 1);
}

#[tokio::test]
async fn only_a_user_who_agrees_counts_as_synced() {
    let world = World::new().await;
    world.run(ADA).await;
    world.settle().await;
    let synced = "select synced_at::text from roster.mirror";
    let before = world.texts(synced).await;
    world
        .run("select roster.set_mode('additive'); update users set blocked = true")
        .await;
    world.settle().await;
    assert_eq!(world.plan().await, ["1 block suppressed"]);
    assert_eq!(world.texts(synced).await, before);
    world.run("select roster.set_mode('enforce')").await;
    world.settle().await;
    assert_ne!(world.texts(synced).await, before);
}

#[tokio::test]
async fn roster_wait_returns_with_a_receipt_once_the_change_arrived() {
    let world = World::new().await;
    let running = world.start(|_| {});
    world.add(&["ada@example.test", "bob@example.test"]).await;
    let receipt = "select concat_ws(' ', converged, users, held, failed) from roster.wait('20 s')";
    assert_eq!(world.texts(receipt).await, ["t 2 0 0"]);
    assert_eq!(world.tenant.list("users").await.len(), 2);
    eventually("two mails", async || world.tenant.mailed().await.len() == 2).await;
    running.stop().await;
}

//! Each kind of drift: how it comes about, how it is told, and how it ends.

use roster::{auth0::Patch, user::Auth0UserId};
use serde_json::json;

use super::tools::{ADA, audited, drift};
use crate::support::world::{World, client, text};

/// Ada is in sync.
async fn with_ada() -> World {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world
}

/// The one finding, as a query on the view says it.
async fn found(world: &World, what: &str) -> String {
    audited(world).await;
    let said = world
        .texts(&format!("select {what} from roster.drift"))
        .await;
    assert_eq!(said.len(), 1, "{said:?}");
    said.into_iter().next().unwrap_or_default()
}

async fn reverted(world: &World) {
    world.run("select roster.revert_drift('all')").await;
    world.settle_in_time().await;
    audited(world).await;
    assert_eq!(drift(world).await, Vec::<String>::new());
}

/// What adopting would have a person run, which this one does.
async fn adopted(world: &World) -> String {
    let statements = world
        .texts("select statement from roster.adopt_drift('all')")
        .await
        .join("\n");
    world.run(&statements).await;
    world.settle_in_time().await;
    audited(world).await;
    assert_eq!(
        drift(world).await,
        Vec::<String>::new(),
        "after {statements}"
    );
    statements
}

async fn is_no_button_of_the_plan(world: &World) {
    let refused = world
        .sql
        .batch_execute("select roster.revert_drift('all')")
        .await;
    let refused = refused.expect_err("a person's to settle");
    assert_eq!(refused.code().map(|code| code.code()), Some("RO021"));
}

#[tokio::test]
async fn changed_tells_each_field_with_both_values_and_is_mended_by_one_patch() {
    let world = with_ada().await;
    world
        .run("insert into role_permissions values ('Artist', 'read:songs')")
        .await;
    world.settle().await;
    let somebody = Patch {
        name: Some(Some("Somebody".into())),
        app_metadata: json!({"role": "Admin", "permissions": [], "theirs": 1})
            .as_object()
            .cloned()
            .expect("an object"),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, somebody).await;
    let changes = found(&world, "kind || ' ' || changes::text").await;
    let (kind, changes) = changes.split_once(' ').expect("both");
    let changes: serde_json::Value = serde_json::from_str(changes).expect("JSON");
    assert_eq!(kind, "changed");
    let expected = json!({
        "name": {"from": "Somebody", "to": "ada"}, "app_metadata.role": {"from": "Admin", "to": "Artist"},
        "app_metadata.permissions": {"from": [], "to": ["read:songs"]},
    });
    assert_eq!(changes, expected, "of owned fields alone");
    world.tenant.forget_requests().await;
    reverted(&world).await;
    assert_eq!(world.tenant.patches().await.len(), 1);
    assert_eq!(world.tenant.account(ADA).await["app_metadata"]["theirs"], 1);
}

#[tokio::test]
async fn changed_can_be_adopted_by_an_update_that_a_person_runs() {
    let world = with_ada().await;
    let somebody = Patch {
        email: Some("ada@elsewhere.test".into()),
        app_metadata: json!({"role": "Admin"})
            .as_object()
            .cloned()
            .expect("an object"),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, somebody).await;
    assert_eq!(found(&world, "kind").await, "changed");
    let before = world.texts("select email from users").await;
    let statement = adopted(&world).await;
    assert!(
        statement.starts_with("update public.users set "),
        "{statement}"
    );
    assert_eq!(before, [ADA], "nothing was run before");
    assert_eq!(
        world.texts("select email || ' ' || role from users").await,
        ["ada@elsewhere.test Admin"]
    );
    assert_eq!(
        world.tenant.account("ada@elsewhere.test").await["app_metadata"]["role"],
        "Admin"
    );
}

#[tokio::test]
async fn a_missing_account_is_made_again() {
    let world = with_ada().await;
    // An export with nobody in it would not be believed.
    world.add(&["bob@example.test"]).await;
    world.settle().await;
    let id = Auth0UserId(text(&world.tenant.account(ADA).await["user_id"]));
    client(&world.tenant, |_| {})
        .delete_user(&id)
        .await
        .expect("somebody deletes it");
    assert_eq!(
        found(&world, "kind || ' ' || auth0_user_id").await,
        format!("missing {id}")
    );
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    reverted(&world).await;
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Artist"
    );
}

#[tokio::test]
async fn an_account_of_nobody_is_extra_in_our_connection_alone_and_never_touched() {
    let world = with_ada().await;
    world
        .tenant
        .has(json!({"user_id": "google-oauth2|7", "email": "guest@example.test"}))
        .await;
    let bob =
        json!({"email": "bob@example.test", "name": "Bob's", "app_metadata": {"role": "Editor"}});
    world.tenant.has(bob).await;
    assert_eq!(
        found(&world, "kind || ' ' || email").await,
        "extra bob@example.test"
    );
    is_no_button_of_the_plan(&world).await;
    world.tenant.forget_requests().await;
    world.run("select roster.resync_all()").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.writes().await, 0);
    let statement = adopted(&world).await;
    assert!(
        statement.starts_with("insert into public.users (email, name, role, auth0_user_id) values"),
        "{statement}"
    );
    assert_eq!(
        world
            .texts("select name || ' ' || role from users where email like 'bob%'")
            .await,
        ["Bob's Editor"]
    );
    assert_eq!(world.tenant.list("users").await.len(), 3, "none was made");
}

#[tokio::test]
async fn a_block_that_somebody_lifted_is_set_again() {
    let world = with_ada().await;
    world.run("update users set blocked = true").await;
    world.settle().await;
    let unblocked = || Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, unblocked()).await;
    assert_eq!(
        found(&world, "kind || ' ' || changes::text").await,
        r#"blocked mismatch {"blocked": {"to": true, "from": false}}"#
    );
    reverted(&world).await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    world.run("delete from users").await;
    world.settle().await;
    world.tenant.somebody_patches(ADA, unblocked()).await;
    assert_eq!(
        found(&world, "kind || ', ' || detail").await,
        "blocked mismatch, its user is removed"
    );
}

#[tokio::test]
async fn a_ban_made_elsewhere_is_never_lifted_but_may_become_the_rows() {
    let world = with_ada().await;
    let banned = Patch {
        blocked: Some(true),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, banned).await;
    assert_eq!(found(&world, "kind").await, "ban made elsewhere");
    is_no_button_of_the_plan(&world).await;
    let statement = adopted(&world).await;
    assert_eq!(
        statement,
        "update public.users set blocked = true where id = '1';"
    );
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
}

#[tokio::test]
async fn a_second_account_of_an_address_is_a_duplicate_that_a_person_may_have_followed() {
    let world = with_ada().await;
    let google = json!({"user_id": "google-oauth2|7", "email": ADA, "email_verified": true});
    world.tenant.has(google).await;
    assert_eq!(
        found(&world, "kind || ' ' || auth0_user_id").await,
        "duplicate google-oauth2|7"
    );
    is_no_button_of_the_plan(&world).await;
    let statement = adopted(&world).await;
    assert!(
        statement.starts_with("select roster.follow("),
        "{statement}"
    );
    let users = world.tenant.list("users").await;
    let google = users
        .iter()
        .find(|user| user["user_id"] == "google-oauth2|7");
    assert_eq!(
        google.expect("the account")["app_metadata"]["role"],
        "Artist"
    );
}

#[tokio::test]
async fn a_dispute_is_told_with_its_reason_until_a_person_links() {
    let world = World::new().await;
    let id = world
        .tenant
        .has(json!({"email": ADA, "email_verified": false}))
        .await;
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    assert_eq!(
        found(&world, "kind || ' ' || detail").await,
        "disputed account_unverified"
    );
    is_no_button_of_the_plan(&world).await;
    assert_eq!(
        adopted(&world).await,
        format!("select roster.link('1', '{id}');")
    );
    assert_eq!(world.tenant.list("users").await.len(), 1, "none was made");
}

#[tokio::test]
async fn an_account_that_was_linked_away_is_told_with_where_it_went_and_followed() {
    let world = with_ada().await;
    let own = world.tenant.account(ADA).await;
    let google = json!({"user_id": "google-oauth2|7", "email": ADA, "email_verified": true});
    world.tenant.has(google).await;
    let identity = json!({"provider": "auth0", "user_id": own["user_id"]});
    let status = world
        .tenant
        .post("/api/v2/users/google-oauth2%7C7/identities", identity)
        .await;
    assert_eq!(status, 201);
    audited(&world).await;
    let said = world
        .texts("select kind || ' ' || detail from roster.drift where kind = 'linked away'")
        .await;
    assert_eq!(said, ["linked away google-oauth2|7"]);
    world.run("select roster.revert_drift('linked away')").await;
    world.settle_in_time().await;
    audited(&world).await;
    assert_eq!(drift(&world).await, Vec::<String>::new());
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Artist"
    );
}

#[tokio::test]
async fn a_further_log_in_that_is_gone_is_forgotten_and_costs_nobody_the_row() {
    let world = with_ada().await;
    let google = json!({"user_id": "google-oauth2|7", "email": ADA, "email_verified": true});
    let id = Auth0UserId(world.tenant.has(google).await);
    world
        .run(&format!("select roster.follow('1', '{id}', '{ADA}')"))
        .await;
    world.settle().await;
    client(&world.tenant, |_| {})
        .delete_user(&id)
        .await
        .expect("somebody deletes it");
    assert_eq!(
        found(&world, "concat_ws(', ', kind, auth0_user_id, detail)").await,
        "missing, google-oauth2|7, a further log-in"
    );
    let statements = world
        .texts("select statement from roster.adopt_drift('all')")
        .await;
    assert!(statements[0].starts_with("-- a further log-in of user 1"));
    reverted(&world).await;
    assert_eq!(world.tenant.list("users").await.len(), 1, "none was made");
}

#[tokio::test]
async fn the_account_of_a_past_person_is_told_with_that_persons_address() {
    let world = with_ada().await;
    world.run("delete from users").await;
    world.settle().await;
    world
        .run("insert into users (id, email, name) values (1, 'bob@example.test', 'bob')")
        .await;
    world.settle().await;
    let unblocked = Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, unblocked).await;
    assert_eq!(
        found(&world, "kind || ' ' || email").await,
        format!("blocked mismatch {ADA}")
    );
    let statements = world
        .texts("select statement from roster.adopt_drift('all')")
        .await;
    let insert = format!("insert into public.users (email) values ('{ADA}');");
    assert!(statements[0].starts_with(&insert), "{statements:?}");
    reverted(&world).await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    assert_ne!(
        world.tenant.account("bob@example.test").await["blocked"],
        true
    );
}

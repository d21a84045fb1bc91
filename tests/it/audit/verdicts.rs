//! What becomes of drift: reverted through the guards, ignored until it changes.

use roster::auth0::Patch;
use serde_json::json;

use super::tools::{ADA, audited, drift, renamed, with_a_renamed_ada};
use crate::support::world::World;

#[tokio::test]
async fn a_mass_removal_is_held_also_when_an_audit_asks_for_it() {
    let world = World::new().await;
    world.add_many(15).await;
    world.settle().await;
    world
        .run("update users set blocked = true where id <= 10")
        .await;
    world.settle().await;
    for n in 1..=10 {
        let unblocked = Patch {
            blocked: Some(false),
            ..Patch::default()
        };
        world
            .tenant
            .somebody_patches(&format!("user-{n}@example.test"), unblocked)
            .await;
    }
    assert_eq!(audited(&world).await.open, 10);
    world
        .run("update roster.settings set guard_removals_min = 3")
        .await;
    world
        .run("select roster.revert_drift('blocked mismatch')")
        .await;
    world.settle_in_time().await;
    assert_eq!(
        world.texts("select count(*)::text from roster.held").await,
        ["10"]
    );
    let blocked = async || {
        let users = world.tenant.list("users").await;
        users.iter().filter(|user| user["blocked"] == true).count()
    };
    assert_eq!(blocked().await, 0);
    world.run("select roster.release_held('all')").await;
    world.settle_in_time().await;
    assert_eq!(blocked().await, 10);
}

#[tokio::test]
async fn what_is_ignored_comes_back_once_it_changes() {
    let world = with_a_renamed_ada().await;
    audited(&world).await;
    world.run("select roster.ignore_drift('changed')").await;
    assert_eq!(drift(&world).await, Vec::<String>::new());
    let summary = audited(&world).await;
    assert_eq!((summary.found, summary.open), (1, 0));
    renamed(&world, ADA, "Somebody else").await;
    assert_eq!(audited(&world).await.open, 1);
}

#[tokio::test]
async fn drift_is_meant_by_all_its_number_its_kind_or_its_user() {
    let world = with_a_renamed_ada().await;
    audited(&world).await;
    for which in ["all", "changed", "1", ADA, "ADA@example.test", "#1"] {
        let meant = format!("select count(*)::text from roster.find_drift('{which}')");
        assert_eq!(world.texts(&meant).await, ["1"], "{which}");
    }
    let refused = world
        .sql
        .batch_execute("select roster.revert_drift('nobody')")
        .await;
    let refused = refused.expect_err("nobody is meant");
    assert_eq!(refused.code().map(|code| code.code()), Some("RO020"));
}

#[tokio::test]
async fn what_is_reverted_is_planned_exactly_as_the_audit_told_it() {
    let world = World::with(|settings| settings.invitation_send = "none".into()).await;
    world
        .run(
            "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
                array['read:songs'] as permissions, blocked, auth0_user_id::text, jsonb_build_object('team', 'red') as app_metadata, \
                jsonb_build_object('tier', 1) as user_metadata from public.users",
        )
        .await;
    world.add(&[ADA]).await;
    world.settle().await;
    let object = |value: serde_json::Value| value.as_object().cloned().expect("an object");
    let somebody = Patch {
        name: Some(Some("Somebody".into())),
        email: Some("ada@elsewhere.test".into()),
        app_metadata: object(
            json!({"role": null, "permissions": ["x"], "team": "blue", "theirs": 1}),
        ),
        user_metadata: object(json!({"tier": 2, "theirs": 1})),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, somebody).await;
    audited(&world).await;
    let told = world.texts("select changes::text from roster.drift").await;
    world
        .run("select roster.set_mode('observe'); select roster.revert_drift('changed')")
        .await;
    world.settle().await;
    assert_eq!(world.plan().await, ["1 update suppressed"]);
    assert_eq!(
        world.texts("select changes::text from roster.plan").await,
        told
    );
}

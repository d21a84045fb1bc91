//! Blocks: only Roster's own are lifted, and what lifts one behind its back is found.

use roster::auth0::Patch;
use serde_json::json;

use crate::support::{
    somebody::{chooses_a_password, links},
    world::World,
};

const ADA: &str = "ada@example.test";
const PATCH: &str = "PATCH /api/v2/users/{id}";
const GET: &str = "GET /api/v2/users/{id}";
const DELETE_ADA: &str = "delete from users where email = 'ada@example.test'";

async fn with_ada() -> World {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world
}

/// Somebody bans Ada at the dashboard, and nobody tells Roster.
async fn somebody_bans_ada(world: &World) {
    let ban = Patch {
        blocked: Some(true),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, ban).await;
}

async fn ada_is_blocked(world: &World) -> bool {
    world.tenant.account(ADA).await["blocked"] == true
}

#[tokio::test]
async fn a_ban_that_nobody_saw_survives_the_removal_and_the_return_of_the_row() {
    for change in ["delete", "column"] {
        let world = with_ada().await;
        somebody_bans_ada(&world).await;
        let (ends, returns) = match change {
            "delete" => (
                DELETE_ADA,
                "insert into users (email, name) values ('ada@example.test', 'ada')",
            ),
            _ => (
                "update users set blocked = true where name = 'ada'",
                "update users set blocked = false where name = 'ada'",
            ),
        };
        world.run(ends).await;
        world.settle_in_time().await;
        assert!(ada_is_blocked(&world).await);
        world.run(returns).await;
        world.settle_in_time().await;
        world.sweep().await;
        assert!(ada_is_blocked(&world).await, "{change}");
        assert_eq!(
            world.problems().await,
            ["banned in Auth0 ban_made_elsewhere"]
        );
    }
}

#[tokio::test]
async fn a_ban_survives_whatever_becomes_of_an_update() {
    for (kind, more) in [
        ("cut_after", json!({})),
        ("cut_before", json!({})),
        ("status", json!({"status": 503})),
        ("status", json!({"status": 429})),
    ] {
        let world = with_ada().await;
        somebody_bans_ada(&world).await;
        world.tenant.fault(PATCH, kind, 2, more).await;
        world
            .run("update users set role = 'Admin', email = 'king@example.test' where name = 'ada'")
            .await;
        world.settle_in_time().await;
        let ada = world.tenant.account("king@example.test").await;
        assert_eq!(ada["app_metadata"]["role"], "Admin", "{kind}");
        assert_eq!(ada["blocked"], true, "{kind}");
    }
}

#[tokio::test]
async fn a_ban_survives_an_adoption_and_a_takeover() {
    let world = World::new().await;
    let banned = json!({"email": ADA, "email_verified": true, "blocked": true});
    world.tenant.has(banned).await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle_in_time().await;
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "Artist");
    assert_eq!(ada["blocked"], true);
    // Removed, and back under another key.
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    assert!(ada_is_blocked(&world).await);
}

#[tokio::test]
async fn who_was_banned_and_then_removed_gives_the_address_up_and_stays_banned() {
    let world = with_ada().await;
    let id = world.tenant.account(ADA).await["user_id"].clone();
    somebody_bans_ada(&world).await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    world
        .run("update users set email = 'ada@example.test' where name = 'keep'")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["name"], "keep");
    let users = world.tenant.list("users").await;
    let banned = users.iter().find(|user| user["user_id"] == id);
    assert_eq!(banned.expect("her account")["blocked"], true);
}

#[tokio::test]
async fn a_block_does_not_wait_for_a_look_that_fails() {
    for (kind, more) in [
        ("status", json!({"status": 500})),
        ("status", json!({"status": 429})),
        ("delay", json!({"delay_ms": 60_000})),
    ] {
        let world = with_ada().await;
        world.tenant.fault(GET, kind, 1, more).await;
        world.run(DELETE_ADA).await;
        world.settle().await;
        assert!(world.tenant.has_struck().await);
        assert!(ada_is_blocked(&world).await, "{kind}");
    }
}

#[tokio::test]
async fn a_lost_block_is_rosters_own_and_lifted_when_the_row_returns() {
    let world = with_ada().await;
    world.tenant.fault(PATCH, "cut_after", 1, json!({})).await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    assert!(ada_is_blocked(&world).await);
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    assert!(!ada_is_blocked(&world).await);
}

#[tokio::test]
async fn a_block_that_auth0_applies_after_the_look_is_rosters_own_still() {
    let world = with_ada().await;
    world.tenant.fault(PATCH, "cut_before", 1, json!({})).await;
    world.run(DELETE_ADA).await;
    world.settle().await;
    // She is back before anybody knows what became of the block.
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    assert!(!ada_is_blocked(&world).await);
    // Only now it arrives.
    somebody_bans_ada(&world).await;
    world
        .run("update roster.accounts set doubted_at = now() - interval '2 minutes' where doubted_at is not null")
        .await;
    world.sweep().await;
    world.settle_in_time().await;
    assert!(!ada_is_blocked(&world).await);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn who_is_inserted_blocked_is_blocked_where_there_is_an_account() {
    let world = World::new().await;
    let there = json!({"email": ADA, "email_verified": true});
    world.tenant.has(there).await;
    world
        .run(
            "insert into users (email, blocked) values ('ada@example.test', true), ('bob@example.test', true)",
        )
        .await;
    world.settle_in_time().await;
    assert!(ada_is_blocked(&world).await);
    assert!(
        world.tenant.user("bob@example.test").await.is_none(),
        "no account is made to be blocked"
    );
    assert_eq!(world.plan().await, Vec::<String>::new());
    world.run("update users set blocked = false").await;
    world.settle_in_time().await;
    assert!(!ada_is_blocked(&world).await);
    assert_eq!(world.tenant.mailed().await, ["bob@example.test"]);
}

#[tokio::test]
async fn a_lifted_ban_of_somebody_removed_is_followed_by_rosters_own_block() {
    let world = with_ada().await;
    somebody_bans_ada(&world).await;
    world.run(DELETE_ADA).await;
    world.settle_in_time().await;
    let lifted = Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, lifted).await;
    world.sweep().await;
    assert!(!ada_is_blocked(&world).await, "nobody has looked yet");
    world
        .run("update roster.accounts set observed_at = now() - interval '25 hours'")
        .await;
    world.sweep().await;
    assert!(ada_is_blocked(&world).await);
}

/// After the sweeps of five days.
async fn five_days_of_sweeps(world: &World) {
    for later in ["10 minutes", "1 hour", "1 day", "5 days"] {
        world
            .run(&format!("update roster.accounts set removed_at = now() - interval '{later}', observed_at = now() - interval '{later}' where blocked"))
            .await;
        world.sweep().await;
    }
}

#[tokio::test]
async fn who_sets_a_password_through_an_old_link_after_the_block_is_blocked_again() {
    let world = with_ada().await;
    let link = links(&world.tenant, ADA).await.remove(0);
    world.run(DELETE_ADA).await;
    world.settle().await;
    assert!(chooses_a_password(&world.tenant, &link).await);
    five_days_of_sweeps(&world).await;
    assert!(ada_is_blocked(&world).await);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_block_is_looked_at_again_some_times_and_no_more() {
    let world = with_ada().await;
    world.run(DELETE_ADA).await;
    world.settle().await;
    world.tenant.forget_requests().await;
    world.sweep().await;
    assert_eq!(
        world.tenant.calls("GET", "/api/v2").await,
        0,
        "it is fresh still"
    );
    five_days_of_sweeps(&world).await;
    assert_eq!(world.tenant.calls("GET", "/api/v2").await, 4);
    world.sweep().await;
    world
        .run("update roster.accounts set removed_at = now() - interval '7 days', observed_at = now() - interval '7 days'")
        .await;
    world.sweep().await;
    assert_eq!(world.tenant.calls("GET", "/api/v2").await, 4);
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_ends_no_block_for_long() {
    let world = with_ada().await;
    world
        .run("update users set blocked = true where name = 'ada'")
        .await;
    world.settle().await;
    let lifted = Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, lifted).await;
    world.run("select roster.resync('ada@example.test')").await;
    world.settle().await;
    assert!(ada_is_blocked(&world).await);
}

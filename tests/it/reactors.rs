//! Several reactors on one database: who is at work on whom, who is given up when, and what becomes of results that come too late.

use std::time::Duration;

use roster::{
    db::{
        begin::Begun,
        done::Done,
        mirror::{self, Claim},
    },
    reactor::{Reactor, apply},
};
use serde_json::json;

use crate::support::world::{World, eventually};

const ADA: &str = "ada@example.test";
const CREATE: &str = "POST /api/v2/users";
const PATCH: &str = "PATCH /api/v2/users/{id}";

async fn claimed(reactor: &Reactor) -> Vec<Claim> {
    mirror::claim(&reactor.pool, &reactor.terms, 16, &[])
        .await
        .expect("claims")
}

async fn turn(reactor: &Reactor, claims: &[Claim], done: &[Done]) -> Vec<Begun> {
    mirror::turn(&reactor.pool, &reactor.terms, claims, done, true)
        .await
        .expect("a turn")
        .begun
}

/// A world with one user who is mirrored and whose role has changed since.
async fn with_a_change() -> World {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("update users set role = 'Admin'").await;
    world.fold().await;
    world
}

/// The reactor was last heard so long ago; the others have been heard all the time.
async fn is_silent(world: &World, reactor: &Reactor, seconds: u32) {
    world
        .run(&format!(
            "update roster.reactors set beating_since = now() - interval '1 hour', heartbeat_at = now(); \
             update roster.reactors set heartbeat_at = now() - interval '{seconds} s' where id = '{}'",
            reactor.terms.reactor
        ))
        .await;
}

/// Whether claim, plan and view take the one lease there is for one that holds.
async fn holds(world: &World, another: &Reactor) -> bool {
    let shown = world.says("select count(*) = 1 from roster.leases").await;
    let waits = world
        .says("select state = 'waiting' and reason = 'a reactor is at it' from roster.plan")
        .await;
    let kept = claimed(another).await.is_empty();
    assert_eq!((shown, waits), (kept, kept), "shown and planned as claimed");
    kept
}

#[tokio::test]
async fn a_silent_reactor_is_given_up_once_another_was_heard_for_long_enough() {
    let world = with_a_change().await;
    let another = world.another().await;
    for (silent, given_up) in [(2, false), (8, true)] {
        assert_eq!(claimed(&world.reactor).await.len(), 1);
        is_silent(&world, &world.reactor, silent).await;
        assert_eq!(!holds(&world, &another).await, given_up, "{silent} s");
        world
            .run("update roster.mirror set lease_by = null, lease_until = null")
            .await;
    }
}

#[tokio::test]
async fn nobody_is_given_up_when_the_database_was_away_for_all() {
    let world = with_a_change().await;
    let another = world.another().await;
    assert_eq!(claimed(&world.reactor).await.len(), 1);
    let away = "update roster.reactors set heartbeat_at = now() - interval '1 minute', beating_since = now() - interval '1 hour'";
    world.run(away).await;
    assert!(holds(&world, &another).await);
    // The other one is the first to be heard again, and has not been for long.
    let beat = format!("select roster.heartbeat('{}', '[]')", another.terms.reactor);
    world.run(&beat).await;
    assert!(holds(&world, &another).await);
    let for_long = "update roster.reactors set beating_since = now() - interval '8 s' where heartbeat_at = (select max(heartbeat_at) from roster.reactors)";
    world.run(for_long).await;
    world.run(&beat).await;
    assert!(
        !holds(&world, &another).await,
        "beside it, one stays silent"
    );
}

#[tokio::test]
async fn the_lease_of_a_reactor_that_stopped_counts_for_nothing() {
    let world = with_a_change().await;
    let another = world.another().await;
    assert_eq!(claimed(&world.reactor).await.len(), 1);
    world
        .run(&format!(
            "update roster.reactors set stopped_at = now() where id = '{}'",
            world.reactor.terms.reactor
        ))
        .await;
    assert!(!holds(&world, &another).await);
}

#[tokio::test]
async fn who_was_given_up_and_lives_has_its_results_refused() {
    let world = with_a_change().await;
    let another = world.another().await;
    let claims = claimed(&world.reactor).await;
    let begun = turn(&world.reactor, &claims, &[]).await;
    is_silent(&world, &world.reactor, 8).await;
    assert_eq!(claimed(&another).await.len(), 1);
    let mut late = Vec::new();
    for call in begun {
        late.push(apply::apply(&world.reactor.client, call).await);
    }
    assert_eq!(turn(&world.reactor, &claims, &late).await.len(), 0);
    let recorded = "select count(*) = 0 from roster.attempts where action = 'update'";
    assert!(world.says(recorded).await);
    assert!(
        world
            .says("select call_id is not null from roster.accounts")
            .await
    );
}

#[tokio::test]
async fn a_late_result_is_refused_also_by_the_reactor_that_claimed_again_itself() {
    let world = with_a_change().await;
    let first = claimed(&world.reactor).await;
    let mut calls = turn(&world.reactor, &first, &[]).await;
    let late = apply::apply(&world.reactor.client, calls.remove(0)).await;
    world.time_passes().await;
    let second = claimed(&world.reactor).await;
    let looks = turn(&world.reactor, &second, &[]).await;
    assert_eq!(looks[0].row.action.as_str(), "look");
    turn(&world.reactor, &first, &[late]).await;
    let in_flight = "select call_id is not null from roster.accounts";
    assert!(world.says(in_flight).await, "only the look tells now");
    let mut seen = Vec::new();
    for look in looks {
        seen.push(apply::apply(&world.reactor.client, look).await);
    }
    turn(&world.reactor, &second, &seen).await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.tenant.patches().await.len(), 1);
}

#[tokio::test]
async fn a_heartbeat_comes_however_long_the_loop_waits_for_the_database() {
    let world = World::new().await;
    world.run("begin; lock table roster.changes").await;
    let running = world.start(|reactor| reactor.poll_interval = Duration::from_millis(50));
    let observer = world.database.client().await;
    let stuck = "select exists (select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database()))";
    eventually("a look that waits", async || {
        observer.query_one(stuck, &[]).await.expect(stuck).get(0)
    })
    .await;
    let heard = format!(
        "select heartbeat_at from roster.reactors where id = '{}'",
        running.id
    );
    let beat = async || -> std::time::SystemTime {
        observer.query_one(&heard, &[]).await.expect(&heard).get(0)
    };
    let first = beat().await;
    eventually("a heartbeat", async || beat().await > first).await;
    world.run("commit").await;
    running.stop().await;
}

#[tokio::test]
async fn a_reactor_with_a_part_that_hangs_is_silent() {
    let world = World::new().await;
    let progress = roster::progress::Progress::default();
    let hangs = progress.part("a part", Duration::ZERO);
    let theirs = progress.clone();
    let running = world.start(|reactor| reactor.progress = theirs);
    let silent = format!(
        "select heartbeat_at = started_at and last_listen_at is not null from roster.reactors where id = '{}'",
        running.id
    );
    world.until(&silent).await;
    drop(hangs);
    world
        .until(&silent.replace(" = started_at", " > started_at"))
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_write_that_arrives_while_its_call_counts_as_under_way_is_seen_by_the_look() {
    let world = with_a_change().await;
    let another = world.another().await;
    let slow = json!({"delay_ms": 1500});
    world.tenant.fault(PATCH, "delay", 1, slow).await;
    let dies = world.reactor.clone();
    let works = tokio::spawn(async move { dies.settle().await });
    eventually("the call arrives", async || world.tenant.has_struck().await).await;
    works.abort();
    // Its request is still on its way, and the row says something else by now.
    world.run("update users set role = 'Editor'").await;
    is_silent(&world, &world.reactor, 8).await;
    another.settle().await.expect("settled");
    assert_eq!(
        world.plan().await,
        ["1 look waiting"],
        "and no second PATCH"
    );
    eventually("the late write", async || {
        world.tenant.account(ADA).await["app_metadata"]["role"] == "Admin"
    })
    .await;
    world.time_passes().await;
    another.settle().await.expect("settled");
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "Editor");
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_that_arrives_after_the_look_is_found_by_the_second_look_and_mended() {
    let mut world = with_a_change().await;
    world.reactor = world
        .another_with(|client| client.call_timeout = Duration::from_millis(200))
        .await;
    let very_slow = json!({"delay_ms": 3000});
    world.tenant.fault(PATCH, "delay", 1, very_slow).await;
    world.settle().await;
    world.run("update users set role = 'Editor'").await;
    world.settle_in_time().await;
    let role = async || world.tenant.account(ADA).await["app_metadata"]["role"].clone();
    assert_eq!(role().await, "Editor");
    eventually("the late write", async || role().await == "Admin").await;
    world.sweep().await;
    assert_eq!(role().await, "Admin", "it is not looked at without a break");
    world
        .run("update roster.accounts set doubted_at = doubted_at - interval '1 minute'")
        .await;
    world.sweep().await;
    assert_eq!(role().await, "Editor");
    world.tenant.forget_requests().await;
    world.sweep().await;
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0, "once");
}

#[tokio::test]
async fn an_account_that_auth0_makes_after_the_look_is_blocked_when_its_row_has_gone_by_then() {
    let mut world = World::new().await;
    world.reactor = world
        .another_with(|client| client.call_timeout = Duration::from_millis(200))
        .await;
    world.add(&["bob@example.test"]).await;
    world.settle().await;
    let very_slow = json!({"delay_ms": 3000});
    world.tenant.fault(CREATE, "delay", 1, very_slow).await;
    world.add(&[ADA]).await;
    world.settle().await;
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    assert!(world.tenant.user(ADA).await.is_none());
    eventually("the late create", async || {
        world.tenant.user(ADA).await.is_some()
    })
    .await;
    world
        .run("update roster.accounts set doubted_at = doubted_at - interval '2 minutes'")
        .await;
    world.sweep().await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

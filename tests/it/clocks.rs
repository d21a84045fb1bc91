//! Clocks jump by hours, forward and back: that of the reactor's host, and that of the database. Nothing is lost or doubled, and nobody
//! waits for the clock to be there again.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    clock::Clock,
    program::Program,
    servers::{server, world_on},
    world::{World, eventually},
};

const HOUR: i64 = 3600;
const CREATE: &str = "POST /api/v2/users";
const PATCH: &str = "PATCH /api/v2/users/{id}";

/// `user-1@example.test` and on: one account, one call and one mail for each.
async fn all_were_made_once(world: &World, number: usize) {
    eventually("a mail each", async || {
        world.tenant.mailed().await.len() >= number
    })
    .await;
    let settled = "select pending = 0 and unfolded = 0 from roster.status";
    world.until(settled).await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.tenant.list("users").await.len(), number);
    let mut mailed = world.tenant.mailed().await;
    mailed.sort();
    mailed.dedup();
    assert_eq!(world.tenant.mailed().await.len(), mailed.len());
}

#[tokio::test]
async fn a_reactor_whose_clock_jumps_goes_on() {
    let world = World::new().await;
    let clock = Clock::new();
    let program = Program::run(&world.tenant, &world.database.url(), &clock.environment());
    program.says("the reactor runs").await;
    for (number, jump) in [5 * HOUR, -5 * HOUR, 0].into_iter().enumerate() {
        // In the midst of a call that is to be tried again.
        let (slow, refusal) = (json!({"delay_ms": 300}), json!({"status": 503}));
        world.tenant.fault(CREATE, "delay", 1, slow).await;
        world.tenant.fault(CREATE, "status", 1, refusal).await;
        world
            .add(&[&format!("user-{}@example.test", number + 1)])
            .await;
        eventually("a call", async || {
            world.tenant.calls("POST", "/api/v2/users").await > 0
        })
        .await;
        clock.jump_to(jump);
        all_were_made_once(&world, number + 1).await;
        world.tenant.forget_requests().await;
    }
    let dated = "select bool_and(started_at between now() - interval '5 min' and now()) from roster.attempts";
    assert!(world.says(dated).await, "by the clock of the database");
}

#[tokio::test]
async fn a_wait_is_as_long_as_the_database_says_whatever_our_clock_shows() {
    let world = World::new().await;
    let clock = Clock::new();
    clock.jump_to(-5 * HOUR);
    let program = Program::run(&world.tenant, &world.database.url(), &clock.environment());
    program.says("the reactor runs").await;
    world.tenant.fault(CREATE, "cut_after", 1, json!({})).await;
    world.add(&["user-1@example.test"]).await;
    // The account is looked at a second later by the database's clock; by ours, that would be hours.
    all_were_made_once(&world, 1).await;
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
}

#[tokio::test]
async fn a_database_whose_clock_is_set_forward_loses_and_doubles_nothing() {
    let clock = Clock::new();
    let mut environment = clock.environment();
    let server = server(|mut options| {
        options.environment.append(&mut environment);
        options
    })
    .await;
    let world = world_on(&server).await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    let slow = json!({"delay_ms": 1000});
    world.tenant.fault(CREATE, "delay", 3, slow).await;
    world.add_many(3).await;
    eventually("calls under way", async || world.tenant.has_struck().await).await;
    clock.jump_to(5 * HOUR);
    assert!(
        world
            .says("select bool_or(lease_until < now()) from roster.mirror")
            .await
    );
    all_were_made_once(&world, 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_database_whose_clock_is_set_back_lets_nobody_wait_for_it() {
    let clock = Clock::new();
    clock.jump_to(5 * HOUR);
    let mut environment = clock.environment();
    let server = server(|mut options| {
        options.environment.append(&mut environment);
        options
    })
    .await;
    let world = world_on(&server).await;
    world.add_many(4).await;
    world.settle().await;
    // One has to wait, one is at work with a reactor that is gone, one call was not recorded, and two mails were sent just now.
    world
        .tenant
        .fault(PATCH, "status", 1, json!({"status": 503}))
        .await;
    world
        .run("update users set role = 'Admin' where id = 1")
        .await;
    world.settle().await;
    world
        .run(
            "update roster.mirror set next_attempt_at = now() + interval '5 min' where user_key = '1'; \
             update users set role = 'Admin' where id > 1; select roster.fold(); \
             update roster.mirror set lease_by = gen_random_uuid(), lease_until = now() + interval '1 min' where user_key = '2'; \
             update roster.accounts set call_id = gen_random_uuid(), call_action = 'update', call_deadline = now() + interval '1 min' where user_key = '3'",
        )
        .await;
    clock.jump_to(0);
    let running = world.start(|reactor| {
        reactor.terms.invitations_per_minute = 4;
        reactor.poll_interval = Duration::from_millis(200);
    });
    world
        .until("select not exists (select from roster.reactors where heartbeat_at > now())")
        .await;
    let in_hours = "select exists (select from roster.mirror m join roster.accounts a using (user_key) \
        where greatest(m.next_attempt_at, m.lease_until, a.call_deadline) > now() + interval '1 hour')";
    assert!(!world.says(in_hours).await);
    world.time_passes().await;
    let all = "select count(*) = 4 from roster.accounts where app_metadata ->> 'role' = 'Admin'";
    world.until(all).await;
    // Four mails within a minute are as many as may be; a minute later there is room for another.
    world
        .run("update roster.invitations set changed_at = changed_at - interval '1 min'")
        .await;
    world.add(&["user-5@example.test"]).await;
    all_were_made_once(&world, 5).await;
    running.stop().await;
}

//! PostgreSQL stops and comes back while the reactor is at work: nothing is lost, made twice or mailed twice.

use std::time::Duration;

use roster::demo::cluster::{Options, Stop};
use serde_json::json;

use crate::support::{
    servers::{server, world_on},
    world::{World, eventually},
};

const CREATE: &str = "POST /api/v2/users";

/// Everybody has one account and one mail, by one call each, and nothing is left to do.
async fn all_was_done_once(world: &World, number: usize) {
    world
        .until("select count(*) filter (where due) = 0 from roster.mirror")
        .await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.problems().await, Vec::<String>::new());
    assert_eq!(world.tenant.list("users").await.len(), number);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, number);
    let mut mailed = world.tenant.mailed().await;
    assert_eq!(mailed.len(), number);
    mailed.sort();
    mailed.dedup();
    assert_eq!(mailed.len(), number);
}

#[tokio::test]
async fn a_restart_with_calls_under_way_loses_and_doubles_nothing() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut server = server(|options| options).await;
        let mut world = world_on(&server).await;
        let running = world.start(|_| {});
        world.listening(&running).await;
        let slow = json!({"delay_ms": 500});
        world.tenant.fault(CREATE, "delay", 6, slow).await;
        world.add_many(6).await;
        world
            .until("select count(*) >= 2 from roster.accounts where call_id is not null")
            .await;
        server.restart(how).await.expect("a restart");
        world.reconnect().await;
        eventually("six mails", async || world.tenant.mailed().await.len() == 6).await;
        all_was_done_once(&world, 6).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn after_a_restart_a_commit_rings_again() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut server = server(|options| options).await;
        let mut world = world_on(&server).await;
        let running = world.start(|_| {});
        world.listening(&running).await;
        server.restart(how).await.expect("a restart");
        world.reconnect().await;
        // What comes now was not there when it looked after listening again.
        let again = "select max(last_listen_at) > pg_postmaster_start_time() from roster.reactors";
        world.until(again).await;
        world.add(&["ada@example.test"]).await;
        world.arrives("ada@example.test").await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_call_is_known_after_a_crash_also_where_commits_do_not_wait_for_the_disk() {
    // As a DBA may set it; and what is not waited for is not written by chance either.
    let lazy = |options: Options| {
        options
            .set("synchronous_commit", "off")
            .set("wal_writer_delay", "10s")
    };
    let mut server = server(lazy).await;
    let mut world = world_on(&server).await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    let slow = json!({"delay_ms": 2000});
    world.tenant.fault(CREATE, "delay", 1, slow).await;
    world
        .run("set synchronous_commit = on; insert into users (email) values ('ada@example.test')")
        .await;
    eventually("the call is under way", async || {
        world.tenant.has_struck().await
    })
    .await;
    server.restart(Stop::Immediate).await.expect("a restart");
    world.reconnect().await;
    assert!(
        world
            .says("select bool_and(call_action = 'create') from roster.accounts")
            .await,
        "the id was chosen and the call begun before the crash"
    );
    world.arrives("ada@example.test").await;
    eventually("a mail", async || world.tenant.mailed().await.len() == 1).await;
    all_was_done_once(&world, 1).await;
    running.stop().await;
}

#[tokio::test]
async fn results_outlast_an_outage_that_is_longer_than_their_leases() {
    let mut server = server(|options| options).await;
    let mut world = world_on(&server).await;
    // By the time it comes back nobody holds a lease any more.
    let running = world.start(|reactor| reactor.terms.lease = Duration::from_millis(300));
    world.listening(&running).await;
    let slow = json!({"delay_ms": 500});
    world.tenant.fault(CREATE, "delay", 3, slow).await;
    world.add_many(3).await;
    eventually("the calls are under way", async || {
        world.tenant.has_struck().await
    })
    .await;
    server.halt(Stop::Fast).await.expect("halted");
    eventually("the calls are applied", async || {
        world.tenant.list("users").await.len() == 3
    })
    .await;
    server.resume().await.expect("a running server");
    world.reconnect().await;
    eventually("three mails", async || {
        world.tenant.mailed().await.len() == 3
    })
    .await;
    all_was_done_once(&world, 3).await;
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
    running.stop().await;
}

//! PostgreSQL stops and comes back while the reactor is at work: nothing is lost, made twice or mailed twice.

use roster::demo::cluster::Stop;
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
            .until("select count(*) = 6 from roster.accounts where call_id is not null")
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

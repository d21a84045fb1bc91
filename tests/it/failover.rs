//! A primary is lost and its standby takes over, by real streaming replication: reactor and server go on by themselves.

use roster::demo::cluster::Stop;

use crate::support::servers::Pair;

#[tokio::test]
async fn the_reactor_goes_on_at_the_promoted_standby() {
    let mut pair = Pair::start().await;
    let mut world = pair.world().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    world.add(&["ada@example.test"]).await;
    world.arrives("ada@example.test").await;
    pair.failover(Stop::Immediate).await;
    world.reconnect().await;
    world
        .until("select max(last_listen_at) > pg_postmaster_start_time() and bool_or(bell_heard_at > last_listen_at) from roster.reactors")
        .await;
    world
        .run("update users set role = 'Admin' where email = 'ada@example.test'")
        .await;
    world.add(&["bob@example.test"]).await;
    world.arrives("bob@example.test").await;
    pair.first_comes_back().await;
    world.add(&["carol@example.test"]).await;
    world.arrives("carol@example.test").await;
    running.stop().await;
}

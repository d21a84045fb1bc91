//! A primary is lost and its standby takes over, by real streaming replication: reactor and look-ups go on by themselves.

use roster::{
    db::{connect::Endpoint, directory},
    demo::cluster::{Cluster, Stop},
    user::Auth0UserId,
};

use crate::support::{
    servers::Pair,
    world::{World, eventually},
};

const ADA: &str = "ada@example.test";

/// A session with this one of the two.
async fn session(server: &Cluster) -> tokio_postgres::Client {
    let endpoint = Endpoint::parse(&server.socket_url("postgres")).expect("a connection string");
    endpoint.session().await.expect("a session")
}

/// Everything committed so far has arrived at the standby.
async fn replicated(world: &World) {
    world
        .until("select bool_and(replay_lsn >= pg_current_wal_lsn()) from pg_stat_replication")
        .await;
}

#[tokio::test]
async fn the_reactor_goes_on_at_the_promoted_standby() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut pair = Pair::start().await;
        let mut world = pair.world().await;
        let running = world.start(|_| {});
        world.listening(&running).await;
        world.add(&[ADA]).await;
        world.arrives(ADA).await;
        replicated(&world).await;
        pair.failover(how).await;
        world.reconnect().await;
        // It listens there, and hears.
        world
            .until("select max(last_listen_at) > pg_postmaster_start_time() and bool_or(bell_heard_at > last_listen_at) from roster.reactors")
            .await;
        world.add(&["bob@example.test"]).await;
        world.arrives("bob@example.test").await;
        // The former primary comes back as a standby, the first in the list of hosts.
        pair.first_comes_back().await;
        world
            .run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'")
            .await;
        world.add(&["carol@example.test"]).await;
        world.arrives("carol@example.test").await;
        eventually("three mails", async || {
            world.tenant.mailed().await.len() == 3
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test]
async fn look_ups_go_on_at_the_promoted_standby() {
    let mut pair = Pair::start().await;
    let mut world = pair.world().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let id = world.texts("select auth0_user_id from users").await;
    let id = Auth0UserId::from(id[0].as_str());
    let pool = world.database.pool();
    let role = async || match directory::find(&pool, &id, None).await {
        Ok(answer) => format!("{:?}", answer.found),
        Err(error) => error.to_string(),
    };
    eventually("an answer", async || role().await.contains("Artist")).await;
    replicated(&world).await;
    pair.failover(Stop::Immediate).await;
    world.reconnect().await;
    world.run("update users set role = 'Admin'").await;
    eventually("the new primary's answer", async || {
        role().await.contains("Admin")
    })
    .await;
}

#[tokio::test]
async fn sessions_that_hang_on_a_server_closed_for_writes_are_let_go() {
    let pair = Pair::start().await;
    let mut world = pair.world().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    // A planned switch-over: nobody is thrown out of the old primary, where nothing can be written any more.
    let first = session(&pair.first).await;
    for statement in [
        "alter system set default_transaction_read_only = on",
        "select pg_reload_conf()",
    ] {
        first.batch_execute(statement).await.expect(statement);
    }
    replicated(&world).await;
    pair.second.promote().await.expect("a promoted standby");
    world.reconnect().await;
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    eventually("a mail", async || world.tenant.mailed().await == [ADA]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_standby_that_lacks_the_last_commits_makes_nobody_twice_and_mails_nobody_twice() {
    let mut pair = Pair::start().await;
    let mut world = pair.world().await;
    world.run("select roster.pause('for the story')").await;
    world.add(&[ADA]).await;
    world.fold().await;
    replicated(&world).await;
    // From here on nothing arrives at the standby.
    let second = session(&pair.second).await;
    for statement in [
        "alter system set primary_conninfo = ''",
        "select pg_reload_conf()",
    ] {
        second.batch_execute(statement).await.expect(statement);
    }
    world
        .until("select not exists (select from pg_stat_replication)")
        .await;
    world.run("select roster.resume()").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, [ADA]);
    pair.failover(Stop::Immediate).await;
    world.reconnect().await;
    assert!(world.says("select count(*) = 0 from roster.accounts").await);
    world.run("select roster.resume()").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert_eq!(world.tenant.mailed().await, [ADA]);
    // Roster's own mark on the account tells that there was a ledger; what it said is for a person to find out.
    assert_eq!(world.plan().await, ["1 invite parked"]);
    assert!(
        world
            .says("select bool_and(origin = 'made' and state = 'linked') from roster.accounts")
            .await
    );
}

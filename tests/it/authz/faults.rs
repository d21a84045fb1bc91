//! Memory while something is lost on its way: nobody is let in for longer after a commit than the published bound of three seconds.

use std::time::{Duration, Instant};

use roster::{authz::Reason, demo::cluster::Stop};

use super::memory::until_from_memory;
use crate::support::{
    Database, authz::Server, pooler::Pooler, proxy::Proxy, servers::Pair, world::eventually,
};

/// By README. Whoever asks later than this after a commit is answered from it.
const BOUND: Duration = Duration::from_secs(3);

/// Blocks Ada, however `block` does it, and asks until the bound is over: refused in the end, and never let in after it.
async fn is_refused_within_the_bound(server: &Server, block: impl AsyncFnOnce()) {
    let token = server.issuer.token("auth0|ada");
    assert_eq!(server.me_just_so(&token).await.status, 200);
    block().await;
    let committed = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = server.me_just_so(&token).await;
        let is_over = asked.duration_since(committed) > BOUND;
        match answer.status {
            403 if is_over => return,
            // Not known is no wrong answer.
            403 | 503 => {}
            200 => assert!(!is_over, "let in after the bound"),
            other => panic!("answered {other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(committed.elapsed() < 10 * BOUND, "no answer");
    }
}

const BLOCK: &str = "update users set blocked = true";

/// A server whose listener, and whatever else keeps its memory, goes by way of a proxy; look-ups in the database do not.
async fn listening_through_a_proxy() -> (Server, Proxy) {
    let database = Database::migrated().await;
    let proxy = Proxy::to(&database).await;
    let listen = proxy.endpoint();
    let server = Server::with(database, |_, ways| ways.listen = listen).await;
    let server = server.with_ada().await;
    server.ready().await;
    (server, proxy)
}

#[tokio::test]
async fn a_bell_that_is_not_rung() {
    let server = Server::start().await.with_ada().await;
    is_refused_within_the_bound(&server, async || {
        server.run(&format!("set roster.bell = off; {BLOCK}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_is_killed_and_one_that_is_killed_again_and_again() {
    let server = Server::start().await.with_ada().await;
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and query like 'listen %'";
    is_refused_within_the_bound(&server, async || {
        server.run(&format!("{kill}; {BLOCK}")).await;
    })
    .await;
    server.run("update users set blocked = false").await;
    server.ready().await;
    for number in 0..20 {
        server
            .run(&format!("{kill}; update users set name = '{number}'"))
            .await;
        let answer = server.me(&server.issuer.token("auth0|ada")).await;
        assert_eq!(answer.body["user"]["name"], number.to_string());
    }
    server.ready().await;
}

#[tokio::test]
async fn a_way_to_the_database_that_falls_silent_or_is_cut() {
    for cut in [false, true] {
        let (server, proxy) = listening_through_a_proxy().await;
        is_refused_within_the_bound(&server, async || {
            match cut {
                true => proxy.cut(),
                false => proxy.go_silent(),
            }
            server.run(BLOCK).await;
        })
        .await;
        assert!(
            server
                .authz
                .standing()
                .expect("memory")
                .reads_through
                .is_some()
        );
        server.run("update users set blocked = false").await;
        assert_eq!(
            server.me(&server.issuer.token("auth0|ada")).await.status,
            200
        );
        proxy.restore();
        server.ready().await;
    }
}

#[tokio::test]
async fn a_listener_that_becomes_deaf_is_not_relied_on_for_long() {
    let (server, proxy) = listening_through_a_proxy().await;
    is_refused_within_the_bound(&server, async || {
        proxy.deafen();
        server.run(BLOCK).await;
    })
    .await;
    eventually("its own bell is missed", async || {
        let standing = server.authz.standing().expect("memory");
        standing.reads_through.is_some()
    })
    .await;
    server.run("update users set blocked = false").await;
    let token = server.issuer.token("auth0|ada");
    assert_eq!(server.me_just_so(&token).await.status, 200);
    proxy.hear();
    server.ready().await;
}

#[tokio::test]
async fn a_listener_that_a_pooler_makes_deaf_is_not_relied_on() {
    let database = Database::migrated().await;
    let pooler = Pooler::before(&database).await;
    let listen = pooler.endpoint();
    let server = Server::with(database, |_, ways| ways.listen = listen).await;
    let server = server.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    for number in 0..50 {
        server
            .run(&format!("update users set name = '{number}'"))
            .await;
        let answer = server.me_just_so(&token).await;
        assert_eq!(answer.body["user"]["name"], number.to_string());
    }
    let standing = server.authz.standing().expect("memory");
    assert_eq!(standing.reads_through, Some(Reason::Loading));
}

#[tokio::test]
async fn without_postgres_nobody_is_let_in_unless_old_answers_are_allowed() {
    for max_stale in [Duration::ZERO, Duration::from_secs(600)] {
        let database = Database::migrated().await;
        let proxy = Proxy::to(&database).await;
        let endpoint = proxy.endpoint();
        let server = Server::with(database, |settings, ways| {
            settings.max_stale = max_stale;
            ways.pool = endpoint.pool(4);
            ways.listen = endpoint;
        })
        .await
        .with_ada()
        .await;
        let token = server.issuer.token("auth0|ada");
        server.ready().await;
        until_from_memory(&server, &token).await;
        let later = server.revision().await;
        proxy.cut();
        eventually("the loss is noticed", async || {
            server
                .authz
                .standing()
                .expect("memory")
                .reads_through
                .is_some()
        })
        .await;
        let answer = server.me_just_so(&token).await;
        match max_stale.is_zero() {
            true => assert_eq!(answer.refusal(), (503, "database_unavailable")),
            false => assert_eq!(answer.body["user"]["key"], "1"),
        }
        // Who is not known, or wants a newer state, is not told an old one.
        let stranger = server.issuer.token("auth0|stranger");
        assert_eq!(server.me_just_so(&stranger).await.status, 503);
        server.run(BLOCK).await;
        assert_eq!(server.me(&token).await.status, 503, "{later}");
        proxy.restore();
        server.ready().await;
        assert_eq!(
            server.me_just_so(&token).await.refusal(),
            (403, "user_blocked")
        );
    }
}

#[tokio::test]
async fn a_standby_that_takes_over() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut pair = Pair::start().await;
        let database = Database::on_its_own(&pair.url()).await;
        let mut server = Server::with(database, |_, _| {}).await.with_ada().await;
        server.ready().await;
        let token = server.issuer.token("auth0|ada");
        assert_eq!(server.me(&token).await.status, 200);
        eventually("replicated", async || {
            let arrived = "select coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) from pg_stat_replication";
            server.sql.query_one(arrived, &[]).await.expect(arrived).get(0)
        })
        .await;
        pair.failover(how).await;
        let endpoint = server.database.endpoint();
        eventually("a session", async || endpoint.session().await.is_ok()).await;
        server.sql = endpoint.session().await.expect("a session");
        server.run(BLOCK).await;
        let committed = Instant::now();
        while committed.elapsed() < BOUND {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_ne!(server.me_just_so(&token).await.status, 200);
        server.ready().await;
        assert_eq!(
            server.me_just_so(&token).await.refusal(),
            (403, "user_blocked")
        );
        server.run("update users set blocked = false").await;
        assert_eq!(server.me(&token).await.status, 200);
    }
}

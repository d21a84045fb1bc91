//! The way to PostgreSQL falls silent: nothing is refused and nothing answered. Only our own deadlines can end that.

use std::time::Duration;

use roster::db::{
    DbError,
    connect::Endpoint,
    directory::{self, DirectoryError},
    pool::QUICK,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Barrier,
    time::timeout,
};

use crate::support::{
    proxy::Proxy,
    world::{World, eventually},
};

const ADA: &str = "ada@example.test";

#[tokio::test]
async fn a_listener_on_a_silent_connection_listens_anew() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let pool = world.database.pool();
    let running = world.start_on(proxy.endpoint(), |reactor| reactor.pool = pool);
    world.listening(&running).await;
    proxy.go_silent();
    proxy.restore();
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    running.stop().await;
}

#[tokio::test]
async fn a_call_whose_sessions_fell_silent_meanwhile_is_recorded_by_others() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let running = world.start_on(proxy.endpoint(), |_| {});
    world.listening(&running).await;
    let slow = json!({"delay_ms": 1500});
    world
        .tenant
        .fault("POST /api/v2/users", "delay", 1, slow)
        .await;
    world.add(&[ADA]).await;
    eventually("a call", async || world.tenant.has_struck().await).await;
    proxy.go_silent();
    proxy.restore();
    eventually("a mail", async || world.tenant.mailed().await == [ADA]).await;
    world
        .until("select not bool_or(due) from roster.mirror")
        .await;
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_look_up_on_a_silent_session_fails_and_the_next_one_has_another() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let pool = proxy.endpoint().pool(4);
    // Four sessions, each lent until all are there, and all of which fall silent.
    let all_there = Barrier::new(4);
    let lent = || {
        pool.on(QUICK, async |_| {
            all_there.wait().await;
            Ok(())
        })
    };
    let lent = tokio::try_join!(lent(), lent(), lent(), lent());
    lent.expect("four sessions");
    proxy.go_silent();
    proxy.restore();
    let failed = directory::ping(&pool).await;
    assert!(
        matches!(failed, Err(DirectoryError::TimedOut)),
        "{failed:?}"
    );
    // Not by another look-up, which has a second: on a busy machine a new session may take longer.
    let next = pool.on(QUICK, async |session| {
        session.batch_execute("select 1").await?;
        Ok(())
    });
    next.await.expect("another session");
}

#[tokio::test]
async fn work_on_a_silent_session_ends_and_the_session_is_not_used_again() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let pool = proxy.endpoint().pool(1);
    let backend = async || {
        pool.on(QUICK, async |session| {
            let row = session.query_one("select pg_backend_pid()", &[]).await?;
            Ok(row.get::<_, i32>(0))
        })
        .await
        .expect("a session")
    };
    let before = backend().await;
    let ended = pool.on(Duration::from_millis(300), async |session| {
        proxy.go_silent();
        session.batch_execute("select 1").await?;
        Ok(())
    });
    let ended = ended.await.expect_err("nobody answers");
    assert!(matches!(ended, DbError::TimedOut { .. }), "{ended}");
    assert!(ended.is_unreachable(), "it is worth another try");
    proxy.restore();
    assert_ne!(backend().await, before);
}

/// A host that does not even refuse: who connects to it waits. It is so until both are dropped.
async fn dark_host() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    socket.bind(anywhere).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let place = listener.local_addr().expect("an address");
    // Nobody is let in, and the queue at the door is soon full.
    let mut queue = Vec::new();
    while let Ok(waits) = timeout(Duration::from_secs(2), TcpStream::connect(place)).await {
        queue.push(waits.expect("a place in the queue"));
    }
    (listener, queue)
}

#[tokio::test]
async fn look_ups_come_to_the_second_host_although_the_first_takes_longer_than_they_wait() {
    let world = World::new().await;
    let (dark, _queue) = dark_host().await;
    let url: url::Url = world.database.tcp_url().parse().expect("an URL");
    let (login, database) = (&url[..url::Position::BeforeHost], url.path());
    let hosts = format!(
        "{login}127.0.0.1:{},{}:{}{database}?connect_timeout=3",
        dark.local_addr().expect("an address").port(),
        url.host_str().expect("a host"),
        url.port().unwrap_or(5432),
    );
    let endpoint = Endpoint::parse(&hosts).expect("two hosts");
    let pool = endpoint.pool(4);
    let first = directory::ping(&pool).await;
    assert!(matches!(first, Err(DirectoryError::TimedOut)), "{first:?}");
    eventually("an answer", async || directory::ping(&pool).await.is_ok()).await;
}

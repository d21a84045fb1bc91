//! The way to PostgreSQL falls silent: nothing is refused and nothing answered. Only our own deadlines can end that.

use std::time::Duration;

use roster::db::{
    DbError,
    directory::{self, DirectoryError},
    pool::QUICK,
};
use serde_json::json;

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
    // Four sessions, all of which fall silent.
    eventually("four sessions", async || {
        let [one, two, three, four] = [(); 4].map(|()| directory::ping(&pool));
        let all = tokio::join!(one, two, three, four);
        all.0.and(all.1).and(all.2).and(all.3).is_ok()
    })
    .await;
    proxy.go_silent();
    proxy.restore();
    let failed = directory::ping(&pool).await;
    assert!(
        matches!(failed, Err(DirectoryError::TimedOut)),
        "{failed:?}"
    );
    directory::ping(&pool).await.expect("another session");
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

//! A transaction pooler between Roster and PostgreSQL.

use std::time::Duration;

use crate::support::{logs::Logs, pooler::Pooler, world::World};

const ADA: &str = "ada@example.test";

#[tokio::test]
async fn a_listener_that_a_pooler_makes_deaf_is_told_once_and_polling_carries_on() {
    let logs = Logs::capture("warn");
    let world = World::new().await;
    let pooler = Pooler::before(&world.database).await;
    let pool = world.database.pool();
    let running = world.start_on(pooler.endpoint(), |reactor| {
        reactor.pool = pool;
        reactor.poll_interval = Duration::from_millis(100);
    });
    world.until("select bell_deaf from roster.status").await;
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    assert_eq!(world.problems().await, ["bell not heard bell_deaf"]);
    let advice = "select advice from roster.problems";
    assert!(world.texts(advice).await[0].contains("database.listen_url"));
    running.stop().await;
    assert_eq!(logs.text().matches("database.listen_url").count(), 1);
}

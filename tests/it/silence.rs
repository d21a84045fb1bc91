//! The way to PostgreSQL falls silent: nothing is refused and nothing answered. Only our own deadlines can end that.

use crate::support::{proxy::Proxy, world::World};

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

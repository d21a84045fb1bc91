//! Clocks jump by hours, forward and back: that of the reactor's host, and that of the database.

use crate::support::{clock::Clock, program::Program, world::World};

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_reactor_whose_clock_jumps_goes_on() {
    let world = World::new().await;
    let clock = Clock::new();
    let program = Program::run(&world.tenant, &world.database, &clock.environment());
    program.says("the reactor runs").await;
    for (number, jump) in [5 * HOUR, -5 * HOUR, 0].into_iter().enumerate() {
        clock.jump_to(jump);
        let email = format!("user-{number}@example.test");
        world.add(&[&email]).await;
        world.arrives(&email).await;
    }
}

//! A transaction pooler between Roster and PostgreSQL.

use std::time::Duration;

use crate::support::{
    Database,
    logs::Logs,
    pooler::Pooler,
    program::{Program, roster},
    sql::rows,
    world::{Running, World},
};

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

/// Everything but LISTEN through the pooler.
fn started_behind(world: &World, pooler: &Pooler) -> Running {
    let pool = pooler.endpoint().pool_behind_a_pooler(4);
    world.start(|reactor| reactor.pool = pool)
}

#[tokio::test]
async fn a_pooler_that_hands_out_servers_by_transaction_is_told_from_a_server() {
    let database = Database::empty().await;
    let pooler = Pooler::before(&database).await;
    let sessions = Pooler::with(&database, "pool_mode = session").await;
    let narrow = Pooler::with(&database, "default_pool_size = 1").await;
    for (endpoint, expected) in [
        (database.endpoint(), false),
        (pooler.endpoint(), true),
        (sessions.endpoint(), false),
        (narrow.endpoint(), true),
    ] {
        let found = endpoint.has_a_pooler().await.expect("an answer");
        assert_eq!(found, expected, "{endpoint}");
    }
}

#[tokio::test]
async fn two_reactors_behind_a_pooler_do_everything_once_and_leave_nothing_there() {
    let world = World::new().await;
    // Fewer servers than sessions: each piece of work may get any of them.
    let pooler = Pooler::with(&world.database, "default_pool_size = 3").await;
    let one = started_behind(&world, &pooler);
    let other = started_behind(&world, &pooler);
    world.listening(&one).await;
    world.listening(&other).await;
    world.add_many(40).await;
    world
        .until("select count(*) = 40 from users where auth0_user_id is not null")
        .await;
    world
        .run("update users set role = 'Admin' where id <= 20; delete from users where id > 35")
        .await;
    world
        .until("select pending = 0 and unfolded = 0 from roster.status")
        .await;
    one.stop().await;
    other.stop().await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 40);
    assert_eq!(world.tenant.calls("PATCH", "/api/v2/users").await, 25);
    // Whoever gets these servers next finds them as they came.
    let next = pooler.endpoint().session().await.expect("a session");
    for (query, expected) in [
        ("select count(*)::text from pg_prepared_statements", "0"),
        ("show search_path", "\"$user\", public"),
        ("show statement_timeout", "0"),
        ("show jit", "on"),
    ] {
        for _ in 0..3 {
            assert_eq!(rows(&next, query).await, [expected], "{query}");
        }
    }
}

#[tokio::test]
async fn roster_run_works_through_a_pooler_with_a_direct_way_to_listen() {
    let world = World::new().await;
    let pooler = Pooler::before(&world.database).await;
    let listen = (
        "ROSTER__DATABASE__LISTEN_URL".to_owned(),
        world.database.url(),
    );
    let hour = ("ROSTER__REACTOR__POLL_INTERVAL".to_owned(), "1h".to_owned());
    let program = Program::run(&world.tenant, pooler.url(), &[listen, hour]);
    world
        .until("select bool_or(bell_heard_at is not null) from roster.reactors")
        .await;
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    world
        .until("select not bool_or(due) from roster.mirror")
        .await;
    assert!(program.log().contains("goes through a transaction pooler"));
    assert!(!world.says("select bell_deaf from roster.status").await);
}

#[tokio::test]
async fn a_pooler_that_nobody_told_of_is_noticed_by_the_statements_that_get_lost() {
    let logs = Logs::capture("warn");
    let world = World::new().await;
    let pooler = Pooler::with(&world.database, "server_round_robin = 1").await;
    // As if it had hidden at the start.
    let pool = pooler.endpoint().pool(4);
    let running = world.start(|reactor| reactor.pool = pool.clone());
    world.add_many(20).await;
    world
        .until("select count(*) = 20 from users where auth0_user_id is not null")
        .await;
    running.stop().await;
    assert!(pool.behind_a_pooler());
    assert_eq!(
        logs.text().matches("prepared statements get lost").count(),
        1
    );
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 20);
}

#[tokio::test]
async fn commands_go_the_direct_way() {
    let world = World::new().await;
    let command = roster(&[
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere"),
        ("ROSTER__DATABASE__LISTEN_URL", &world.database.url()),
    ])
    .args(["status", "--json"])
    .output()
    .expect("the roster binary");
    assert!(String::from_utf8_lossy(&command.stdout).contains("\"mode\""));
}

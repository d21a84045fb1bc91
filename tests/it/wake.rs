//! The real loop: what wakes it, what it survives, how it stops. Poll and sweep are an hour apart unless a story says otherwise,
//! so whatever arrives was noticed in the way the story is about.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    logs::Logs,
    proxy::Proxy,
    world::{World, eventually},
};

const ADA: &str = "ada@example.test";

async fn role_is(world: &World, role: &str) {
    eventually(role, async || {
        world.tenant.account(ADA).await["app_metadata"]["role"] == role
    })
    .await;
}

#[tokio::test]
async fn a_committed_change_arrives_because_it_rang() {
    let world = World::new().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    world.run("update users set role = 'Admin'").await;
    role_is(&world, "Admin").await;
    running.stop().await;
}

#[tokio::test]
async fn a_change_made_while_nobody_ran_is_found_at_the_start() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    let running = world.start(|_| {});
    world.arrives(ADA).await;
    running.stop().await;
}

#[tokio::test]
async fn after_an_outage_the_mirror_agrees() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let running = world.start_on(proxy.endpoint(), |_| {});
    world.listening(&running).await;
    world.add(&[ADA, "bob@example.test"]).await;
    world.arrives("bob@example.test").await;
    world.arrives(ADA).await;
    world
        .until("select not bool_or(due) from roster.mirror")
        .await;
    proxy.cut();
    world
        .run(
            "update users set role = 'Admin' where name = 'ada'; delete from users where name = 'bob'; \
             insert into users (email, name) values ('carol@example.test', 'carol')",
        )
        .await;
    assert!(world.tenant.user("carol@example.test").await.is_none());
    proxy.restore();
    world.arrives("carol@example.test").await;
    role_is(&world, "Admin").await;
    eventually("bob is blocked", async || {
        world.tenant.account("bob@example.test").await["blocked"] == true
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_listener_that_was_away_looks_as_soon_as_it_listens_again() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let proxy = Proxy::to(&world.database).await;
    let pool = world.database.pool();
    // Only the listener is cut off, and nothing rang before: no failed look and no look after a wake can explain it.
    let running = world.start_on(proxy.endpoint(), |reactor| reactor.pool = pool);
    world.listening(&running).await;
    proxy.cut();
    world.run("update users set role = 'Admin'").await;
    proxy.restore();
    role_is(&world, "Admin").await;
    running.stop().await;
}

#[tokio::test]
async fn results_of_calls_under_way_survive_an_outage() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let running = world.start_on(proxy.endpoint(), |_| {});
    world.listening(&running).await;
    let slow = json!({"delay_ms": 1000});
    world
        .tenant
        .fault("POST /api/v2/users", "delay", 1, slow)
        .await;
    world.add(&[ADA]).await;
    eventually("the call is under way", async || {
        world.tenant.has_struck().await
    })
    .await;
    proxy.cut();
    world.arrives(ADA).await;
    proxy.restore();
    world
        .until("select count(*) = 1 from roster.attempts where action = 'create' and code = 'ok'")
        .await;
    eventually("a mail", async || world.tenant.mailed().await.len() == 1).await;
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_reactor_whose_sessions_are_all_terminated_recovers() {
    let world = World::new().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    let before = world
        .texts("select max(last_listen_at)::text from roster.reactors")
        .await
        .remove(0);
    for _ in 0..2 {
        world
            .run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
            .await;
    }
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    world
        .until(&format!(
            "select max(last_listen_at) > '{before}' from roster.reactors"
        ))
        .await;
    world.run("update users set role = 'Admin'").await;
    role_is(&world, "Admin").await;
    running.stop().await;
}

#[tokio::test]
async fn who_was_claimed_when_the_sessions_ended_does_not_wait_for_the_lease_to_end() {
    let world = World::new().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    // Held up where the plan is read: claimed, and no call begun.
    world.run("begin; lock table roster.invitations").await;
    let writer = world.database.client().await;
    let insert = "insert into users (email) values ('ada@example.test')";
    writer.batch_execute(insert).await.expect(insert);
    let waiting = "select pg_terminate_backend(pid) from pg_locks where not granted and locktype = 'relation' \
        and database = (select oid from pg_database where datname = current_database())";
    world.until(waiting).await;
    world.run("commit").await;
    // The lease is longer than this story's patience.
    world.arrives(ADA).await;
    running.stop().await;
}

#[tokio::test]
async fn a_ringer_who_rolls_back_delays_the_others_by_the_poll_at_most() {
    let world = World::new().await;
    let running = world.start(|reactor| reactor.poll_interval = Duration::from_millis(100));
    world.listening(&running).await;
    // Somebody has promised to ring for every moment of the next minute, and never will.
    let ringer = world.database.client().await;
    ringer
        .batch_execute(
            "begin; select pg_advisory_xact_lock(1380930373, ((extract(epoch from clock_timestamp()) * 50)::bigint + i & 2147483647)::integer) \
             from generate_series(0, 3000) i",
        )
        .await
        .expect("all the bells");
    world.add(&[ADA]).await;
    world.arrives(ADA).await;
    ringer.batch_execute("rollback").await.expect("rolled back");
    running.stop().await;
}

#[tokio::test]
async fn a_change_that_no_trigger_saw_is_found_by_the_sweep() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let running = world.start(|reactor| reactor.sweep_every = Duration::from_millis(200));
    world.listening(&running).await;
    world
        .run("select roster.detach(); update users set role = 'Admin'")
        .await;
    role_is(&world, "Admin").await;
    running.stop().await;
}

#[tokio::test]
async fn an_orderly_stop_lets_calls_end_and_leaves_no_lease() {
    let world = World::new().await;
    // Before the first answer, which tells the rate limit, few calls are made at a time.
    world.add(&["keep@example.test"]).await;
    world.settle().await;
    let running = world.start(|_| {});
    let id = running.id;
    world.listening(&running).await;
    let slow = json!({"delay_ms": 500});
    world
        .tenant
        .fault("POST /api/v2/users", "delay", 3, slow)
        .await;
    world
        .add(&[ADA, "bob@example.test", "carol@example.test"])
        .await;
    eventually("the calls arrive", async || world.tenant.has_struck().await).await;
    running.stop().await;
    // The calls under way were recorded; nothing was begun after them, so nobody is mailed yet.
    assert_eq!(world.tenant.list("users").await.len(), 4);
    assert!(
        world
            .says("select bool_and(state = 'linked' and call_id is null) from roster.accounts")
            .await
    );
    assert_eq!(world.tenant.mailed().await, ["keep@example.test"]);
    assert!(
        world
            .says("select bool_and(lease_by is null) and count(*) filter (where due) = 3 from roster.mirror")
            .await
    );
    let stopped = format!("select stopped_at is not null from roster.reactors where id = '{id}'");
    assert!(world.says(&stopped).await);
    // Whoever comes next goes on at once.
    world.settle().await;
    assert_eq!(world.tenant.mailed().await.len(), 4);
}

#[tokio::test]
async fn a_pause_is_obeyed_by_the_loop_between_two_calls() {
    let world = World::new().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    let slow = json!({"delay_ms": 1000});
    world
        .tenant
        .fault("POST /api/v2/users", "delay", 1, slow)
        .await;
    world.add(&[ADA]).await;
    world
        .until("select bool_or(call_id is not null) from roster.accounts")
        .await;
    world.run("select roster.pause('a look')").await;
    world
        .until("select bool_and(state = 'linked' and call_id is null) from roster.accounts")
        .await;
    world
        .until("select bool_and(lease_by is null) from roster.mirror")
        .await;
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    world.run("select roster.resume()").await;
    eventually("a mail", async || world.tenant.mailed().await == [ADA]).await;
    running.stop().await;
}

#[tokio::test]
async fn the_log_of_a_whole_story_names_no_address_and_no_secret() {
    let logs = Logs::capture("trace,hyper=off,hyper_util=off,reqwest=off,tokio_postgres=off");
    let world = World::new().await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    let cut = json!({});
    world
        .tenant
        .fault("POST /api/v2/users", "cut_after", 1, cut)
        .await;
    world
        .tenant
        .fault(
            "PATCH /api/v2/users/{id}",
            "status",
            1,
            json!({"status": 400}),
        )
        .await;
    let unverified = json!({"email": "bob@example.test"});
    world.tenant.has(unverified).await;
    world
        .add(&[ADA, "bob@example.test", "broken-address"])
        .await;
    world.arrives(ADA).await;
    world
        .until("select bool_or(disputed is not null) from roster.mirror")
        .await;
    world
        .run("update users set role = 'Admin' where name = 'ada'")
        .await;
    world
        .until("select bool_or(error_class = 'data') from roster.mirror")
        .await;
    world.run("delete from users where name = 'ada'").await;
    eventually("a block", async || {
        world.tenant.account(ADA).await["blocked"] == true
    })
    .await;
    world
        .run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .await;
    running.stop().await;

    let text = logs.text();
    for said in ["user.key", "action=\"create\"", "a person has to decide"] {
        assert!(text.contains(said), "{said} is not in:\n{text}");
    }
    let passwords = world.tenant.requests("POST", "/api/v2/users").await;
    assert!(
        passwords
            .iter()
            .all(|r| r["body"]["password"] != Value::Null)
    );
    for secret in [
        "example.test",
        "broken-address",
        "roster-m2m-secret",
        "Bearer ",
        "eyJ",
        "password\":",
        "/lo/reset",
    ] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

//! Many new users go to Auth0 by import jobs: all of them once, nobody mailed, and whatever happens to a job is found out.

use roster::reactor::Imports;
use serde_json::json;

use crate::support::world::{Running, World};

const USERS: usize = 700;

/// A tenant of 200 writes a minute, where a call for each would take long.
async fn world() -> World {
    let world = World::new().await;
    world
        .tenant
        .control("options", json!({"plan": "essentials"}))
        .await;
    world
}

fn start(world: &World) -> Running {
    world.start(|reactor| {
        reactor.imports = Imports::Auto {
            connection_id: None,
        };
    })
}

async fn all_linked(world: &World) {
    let linked = "select count(*) = 0 from roster.desired_users d \
         where not exists (select from roster.accounts a where a.user_key = d.user_key and a.state = 'linked' and a.call_id is null)";
    world.until(linked).await;
    let accounts = world.tenant.list("users").await;
    assert_eq!(accounts.len(), USERS, "everybody once");
    let (jobs, calls) = imported(world).await;
    assert!(jobs > 0, "a job is begun");
    assert!(calls < USERS / 2, "{calls} users took a call each");
}

/// Jobs that were begun, and users that took a call each.
async fn imported(world: &World) -> (usize, usize) {
    let jobs = world
        .tenant
        .calls("POST", "/api/v2/jobs/users-imports")
        .await;
    let calls = world.tenant.requests("POST", "/api/v2/users").await;
    (jobs, calls.len())
}

/// What began before is over as far as anybody can tell.
async fn deadlines_pass(world: &World) {
    for statement in [
        "update roster.accounts set call_deadline = now() where call_id is not null",
        "update roster.mirror set next_attempt_at = null where due",
    ] {
        // The reactor is at work: of two that wait for each other PostgreSQL lets one go.
        while world.sql.batch_execute(statement).await.is_err() {}
    }
}

#[tokio::test]
async fn many_new_users_go_by_jobs_and_nobody_is_mailed() {
    let world = world().await;
    world
        .run("insert into role_permissions values ('Artist', 'read:songs')")
        .await;
    world.add_many(USERS).await;
    let running = start(&world);
    all_linked(&world).await;
    let last = world
        .tenant
        .account(&format!("user-{USERS}@example.test"))
        .await;
    assert_eq!(last["app_metadata"]["role"], "Artist");
    assert_eq!(last["app_metadata"]["permissions"], json!(["read:songs"]));
    assert_eq!(
        last["identities"][0]["connection"],
        "Username-Password-Authentication"
    );
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    world
        .until("select count(*) = 700 from roster.invitations where state = 'staged'")
        .await;
    // From now on they are as any other: a change is a call, a removal a block.
    world
        .run("update users set role = 'Editor' where id = 700; delete from users where id = 699")
        .await;
    world
        .until("select count(*) = 1 from roster.accounts where blocked_by_us")
        .await;
    world
        .until(
            "select app_metadata->>'role' = 'Editor' from roster.accounts where user_key = '700'",
        )
        .await;
    running.stop().await;
}

#[tokio::test]
async fn few_users_take_calls_and_so_do_many_where_calls_are_fast() {
    for (plan, users) in [("essentials", 100), ("private-cloud1500", USERS)] {
        let world = World::new().await;
        world.tenant.control("options", json!({"plan": plan})).await;
        world.add_many(users).await;
        let running = start(&world);
        let linked =
            format!("select count(*) = {users} from roster.accounts where state = 'linked'");
        world.until(&linked).await;
        assert_eq!(imported(&world).await, (0, users), "{plan}");
        running.stop().await;
    }
}

#[tokio::test]
async fn whom_a_job_refuses_is_settled_as_ever() {
    let world = world().await;
    let there = json!({"email": "user-500@example.test", "email_verified": true, "connection": "Username-Password-Authentication"});
    let id = world.tenant.has(there).await;
    world.add_many(USERS).await;
    let running = start(&world);
    all_linked(&world).await;
    let origin =
        format!("select origin = 'adopted' from roster.accounts where auth0_user_id = '{id}'");
    world.until(&origin).await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_whose_answer_is_lost_is_found_out_user_by_user() {
    for kind in ["cut_after", "cut_before"] {
        let world = world().await;
        world
            .tenant
            .fault("POST /api/v2/jobs/users-imports", kind, 2, json!({}))
            .await;
        world.add_many(USERS).await;
        let running = start(&world);
        world
            .until("select count(*) > 200 from roster.attempts where code = 'answer_lost'")
            .await;
        world
            .tenant
            .control("options", json!({"plan": "private-cloud1500"}))
            .await;
        deadlines_pass(&world).await;
        let linked =
            "select count(*) = 700 from roster.accounts where state = 'linked' and call_id is null";
        world.until(linked).await;
        assert_eq!(
            world.tenant.list("users").await.len(),
            USERS,
            "{kind}: everybody once"
        );
        assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
        running.stop().await;
    }
}

#[tokio::test]
async fn a_job_that_is_under_way_at_a_stop_is_found_out_by_whoever_comes_next() {
    let world = world().await;
    world
        .tenant
        .control("options", json!({"jobs": {"duration_ms": 3_600_000}}))
        .await;
    world.add_many(USERS).await;
    let running = start(&world);
    world.until("select count(*) > 400 from roster.accounts where call_action = 'create' and call_deadline > now() + interval '1 minute'").await;
    running.stop().await;
    assert!(
        world
            .says("select count(*) = 0 from roster.mirror where lease_by is not null")
            .await,
        "no lease is left"
    );
    // It ends only now.
    world
        .tenant
        .control(
            "options",
            json!({"plan": "private-cloud1500", "jobs": {"duration_ms": 0}}),
        )
        .await;
    deadlines_pass(&world).await;
    let running = start(&world);
    world
        .until(
            "select count(*) = 700 from roster.accounts where state = 'linked' and call_id is null",
        )
        .await;
    assert_eq!(
        world.tenant.list("users").await.len(),
        USERS,
        "everybody once"
    );
    running.stop().await;
}

#[tokio::test]
async fn without_the_right_to_see_the_connection_everybody_takes_a_call() {
    let world = world().await;
    world
        .tenant
        .fault(
            "GET /api/v2/connections",
            "status",
            100,
            json!({"status": 403}),
        )
        .await;
    world.add_many(USERS).await;
    let running = start(&world);
    crate::support::world::eventually("a question", async || {
        world.tenant.calls("GET", "/api/v2/connections").await > 0
    })
    .await;
    world
        .tenant
        .control("options", json!({"plan": "private-cloud1500"}))
        .await;
    world
        .until("select count(*) = 700 from roster.accounts where state = 'linked'")
        .await;
    assert_eq!(imported(&world).await.0, 0);
    running.stop().await;
}

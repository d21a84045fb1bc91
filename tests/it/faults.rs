//! Auth0 and the network misbehave, reactors die at the worst moment: nothing is lost, made twice or mailed twice.

mod successors;

use std::time::Duration;

use roster::db::mirror::LOST_CALL_WAIT;
use serde_json::{Value, json};

use crate::support::world::{World, eventually};

const CREATE: &str = "POST /api/v2/users";
const PATCH: &str = "PATCH /api/v2/users/{id}";
const INVITE: &str = "POST /dbconnections/change_password";
const ADA: &str = "ada@example.test";

/// One account, one mail, nothing left to do.
async fn ada_was_made_once(world: &World) {
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert_eq!(world.tenant.account(ADA).await["name"], "ada");
    assert_eq!(world.tenant.mailed().await, [ADA]);
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_found_by_its_id() {
    let world = World::new().await;
    world.tenant.fault(CREATE, "cut_after", 1, json!({})).await;
    world.add(&[ADA]).await;
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    world.settle_in_time().await;
    ada_was_made_once(&world).await;
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
    assert_eq!(world.tenant.calls("GET", "/api/v2/users/").await, 1);
}

#[tokio::test]
async fn a_create_that_never_arrived_is_made_later_and_once() {
    let world = World::new().await;
    world.tenant.fault(CREATE, "cut_before", 2, json!({})).await;
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    ada_was_made_once(&world).await;
    let tries = world.tenant.requests("POST", "/api/v2/users").await;
    let ids: Vec<&Value> = tries.iter().map(|r| &r["body"]["user_id"]).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "the id stays: {ids:?}");
}

#[tokio::test]
async fn a_change_arrives_whatever_happened_to_the_first_tries() {
    for (kind, more) in [
        ("cut_after", json!({})),
        ("cut_before", json!({})),
        ("status", json!({"status": 500})),
        ("status", json!({"status": 503})),
        ("status", json!({"status": 502, "body": {}})),
    ] {
        let world = World::new().await;
        world.add(&[ADA]).await;
        world.settle().await;
        world.tenant.fault(PATCH, kind, 2, more).await;
        world.run("update users set role = 'Admin'").await;
        world.settle_in_time().await;
        let user = world.tenant.account(ADA).await;
        assert_eq!(user["app_metadata"]["role"], "Admin", "{kind}");
        ada_was_made_once(&world).await;
    }
}

#[tokio::test]
async fn a_lost_block_is_looked_at_and_not_taken_for_done() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world.tenant.fault(PATCH, "cut_before", 1, json!({})).await;
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    // It is Roster's own block, so it is lifted when the person returns; also where the answer to the block was lost.
    world.add(&[ADA]).await;
    world.settle().await;
    world.tenant.fault(PATCH, "cut_after", 1, json!({})).await;
    world.run("update users set blocked = true").await;
    world.settle_in_time().await;
    world.run("update users set blocked = false").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], false);
}

#[tokio::test]
async fn a_change_that_takes_longer_than_its_deadline_is_looked_at() {
    let mut world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.reactor = world
        .another_with(|client| client.call_timeout = Duration::from_millis(300))
        .await;
    let slow = json!({"delay_ms": 2000});
    world.tenant.fault(PATCH, "delay", 1, slow).await;
    world.run("update users set role = 'Admin'").await;
    world.settle().await;
    assert_eq!(
        world.plan().await,
        ["1 look waiting"],
        "perhaps it was applied"
    );
    world.settle_in_time().await;
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Admin"
    );
    ada_was_made_once(&world).await;
}

#[tokio::test]
async fn a_tenant_that_says_too_many_is_waited_for_and_everything_arrives() {
    for headers in [json!({"retry-after": "1"}), json!({})] {
        let world = World::new().await;
        let refusal = json!({"status": 429, "headers": headers});
        world.tenant.fault(CREATE, "status", 3, refusal).await;
        world.add_many(10).await;
        let running = world.start(|_| {});
        let everybody = "select count(*) = 10 from users where auth0_user_id is not null";
        world.until(everybody).await;
        world
            .until("select not bool_or(due) from roster.mirror")
            .await;
        running.stop().await;
        assert_eq!(world.tenant.list("users").await.len(), 10);
        assert_eq!(world.tenant.list("mail").await.len(), 10);
    }
}

#[tokio::test]
async fn a_small_rate_limit_is_kept_and_everything_arrives() {
    let world = World::new().await;
    let plan = json!({"plan": "essentials"});
    world.tenant.control("options", plan).await;
    world.add_many(30).await;
    let running = world.start(|_| {});
    let everybody = "select count(*) = 30 from users where auth0_user_id is not null";
    world.until(everybody).await;
    running.stop().await;
    let creates = world.tenant.requests("POST", "/api/v2/users").await;
    let refused = creates.iter().filter(|r| r["status"] == 429).count();
    assert_eq!(creates.len() - refused, 30);
    assert!(refused <= 5, "{refused} of {} were refused", creates.len());
}

#[tokio::test]
async fn refused_credentials_are_told_and_work_resumes_once_they_are_right() {
    let mut world = World::new().await;
    let refusal = json!({"status": 401, "body": {"error": "access_denied", "error_description": "Unauthorized"}});
    world
        .tenant
        .fault("POST /oauth/token", "status", 1000, refusal)
        .await;
    world.add(&[ADA, "bob@example.test"]).await;
    world.settle_in_time().await;
    let problems = world.problems().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let told = "select users || ' ' || problem || ': ' || advice from roster.problems";
    assert_eq!(
        world.texts(told).await,
        [
            "2 failing: The tenant or the credentials refuse the call. Check the client, its scopes and auth0.connection."
        ]
    );
    // Two users and many tries, yet the token endpoint is left in peace.
    assert_eq!(world.tenant.calls("POST", "/oauth/token").await, 1);
    world.tenant.mend().await;
    world.reactor = world.another().await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_invitation_whose_answer_was_lost_is_never_sent_again_by_itself() {
    let world = World::new().await;
    world.tenant.fault(INVITE, "cut_after", 1, json!({})).await;
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.mailed().await, [ADA]);
    assert_eq!(world.plan().await, ["1 invite parked"]);
    assert_eq!(
        world.problems().await,
        ["invitation unknown invitation_unknown"]
    );
    // It does not stand in the way of other changes.
    world.run("update users set role = 'Admin'").await;
    world.settle().await;
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Admin"
    );
    world.run("select roster.invite('ada@example.test')").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, [ADA, ADA]);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_invitation_that_was_surely_not_sent_is_sent_later() {
    let world = World::new().await;
    let refusal = json!({"status": 429});
    world.tenant.fault(INVITE, "status", 1, refusal).await;
    world.add(&[ADA]).await;
    world.settle_in_time().await;
    ada_was_made_once(&world).await;
}

#[tokio::test]
async fn a_table_that_somebody_holds_keeps_nobodys_id_waiting_and_is_no_fault_of_a_user() {
    let world = World::new().await;
    world.add_many(20).await;
    world.fold().await;
    // What reads the table passes; what writes it would wait for each row.
    world
        .run("begin; lock table users in share row exclusive mode")
        .await;
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 20);
    assert!(
        world
            .says("select bool_and(lease_by is null) from roster.mirror")
            .await
    );
    world.run("commit").await;
    assert!(
        world
            .says("select bool_and(auth0_user_id is null) from users")
            .await
    );
    world.sweep().await;
    assert!(
        world
            .says("select bool_and(auth0_user_id is not null) from users")
            .await
    );
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_plan_that_waits_for_a_table_is_read_again_and_blames_nobody() {
    let world = World::new().await;
    world.add(&[ADA, "bob@example.test"]).await;
    world.fold().await;
    world.run("begin; lock table users").await;
    let reactor = world.reactor.clone();
    let works = tokio::spawn(async move { reactor.settle().await });
    let gave_up = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    world.until(gave_up).await;
    // Until the wait was given up once.
    world
        .until(&gave_up.replace("select exists", "select not exists"))
        .await;
    world.run("commit").await;
    let _ = works.await.expect("alive");
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_user_whom_the_database_refuses_holds_up_nobody_else() {
    let world = World::new().await;
    world
        .run(
            "create function public.refuse() returns trigger language plpgsql as \
             $$ begin raise exception 'not this one'; end $$; \
             create trigger refuse before insert on roster.accounts for each row \
             when (new.user_key = '2') execute function public.refuse(); \
             insert into users (email) select 'p' || n || '@example.test' from generate_series(1, 40) n",
        )
        .await;
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 39);
    assert!(world.tenant.user("p2@example.test").await.is_none());
    assert_eq!(
        world.texts("select code from roster.problems").await,
        ["database_refused"]
    );
    world.run("drop trigger refuse on roster.accounts").await;
    world.settle_in_time().await;
    assert!(world.tenant.user("p2@example.test").await.is_some());
}

#[tokio::test]
async fn what_a_role_may_do_is_not_forgotten_where_its_users_are_at_work() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let slow = json!({"delay_ms": 500});
    world.tenant.fault(PATCH, "delay", 1, slow).await;
    world.run("update users set role = 'Admin'").await;
    let reactor = world.reactor.clone();
    let works = tokio::spawn(async move { reactor.settle().await });
    eventually("the call arrives", async || world.tenant.has_struck().await).await;
    // The change names nobody, so everybody is looked at.
    world
        .run("insert into role_permissions values ('Admin', 'all:all')")
        .await;
    world.fold().await;
    works.await.expect("alive").expect("settled");
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["permissions"], json!(["all:all"]));
}

#[tokio::test]
async fn an_address_that_is_taken_is_tried_again_for_a_while_and_then_left_to_a_person() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let taken = json!({"status": 400, "body": {
        "statusCode": 400, "error": "Bad Request", "message": "The specified new email already exists", "errorCode": "auth0_idp_error",
    }});
    world.tenant.fault(PATCH, "status", 1, taken.clone()).await;
    world
        .run("update users set email = 'king@example.test'")
        .await;
    world.settle().await;
    assert_eq!(world.problems().await, ["failing address_taken"]);
    world.settle_in_time().await;
    assert!(world.tenant.user("king@example.test").await.is_some());

    world.tenant.fault(PATCH, "status", 1000, taken).await;
    world
        .run("update users set email = 'ada@example.test'")
        .await;
    for _ in 0..2 {
        world.settle_in_time().await;
    }
    assert_eq!(world.problems().await, ["parked address_taken"]);
}

const ROUTES: [&str; 5] = [
    CREATE,
    PATCH,
    INVITE,
    "GET /api/v2/users/{id}",
    "GET /api/v2/users-by-email",
];

#[tokio::test]
async fn after_an_outage_of_an_hour_everything_arrives_within_the_longest_wait() {
    let mut world = World::new().await;
    // Waits as they are.
    world.reactor.terms.jitter = rand::random;
    world.reactor.terms.lost_call_wait = LOST_CALL_WAIT;
    world.add(&[ADA, "bob@example.test"]).await;
    world.settle().await;
    for route in ROUTES {
        let down = json!({"status": 503});
        world.tenant.fault(route, "status", 100_000, down).await;
    }
    world
        .run("update users set role = 'Admin' where name = 'ada'; delete from users where name = 'bob'")
        .await;
    world.add(&["carol@example.test"]).await;
    world.tenant.forget_requests().await;
    let longest = "select coalesce(extract(epoch from max(next_attempt_at) - now()), 0)::integer::text from roster.mirror where due";
    let (mut waits, mut hour) = (Vec::new(), 0);
    while hour < 3600 {
        world.settle().await;
        let wait: i32 = world.texts(longest).await[0].parse().expect("seconds");
        let pass = format!(
            "update roster.mirror set next_attempt_at = next_attempt_at - make_interval(secs => {wait} + 1); \
             update roster.accounts set call_deadline = now() where call_id is not null"
        );
        world.run(&pass).await;
        waits.push(wait);
        hour += wait + 1;
    }
    assert!(waits.iter().all(|wait| *wait <= 300), "{waits:?}");
    let tries = world.tenant.list("requests").await.len();
    assert!(tries < 400, "three users, {tries} tries");
    assert!(
        world
            .says("select failing = 3 and pending = 3 from roster.status")
            .await
    );
    let told =
        "select users || ' ' || problem || ' ' || code || ': ' || advice from roster.problems";
    assert_eq!(
        world.texts(told).await,
        [
            "3 failing server_error: Auth0 could not be reached or failed; it is tried again by itself."
        ]
    );

    world.tenant.mend().await;
    world.settle_in_time().await;
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Admin"
    );
    assert_eq!(
        world.tenant.account("bob@example.test").await["blocked"],
        true
    );
    assert!(world.tenant.user("carol@example.test").await.is_some());
    assert_eq!(world.tenant.mailed().await.len(), 3);
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_token_endpoint_that_is_out_of_order_is_asked_again_and_nobody_has_to_restart_anything() {
    for (status, headers, code) in [
        (429, json!({"retry-after": "1"}), "token_throttled"),
        (500, json!({}), "token_unavailable"),
        (503, json!({}), "token_unavailable"),
    ] {
        let world = World::new().await;
        let refusal = json!({"status": status, "headers": headers});
        world
            .tenant
            .fault("POST /oauth/token", "status", 1000, refusal)
            .await;
        world.add(&[ADA]).await;
        world.settle_in_time().await;
        assert_eq!(world.tenant.list("users").await.len(), 0);
        assert_eq!(world.problems().await, [format!("failing {code}")]);
        world.tenant.mend().await;
        eventually("an account and a mail", async || {
            world.settle_in_time().await;
            world.tenant.mailed().await.len() == 1
        })
        .await;
        ada_was_made_once(&world).await;
    }
}

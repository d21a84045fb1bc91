//! Reactors that die or come too late: another one takes over, and nothing is done twice.

use serde_json::json;

use super::{ADA, CREATE, INVITE, PATCH, ada_was_made_once};
use crate::support::world::{World, eventually};

const CREATING: &str = "select exists (select from roster.accounts where call_action = 'create')";
const INVITING: &str = "select exists (select from roster.invitations where state = 'sending')";

/// The reactor dies when Auth0 has applied the call that `in_flight` tells of, and before the answer is recorded.
async fn dies_before_it_records(world: &World, in_flight: &str, applied: impl AsyncFn() -> bool) {
    let reactor = world.reactor.clone();
    let works = tokio::spawn(async move { reactor.settle().await });
    world.until(in_flight).await;
    // Whoever holds the row keeps the answer from being recorded.
    let editor = world.database.client().await;
    editor
        .batch_execute("begin; select from roster.mirror for update")
        .await
        .expect("held rows");
    eventually("the call is applied", applied).await;
    works.abort();
    assert!(works.await.expect_err("died").is_cancelled());
    editor.batch_execute("rollback").await.expect("let go");
}

#[tokio::test]
async fn a_reactor_that_dies_between_a_create_and_its_record_is_succeeded_without_a_second_account()
{
    let world = World::new().await;
    let slow = json!({"delay_ms": 1000});
    world.tenant.fault(CREATE, "delay", 1, slow).await;
    world.add(&[ADA]).await;
    dies_before_it_records(&world, CREATING, async || {
        world.tenant.user(ADA).await.is_some()
    })
    .await;
    // Before the deadline nobody does anything: the call might still be under way.
    let another = world.another().await;
    another.settle().await.expect("nothing to do");
    assert_eq!(world.tenant.calls("GET", "/api/v2/users/").await, 0);
    world.time_passes().await;
    another.settle().await.expect("settled");
    ada_was_made_once(&world).await;
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
}

#[tokio::test]
async fn a_reactor_that_dies_before_its_call_arrives_is_succeeded() {
    let world = World::new().await;
    let slow = json!({"delay_ms": 60_000});
    world.tenant.fault(CREATE, "delay", 1, slow).await;
    world.add(&[ADA]).await;
    let reactor = world.reactor.clone();
    let works = tokio::spawn(async move { reactor.settle().await });
    eventually("the call arrives", async || world.tenant.has_struck().await).await;
    works.abort();
    assert!(works.await.expect_err("died").is_cancelled());
    world.time_passes().await;
    let another = world.another().await;
    another.settle().await.expect("settled");
    ada_was_made_once(&world).await;
}

#[tokio::test]
async fn a_reactor_that_dies_over_an_invitation_leaves_it_unknown_and_not_sent_twice() {
    let world = World::new().await;
    let slow = json!({"delay_ms": 1000});
    world.tenant.fault(INVITE, "delay", 1, slow).await;
    world.add(&[ADA]).await;
    dies_before_it_records(&world, INVITING, async || {
        world.tenant.mailed().await.len() == 1
    })
    .await;
    world.time_passes().await;
    world
        .run("update roster.invitations set changed_at = now() - interval '2 minutes'")
        .await;
    let another = world.another().await;
    another.settle().await.expect("settled");
    assert_eq!(world.tenant.mailed().await, [ADA]);
    assert_eq!(
        world.problems().await,
        ["invitation unknown invitation_unknown"]
    );
}

#[tokio::test]
async fn a_late_result_is_refused_after_the_lease_was_taken_over() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    let slow = json!({"delay_ms": 1500});
    world.tenant.fault(PATCH, "delay", 1, slow).await;
    world.run("update users set role = 'Admin'").await;
    let late = world.reactor.clone();
    let late_id = late.terms.reactor;
    let works = tokio::spawn(async move { late.settle().await });
    world
        .until("select bool_or(call_id is not null) from roster.accounts")
        .await;
    world
        .run("update roster.mirror set lease_until = now()")
        .await;
    let another = world.another().await;
    another.settle().await.expect("settled");
    works.await.expect("alive").expect("settled");
    let by_late = format!(
        "select action from roster.attempts where reactor = '{late_id}' and action = 'update'"
    );
    assert_eq!(world.texts(&by_late).await, Vec::<String>::new());
    assert!(
        world
            .says("select bool_or(call_id is not null) from roster.accounts")
            .await,
        "the call still counts as unanswered"
    );
    world.time_passes().await;
    another.settle().await.expect("settled");
    assert_eq!(
        world.tenant.account(ADA).await["app_metadata"]["role"],
        "Admin"
    );
    assert_eq!(world.tenant.patches().await.len(), 1);
    ada_was_made_once(&world).await;
}

#[tokio::test]
async fn two_reactors_share_a_hundred_new_rows_and_do_none_twice() {
    let world = World::new().await;
    let slow = json!({"delay_ms": 20});
    world.tenant.fault(CREATE, "delay", 100, slow).await;
    world.add_many(100).await;
    world.fold().await;
    let another = world.another().await;
    let (one, two) = tokio::join!(world.reactor.settle(), another.settle());
    one.and(two).expect("settled");
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 100);
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 100);
    let mut mailed = world.tenant.mailed().await;
    mailed.sort();
    mailed.dedup();
    assert_eq!(mailed.len(), 100);
    assert_eq!(world.tenant.list("mail").await.len(), 100);
    let workers = "select distinct reactor::text from roster.attempts where action = 'create'";
    assert_eq!(world.texts(workers).await.len(), 2, "both worked");
    // Each of them fetched one token, for all its calls.
    assert_eq!(world.tenant.calls("POST", "/oauth/token").await, 2);
}

#[tokio::test]
async fn a_reactor_that_dies_over_a_block_is_succeeded_also_where_auth0_refused_what_came_with_it()
{
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    let refusal = json!({"status": 400});
    world.tenant.fault(PATCH, "status", 1, refusal).await;
    world
        .run("update users set blocked = true, role = 'Admin' where email = 'ada@example.test'")
        .await;
    world.settle().await;
    world.time_passes().await;
    let slow = json!({"delay_ms": 60_000});
    world.tenant.fault(PATCH, "delay", 1, slow).await;
    let reactor = world.reactor.clone();
    let works = tokio::spawn(async move { reactor.settle().await });
    eventually("the call arrives", async || world.tenant.has_struck().await).await;
    works.abort();
    assert!(works.await.expect_err("died").is_cancelled());
    world.settle_in_time().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
    assert_eq!(world.plan().await, Vec::<String>::new());
}

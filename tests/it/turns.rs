//! A turn records what the last calls came to and begins the next ones, of many users at once: what two users of a turn or two turns at a
//! time could do to each other, and what changes while a turn is read or a call waits to be made.

mod meanwhile;

use roster::{
    auth0::Patch,
    db::{
        begin::Begun,
        done::Done,
        mirror::{self, Claim},
    },
    reactor::apply,
};
use serde_json::json;
use std::time::Duration;

use crate::support::{
    sql::{SETTLE, Sql},
    world::{World, eventually},
};

const ADA: &str = "ada@example.test";
const BOB: &str = "bob@example.test";

async fn claimed(world: &World, limit: usize) -> Vec<Claim> {
    mirror::claim(&world.reactor.pool, &world.reactor.terms, limit, &[])
        .await
        .expect("claims")
}

async fn turn(world: &World, claims: &[Claim], done: &[Done]) -> Vec<Begun> {
    let (pool, terms) = (&world.reactor.pool, &world.reactor.terms);
    mirror::turn(pool, terms, claims, done, true)
        .await
        .expect("a turn")
        .begun
}

/// Until so many sessions wait for a lock of this kind.
async fn wait_for_locks(world: &World, number: usize) {
    let waiting = format!(
        "select count(*) = {number} from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())"
    );
    eventually("sessions that wait", async || world.says(&waiting).await).await;
}

#[tokio::test]
async fn a_block_that_somebody_lifted_is_set_again_as_soon_as_an_answer_shows_it() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("update users set blocked = true").await;
    world.settle().await;
    let lifted = Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world.tenant.somebody_patches(ADA, lifted).await;
    world.run("update users set name = 'Ada King'").await;
    world.settle().await;
    let ada = world.tenant.account(ADA).await;
    assert_eq!(
        (&ada["name"], &ada["blocked"]),
        (&"Ada King".into(), &true.into())
    );
}

#[tokio::test]
async fn a_pause_that_begins_while_a_plan_is_read_forgets_nobody() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.fold().await;
    let claims = claimed(&world, 16).await;
    world.run("begin; lock table users").await;
    let (begun, ()) = tokio::join!(turn(&world, &claims, &[]), async {
        wait_for_locks(&world, 1).await;
        let operator = world.database.client().await;
        let pause = "select roster.pause('a look')";
        operator.batch_execute(pause).await.expect(pause);
        world.run("commit").await;
    });
    assert_eq!(begun.len(), 0, "a pause is a pause");
    world.run("select roster.resume()").await;
    world.settle().await;
    assert!(world.tenant.user(ADA).await.is_some());
}

#[tokio::test]
async fn whoever_got_no_turn_makes_room_for_a_removal() {
    let world = World::new().await;
    world.add(&[ADA, BOB]).await;
    world.settle().await;
    world
        .run("update users set role = 'Admin' where email = 'ada@example.test'")
        .await;
    world.fold().await;
    let claims = claimed(&world, 16).await;
    let begun = turn(&world, &claims, &[]).await;
    assert_eq!(begun.len(), 1);
    world
        .run("delete from users where email = 'bob@example.test'")
        .await;
    world.fold().await;
    let not_made: Vec<Done> = begun.into_iter().map(apply::not_made).collect();
    assert_eq!(turn(&world, &claims, &not_made).await.len(), 0);
    let next = claimed(&world, 1).await;
    assert_eq!(next[0].user_key, "2");
    world.settle_in_time().await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    assert_eq!(world.tenant.account(BOB).await["blocked"], true);
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "Admin");
}

#[tokio::test]
async fn a_late_result_is_refused_although_the_same_reactor_has_the_user_again() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("update users set role = 'Editor'").await;
    world.fold().await;
    let lost = claimed(&world, 16).await;
    let begun = turn(&world, &lost, &[]).await.remove(0);
    let late = apply::apply(&world.reactor.client, begun).await;
    // What it came to is not recorded in time. Meanwhile the role becomes another one and is to be the same again.
    world.time_passes().await;
    world.run("update users set role = 'Admin'").await;
    world.settle().await;
    world.run("update users set role = 'Editor'").await;
    world.fold().await;
    assert_eq!(claimed(&world, 16).await.len(), 1);
    assert_eq!(turn(&world, &lost, &[late]).await.len(), 0);
    world.settle_in_time().await;
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "Editor");
}

#[tokio::test]
async fn a_write_that_could_outlast_its_deadline_is_not_sent() {
    let mut world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("update users set role = 'Editor'").await;
    world.fold().await;
    // Nothing is left of it for the time before the call is sent.
    world.reactor.terms.call_deadline = world.reactor.client.longest_exchange();
    let claims = claimed(&world, 16).await;
    let begun = turn(&world, &claims, &[]).await.remove(0);
    let done = apply::apply(&world.reactor.client, begun).await;
    assert_ne!(done.code(), "ok");
    assert_eq!(world.tenant.calls("PATCH", "/api/v2/users/").await, 0);
}

#[tokio::test]
async fn a_call_whose_marking_took_too_long_to_commit_is_begun_again() {
    let world = World::new().await;
    world
        .run(
            "create table begun (call_id uuid); \
             create function note() returns trigger language plpgsql as $$ begin insert into public.begun values (new.call_id); return new; end $$; \
             create trigger note before insert or update on roster.accounts for each row when (new.call_id is not null) execute function note(); \
             create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(5.5); return new; end $$; \
             create constraint trigger dawdle after insert on roster.accounts deferrable initially deferred for each row execute function dawdle()",
        )
        .await;
    world.add(&[ADA]).await;
    world.settle().await;
    // A deadline counts from the mark, so a call that is made so late could outlast it.
    assert!(
        world
            .says("select count(distinct call_id) = 2 from begun")
            .await
    );
    assert_eq!(world.tenant.calls("POST", "/api/v2/users").await, 1);
}

#[tokio::test]
async fn two_turns_at_a_time_send_no_more_invitations_than_one() {
    let mut world = World::new().await;
    world.reactor.terms.invitations_per_minute = 0;
    world.add_many(6).await;
    world.settle().await;
    world.time_passes().await;
    world.reactor.terms.invitations_per_minute = 2;
    let claims = claimed(&world, 16).await;
    let (some, others) = claims.split_at(3);
    // Both come as far as they can before either ends.
    world
        .run("begin; lock table roster.mirror in share mode")
        .await;
    let (some, others, ()) =
        tokio::join!(turn(&world, some, &[]), turn(&world, others, &[]), async {
            wait_for_locks(&world, 2).await;
            world.run("commit").await;
        });
    assert_eq!(some.len() + others.len(), 2);
}

#[tokio::test]
async fn of_two_rows_of_one_turn_that_claim_an_account_one_gets_it() {
    let world = World::new().await;
    world.add(&[ADA, BOB]).await;
    world.settle().await;
    world
        .run(
            "create temp table hers as select auth0_user_id as id from users where email = 'ada@example.test'; \
             delete from users where email = 'ada@example.test'; \
             insert into users (email, auth0_user_id) select 'eve@example.test', id from hers; \
             insert into users (email) values ('ada@example.test')",
        )
        .await;
    world.fold().await;
    let claims = claimed(&world, 16).await;
    turn(&world, &claims, &[]).await;
    let taken = world
        .texts("select user_key from roster.attempts where action = 'rekey'")
        .await;
    let owner = world
        .texts("select a.user_key from roster.accounts a join hers h on h.id = a.auth0_user_id")
        .await;
    assert_eq!(taken, owner, "once, and for good");
}

#[tokio::test]
async fn an_address_claimed_from_somebody_who_is_at_work_is_news_of_that_user() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) values ('ada@example.test'), ('bob@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("delete from users where id = 1").await;
    sql.run("insert into users (id, email) values (1, 'eve@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("update roster.accounts set blocked = true, blocked_by_us = true where incarnation = 1 and user_key = '1'")
        .await;
    sql.run("update users set role = 'Admin' where id = 1; select roster.fold()")
        .await;
    let generation = "select generation from roster.mirror where user_key = '1'";
    let before = sql.row(generation).await;
    sql.run("update users set email = 'ada@example.test' where id = 2; select roster.fold()")
        .await;
    assert!(sql.plan().await.contains(&"1 move aside due".to_owned()));
    // Else the end of the update could be taken for the end of all there is to do.
    assert_ne!(sql.row(generation).await, before);
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_not_asked_for_without_a_break() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.fold().await;
    world
        .run("update roster.mirror set next_attempt_at = now() - interval '1 s'")
        .await;
    world
        .run("begin; select from roster.mirror for update")
        .await;
    assert_eq!(claimed(&world, 16).await, []);
    let next = mirror::next_due(&world.reactor.pool).await.expect("a time");
    assert!(next >= Some(Duration::from_millis(50)), "{next:?}");
}

#[tokio::test]
async fn rows_that_somebody_holds_keep_nobody_else_waiting() {
    let world = World::new().await;
    world
        .add(&[ADA, BOB, "cyd@example.test", "dan@example.test"])
        .await;
    world.settle().await;
    let slow = json!({"delay_ms": 2000});
    world
        .tenant
        .fault("PATCH /api/v2/users/{id}", "delay", 3, slow)
        .await;
    let running = world.start(|_| {});
    world.listening(&running).await;
    world
        .run("update users set role = 'Admin' where id < 4")
        .await;
    world
        .until("select count(*) = 3 from roster.accounts where call_id is not null")
        .await;
    // A person in the middle of something, with calls under way.
    let person = world.database.client().await;
    let holds = "begin; select from roster.mirror where user_key in ('1', '2', '3') for update";
    person.batch_execute(holds).await.expect("held rows");
    eventually("the answers", async || {
        let users = world.tenant.list("users").await;
        let changed = users
            .iter()
            .filter(|user| user["app_metadata"]["role"] == "Admin");
        changed.count() == 3
    })
    .await;
    world.run("delete from users where id = 4").await;
    eventually("a block", async || {
        world.tenant.account("dan@example.test").await["blocked"] == true
    })
    .await;
    assert!(
        world
            .says("select count(*) = 3 from roster.accounts where call_id is not null and user_key <> '4'")
            .await,
        "they are held still"
    );
    person.batch_execute("rollback").await.expect("let go");
    world
        .until("select count(*) = 0 from roster.mirror where due")
        .await;
    running.stop().await;
    assert_eq!(world.plan().await, Vec::<String>::new());
}

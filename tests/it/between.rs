//! What happens between two steps: a change that commits after the last fold and before the next plan, a person who comes back
//! by a way that nobody saw, a call that is still open when somebody else claims the account; and rows that the view, Auth0 or the
//! database has trouble with.

use serde_json::{Value, json};

use roster::db::{
    mirror::{self, Terms},
    write_back,
};
use tokio_postgres::error::SqlState;

use crate::support::{
    logs::Logs,
    sql::{SETTLE, Sql},
    world::{World, eventually, text},
};

const ADA: &str = "ada@example.test";

#[tokio::test]
async fn a_recycled_key_means_another_person_also_when_the_insert_comes_between_fold_and_plan() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    let ada = world.tenant.account(ADA).await;
    world.tenant.forget_requests().await;
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.fold().await;
    let claims = mirror::claim(&world.reactor.pool, &world.reactor.terms, 16, &[])
        .await
        .expect("claims");
    assert_eq!(claims.len(), 1);
    // A script that deletes and inserts, in two transactions: the second commits while the first is being worked on.
    world
        .run("insert into users (id, email) values (1, 'eve@example.test')")
        .await;
    let begun = mirror::turn(
        &world.reactor.pool,
        &world.reactor.terms,
        &claims,
        &[],
        true,
    )
    .await
    .expect("a turn")
    .begun;
    let actions: Vec<&str> = begun.iter().map(|call| call.row.action.as_str()).collect();
    assert_eq!(
        actions, [""; 0],
        "whose the key is is not known before the fold"
    );
    world.settle_in_time().await;
    let users = world.tenant.list("users").await;
    let old = users
        .iter()
        .find(|u| u["user_id"] == ada["user_id"])
        .expect("her account");
    assert_eq!(
        (&old["email"], &old["blocked"]),
        (&ada["email"], &Value::Bool(true))
    );
    assert_ne!(
        world.tenant.account("eve@example.test").await["user_id"],
        ada["user_id"]
    );
    assert_eq!(world.plan().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_id_is_not_written_into_the_row_of_another_person_who_got_the_key_meanwhile() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    let ada = world.tenant.account(ADA).await;
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.settle().await;
    world
        .run("insert into users (id, email) values (1, 'eve@example.test')")
        .await;
    write_back::write_back(&world.reactor.pool, None)
        .await
        .expect("ids written back");
    let eves = "select auth0_user_id is null from users where id = 1";
    assert!(world.says(eves).await);
    // Who looked for such rows before the key changed hands notices it when the id is written.
    let write = format!("select roster.write_id('1', '{}')", text(&ada["user_id"]));
    let refused = world
        .sql
        .batch_execute(&write)
        .await
        .expect_err("a refusal");
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert!(world.says(eves).await);
    world.settle_in_time().await;
    let eve = world.tenant.account("eve@example.test").await;
    assert_ne!(eve["user_id"], ada["user_id"]);
    let written = format!(
        "select auth0_user_id = '{}' from users where id = 1",
        text(&eve["user_id"])
    );
    assert!(world.says(&written).await);
}

#[tokio::test]
async fn an_account_whose_create_was_not_answered_is_no_stranger_to_who_has_its_address_now() {
    let world = World::new().await;
    for (fault, email) in [("cut_after", ADA), ("cut_before", "bob@example.test")] {
        let route = "POST /api/v2/users";
        world.tenant.fault(route, fault, 1, json!({})).await;
        world.add(&[email]).await;
        world.settle().await;
    }
    world
        .run(
            "update users set email = 'king@example.test' where id = 1; update users set email = 'ada@example.test' where id = 2; \
             select roster.fold(); update roster.mirror set next_attempt_at = null; \
             update roster.accounts set call_deadline = now() + case user_key when '1' then interval '1 hour' else '0' end",
        )
        .await;
    // Bob is looked for under the address, while nobody knows yet that Ada's account was made with it.
    world.settle().await;
    assert_eq!(
        world.problems().await,
        ["failing account_of_another_user"],
        "tried again, and no person is asked"
    );
    world.settle_in_time().await;
    let names = ["king@example.test", ADA]
        .map(async |email| world.tenant.account(email).await["name"].clone());
    assert_eq!(futures_util::future::join_all(names).await, ["ada", "bob"]);
    assert_eq!(world.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_verdict_on_a_removal_ends_when_the_sweep_finds_the_person_back() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) values ('ada@example.test'), ('bob@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("update roster.settings set guard_protected = array['1']")
        .await;
    const ALL: &str = "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
        '{}'::text[] as permissions, blocked, auth0_user_id::text, '{}'::jsonb as app_metadata, '{}'::jsonb as user_metadata from public.users";
    let narrowed = format!("{ALL} where id <> 1; select roster.sweep()");
    sql.run(&narrowed).await;
    assert_eq!(sql.plan().await, ["1 block held"]);
    sql.run("select roster.release_held('all'); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block due"]);
    sql.run(&format!("{ALL}; select roster.sweep()")).await;
    assert_eq!(sql.plan().await, [""; 0]);
    sql.run(&narrowed).await;
    assert_eq!(
        sql.plan().await,
        ["1 block held"],
        "it was another removal that was released"
    );
}

#[tokio::test]
async fn an_account_with_an_open_call_is_looked_at_before_somebody_takes_it_over() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) values ('ada@example.test'), ('bob@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("delete from users where id = 1; select roster.fold(); \
        update roster.accounts set call_id = gen_random_uuid(), call_action = 'block', call_deadline = now() - interval '1 s' where user_key = '1'").await;
    sql.run("insert into users (id, email) values (7, 'ada@example.test'); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 look due", "7 rekey waiting"]);
    // All accounts of a person are taken over together.
    sql.run(
        "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, blocked, call_id, call_action, call_deadline) \
         select 'google-oauth2|1', user_key, incarnation, 'further', 'linked', true, call_id, call_action, call_deadline from roster.accounts where user_key = '1'; \
         update roster.accounts set call_id = null, call_action = null, call_deadline = null where origin = 'made' and user_key = '1'",
    )
    .await;
    assert!(
        sql.plan().await.contains(&"7 rekey waiting".to_owned()),
        "{:?}",
        sql.plan().await
    );
}

#[tokio::test]
async fn a_person_under_a_new_key_is_not_invited_again() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await.len(), 2);
    world
        .run("delete from users where email = 'ada@example.test'")
        .await;
    world.settle().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world.run("select roster.resync('ada@example.test')").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await.len(), 2);
    // A person may still want another one.
    world.run("select roster.invite('ada@example.test')").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await.len(), 3);
}

#[tokio::test]
async fn a_user_whose_blocked_is_null_is_not_blocked() {
    let sql = Sql::enforcing().await;
    sql.run("alter table users alter column blocked drop not null; insert into users (email, blocked) values ('ada@example.test', true)").await;
    sql.run("select roster.fold()").await;
    sql.run("insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state) values ('auth0|1', '1', 1, 'made', 'chosen')").await;
    sql.run("update users set blocked = null; update roster.mirror set look_wanted = false")
        .await;
    assert_eq!(sql.plan().await, ["1 create due"]);
    sql.run("update roster.accounts set state = 'linked', email = 'ada@example.test', blocked = true, blocked_by_us = true, observed_at = now(), app_metadata = '{\"role\": \"Artist\", \"permissions\": []}'").await;
    assert_eq!(sql.plan().await, ["1 unblock due"]);
}

#[tokio::test]
async fn a_key_that_the_view_shows_twice_is_disputed_and_holds_up_nobody_else() {
    let world = World::new().await;
    let view = |role: &str| {
        format!(
            "create or replace view roster.desired_users as select u.id::text as user_key, u.email::text, u.name::text, {role} as role, \
             '{{}}'::text[] as permissions, u.blocked, u.auth0_user_id::text, '{{}}'::jsonb as app_metadata, '{{}}'::jsonb as user_metadata \
             from public.users u left join public.user_permissions p on p.user_id = u.id"
        )
    };
    world.run(&view("coalesce(p.permission, u.role)")).await;
    world.add(&[ADA, "bob@example.test"]).await;
    world.settle().await;
    world
        .run("insert into user_permissions values (1, 'a'), (1, 'b')")
        .await;
    world.tenant.forget_requests().await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.writes().await, 0);
    assert!(
        world
            .problems()
            .await
            .contains(&"disputed key_doubled".to_owned())
    );
    world
        .run("update users set role = 'Editor' where id = 2")
        .await;
    world.settle().await;
    let bob = world.tenant.account("bob@example.test").await;
    assert_eq!(bob["app_metadata"]["role"], "Editor");

    world
        .run("delete from user_permissions where permission = 'a'")
        .await;
    world.sweep().await;
    assert_eq!(world.problems().await, [""; 0]);
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "b");
}

#[tokio::test]
async fn a_block_goes_through_although_auth0_refuses_what_changed_with_it() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world.tenant.forget_requests().await;
    world
        .tenant
        .fault(
            "PATCH /api/v2/users/{id}",
            "status",
            1,
            json!({"status": 400}),
        )
        .await;
    world
        .run("update users set blocked = true, role = 'x' where id = 1")
        .await;
    world.settle().await;
    assert_eq!(world.tenant.patches().await.len(), 1, "not again at once");
    world.settle_in_time().await;
    let ada = world.tenant.account(ADA).await;
    assert_eq!(
        (&ada["blocked"], &ada["app_metadata"]["role"]),
        (&json!(true), &json!("x"))
    );
}

#[tokio::test]
async fn an_address_that_auth0_cannot_accept_does_not_keep_a_block_from_going_through() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world
        .run("update users set blocked = true, email = 'no-address' where id = 1")
        .await;
    world.settle().await;
    assert_eq!(world.tenant.account(ADA).await["blocked"], true);
}

#[tokio::test]
async fn an_account_that_is_there_again_belongs_to_the_one_it_was_found_for() {
    let world = World::new().await;
    world.add(&["bob@example.test"]).await;
    world.settle().await;
    let verified = json!({"email": ADA, "email_verified": true});
    let id = world.tenant.has(verified).await;
    world
        .sql
        .execute(
            "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state) values ($1, '1', 1, 'made', 'gone')",
            &[&id],
        )
        .await
        .expect("an account that was Bob's once");
    world.add(&[ADA]).await;
    world.settle().await;
    let whose = "select user_key || ' ' || origin || ' ' || state from roster.accounts where auth0_user_id like '%' || right($1, 20)";
    let rows = world.sql.query(whose, &[&id]).await.expect(whose);
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, ["2 adopted linked"]);
}

#[tokio::test]
async fn a_deadline_counts_from_when_the_call_begins_and_not_from_when_its_turn_began_to_wait() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.fold().await;
    let (pool, terms) = (world.reactor.pool.clone(), world.reactor.terms.clone());
    // A lease that is nearly over.
    let claimed = Terms {
        lease: terms.call_deadline / 2,
        ..terms.clone()
    };
    let claims = mirror::claim(&pool, &claimed, 16, &[])
        .await
        .expect("claims");
    world
        .run("begin; lock table roster.accounts in share mode")
        .await;
    let turn = tokio::spawn(async move { mirror::turn(&pool, &terms, &claims, &[], true).await });
    eventually("a turn that waits", async || {
        world
            .says("select exists (select from pg_locks where not granted and locktype = 'relation' and pid in \
                (select pid from pg_stat_activity where datname = current_database()))")
            .await
    })
    .await;
    world
        .run("create temp table free as select clock_timestamp() as at; commit")
        .await;
    assert_eq!(turn.await.expect("alive").expect("a turn").begun.len(), 1);
    let deadline = world.reactor.terms.call_deadline.as_secs_f64();
    let lease = world.reactor.terms.lease.as_secs_f64();
    let counted = format!(
        "select a.call_deadline >= f.at + make_interval(secs => {deadline}) and m.lease_until >= f.at + make_interval(secs => {lease}) \
         from free f, roster.accounts a, roster.mirror m"
    );
    assert!(world.says(&counted).await);
}

#[tokio::test]
async fn the_log_of_a_row_that_the_database_refuses_names_no_value() {
    let logs = Logs::capture("info");
    let world = World::new().await;
    world
        .run("alter table roster.accounts add constraint nobody check (email not like '%secret%')")
        .await;
    world.add(&["secret@example.test"]).await;
    world.settle().await;
    let text = logs.text();
    assert!(
        text.contains("SQLSTATE 23514, table accounts, constraint nobody"),
        "{text}"
    );
    assert!(!text.contains("secret@"), "{text}");
    assert_eq!(world.problems().await, ["failing database_refused"]);
}

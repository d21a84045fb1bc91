//! Who is whose in the plan: keys that mean another person, addresses that are handed on, and accounts that change hands.

use super::{check, three_people};
use crate::support::sql::SETTLE;

#[tokio::test]
async fn the_same_person_under_a_new_key_takes_the_account_over() {
    let sql = three_people().await;
    for back in [
        "insert into users (id, email) values (9, 'ADA@example.test')",
        "insert into users (id, email, auth0_user_id) values (9, 'ada@else.test', 'auth0|1')",
    ] {
        check(
            &sql,
            &[(
                &format!("delete from users where id = 1; {back}; select roster.fold()"),
                &["1 block waiting", "9 rekey due"],
            )],
        )
        .await;
    }
    // Not a removal: whatever the mode that may write nothing, and however many there are.
    sql.run("update roster.settings set guard_removals_min = 0, guard_removals_share = 0; update users set id = id + 10; select roster.fold()")
        .await;
    assert_eq!(
        sql.rows("select user_key, auth0_user_id, action, state, lane from roster.plan where action = 'rekey' order by 1")
            .await,
        [
            "11 auth0|1 rekey due removal",
            "12 auth0|2 rekey due removal",
            "13 auth0|3 rekey due removal"
        ]
    );
    sql.run("update roster.accounts set user_key = (user_key::int + 10)::text")
        .await;
    assert_eq!(sql.plan().await, [""; 0]);
}

#[tokio::test]
async fn another_person_under_the_same_key_gets_an_account_of_their_own() {
    let sql = three_people().await;
    sql.one_by_one("delete from users where id = 1; insert into users (id, email, name) values (1, 'new@example.test', 'New'); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block due", "1 create due"]);
    sql.run(SETTLE).await;
    assert_eq!(
        sql.rows("select auth0_user_id, email, action, reason from roster.plan")
            .await,
        ["auth0|1 ada@example.test block the key now means another person"]
    );
    sql.run("update roster.accounts set blocked = true, blocked_by_us = true where auth0_user_id = 'auth0|1'")
        .await;
    assert_eq!(sql.plan().await, [""; 0]);
}

#[tokio::test]
async fn somebody_whose_old_key_means_another_person_now_takes_the_account_over() {
    let sql = three_people().await;
    sql.one_by_one("delete from users where id = 1; insert into users (id, email) values (1, 'new@example.test'), (9, 'ada@example.test'); select roster.fold()")
        .await;
    assert_eq!(
        sql.plan().await,
        ["1 block waiting", "1 create due", "9 rekey due"]
    );
}

#[tokio::test]
async fn an_address_in_use_is_waited_for_and_a_circle_is_broken_at_one_place() {
    let sql = three_people().await;
    let set = "update users u set email = n.email from (values";
    let to = ") n (id, email) where n.id = u.id; select roster.fold()";
    // By hand, since the unique address forbids it in one step.
    sql.run("drop index users_email_without_case; alter table users drop constraint users_email_key; create index on users (lower(email))")
        .await;
    check(
        &sql,
        &[
            (
                &format!(
                    "{set} (1, 'bob@example.test'), (2, 'bob@new.test'){to}"
                ),
                &["1 update waiting", "2 update due"],
            ),
            (
                &format!(
                    "{set} (1, 'bob@example.test'), (2, 'ada@example.test'){to}"
                ),
                &["1 move aside due", "2 update waiting"],
            ),
            (
                &format!(
                    "{set} (1, 'bob@example.test'), (2, 'cy@example.test'), (3, 'ada@example.test'){to}"
                ),
                &["1 move aside due", "2 update waiting", "3 update waiting"],
            ),
            (
                "insert into users (id, email) values (4, 'bob@example.test'); update users set email = 'bob@new.test' where id = 2",
                &["2 update due", "4 create waiting"],
            ),
        ],
    )
    .await;
    // All the way through a swap: each step as the reactor would make it.
    sql.run(&format!(
        "{set} (1, 'bob@example.test'), (2, 'ada@example.test'){to}"
    ))
    .await;
    for expected in [
        "1 move aside aside-",
        "2 update ada@example.test",
        "1 update bob@example.test",
    ] {
        let step = sql
            .row("select user_key, action, left(changes #>> '{email,to}', 16) from roster.plan where state = 'due'")
            .await;
        assert!(step.starts_with(expected), "{step}");
        sql.run("update roster.accounts a set email = p.changes #>> '{email,to}' from roster.plan p where p.state = 'due' and p.auth0_user_id = a.auth0_user_id")
            .await;
    }
    assert_eq!(sql.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_circle_of_addresses_is_broken_whoever_else_waits_beside_it() {
    let sql = three_people().await;
    // Its id was chosen for the address before the create failed; now the row is blocked, and nothing is done about it.
    sql.run(
        "drop index users_email_without_case; alter table users drop constraint users_email_key; create index on users (lower(email)); \
         insert into users (id, email, blocked) values (4, 'ada@example.test', true); select roster.fold(); \
         insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email) \
             select 'auth0|0', '4', incarnation, 'made', 'chosen', 'bob@example.test' from roster.mirror where user_key = '4'",
    )
    .await;
    sql.run(
        "update users u set email = n.email from (values (1, 'bob@example.test'), (2, 'ada@example.test'), (4, 'dan@example.test')) n (id, email) \
             where n.id = u.id; select roster.fold()",
    )
    .await;
    assert_eq!(sql.plan().await, ["1 move aside due", "2 update waiting"]);
}

#[tokio::test]
async fn a_removed_account_gives_its_address_up_to_a_live_row() {
    let sql = three_people().await;
    sql.run("delete from users where id = 1; update users set email = 'ada@example.test' where id = 2; select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block due", "2 update waiting"]);
    sql.run("update roster.accounts set blocked = true, blocked_by_us = true where user_key = '1'")
        .await;
    assert_eq!(sql.plan().await, ["1 move aside due", "2 update waiting"]);
    sql.run("update roster.accounts a set email = p.changes #>> '{email,to}' from roster.plan p where p.action = 'move aside' and p.auth0_user_id = a.auth0_user_id")
        .await;
    assert_eq!(sql.plan().await, ["2 update due"]);
}

#[tokio::test]
async fn an_account_is_not_moved_aside_for_a_key_that_may_mean_another_person() {
    let sql = three_people().await;
    sql.run("delete from users where id = 1; select roster.fold(); update roster.accounts set blocked = true, blocked_by_us = true where user_key = '1'")
        .await;
    // Ada is back, under the key that was Bob's: once that is known she takes her account over, and is not mailed again.
    sql.one_by_one("delete from users where id = 2; insert into users (id, email) values (2, 'ada@example.test')")
        .await;
    assert_eq!(
        sql.plan().await,
        ["1 move aside waiting", "2 update waiting"]
    );
    sql.run("select roster.fold()").await;
    assert_eq!(sql.plan().await, ["2 rekey due", "2 block due"]);
}

//! The planner as tables: desired on one side, observed on the other, and the rows that `roster.plan` makes of them.

use crate::support::sql::{SETTLE, Sql};

/// Ada (1), Bob (2) and Cy (3, an administrator), in Auth0 as they are here. Nothing is planned.
async fn three_people() -> Sql {
    let sql = Sql::enforcing().await;
    sql.run(
        "insert into role_permissions values ('Artist', 'draw'); \
         insert into users (email, name) values ('ada@example.test', 'Ada'), ('bob@example.test', 'Bob'); \
         insert into users (email, name, role) values ('cy@example.test', 'Cy', 'Admin')",
    )
    .await;
    sql.run(SETTLE).await;
    assert_eq!(sql.plan().await, [""; 0], "settled");
    sql
}

/// Each case in a transaction that is rolled back: what is done, and the plan then as `user action state`.
async fn check(sql: &Sql, cases: &[(&str, &[&str])]) {
    for (given, expected) in cases {
        sql.run("begin").await;
        sql.run(given).await;
        let plan = sql.plan().await;
        sql.run("rollback").await;
        assert_eq!(plan, *expected, "{given}");
    }
}

/// As [`check`], with the changes of the one row planned.
async fn check_changes(sql: &Sql, cases: &[(&str, &str)]) {
    for (given, expected) in cases {
        sql.run("begin").await;
        sql.run(given).await;
        let plan = sql.row("select action, changes from roster.plan").await;
        sql.run("rollback").await;
        assert_eq!(plan, *expected, "{given}");
    }
}

#[tokio::test]
async fn each_field_that_differs_is_the_one_that_is_sent() {
    let sql = three_people().await;
    check_changes(
        &sql,
        &[
            (
                "update users set email = 'ada@new.test' where id = 1",
                r#"update {"email": {"to": "ada@new.test", "from": "ada@example.test"}}"#,
            ),
            (
                "update users set name = 'Ada L.' where id = 1",
                r#"update {"name": {"to": "Ada L.", "from": "Ada"}}"#,
            ),
            (
                "update users set role = 'Guest' where id = 3",
                r#"update {"app_metadata.role": {"to": "Guest", "from": "Admin"}}"#,
            ),
            (
                "insert into user_permissions values (3, 'fly')",
                r#"update {"app_metadata.permissions": {"to": ["fly"], "from": []}}"#,
            ),
            (
                "insert into role_permissions values ('Admin', 'rule'), ('Admin', 'art')",
                r#"update {"app_metadata.permissions": {"to": ["art", "rule"], "from": []}}"#,
            ),
            (
                "update users set blocked = true where id = 1",
                r#"block {"blocked": {"to": true, "from": false}}"#,
            ),
            (
                "delete from users where id = 1",
                r#"block {"blocked": {"to": true, "from": false}}"#,
            ),
            (
                "update roster.accounts set email = 'else@example.test' where user_key = '1'",
                r#"update {"email": {"to": "ada@example.test", "from": "else@example.test"}}"#,
            ),
            (
                "update roster.accounts set app_metadata = app_metadata - 'role' where user_key = '3'",
                r#"update {"app_metadata.role": {"to": "Admin", "from": null}}"#,
            ),
            (
                "update roster.accounts set blocked = true, blocked_by_us = true where user_key = '1'",
                r#"unblock {"blocked": {"to": false, "from": true}}"#,
            ),
            (
                "update users set blocked = true, name = 'x' where id = 1",
                r#"block {"name": {"to": "x", "from": "Ada"}, "blocked": {"to": true, "from": false}}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn own_metadata_keys_come_change_and_go() {
    let sql = three_people().await;
    let view = |app: &str, user: &str| {
        format!(
            "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
             '{{}}'::text[] as permissions, blocked, auth0_user_id::text, '{app}'::jsonb as app_metadata, '{user}'::jsonb as user_metadata \
             from public.users where role = 'Admin'"
        )
    };
    sql.run("delete from roster.accounts where user_key <> '3'; delete from roster.mirror where user_key <> '3'")
        .await;
    check_changes(
        &sql,
        &[
            (
                &view(r#"{"team": "a"}"#, "{}"),
                r#"update {"app_metadata.team": {"to": "a", "from": null}}"#,
            ),
            (
                &view("{}", r#"{"locale": "pt"}"#),
                r#"update {"user_metadata.locale": {"to": "pt", "from": null}}"#,
            ),
            (
                &format!(
                    "update roster.accounts set app_metadata = app_metadata || '{{\"team\": \"b\"}}'; {}",
                    view(r#"{"team": "a"}"#, "{}")
                ),
                r#"update {"app_metadata.team": {"to": "a", "from": "b"}}"#,
            ),
            (
                &format!(
                    "update roster.accounts set app_metadata = app_metadata || '{{\"team\": \"b\"}}'; {}",
                    view(r#"{"team": null}"#, "{}")
                ),
                r#"update {"app_metadata.team": {"to": null, "from": "b"}}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_on_one_side_only_or_on_both_says_the_action() {
    let sql = three_people().await;
    check(
        &sql,
        &[
            ("", &[]),
            ("select roster.fold()", &[]),
            (
                "insert into users (id, email) values (4, 'new@example.test')",
                &["4 create due"],
            ),
            (
                "insert into users (id, email) values (4, 'new@example.test'); select roster.fold()",
                &["4 create due"],
            ),
            (
                "insert into users (id, email, blocked) values (4, 'new@example.test', true)",
                &[],
            ),
            (
                "insert into users (id, email, auth0_user_id) values (4, 'new@example.test', 'auth0|theirs')",
                &["4 look due"],
            ),
            ("delete from users where id = 1", &["1 block due"]),
            (
                "delete from users where id = 1; select roster.fold()",
                &["1 block due"],
            ),
            (
                "delete from roster.accounts; delete from roster.mirror",
                &["1 look due", "2 look due", "3 look due"],
            ),
            (
                "delete from users where id = 1; update roster.accounts set blocked = true, blocked_by_us = true where user_key = '1'",
                &[],
            ),
            ("update users set blocked = true where id = 1", &["1 block due"]),
            (
                "update users set blocked = true where id = 1; update roster.accounts set blocked = true, blocked_by_us = true where user_key = '1'",
                &[],
            ),
            // Somebody else's block is left alone.
            ("update roster.accounts set blocked = true where user_key = '1'", &[]),
            (
                "update roster.accounts set state = 'missing' where user_key = '1'",
                &["1 look due"],
            ),
            (
                "update roster.accounts set state = 'missing' where user_key = '1'; delete from users where id = 1",
                &["1 look due"],
            ),
            ("update roster.accounts set state = 'gone' where user_key = '1'; delete from users where id = 1", &[]),
            (
                "update roster.accounts set observed_at = null where user_key = '1'",
                &["1 look due"],
            ),
            (
                "update roster.accounts set state = 'chosen' where user_key = '1'",
                &["1 create due"],
            ),
            (
                "update roster.accounts set state = 'chosen' where user_key = '1'; update roster.mirror set look_wanted = true",
                &["1 look due"],
            ),
            (
                "update roster.accounts set state = 'chosen' where user_key = '1'; delete from users where id = 1",
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn applying_twice_plans_nothing() {
    let sql = three_people().await;
    sql.run(
        "update users set email = 'ada@new.test', name = 'x', role = 'Admin' where id = 1; insert into user_permissions values (2, 'own'); \
         insert into role_permissions values ('Admin', 'rule'); update users set name = null where id = 3; select roster.fold()",
    )
    .await;
    assert_eq!(
        sql.plan().await,
        ["1 update due", "2 update due", "3 update due"]
    );
    sql.run(
        "update roster.accounts a set email = d.email, name = coalesce(d.name, a.name), \
         app_metadata = roster.owned_app_metadata(d.app_metadata, d.role, d.permissions) from roster.desired_users d where d.user_key = a.user_key",
    )
    .await;
    assert_eq!(sql.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_further_account_gets_rights_and_blocks_but_keeps_its_address_and_is_never_deleted() {
    let sql = three_people().await;
    sql.run("select roster.follow('1', 'google-oauth2|1', 'ada@gmail.test'); select roster.fold(); update roster.accounts set observed_at = now()")
        .await;
    check_changes(
        &sql,
        &[(
            "",
            r#"update {"app_metadata.role": {"to": "Artist", "from": null}, "app_metadata.permissions": {"to": ["draw"], "from": null}}"#,
        )],
    )
    .await;
    check(
        &sql,
        &[
            (
                "delete from users where id = 1; select roster.fold()",
                &["1 block due", "1 block due"],
            ),
            (
                "delete from users where id = 1; select roster.fold(); update roster.settings set delete_after = '1 hour'; update roster.mirror set removed_at = now() - interval '2 hours' where user_key = '1'; \
                 update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() - interval '2 hours', removal_released = true where user_key = '1'",
                &["1 delete due"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_plan_answers_inside_the_dbas_own_transaction() {
    let sql = three_people().await;
    check(
        &sql,
        &[
            (
                "update users set email = 'ada@new.test' where id = 1",
                &["1 update due"],
            ),
            (
                "update users set id = 10 where id = 1",
                &["1 block waiting", "10 rekey due"],
            ),
            (
                "delete from users",
                &["1 block held", "2 block held", "3 block held"],
            ),
            (
                "truncate users cascade",
                &["1 block held", "2 block held", "3 block held"],
            ),
            (
                "update users set name = 'x'",
                &["1 update due", "2 update due", "3 update due"],
            ),
        ],
    )
    .await;
    assert_eq!(sql.plan().await, [""; 0]);
}

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

#[tokio::test]
async fn a_call_whose_answer_is_not_recorded_is_looked_at_after_its_deadline() {
    let sql = three_people().await;
    for with_row in [true, false] {
        let gone = if with_row {
            ""
        } else {
            "; delete from users where id = 1"
        };
        let call = "update roster.accounts set call_id = gen_random_uuid(), call_action = 'create', state = 'chosen'";
        check(
            &sql,
            &[
                (
                    &format!(
                        "{call}, call_deadline = now() + interval '5 s' where user_key = '1'{gone}"
                    ),
                    &["1 look waiting"],
                ),
                (
                    &format!(
                        "{call}, call_deadline = now() - interval '1 s' where user_key = '1'{gone}"
                    ),
                    &["1 look due"],
                ),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn what_a_person_has_to_decide_is_disputed() {
    let sql = three_people().await;
    check(
        &sql,
        &[
            (
                "update users set auth0_user_id = 'auth0|other', name = 'x' where id = 1; select roster.fold()",
                &["1 update disputed"],
            ),
            // Access ends all the same.
            (
                "update users set auth0_user_id = 'auth0|other', blocked = true where id = 1; select roster.fold()",
                &["1 block due"],
            ),
            (
                "alter table users disable trigger roster_update; update users set email = 'ada@new.test' where id = 1",
                &["1 update disputed"],
            ),
            (
                "drop index users_email_without_case; insert into users (id, email) values (4, 'ADA@example.test'); select roster.fold()",
                &["4 create disputed"],
            ),
            (
                "drop index users_email_without_case; insert into users (id, email) values (4, 'x@example.test'), (5, 'X@example.test'); select roster.fold()",
                &["4 create disputed", "5 create disputed"],
            ),
            (
                "drop index users_email_without_case; update users set email = 'ADA@example.test' where id = 2; select roster.fold()",
                &["2 update disputed"],
            ),
            (
                "update roster.mirror set disputed = 'why'; update users set name = 'x' where id < 3; delete from users where id = 3",
                &["1 update disputed", "2 update disputed", "3 block due"],
            ),
        ],
    )
    .await;
    sql.run("update users set auth0_user_id = 'auth0|other' where id = 1")
        .await;
    assert_eq!(
        sql.row("select problem, examples from roster.problems")
            .await,
        "id changed by hand {1}"
    );
}

#[tokio::test]
async fn data_auth0_refused_is_parked_until_the_row_changes_but_access_ends() {
    let sql = three_people().await;
    let refused = "update users set name = 'x'; select roster.fold(); update roster.mirror set error_code = 'invalid', error_class = 'data'";
    check(
        &sql,
        &[
            (
                refused,
                &["1 update parked", "2 update parked", "3 update parked"],
            ),
            (
                &format!("{refused}; update users set name = 'y' where id = 1; select roster.fold()"),
                &["1 update due", "2 update parked", "3 update parked"],
            ),
            (
                "update roster.mirror set error_code = 'invalid', error_class = 'data'; delete from users where id = 1",
                &["1 block due"],
            ),
            (
                "update users set email = 'nonsense' where id = 1; select roster.fold()",
                &["1 update parked"],
            ),
        ],
    )
    .await;
}

/// One row for each action there is, in the order look, create, update, unblock, block, delete, invite, move aside, rekey.
const EVERY_ACTION: &str = "
    insert into users (id, email) select n, n || '@example.test' from generate_series(11, 22) n;
    update roster.settings set delete_after = '0', guard_removals_min = 1000;
    select roster.fold();
    insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, app_metadata, observed_at)
        select 'auth0|' || d.user_key, d.user_key, 1, 'made', 'linked', d.email, roster.owned_app_metadata(d.app_metadata, d.role, d.permissions), now()
        from roster.desired_users d where d.user_key in ('11', '13', '14', '15', '16', '17', '18', '19', '20');
    update roster.mirror set look_wanted = false;
    update roster.accounts set observed_at = null where user_key = '11';
    update users set name = 'x' where id = 13;
    update roster.accounts set blocked = true, blocked_by_us = true where user_key in ('14', '16');
    update users set blocked = true where id = 15;
    delete from users where id = 16;
    update roster.mirror set invite_epoch = 1 where user_key = '17';
    update users set email = 'x' || email where id in (18, 19);
    update users set email = '18@example.test' where id = 19;
    update users set email = '19@example.test' where id = 18;
    delete from users where id in (20, 21, 22);
    insert into users (id, email) values (23, '20@example.test');
    select roster.fold();
    update roster.mirror set look_wanted = false where user_key <> '12'";

#[tokio::test]
async fn the_mode_and_a_pause_decide_what_is_suppressed() {
    let sql = Sql::enforcing().await;
    sql.run(EVERY_ACTION).await;
    // Without the account that another row takes over and the address that is waited for.
    let plan = "select action, state from roster.plan where user_key not in ('19', '20') and state <> 'waiting' order by user_key::int";
    let all = [
        "look",
        "create",
        "update",
        "unblock",
        "block",
        "delete",
        "invite",
        "move aside",
        "rekey",
    ];
    for (setting, suppressed) in [
        ("mode = 'enforce'", &[][..]),
        ("mode = 'additive'", &["block", "delete"][..]),
        (
            "mode = 'observe'",
            &[
                "create",
                "update",
                "unblock",
                "block",
                "delete",
                "invite",
                "move aside",
            ][..],
        ),
        ("paused_at = now()", &all[..]),
    ] {
        sql.run(&format!("begin; update roster.settings set {setting}"))
            .await;
        let expected: Vec<String> = all
            .iter()
            .map(|action| {
                let state = if suppressed.contains(action) {
                    "suppressed"
                } else {
                    "due"
                };
                format!("{action} {state}")
            })
            .collect();
        assert_eq!(sql.rows(plan).await, expected, "{setting}");
        sql.run("rollback").await;
    }
}

#[tokio::test]
async fn while_observing_a_new_row_is_only_looked_at() {
    let sql = Sql::observing().await;
    sql.run("insert into users (email) values ('ada@example.test')")
        .await;
    assert_eq!(sql.plan().await, ["1 look due"]);
    sql.run("select roster.fold()").await;
    assert_eq!(sql.plan().await, ["1 look due"]);
    sql.run("update roster.mirror set look_wanted = false")
        .await;
    assert_eq!(sql.plan().await, ["1 create suppressed"]);
}

#[tokio::test]
async fn backoff_and_lease_make_a_user_wait() {
    let sql = three_people().await;
    sql.run("update users set name = 'x' where id = 1; select roster.fold()")
        .await;
    check(
        &sql,
        &[
            (
                "update roster.mirror set next_attempt_at = now() + interval '1 minute'",
                &["1 update waiting"],
            ),
            (
                "update roster.mirror set next_attempt_at = now() - interval '1 minute'",
                &["1 update due"],
            ),
            (
                "update roster.mirror set lease_by = gen_random_uuid(), lease_until = now() + interval '1 minute'",
                &["1 update waiting"],
            ),
            (
                "update roster.mirror set lease_by = gen_random_uuid(), lease_until = now() - interval '1 minute'",
                &["1 update due"],
            ),
            // The reactor that holds the lease sees what it claimed.
            (
                "update roster.mirror set lease_by = '6f1fa3f0-57ee-4a3d-9bb6-f2a1b1e9c0de', lease_until = now() + interval '1 minute'; \
                 set local roster.reactor = '6f1fa3f0-57ee-4a3d-9bb6-f2a1b1e9c0de'",
                &["1 update due"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn more_removals_than_a_routine_day_has_are_held() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) select n || '@example.test', 'x' from generate_series(1, 100) n")
        .await;
    sql.run(SETTLE).await;
    let states = "select state, count(*) from roster.plan group by 1";
    for (given, expected) in [
        // At most 20, whatever the share.
        ("delete from users where id <= 20", "due 20"),
        ("delete from users where id <= 21", "held 21"),
        ("update users set blocked = true where id <= 21", "held 21"),
        // Those done within the hour count, those released and those long ago do not.
        (
            "delete from users where id <= 11; update roster.accounts set removed_at = now() - interval '59 minutes' where user_key::int > 90",
            "held 11",
        ),
        (
            "delete from users where id <= 11; update roster.accounts set removed_at = now(), removal_released = true where user_key::int > 90",
            "due 11",
        ),
        (
            "delete from users where id <= 11; update roster.accounts set removed_at = now() - interval '61 minutes' where user_key::int > 90",
            "due 11",
        ),
        // A share of those active.
        (
            "update roster.settings set guard_removals_min = 0, guard_removals_share = 0.1; delete from users where id <= 10",
            "due 10",
        ),
        (
            "update roster.settings set guard_removals_min = 0, guard_removals_share = 0.1; delete from users where id <= 11",
            "held 11",
        ),
        // A routine handful too, if nobody is left.
        ("truncate users cascade", "held 100"),
    ] {
        sql.run(&format!("begin; {given}")).await;
        assert_eq!(sql.rows(states).await, [expected], "{given}");
        sql.run("select roster.fold()").await;
        assert_eq!(sql.rows(states).await, [expected], "{given}, folded");
        let held = expected.strip_prefix("held ").unwrap_or("0");
        assert_eq!(
            sql.row("select held from roster.status").await,
            held,
            "{given}, in the status"
        );
        sql.run("rollback").await;
    }
}

#[tokio::test]
async fn an_emptied_or_truncated_table_holds_whatever_the_number() {
    let sql = three_people().await;
    check(
        &sql,
        &[
            (
                "delete from users; select roster.fold()",
                &["1 block held", "2 block held", "3 block held"],
            ),
            (
                "truncate users cascade; insert into users (id, email) values (7, 'new@example.test'); select roster.fold()",
                &["1 block held", "2 block held", "3 block held", "7 create due"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_protected_and_the_last_administrators_are_held() {
    let sql = three_people().await;
    check(
        &sql,
        &[
            (
                "update roster.settings set guard_protected = '{ada@example.test,2}'; delete from users where id in (1, 2); select roster.fold()",
                &["1 block held", "2 block held"],
            ),
            (
                "update roster.settings set guard_protected = '{ada@example.test}'; update users set blocked = true where id = 1",
                &["1 block held"],
            ),
            (
                "update roster.settings set guard_min_admins = 1, guard_admin_role = 'Admin'; delete from users where id = 3",
                &["3 block held"],
            ),
            (
                "update roster.settings set guard_min_admins = 1, guard_admin_role = 'Admin'; update users set blocked = true where id = 3",
                &["3 block held"],
            ),
            (
                "update roster.settings set guard_min_admins = 1, guard_admin_role = 'Admin'; insert into users (id, email, role) values (4, 'd@example.test', 'Admin'); \
                 delete from users where id = 3",
                &["3 block due", "4 create due"],
            ),
        ],
    )
    .await;
    // The one who left stays protected when the key means another person.
    sql.run("update roster.settings set guard_protected = '{ada@example.test}'")
        .await;
    sql.one_by_one("delete from users where id = 1; insert into users (id, email) values (1, 'new@example.test'); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block held", "1 create due"]);
}

#[tokio::test]
async fn a_released_removal_goes_ahead_and_a_discarded_one_is_kept_until_the_row_changes_again() {
    let sql = three_people().await;
    sql.run("truncate users cascade; select roster.fold()")
        .await;
    assert_eq!(
        sql.row("select roster.release_held('ada@example.test')")
            .await,
        "1"
    );
    assert_eq!(sql.row("select roster.discard_held('2')").await, "1");
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.plan().await,
        ["1 block due", "2 block kept", "3 block held"]
    );
    assert_eq!(
        sql.row("select user_key, removed_by from roster.held")
            .await,
        "3 truncate"
    );
    // The same person coming back leaves the hold by itself; going once more is a new question.
    sql.run("insert into users (id, email, name) values (2, 'bob@example.test', 'Bob'), (3, 'cy@example.test', 'Cy'), (4, 'new@example.test', 'x'); update users set role = 'Admin' where id = 3; select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block due", "4 create due"]);
    sql.run("delete from users where id = 2; select roster.fold()")
        .await;
    assert_eq!(
        sql.plan().await,
        ["1 block due", "2 block due", "4 create due"]
    );
}

#[tokio::test]
async fn a_blocked_account_is_deleted_after_its_time_and_only_one_that_was_made_here() {
    let sql = three_people().await;
    let gone = "delete from users where id = 1; select roster.fold(); \
        update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() where user_key = '1'";
    let after = "update roster.settings set delete_after = '30 days'";
    let later = "update roster.mirror set removed_at = removed_at - interval '31 days'; \
        update roster.accounts set removed_at = removed_at - interval '31 days'";
    check(
        &sql,
        &[
            (gone, &[]),
            (&format!("{gone}; {after}"), &["1 delete waiting"]),
            (&format!("{gone}; {after}; {later}"), &["1 delete due"]),
            (
                &format!("{gone}; {after}; {later}; update roster.accounts set origin = 'adopted'"),
                &[],
            ),
            (
                &format!("{gone}; {after}; {later}; update roster.accounts set blocked_by_us = false"),
                &[],
            ),
            // A block in the row deletes nothing.
            (
                &format!("update users set blocked = true where id = 1; update roster.accounts set blocked = true, blocked_by_us = true; {after}; {later}"),
                &["2 unblock due", "3 unblock due"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_account_of_a_past_person_waits_its_time_too() {
    let sql = three_people().await;
    sql.one_by_one("delete from users where id = 1; insert into users (id, email, name) values (1, 'new@example.test', 'x')")
        .await;
    sql.run(SETTLE).await;
    sql.run("update roster.settings set delete_after = '30 days'; \
         update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() where auth0_user_id = 'auth0|1'")
        .await;
    assert_eq!(sql.plan().await, ["1 delete waiting"]);
    sql.run("update roster.accounts set removed_at = now() - interval '31 days' where auth0_user_id = 'auth0|1'")
        .await;
    assert_eq!(sql.plan().await, ["1 delete due"]);
}

#[tokio::test]
async fn many_deletions_at_once_are_held_too() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) select n || '@example.test', 'x' from generate_series(1, 100) n")
        .await;
    sql.run(SETTLE).await;
    sql.run(
        "delete from users where id <= 21; select roster.fold(); update roster.settings set delete_after = '1 day'; \
         update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() - interval '2 days' where user_key::int <= 21; \
         update roster.mirror set removed_at = removed_at - interval '2 days'",
    )
    .await;
    assert_eq!(
        sql.rows("select action, state, count(*) from roster.plan group by 1, 2")
            .await,
        ["delete held 21"]
    );
}

#[tokio::test]
async fn an_invitation_goes_out_once_for_each_epoch() {
    let sql = three_people().await;
    let wanted = "update roster.mirror set invite_epoch = 1 where user_key = '1'";
    let ledger = |state: &str, since: &str| {
        format!(
            "{wanted}; insert into roster.invitations values ('1', 1, 1, 'auth0|1', '{state}', now() - interval '{since}')"
        )
    };
    check(
        &sql,
        &[
            (wanted, &["1 invite due"]),
            (&ledger("staged", "0"), &["1 invite staged"]),
            (&ledger("sending", "1 second"), &["1 invite waiting"]),
            (&ledger("sending", "2 minutes"), &["1 invite parked"]),
            (&ledger("unknown", "0"), &["1 invite parked"]),
            (&ledger("sent", "0"), &[]),
            (
                &format!(
                    "{}; update roster.mirror set invite_epoch = 2 where user_key = '1'",
                    ledger("sent", "0")
                ),
                &["1 invite due"],
            ),
            (
                &format!("{wanted}; update roster.settings set invitation_send = 'none'"),
                &[],
            ),
            (
                &format!("{wanted}; update users set blocked = true where id = 1"),
                &["1 block due"],
            ),
            (
                &format!("{wanted}; update users set email = 'ada@new.test' where id = 1"),
                &["1 invite waiting", "1 update due"],
            ),
            (
                &format!(
                    "{wanted}; update roster.accounts set state = 'missing' where user_key = '1'"
                ),
                &["1 look due"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_plan_of_one_user_reads_no_table_whole() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) select n || '@example.test', 'x' from generate_series(1, 20000) n")
        .await;
    sql.run(SETTLE).await;
    sql.run("update users set name = 'y'; set search_path = pg_catalog, pg_temp")
        .await;
    // The change above is not folded: its 20 000 keys must not be asked one by one either.
    sql.run("analyze public.users; analyze roster.accounts; analyze roster.mirror; set plan_cache_mode = force_generic_plan; set jit = off")
        .await;
    for filter in ["user_key = $1", "user_key = any (array[$1, '5'])"] {
        sql.run(&format!(
            "prepare one (text) as select * from roster.plan where {filter}"
        ))
        .await;
        assert_eq!(
            sql.rows("explain (analyze, costs off, timing off, summary off) execute one ('77')")
                .await
                .iter()
                .filter(|line| {
                    line.contains("Seq Scan on")
                        && ["users", "accounts", "mirror"]
                            .iter()
                            .any(|t| line.contains(&format!("Scan on {t}")))
                        && !line.contains("never executed")
                })
                .collect::<Vec<_>>(),
            [""; 0],
            "{filter}"
        );
        let planned = sql.rows("execute one ('77')").await;
        assert!(
            planned.iter().any(|row| row.starts_with("77 ")),
            "{filter}: {planned:?}"
        );
        sql.run("deallocate one").await;
    }
}

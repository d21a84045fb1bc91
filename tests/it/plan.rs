//! The planner as tables: desired on one side, observed on the other, and the rows that `roster.plan` makes of them.

mod doubts;
mod identity;
mod modes;
mod removals;

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
async fn a_transaction_can_be_told_what_it_has_done_apart_from_what_waits_anyway() {
    let sql = three_people().await;
    sql.run("update users set name = 'Robert' where id = 2; select roster.fold()")
        .await;
    sql.run("begin; update users set name = 'Ada L.' where id = 1")
        .await;
    assert_eq!(sql.plan().await, ["1 update due", "2 update due"]);
    let own = "select string_agg(concat_ws(' ', user_key, action, state), ', ') from roster.plan where user_key = any (array(select user_key from roster.news))";
    assert_eq!(sql.row(own).await, "1 update due");
    sql.run("rollback").await;
    assert_eq!(sql.row(own).await, "-");
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

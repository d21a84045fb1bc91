//! What is due and what waits: modes, a pause, backoff, leases, and calls in flight.

use super::{check, three_people};
use crate::support::sql::Sql;

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

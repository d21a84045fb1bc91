//! Removals in the plan: what the guard holds, what is protected, and when a blocked account is deleted.

use super::{check, three_people};
use crate::support::sql::{SETTLE, Sql};

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
async fn an_account_that_a_blocked_user_is_about_to_take_over_is_not_deleted() {
    let sql = three_people().await;
    sql.run(
        "delete from users where id = 1; select roster.fold(); update roster.settings set delete_after = '1 day'; \
         update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() - interval '2 days' where user_key = '1'; \
         update roster.mirror set removed_at = removed_at - interval '2 days'",
    )
    .await;
    assert_eq!(sql.plan().await, ["1 delete due"]);
    sql.run("insert into users (id, email, blocked) values (7, 'ada@example.test', true); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 delete waiting", "7 rekey due"]);
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
async fn the_guard_counts_what_is_due_whether_or_not_anything_told_of_it() {
    let sql = three_people().await;
    let gone = "delete from users where id = 1; select roster.fold()";
    let blocked = "update roster.accounts set blocked = true, blocked_by_us = true, removed_at = now() - interval '2 days' where user_key = '1'; \
        update roster.mirror set removed_at = now() - interval '2 days' where user_key = '1'";
    let deletes = "update roster.settings set delete_after = '1 day'";
    let unseen = "alter table users disable trigger roster_delete, disable trigger roster_update";
    for (statements, due) in [
        ("select 1", "0"),
        (gone, "1"),
        ("update users set blocked = true where id = 2", "1"),
        (
            &format!(
                "{unseen}; delete from users where id = 1; update users set blocked = true where id = 2"
            ),
            "2",
        ),
        // Who left long ago is blocked, and is not removed again but to be deleted.
        (&format!("{gone}; {blocked}"), "0"),
        (&format!("{gone}; {blocked}; {deletes}"), "1"),
        (
            &format!("{gone}; {blocked}; {deletes}; update roster.accounts set removed_at = null"),
            "1",
        ),
        (
            &format!(
                "{gone}; {blocked}; {deletes}; update roster.accounts set removed_at = now() where user_key = '1'"
            ),
            "0",
        ),
        (
            &format!(
                "{gone}; {blocked}; {deletes}; update roster.mirror set removed_at = now() where user_key = '1'"
            ),
            "0",
        ),
        (
            &format!(
                "{gone}; {blocked}; {deletes}; update roster.accounts set origin = 'further' where user_key = '1'"
            ),
            "0",
        ),
        // Being done: it counts although the row is there.
        (
            "update roster.accounts set call_id = gen_random_uuid(), call_action = 'block', call_deadline = now() where user_key = '1'",
            "1",
        ),
        (
            "update roster.accounts set call_id = gen_random_uuid(), call_action = 'update', call_deadline = now() where user_key = '1'",
            "0",
        ),
        // The account of a past person of a key that has a row.
        (
            "update roster.mirror set incarnation = 2 where user_key = '1'; update users set email = 'new@example.test' where id = 1",
            "1",
        ),
        // Taken over by somebody who has none.
        (
            "update users set id = 4 where id = 1; update roster.settings set mode = 'enforce'",
            "0",
        ),
        (
            &format!("{gone}; update roster.mirror set removal_verdict = 'released'"),
            "0",
        ),
        (
            &format!("{gone}; update roster.accounts set state = 'gone' where user_key = '1'"),
            "0",
        ),
    ] {
        sql.run(&format!("begin; {statements}")).await;
        assert_eq!(
            sql.row("select due from roster.guard").await,
            due,
            "{statements}"
        );
        sql.run("rollback").await;
    }
}

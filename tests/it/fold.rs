//! Fold and sweep: what the outbox tells becomes who is due, and who a key means.

use crate::support::sql::{SETTLE, Sql, rows, run};

const WHO: &str =
    "select user_key, incarnation, email, removed_by from roster.mirror order by user_key::int";

async fn with_ada() -> Sql {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) values ('ada@example.test', 'Ada')")
        .await;
    sql.run(SETTLE).await;
    sql
}

/// Folds one change at a time until none is left, as a backlog larger than a batch would be.
async fn fold_one_by_one(sql: &Sql) -> usize {
    let mut folds = 0;
    while sql.row("select folded from roster.fold(1)").await == "1" {
        folds += 1;
    }
    folds
}

#[tokio::test]
async fn many_changes_of_one_user_become_one_look() {
    let sql = with_ada().await;
    sql.run("update users set name = 'a'; update users set name = 'b'; insert into user_permissions values (1, 'p')")
        .await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "3");
    assert_eq!(
        sql.rows("select user_key, due, generation, lane from roster.mirror")
            .await,
        ["1 t 2 update"]
    );
    assert_eq!(
        sql.row("select count(*) from roster.changes where folded_at is null")
            .await,
        "0"
    );
    assert_eq!(sql.row("select folded from roster.fold()").await, "0");
}

#[tokio::test]
async fn each_fold_raises_the_generation_and_clears_what_failed_before() {
    let sql = with_ada().await;
    sql.run(
        "update roster.mirror set error_code = 'x', error_class = 'data', error_at = now(), attempts = 3, next_attempt_at = now() + interval '1 hour', \
         disputed = 'why', conflict = true, removal_verdict = 'kept', lease_by = gen_random_uuid(), lease_until = now() + interval '1 minute'",
    )
    .await;
    sql.run("update users set name = 'x'; select roster.fold()")
        .await;
    assert_eq!(
        sql.row(
            "select generation, due, attempts, next_attempt_at, error_code, error_class, disputed, conflict, removal_verdict, \
             lease_by is not null from roster.mirror"
        )
        .await,
        "2 t 0 - - - - f - t"
    );
}

#[tokio::test]
async fn an_email_changed_by_update_is_the_same_person() {
    let sql = with_ada().await;
    sql.run("update users set email = 'ada@new.test'; select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@new.test -"]);
}

#[tokio::test]
async fn a_key_deleted_and_inserted_by_one_transaction_is_the_same_person() {
    let sql = with_ada().await;
    sql.run("begin; delete from users; insert into users (id, email) values (1, 'ada@new.test'); commit; select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@new.test -"]);
}

#[tokio::test]
async fn a_key_back_with_its_address_is_the_same_person() {
    let sql = with_ada().await;
    sql.run("delete from users; select roster.fold()").await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@example.test delete"]);
    sql.run("insert into users (id, email) values (1, 'Ada@Example.test'); select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@example.test -"]);
}

#[tokio::test]
async fn a_key_back_with_another_address_is_another_person_who_starts_from_nothing() {
    let sql = with_ada().await;
    sql.run("update roster.mirror set baseline = true, look_wanted = true, invite_epoch = 2")
        .await;
    sql.one_by_one("delete from users; insert into users (id, email) values (1, 'bob@example.test'); select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await, ["1 2 bob@example.test -"]);
    assert_eq!(
        sql.row(
            "select baseline, look_wanted, invite_epoch, lane, removed_txid from roster.mirror"
        )
        .await,
        "f f 0 removal -"
    );
}

#[tokio::test]
async fn who_a_key_means_does_not_depend_on_the_size_of_a_batch() {
    for (story, expected) in [
        (
            "delete from users; insert into users (id, email) values (1, 'bob@example.test')",
            "1 2 bob@example.test -",
        ),
        (
            "update users set name = 'x'; delete from users; insert into users (id, email) values (1, 'bob@example.test')",
            "1 2 bob@example.test -",
        ),
        (
            "update users set name = 'x'; truncate users cascade; insert into users (id, email) values (1, 'bob@example.test')",
            "1 2 bob@example.test -",
        ),
        (
            "delete from users; select roster.resync('1'); insert into users (id, email) values (1, 'bob@example.test')",
            "1 2 bob@example.test -",
        ),
        (
            "delete from users; insert into users (id, email) values (1, 'ada@example.test')",
            "1 1 ada@example.test -",
        ),
        (
            "begin; delete from users; insert into users (id, email) values (1, 'ada@new.test'); commit",
            "1 1 ada@new.test -",
        ),
        (
            "begin; truncate users cascade; insert into users (id, email) values (1, 'ada@new.test'); commit",
            "1 1 ada@new.test -",
        ),
        (
            "update users set id = 2; insert into users (id, email) values (1, 'bob@example.test')",
            "1 2 bob@example.test -",
        ),
        ("delete from users", "1 1 ada@example.test delete"),
        (
            "update users set name = 'x'; truncate users cascade",
            "1 1 ada@example.test truncate",
        ),
    ] {
        for one_by_one in [false, true] {
            let sql = with_ada().await;
            sql.one_by_one(story).await;
            match one_by_one {
                true => assert!(fold_one_by_one(&sql).await > 0),
                false => sql.run("select roster.fold()").await,
            }
            assert_eq!(
                sql.rows(WHO).await[0],
                expected,
                "{story}, one by one: {one_by_one}"
            );
        }
    }
}

#[tokio::test]
async fn a_row_whose_return_nobody_saw_keeps_the_address_remembered_for_it() {
    let sql = with_ada().await;
    sql.run("delete from users; alter table users disable trigger roster_insert; insert into users (id, email) values (1, 'bob@example.test')")
        .await;
    sql.run("select roster.fold(); select roster.sweep()").await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@example.test -"]);
    assert_eq!(sql.plan().await, ["1 update disputed"]);
}

#[tokio::test]
async fn a_change_that_was_rolled_back_is_no_change() {
    let sql = with_ada().await;
    sql.run("begin; delete from users; rollback; begin; savepoint s; update users set name = 'x'; rollback to s; commit")
        .await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "0");
    assert_eq!(sql.row("select due from roster.mirror").await, "f");
}

#[tokio::test]
async fn changes_are_folded_in_the_order_they_were_made() {
    let sql = with_ada().await;
    sql.one_by_one("delete from roster.changes; delete from users; insert into users (id, email) values (1, 'bob@example.test'); delete from users")
        .await;
    sql.run("select roster.fold(2)").await;
    assert_eq!(
        sql.rows("select op, folded_at is null from roster.changes order by id")
            .await,
        ["delete f", "insert f", "delete t"]
    );
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.row("select removed_by from roster.mirror").await,
        "delete"
    );
    assert_eq!(
        sql.row("select removed_txid = (select max(txid::text)::xid8 from roster.changes where op = 'delete') from roster.mirror")
            .await,
        "t"
    );
}

#[tokio::test]
async fn a_second_folder_at_the_same_time_does_nothing() {
    let sql = with_ada().await;
    let other = sql.session().await;
    sql.run("update users set name = 'x'").await;
    sql.run("begin; select roster.fold()").await;
    assert_eq!(
        rows(&other, "select folded from roster.fold()").await,
        ["0"]
    );
    sql.run("rollback").await;
    assert_eq!(
        rows(&other, "select folded from roster.fold()").await,
        ["1"]
    );
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_folded_late_and_not_lost() {
    let sql = with_ada().await;
    let slow = sql.session().await;
    run(
        &slow,
        "begin; insert into users (id, email) values (2, 'bob@example.test')",
    )
    .await;
    sql.run("update users set name = 'x'; select roster.fold()")
        .await;
    run(&slow, "commit").await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "1");
    assert_eq!(sql.plan().await, ["1 update due", "2 create due"]);
}

#[tokio::test]
async fn a_resync_is_no_news_about_who_a_person_is() {
    let sql = with_ada().await;
    sql.run(
        "alter table users disable trigger roster_update; update users set email = 'ada@new.test'",
    )
    .await;
    sql.run("update roster.mirror set removal_verdict = 'kept'; select roster.resync('1'); select roster.fold()")
        .await;
    assert_eq!(
        sql.row("select email, removal_verdict from roster.mirror")
            .await,
        "ada@example.test kept"
    );
    sql.run("update roster.accounts set observed_at = now()")
        .await;
    assert_eq!(sql.plan().await, ["1 update disputed"]);
    sql.run("select roster.link('1', 'auth0|1'); select roster.fold(); update roster.accounts set observed_at = now()")
        .await;
    assert_eq!(sql.plan().await, ["1 update due"]);
}

#[tokio::test]
async fn a_mass_change_goes_to_the_bulk_lane_and_a_single_one_does_not() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) select n || '@example.test' from generate_series(1, 300) n")
        .await;
    sql.run("select roster.fold()").await;
    let lanes = "select lane, count(*) from roster.mirror where due group by 1 order by 1";
    assert_eq!(sql.rows(lanes).await, ["bulk 300"]);
    sql.run("update users set name = 'x' where id = 1; delete from users where id = 2; select roster.fold()")
        .await;
    assert_eq!(
        sql.rows(lanes).await,
        ["removal 1", "creation 1", "bulk 298"]
    );
}

#[tokio::test]
async fn truncate_removes_everybody_who_was_there() {
    let sql = with_ada().await;
    sql.run("insert into users (email) values ('bob@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("begin; truncate users cascade; insert into users (id, email) values (1, 'ada@example.test'); commit; select roster.fold()")
        .await;
    assert_eq!(
        sql.rows(WHO).await,
        ["1 1 ada@example.test -", "2 1 bob@example.test truncate"]
    );
    assert_eq!(sql.plan().await, ["2 block held"]);
}

const WIDENED: &str = "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
    '{}'::text[] as permissions, blocked, auth0_user_id::text, '{}'::jsonb as app_metadata, '{}'::jsonb as user_metadata from public.users";

#[tokio::test]
async fn a_widened_view_brings_a_baseline_and_a_narrowed_one_removals_that_the_sweep_sees() {
    let sql = Sql::enforcing().await;
    sql.run(&format!("{WIDENED} where role = 'Artist'")).await;
    sql.run("insert into users (email, role) values ('ada@example.test', 'Artist'), ('eve@example.test', 'Guest')")
        .await;
    sql.run(SETTLE).await;
    assert_eq!(sql.rows(WHO).await, ["1 1 ada@example.test -"]);
    sql.run(WIDENED).await;
    assert_eq!(sql.row("select made_due from roster.sweep()").await, "1");
    assert_eq!(
        sql.row("select baseline, look_wanted, lane from roster.mirror where user_key = '2'")
            .await,
        "t t bulk"
    );
    assert_eq!(sql.plan().await, ["2 look due"]);

    sql.run(&format!("{WIDENED} where role = 'Guest'")).await;
    sql.run("select roster.sweep()").await;
    assert_eq!(
        sql.rows(WHO).await,
        ["1 1 ada@example.test unseen", "2 1 eve@example.test -"]
    );
    assert_eq!(sql.plan().await, ["1 block due", "2 look due"]);
    sql.run(WIDENED).await;
    sql.run("select roster.sweep()").await;
    assert_eq!(sql.rows(WHO).await[0], "1 1 ada@example.test -");
}

#[tokio::test]
async fn a_row_that_leaves_the_views_scope_is_removed_and_comes_back_as_the_same_person() {
    let sql = Sql::enforcing().await;
    sql.run(&format!("{WIDENED} where role <> 'Hidden'")).await;
    sql.run("insert into users (email) values ('ada@example.test'), ('bob@example.test'); insert into users (email, role) values ('eve@example.test', 'Hidden')")
        .await;
    sql.run(SETTLE).await;
    sql.run("update users set role = 'Hidden' where id = 1; select roster.fold()")
        .await;
    assert_eq!(
        sql.rows(WHO).await,
        ["1 1 ada@example.test scope", "2 1 bob@example.test -"]
    );
    assert_eq!(sql.plan().await, ["1 block due"]);
    sql.run("update users set role = 'Artist' where id = 1; select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await[0], "1 1 ada@example.test -");
}

#[tokio::test]
async fn a_key_that_comes_back_outside_the_scope_is_not_taken_for_the_one_who_left() {
    let sql = Sql::enforcing().await;
    sql.run(&format!("{WIDENED} where role <> 'Hidden'")).await;
    sql.run("insert into users (email) values ('ada@example.test')")
        .await;
    sql.run(SETTLE).await;
    sql.run("delete from users; select roster.fold()").await;
    sql.run("insert into users (id, email, role) values (1, 'bob@example.test', 'Hidden'); select roster.fold()")
        .await;
    sql.run("update users set role = 'Artist'; select roster.fold()")
        .await;
    assert_eq!(sql.rows(WHO).await, ["1 2 bob@example.test -"]);
}

#[tokio::test]
async fn the_sweep_finds_what_no_trigger_saw_and_then_nothing_more() {
    let sql = with_ada().await;
    sql.run("alter table users disable trigger all; update users set name = 'Unseen'; insert into users (id, email) values (2, 'bob@example.test')")
        .await;
    assert_eq!(sql.row("select made_due from roster.sweep()").await, "2");
    assert_eq!(
        sql.rows("select user_key, due, baseline, generation from roster.mirror order by 1")
            .await,
        ["1 t f 2", "2 t t 1"]
    );
    assert_eq!(sql.row("select made_due from roster.sweep()").await, "0");
}

#[tokio::test]
async fn a_sweep_leaves_users_alone_whose_insert_is_still_to_be_folded() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) values ('ada@example.test'); select roster.sweep()")
        .await;
    assert_eq!(sql.rows(WHO).await, [""; 0]);
    sql.run("select roster.fold()").await;
    assert_eq!(sql.row("select baseline from roster.mirror").await, "f");
}

#[tokio::test]
async fn users_added_while_observing_are_the_baseline() {
    let sql = Sql::observing().await;
    sql.run("insert into users (email) values ('ada@example.test'); select roster.fold(); insert into users (email) values ('bob@example.test')")
        .await;
    sql.run("select roster.set_mode('enforce'); select roster.fold(); insert into users (email) values ('new@example.test'); select roster.fold()")
        .await;
    assert_eq!(
        sql.rows("select user_key, baseline, look_wanted from roster.mirror order by 1")
            .await,
        ["1 t t", "2 t t", "3 f f"]
    );
    assert_eq!(
        sql.plan().await,
        ["1 look due", "2 look due", "3 create due"]
    );
}

#[tokio::test]
async fn a_row_that_somebody_holds_keeps_nobody_elses_changes_waiting() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) select n || '@example.test' from generate_series(1, 5) n")
        .await;
    sql.run(SETTLE).await;
    let person = sql.session().await;
    run(&person, "begin; select roster.invite('1@example.test')").await;
    // Two and three are tied to one by what changed them together; five took over nothing.
    sql.run("update users set name = 'a' where id in (1, 2); update users set name = 'b' where id in (2, 3)")
        .await;
    sql.run("update users set name = 'c' where id = 4; delete from users where id = 5")
        .await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "2");
    let due = "select user_key, removed_by from roster.mirror where due order by 1";
    assert_eq!(sql.rows(due).await, ["4 -", "5 delete"]);
    let problems = "select problem, code, users, examples from roster.problems";
    assert_eq!(sql.rows(problems).await, [""; 0], "it is not long ago");
    sql.run("update roster.changes set changed_at = changed_at - interval '2 minutes'")
        .await;
    assert_eq!(
        sql.rows(problems).await,
        ["changes held up changes_held_up 3 {1,2,3}"]
    );
    run(&person, "rollback").await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "2");
    assert_eq!(
        sql.rows("select user_key from roster.mirror where due order by 1")
            .await,
        ["1", "2", "3", "4", "5"]
    );
    assert_eq!(sql.row("show lock_timeout").await, "0");
    // A change that names nobody is tried again, and what came with it is not.
    sql.run("update roster.mirror set due = false").await;
    run(&person, "begin; select roster.invite('1@example.test')").await;
    sql.run("update users set name = 'd' where id = 4; insert into role_permissions values ('Artist', 'draw')")
        .await;
    sql.run("set lock_timeout = '1s'; select roster.fold()")
        .await;
    let unfolded = "select relation from roster.changes where folded_at is null";
    assert_eq!(sql.rows(unfolded).await, ["public.role_permissions"]);
    run(&person, "rollback").await;
    sql.run("select roster.fold()").await;
    assert_eq!(sql.rows(unfolded).await, [""; 0]);
}

#[tokio::test]
async fn a_row_that_somebody_holds_keeps_a_truncation_and_what_came_after_it_waiting() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) select n || '@example.test' from generate_series(1, 3) n")
        .await;
    sql.run(SETTLE).await;
    let person = sql.session().await;
    // Whoever had read the users as well would hold the truncation itself up.
    let holds = "begin; select from roster.mirror where user_key = '1' for update";
    run(&person, holds).await;
    sql.one_by_one(
        "update users set name = 'a' where id = 2; truncate users cascade; \
         insert into users (id, email) values (9, 'eve@example.test')",
    )
    .await;
    sql.run("select roster.fold()").await;
    let unfolded = "select op from roster.changes where folded_at is null and of_users order by id";
    assert_eq!(sql.rows(unfolded).await, ["truncate", "insert"]);
    run(&person, "rollback").await;
    sql.run("select roster.fold()").await;
    assert_eq!(sql.rows(unfolded).await, [""; 0]);
    assert_eq!(
        sql.rows("select user_key, removed_by from roster.mirror order by 1")
            .await,
        ["1 truncate", "2 truncate", "3 truncate", "9 -"]
    );
}

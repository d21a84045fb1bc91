//! Capture and bell: whatever changes the table, and however, `roster.changes` tells it and somebody is rung; and the
//! application never notices.

mod bell;
mod tables;

use futures_util::{SinkExt, stream};

use crate::support::sql::{Sql, run};

const CHANGES: &str = "select op, relation, array(select unnest(user_keys) order by 1), error from roster.changes order by id";

/// Changes of `public.users` since the last look, each as `op {keys}`.
async fn users_changes(sql: &Sql) -> Vec<String> {
    let found = sql
        .rows(
            "select op, coalesce(array(select unnest(user_keys) order by 1)::text, ''), error from roster.changes \
             where relation = 'public.users' order by id",
        )
        .await;
    sql.run("delete from roster.changes").await;
    found
        .into_iter()
        .map(|line| line.trim_end_matches(" -").to_owned())
        .collect()
}

const TWO_PEOPLE: &str = "insert into users (email, name) values ('ada@example.test', 'Ada'), ('bob@example.test', 'Bob')";

#[tokio::test]
async fn each_statement_leaves_one_row_however_many_users_it_changes() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    assert_eq!(users_changes(&sql).await, ["insert {1,2}"]);
    sql.run("update users set role = 'Curator'").await;
    assert_eq!(users_changes(&sql).await, ["update {1,2}"]);
    sql.run("delete from users where id = 2").await;
    assert_eq!(users_changes(&sql).await, ["delete {2}"]);
    sql.run(
        "insert into users (email) select n || '@example.test' from generate_series(1, 1000) n",
    )
    .await;
    assert_eq!(
        sql.rows("select op, cardinality(user_keys) from roster.changes")
            .await,
        ["insert 1000"]
    );
    sql.run("delete from roster.changes; truncate users cascade")
        .await;
    assert_eq!(users_changes(&sql).await, ["truncate {}"]);
}

#[tokio::test]
async fn no_writers_session_compiles_its_capture_or_spills_it_to_disk_early() {
    let sql = Sql::enforcing().await;
    let settings = sql
        .rows(
            "select distinct s from pg_proc p cross join unnest(p.proconfig) s \
             where p.pronamespace = 'roster'::regnamespace and p.proname like 'capture\\_public\\_users%' order by s",
        )
        .await;
    assert_eq!(
        settings,
        [
            "jit=off",
            "search_path=pg_catalog, pg_temp",
            "work_mem=32MB"
        ]
    );
}

#[tokio::test]
async fn copy_is_captured_like_an_insert() {
    let sql = Sql::enforcing().await;
    let copy = sql
        .client()
        .copy_in("copy users (id, email) from stdin")
        .await;
    let mut sink = Box::pin(copy.expect("a copy"));
    let lines = &b"7\tada@example.test\n8\tbob@example.test\n"[..];
    let mut lines = stream::iter([Ok(lines)]);
    sink.send_all(&mut lines).await.expect("two lines");
    sink.close().await.expect("the end of the copy");
    assert_eq!(users_changes(&sql).await, ["insert {7,8}"]);
}

#[tokio::test]
async fn an_upsert_tells_its_inserts_and_its_updates() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    users_changes(&sql).await;
    sql.run(
        "insert into users (id, email) values (3, 'new@example.test'), (1, 'x@example.test') \
         on conflict (id) do update set email = excluded.email",
    )
    .await;
    let mut told = users_changes(&sql).await;
    told.sort();
    assert_eq!(told, ["insert {3}", "update {1}"]);
}

#[tokio::test]
async fn a_merge_tells_all_it_did() {
    let sql = Sql::enforcing().await;
    if sql.version().await < 15 {
        println!("skipped: MERGE came with PostgreSQL 15");
        return;
    }
    sql.run(TWO_PEOPLE).await;
    users_changes(&sql).await;
    sql.run(
        "merge into users u using (values (1, 'Ada L.', false), (2, '', true), (3, 'Cy', false)) s (id, name, goes) on u.id = s.id \
         when matched and s.goes then delete when matched then update set name = s.name \
         when not matched then insert (id, email, name) values (s.id, 'cy@example.test', s.name)",
    )
    .await;
    let mut told = users_changes(&sql).await;
    told.sort();
    assert_eq!(told, ["delete {2}", "insert {3}", "update {1}"]);
}

#[tokio::test]
async fn a_statement_that_changes_nothing_mirrored_leaves_no_row() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("insert into role_permissions values ('Artist', 'draw'); insert into user_permissions values (1, 'fly')")
        .await;
    sql.run("delete from roster.changes").await;
    for statement in [
        "update users set name = name, email = email",
        "update users set created_at = now()",
        "update users set name = 'nobody' where id = 99",
        "delete from users where id = 99",
        "insert into users (id, email) values (1, 'other@example.test') on conflict do nothing",
        "insert into users (email) select 'x' where false",
        "update user_permissions set permission = permission",
        "update role_permissions set permission = permission",
    ] {
        sql.run(statement).await;
        assert_eq!(sql.rows(CHANGES).await, [""; 0], "{statement}");
    }
}

#[tokio::test]
async fn a_changed_primary_key_is_told_in_both_directions() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("delete from roster.changes; update users set id = id + 1000")
        .await;
    assert_eq!(
        sql.rows(
            "select op, array(select unnest(user_keys) order by 1), array(select unnest(keys_added) order by 1), \
             array(select unnest(keys_removed) order by 1) from roster.changes where of_users"
        )
        .await,
        ["update {1,1001,1002,2} {1001,1002} {1,2}"]
    );
}

#[tokio::test]
async fn a_session_in_replica_role_is_captured_too() {
    let sql = Sql::enforcing().await;
    sql.run("set session_replication_role = replica").await;
    sql.run(TWO_PEOPLE).await;
    sql.run("update users set name = 'x' where id = 1; delete from users where id = 2; truncate users cascade")
        .await;
    let told = users_changes(&sql).await;
    assert_eq!(
        told,
        ["insert {1,2}", "update {1}", "delete {2}", "truncate {}"]
    );
}

#[tokio::test]
async fn who_when_with_what_tool_and_why_is_recorded() {
    let sql = Sql::enforcing().await;
    sql.run("set application_name = 'a tool'; begin; set local roster.reason = 'ticket 4711'")
        .await;
    sql.run(TWO_PEOPLE).await;
    sql.run("commit; update users set name = 'x' where id = 1")
        .await;
    assert_eq!(
        sql.rows(
            "select op, changed_by = session_user, application_name, reason, backend_pid = pg_backend_pid(), \
             changed_at between now() - interval '1 minute' and now() + interval '1 second' from roster.changes order by id"
        )
        .await,
        ["insert t a tool ticket 4711 t t", "update t a tool - t t"]
    );
    // Of one transaction, and of the one that wrote the rows.
    assert_eq!(
        sql.row("select count(*) from roster.changes c join users u on c.op = 'update' and c.txid::text = u.xmin::text")
            .await,
        "1"
    );
}

#[tokio::test]
async fn what_a_user_may_do_beyond_the_role_is_told_by_user_and_a_role_by_nobody() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("delete from roster.changes; insert into user_permissions values (1, 'a'), (1, 'b'), (2, 'a')")
        .await;
    sql.run("update user_permissions set user_id = 2 where permission = 'b'; update user_permissions set permission = 'c' where permission = 'a'")
        .await;
    sql.run(
        "delete from users where id = 2; insert into role_permissions values ('Artist', 'draw')",
    )
    .await;
    let mut told = sql.rows(CHANGES).await;
    told[3..5].sort();
    assert_eq!(
        told,
        [
            "insert public.user_permissions {1,2} -",
            "update public.user_permissions {1,2} -",
            "update public.user_permissions {1,2} -",
            "delete public.user_permissions {2} -",
            "delete public.users {2} -",
            "insert public.role_permissions {} -",
        ]
    );
    assert_eq!(
        sql.row("select user_keys is null from roster.changes where relation = 'public.role_permissions'")
            .await,
        "t"
    );
}

#[tokio::test]
async fn updated_at_follows_updates_but_not_the_write_back() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("alter table users disable trigger users_updated_at; update users set updated_at = '2000-01-01'; alter table users enable trigger users_updated_at")
        .await;
    let untouched = "select id from users where updated_at = '2000-01-01' order by id";
    assert_eq!(
        sql.row("select roster.write_back('1', 'auth0|1')").await,
        "t"
    );
    assert_eq!(sql.rows(untouched).await, ["1", "2"]);
    sql.run("update users set name = 'x' where id = 1; update users set created_at = now() where id = 2")
        .await;
    assert_eq!(sql.rows(untouched).await, [""; 0]);
}

#[tokio::test]
async fn the_write_back_waits_for_nobody_and_overwrites_nothing() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    let other = sql.session().await;
    run(
        &other,
        "begin; select from users where id = 1 for no key update",
    )
    .await;
    sql.run("set lock_timeout = '10s'").await;
    let write = "select roster.write_back('1', 'auth0|first')";
    assert_eq!(sql.row(write).await, "f");
    run(&other, "commit").await;
    assert_eq!(sql.row(write).await, "t");
    assert_eq!(
        sql.row("select roster.write_back('1', 'auth0|second')")
            .await,
        "f"
    );
    assert_eq!(
        sql.row("select roster.write_back('99', 'auth0|nobody')")
            .await,
        "f"
    );
    assert_eq!(
        sql.rows("select auth0_user_id from users order by id")
            .await,
        ["auth0|first", "-"]
    );
}

#[tokio::test]
async fn an_address_belongs_to_one_person_whatever_its_case() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    let refused = sql
        .refusal("insert into users (email) values ('ADA@Example.test')")
        .await;
    assert_eq!(refused.code().code(), "23505");
    sql.run(crate::support::sql::SETTLE).await;
    sql.run("update users set email = upper(email)").await;
    assert_eq!(sql.plan().await, [""; 0]);
}

#[tokio::test]
async fn a_row_auth0_could_not_accept_is_told_and_parked() {
    let sql = Sql::enforcing().await;
    let long = format!("{}@example.test", "x".repeat(65));
    sql.run(&format!(
        "insert into users (email) values ('no address'), ('{long}'), (''), ('fine@example.test')"
    ))
    .await;
    assert_eq!(
        sql.rows("select user_key, code from roster.plan where state = 'parked' order by 1")
            .await,
        ["1 email_invalid", "2 email_too_long", "3 email_missing"]
    );
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.plan().await,
        [
            "1 create parked",
            "2 create parked",
            "3 create parked",
            "4 create due"
        ]
    );
}

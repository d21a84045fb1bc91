//! Tables as applications have them: any type of column, partitions, cascades, changes of the schema, and rights of their writers.

use super::{CHANGES, TWO_PEOPLE, users_changes};
use crate::support::sql::{Sql, refusal};

#[tokio::test]
async fn a_renamed_column_does_not_break_the_application_and_everybody_is_looked_at() {
    let sql = Sql::enforcing().await;
    sql.run("alter table users rename column name to full_name")
        .await;
    sql.run("insert into users (email) values ('ada@example.test'); update users set full_name = 'Ada'; delete from users")
        .await;
    let told = sql
        .rows("select op, user_keys, left(error, 6) from roster.changes order by id")
        .await;
    assert_eq!(told, ["insert {1} -", "update - 42703:", "delete {1} -"]);
    assert_eq!(
        sql.row("select looked_at_everybody from roster.fold()")
            .await,
        "t"
    );
    assert_eq!(
        sql.row("select code from roster.problems where problem = 'capture failed'")
            .await,
        "public.users"
    );
    // The advice holds: put anew, they fit.
    sql.run("select roster.watch('public.users', 'id', array['id', 'email', 'full_name', 'role', 'blocked', 'auth0_user_id']); delete from roster.changes")
        .await;
    sql.run("insert into users (id, email) values (5, 'bob@example.test'); update users set full_name = 'Bob'")
        .await;
    assert_eq!(users_changes(&sql).await, ["insert {5}", "update {5}"]);
}

#[tokio::test]
async fn columns_of_any_type_can_be_watched() {
    let sql = Sql::enforcing().await;
    let mut mail = "citext";
    if sql
        .client()
        .batch_execute("create extension citext")
        .await
        .is_err()
    {
        println!("citext is not installed here; text stands in");
        mail = "text";
    }
    for (table, for_each) in [("people", "statement"), ("others", "row")] {
        sql.run(&format!(
            "create type {table}_mood as enum ('fine', 'not'); \
             create table {table} (id int primary key, mail {mail}, j json, x xml, p point, js json[], c circle, m {table}_mood, f float8, b bytea); \
             select roster.watch('{table}', 'id', for_each => '{for_each}'); \
             insert into {table} values (1, 'a@b.c', '{{\"a\": 1}}', '<a/>', '(1,2)', array['1']::json[], '((0,0),1)', 'fine', 'nan', 'x'); \
             delete from roster.changes; \
             update {table} set mail = mail, j = j, x = x, p = p, js = js, c = c, m = m, f = f, b = b"
        ))
        .await;
        assert_eq!(sql.rows(CHANGES).await, [""; 0]);
        for set in [
            "mail = 'x@b.c'",
            "j = '{\"a\": 2}'",
            "x = '<b/>'",
            "p = '(2,1)'",
            "js = array['2']::json[]",
            "c = '((1,0),1)'",
            "m = 'not'",
            "f = 0",
            "b = 'y'",
        ] {
            sql.run(&format!(
                "delete from roster.changes; update {table} set {set}"
            ))
            .await;
            assert_eq!(
                sql.row("select cardinality(user_keys) > 0, error from roster.changes")
                    .await,
                "t -",
                "{set} for each {for_each}"
            );
        }
    }
}

#[tokio::test]
async fn a_table_watched_row_by_row_tells_the_same() {
    let sql = Sql::enforcing().await;
    sql.run("select roster.watch('public.users', 'id', array['id', 'email', 'name'], for_each => 'row'); delete from roster.changes")
        .await;
    sql.run(TWO_PEOPLE).await;
    sql.run("update users set name = 'x' where id = 1; update users set role = 'not watched'; update users set id = 9 where id = 2; delete from users where id = 1")
        .await;
    assert_eq!(
        sql.rows("select op, user_keys, keys_added, keys_removed, of_users from roster.changes order by id")
            .await,
        [
            "insert {1} - - t",
            "insert {2} - - t",
            "update {1,1} - - t",
            "update {2,9} {9} {2} t",
            "delete {1} - - t",
        ]
    );
}

#[tokio::test]
async fn a_partition_written_by_name_is_seen_where_the_table_is_watched_row_by_row() {
    let sql = Sql::enforcing().await;
    sql.run(
        "create table people (id int primary key, mail text) partition by range (id); \
         create table people_low partition of people for values from (0) to (100); \
         select roster.watch('people', 'id', for_each => 'row'); \
         create table people_high partition of people for values from (100) to (200); delete from roster.changes; \
         insert into people_low values (1, 'a'); set session_replication_role = replica; insert into people_high values (101, 'b'); \
         update people_high set mail = 'c'",
    )
    .await;
    assert_eq!(
        sql.rows("select op, user_keys, error from roster.changes order by id")
            .await,
        ["insert {1} -", "insert {101} -", "update {101,101} -"]
    );
}

#[tokio::test]
async fn cascades_inside_the_table_are_captured_whole() {
    let sql = Sql::enforcing().await;
    sql.run(
        "create table people (id int primary key, boss int references people (id) on update cascade on delete cascade); \
         select roster.watch('people', 'id'); \
         insert into people values (1, 1), (2, 1), (3, 2); delete from roster.changes; update people set id = id + 10",
    )
    .await;
    assert_eq!(
        sql.rows("select op, array(select distinct unnest(user_keys) order by 1), error from roster.changes")
            .await,
        ["update {1,11,12,13,2,3} -"]
    );
    sql.run("delete from roster.changes; delete from people where id = 12")
        .await;
    assert_eq!(
        sql.row(
            "select array(select distinct k from roster.changes, unnest(user_keys) k order by 1)"
        )
        .await,
        "{12,13}"
    );
}

#[tokio::test]
async fn triggers_come_off_around_a_schema_change_and_go_on_again() {
    let sql = Sql::enforcing().await;
    let watched = "select count(*) from pg_trigger where tgname like 'roster\\_%'";
    sql.run("select roster.detach()").await;
    assert_eq!(sql.row(watched).await, "0");
    assert_eq!(
        sql.row("select count(*) from roster.problems where problem = 'table not watched'")
            .await,
        "3"
    );
    sql.run(TWO_PEOPLE).await;
    assert_eq!(users_changes(&sql).await, [""; 0]);
    sql.run("select roster.attach()").await;
    assert_eq!(sql.row(watched).await, "12");
    assert_eq!(
        sql.row("select looked_at_everybody from roster.fold()")
            .await,
        "t"
    );
    assert_eq!(sql.plan().await, ["1 look due", "2 look due"]);
    sql.run(
        "select roster.unwatch('users'); delete from roster.changes; update users set name = 'x'",
    )
    .await;
    assert_eq!(users_changes(&sql).await, [""; 0]);
    assert_eq!(
        sql.rows("select relation from roster.watched order by 1")
            .await,
        ["public.role_permissions", "public.user_permissions"]
    );
}

#[tokio::test]
async fn somebody_with_rights_on_users_alone_is_captured_and_cannot_touch_the_outbox() {
    let sql = Sql::enforcing().await;
    let editor = format!("editor_of_{}", sql.database().name());
    sql.run(&format!(
        "create role {editor}; grant select, insert, update, delete, truncate on users, user_permissions to {editor}; \
         grant usage on all sequences in schema public to {editor}; set role {editor}"
    ))
    .await;
    sql.run(TWO_PEOPLE).await;
    sql.run("update users set name = 'x'; delete from users where id = 1; truncate users cascade")
        .await;
    for statement in [
        "delete from roster.changes",
        "select roster.fold()",
        "select roster.resync_all()",
        "select roster.capture_public_users_insert()",
    ] {
        let refused = refusal(sql.client(), statement).await;
        assert!(
            ["42501", "42883"].contains(&refused.code().code()),
            "{statement}: {refused:?}"
        );
    }
    sql.run("reset role").await;
    assert_eq!(
        users_changes(&sql).await,
        ["insert {1,2}", "update {1,2}", "delete {1}", "truncate {}"]
    );
    sql.run(&format!("drop owned by {editor}; drop role {editor}"))
        .await;
}

#[tokio::test]
async fn a_temporary_table_named_like_the_outbox_captures_nothing() {
    let sql = Sql::enforcing().await;
    sql.run(
        "create temp table changes (like roster.changes including all); create temp table old_rows (id int); create temp table new_rows (id int); \
         create function pg_temp.array_agg(text) returns text[] language sql return array['forged']; \
         set search_path = pg_temp, roster, public, pg_catalog",
    )
    .await;
    sql.run("insert into public.users (email) values ('ada@example.test'); update public.users set name = 'x'")
        .await;
    assert_eq!(sql.row("select count(*) from pg_temp.changes").await, "0");
    assert_eq!(
        sql.rows("select op, user_keys from roster.changes order by id")
            .await,
        ["insert {1}", "update {1}"]
    );
}

#[tokio::test]
async fn names_of_somebody_elses_table_are_never_read_as_statements() {
    let sql = Sql::enforcing().await;
    for name in [
        "$capture$; drop table roster.mirror",
        "x'; drop table roster.mirror; --",
        "x\"\"; drop table roster.mirror; --",
        "%s %L %1$s",
    ] {
        sql.run(&format!(
            "create table public.\"{name}\" (\"{name}\" integer primary key, \"v{name}\" text); \
             do $do$ begin perform roster.watch(c.oid, a.attname) from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum = 1 \
                where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname = replace($name${name}$name$, '\"\"', '\"'); end $do$; \
             delete from roster.changes; \
             insert into public.\"{name}\" values (1, 'a'); update public.\"{name}\" set \"v{name}\" = 'b'"
        ))
        .await;
        let told = "select op, user_keys[1], error from roster.changes order by id";
        assert_eq!(sql.rows(told).await, ["insert 1 -", "update 1 -"], "{name}");
    }
    assert_eq!(
        sql.row("select to_regclass('roster.mirror')").await,
        "roster.mirror"
    );
}

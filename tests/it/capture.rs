//! Capture and bell: whatever changes the table, and however, `roster.changes` tells it and somebody is rung; and the
//! application never notices.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use roster::db::connect::Endpoint;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client};

use crate::support::sql::{Sql, refusal, rows, run};

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
        sql.rows("select code, users, examples from roster.problems where problem = 'row not acceptable' order by 1")
            .await,
        ["email_invalid 1 {1}", "email_missing 1 {3}", "email_too_long 1 {2}"]
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

#[tokio::test]
async fn writers_at_any_isolation_level_never_fail_because_of_a_busy_reactor() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run(crate::support::sql::SETTLE).await;
    let reactor = sql.session().await;
    for level in ["read committed", "repeatable read", "serializable"] {
        for round in 0..10 {
            sql.run(&format!(
                "begin isolation level {level}; update users set name = '{level} {round}' where id = 1"
            ))
            .await;
            // Meanwhile the reactor does all it ever does to these tables.
            run(
                &reactor,
                "select roster.fold(); select roster.sweep(); update roster.mirror set generation = generation + 1, due = not due; \
                 update roster.accounts set observed_at = now()",
            )
            .await;
            sql.run("update users set role = role || 'x', name = 'again'; insert into user_permissions values (2, 'p'); delete from user_permissions; commit")
                .await;
        }
    }
    run(&reactor, "select roster.fold()").await;
    assert_eq!(sql.plan().await, ["1 update due", "2 update due"]);
}

/// What arrives on a session that listens, in order.
struct Bell {
    payloads: UnboundedReceiver<String>,
    // The session ends with its client.
    client: Client,
}

impl Bell {
    async fn listen(sql: &Sql) -> Self {
        let endpoint = Endpoint::parse(&sql.database().url()).expect("a test database");
        let (client, mut connection) = endpoint.connect().await.expect("a listening session");
        let (sender, payloads) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(note) = message {
                    let _ = sender.send(note.payload().to_owned());
                }
            }
        });
        run(&client, "listen roster").await;
        Self { payloads, client }
    }

    /// How often it rang up to now: a last notification of our own marks the end.
    async fn rings(&mut self) -> usize {
        run(&self.client, "select pg_notify('roster', 'end')").await;
        let mut rings = 0;
        loop {
            let payload = tokio::time::timeout(Duration::from_secs(30), self.payloads.recv())
                .await
                .expect("the mark arrives")
                .expect("the session stands");
            match payload.as_str() {
                "end" => return rings,
                _ => rings += 1,
            }
        }
    }
}

/// Takes the bell for all of the next minute, as if somebody were ringing in each of its moments.
const HOLD_THE_BELL: &str = "begin; select pg_advisory_xact_lock(1380930373, \
    ((extract(epoch from clock_timestamp()) * 50)::bigint + n & 2147483647)::integer) from generate_series(-50, 3000) n";

#[tokio::test]
async fn a_commit_rings_once_and_a_rollback_or_a_statement_without_change_does_not() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    sql.run("begin").await;
    sql.run(TWO_PEOPLE).await;
    sql.run("update users set name = 'x'").await;
    assert_eq!(bell.rings().await, 0, "not before the commit");
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    sql.run("update users set name = name; begin; delete from users; rollback")
        .await;
    assert_eq!(bell.rings().await, 0);
    sql.run("set roster.bell = off; update users set name = 'y'")
        .await;
    assert_eq!(bell.rings().await, 0);
}

#[tokio::test]
async fn immediate_constraints_ring_at_commit_all_the_same() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    sql.run("begin; set constraints all immediate").await;
    sql.run(TWO_PEOPLE).await;
    assert_eq!(bell.rings().await, 0);
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    sql.run("begin; set constraints all immediate; delete from users; rollback")
        .await;
    assert_eq!(bell.rings().await, 0);
}

#[tokio::test]
async fn what_a_ringer_silenced_before_it_rolled_back_is_found_by_the_poll() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    let ringer = sql.session().await;
    run(&ringer, HOLD_THE_BELL).await;
    sql.run(TWO_PEOPLE).await;
    run(&ringer, "rollback").await;
    assert_eq!(bell.rings().await, 0, "it relied on the other");
    assert_eq!(sql.row("select folded from roster.fold()").await, "1");
    assert_eq!(sql.plan().await, ["1 create due", "2 create due"]);
}

#[tokio::test]
async fn a_serializable_transaction_rings_without_asking() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    let ringer = sql.session().await;
    run(&ringer, HOLD_THE_BELL).await;
    sql.run("begin isolation level serializable").await;
    sql.run(TWO_PEOPLE).await;
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    run(&ringer, "rollback").await;
}

#[tokio::test]
async fn two_phase_commit_works_with_the_bell_off() {
    let sql = Sql::enforcing().await;
    let prepare = format!("prepare transaction '{}'", sql.database().name());
    sql.run("begin").await;
    sql.run(TWO_PEOPLE).await;
    assert_eq!(sql.refusal(&prepare).await.code().code(), "0A000");
    sql.run("rollback; begin; set local roster.bell = off")
        .await;
    sql.run(TWO_PEOPLE).await;
    sql.run(&prepare).await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "0");
    sql.run(&format!("commit prepared '{}'", sql.database().name()))
        .await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "1");
}

#[tokio::test]
async fn a_control_function_rings_too() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("select roster.fold()").await;
    let mut bell = Bell::listen(&sql).await;
    for (rung, button) in [
        "roster.resync('1')",
        "roster.resync_all()",
        "roster.pause('maintenance')",
        "roster.resume()",
        "roster.set_mode('additive')",
        "roster.invite('1')",
        "roster.follow('1', 'google-oauth2|1', 'ada@example.test')",
    ]
    .into_iter()
    .enumerate()
    {
        // One at a time, each in a moment of its own.
        tokio::time::sleep(Duration::from_millis(25)).await;
        sql.run(&format!("select {button}")).await;
        assert_eq!(bell.rings().await, 1, "{rung}: {button}");
    }
    assert_eq!(
        rows(
            sql.client(),
            "select count(*) from roster.history where relation is null"
        )
        .await,
        ["7"]
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

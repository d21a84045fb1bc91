//! `roster migrate`: on an empty database, on one that has users already, twice, and by somebody with few rights.

use roster::db::migrate::{Report, is_installed, migrate, script};
use tokio_postgres::Client;

use crate::support::database::Database;

async fn texts(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.expect(query);
    rows.iter().map(|row| row.get(0)).collect()
}

async fn migrated(client: &mut Client) -> Report {
    migrate(client, false).await.expect("a migration")
}

#[tokio::test]
async fn an_empty_database_gets_the_tables_the_triggers_and_the_planner() {
    let database = Database::empty().await;
    let mut client = database.client().await;
    let report = migrated(&mut client).await;
    assert_eq!(report.applied.len(), 6);
    assert_eq!(report.view_to_write, None);
    assert_eq!(report.indexes, Vec::<String>::new());
    assert_eq!(
        report.watched,
        [
            "public.role_permissions",
            "public.user_permissions",
            "public.users"
        ]
    );
    assert!(is_installed(&client).await.expect("an answer"));
    client
        .batch_execute("insert into users (email) values ('ada@example.test')")
        .await
        .expect("the guide's table takes a row with an address alone");
    assert_eq!(texts(&client, "select role from users").await, ["Artist"]);
    assert_eq!(
        texts(&client, "select action from roster.plan").await,
        ["look"]
    );
}

#[tokio::test]
async fn a_second_migrate_changes_nothing() {
    let database = Database::migrated().await;
    let mut client = database.client().await;
    let objects = "select pg_describe_object(classid, objid, 0) || coalesce(obj_description(objid), '') \
        from (select 'pg_class'::regclass as classid, oid as objid from pg_class where relnamespace in ('roster'::regnamespace, 'public'::regnamespace) \
        union all select 'pg_proc'::regclass, oid from pg_proc where pronamespace = 'roster'::regnamespace \
        union all select 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal) o order by 1";
    let before = texts(&client, objects).await;
    let report = migrated(&mut client).await;
    assert_eq!(report.applied, Vec::<String>::new());
    let after = texts(&client, objects).await;
    let changed: Vec<_> = after.iter().filter(|o| !before.contains(o)).collect();
    assert_eq!(changed, Vec::<&String>::new());
    assert_eq!(after.len(), before.len());
}

#[tokio::test]
async fn an_adopted_users_table_is_left_as_it_is() {
    let database = Database::empty().await;
    let mut client = database.client().await;
    client
        .batch_execute(
            "create table users (id serial primary key, auth0_user_id varchar(255) unique, email varchar(255) unique not null, \
             name varchar(255), role varchar(50) not null default 'Artist', created_at timestamp, updated_at timestamp); \
             insert into users (email, name) values ('Old@example.test', 'Old')",
        )
        .await
        .expect("the guide's table, before Roster");
    let shape = "select attname::text || attnum from pg_attribute where attrelid = 'users'::regclass and attnum > 0 \
        union all select indexdef from pg_indexes where tablename = 'users' order by 1";
    let before = texts(&client, shape).await;
    let report = migrated(&mut client).await;
    assert_eq!(texts(&client, shape).await, before);
    assert_eq!(report.indexes.len(), 2, "{:?}", report.indexes);
    // Who was there before is looked at, not created.
    client
        .batch_execute("select roster.fold()")
        .await
        .expect("a fold");
    assert_eq!(
        texts(
            &client,
            "select action || ' ' || baseline from roster.plan join roster.mirror using (user_key)"
        )
        .await,
        ["look true"]
    );

    let report = migrate(&mut client, true)
        .await
        .expect("indexes on request");
    assert_eq!(report.indexes, Vec::<String>::new());
    let report = migrated(&mut client).await;
    assert_eq!(
        report.indexes,
        Vec::<String>::new(),
        "the built ones are recognised"
    );
}

#[tokio::test]
async fn a_users_table_of_another_shape_gets_a_view_to_write_and_then_everything() {
    let database = Database::empty().await;
    let mut client = database.client().await;
    client
        .batch_execute("create table users (id uuid primary key default gen_random_uuid(), mail text not null)")
        .await
        .expect("another shape");
    let report = migrated(&mut client).await;
    let proposal = report.view_to_write.expect("a proposal");
    assert!(
        proposal.contains("create view roster.desired_users"),
        "{proposal}"
    );
    assert!(proposal.contains("id, mail"), "{proposal}");
    assert!(!is_installed(&client).await.expect("an answer"));

    client
        .batch_execute(&proposal.replace("/* its address */ null::text", "u.mail"))
        .await
        .expect("the proposal is a statement that runs");
    let report = migrated(&mut client).await;
    assert_eq!(report.view_to_write, None);
    assert!(
        report.users_unwatched,
        "nothing is captured yet, and it says so"
    );
    assert!(is_installed(&client).await.expect("an answer"));
    client
        .batch_execute(
            "select roster.watch('public.users', 'id'); \
             insert into users (mail) values ('ada@example.test'); select roster.fold()",
        )
        .await
        .expect("capture on the adopted table");
    assert_eq!(
        texts(&client, "select email from roster.plan").await,
        ["ada@example.test"]
    );
}

#[tokio::test]
async fn a_view_the_dba_changed_survives_a_migrate() {
    let database = Database::migrated().await;
    let mut client = database.client().await;
    client
        .batch_execute(
            "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
             '{}'::text[] as permissions, blocked, auth0_user_id::text, '{\"team\": 1}'::jsonb as app_metadata, '{}'::jsonb as user_metadata \
             from public.users where role <> 'Hidden'",
        )
        .await
        .expect("the DBA's own mapping");
    migrated(&mut client).await;
    let view = texts(&client, "select pg_get_viewdef('roster.desired_users')").await;
    assert!(view[0].contains("Hidden"));
}

#[tokio::test]
async fn the_owner_of_the_database_can_migrate_without_superuser_and_is_told_what_is_left() {
    let database = Database::empty().await;
    let admin = database.client().await;
    let owner = format!("owner_of_{}", database.name());
    admin
        .batch_execute(&format!(
            "create role {owner} login password 'x' nosuperuser nocreaterole; \
             alter database {name} owner to {owner}; alter schema public owner to {owner}",
            name = database.name()
        ))
        .await
        .expect("an owner with few rights");
    let mut client = database.client().await;
    client
        .batch_execute(&format!("set session authorization {owner}"))
        .await
        .expect("a session as the owner");
    let report = migrated(&mut client).await;
    assert_eq!(report.view_to_write, None);
    assert!(
        report
            .for_a_superuser
            .iter()
            .any(|s| s.contains("roster_owner")),
        "{:?}",
        report.for_a_superuser
    );
    // Capture works for somebody who may only edit users.
    let editor = format!("editor_of_{}", database.name());
    client
        .batch_execute(&format!("reset session authorization; create role {editor} nosuperuser; grant select, insert, update, delete on public.users to {editor}; grant usage on all sequences in schema public to {editor}; set session authorization {editor}; insert into public.users (email) values ('ada@example.test')"))
        .await
        .expect("an editor without any right in schema roster");
    let refused = client.query("select * from roster.changes", &[]).await;
    assert!(
        refused.is_err(),
        "an editor needs no right on roster, and has none"
    );
    client
        .batch_execute("reset session authorization")
        .await
        .expect("the superuser again");
    assert_eq!(
        texts(
            &client,
            "select changed_by from roster.changes where op = 'insert'"
        )
        .await,
        std::slice::from_ref(&editor)
    );
    client
        .batch_execute(&format!("drop owned by {editor} cascade; drop role {editor}; reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}"))
        .await
        .expect("the roles are gone again");
}

#[tokio::test]
async fn every_object_has_a_comment() {
    let database = Database::migrated().await;
    let client = database.client().await;
    let bare = texts(
        &client,
        "select c.relname::text from pg_class c where relnamespace = 'roster'::regnamespace and relkind in ('r', 'v') and obj_description(c.oid, 'pg_class') is null \
         union all select p.proname::text from pg_proc p where pronamespace = 'roster'::regnamespace and obj_description(p.oid, 'pg_proc') is null \
         union all select t.tgname::text from pg_trigger t where not tgisinternal and obj_description(t.oid, 'pg_trigger') is null \
         union all select t.typname::text from pg_type t where typnamespace = 'roster'::regnamespace and typtype = 'e' and obj_description(t.oid, 'pg_type') is null",
    )
    .await;
    assert_eq!(bare, Vec::<String>::new());
}

#[tokio::test]
async fn the_printed_script_does_what_migrate_does() {
    let database = Database::empty().await;
    let mut client = database.client().await;
    let sql = script(&mut client).await.expect("a script");
    client.batch_execute(&sql).await.expect("the script runs");
    assert!(is_installed(&client).await.expect("an answer"));
    assert_eq!(
        texts(&client, "select relation from roster.watched order by 1")
            .await
            .len(),
        3
    );
    let report = migrated(&mut client).await;
    assert_eq!(
        report.applied,
        Vec::<String>::new(),
        "what was run by hand is known"
    );
}

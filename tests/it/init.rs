//! `roster init`: users tables that nobody here designed are looked at, mapped, adopted, and mirrored.

use roster::db::adopt::{self, Proposal, Unclear};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::rights::{log_in, log_out, looks};
use crate::support::{
    Database,
    process::{output, roster},
    world::World,
};

/// A key that is a uuid, an address called `mail`, a name in two parts, a flag the other way round.
const PEOPLE: &str = "create schema hr; create table hr.people (
        uid uuid primary key default gen_random_uuid(), mail text not null unique, first_name text, last_name text, dept text,
        \"Role\" text, active boolean not null default true, \"auth0 id\" text);
    insert into hr.people (uid, mail, first_name, last_name, \"Role\", active) values
        ('00000000-0000-0000-0000-000000000001', 'Ada@example.test', 'Ada', 'Lovelace', 'Editor', true),
        ('00000000-0000-0000-0000-000000000002', 'bob@example.test', 'Bob', null, null, false)";

/// Roles stand in a table of their own, and somebody may have several.
const MEMBERS: &str = "create table accounts (account_id bigint generated always as identity primary key, email_address varchar(200) not null,
        display_name text, auth0_sub text);
    create table roles_of_us (id serial primary key, title text not null);
    create table account_roles (account_id bigint references accounts on delete cascade, role_id integer references roles_of_us,
        primary key (account_id, role_id));
    insert into accounts (email_address, display_name) values ('ada@example.test', 'Ada'), ('bob@example.test', 'Bob');
    insert into roles_of_us (title) values ('writer'), ('admin');
    insert into account_roles values (1, 1), (1, 2)";

/// Nobody is ever deleted; a role is a reference.
const CUSTOMERS: &str = "create schema \"Shop\"; create table \"Shop\".role (code text primary key, label text);
    create table \"Shop\".\"Customers\" (id integer primary key, \"E_Mail\" text, username text, role_code text references \"Shop\".role,
        is_locked boolean, deleted_at timestamptz);
    insert into \"Shop\".role values ('a', 'Artist'), ('b', 'Buyer');
    insert into \"Shop\".\"Customers\" values (7, 'ada@example.test', 'ada', 'a', null, null), (8, 'bob@example.test', 'bob', 'b', true, null),
        (9, 'gone@example.test', 'gone', 'b', false, now())";

async fn looked_at(sql: &Client, table: &str) -> Result<Proposal, Unclear> {
    let shape = adopt::inspect(sql, table).await.expect("a look");
    adopt::proposal::propose(&shape.expect("a table"), &[])
}

/// The first five users as a proposal maps them: key, address, name, role, permissions, blocked.
async fn mapped(database: &Database, table: &str) -> Vec<Value> {
    let sql = database.client().await;
    let proposal = looked_at(&sql, table).await.expect("a proposal");
    let users = adopt::sample(&sql, &proposal, 5).await;
    let users = users.unwrap_or_else(|error| panic!("{}: {error:?}", proposal.select));
    users
        .iter()
        .map(|user| {
            json!([
                user["user_key"],
                user["email"],
                user["name"],
                user["role"],
                user["permissions"],
                user["blocked"]
            ])
        })
        .collect()
}

async fn holding(tables: &str) -> Database {
    let database = Database::empty().await;
    let sql = database.client().await;
    sql.batch_execute(tables).await.expect(tables);
    database
}

#[tokio::test]
async fn three_shapes_are_mapped_by_what_their_columns_are_called() {
    let people = holding(PEOPLE).await;
    assert_eq!(
        mapped(&people, "hr.people").await,
        [
            json!([
                "00000000-0000-0000-0000-000000000001",
                "Ada@example.test",
                "Ada Lovelace",
                "Editor",
                [],
                false
            ]),
            json!([
                "00000000-0000-0000-0000-000000000002",
                "bob@example.test",
                "Bob",
                null,
                [],
                true
            ]),
        ]
    );
    let members = holding(MEMBERS).await;
    assert_eq!(
        mapped(&members, "accounts").await,
        [
            json!([
                "1",
                "ada@example.test",
                "Ada",
                "admin",
                ["role:admin", "role:writer"],
                false
            ]),
            json!(["2", "bob@example.test", "Bob", null, [], false]),
        ]
    );
    let customers = holding(CUSTOMERS).await;
    assert_eq!(
        mapped(&customers, "\"Shop\".\"Customers\"").await,
        [
            json!(["7", "ada@example.test", "ada", "Artist", [], false]),
            json!(["8", "bob@example.test", "bob", "Buyer", [], true]),
        ]
    );
}

/// What the command does: it says so on stdout, or why not on stderr, with its exit code.
async fn init(database: &Database, words: &[&str]) -> (i32, String, String) {
    let mut command = roster(database, "init --users-table");
    command.args(words);
    output(command).await
}

/// A reactor on a database that was adopted by the command, once everybody is in Auth0.
async fn adopted(tables: &str, table: &str) -> World {
    let database = holding(tables).await;
    let (code, told, error) = init(&database, &[table]).await;
    assert_eq!(code, 0, "{error}");
    assert!(told.contains("Nothing is written"), "{told}");
    let sql = database.client().await;
    let schema = "select to_regnamespace('roster') is null";
    assert!(
        sql.query_one(schema, &[])
            .await
            .expect(schema)
            .get::<_, bool>(0)
    );
    let (code, _, error) = init(&database, &[table, "--apply"]).await;
    assert_eq!(code, 0, "{error}");
    let guides = "select to_regclass('public.users') is null and to_regclass('public.role_permissions') is null";
    assert!(
        sql.query_one(guides, &[])
            .await
            .expect(guides)
            .get::<_, bool>(0),
        "no table that nobody asked for"
    );
    drop(sql);
    let world = World::installed(database, |_| {}).await;
    world.enforce().await;
    world.settle().await;
    world
}

async fn role_in_auth0(world: &World, email: &str) -> Value {
    let user = world.tenant.user(email).await.expect(email);
    user["app_metadata"]["role"].clone()
}

#[tokio::test]
async fn people_with_a_uuid_and_a_flag_are_adopted_and_followed() {
    let world = adopted(PEOPLE, "hr.people").await;
    assert_eq!(role_in_auth0(&world, "ada@example.test").await, "Editor");
    world
        .run("update hr.people set \"Role\" = 'Chief', dept = 'x' where mail like 'Ada%'")
        .await;
    world.settle().await;
    assert_eq!(role_in_auth0(&world, "ada@example.test").await, "Chief");
    assert!(
        world
            .says("select bool_and(\"auth0 id\" like 'auth0|%') from hr.people where active")
            .await,
        "the id is written back"
    );
    world
        .run("update hr.people set active = false where mail like 'Ada%'")
        .await;
    world.settle().await;
    let ada = world.tenant.user("ada@example.test").await.expect("Ada");
    assert_eq!(ada["blocked"], true);
}

#[tokio::test]
async fn members_with_roles_in_a_table_beside_are_adopted_and_followed() {
    let world = adopted(MEMBERS, "accounts").await;
    assert_eq!(role_in_auth0(&world, "ada@example.test").await, "admin");
    world.run("delete from account_roles where role_id = 2; update roles_of_us set title = 'author' where id = 1").await;
    world.settle().await;
    assert_eq!(role_in_auth0(&world, "ada@example.test").await, "author");
    assert!(
        world
            .says("select bool_and(auth0_sub like 'auth0|%') from accounts")
            .await
    );
    world
        .run("select roster.import_begin('x', array['email', 'name'])")
        .await;
}

#[tokio::test]
async fn customers_who_are_never_deleted_are_adopted_and_followed() {
    let world = adopted(CUSTOMERS, "\"Shop\".\"Customers\"").await;
    assert_eq!(role_in_auth0(&world, "ada@example.test").await, "Artist");
    assert!(world.tenant.user("gone@example.test").await.is_none());
    world
        .run("update \"Shop\".\"Customers\" set deleted_at = now() where id = 7")
        .await;
    world.settle().await;
    let ada = world.tenant.user("ada@example.test").await.expect("Ada");
    assert_eq!(ada["blocked"], true);
}

#[tokio::test]
async fn doctor_finds_what_init_built() {
    let database = holding(CUSTOMERS).await;
    let (code, _, error) = init(&database, &["\"Shop\".\"Customers\"", "--apply"]).await;
    assert_eq!(code, 0, "{error}");
    let sql = database.client().await;
    let slow = roster::db::doctor::slow_lookups(&sql)
        .await
        .expect("a look");
    assert_eq!(slow, Vec::<String>::new());
    let off = "select count(*) from roster.capture_off";
    assert_eq!(
        sql.query_one(off, &[]).await.expect(off).get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn what_cannot_be_guessed_is_asked_for() {
    let database = holding(
        "create table staff (id int primary key, contact text, nick text, \"isBoss\" boolean); create table keyless (email text)",
    )
    .await;
    for (words, told) in [
        (vec!["staff"], "--column email=COLUMN"),
        (vec!["staff", "--column", "email=mail"], "no column mail"),
        (vec!["staff", "--column", "boss=isBoss"], "WHAT one of"),
        (vec!["keyless"], "no key of one column"),
        (vec!["nowhere.people"], "no table nowhere.people"),
        (vec!["a.b.c.d"], "no table a.b.c.d"),
        (vec!["\"half"], "no table \"half"),
    ] {
        let (code, _, error) = init(&database, &words).await;
        assert_eq!(code, 4, "{words:?}: {error}");
        assert!(error.contains(told), "{words:?}: {error}");
    }
    // Who is blocked is nobody's guess: it is said that it was not made, and what may be meant; whatever that is called.
    let odd = "create table odd (id int primary key, email text, \"x */ from nowhere\" boolean)";
    database.client().await.batch_execute(odd).await.expect(odd);
    for (words, asked) in [
        (
            vec!["staff", "--column", "email=contact"],
            "mean it: isBoss? --column blocked=COLUMN",
        ),
        (vec!["odd"], "mean it: x * / from nowhere? --column"),
    ] {
        let (code, told, error) = init(&database, &words).await;
        assert_eq!(code, 0, "{words:?}: {error}");
        assert!(told.contains(asked), "{words:?}: {told}");
    }
    let words = [
        "staff",
        "--column",
        "email=contact",
        "--column",
        "name=nick",
        "--column",
        "blocked=isBoss",
        "--apply",
        "--json",
    ];
    let (code, told, error) = init(&database, &words).await;
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let view = told["view"].as_str().expect("a view");
    assert!(
        view.contains("u.contact::text as email") && view.contains("u.\"isBoss\" is true"),
        "{view}"
    );
    let (code, _, error) = init(&database, &["staff", "--apply"]).await;
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("mapped already"), "{error}");
}

#[tokio::test]
async fn a_users_table_in_a_schema_of_its_own_needs_no_right_on_that_schema() {
    let world = adopted(PEOPLE, "hr.people").await;
    for role in ["roster_reader", "roster_server", "roster_reactor"] {
        let (name, endpoint) = log_in(&world, role).await;
        let session = endpoint.session().await.expect("a session");
        for view in ["capture_off", "status", "problems"] {
            if role == "roster_server" && view != "capture_off" {
                continue;
            }
            let query = format!("select * from roster.{view}");
            let read = session.batch_execute(&query).await;
            assert!(read.is_ok(), "{role}: {query}: {read:?}");
        }
        if role == "roster_server" {
            looks(&endpoint).await;
        }
        drop(session);
        log_out(&world, &name).await;
    }
    world
        .run(
            "insert into roster.audits (state, finished_at) values ('finished', now());
             insert into roster.drift_found (audit, kind, user_key, email, changes)
             select max(a.id), k.kind, d.user_key, d.email, '{\"email\": {\"from\": \"new@example.test\", \"to\": \"old\"}}'
             from roster.audits a, roster.desired_users d, (values ('changed'), ('ban made elsewhere')) k (kind)
             where d.email ilike 'ada@%' group by k.kind, d.user_key, d.email",
        )
        .await;
    let adopted = world
        .texts("select statement from roster.adopt_drift('all') order by statement")
        .await
        .join("\n");
    assert!(
        adopted.contains("update hr.people set mail = 'new@example.test' where uid =")
            && adopted.contains("-- hr.people has no column blocked"),
        "{adopted}"
    );
}

//! Log-ins with the documented grants and nothing else can do their work, and no more.

use roster::{
    audit::Audit,
    db::{
        connect::Endpoint,
        console::{
            drift,
            edit::{Author, Outcome},
            imports::{self, Step},
            problems, roles,
        },
        directory::{self, Feed, Found, search},
    },
    user::Auth0UserId,
};
use tokio_postgres::{Client, error::SqlState};
use tokio_util::sync::CancellationToken;

use crate::support::world::{World, eventually};

/// A log-in of its own that is granted one of Roster's roles.
pub(crate) async fn log_in(world: &World, role: &str) -> (String, Endpoint) {
    let name = format!("{role}_of_{}", world.database.name());
    world
        .run(&format!("create role {name} login; grant {role} to {name}"))
        .await;
    let (_, rest) = world
        .database
        .url()
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("user@host");
    let endpoint = Endpoint::parse(&format!("postgres://{name}@{rest}")).expect("an URL");
    (name, endpoint)
}

/// Once its sessions have ended, and their temporary tables with them.
pub(crate) async fn log_out(world: &World, name: &str) {
    let drop = format!("drop role {name}");
    eventually(&drop, async || world.sql.batch_execute(&drop).await.is_ok()).await;
}

/// What keeps a server's memory, once it has looked and found nothing that it could miss.
pub(crate) async fn looks(endpoint: &Endpoint) -> Feed {
    let feed = Feed::connect(endpoint).await.expect("a session that looks");
    let then = feed.begin().await.expect("a snapshot");
    assert!(feed.look(&then).await.is_ok());
    assert_eq!(feed.blind().await.expect("an answer"), Vec::<String>::new());
    feed
}

async fn is_denied(client: &Client, statement: &str) {
    let refused = client.batch_execute(statement).await.expect_err(statement);
    assert_eq!(
        refused.code(),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE),
        "{statement}"
    );
}

#[tokio::test]
async fn a_reactor_runs_with_the_role_roster_reactor_alone() {
    let world = World::new().await;
    let (name, endpoint) = log_in(&world, "roster_reactor").await;
    let running = world.start_on(endpoint.clone(), |_| {});
    world
        .run("insert into users (email, name) values ('ada@example.test', 'Ada')")
        .await;
    world
        .until("select auth0_user_id is not null from users")
        .await;
    world.run("delete from users").await;
    world.run("select roster.release_held('all')").await;
    world
        .until("select bool_and(blocked) from roster.accounts")
        .await;
    running.stop().await;
    let client = endpoint.session().await.expect("a session");
    is_denied(&client, "select * from public.users").await;
    is_denied(&client, "select roster.unwatch('public.users')").await;
    drop(client);
    log_out(&world, &name).await;
}

#[tokio::test]
async fn an_audit_is_made_with_the_role_roster_reactor_alone() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    // As late as an export may be.
    let a_while = serde_json::json!({"advance_seconds": 10});
    world.tenant.control("clock", a_while).await;
    let (name, endpoint) = log_in(&world, "roster_reactor").await;
    let audit = Audit::new(endpoint, world.reactor.client.clone(), 1);
    let summary = audit.run(&(), &CancellationToken::new()).await;
    assert_eq!(summary.expect("an audit").accounts_seen, 1);
    log_out(&world, &name).await;
}

#[tokio::test]
async fn a_server_looks_up_and_follows_with_the_role_roster_server_alone() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    let (name, endpoint) = log_in(&world, "roster_server").await;
    let pool = endpoint.pool(1);
    let google = Auth0UserId::from("google-oauth2|1");
    let found = directory::find(&pool, &google, Some("ada@example.test")).await;
    assert!(found.is_ok(), "{found:?}");
    let found = search::candidates(&pool, "", 10, &["read".to_owned()]).await;
    assert_eq!(found.map(|found| found.looked).ok(), Some(1));
    let ada = search::Wanted {
        id: "google-oauth2|1",
        may_be_key: true,
    };
    let meant = search::holders(&pool, &[ada]).await;
    assert_eq!(meant.ok(), Some(vec![search::Meant::Nobody]));
    let client = endpoint.session().await.expect("a session");
    client
        .batch_execute("select roster.follow((select user_key from roster.mirror), 'google-oauth2|1', 'ada@example.test')")
        .await
        .expect("the one thing it writes");
    let feed = looks(&endpoint).await;
    let (batches, mut read) = tokio::sync::mpsc::channel(4);
    let loaded = directory::load(&endpoint, feed.server(), batches).await;
    assert!(loaded.is_ok(), "{loaded:?}");
    assert_eq!(read.recv().await.expect("that it begins").len(), 0);
    assert_eq!(read.recv().await.expect("a batch").len(), 1);
    feed.ring("nonce").await.expect("a bell");
    drop(feed);
    is_denied(&client, "select * from public.users").await;
    is_denied(&client, "update roster.mirror set due = true").await;
    is_denied(&client, "select roster.set_mode('enforce')").await;
    drop((client, pool));
    log_out(&world, &name).await;
}

#[tokio::test]
async fn a_server_sees_every_user_although_row_security_hides_the_table_from_its_log_in() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world
        .run(
            "alter table public.users enable row level security;
             create policy nobody on public.users using (false)",
        )
        .await;
    let (name, endpoint) = log_in(&world, "roster_server").await;
    let pool = endpoint.pool(1);
    let google = Auth0UserId::from("google-oauth2|1");
    let answer = directory::find(&pool, &google, Some("ada@example.test")).await;
    let found = answer.expect("an answer").found;
    assert!(matches!(found, Found::User(_)), "{found:?}");
    drop(pool);
    log_out(&world, &name).await;
}

#[tokio::test]
async fn an_operator_presses_the_buttons_and_a_reader_only_looks() {
    let world = World::new().await;
    let (operator, endpoint) = log_in(&world, "roster_operator").await;
    let client = endpoint.session().await.expect("a session");
    client
        .batch_execute("select * from roster.status; select roster.pause('x'); select roster.resume(); select roster.resync_all()")
        .await
        .expect("an operator's buttons");
    is_denied(&client, "delete from roster.changes").await;
    drop(client);
    let (reader, endpoint) = log_in(&world, "roster_reader").await;
    let client = endpoint.session().await.expect("a session");
    client
        .batch_execute(
            "select * from roster.status; select * from roster.plan; select * from roster.problems; select * from roster.drift",
        )
        .await
        .expect("a reader's views");
    is_denied(&client, "select roster.pause('x')").await;
    is_denied(&client, "select roster.revert_drift('all')").await;
    drop(client);
    log_out(&world, &operator).await;
    log_out(&world, &reader).await;
}

#[tokio::test]
async fn a_console_needs_the_role_roster_operator_and_to_write_the_applications_tables() {
    let world = World::new().await;
    let (name, endpoint) = log_in(&world, "roster_operator").await;
    world
        .run(&format!(
            "grant select, insert, update, delete on users, user_permissions, roles, role_permissions to {name}; grant usage on sequence users_id_seq to {name}"
        ))
        .await;
    let pool = endpoint.pool(2);
    let author = Author {
        actor: "ada".to_owned(),
        user_key: None,
    };
    let file = b"email,name\nada@example.test,Ada\n";
    let id = imports::read(&pool, &author, file, &imports::Reading::default()).await;
    let id = id.expect("a file that was read");
    for step in [Step::Check, Step::Apply { skip_bad: false }] {
        assert!(imports::claim(&pool, id, step).await.expect("an answer"));
        imports::work(&pool, &author, id, step).await;
    }
    assert_eq!(
        world
            .texts("select concat_ws(' ', step, new, error) from roster.imports")
            .await,
        ["applied 1"]
    );
    let change = roles::Change {
        role: "Artist".to_owned(),
        permission: "songs:read".to_owned(),
        given: true,
    };
    let saved = roles::save(&pool, &author, &[change]).await;
    assert!(matches!(saved, Ok(Outcome::Done(_))), "{saved:?}");
    drift::ask(&pool, &author)
        .await
        .expect("an audit asked for");
    let retried = problems::retry(&pool, &author, "server_error").await;
    assert_eq!(retried.expect("a retry"), 0);
    drop(pool);
    log_out_with_rights(&world, &name).await;
}

/// As [`log_out`], of who was granted the application's tables.
async fn log_out_with_rights(world: &World, name: &str) {
    world.run(&format!("drop owned by {name}")).await;
    log_out(world, name).await;
}

//! Roster comes to a table and a tenant that have people already: nobody is changed before a person says so, nobody is mailed by the way.

use serde_json::{Value, json};

use roster::db::mirror;

use crate::support::{Database, world::World};

const GUIDES_TABLE: &str = "create table users (id serial primary key, auth0_user_id varchar(255) unique, email varchar(255) unique not null, \
    name varchar(255), role varchar(50) not null default 'Artist', created_at timestamp default current_timestamp, \
    updated_at timestamp default current_timestamp, blocked boolean not null default false)";

/// Ada and Bob were in the table before `roster migrate`; Ada has a verified account.
async fn adopting() -> World {
    let database = Database::empty().await;
    let mut client = database.client().await;
    client
        .batch_execute(&format!(
            "{GUIDES_TABLE}; insert into users (email, name) values ('Ada@example.test', 'ada'), ('bob@example.test', 'bob')"
        ))
        .await
        .expect("the guide's table");
    roster::db::migrate::migrate(&mut client, false)
        .await
        .expect("a migration");
    let world = World::installed(database, |_| {}).await;
    let ada = json!({"user_id": "auth0|ada", "email": "ada@example.test", "email_verified": true, "name": "Countess"});
    world.tenant.has(ada).await;
    world
}

#[tokio::test]
async fn observing_reads_and_writes_nothing() {
    let world = adopting().await;
    world.settle().await;
    world.sweep().await;
    world.add(&["carol@example.test"]).await;
    world
        .run("update users set role = 'Admin' where name = 'ada'; delete from users where name = 'bob'")
        .await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.writes().await, 0);
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    assert!(world.tenant.calls("GET", "/api/v2/users").await >= 2);
    // What would be done stands in the plan.
    let plan = world
        .texts("select email || ' ' || action || ' ' || state from roster.plan order by 1")
        .await;
    assert_eq!(
        plan,
        [
            "Ada@example.test update suppressed",
            "carol@example.test create suppressed"
        ]
    );
}

#[tokio::test]
async fn enforcing_adopts_who_is_there_and_stages_the_invitations_of_the_others() {
    let world = adopting().await;
    world.add(&["carol@example.test"]).await;
    world.settle().await;
    world.enforce().await;
    let ada = world.tenant.account("ada@example.test").await;
    assert_eq!(ada["user_id"], "auth0|ada");
    assert_eq!(ada["name"], "ada");
    assert_eq!(world.tenant.list("users").await.len(), 3);
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    assert_eq!(
        world.plan().await,
        ["2 invite staged", "3 invite staged"],
        "bob and carol"
    );
    world.run("select roster.invite('bob@example.test')").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, ["bob@example.test"]);
    // Whoever is inserted from now on is mailed at once.
    world.add(&["dora@example.test"]).await;
    world.settle().await;
    assert_eq!(
        world.tenant.mailed().await,
        ["bob@example.test", "dora@example.test"]
    );
}

#[tokio::test]
async fn people_who_log_in_with_google_only_get_an_account_and_keep_that_one() {
    let world = World::observing().await;
    let google =
        json!({"user_id": "google-oauth2|7", "email": "ada@example.test", "email_verified": true});
    world.tenant.has(google).await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world.enforce().await;
    let users = world.tenant.list("users").await;
    assert_eq!(users.len(), 2);
    for user in users {
        assert_eq!(user["app_metadata"]["role"], "Artist", "{user}");
    }
}

#[tokio::test]
async fn a_widened_view_brings_people_who_are_looked_at_first_and_mailed_only_on_demand() {
    let world = World::new().await;
    let view = |scope: &str| {
        format!(
            "create or replace view roster.desired_users as select u.id::text as user_key, u.email::text as email, u.name::text as name, \
                u.role::text as role, '{{}}'::text[] as permissions, u.blocked as blocked, u.auth0_user_id::text as auth0_user_id, \
                '{{}}'::jsonb as app_metadata, '{{}}'::jsonb as user_metadata from public.users u where {scope}"
        )
    };
    world.run(&view("u.role <> 'Guest'")).await;
    world.add(&["keep@example.test"]).await;
    world
        .run("insert into users (email, role) values ('guest@example.test', 'Guest')")
        .await;
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    world.run(&view("true")).await;
    world.sweep().await;
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(world.tenant.calls("GET", "/api/v2/users-by-email").await, 1);
    assert_eq!(world.tenant.mailed().await, ["keep@example.test"]);
    world
        .run("select roster.invite('guest@example.test')")
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.mailed().await,
        ["keep@example.test", "guest@example.test"]
    );
}

#[tokio::test]
async fn additive_creates_and_changes_and_blocks_nobody() {
    let world = World::new().await;
    world
        .add(&["ada@example.test", "bob@example.test", "keep@example.test"])
        .await;
    world.settle().await;
    world.run("select roster.set_mode('additive')").await;
    world
        .run(
            "delete from users where name = 'ada'; update users set blocked = true where name = 'bob'; \
             update users set role = 'Admin' where name = 'keep'",
        )
        .await;
    world.add(&["carol@example.test"]).await;
    world.settle_in_time().await;
    world.sweep().await;
    let users = world.tenant.list("users").await;
    assert_eq!(users.len(), 4);
    assert!(users.iter().all(|user| user["blocked"] == Value::Null));
    let keep = world.tenant.account("keep@example.test").await;
    assert_eq!(keep["app_metadata"]["role"], "Admin");
    assert_eq!(
        world.plan().await,
        ["1 block suppressed", "2 block suppressed"]
    );
    world.enforce().await;
    let users = world.tenant.list("users").await;
    let blocked = users.iter().filter(|user| user["blocked"] == true);
    assert_eq!(blocked.count(), 2);
}

#[tokio::test]
async fn a_pause_stops_all_calls_and_resume_goes_on() {
    let world = World::new().await;
    world.run("select roster.pause('maintenance')").await;
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.list("requests").await, Vec::<Value>::new());
    assert_eq!(world.plan().await, ["1 create suppressed"]);
    world.run("select roster.resume()").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, ["ada@example.test"]);
}

#[tokio::test]
async fn what_only_a_sweep_found_during_a_pause_goes_on_when_it_ends() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world.run("select roster.pause('maintenance')").await;
    world.run("alter table users disable trigger all; update users set role = 'Chief'; alter table users enable trigger all").await;
    world.sweep().await;
    world.run("select roster.resume()").await;
    world.settle().await;
    let ada = world.tenant.account("ada@example.test").await;
    assert_eq!(ada["app_metadata"]["role"], "Chief");
}

#[tokio::test]
async fn a_pause_that_overtakes_a_claim_loses_nobody() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.fold().await;
    let (pool, terms) = (&world.reactor.pool, &world.reactor.terms);
    let claims = mirror::claim(pool, terms, 16, &[]).await.expect("claims");
    world.run("select roster.pause('maintenance')").await;
    let begun = mirror::turn(pool, terms, &claims, &[], true).await;
    assert_eq!(begun.expect("a turn").begun.len(), 0);
    world.run("select roster.resume()").await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, ["ada@example.test"]);
}

//! Audit: what others changed in Auth0 is found, confirmed by a look, and mended by the plan alone; a bad export changes nothing.

mod classes;
mod command;
mod kinds;
mod tools;
mod verdicts;

use std::time::Duration;

use roster::{
    audit::{Audit, AuditError, Means, schedule},
    auth0::Patch,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::tools::{audit, audited, drift, lagging};
use crate::support::{
    logs::Logs,
    sql::SETTLE,
    world::{World, client, eventually},
};

#[tokio::test]
async fn who_is_in_sync_is_found_so_without_a_look() {
    let world = World::new().await;
    world.add_many(5).await;
    world.settle().await;
    world.tenant.forget_requests().await;
    let summary = audited(&world).await;
    assert_eq!((summary.accounts_seen, summary.accounts_linked), (5, 5));
    assert_eq!((summary.candidates, summary.open), (0, 0));
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 0);
    assert!(
        world
            .says("select last_audit_at is not null and drift = 0 from roster.status")
            .await
    );
}

#[tokio::test]
async fn an_audit_of_a_thousand_users_looks_only_at_whom_it_doubts() {
    let world = World::new().await;
    world.add_many(1000).await;
    world.run(SETTLE).await;
    let accounts = "select json_agg(json_build_object('user_id', auth0_user_id, 'email', email, 'name', name, 'app_metadata', app_metadata))::text from roster.accounts";
    let accounts = world.texts(accounts).await.remove(0);
    let accounts = serde_json::from_str(&accounts).expect("a list");
    world.tenant.control("users", accounts).await;
    let elsewhere = json!({"email": "nobody@example.test"});
    world.tenant.has(elsewhere).await;
    world.tenant.forget_requests().await;
    let summary = audited(&world).await;
    assert_eq!(
        (summary.accounts_seen, summary.candidates, summary.open),
        (1001, 1, 1)
    );
    assert_eq!(world.tenant.calls("GET", "/api/v2/users").await, 1);
    assert_eq!(drift(&world).await, ["extra nobody@example.test"]);
}

#[tokio::test]
async fn of_too_many_the_most_urgent_are_looked_at_and_the_rest_counted() {
    let world = World::new().await;
    world.add_many(5).await;
    world.settle().await;
    world
        .run("update users set blocked = true where id = 5")
        .await;
    world.settle().await;
    let unblocked = Patch {
        blocked: Some(false),
        ..Patch::default()
    };
    world
        .tenant
        .somebody_patches("user-5@example.test", unblocked)
        .await;
    for n in 1..=4 {
        tools::renamed(&world, &format!("user-{n}@example.test"), "Somebody").await;
    }
    world.time_passes().await;
    let mut few = tools::of(&world);
    few.most = 2;
    let summary = few
        .run(&(), &CancellationToken::new())
        .await
        .expect("an audit");
    assert_eq!(
        (summary.candidates, summary.unconfirmed, summary.open),
        (5, 3, 2)
    );
    assert_eq!(
        drift(&world).await[0],
        "blocked mismatch user-5@example.test"
    );
}

#[tokio::test]
async fn what_an_export_is_too_late_to_know_is_confirmed_away() {
    let world = lagging().await;
    world.add(&["ada@example.test", "bob@example.test"]).await;
    world.settle().await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    world
        .run("update users set role = 'Admin' where name = 'ada'")
        .await;
    world.add(&["cyd@example.test"]).await;
    world.settle().await;
    let summary = audit(&world).await.expect("an audit");
    assert_eq!(summary.accounts_seen, 2, "as it was a minute ago");
    assert_eq!((summary.candidates, summary.open), (2, 0));
}

#[tokio::test]
async fn who_is_about_to_be_changed_by_roster_is_not_judged() {
    let world = World::new().await;
    world.add(&["ada@example.test", "bob@example.test"]).await;
    world.settle().await;
    world
        .run("update users set role = 'Admin' where name = 'ada'")
        .await;
    world.fold().await;
    world
        .run("update users set role = 'Admin' where name = 'bob'")
        .await;
    let summary = audited(&world).await;
    assert_eq!((summary.on_their_way, summary.open), (2, 0));
}

/// A world in which an audit has found something, so that a bad one would be seen to lose it.
async fn with_drift() -> World {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world
        .tenant
        .has(json!({"email": "nobody@example.test"}))
        .await;
    assert_eq!(audited(&world).await.open, 1);
    world
}

async fn leaves_everything_as_it_was(world: &World, error: &AuditError, code: &str) {
    assert_eq!(error.code(), code, "{error:?}");
    assert_eq!(drift(world).await, ["extra nobody@example.test"]);
    assert_eq!(
        world.problems().await,
        [format!("audit failed {code}"), "drift extra".to_owned()]
    );
    world.settle().await;
    assert!(world.plan().await.is_empty());
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let world = with_drift().await;
    for (file, code) in [("truncated", "export_damaged"), ("empty", "export_empty")] {
        let jobs = json!({"jobs": {"export_file": file}});
        world.tenant.control("options", jobs).await;
        let error = audit(&world).await.expect_err("a bad file");
        assert_eq!(error.means(), Means::Wrong);
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        leaves_everything_as_it_was(&world, &error, code).await;
    }
}

#[tokio::test]
async fn an_export_that_shows_few_of_whom_is_there_is_not_believed() {
    let world = lagging().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    world
        .tenant
        .has(json!({"email": "nobody@example.test"}))
        .await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    assert_eq!(audit(&world).await.expect("an audit").open, 1);
    world.add_many(30).await;
    world.settle().await;
    let error = audit(&world).await.expect_err("an export that is late");
    leaves_everything_as_it_was(&world, &error, "export_incomplete").await;
}

#[tokio::test]
async fn a_tenant_that_cannot_be_asked_changes_nothing() {
    let world = with_drift().await;
    let mut away = Audit::new(
        world.database.endpoint(),
        client(&world.tenant, |settings| {
            settings.client_secret = "another".into();
        }),
        1,
    );
    away.poll = Duration::from_millis(5);
    let stop = CancellationToken::new();
    let error = away.run(&(), &stop).await.expect_err("no token");
    assert_eq!(error.means(), Means::Configuration);
    leaves_everything_as_it_was(&world, &error, "token_refused").await;
}

#[tokio::test]
async fn another_tenant_than_the_mirrors_own_is_not_compared_with() {
    let world = with_drift().await;
    world
        .run("update roster.settings set tenant = 'https://another.example'")
        .await;
    world.tenant.forget_requests().await;
    let error = audit(&world).await.expect_err("another tenant");
    assert_eq!(error.means(), Means::Configuration);
    assert_eq!(world.tenant.writes().await, 0, "no export was begun");
    leaves_everything_as_it_was(&world, &error, "another_tenant").await;
}

#[tokio::test]
async fn a_file_that_cannot_be_fetched_and_a_job_that_cannot_be_begun_change_nothing() {
    let world = with_drift().await;
    for (route, kind, more, code) in [
        (
            "GET /_exports/*",
            "cut_before",
            json!({}),
            "export_unreachable",
        ),
        (
            "GET /_exports/*",
            "status",
            json!({"status": 403}),
            "export_unreachable",
        ),
        (
            "GET /_exports/*",
            "status",
            json!({"status": 404}),
            "export_unreachable",
        ),
        (
            "POST /api/v2/jobs/users-exports",
            "status",
            json!({"status": 503}),
            "server_error",
        ),
        (
            "GET /api/v2/users/{id}",
            "status",
            json!({"status": 401}),
            "unauthorized",
        ),
    ] {
        world.tenant.fault(route, kind, 3, more).await;
        let error = audit(&world).await.expect_err(route);
        assert_ne!(error.means(), Means::Wrong, "{error:?}");
        leaves_everything_as_it_was(&world, &error, code).await;
        world.tenant.mend().await;
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_begun_anew() {
    let world = with_drift().await;
    world
        .tenant
        .fault("GET /_exports/*", "cut_before", 1, json!({}))
        .await;
    assert_eq!(audited(&world).await.open, 1);
    assert!(world.tenant.has_struck().await);
}

#[tokio::test]
async fn without_exports_linked_accounts_are_read_one_by_one_and_nothing_extra_is_seen() {
    let world = with_drift().await;
    world
        .tenant
        .control("options", json!({"plan": "free"}))
        .await;
    tools::renamed(&world, "ada@example.test", "Somebody").await;
    let summary = audited(&world).await;
    assert_eq!(
        (summary.source.as_str(), summary.accounts_seen),
        ("accounts", 1)
    );
    assert_eq!(drift(&world).await, ["changed ada@example.test"]);
}

#[tokio::test]
async fn one_audit_of_a_database_is_made_at_a_time() {
    let world = World::new().await;
    let other = world.database.client().await;
    let lock = "select pg_advisory_lock(1380930374, 3)";
    other.batch_execute(lock).await.expect("its lock");
    let error = audit(&world).await.expect_err("another one");
    assert_eq!(error.code(), "audit_under_way");
    drop(other);
    eventually("the lock", async || audit(&world).await.is_ok()).await;
}

#[tokio::test]
async fn an_audit_that_is_stopped_or_dies_is_told_as_failed() {
    let world = with_drift().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let error = tools::of(&world).run(&(), &stop).await.expect_err("a stop");
    leaves_everything_as_it_was(&world, &error, "stopped").await;
    world.run("insert into roster.audits default values").await;
    assert_eq!(audited(&world).await.open, 1);
    let died = "select count(*)::text from roster.audits where error_code = 'interrupted'";
    assert_eq!(world.texts(died).await, ["1"]);
}

async fn audit_is_due(world: &World, every: Option<Duration>) -> bool {
    let due = roster::db::audit::is_due(&world.reactor.pool, every, Duration::from_secs(3600));
    due.await.expect("an answer")
}

#[tokio::test]
async fn several_reactors_make_one_audit_each_time_and_none_during_a_pause() {
    let world = World::new().await;
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    // As late as an export may be.
    world.time_passes().await;
    world.run("select roster.pause('not now')").await;
    let stop = CancellationToken::new();
    let hour = Duration::from_secs(3600);
    assert!(!audit_is_due(&world, Some(hour)).await);
    world.run("select roster.resume()").await;
    let each = || {
        tokio::spawn(schedule::run(
            tools::of(&world),
            world.database.pool(),
            Some(hour),
            stop.clone(),
        ))
    };
    let reactors = [each(), each(), each()];
    world
        .until("select count(*) = 1 from roster.audits where state = 'finished'")
        .await;
    assert!(!audit_is_due(&world, Some(hour)).await);
    stop.cancel();
    for reactor in reactors {
        reactor.await.expect("an orderly end");
    }
    assert_eq!(
        world
            .texts("select count(*)::text from roster.audits")
            .await,
        ["1"]
    );
}

#[tokio::test]
async fn a_person_asks_for_one_in_sql_and_a_reactor_makes_it() {
    let world = with_drift().await;
    world
        .run("update roster.reactors set stopped_at = now()")
        .await;
    let said = world.texts("select roster.audit()").await;
    assert_eq!(said, ["no reactor is running: the next one begins it"]);
    let stop = CancellationToken::new();
    let reactor = tokio::spawn(schedule::run(
        tools::of(&world),
        world.database.pool(),
        None,
        stop.clone(),
    ));
    world
        .until("select count(*) = 2 from roster.audits where state = 'finished'")
        .await;
    let due = audit_is_due(&world, None).await;
    assert!(!due, "asked for once, made once");
    stop.cancel();
    reactor.await.expect("an orderly end");
}

#[tokio::test]
async fn neither_the_log_nor_what_is_said_of_failures_names_an_address_or_a_link() {
    let logs = Logs::capture("trace,hyper=off,hyper_util=off,reqwest=off,tokio_postgres=off");
    let world = with_drift().await;
    let stop = CancellationToken::new();
    let every = Some(Duration::from_secs(3600));
    let reactor = tokio::spawn(schedule::run(
        tools::of(&world),
        world.database.pool(),
        every,
        stop.clone(),
    ));
    let refused = json!({"status": 400, "body": {"message": "nobody@example.test", "errorCode": "nobody@example.test"}});
    world
        .tenant
        .fault("GET /api/v2/users/{id}", "status", 1, refused)
        .await;
    assert_eq!(audited(&world).await.unconfirmed, 1);
    world
        .tenant
        .fault("GET /_exports/*", "cut_before", 3, json!({}))
        .await;
    audit(&world).await.expect_err("no file");
    world.run("select roster.audit()").await;
    world
        .until("select count(*) = 4 from roster.audits where state <> 'running'")
        .await;
    stop.cancel();
    reactor.await.expect("an orderly end");
    let told = world
        .texts("select concat(a) from roster.audits a")
        .await
        .join("\n")
        + logs.text().as_str();
    assert!(logs.text().contains("an audit finished"), "{told}");
    for secret in ["example.test", "Signature", "/_exports/", "eyJ"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

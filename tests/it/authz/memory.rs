//! The directory in memory: who it answers for, and from which state.

use std::time::Duration;

use roster::authz::Reason;
use serde_json::json;

use crate::support::{
    Database,
    authz::{Server, client},
    world::eventually,
};

/// Look-ups that memory answered so far, and those that it did not for this reason.
async fn counted(server: &Server, reason: &str) -> (u64, u64) {
    let metrics = server.get("/metrics", &[]).await.body;
    let metrics = metrics.as_str().expect("text");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    };
    (
        value("roster_authz_from_memory_total"),
        value(&format!(
            "roster_authz_read_through_total{{reason=\"{reason}\"}}"
        )),
    )
}

/// Waits until memory answers for this token; each answer on the way, wherever it comes from, is to be for user 1.
pub(super) async fn until_from_memory(server: &Server, token: &str) {
    eventually("memory answers", async || {
        let (before, _) = counted(server, "unknown").await;
        assert_eq!(server.me(token).await.body["user"]["key"], "1");
        counted(server, "unknown").await.0 > before
    })
    .await;
}

#[tokio::test]
async fn memory_answers_for_an_account_it_knows_and_asks_for_one_it_does_not() {
    let server = Server::start().await.with_ada().await;
    until_from_memory(&server, &server.issuer.token("auth0|ada")).await;
    let stranger = server.issuer.token("auth0|stranger");
    eventually("it is asked", async || {
        let (from_memory, asked) = counted(&server, "unknown").await;
        assert_eq!(server.me(&stranger).await.status, 403);
        let now = counted(&server, "unknown").await;
        assert_eq!(now.0, from_memory);
        now.1 > asked
    })
    .await;
}

#[tokio::test]
async fn a_match_by_address_is_in_memory_once_it_is_remembered() {
    let server = Server::start().await.with_ada().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "ada@example.com", true);
    assert_eq!(server.me(&google).await.status, 200);
    let remembered = server.issuer.token("google-oauth2|1");
    until_from_memory(&server, &remembered).await;
    let answer = server.me(&remembered).await;
    assert_eq!(answer.body["user"]["auth0_user_id"], "auth0|ada");
}

#[tokio::test]
async fn ten_thousand_writes_are_each_in_the_answer_that_asks_for_them() {
    let server = Server::start().await.with_ada().await;
    let bearer = format!("Bearer {}", server.issuer.token("auth0|ada"));
    // Ten thousand take a minute on a small machine: ROSTER_TEST_WRITES says how many.
    let writes = std::env::var("ROSTER_TEST_WRITES").map_or(1000, |n| n.parse().expect("a number"));
    let client = client();
    for number in 0..writes {
        let write = format!(
            "with written as (update users set name = '{number}' returning 1) \
             select roster.revision() from written"
        );
        let row = server.sql.query_one(&write, &[]).await.expect("a write");
        let answer = client
            .get(format!("{}/v1/me", server.url))
            .header("authorization", &bearer)
            .header("x-roster-at-least", row.get::<_, &str>(0))
            .send()
            .await
            .expect("an answer");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["user"]["name"], json!(number.to_string()), "{body}");
    }
    let (from_memory, _) = counted(&server, "revision").await;
    assert!(from_memory > 0, "memory answered none of them");
}

#[tokio::test]
async fn a_change_that_concerns_everybody_is_in_the_next_answer_and_in_memory_soon() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    server
        .run("delete from role_permissions where permission = 'art:read'")
        .await;
    assert_eq!(
        server.me(&token).await.body["user"]["permissions"],
        json!(["art:sell", "art:write"])
    );
    server.ready().await;
    server.run("truncate users cascade").await;
    assert_eq!(
        server.me(&token).await.refusal(),
        (403, "user_not_provisioned")
    );
    server.ready().await;
    assert_eq!(server.authz.standing().expect("memory").users, 0);
}

#[tokio::test]
async fn a_change_of_many_users_is_taken_over_whole() {
    let server = Server::start().await.with_ada().await;
    server
        .run(
            "insert into users (id, email) select n, format('u%s@example.com', n) from generate_series(2, 3000) n;
             select roster.fold();
             insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email)
             select 'auth0|' || u.id, u.id::text, 1, 'made', 'linked', u.email from users u where u.id > 1",
        )
        .await;
    eventually("all of them", async || {
        server.ready().await;
        server.authz.standing().expect("memory").users == 3000
    })
    .await;
    server
        .run("update users set role = 'Curator', blocked = id % 2 = 0")
        .await;
    for (id, expected) in [(2, 403), (3, 200), (2999, 200), (3000, 403)] {
        let token = server.issuer.token(&format!("auth0|{id}"));
        let answer = server.me(&token).await;
        assert_eq!(answer.status, expected, "{id}");
        if expected == 200 {
            assert_eq!(answer.body["user"]["role"], "Curator");
        }
    }
}

#[tokio::test]
async fn an_account_that_is_taken_away_without_any_change_of_a_user_ends_its_answers() {
    // What the reactor writes when Auth0 lost an account, when it is another key's, when the key means somebody else.
    for taken_away in [
        "update roster.accounts set state = 'gone'",
        "update roster.accounts set user_key = '2'",
        "update roster.mirror set incarnation = 2",
        "delete from roster.accounts",
        "truncate roster.accounts",
        "select roster.unlink('auth0|ada')",
    ] {
        let server = Server::start().await.with_ada().await;
        let token = server.issuer.token("auth0|ada");
        assert_eq!(server.me(&token).await.status, 200);
        server.run(taken_away).await;
        let answer = server.me(&token).await;
        assert_eq!(
            answer.refusal(),
            (403, "user_not_provisioned"),
            "{taken_away}"
        );
    }
}

#[tokio::test]
async fn where_changes_could_go_unnoticed_memory_says_nothing() {
    let view = |what: &str| {
        format!(
            "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, role::text, \
             array['a'] as permissions, blocked, auth0_user_id::text, '{{}}'::jsonb as app_metadata, '{{}}'::jsonb as user_metadata \
             from users where {what}"
        )
    };
    for (blinding, mending) in [
        (
            "alter table users disable trigger roster_update".to_owned(),
            "select roster.attach()".to_owned(),
        ),
        (
            "select roster.detach()".to_owned(),
            "select roster.attach()".to_owned(),
        ),
        (
            "alter table users enable replica trigger roster_delete".to_owned(),
            "select roster.attach()".to_owned(),
        ),
        (view("created_at < now() + interval '1 day'"), view("true")),
        (
            view("not exists (select from roles where description = email)"),
            view("true"),
        ),
        (
            view("name is distinct from current_user::text"),
            view("true"),
        ),
        (view("random() >= 0"), view("true")),
    ] {
        let server = Server::start().await.with_ada().await;
        let token = server.issuer.token("auth0|ada");
        server.run(&blinding).await;
        assert_eq!(server.me(&token).await.status, 200, "{blinding}");
        eventually("it is noticed", async || {
            server.authz.standing().expect("memory").reads_through == Some(Reason::Blind)
        })
        .await;
        // Nobody tells of this one.
        server
            .run("set session_replication_role = replica; update users set blocked = true; reset session_replication_role")
            .await;
        assert_eq!(
            server.me_just_so(&token).await.refusal(),
            (403, "user_blocked"),
            "{blinding}"
        );
        server.run(&mending).await;
        server.ready().await;
        assert_eq!(
            server.me_just_so(&token).await.refusal(),
            (403, "user_blocked"),
            "{blinding}"
        );
    }
}

#[tokio::test]
async fn what_no_change_tells_is_found_when_everybody_is_read_again() {
    let server = Server::with(Database::migrated().await, |_, ways| {
        ways.reload_every = Duration::from_millis(200);
    })
    .await
    .with_ada()
    .await;
    let function = |role: &str| {
        format!(
            "create or replace function public.role_of(text) returns text language sql immutable return '{role}'"
        )
    };
    server.run(&function("Artist")).await;
    server
        .run(
            "create or replace view roster.desired_users as select id::text as user_key, email::text, name::text, public.role_of(role) as role, \
             array['a'] as permissions, blocked, auth0_user_id::text, '{}'::jsonb as app_metadata, '{}'::jsonb as user_metadata from users",
        )
        .await;
    let token = server.issuer.token("auth0|ada");
    assert_eq!(
        server.me(&token).await.body["user"]["permissions"],
        json!(["a"])
    );
    server.ready().await;
    server.run(&function("Nobody")).await;
    eventually("memory has the other role", async || {
        let (before, _) = counted(&server, "blind").await;
        let answer = server.me_just_so(&token).await;
        counted(&server, "blind").await.0 > before && answer.body["user"]["role"] == "Nobody"
    })
    .await;
}

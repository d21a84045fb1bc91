//! Who may ask, and about whom.

use roster::authz::{Caller, Credential};
use serde_json::{Value, json};

use super::{
    EVALUATION, EVALUATIONS, KEY, SEARCH_ACTION, SEARCH_RESOURCE, SEARCH_SUBJECT, about, by_key,
    scenario, scenario_with, user_of, with,
};
use crate::support::authz::Server;

fn application(client_id: &str, evaluate: bool, search: bool) -> Caller {
    Caller {
        credential: Credential::ClientId(client_id.to_owned()),
        evaluate,
        search,
    }
}

fn by_account(account: &str) -> Value {
    let subject = json!({ "type": "identity", "id": account });
    with(&about("", "read", "record-1"), "subject", Some(subject))
}

/// The status of an evaluation and of a search.
async fn may(server: &Server, bearer: &str) -> (u16, u16) {
    let body = about("alice", "read", "record-1");
    let evaluated = server.ask_as(bearer, EVALUATION, body.clone()).await;
    let searched = server.ask_as(bearer, SEARCH_SUBJECT, body).await;
    (evaluated.status, searched.status)
}

#[tokio::test]
async fn nobody_asks_without_credentials_that_hold() {
    let server = scenario().await;
    let url = format!("{}{EVALUATION}", server.url);
    let none = crate::support::authz::answer(crate::support::authz::client().post(url)).await;
    assert_eq!(none.line(), (401, "no bearer token was sent"));
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"roster\"");
    assert_eq!(none.headers["cache-control"], "no-store");
    for wrong in [
        "wrong",
        &KEY[1..],
        &format!("{KEY}0"),
        &KEY.to_uppercase(),
        "a.b.c",
    ] {
        let answer = server
            .ask_as(wrong, EVALUATION, about("alice", "read", "record-1"))
            .await;
        assert_eq!(answer.line().0, 401, "{wrong}");
    }
    let path = format!("{EVALUATION}?access_token={KEY}");
    assert_eq!(server.ask(&path, json!({})).await.line().0, 400);
}

#[tokio::test]
async fn a_program_asks_what_its_key_is_listed_for() {
    let server = scenario_with(|settings| {
        settings.callers = vec![
            by_key("one", true, false),
            by_key("two", false, true),
            by_key("all", true, true),
        ];
    })
    .await;
    assert_eq!(may(&server, "one").await, (200, 403));
    assert_eq!(may(&server, "two").await, (403, 200));
    assert_eq!(may(&server, "all").await, (200, 200));
    let refused = server.ask_as("two", EVALUATIONS, json!({})).await;
    assert_eq!(refused.line(), (403, "this caller may not ask that"));
}

#[tokio::test]
async fn an_application_asks_what_its_client_id_is_listed_for() {
    let server = scenario_with(|settings| {
        settings.callers = vec![
            application("gateway", true, false),
            application("finder", false, true),
        ];
    })
    .await;
    let machine = |client: &str| server.issuer.token(&format!("{client}@clients"));
    assert_eq!(may(&server, &machine("gateway")).await, (200, 403));
    assert_eq!(may(&server, &machine("finder")).await, (403, 200));
    assert_eq!(may(&server, &machine("stranger")).await, (403, 403));
    // Neither is who signs in through it, whatever the token says of the client, or a person called like it.
    let through = json!({ "azp": "gateway", "client_id": "gateway" });
    let person = server.issuer.token_with("auth0|bob", through.clone());
    assert_eq!(may(&server, &person).await, (403, 403));
    let namesake = server.issuer.token_with("gateway", through);
    assert_eq!(may(&server, &namesake).await, (403, 403));
}

#[tokio::test]
async fn a_person_asks_about_nobody_else() {
    let server = scenario().await;
    let bob = server.issuer.token("auth0|bob");
    for (body, expected) in [
        (about("bob", "read", "record-1"), true),
        (about("auth0|bob", "read", "record-1"), true),
        (by_account("auth0|bob"), true),
        (about("bob", "write", "record-1"), false),
    ] {
        let answer = server.ask_as(&bob, EVALUATION, body).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "decision": expected }))
        );
    }
    // Others and nobody are told apart by nothing.
    let refused = "this caller may not ask that";
    for other in ["alice", "auth0|alice", "nonexistent-user", "", "bob\0"] {
        let answer = server
            .ask_as(&bob, EVALUATION, about(other, "read", "record-1"))
            .await;
        assert_eq!(answer.line(), (403, refused), "{other}");
    }
    assert_eq!(
        server
            .ask_as(&bob, EVALUATION, by_account("auth0|alice"))
            .await
            .line(),
        (403, refused)
    );
    let ship = with(
        &about("bob", "read", "record-1"),
        "subject.type",
        Some(json!("spaceship")),
    );
    assert_eq!(
        server.ask_as(&bob, EVALUATION, ship).await.line(),
        (403, refused)
    );
    let mixed = json!({ "evaluations": [about("bob", "read", "record-1"), about("alice", "read", "record-1")] });
    assert_eq!(
        server.ask_as(&bob, EVALUATIONS, mixed).await.line(),
        (403, refused)
    );
}

#[tokio::test]
async fn a_person_finds_what_concerns_themselves() {
    let server = scenario().await;
    let alice = server.issuer.token("auth0|alice");
    let body = |user| with(&about(user, "write", "record-1"), "further", None);
    let resources = server.ask_as(&alice, SEARCH_RESOURCE, body("alice")).await;
    assert_eq!(resources.found(), ["record-1"]);
    let actions = server.ask_as(&alice, SEARCH_ACTION, body("alice")).await;
    assert_eq!(actions.found(), ["read", "write"]);
    for endpoint in [SEARCH_RESOURCE, SEARCH_ACTION] {
        assert_eq!(
            server.ask_as(&alice, endpoint, body("bob")).await.line().0,
            403
        );
    }
    assert_eq!(
        server
            .ask_as(&alice, SEARCH_SUBJECT, body("alice"))
            .await
            .line()
            .0,
        403
    );
}

#[tokio::test]
async fn a_person_with_the_permission_asks_about_anybody() {
    let server = scenario().await;
    let bob = server.issuer.token("auth0|bob");
    assert_eq!(may(&server, &bob).await, (403, 403));
    server
        .commit("insert into public.user_permissions values ('bob', 'roster:evaluate')")
        .await;
    assert_eq!(may(&server, &bob).await, (200, 200));
    let nobody = server
        .ask_as(
            &bob,
            EVALUATION,
            about("nonexistent-user", "read", "record-1"),
        )
        .await;
    assert_eq!(nobody.body, json!({ "decision": false }));
    server
        .commit("delete from public.user_permissions where permission = 'roster:evaluate'")
        .await;
    assert_eq!(may(&server, &bob).await, (403, 403));
}

#[tokio::test]
async fn who_is_no_user_or_blocked_asks_nothing() {
    let server = scenario().await;
    let stranger = server.issuer.token("auth0|stranger");
    let answer = server
        .ask_as(&stranger, EVALUATION, by_account("auth0|stranger"))
        .await;
    assert_eq!(answer.line(), (403, "this account belongs to no user"));
    server
        .commit("update public.users set blocked = true where id = 'bob'")
        .await;
    let bob = server.issuer.token("auth0|bob");
    let answer = server
        .ask_as(&bob, EVALUATION, by_account("auth0|bob"))
        .await;
    assert_eq!(answer.line(), (403, "this user is blocked"));
}

#[tokio::test]
async fn who_is_matched_by_a_verified_address_asks_about_that_account() {
    let server = scenario().await;
    // Not folded: the match is not remembered, and nobody else can ask about the account yet.
    server.commit("insert into public.users (id, email, role) values ('carol', 'carol@example.com', 'Reader')").await;
    let carol = server
        .issuer
        .token_of("google-oauth2|c", "carol@example.com", true);
    for body in [
        by_account("google-oauth2|c"),
        about("google-oauth2|c", "read", "record-1"),
        about("carol", "read", "record-1"),
    ] {
        let answer = server.ask_as(&carol, EVALUATION, body).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "decision": true }))
        );
    }
    let program = server.ask(EVALUATION, by_account("google-oauth2|c")).await;
    assert_eq!(program.body, json!({ "decision": false }));
    assert_eq!(
        server
            .ask_as(&carol, EVALUATION, json!({ "subject": user_of("carol") }))
            .await
            .status,
        400
    );
}

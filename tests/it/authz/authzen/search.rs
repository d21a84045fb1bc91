//! Who, on what, and what.

use serde_json::{Value, json};

use crate::support::authz::Server;

use super::{
    EVALUATION, SEARCH_ACTION, SEARCH_RESOURCE, SEARCH_SUBJECT, record_of, scenario, user_of, with,
};

fn who(action: &str, record: &str) -> Value {
    json!({ "subject": { "type": "user" }, "action": { "name": action }, "resource": record_of(record) })
}

fn on_what(user: &str, action: &str) -> Value {
    json!({ "subject": user_of(user), "action": { "name": action }, "resource": { "type": "record" } })
}

fn what(user: &str, record: &str) -> Value {
    json!({ "subject": user_of(user), "resource": record_of(record) })
}

impl Server {
    /// What is found over all pages.
    async fn pages(&self, endpoint: &str, whole: &Value, limit: usize) -> Vec<String> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = json!({ "limit": limit, "token": token, "further": true });
            let answer = self.ask(endpoint, with(whole, "page", Some(page))).await;
            assert_eq!(answer.body["page"]["count"], answer.found().len());
            assert!(answer.found().len() <= limit);
            found.extend(answer.found().into_iter().map(str::to_owned));
            let next = answer.body["page"]["next_token"].as_str();
            token = next.expect("a token").to_owned();
            if token.is_empty() {
                return found;
            }
        }
    }
}

#[tokio::test]
async fn subjects_are_found_by_what_they_may_do() {
    let server = scenario().await;
    let answer = server.ask(SEARCH_SUBJECT, who("read", "record-1")).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let results = json!([user_of("alice"), user_of("bob")]);
    let page = json!({ "next_token": "", "count": 2 });
    assert_eq!(answer.body, json!({ "page": page, "results": results }));
    let writers = server.ask(SEARCH_SUBJECT, who("write", "record-1")).await;
    assert_eq!(writers.found(), ["alice"]);
    assert!(
        server
            .ask(SEARCH_SUBJECT, who("write", "record-2"))
            .await
            .found()
            .is_empty()
    );
    // Its own id is not looked at, whatever it is; nor is the context.
    let mut body = with(
        &who("write", "record-1"),
        "subject.id",
        Some(json!(["bob"])),
    );
    body = with(&body, "context", Some(json!({ "time": "now" })));
    assert_eq!(server.ask(SEARCH_SUBJECT, body).await.found(), ["alice"]);
}

#[tokio::test]
async fn identities_are_found_by_their_primary_account() {
    let server = scenario().await;
    server
        .commit(
            "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email)
                select 'google-oauth2|alice', user_key, incarnation, 'further', 'linked', email
                from roster.mirror where user_key = 'alice';
             insert into public.users (id, email, role) values ('carol', 'carol@example.com', 'Reader')",
        )
        .await;
    let body = with(
        &who("read", "record-1"),
        "subject.type",
        Some(json!("identity")),
    );
    let answer = server.ask(SEARCH_SUBJECT, body).await;
    assert_eq!(answer.found(), ["auth0|alice", "auth0|bob"]);
    assert_eq!(answer.body["results"][0]["type"], "identity");
    // Carol has no account yet: she is a user, and no identity.
    let users = server.ask(SEARCH_SUBJECT, who("read", "record-1")).await;
    assert_eq!(users.found(), ["alice", "bob", "carol"]);
}

#[tokio::test]
async fn resources_and_actions_are_found_in_the_users_permissions() {
    let server = scenario().await;
    // That she may write record-1 makes it known; that she may read it, she may all records.
    let readable = server.ask(SEARCH_RESOURCE, on_what("alice", "read")).await;
    assert_eq!(readable.found(), ["record-1"]);
    assert_eq!(readable.body["results"][0], record_of("record-1"));
    assert_eq!(readable.body["context"], json!({ "every_resource": true }));
    let writable = server.ask(SEARCH_RESOURCE, on_what("alice", "write")).await;
    assert_eq!(writable.found(), ["record-1"]);
    assert_eq!(writable.body.get("context"), None);
    let with_id = with(&on_what("alice", "write"), "resource.id", Some(json!(7)));
    assert_eq!(
        server.ask(SEARCH_RESOURCE, with_id).await.found(),
        ["record-1"]
    );

    let actions = server.ask(SEARCH_ACTION, what("alice", "record-1")).await;
    assert_eq!(
        actions.body["results"],
        json!([{ "name": "read" }, { "name": "write" }])
    );
    let mut body = with(
        &what("alice", "record-2"),
        "context",
        Some(json!({ "a": 1 })),
    );
    body = with(&body, "action", Some(json!(17)));
    assert_eq!(server.ask(SEARCH_ACTION, body).await.found(), ["read"]);
}

#[tokio::test]
async fn what_nobody_knows_is_found_nowhere() {
    let server = scenario().await;
    for (endpoint, body) in [
        (
            SEARCH_SUBJECT,
            with(
                &who("read", "record-1"),
                "subject.type",
                Some(json!("spaceship")),
            ),
        ),
        (
            SEARCH_SUBJECT,
            with(
                &who("read", "record-1"),
                "resource.type",
                Some(json!("spaceship")),
            ),
        ),
        (SEARCH_SUBJECT, who("fly", "record-1")),
        (SEARCH_SUBJECT, who("read\0", "record-1")),
        (SEARCH_SUBJECT, who("write", "record-1\0")),
        (SEARCH_RESOURCE, on_what("nonexistent-user", "read")),
        (SEARCH_RESOURCE, on_what("alice", "fly")),
        (
            SEARCH_RESOURCE,
            with(
                &on_what("alice", "read"),
                "resource.type",
                Some(json!("spaceship")),
            ),
        ),
        (SEARCH_ACTION, what("nonexistent-user", "record-1")),
        (
            SEARCH_ACTION,
            with(
                &what("alice", "record-1"),
                "subject.type",
                Some(json!("spaceship")),
            ),
        ),
        (
            SEARCH_ACTION,
            with(
                &what("alice", "record-1"),
                "resource.type",
                Some(json!("spaceship")),
            ),
        ),
    ] {
        let answer = server.ask(endpoint, body.clone()).await;
        assert!(answer.found().is_empty(), "{endpoint} {body}");
        assert_eq!(answer.body["page"]["next_token"], "");
    }
}

#[tokio::test]
async fn what_a_search_needs_and_is_not_told_is_a_400() {
    let server = scenario().await;
    let without = async |endpoint, whole: &Value, paths: &[&str]| {
        for path in paths {
            let answer = server.ask(endpoint, with(whole, path, None)).await;
            assert_eq!(answer.line().0, 400, "{endpoint} without {path}");
            let answer = server
                .ask(endpoint, with(whole, path, Some(json!(1))))
                .await;
            assert_eq!(answer.line().0, 400, "{endpoint} with an odd {path}");
        }
    };
    let subject = [
        "subject",
        "subject.type",
        "action",
        "action.name",
        "resource",
        "resource.type",
        "resource.id",
    ];
    without(SEARCH_SUBJECT, &who("read", "record-1"), &subject).await;
    let resource = [
        "subject",
        "subject.type",
        "subject.id",
        "action",
        "action.name",
        "resource",
        "resource.type",
    ];
    without(SEARCH_RESOURCE, &on_what("alice", "read"), &resource).await;
    let action = [
        "subject",
        "subject.type",
        "subject.id",
        "resource",
        "resource.type",
        "resource.id",
    ];
    without(SEARCH_ACTION, &what("alice", "record-1"), &action).await;
}

#[tokio::test]
async fn everything_is_found_once_over_pages_of_one() {
    let server = scenario().await;
    server
        .commit("insert into public.user_permissions values ('alice', 'write:record:record-2'), ('alice', 'read:record:x:y')")
        .await;
    for (endpoint, whole, expected) in [
        (
            SEARCH_SUBJECT,
            who("read", "record-1"),
            &["alice", "bob"][..],
        ),
        (
            SEARCH_RESOURCE,
            on_what("alice", "read"),
            &["record-1", "record-2", "x:y"],
        ),
        (SEARCH_ACTION, what("alice", "record-1"), &["read", "write"]),
    ] {
        let found = server.pages(endpoint, &whole, 1).await;
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_page_is_of_the_search_that_began_it() {
    let server = scenario().await;
    let first = with(
        &who("read", "record-1"),
        "page",
        Some(json!({ "limit": 1 })),
    );
    let answer = server.ask(SEARCH_SUBJECT, first).await;
    let token = &answer.body["page"]["next_token"];
    let next = |body: &Value| with(body, "page", Some(json!({ "token": token })));
    // As many as fit this time.
    let second = server
        .ask(SEARCH_SUBJECT, next(&who("read", "record-1")))
        .await;
    assert_eq!(second.found(), ["bob"]);
    assert_eq!(second.body["page"]["next_token"], "");

    let whole = who("read", "record-1");
    for other in [
        who("write", "record-1"),
        who("read", "record-2"),
        with(&whole, "subject.type", Some(json!("identity"))),
        with(&whole, "context", Some(json!({ "time": "later" }))),
        with(
            &whole,
            "resource.properties",
            Some(json!({ "status": "archived" })),
        ),
    ] {
        let answer = server.ask(SEARCH_SUBJECT, next(&other)).await;
        assert_eq!(
            answer.line(),
            (400, "`page.token` is of another search, or none of ours"),
            "{other}"
        );
    }
    assert_eq!(
        server
            .ask(SEARCH_RESOURCE, next(&on_what("alice", "read")))
            .await
            .status,
        400
    );
    for page in [
        json!(1),
        json!([]),
        json!({ "limit": 0 }),
        json!({ "limit": -1 }),
        json!({ "limit": "1" }),
        json!({ "token": 1 }),
    ] {
        let answer = server
            .ask(SEARCH_SUBJECT, with(&whole, "page", Some(page.clone())))
            .await;
        assert_eq!(answer.line().0, 400, "{page}");
    }
    let all = with(
        &whole,
        "page",
        Some(json!({ "limit": u64::MAX, "token": "" })),
    );
    assert_eq!(
        server.ask(SEARCH_SUBJECT, all).await.found(),
        ["alice", "bob"]
    );
}

#[tokio::test]
async fn the_few_among_many_are_found_and_the_many_in_pages() {
    let server = scenario().await;
    server
        .commit(
            "insert into public.users (id, email)
                select 'm' || to_char(n, 'FM0000'), n || '@example.com' from generate_series(1, 3000) n;
             insert into public.user_permissions values
                ('m0001', 'sing:song'), ('m1500', 'sing:song:la'), ('m3000', 'sing:song');
             insert into public.role_permissions values ('Choir', 'hum:song')",
        )
        .await;
    let of = |action, song| {
        let song = json!({ "type": "song", "id": song });
        with(&who(action, ""), "resource", Some(song))
    };
    let la = server.pages(SEARCH_SUBJECT, &of("sing", "la"), 10).await;
    assert_eq!(la, ["m0001", "m1500", "m3000"]);
    let lo = server.pages(SEARCH_SUBJECT, &of("sing", "lo"), 10).await;
    assert_eq!(lo, ["m0001", "m3000"]);
    server
        .commit("update public.users set role = 'Choir' where id like 'm%'")
        .await;
    let first = server.ask(SEARCH_SUBJECT, of("hum", "la")).await;
    assert!((1..=100).contains(&first.found().len()));
    assert_eq!(
        server
            .pages(SEARCH_SUBJECT, &of("hum", "la"), 5000)
            .await
            .len(),
        3000
    );
}

#[tokio::test]
async fn whoever_is_found_would_be_permitted() {
    let server = scenario().await;
    // Blocked; ambiguous, since the key is Alice's account; and removed, but not folded yet.
    server
        .commit(
            "insert into public.users (id, email, role, blocked) values
                ('carol', 'carol@example.com', 'Reader', true), ('auth0|alice', 'eve@example.com', 'Reader', false);
             update public.users set email = 'other@example.com' where id = 'bob'",
        )
        .await;
    for (kind, expected) in [
        ("user", vec!["alice", "bob"]),
        ("identity", vec!["auth0|alice"]),
    ] {
        let body = with(&who("read", "record-1"), "subject.type", Some(json!(kind)));
        let answer = server.ask(SEARCH_SUBJECT, body.clone()).await;
        assert_eq!(answer.found(), expected);
        for subject in answer.body["results"].as_array().unwrap() {
            let one = with(&body, "subject", Some(subject.clone()));
            assert_eq!(server.ask(EVALUATION, one).await.body["decision"], true);
        }
    }
}

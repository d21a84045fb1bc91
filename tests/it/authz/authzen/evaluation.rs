//! One decision at a time.

use roster::{authz::DirectoryMode, db::connect::Endpoint};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    EVALUATION, EVALUATIONS, KEY, SEARCH_ACTION, SEARCH_RESOURCE, SEARCH_SUBJECT, about, by_key,
    record_of, scenario, scenario_with, user_of, with,
};
use crate::support::authz::{answer, client};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const ENDPOINTS: [&str; 5] = [
    EVALUATION,
    EVALUATIONS,
    SEARCH_SUBJECT,
    SEARCH_RESOURCE,
    SEARCH_ACTION,
];

#[tokio::test]
async fn the_scenarios_decisions_are_the_rows_and_stay_the_same_when_asked_again() {
    let server = scenario().await;
    for _ in 0..2 {
        for (user, action, expected) in [
            ("alice", "read", true),
            ("alice", "write", true),
            ("bob", "read", true),
            ("bob", "write", false),
            ("bob", "delete", false),
        ] {
            let answer = server
                .ask(EVALUATION, about(user, action, "record-1"))
                .await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(
                answer.body,
                json!({ "decision": expected }),
                "{user} {action}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_caller_says_of_the_world_changes_no_decision() {
    let server = scenario().await;
    let properties = json!({ "role": "admin", "permissions": ["write:record"], "blocked": true });
    for (user, expected) in [("alice", true), ("bob", false)] {
        let mut body = about(user, "write", "record-1");
        for part in ["subject", "action", "resource"] {
            body = with(
                &body,
                &format!("{part}.properties"),
                Some(properties.clone()),
            );
            body = with(&body, &format!("{part}.further"), Some(json!(1)));
        }
        body = with(
            &body,
            "context",
            Some(json!({ "role": "admin", "decision": true })),
        );
        body = with(&body, "further", Some(json!({ "nested": [true] })));
        let answer = server.ask(EVALUATION, body).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "decision": expected }))
        );
    }
}

#[tokio::test]
async fn what_is_missing_or_of_another_form_is_named_in_a_400() {
    let server = scenario().await;
    let whole = about("alice", "read", "record-1");
    for (path, wrong) in [
        ("subject", json!("alice")),
        ("subject", json!(["user", "alice", null])),
        ("subject.type", json!(1)),
        ("subject.id", json!({})),
        ("subject.properties", json!("all")),
        ("action", json!([])),
        ("action.name", json!(123)),
        ("action.properties", json!([])),
        ("resource", json!(true)),
        ("resource.type", json!(["record"])),
        ("resource.id", json!(1.5)),
    ] {
        let part = path.split('.').next().unwrap();
        let is_required = !path.ends_with("properties");
        for value in [Some(wrong.clone()), Some(Value::Null), None] {
            let is_wrong = value.as_ref() == Some(&wrong) || is_required;
            let answer = server.ask(EVALUATION, with(&whole, path, value)).await;
            assert_eq!(answer.status == 400, is_wrong, "{path} {wrong}");
            if is_wrong {
                assert!(answer.line().1.contains(&format!("`{part}`")), "{path}");
            }
        }
    }
    let context = with(&whole, "context", Some(json!("noon")));
    let answer = server.ask(EVALUATION, context).await;
    assert_eq!(answer.line(), (400, "`context` must be an object"));
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_400_at_every_endpoint() {
    let server = scenario().await;
    let deep = format!("{{\"context\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for endpoint in ENDPOINTS {
        for body in [
            "",
            " ",
            "{",
            "[]",
            "[{}]",
            "null",
            "\"alice\"",
            "{} {}",
            "\u{feff}{}",
            &deep,
        ] {
            let answer = server.send(KEY, endpoint, &JSON, body.to_owned()).await;
            assert_eq!(
                answer.line(),
                (400, "the body must be one JSON object"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_must_be_called_json() {
    let server = scenario().await;
    let body = about("alice", "read", "record-1").to_string();
    for (content_type, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON ;charset=UTF-8", 200),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("application/jsonp", 400),
        ("application/problem+json", 400),
        ("", 400),
    ] {
        let headers = [("content-type", content_type)];
        let answer = server.send(KEY, EVALUATION, &headers, body.clone()).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
    for endpoint in ENDPOINTS {
        let answer = server.send(KEY, endpoint, &[], body.clone()).await;
        assert_eq!(
            answer.line(),
            (400, "`Content-Type` must be application/json")
        );
    }
}

#[tokio::test]
async fn only_post_asks() {
    let server = scenario().await;
    for endpoint in ENDPOINTS {
        let url = format!("{}{endpoint}", server.url);
        for request in [
            client().get(&url),
            client().put(&url),
            client().delete(&url),
        ] {
            let answer = answer(request.bearer_auth(KEY)).await;
            assert_eq!(answer.line().0, 405);
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
    let below = server.ask("/access/v1/evaluation/more", json!({})).await;
    assert_eq!(below.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_part_with_a_name_twice_is_no_part_however_deep() {
    let server = scenario().await;
    let whole = about("bob", "write", "record-1").to_string();
    for (part, doubled) in [
        ("subject", r#""id":"bob","id":"alice""#),
        ("subject", r#""id":"bob","properties":{"a":{"b":1,"b":2}}"#),
    ] {
        let body = whole.replace(r#""id":"bob""#, doubled);
        assert_ne!(body, whole);
        let evaluations = format!(r#"{{"evaluations":[{body},{whole}]}}"#);
        for (path, body) in [(EVALUATION, &body), (EVALUATIONS, &evaluations)] {
            let answer = server.send(KEY, path, &JSON, body.clone()).await;
            assert_eq!(answer.status, 400, "{path} {body}");
            let named = if path == EVALUATION {
                part
            } else {
                "evaluations"
            };
            assert!(
                answer.line().1.contains(&format!("`{named}`")),
                "{path} {body}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let server = scenario().await;
    let filler = "x".repeat(256 * 1024);
    let answer = server
        .ask(EVALUATION, json!({ "context": { "filler": filler } }))
        .await;
    assert_eq!(answer.line().0, 413);
}

#[tokio::test]
async fn who_shows_no_credentials_is_refused_before_any_of_the_body_is_there() {
    let server = scenario().await;
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut socket = TcpStream::connect(address).await.expect("the server");
    let request = format!(
        "POST {EVALUATION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("written");
    let mut said = String::new();
    socket.read_to_string(&mut said).await.expect("an answer");
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
}

#[tokio::test]
async fn the_request_id_comes_back_as_it_was_sent() {
    let server = scenario().await;
    let long = "x".repeat(1000);
    for endpoint in ENDPOINTS {
        for id in ["bfe9eb29-ab87", "two words, \"quoted\"", "nächste", &long] {
            let headers = [JSON[0], ("x-request-id", id)];
            let body = about("alice", "read", "record-1").to_string();
            let answer = server.send(KEY, endpoint, &headers, body).await;
            assert_eq!(answer.headers["x-request-id"].as_bytes(), id.as_bytes());
        }
    }
    let refused = server.send("wrong", EVALUATION, &[("x-request-id", "7")], String::new());
    assert_eq!(refused.await.headers["x-request-id"], "7");
    let without = server
        .ask(EVALUATION, about("alice", "read", "record-1"))
        .await;
    assert!(!without.headers["x-request-id"].is_empty());
}

#[tokio::test]
async fn who_is_unknown_or_blocked_is_denied() {
    let server = scenario().await;
    for id in [
        "nonexistent-user",
        "",
        "alice\0",
        "ALICE",
        " alice",
        "alice@example.com",
        "%",
        "x@clients",
    ] {
        assert!(!server.decision(id, "read", "record-1").await, "{id:?}");
    }
    for kind in ["spaceship", "User", "", "identity", "group"] {
        let body = with(
            &about("alice", "read", "record-1"),
            "subject.type",
            Some(json!(kind)),
        );
        assert_eq!(
            server.ask(EVALUATION, body).await.body,
            json!({ "decision": false }),
            "{kind}"
        );
    }
    server
        .commit("update public.users set blocked = true where id = 'alice'")
        .await;
    for id in ["alice", "auth0|alice"] {
        assert!(!server.decision(id, "read", "record-1").await);
    }
}

#[tokio::test]
async fn a_user_is_meant_by_key_or_account_and_an_identity_by_account() {
    let server = scenario().await;
    for (kind, id, expected) in [
        ("user", "alice", true),
        ("user", "auth0|alice", true),
        ("identity", "auth0|alice", true),
        ("identity", "alice", false),
        ("identity", "auth0|bob", false),
    ] {
        let subject = json!({ "type": kind, "id": id });
        let body = with(&about("", "write", "record-1"), "subject", Some(subject));
        let answer = server.ask(EVALUATION, body).await;
        assert_eq!(answer.body, json!({ "decision": expected }), "{kind} {id}");
    }
}

/// The two are asked in different words; whose an account is must be the same.
#[tokio::test]
async fn an_identity_is_whoever_its_token_is_told_to_be() {
    // Accounts are written by hand here, for which no bell rings.
    let server = scenario_with(|settings| settings.directory = DirectoryMode::ReadThrough).await;
    let token = server.issuer.token("auth0|alice");
    let subject = json!({ "type": "identity", "id": "auth0|alice" });
    let body = with(&about("", "read", "record-1"), "subject", Some(subject));
    for (change, expected) in [
        ("select", true),
        (
            "update public.users set email = 'a@example.com' where id = 'alice'",
            false,
        ),
        ("select roster.fold()", true),
        (
            "update roster.mirror set disputed = 'accounts_double' where user_key = 'alice'",
            false,
        ),
        (
            "update roster.accounts set email = 'A@example.com' where user_key = 'alice'",
            true,
        ),
        (
            "update roster.accounts set state = 'gone' where user_key = 'alice'",
            false,
        ),
        (
            "update roster.accounts set state = 'linked' where user_key = 'alice'",
            true,
        ),
        (
            "update public.users set blocked = true where id = 'alice'",
            false,
        ),
        (
            "update public.users set blocked = false where id = 'alice'",
            true,
        ),
        (
            "update public.users set role = null where id = 'alice'",
            false,
        ),
        (
            "update public.users set role = 'Reader' where id = 'alice'",
            true,
        ),
        ("delete from public.users where id = 'alice'", false),
        (
            "insert into public.users (id, email, role) values ('alice', 'eve@example.com', 'Reader')",
            false,
        ),
        ("select roster.fold()", false),
        (
            "update public.users set email = 'a@example.com' where id = 'alice'; select roster.fold()",
            false,
        ),
    ] {
        server.run(change).await;
        let me = server.me(&token).await;
        let permissions = me.body["user"]["permissions"].as_array();
        let may = permissions.is_some_and(|held| held.contains(&json!("read:record")));
        assert_eq!(may, expected, "{change}: {}", me.body);
        let answer = server.ask(EVALUATION, body.clone()).await;
        assert_eq!(answer.body, json!({ "decision": expected }), "{change}");
    }
}

#[tokio::test]
async fn an_id_that_could_mean_two_users_means_nobody() {
    let server = scenario().await;
    // Somebody's key is Alice's account.
    server
        .commit(
            "insert into public.users (id, email, role) values ('auth0|alice', 'eve@example.com', 'Reader');
             insert into public.user_permissions values ('auth0|alice', 'write:record')",
        )
        .await;
    for action in ["read", "write"] {
        assert!(!server.decision("auth0|alice", action, "record-1").await);
        assert!(server.decision("alice", action, "record-1").await);
        let identity = json!({ "type": "identity", "id": "auth0|alice" });
        let body = with(&about("", action, "record-1"), "subject", Some(identity));
        assert_eq!(server.ask(EVALUATION, body).await.body["decision"], true);
    }
    // A key of its own account is one user's.
    server
        .commit("delete from public.users where email = 'eve@example.com'")
        .await;
    server.fold().await;
    assert!(server.decision("auth0|alice", "write", "record-1").await);
}

#[tokio::test]
async fn a_view_that_shows_a_key_twice_means_nobody_by_it() {
    let server = scenario().await;
    server
        .commit(
            "create or replace view roster.desired_users as
             select u.id as user_key, u.email, u.name, u.role, array['read:record'] as permissions,
                u.blocked, u.auth0_user_id, '{}'::jsonb as app_metadata, '{}'::jsonb as user_metadata
             from public.users u cross join generate_series(1, case u.id when 'bob' then 2 else 1 end)",
        )
        .await;
    assert!(server.decision("alice", "read", "record-1").await);
    for id in ["bob", "auth0|bob"] {
        assert!(!server.decision(id, "read", "record-1").await, "{id}");
    }
}

#[tokio::test]
async fn names_that_would_be_read_as_anothers_permission_permit_nothing() {
    let server = scenario().await;
    for (action, kind, id) in [
        ("write", "record:record-1", "record-2"),
        ("write", "record:record-1", ""),
        ("write:record", "record-1", "record-2"),
        ("write", "record", "record-2"),
        ("write", "record", ""),
        ("WRITE", "record", "record-1"),
        ("write", "record", "record-1\0"),
        ("write\0", "record", "record-1"),
        ("", "", ""),
    ] {
        let resource = json!({ "type": kind, "id": id });
        let body = with(&about("alice", action, ""), "resource", Some(resource));
        let answer = server.ask(EVALUATION, body).await;
        assert_eq!(
            answer.body,
            json!({ "decision": false }),
            "{action} {kind} {id}"
        );
    }
}

#[tokio::test]
async fn the_permission_format_is_the_operators() {
    let server = scenario_with(|settings| {
        settings.permission_format = "{resource type}.{action}".parse().unwrap();
    })
    .await;
    assert!(!server.decision("bob", "read", "record-1").await);
    server
        .commit("insert into public.user_permissions values ('bob', 'record.read'), ('bob', 'record.write:record-2')")
        .await;
    assert!(server.decision("bob", "read", "record-1").await);
    assert!(server.decision("bob", "write", "record-2").await);
    assert!(!server.decision("bob", "write", "record-1").await);
    let body = json!({ "subject": user_of("bob"), "resource": record_of("record-2") });
    assert_eq!(
        server.ask(SEARCH_ACTION, body).await.found(),
        ["read", "write"]
    );
}

#[tokio::test]
async fn every_commit_is_in_the_next_decision() {
    let server = scenario().await;
    for _ in 0..20 {
        server
            .commit("insert into public.user_permissions values ('bob', 'write:record:record-1')")
            .await;
        assert!(server.decision("bob", "write", "record-1").await);
        server
            .commit("delete from public.user_permissions where user_id = 'bob'")
            .await;
        assert!(!server.decision("bob", "write", "record-1").await);
    }
    let unknown = [JSON[0], ("x-roster-at-least", "9999999999")];
    let body = about("bob", "write", "record-1").to_string();
    let answer = server.send(KEY, EVALUATION, &unknown, body).await;
    assert_eq!(answer.line().0, 400);
}

#[tokio::test]
async fn without_postgres_there_is_no_decision() {
    let nowhere = Endpoint::parse("postgres://roster@127.0.0.1:1/nowhere").expect("an endpoint");
    let issuer = crate::support::issuer::Issuer::start().await;
    let mut settings = issuer.settings();
    settings.callers = vec![by_key(KEY, true, true)];
    let url = crate::support::authz::listen_with(settings, nowhere.pool(1)).await;
    let whole = about("alice", "read", "record-1");
    for endpoint in ENDPOINTS {
        let request = client().post(format!("{url}{endpoint}")).bearer_auth(KEY);
        let request = request.header("content-type", "application/json");
        let answer = answer(request.body(whole.to_string())).await;
        assert_eq!(
            answer.line(),
            (503, "the directory did not answer"),
            "{endpoint}"
        );
    }
}

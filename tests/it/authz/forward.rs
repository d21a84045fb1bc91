//! A proxy asks whether it may let a request through: what it is told, and that nothing it is told can be misread.

use std::collections::BTreeSet;

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::authz::{Answer, Server, client};

/// Every door, with what tells it of a permission.
const DOORS: [&str; 5] = [
    "/auth/nginx",
    "/auth/traefik",
    "/auth/caddy",
    "/auth/envoy/songs/1",
    "/auth/hasura",
];

const IDENTITY: [&str; 4] = [
    "x-roster-user",
    "x-roster-email",
    "x-roster-role",
    "x-roster-permissions",
];

type Headers<'a> = &'a [(&'a str, &'a str)];

/// The identity an answer carries; a header that is missing, or there twice, fails the story.
fn identity(headers: &HeaderMap) -> [&str; 4] {
    IDENTITY.map(|name| {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}");
        values[0].to_str().expect("visible ASCII")
    })
}

async fn send(server: &Server, method: &str, path: &str, headers: Headers<'_>) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client().request(method, format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

fn bearer(server: &Server, subject: &str) -> String {
    format!("Bearer {}", server.issuer.token(subject))
}

#[tokio::test]
async fn every_door_lets_a_user_with_the_permissions_through_and_says_who_it_is() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    for door in DOORS {
        for query in [
            "",
            "?require=art:read",
            "?require=art:read&require=art:sell",
        ] {
            let path = format!("{door}{query}");
            let answer = server.get(&path, &[("authorization", &ada)]).await;
            assert_eq!(answer.status, 200, "{path}");
            let known = [
                "1",
                "Ada@example.com",
                "Artist",
                "art:read art:sell art:write",
            ];
            assert_eq!(identity(&answer.headers), known, "{path}");
            assert_eq!(answer.headers["x-roster-code"], "ok");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }
}

#[tokio::test]
async fn every_refusal_says_who_it_is_as_far_as_that_is_known() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let stranger = bearer(&server, "auth0|stranger");
    for door in DOORS {
        let answer = server.get(door, &[]).await;
        assert_eq!(answer.refusal(), (401, "token_missing"), "{door}");
        assert_eq!(
            answer.headers["www-authenticate"],
            "Bearer realm=\"roster\""
        );
        assert_eq!(identity(&answer.headers), [""; 4]);

        let answer = server.get(door, &[("authorization", &stranger)]).await;
        let forbidden = if door == "/auth/hasura" { 401 } else { 403 };
        assert_eq!(answer.refusal(), (forbidden, "user_not_provisioned"));
        assert_eq!(answer.body["status"], forbidden);
        assert_eq!(answer.headers["x-roster-code"], "user_not_provisioned");
        assert_eq!(identity(&answer.headers), [""; 4]);

        let path = format!("{door}?require=art:burn&require=art:read");
        let answer = server.get(&path, &[("authorization", &ada)]).await;
        assert_eq!(
            answer.refusal(),
            (forbidden, "insufficient_scope"),
            "{door}"
        );
        assert_eq!(answer.body["missing"], json!(["art:burn"]));
        assert_eq!(identity(&answer.headers)[0], "1");
    }
}

#[tokio::test]
async fn what_a_request_says_of_itself_changes_nothing() {
    let server = Server::reading_through().await.with_ada().await;
    let token = bearer(&server, "auth0|ada");
    let hostile = [
        ("authorization", token.as_str()),
        ("x-roster-user", "99"),
        ("x-roster-permissions", "art:burn"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-forwarded-uri", "/public?require="),
        ("x-forwarded-prefix", "/../auth/caddy"),
        ("x-original-uri", "/public"),
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/livez"),
        ("x-http-method-override", "GET"),
        ("forwarded", "for=127.0.0.1;host=localhost;proto=https"),
        ("connection", "x-roster-user, x-roster-email"),
    ];
    for door in DOORS {
        let path = format!("{door}?require=art:burn");
        let answer = server.get(&path, &hostile).await;
        assert_eq!(answer.refusal().1, "insufficient_scope", "{door}");
        assert_eq!(identity(&answer.headers)[0], "1", "{door}");
        let answer = server.get(&path, &hostile[1..]).await;
        assert_eq!(answer.refusal(), (401, "token_missing"), "{door}");
        assert_eq!(identity(&answer.headers), [""; 4], "{door}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_into_a_header_are_percent_encoded() {
    let server = Server::reading_through().await.with_ada().await;
    server
        .run(
            "update public.users set email = E'zo\u{eb}\\r\\nX-Roster-Role: Admin@example.com', role = 'Lead, Artist';
             insert into public.role_permissions values ('Lead, Artist', E'art read\\t\u{1f3a8}')",
        )
        .await;
    server.fold().await;
    server
        .run("update roster.accounts set email = (select email from public.users)")
        .await;
    let ada = bearer(&server, "auth0|ada");
    for door in DOORS {
        let answer = server.get(door, &[("authorization", &ada)]).await;
        assert_eq!(answer.status, 200, "{door}");
        let known = [
            "1",
            "zo%C3%AB%0D%0AX-Roster-Role:%20Admin@example.com",
            "Lead%2C%20Artist",
            "art%20read%09%F0%9F%8E%A8 art:sell",
        ];
        assert_eq!(identity(&answer.headers), known, "{door}");
    }
}

#[tokio::test]
async fn nginx_is_told_nothing_but_200_401_and_403() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let one = [("authorization", ada.as_str())];
    let twice = [one[0], one[0]];
    let future = [one[0], ("x-roster-at-least", "99999999")];
    let garbage = [one[0], ("x-roster-at-least", "now")];
    let table: [(&str, &str, Headers, u16, &str); 15] = [
        ("GET", "", &one, 200, "ok"),
        ("HEAD", "", &one, 200, "ok"),
        ("POST", "", &one, 200, "ok"),
        ("BREW", "?require=art:burn", &one, 403, "insufficient_scope"),
        ("GET", "", &[], 401, "token_missing"),
        (
            "GET",
            "",
            &[("authorization", "Bearer x")],
            401,
            "token_malformed",
        ),
        ("GET", "", &twice, 403, "invalid_request"),
        ("GET", "?access_token=x", &one, 403, "invalid_request"),
        ("GET", "?require=", &one, 403, "invalid_request"),
        ("GET", "?requires=art:read", &one, 403, "invalid_request"),
        ("GET", "?%ff=%zz", &one, 403, "invalid_request"),
        ("GET", "/", &one, 403, "not_found"),
        ("PUT", "/songs/1?require=art:read", &one, 403, "not_found"),
        ("GET", "", &future, 403, "revision_unknown"),
        ("GET", "", &garbage, 403, "revision_unknown"),
    ];
    for (method, rest, headers, status, code) in table {
        let path = format!("/auth/nginx{rest}");
        let answer = send(&server, method, &path, headers).await;
        let told = answer.headers["x-roster-code"].to_str().unwrap();
        assert_eq!((answer.status, told), (status, code), "{method} {path}");
        identity(&answer.headers);
    }
}

#[tokio::test]
async fn without_an_answer_from_postgres_nobody_is_let_through_anywhere() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let headers = [("authorization", ada.as_str())];
    // Every session of the pool waits, and those who wait for a session do too.
    server
        .run("begin; lock table public.users in access exclusive mode")
        .await;
    let crowd = (0..40).map(|_| server.get("/auth/nginx", &headers));
    let told: BTreeSet<(u16, String)> = futures_util::future::join_all(crowd)
        .await
        .iter()
        .map(|answer| (answer.status, answer.refusal().1.to_owned()))
        .collect();
    assert_eq!(told, [(403, "database_unavailable".to_owned())].into());
    for door in &DOORS[1..] {
        let answer = server.get(door, &headers).await;
        assert_eq!(answer.refusal(), (503, "database_unavailable"), "{door}");
        assert_eq!(identity(&answer.headers), [""; 4]);
    }
    server.run("rollback").await;
    assert_eq!(server.get("/auth/nginx", &headers).await.status, 200);
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_is_let_through_either() {
    let server = Server::without_keys().await;
    let token = bearer(&server, "auth0|ada");
    for (door, status) in DOORS.into_iter().zip([403, 503, 503, 503, 503]) {
        let answer = server.get(door, &[("authorization", &token)]).await;
        assert_eq!(answer.refusal(), (status, "keys_unavailable"), "{door}");
    }
}

#[tokio::test]
async fn a_door_that_asks_for_what_roster_does_not_know_is_closed() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let headers = [("authorization", ada.as_str())];
    for door in ["/auth/traefik", "/auth/caddy", "/auth/envoy"] {
        for query in ["require=", "requires=art:read", "require=art:read&page=2"] {
            let answer = server.get(&format!("{door}?{query}"), &headers).await;
            assert_eq!(answer.refusal(), (400, "invalid_request"), "{door} {query}");
            identity(&answer.headers);
        }
    }
    for path in ["/auth/caddy/songs", "/auth", "/auth/apache"] {
        assert_eq!(server.get(path, &headers).await.status, 404, "{path}");
    }
    // Traefik sends the client's own method where it is told to.
    for door in ["/auth/traefik", "/auth/caddy"] {
        for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let answer = send(&server, method, door, &headers).await;
            assert_eq!(answer.status, 200, "{method} {door}");
            identity(&answer.headers);
        }
    }
}

#[tokio::test]
async fn envoy_may_ask_by_any_method_and_with_any_address_behind_its_prefix() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let headers = [("authorization", ada.as_str())];
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW",
    ] {
        for (path, status) in [
            ("/auth/envoy/", 200),
            ("/auth/envoy/songs?page=2&sort=up", 200),
            ("/auth/envoy//a/../b;c/%2e%2e%2f", 200),
            ("/auth/envoy/songs?require=art:burn", 403),
            (
                "/auth/envoy?require=art:read&path=/songs?page=2&access_token=x",
                200,
            ),
            (
                "/auth/envoy?require=art:burn&path=/songs?require=art:read",
                403,
            ),
            // What a client adds does not replace what is required, nor ask for more of it.
            (
                "/auth/envoy?require=art:read&path=/songs&require=art:burn",
                200,
            ),
        ] {
            let answer = send(&server, method, path, &headers).await;
            assert_eq!(answer.status, status, "{method} {path}");
            identity(&answer.headers);
        }
    }
}

#[tokio::test]
async fn hasura_gets_a_session_of_texts_or_a_401() {
    let server = Server::reading_through().await.with_ada().await;
    let ada = bearer(&server, "auth0|ada");
    let session =
        json!({"X-Hasura-User-Id": "1", "X-Hasura-Role": "Artist", "Cache-Control": "max-age=60"});
    let answer = server.get("/auth/hasura", &[("authorization", &ada)]).await;
    assert_eq!((answer.status, &answer.body), (200, &session));

    let post = async |body: String| {
        let hook = client().post(format!("{}/auth/hasura?require=art:read", server.url));
        // What Hasura itself sends with its hook is not the client's.
        let hook = hook
            .header("authorization", "Bearer of.hasura.itself")
            .body(body);
        let response = hook.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.expect("JSON"))
    };
    let asked = json!({"headers": {"authorization": ada, "x-hasura-role": "admin"}, "request": {"query": "{ songs { id } }"}});
    assert_eq!(post(asked.to_string()).await, (200, session));

    for (body, code) in [
        (json!({"headers": {}}).to_string(), "token_missing"),
        (
            json!({"headers": {"Authorization": ada, "authorization": ada}}).to_string(),
            "invalid_request",
        ),
        (json!({"request": {}}).to_string(), "bad_request"),
        (String::new(), "bad_request"),
        (" ".repeat(300_000), "body_too_large"),
    ] {
        let (status, problem) = post(body).await;
        assert_eq!((status, problem["code"].as_str()), (401, Some(code)));
    }
    let answer = send(
        &server,
        "DELETE",
        "/auth/hasura",
        &[("authorization", &ada)],
    )
    .await;
    assert_eq!(answer.refusal(), (405, "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "GET, POST");
}

#[tokio::test]
async fn hasura_is_not_told_of_a_user_without_a_role() {
    let server = Server::reading_through().await.with_ada().await;
    server
        .run("alter table public.users alter role drop not null; update public.users set role = null")
        .await;
    let ada = bearer(&server, "auth0|ada");
    let answer = server.get("/auth/hasura", &[("authorization", &ada)]).await;
    assert_eq!(answer.refusal(), (401, "role_missing"));
}

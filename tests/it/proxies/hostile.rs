//! No identity that a client writes reaches the application.

use super::{ADA, Proxy, Stage};

/// Every request reaches the application as Ada's, or not at all; and on a path that asks for nothing, as nobody's.
async fn comes_as_ada_or_nobody(stage: &Stage, proxy: &Proxy, hostile: &str) -> usize {
    let authorization = format!("Authorization: {}\r\n", stage.ada);
    let mut arrived = 0;
    for (path, expected) in [("/songs/1", ADA), ("/public/1", [""; 4])] {
        for headers in [
            format!("{authorization}{hostile}"),
            format!("{hostile}{authorization}"),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: app\r\n{headers}\r\n");
            let (told, reached) = stage.send(proxy, with_an_end(&request).as_bytes()).await;
            for request in &reached {
                assert_eq!(request.identity(), expected, "{proxy} {path} {hostile:?}");
                // Nor is the application's side told to drop them.
                for hop in request.headers.get_all("connection") {
                    let hop = hop.to_str().expect("visible ASCII").to_lowercase();
                    assert!(!hop.contains("roster"), "{proxy} {path} {hostile:?}: {hop}");
                }
            }
            assert!(
                !reached.is_empty() || told.status >= 400 || told.status == 0,
                "{proxy} {path} {hostile:?}: {told:?}"
            );
            arrived += reached.len();
        }
    }
    // Without a token the same headers are no way in.
    let request = format!("GET /songs/1 HTTP/1.1\r\nHost: app\r\n{hostile}\r\n");
    let (told, reached) = stage.send(proxy, with_an_end(&request).as_bytes()).await;
    assert!(reached.is_empty(), "{proxy} {hostile:?}");
    assert!(
        told.status < 200 || told.status >= 400,
        "{proxy} {hostile:?}: {told:?}"
    );
    arrived
}

/// The connection ends with the answer, unless the request has its own idea of that.
fn with_an_end(request: &str) -> String {
    if request.to_lowercase().contains("\nconnection:") {
        return request.to_owned();
    }
    request.replacen("Host: app\r\n", "Host: app\r\nConnection: close\r\n", 1)
}

#[tokio::test]
async fn headers_of_roster_that_a_client_sends_are_gone_in_whatever_spelling() {
    let stage = Stage::set().await;
    for proxy in &stage.proxies {
        for hostile in [
            "X-Roster-User: 99\r\nX-Roster-Email: root@example.com\r\nX-Roster-Role: Admin\r\nX-Roster-Permissions: *\r\n",
            "x-roster-user: 99\r\nX-ROSTER-USER: 98\r\nX-Roster-User: 97\r\n",
            "X_Roster_User: 99\r\nX-Roster_User: 98\r\nX_Roster-User: 97\r\nx_roster_role: Admin\r\n",
            "X-Roster_Permissions: edit:songs\r\nx_roster-permissions: edit:songs\r\n",
            "X-Roster-User:\r\nX-Roster-Role:Admin\r\n",
        ] {
            let arrived = comes_as_ada_or_nobody(&stage, proxy, hostile).await;
            assert_eq!(
                arrived, 4,
                "{proxy} lets an honest token through: {hostile:?}"
            );
        }
    }
}

#[tokio::test]
async fn malformed_headers_smuggle_nothing() {
    let stage = Stage::set().await;
    for proxy in &stage.proxies {
        for hostile in [
            "X-Roster-User : 99\r\n",
            "X-Roster-User\t: 99\r\n",
            " X-Roster-User: 99\r\n",
            "X-A: b\r\n X-Roster-User: 99\r\n",
            "X-A: b\rX-Roster-User: 99\r\n",
            "X-A: b\nX-Roster-User: 99\n",
            "X-A: b\0X-Roster-User: 99\r\n",
            "X-Roster-User: 9\u{1}9\r\n",
            "X-Roster-\u{fc}ser: 99\r\n",
            "X.Roster.User: 99\r\n",
            "X~Roster~User: 99\r\n",
        ] {
            comes_as_ada_or_nobody(&stage, proxy, hostile).await;
        }
    }
}

#[tokio::test]
async fn a_client_cannot_have_rosters_headers_taken_off_or_another_request_judged() {
    let stage = Stage::set().await;
    for proxy in &stage.proxies {
        for hostile in [
            "Connection: close, X-Roster-User, x-roster-permissions\r\n",
            "Connection: x-roster-user\r\nConnection: x-roster-role, close\r\n",
            "Connection: close, Authorization\r\n",
            "Keep-Alive: x-roster-user\r\nTE: x-roster-user\r\nTrailer: X-Roster-User\r\n",
            "X-Forwarded-Uri: /public/\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-Prefix: /public\r\n",
            "X-Original-URL: /public/\r\nX-Original-URI: /public/\r\nX-Rewrite-URL: /public/\r\n",
            "Forwarded: for=127.0.0.1;host=localhost;proto=https\r\nX-Real-IP: 127.0.0.1\r\n",
            "X-HTTP-Method-Override: OPTIONS\r\nX-Accel-Redirect: /public/\r\nX-Accel-Internal: /_roster\r\n",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            "Host: other\r\n",
            "X-Roster-At-Least: \r\nX-Roster-Code: ok\r\n",
        ] {
            comes_as_ada_or_nobody(&stage, proxy, hostile).await;
        }
    }
}

#[tokio::test]
async fn of_two_tokens_the_application_sees_the_one_that_was_judged_or_none() {
    let stage = Stage::set().await;
    let (ada, bob) = (&stage.ada, &stage.bob);
    for proxy in &stage.proxies {
        for headers in [
            format!("Authorization: {ada}\r\nAuthorization: {bob}\r\n"),
            format!("Authorization: {bob}\r\nAuthorization: {ada}\r\n"),
            format!("Authorization: {ada}\r\nauthorization: Basic cm9vdDpyb290\r\n"),
            format!("Authorization: {ada}, {bob}\r\n"),
            format!("Authorization: {bob} {ada}\r\n"),
            format!("Authorization: {ada}\r\n {bob}\r\n"),
        ] {
            for path in ["/songs", "/other"] {
                let (_, reached) = stage.get(proxy, path, &headers).await;
                for request in reached {
                    let tokens: Vec<_> = request.headers.get_all("authorization").iter().collect();
                    assert_eq!(tokens.len(), 1, "{proxy} {headers}");
                    let user = if tokens[0] == ada.as_str() { "1" } else { "2" };
                    assert!(
                        user == "1" || tokens[0] == bob.as_str(),
                        "{proxy} {headers}"
                    );
                    assert_eq!(request.identity()[0], user, "{proxy} {headers}");
                }
            }
        }
    }
}

#[tokio::test]
async fn headers_without_measure_open_nothing_and_close_nothing() {
    let stage = Stage::set().await;
    let many: String = (0..300).map(|n| format!("X-Filler-{n}: x\r\n")).collect();
    let large = format!("X-Filler: {}\r\n", "x".repeat(60_000));
    let middling: String = (0..3)
        .map(|n| format!("X-Filler-{n}: {}\r\n", "x".repeat(4_000)))
        .collect();
    let token = format!("Authorization: Bearer {}\r\n", "x".repeat(7_000));
    let control = "Authorization: Bearer \u{1}\r\n".to_owned();
    let ada = format!("Authorization: {}\r\n", stage.ada);
    for proxy in &stage.proxies {
        for hostile in [&many, &large, &middling] {
            let (_, reached) = stage.get(proxy, "/songs", &format!("{hostile}{ada}")).await;
            for request in reached {
                assert_eq!(request.identity(), ADA, "{proxy}");
            }
        }
        for hostile in [&many, &large, &middling, &token, &control] {
            let (told, reached) = stage.get(proxy, "/songs", hostile).await;
            assert!(reached.is_empty(), "{proxy}");
            assert!(told.status >= 400 || told.status == 0, "{proxy}: {told:?}");
        }
        let (told, _) = stage.get(proxy, "/songs", &ada).await;
        assert_eq!(told.status, 200, "{proxy} goes on");
    }
}

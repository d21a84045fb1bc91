//! Traefik, Envoy and Hasura are not packages of the systems these tests run on: what they would send, according to
//! the configurations that Roster ships, is sent by hand.

use reqwest::Method;
use serde_json::Value;

use crate::support::authz::{Answer, Server, client, get};

use super::{IDENTITY, program::shipped};

/// What stands behind this in a configuration, wherever it occurs, without quotes.
fn settings(text: &str, key: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .collect()
}

async fn with_ada() -> (Server, String) {
    let server = Server::reading_through().await.with_ada().await;
    server
        .run("insert into public.role_permissions values ('Artist', 'read:songs')")
        .await;
    let ada = format!("Bearer {}", server.issuer.token("auth0|ada"));
    (server, ada)
}

/// Allowed with every header that the configuration hands on; and refused once the permission is gone.
async fn follows(server: &Server, ask: impl AsyncFn() -> Answer, needs_permission: bool) {
    let answer = ask().await;
    assert_eq!(answer.status, 200);
    for name in IDENTITY {
        assert!(answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(answer.headers["x-roster-user"], "1");
    server
        .run("delete from public.role_permissions where permission = 'read:songs'")
        .await;
    let status = if needs_permission { 403 } else { 200 };
    assert_eq!(ask().await.status, status);
    server
        .run("insert into public.role_permissions values ('Artist', 'read:songs')")
        .await;
}

#[tokio::test]
async fn traefik_is_understood() {
    let (server, ada) = with_ada().await;
    let text = shipped("traefik.yml");
    let addresses = settings(&text, "address:");
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        let url = address.replace("http://127.0.0.1:8080", &server.url);
        let headers = [
            ("authorization", ada.as_str()),
            ("x-forwarded-method", "DELETE"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "app"),
            ("x-forwarded-uri", "/songs/1?require=none"),
            ("x-forwarded-for", "10.0.0.1"),
        ];
        follows(
            &server,
            async || get(&url, &headers).await,
            url.contains('?'),
        )
        .await;
    }
    for handed_on in settings(&text, "authResponseHeaders:") {
        assert_eq!(
            handed_on.to_lowercase(),
            format!("[{}]", IDENTITY.join(", "))
        );
    }
    assert!(!settings(&text, "trustForwardHeader:").contains(&"true".to_owned()));
}

#[tokio::test]
async fn envoy_is_understood() {
    let (server, ada) = with_ada().await;
    let text = shipped("envoy.yaml");
    let [prefix] = &settings(&text, "path_prefix:")[..] else {
        panic!("one path_prefix");
    };
    for method in ["GET", "DELETE", "OPTIONS"] {
        let ask = async || {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let path = "/songs/1?page=2&require=none&path=/public";
            let request = client().request(method, format!("{}{prefix}{path}", server.url));
            let request = request
                .header("authorization", &ada)
                .header("content-length", "0");
            let response = request.send().await.expect("an answer");
            Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: Value::Null,
            }
        };
        follows(&server, ask, true).await;
    }
    let named = settings(&text, "exact:");
    let removed = settings(&text, "remove:");
    for name in IDENTITY {
        assert!(named.contains(&name.to_owned()), "{name} is handed on");
        assert!(
            removed.contains(&name.to_owned()),
            "{name} is taken off first"
        );
    }
    assert_eq!(settings(&text, "failure_mode_allow:"), ["false"]);
}

#[tokio::test]
async fn hasura_is_understood() {
    let (server, ada) = with_ada().await;
    let text = shipped("hasura.env");
    let hook = settings(&text, "HASURA_GRAPHQL_AUTH_HOOK=").concat();
    let url = hook.replace("http://127.0.0.1:8080", &server.url);
    assert_eq!(settings(&text, "HASURA_GRAPHQL_AUTH_HOOK_MODE="), ["GET"]);
    assert!(
        !settings(&text, "HASURA_GRAPHQL_ADMIN_SECRET=")
            .concat()
            .is_empty()
    );
    let answer = get(&url, &[("authorization", &ada), ("x-hasura-role", "admin")]).await;
    assert_eq!(
        (answer.status, &answer.body["X-Hasura-Role"]),
        (200, &"Artist".into())
    );
    assert_eq!(get(&url, &[("x-hasura-role", "admin")]).await.status, 401);
}

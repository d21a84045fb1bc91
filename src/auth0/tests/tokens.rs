//! How tokens are fetched, kept, replaced and kept secret.

use std::io;

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_token_is_asked_for_with_the_clients_credentials() {
    let tenant = Tenant::answering([]).await;
    let scopes = tenant.client().check_token().await.unwrap();
    assert_eq!(scopes, ["read:users", "create:users"]);
    let mut form = tenant.seen("/oauth/token")[0].form();
    form.sort();
    let expected = [
        ("audience", "https://tenant.example/api/v2/"),
        ("client_id", "the-client"),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
    ];
    assert_eq!(
        form,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn one_token_serves_all_workers() {
    let tenant = Tenant::granting(|_| answer(200, ann())).await;
    let client = tenant.client();
    let ann = ann_id();
    let users = join_all((0..20).map(|_| client.user(&ann))).await;
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(tenant.tokens_asked(), 1);
}

#[tokio::test]
async fn refused_credentials_are_a_fault_of_the_configuration_and_not_tried_again() {
    for status in [401, 403] {
        let body = json!({"error": "access_denied", "error_description": "Unauthorized"});
        let tenant = Tenant::scripted(move |_| answer(status, body.clone())).await;
        let client = tenant.client();
        for _ in 0..3 {
            let CallError::Token { source, .. } = client.user(&ann_id()).await.unwrap_err() else {
                panic!("no token, no call")
            };
            assert!(source.is_config());
            assert_eq!(source.code(), "token_refused");
            assert!(source.to_string().contains("access_denied"));
        }
        assert_eq!(tenant.tokens_asked(), 1);
        assert_eq!(tenant.seen.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_is_not_well_is_no_fault_of_the_configuration() {
    for (status, code) in [
        (429, "token_throttled"),
        (503, "token_unavailable"),
        (408, "token_unavailable"),
    ] {
        let tenant = Tenant::scripted(move |_| answer(status, Value::Null)).await;
        let error = tenant.client().check_token().await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.retry_after().is_some());
        assert!(matches!(error, CallError::Token { source, .. } if !source.is_config()));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_said_to_be_malformed() {
    for body in [
        json!({}),
        json!({"access_token": 5}),
        json!({"access_token": "two\nlines"}),
        Value::Null,
    ] {
        let tenant = Tenant::scripted(move |_| answer(200, body.clone())).await;
        let error = tenant.client().check_token().await.unwrap_err();
        assert_eq!(error.code(), "token_malformed");
    }
}

#[tokio::test]
async fn an_ended_token_is_replaced_and_the_call_repeated_once() {
    let tenant = Tenant::granting(|request| match request.header("authorization") {
        Some("Bearer token-1") => answer(401, json!({"statusCode": 401, "error": "Unauthorized"})),
        _ => answer(201, ann()),
    })
    .await;
    let client = tenant.client();
    client.create_user(&new_ann()).await.unwrap();
    let calls = tenant.seen("/api/v2/users");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body);
    assert_eq!(tenant.tokens_asked(), 2);
}

#[tokio::test]
async fn many_calls_with_the_ended_token_replace_it_once() {
    let tenant = Tenant::granting(|request| match request.header("authorization") {
        Some("Bearer token-1") => answer(401, Value::Null),
        _ => answer(200, ann()),
    })
    .await;
    let client = tenant.client();
    let ann = ann_id();
    let users = join_all((0..20).map(|_| client.user(&ann))).await;
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(tenant.tokens_asked(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_not_replaced_again_and_again() {
    let tenant = Tenant::granting(|_| answer(401, json!({"message": "Bad audience"}))).await;
    let client = tenant.client();
    for _ in 0..5 {
        let error = client.user(&ann_id()).await.unwrap_err();
        assert_eq!((error.status(), error.code()), (Some(401), "unauthorized"));
    }
    assert_eq!(tenant.tokens_asked(), 2);
    assert_eq!(tenant.seen("/api/v2/users/auth0%7Cann").len(), 6);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_log_nor_debug_tells_a_secret_or_who_somebody_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alive, an event that another test's thread meets first would be switched off for good.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let tenant = Tenant::granting(|request| match request.path.as_str() {
        "/api/v2/users-by-email" => answer(200, json!([ann()])),
        _ => answer(200, ann()),
    })
    .await;
    let client = tenant.client();
    let user = client.create_user(&new_ann()).await.unwrap();
    client.users_by_email("ann@example.com").await.unwrap();
    client.send_invitation("ann@example.com").await.unwrap();
    tracing::info!(?client, ?user, new = ?new_ann(), settings = ?tenant.settings(), "shown");

    let shown = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let password = tenant.seen("/api/v2/users")[0].json()["password"].to_string();
    for secret in [
        SECRET,
        "token-1",
        "ann@",
        "ann%40",
        "\"Ann\"",
        password.trim_matches('"'),
    ] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    for told in [
        "/api/v2/users-by-email",
        "auth0|ann",
        "duration_ms",
        "auth0.correlation_id",
    ] {
        assert!(shown.contains(told), "{told} not in {shown}");
    }
}

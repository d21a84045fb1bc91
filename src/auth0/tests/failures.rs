//! What the errors say about a call's effect, and what they keep to themselves.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers every connection, after its first bytes, with `raw`, and closes it.
async fn speaking(raw: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(raw.as_bytes()).await;
        }
    });
    url.parse().unwrap()
}

/// Sends an invitation, which needs no token, to this tenant.
async fn invite(base_url: Url) -> CallError {
    let client = Client::new(settings(base_url)).unwrap();
    client.send_invitation("ann@example.com").await.unwrap_err()
}

#[tokio::test]
async fn a_refusal_tells_status_and_code_and_keeps_the_words_apart() {
    let taken = refusal(409, "auth0_idp_error", "ann@example.com already exists.");
    let tenant = Tenant::answering([taken]).await;
    let error = tenant.client().create_user(&new_ann()).await.unwrap_err();
    assert_eq!(
        (error.status(), error.code()),
        (Some(409), "auth0_idp_error")
    );
    assert_eq!(error.detail(), Some("ann@example.com already exists."));
    assert_eq!(
        error.to_string(),
        "create user auth0|ann: auth0 answered 409 (auth0_idp_error)"
    );
}

#[tokio::test]
async fn a_page_of_something_in_between_is_a_refusal_without_code() {
    let tenant = Tenant::answering([Response::builder()
        .status(502)
        .body("<html>Bad gateway</html>".to_owned())
        .unwrap()])
    .await;
    let error = tenant.client().delete_user(&ann_id()).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(502), "server_error"));
    assert_eq!(error.detail(), None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let tenant = Tenant::answering([Response::builder()
        .status(302)
        .header("location", "/elsewhere")
        .body(String::new())
        .unwrap()])
    .await;
    let error = tenant.client().user(&ann_id()).await.unwrap_err();
    assert_eq!(error.status(), Some(302));
    assert_eq!(tenant.only_call().path, "/api/v2/users/auth0%7Cann");
}

#[tokio::test]
async fn a_429_holds_the_next_call_of_its_class() {
    let mut throttled = refusal(429, "too_many_requests", "Global limit has been reached");
    throttled.headers_mut().insert("retry-after", 60.into());
    let tenant = Tenant::answering([throttled]).await;
    let client = tenant.client();
    let refused = client.delete_user(&ann_id()).await.unwrap_err();
    assert_eq!(
        (refused.status(), refused.retry_after()),
        (Some(429), Some(Duration::from_secs(60)))
    );
    let held = client.delete_user(&ann_id()).await.unwrap_err();
    assert!(matches!(held, CallError::Throttled { .. }), "{held}");
    assert!(
        held.retry_after()
            .is_some_and(|wait| wait <= Duration::from_secs(60))
    );
    assert_eq!(client.pace().available(Class::DeleteUsers), 0);
    tenant.only_call();
}

#[tokio::test]
async fn the_pace_is_learnt_from_answers() {
    let mut told = answer(204, Value::Null);
    for (name, value) in [
        ("limit", 20),
        ("remaining", 10),
        ("reset", 4_102_444_800_u64),
    ] {
        let name = format!("x-ratelimit-{name}")
            .parse::<warp::http::HeaderName>()
            .unwrap();
        told.headers_mut().insert(name, value.into());
    }
    let tenant = Tenant::answering([told]).await;
    let client = tenant.client();
    assert_eq!(client.pace().available(Class::DeleteUsers), 1024);
    client.delete_user(&ann_id()).await.unwrap();
    assert_eq!(client.clone().pace().available(Class::DeleteUsers), 6);
}

#[tokio::test]
async fn a_2xx_that_cannot_be_read_was_applied_and_says_nothing_of_its_content() {
    let tenant = Tenant::answering([
        answer(201, json!({"user_id": {"ann@example.com": 1}})),
        answer(201, json!({"email": "ann@example.com"})),
        answer(201, json!("ann@example.com")),
        answer(201, Value::Null),
        answer(
            201,
            json!({"user_id": "auth0|ann", "name": "x".repeat(1024 * 1024)}),
        ),
    ])
    .await;
    let client = tenant.client();
    for _ in 0..5 {
        let error = client.create_user(&new_ann()).await.unwrap_err();
        assert!(
            matches!(error, CallError::Malformed { status: 201, .. }),
            "{error}"
        );
        assert!(
            !format!("{error:?}").contains("ann@example.com"),
            "{error:?}"
        );
        assert!(!crate::telemetry::with_causes(&error).contains("ann@example.com"));
    }
}

#[tokio::test]
async fn an_answer_cut_after_its_status_still_tells_the_status() {
    let base_url = speaking("HTTP/1.1 409 Conflict\r\ncontent-length: 99\r\n\r\n{").await;
    let error = invite(base_url).await;
    assert!(
        matches!(error, CallError::Refused { status: 409, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_closed_port_means_not_sent() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let error = invite(base_url.parse().unwrap()).await;
    assert!(matches!(error, CallError::NotSent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_host_without_tls_means_not_sent() {
    let mut base_url = speaking("this is no handshake").await;
    base_url.set_scheme("https").unwrap();
    let error = invite(base_url).await;
    assert!(matches!(error, CallError::NotSent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_cut_before_the_answer_means_answer_lost() {
    let error = invite(speaking("").await).await;
    assert!(matches!(error, CallError::AnswerLost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_deadline_passed_means_answer_lost_and_names_no_address() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tenant = Tenant::answering([]).await;
    let mut settings = tenant.settings();
    settings.call_timeout = Duration::from_millis(300);
    settings.base_url = format!("http://{}", silent.local_addr().unwrap())
        .parse()
        .unwrap();
    let error = Client::new(settings)
        .unwrap()
        .send_invitation("ann@example.com")
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::AnswerLost { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("ann@"), "{error:?}");
}

#[tokio::test]
async fn a_lost_look_up_by_address_does_not_name_the_address() {
    let base_url = speaking("").await;
    let client = Client::new(settings(base_url)).unwrap();
    let call = Call::on(
        "get users by e-mail",
        Method::GET,
        Class::ReadUsers,
        "/api/v2/users-by-email",
    );
    let error = client
        .caller
        .authentication(&call.listing("email", "ann@example.com"))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::AnswerLost { .. }), "{error:?}");
    let shown = format!("{error:?} {}", crate::telemetry::with_causes(&error));
    assert!(
        !shown.contains("ann%40") && !shown.contains("ann@"),
        "{shown}"
    );
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = settings("https://tenant.example".parse().unwrap());
        change(&mut settings);
        Client::new(settings).err().map(|error| error.to_string())
    };
    let to = |url: &str| {
        let mut settings = settings("https://tenant.example".parse().unwrap());
        settings.base_url = url.parse().unwrap();
        Client::new(settings)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(refused(|_| {}), None);
    for share in [0.0, -1.0, 1.01, f64::NAN] {
        let mut settings = settings("https://tenant.example".parse().unwrap());
        settings.budget_share = share;
        let error = Client::new(settings).unwrap_err().to_string();
        assert!(error.starts_with("auth0.budget_share"), "{error}");
    }
    assert!(refused(|settings| settings.call_timeout = Duration::ZERO).is_some());
    assert!(
        refused(|settings| settings.connection.clear())
            .is_some_and(|error| error.contains("auth0.connection"))
    );
    assert!(refused(|settings| settings.client_secret = SecretString::from("")).is_some());
    for good in [
        "https://tenant.example/",
        "http://localhost:1",
        "http://127.0.0.1:1",
        "http://[::1]:1",
    ] {
        assert_eq!(to(good), Ok(()), "{good}");
    }
    for bad in [
        "http://tenant.example",
        "http://localhost.example",
        "ftp://localhost",
        "https://user@tenant.example",
        "https://tenant.example/?a=b",
        "https://tenant.example/#a",
        "data:text",
    ] {
        assert!(
            to(bad).is_err_and(|error| error.starts_with("auth0.base_url")),
            "{bad}"
        );
    }
}

//! Rate limits by plan, and faults on demand.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use roster::emulator::{Answers, Options, Plan};
use serde_json::json;

use super::{CONNECTION, Tenant, error, json_of, new_user};

#[tokio::test]
async fn a_plan_limits_writes_and_says_so_in_headers() {
    let options = Options {
        plan: Plan::Essentials,
        answers: Answers {
            retry_after: true,
            ..Answers::default()
        },
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    let created = tenant
        .call("POST", "/api/v2/users", Some(new_user("ann", json!({}))))
        .await;
    assert_eq!(created.headers()["x-ratelimit-limit"], "20");
    assert_eq!(created.headers()["x-ratelimit-remaining"], "19");
    let refused = loop {
        let response = tenant.patch_ann(json!({"name": "Ann"})).await;
        if response.status() != StatusCode::OK {
            break response;
        }
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["x-ratelimit-remaining"], "0");
    assert_eq!(refused.headers()["retry-after"], "1");
    let expected = error(
        429,
        "Too Many Requests",
        "Global limit has been reached",
        "too_many_requests",
    );
    assert_eq!(json_of(refused).await, expected);
    assert_eq!(
        tenant.get("/api/v2/users").await.status(),
        StatusCode::OK,
        "reads have their own"
    );
}

#[tokio::test]
async fn answers_with_400_401_and_404_carry_no_rate_limit_headers() {
    let options = Options {
        plan: Plan::Enterprise,
        ..Options::default()
    };
    let mut tenant = Tenant::with(options).await;
    let has_headers = |response: &Response| response.headers().contains_key("x-ratelimit-limit");
    assert!(has_headers(&tenant.get("/api/v2/users").await));
    assert!(!has_headers(
        &tenant.get("/api/v2/users/auth0%7Cnobody").await
    ));
    assert!(!has_headers(
        &tenant.call("POST", "/api/v2/users", Some(json!({}))).await
    ));
    tenant.token = "nonsense".into();
    assert!(!has_headers(&tenant.get("/api/v2/users").await));
}

#[tokio::test]
async fn password_mails_have_a_bucket_of_ten_for_each_address() {
    let options = Options {
        plan: Plan::Enterprise,
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    let ask = async |email: &str| {
        let body = json!({"email": email, "connection": CONNECTION});
        tenant
            .call("POST", "/dbconnections/change_password", Some(body))
            .await
            .status()
    };
    for _ in 0..10 {
        assert_eq!(ask("ann@a.test").await, StatusCode::OK);
    }
    assert_eq!(ask("ann@a.test").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("bob@a.test").await, StatusCode::OK);
}

#[tokio::test]
async fn a_connection_cut_before_leaves_nothing_and_one_cut_after_leaves_the_user() {
    let tenant = Tenant::start().await;
    let route = "POST /api/v2/users";
    for (kind, status) in [
        ("cut_before", StatusCode::NOT_FOUND),
        ("cut_after", StatusCode::OK),
    ] {
        tenant
            .control("faults", json!({"route": route, "kind": kind, "times": 1}))
            .await;
        let cut = tenant
            .try_call("POST", "/api/v2/users", Some(new_user("ann", json!({}))))
            .await;
        assert!(cut.is_err());
        assert_eq!(
            tenant.get("/api/v2/users/auth0%7Cann").await.status(),
            status,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_fault_answers_its_status_and_headers_as_often_as_told() {
    let tenant = Tenant::start().await;
    let fault = json!({
        "route": "GET /api/v2/users/{id}", "kind": "status", "status": 429, "times": 2,
        "headers": {"x-ratelimit-reset": "4102444800"}, "delay_ms": 1,
    });
    tenant.control("faults", fault).await;
    for _ in 0..2 {
        let response = tenant.get("/api/v2/users/auth0%7Cann").await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["x-ratelimit-reset"], "4102444800");
    }
    assert_eq!(
        tenant.get("/api/v2/users/auth0%7Cann").await.status(),
        StatusCode::NOT_FOUND
    );
    tenant
        .control("faults", json!({"kind": "status", "status": 503}))
        .await;
    assert_eq!(
        tenant.get("/api/v2/users").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    tenant.call("DELETE", "/_emulator/faults", None).await;
    assert_eq!(tenant.get("/api/v2/users").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_whose_client_gave_up_is_applied_all_the_same() {
    let tenant = Tenant::start().await;
    for (id, kind) in [("ann", "delay"), ("bob", "delay_answer")] {
        let fault =
            json!({"route": "POST /api/v2/users", "kind": kind, "delay_ms": 500, "times": 1});
        tenant.control("faults", fault).await;
        let impatient = tenant
            .http
            .post(format!("{}/api/v2/users", tenant.base))
            .bearer_auth(&tenant.token)
            .json(&new_user(id, json!({})))
            .timeout(Duration::from_millis(20));
        assert!(impatient.send().await.is_err());
        let path = format!("/api/v2/users/auth0%7C{id}");
        let applied = async {
            while tenant.get(&path).await.status() != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let patience = Duration::from_secs(30);
        assert!(
            tokio::time::timeout(patience, applied).await.is_ok(),
            "{kind}"
        );
    }
}

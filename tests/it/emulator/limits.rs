//! Rate limits by plan, and faults on demand.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use roster::emulator::{Answers, Options, Plan};
use serde_json::json;

use super::{CONNECTION, Tenant, error, json_of, new_user, privileged};

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

/// How many calls of one kind pass before the first 429, and that answer.
async fn passing(tenant: &Tenant, path: &str) -> (usize, Response) {
    for passed in 0..100 {
        let response = tenant.get(path).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return (passed, response);
        }
    }
    panic!("no limit at {path}")
}

#[tokio::test]
async fn each_kind_of_call_has_its_bucket_and_all_others_share_one() {
    let tenant = Tenant::with(Options {
        plan: Plan::Professional,
        ..privileged()
    })
    .await;
    for (path, least) in [
        ("/api/v2/connections", 5),
        ("/api/v2/users/auth0%7Cann/logs", 10),
        ("/api/v2/roles", 10),
        ("/api/v2/users", 40),
    ] {
        // A slow machine may win back a token or two on the way.
        let (passed, _) = passing(&tenant, path).await;
        assert!(passed >= least, "{path}: {passed}");
    }
    let other = tenant.get("/api/v2/user-blocks?identifier=x").await;
    assert_eq!(other.headers()["x-ratelimit-limit"], "10");
}

#[tokio::test]
async fn reads_of_users_share_a_bucket_or_not_as_the_answers_say() {
    for shared in [true, false] {
        let answers = Answers {
            read_bucket_shared: shared,
            ..Answers::default()
        };
        let tenant = Tenant::with(Options {
            plan: Plan::Essentials,
            answers,
            ..Options::default()
        })
        .await;
        passing(&tenant, "/api/v2/users-by-email?email=a@a.test").await;
        let search = tenant.get("/api/v2/users").await;
        let is_fresh = search.headers()["x-ratelimit-remaining"] == "39";
        assert_eq!(is_fresh, !shared);
    }
}

#[tokio::test]
async fn a_429_has_headers_or_not_as_the_answers_say() {
    for (headers, retry_after) in [(true, false), (false, true), (false, false)] {
        let answers = Answers {
            rate_limit_headers_on_429: headers,
            retry_after,
            ..Answers::default()
        };
        let tenant = Tenant::with(Options {
            plan: Plan::Free,
            answers,
            ..Options::default()
        })
        .await;
        let (_, refused) = passing(&tenant, "/api/v2/users").await;
        let has = |name: &str| refused.headers().contains_key(name);
        assert_eq!(has("x-ratelimit-reset"), headers);
        assert_eq!(has("retry-after"), retry_after);
    }
}

#[tokio::test]
async fn userinfo_has_a_bucket_of_ten_for_each_user() {
    let mut tenant = Tenant::with(Options {
        plan: Plan::Enterprise,
        ..Options::default()
    })
    .await;
    tenant.ann(json!({})).await;
    tenant.token = tenant.tokens("ann@a.test").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let first = tenant.get("/userinfo").await;
    assert_eq!(first.headers()["x-ratelimit-limit"], "10");
    assert_eq!(first.headers()["x-ratelimit-remaining"], "9");
    let (passed, refused) = passing(&tenant, "/userinfo").await;
    assert!(passed >= 9);
    assert_eq!(json_of(refused).await["error"], "too_many_requests");
    let google = super::redirected(&tenant.google("bob@a.test", true).await);
    let tokens = json_of(tenant.redeem(&google["code"], &[]).await).await;
    tenant.token = tokens["access_token"].as_str().unwrap().to_owned();
    assert_eq!(tenant.get("/userinfo").await.status(), StatusCode::OK);
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

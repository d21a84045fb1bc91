//! Brute-force blocks, which are not the administrator's, and the log of what people did.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{CONNECTION, PASSWORD, Tenant, privileged};

/// A tenant where ann has mistyped her password ten times.
async fn blocked() -> Tenant {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    for _ in 0..10 {
        let failed = tenant.log_in("ann@a.test", "Wrong-horse-1").await;
        assert_eq!(failed.status(), StatusCode::BAD_REQUEST);
    }
    tenant
}

async fn logs_in(tenant: &Tenant) -> bool {
    tenant.log_in("ann@a.test", PASSWORD).await.status() == StatusCode::FOUND
}

#[tokio::test]
async fn ten_wrong_passwords_block_without_touching_the_administrators_block() {
    let tenant = blocked().await;
    assert!(!logs_in(&tenant).await, "the right one does not help");
    let entry = json!({"identifier": "ann@a.test", "ip": "127.0.0.1", "connection": CONNECTION});
    let expected = json!({"blocked_for": [entry]});
    assert_eq!(
        tenant.read("/api/v2/user-blocks/auth0%7Cann").await,
        expected
    );
    assert_eq!(
        tenant
            .read("/api/v2/user-blocks?identifier=ann@a.test")
            .await,
        expected
    );
    assert_eq!(tenant.read_ann().await.get("blocked"), None);
    tenant.patch_ann(json!({"blocked": false})).await;
    assert!(!logs_in(&tenant).await, "it lifts only the administrator's");
}

#[tokio::test]
async fn an_operator_or_a_new_password_lifts_a_brute_force_block() {
    for path in [
        "/api/v2/user-blocks/auth0%7Cann",
        "/api/v2/user-blocks?identifier=ann@a.test",
    ] {
        let tenant = blocked().await;
        assert_eq!(tenant.delete(path).await.status(), StatusCode::NO_CONTENT);
        assert!(logs_in(&tenant).await, "{path}");
        assert_eq!(
            tenant.read("/api/v2/user-blocks/auth0%7Cann").await,
            json!({"blocked_for": []})
        );
    }
    let tenant = blocked().await;
    let body = json!({"email": "ann@a.test", "connection": CONNECTION});
    tenant.post("/dbconnections/change_password", body).await;
    let mails = tenant.mails().await;
    let path = mails[0]["link"].as_str().unwrap().replace(&tenant.base, "");
    tenant.form(&path, &[("password", PASSWORD)]).await;
    assert!(logs_in(&tenant).await);
}

#[tokio::test]
async fn a_login_in_between_starts_the_count_anew() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    for _ in 0..3 {
        for _ in 0..9 {
            tenant.log_in("ann@a.test", "Wrong-horse-1").await;
        }
        assert!(logs_in(&tenant).await);
    }
}

#[tokio::test]
async fn a_users_log_says_what_happened_newest_first() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    tenant.log_in("ann@a.test", "Wrong-horse-1").await;
    tenant.log_in("ann@a.test", PASSWORD).await;
    tenant.patch_ann(json!({"blocked": true})).await;
    tenant.log_in("ann@a.test", PASSWORD).await;
    let kinds = async |query: &str| {
        let path = format!("/api/v2/users/auth0%7Cann/logs{query}");
        let entries: Vec<Value> = tenant.read(&path).await.as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["type"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("").await, ["f", "s", "fp"]);
    assert_eq!(kinds("?sort=date:1&per_page=2").await, ["fp", "s"]);
    let totals = tenant
        .read("/api/v2/users/auth0%7Cann/logs?include_totals=true")
        .await;
    assert_eq!(
        (&totals["total"], &totals["length"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        tenant.read("/api/v2/users/auth0%7Cbob/logs").await,
        json!([])
    );
}

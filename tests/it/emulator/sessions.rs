//! Sessions and refresh tokens, and what ends them.

use reqwest::StatusCode;
use roster::emulator::{Answers, MissingFeature, Options, Plan};
use serde_json::{Value, json};

use super::{Tenant, json_of, privileged};

const ANN: &str = "/api/v2/users/auth0%7Cann";

/// A tenant where ann has logged in, and her tokens.
async fn logged_in(options: Options) -> (Tenant, Value) {
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    let tokens = tenant.tokens("ann@a.test").await;
    (tenant, tokens)
}

async fn refreshed(tenant: &Tenant, tokens: &Value) -> StatusCode {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo-app"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    tenant.form("/oauth/token", &form).await.status()
}

/// The only session, and the only refresh token.
async fn only(tenant: &Tenant) -> (Value, Value) {
    let sessions = tenant.read(&format!("{ANN}/sessions")).await;
    let tokens = tenant.read(&format!("{ANN}/refresh-tokens")).await;
    (sessions["sessions"][0].clone(), tokens["tokens"][0].clone())
}

async fn sessions(tenant: &Tenant) -> usize {
    let listed = tenant.read(&format!("{ANN}/sessions")).await;
    listed["sessions"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_login_makes_a_session_and_a_refresh_token_that_name_each_other() {
    let (tenant, _) = logged_in(privileged()).await;
    let (session, token) = only(&tenant).await;
    assert_eq!(session["user_id"], "auth0|ann");
    assert_eq!(session["clients"], json!([{"client_id": "demo-app"}]));
    assert_eq!(session["authentication"]["methods"][0]["name"], "pwd");
    assert_eq!(token["session_id"], session["id"]);
    assert_eq!(token["rotating"], false);
    assert_eq!(token["expires_at"], Value::Null);
    let path = format!("/api/v2/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(tenant.read(&path).await, session);
    let path = format!("/api/v2/refresh-tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(tenant.read(&path).await, token);
    let found = tenant
        .read("/api/v2/refresh-tokens?user_id=auth0%7Cann&client_id=demo-app")
        .await;
    assert_eq!(found, json!({"refresh_tokens": [token]}));
    assert_eq!(
        tenant.get("/api/v2/refresh-tokens").await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn ending_sessions_answers_202_and_leaves_refresh_tokens() {
    let (tenant, tokens) = logged_in(privileged()).await;
    let ended = tenant.delete(&format!("{ANN}/sessions")).await;
    assert_eq!(ended.status(), StatusCode::ACCEPTED);
    assert_eq!(json_of(ended).await, json!({}));
    assert_eq!(
        tenant.read(&format!("{ANN}/sessions")).await,
        json!({"sessions": []})
    );
    assert_eq!(refreshed(&tenant, &tokens).await, StatusCode::OK);
}

#[tokio::test]
async fn revoked_refresh_tokens_are_good_no_more() {
    let by_id = |token: &Value| json!({"ids": [token["id"]]});
    let by_user = |_: &Value| json!({"user_id": "auth0|ann"});
    let bodies: [fn(&Value) -> Value; 2] = [by_id, by_user];
    for body in bodies {
        let (tenant, tokens) = logged_in(privileged()).await;
        let (_, token) = only(&tenant).await;
        let revoked = tenant
            .post("/api/v2/refresh-tokens/revoke", body(&token))
            .await;
        assert_eq!(revoked.status(), StatusCode::ACCEPTED);
        assert_eq!(refreshed(&tenant, &tokens).await, StatusCode::FORBIDDEN);
        assert_eq!(sessions(&tenant).await, 1, "the session goes on");
    }
}

#[tokio::test]
async fn a_users_refresh_tokens_are_listed_with_their_total_and_deleted_together() {
    let (tenant, tokens) = logged_in(privileged()).await;
    let path = format!("{ANN}/refresh-tokens");
    let listed = tenant
        .read(&format!("{path}?include_totals=true&per_page=50"))
        .await;
    assert_eq!(listed["total"], 1);
    assert_eq!(tenant.delete(&path).await.status(), StatusCode::ACCEPTED);
    let listed = tenant.read(&format!("{path}?include_totals=true")).await;
    assert_eq!(listed, json!({"tokens": [], "total": 0}));
    assert_eq!(refreshed(&tenant, &tokens).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn revoking_access_ends_both_unless_refresh_tokens_are_to_be_kept() {
    for (preserve, status) in [(false, StatusCode::FORBIDDEN), (true, StatusCode::OK)] {
        let (tenant, tokens) = logged_in(privileged()).await;
        let body = json!({"preserve_refresh_tokens": preserve});
        let answered = tenant.post(&format!("{ANN}/revoke-access"), body).await;
        assert_eq!(answered.status(), StatusCode::ACCEPTED);
        assert_eq!(sessions(&tenant).await, 0);
        assert_eq!(refreshed(&tenant, &tokens).await, status);
    }
}

#[tokio::test]
async fn revoking_a_session_takes_its_refresh_tokens_along() {
    let (tenant, tokens) = logged_in(privileged()).await;
    let other = tenant.tokens("ann@a.test").await;
    let listed = tenant.read(&format!("{ANN}/refresh-tokens")).await;
    let id = listed["tokens"][0]["session_id"].as_str().unwrap();
    let path = format!("/api/v2/sessions/{id}/revoke");
    assert_eq!(
        tenant.post(&path, json!({})).await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(sessions(&tenant).await, 1);
    let both = [
        refreshed(&tenant, &tokens).await,
        refreshed(&tenant, &other).await,
    ];
    assert_eq!(
        both.iter()
            .filter(|status| **status == StatusCode::OK)
            .count(),
        1
    );
    assert_eq!(
        tenant.post(&path, json!({})).await.status(),
        StatusCode::NOT_FOUND
    );
    let absent = tenant.delete(&format!("/api/v2/sessions/{id}")).await;
    assert_eq!(
        absent.status(),
        StatusCode::ACCEPTED,
        "a DELETE is accepted of anything"
    );
}

#[tokio::test]
async fn metadata_of_a_session_can_be_set_and_unset() {
    let (tenant, _) = logged_in(privileged()).await;
    let (session, _) = only(&tenant).await;
    let path = format!("/api/v2/sessions/{}", session["id"].as_str().unwrap());
    let set = async |metadata: Value| {
        let body = json!({"session_metadata": metadata});
        json_of(tenant.call("PATCH", &path, Some(body)).await).await
    };
    assert_eq!(
        set(json!({"device": "tablet"})).await["session_metadata"]["device"],
        "tablet"
    );
    assert_eq!(set(Value::Null).await.get("session_metadata"), None);
    let wrong = tenant
        .call("PATCH", &path, Some(json!({"metadata": {}})))
        .await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn revocation_takes_as_long_as_the_option_says() {
    let (tenant, tokens) = logged_in(Options {
        revocation_delay_ms: 60_000,
        ..privileged()
    })
    .await;
    tenant
        .post(&format!("{ANN}/revoke-access"), json!({}))
        .await;
    assert_eq!(sessions(&tenant).await, 1);
    assert_eq!(refreshed(&tenant, &tokens).await, StatusCode::OK);
    tenant
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(sessions(&tenant).await, 0);
    assert_eq!(refreshed(&tenant, &tokens).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn blocking_a_user_and_setting_a_password_end_sessions() {
    for body in [
        json!({"blocked": true}),
        json!({"password": "Another-horse-2"}),
    ] {
        let (tenant, _) = logged_in(privileged()).await;
        tenant.patch_ann(json!({"name": "Ann"})).await;
        assert_eq!(sessions(&tenant).await, 1);
        tenant.patch_ann(body.clone()).await;
        assert_eq!(sessions(&tenant).await, 0, "{body}");
    }
}

#[tokio::test]
async fn a_blocked_users_refresh_token_is_refused_or_not_as_the_answers_say() {
    for (refused, status) in [(true, StatusCode::FORBIDDEN), (false, StatusCode::OK)] {
        let answers = Answers {
            blocked_refresh_refused: refused,
            ..Answers::default()
        };
        let (tenant, tokens) = logged_in(Options {
            answers,
            ..privileged()
        })
        .await;
        tenant.patch_ann(json!({"blocked": true})).await;
        assert_eq!(refreshed(&tenant, &tokens).await, status);
    }
}

#[tokio::test]
async fn a_session_ends_after_three_idle_days() {
    let (tenant, _) = logged_in(privileged()).await;
    tenant
        .control("clock", json!({"advance_seconds": 3600}))
        .await;
    assert_eq!(sessions(&tenant).await, 1);
    let (session, _) = only(&tenant).await;
    assert_eq!(session["id"].as_str().unwrap().len(), 48);
    tenant
        .control("clock", json!({"advance_seconds": 72 * 3600}))
        .await;
    let mut tenant = tenant;
    tenant.token = tenant.machine_token().await;
    assert_eq!(sessions(&tenant).await, 0);
}

#[tokio::test]
async fn plans_below_enterprise_have_none_of_it() {
    for (missing_feature, code) in [
        (MissingFeature::FeatureNotEnabled, "feature_not_enabled"),
        (
            MissingFeature::InsufficientEntitlement,
            "insufficient_entitlement",
        ),
    ] {
        let answers = Answers {
            missing_feature,
            ..Answers::default()
        };
        let options = Options {
            plan: Plan::Essentials,
            answers,
            ..privileged()
        };
        let (tenant, _) = logged_in(options).await;
        let refused = tenant
            .post(&format!("{ANN}/revoke-access"), json!({}))
            .await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(json_of(refused).await["errorCode"], code);
        tenant
            .control("options", json!({"plan": "enterprise"}))
            .await;
        assert_eq!(sessions(&tenant).await, 1);
    }
}

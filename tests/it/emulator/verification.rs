//! Verification mails as jobs.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Tenant, json_of};

impl Tenant {
    async fn ask_verification(&self, body: Value) -> Response {
        self.call("POST", "/api/v2/jobs/verification-email", Some(body))
            .await
    }
}

#[tokio::test]
async fn a_verification_job_mails_a_link_that_verifies_the_address() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let response = tenant
        .ask_verification(json!({"user_id": "auth0|ann"}))
        .await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let job = json_of(response).await;
    assert_eq!(job["type"], "verification_email");
    assert_eq!(job["status"], "pending");
    assert_eq!(tenant.job(&job).await["status"], "completed");
    let mails = tenant.mails().await;
    assert_eq!(mails[0]["kind"], "verify_email");
    let link = mails[0]["link"].as_str().unwrap();
    tenant.http.get(link).send().await.unwrap();
    assert_eq!(tenant.read_ann().await["email_verified"], true);
}

#[tokio::test]
async fn a_verification_job_may_fail_without_a_mail_or_a_reason() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    tenant
        .control("options", json!({"jobs": {"verification_fails": true}}))
        .await;
    let job = json_of(
        tenant
            .ask_verification(json!({"user_id": "auth0|ann"}))
            .await,
    )
    .await;
    let job = tenant.job(&job).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["status_details"], Value::Null);
    assert!(tenant.mails().await.is_empty());
}

#[tokio::test]
async fn a_verification_job_needs_a_user_an_identity_of_theirs_and_a_client_that_exists() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let ann = |more: Value| {
        let mut body = json!({"user_id": "auth0|ann"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    for (body, status) in [
        (json!({"user_id": "auth0|nobody"}), 404),
        (json!({}), 400),
        (ann(json!({"client_id": "unknown"})), 400),
        (ann(json!({"client_id": "demo-app"})), 201),
        (ann(json!({"organization_id": "org_1"})), 400),
        (
            ann(json!({"identity": {"user_id": "bob", "provider": "auth0"}})),
            400,
        ),
        (
            ann(json!({"identity": {"user_id": "ann", "provider": "auth0"}})),
            201,
        ),
    ] {
        let response = tenant.ask_verification(body.clone()).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
    }
}

#[tokio::test]
async fn a_client_id_that_cannot_be_one_is_refused_in_the_recorded_words() {
    let tenant = Tenant::start().await;
    let body = json!({"user_id": "auth0|ann", "client_id": "#<Random>"});
    let answer = json_of(tenant.ask_verification(body).await).await;
    assert_eq!(
        answer["message"],
        "Payload validation error: 'Object didn't pass validation for format client-id: #<Random>' on property client_id (client_id of the client (application). If no value provided, the global Client ID will be used)."
    );
    assert_eq!(answer["errorCode"], "invalid_body");
}

#[tokio::test]
async fn each_jobs_endpoint_asks_for_its_scope() {
    let tenant = Tenant::start().await;
    tenant
        .control("options", json!({"m2m": {"scopes": ["read:connections"]}}))
        .await;
    let token = tenant.machine_token().await;
    for (method, path, scopes) in [
        ("POST", "jobs/users-imports", "create:users"),
        ("POST", "jobs/users-exports", "read:users"),
        ("POST", "jobs/verification-email", "update:users"),
        ("GET", "jobs/job_x", "create:users,read:users"),
        ("GET", "jobs/job_x/errors", "create:users,read:users"),
        ("POST", "tickets/password-change", "create:user_tickets"),
        ("POST", "tickets/email-verification", "create:user_tickets"),
    ] {
        let url = format!("{}/api/v2/{path}", tenant.base);
        let request = tenant.http.request(method.parse().unwrap(), url);
        let response = request.bearer_auth(&token).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        let message = json_of(response).await["message"].clone();
        assert_eq!(
            message,
            format!("Insufficient scope, expected any of: {scopes}")
        );
    }
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found() {
    let tenant = Tenant::start().await;
    for path in ["/api/v2/jobs/job_x", "/api/v2/jobs/job_x/errors"] {
        let response = tenant.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}

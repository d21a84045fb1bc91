//! Facts of the contract that belong to no other story.

use jsonwebtoken::decode_header;
use roster::emulator::Plan;

use super::*;

#[tokio::test]
async fn a_body_over_a_megabyte_is_too_large() {
    let tenant = Tenant::start().await;
    let text = "x".repeat(1024 * 1024);
    let body = new_user("ann", json!({"user_metadata": {"text": text}}));
    let response = tenant.call("POST", "/api/v2/users", Some(body)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(json_of(response).await["statusCode"], 413);
}

#[tokio::test]
async fn a_profile_over_ten_kilobytes_is_still_taken() {
    let tenant = Tenant::start().await;
    let text = "x".repeat(20 * 1024);
    let user = tenant.ann(json!({"app_metadata": {"text": text}})).await;
    assert_eq!(user["app_metadata"]["text"], text);
}

#[tokio::test]
async fn a_login_moves_updated_at_and_so_does_one_that_a_block_refuses() {
    let tenant = Tenant::start().await;
    let mut before = tenant.ann(json!({})).await;
    for blocked in [false, true] {
        tenant.patch_ann(json!({"blocked": blocked})).await;
        tenant
            .control("clock", json!({"advance_seconds": 60}))
            .await;
        tenant.log_in("ann@a.test", PASSWORD).await;
        let after = tenant.read_ann().await;
        assert_eq!(after["updated_at"], after["last_login"], "{blocked}");
        assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
        before = after;
    }
    assert_eq!(before["logins_count"], 2);
}

#[tokio::test]
async fn a_patch_mails_nobody_unless_it_says_so() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for (patch, mails) in [
        (json!({"email": "b@a.test"}), 0),
        (json!({"email": "c@a.test", "client_id": "demo-app"}), 0),
        (json!({"email": "d@a.test", "verify_email": true}), 1),
    ] {
        let patched = tenant.patch_ann(patch.clone()).await;
        assert_eq!(patched.status(), StatusCode::OK, "{patch}");
        assert_eq!(tenant.mails().await.len(), mails, "{patch}");
    }
}

#[tokio::test]
async fn null_unsets_a_field_and_an_empty_connection_is_refused() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"name": "Ann", "given_name": "Ann"}))
        .await;
    let patched = tenant.patch_ann(json!({"given_name": null})).await;
    assert_eq!(json_of(patched).await.get("given_name"), None);
    let named = json!({"name": "A", "connection": CONNECTION});
    assert_eq!(tenant.patch_ann(named).await.status(), StatusCode::OK);
    let empty = json!({"name": "B", "connection": ""});
    let refused = tenant.patch_ann(empty).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(tenant.read_ann().await["name"], "A");
}

#[tokio::test]
async fn the_last_write_wins_whatever_its_writer_had_read() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let read = tenant.get("/api/v2/users/auth0%7Cann").await;
    assert!(!read.headers().contains_key("etag"));
    for name in ["A", "B"] {
        let url = format!("{}/api/v2/users/auth0%7Cann", tenant.base);
        let patch = tenant.http.patch(url).bearer_auth(&tenant.token);
        let patch = patch.header("if-match", "\"1\"");
        let answer = patch.json(&json!({"name": name})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(tenant.read_ann().await["name"], "B");
}

#[tokio::test]
async fn every_plan_names_its_limit() {
    for (plan, limit) in [
        (Plan::Free, "2"),
        (Plan::Essentials, "40"),
        (Plan::Professional, "40"),
        (Plan::Enterprise, "50"),
        (Plan::EnterpriseNonProduction, "10"),
        (Plan::PrivateCloudDevelopment, "20"),
        (Plan::PrivateCloud100, "50"),
        (Plan::PrivateCloud500, "250"),
        (Plan::PrivateCloud1500, "750"),
    ] {
        let options = Options {
            plan,
            ..Options::default()
        };
        let tenant = Tenant::with(options).await;
        let answer = tenant.get("/api/v2/users").await;
        assert_eq!(answer.headers()["x-ratelimit-limit"], limit, "{plan:?}");
        for name in ["x-ratelimit-remaining", "x-ratelimit-reset"] {
            let value = answer.headers()[name].to_str().unwrap();
            assert!(value.parse::<u64>().is_ok(), "{plan:?}: {name}: {value}");
        }
    }
}

#[tokio::test]
async fn a_token_says_how_it_was_signed_and_an_id_token_lasts_ten_hours() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    for (token, seconds) in [("id_token", 36_000), ("access_token", 86_400)] {
        let token = tokens[token].as_str().unwrap();
        let header = decode_header(token).unwrap();
        assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        assert!(header.kid.is_some());
        let claims = claims(token);
        assert_eq!(claims["iss"], format!("{}/", tenant.base));
        let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lasts, seconds);
    }
    assert!(claims(tokens["id_token"].as_str().unwrap())["sid"].is_string());
}

#[tokio::test]
async fn discovery_names_the_endpoints_there_are() {
    let tenant = Tenant::start().await;
    let discovery = json_of(tenant.get("/.well-known/openid-configuration").await).await;
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
    ] {
        let url = discovery[endpoint].as_str().expect(endpoint);
        assert!(url.starts_with(&tenant.base), "{endpoint}: {url}");
    }
}

#[tokio::test]
async fn the_token_endpoint_has_a_limit_of_its_own() {
    for (plan, limit) in [
        (Plan::Free, "30"),
        (Plan::Essentials, "25"),
        (Plan::Enterprise, "100"),
    ] {
        let options = Options {
            plan,
            ..Options::default()
        };
        let tenant = Tenant::with(options).await;
        let answer = tenant.form("/oauth/token", &[("grant_type", "x")]).await;
        assert_eq!(answer.headers()["x-ratelimit-limit"], limit, "{plan:?}");
    }
}

#[tokio::test]
async fn every_call_asks_for_its_scope() {
    let mut options = privileged();
    options.plan = Plan::Enterprise;
    options.m2m.scopes.clear();
    let tenant = Tenant::with(options).await;
    for (method, path, scope) in [
        ("POST", "users", "create:users"),
        ("GET", "users", "read:users"),
        ("GET", "users-by-email?email=a@a.test", "read:users"),
        ("GET", "users/auth0%7Cann", "read:users"),
        ("PATCH", "users/auth0%7Cann", "update:users"),
        ("DELETE", "users/auth0%7Cann", "delete:users"),
        ("POST", "users/auth0%7Cann/permissions", "update:users"),
        ("DELETE", "user-blocks/auth0%7Cann", "update:users"),
        ("POST", "tickets/password-change", "create:user_tickets"),
        ("DELETE", "users/auth0%7Cann/sessions", "delete:sessions"),
        (
            "DELETE",
            "users/auth0%7Cann/refresh-tokens",
            "delete:refresh_tokens",
        ),
        ("POST", "users/auth0%7Cann/revoke-access", "delete:sessions"),
        ("GET", "connections", "read:connections"),
    ] {
        let path = format!("/api/v2/{path}");
        let body = (method != "GET").then(|| json!({}));
        let answer = tenant.call(method, &path, body).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let body = json_of(answer).await;
        assert_eq!(body["errorCode"], "insufficient_scope", "{method} {path}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(scope), "{method} {path}: {message}");
    }
}

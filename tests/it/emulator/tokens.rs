//! Tokens of machines, the keys behind them, and what the Management API makes of them.

use reqwest::StatusCode;
use roster::emulator::Options;
use serde_json::json;

use super::{API, Tenant, claims, json_of};

#[tokio::test]
async fn without_a_good_token_the_management_api_answers_401() {
    let mut tenant = Tenant::start().await;
    let url = format!("{}/api/v2/users", tenant.base);
    let response = tenant.http.get(&url).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let expected =
        json!({"statusCode": 401, "error": "Unauthorized", "message": "Missing authentication"});
    assert_eq!(json_of(response).await, expected);

    let management = format!("{}/api/v2/", tenant.base);
    for (wanted, message) in [
        (
            json!({"audience": management, "expires_in": -5}),
            "Expired token received for JSON Web Token validation",
        ),
        (
            json!({"audience": management, "bad_signature": true}),
            "Invalid signature received for JSON Web Token validation",
        ),
        (
            json!({"audience": management, "key": "foreign"}),
            "Invalid signature received for JSON Web Token validation",
        ),
        (
            json!({"audience": management, "claims": {"iss": "https://other.test/"}}),
            "Invalid token",
        ),
        (
            json!({"scope": ""}),
            &*format!("Bad audience, expected: {management}"),
        ),
    ] {
        let made = json_of(tenant.control("tokens", wanted.clone()).await).await;
        tenant.token = made["access_token"].as_str().unwrap().to_owned();
        let response = tenant.get("/api/v2/users").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{wanted}");
        assert_eq!(json_of(response).await["message"], *message, "{wanted}");
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_and_named() {
    let mut options = Options::default();
    options.m2m.scopes = vec!["read:users".into()];
    let tenant = Tenant::with(options).await;
    let response = tenant.patch_ann(json!({"name": "A"})).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body = json_of(response).await;
    assert_eq!(body["errorCode"], "insufficient_scope");
    assert!(body["message"].as_str().unwrap().contains("update:users"));
    assert_eq!(tenant.get("/api/v2/users").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_for_app_metadata_changes_nothing_else() {
    let mut options = Options::default();
    options.m2m.scopes = vec!["create:users".into(), "update:users_app_metadata".into()];
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    let allowed = tenant
        .patch_ann(json!({"app_metadata": {"role": "Artist"}}))
        .await;
    assert_eq!(allowed.status(), StatusCode::OK);
    let refused = tenant.patch_ann(json!({"blocked": true})).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn machine_tokens_are_given_for_form_and_json_alike_and_hold_the_granted_scopes() {
    let tenant = Tenant::start().await;
    let audience = format!("{}/api/v2/", tenant.base);
    let request = json!({
        "grant_type": "client_credentials", "client_id": "roster-m2m", "client_secret": "roster-m2m-secret",
        "audience": audience,
    });
    let body = json_of(tenant.call("POST", "/oauth/token", Some(request)).await).await;
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 86_400);
    assert!(body["scope"].as_str().unwrap().contains("update:users"));
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["iss"], format!("{}/", tenant.base));
    assert_eq!(claims["aud"], audience);
    assert_eq!(claims["sub"], "roster-m2m@clients");
    assert_eq!(claims["gty"], "client-credentials");
}

#[tokio::test]
async fn token_errors_have_oauths_shape() {
    let tenant = Tenant::start().await;
    let audience = format!("{}/api/v2/", tenant.base);
    let ask = async |changes: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", "roster-m2m"),
            ("client_secret", "roster-m2m-secret"),
            ("audience", &*audience),
        ];
        form.retain(|(name, _)| changes.iter().all(|(other, _)| other != name));
        form.extend_from_slice(changes);
        let response = tenant.form("/oauth/token", &form).await;
        let status = response.status().as_u16();
        let body = json_of(response).await;
        assert!(body["error_description"].is_string());
        (status, body["error"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        ask(&[("client_secret", "wrong")]).await,
        (401, "access_denied".into())
    );
    assert_eq!(
        ask(&[("client_id", "wrong")]).await,
        (401, "access_denied".into())
    );
    assert_eq!(
        ask(&[("audience", "https://nobody.test")]).await,
        (403, "access_denied".into())
    );
    assert_eq!(
        ask(&[("grant_type", "")]).await,
        (400, "invalid_request".into())
    );
    assert_eq!(
        ask(&[("grant_type", "password")]).await,
        (403, "unsupported_grant_type".into())
    );
}

#[tokio::test]
async fn discovery_and_jwks_say_where_and_with_what_to_verify() {
    let tenant = Tenant::start().await;
    let discovery = json_of(tenant.get("/.well-known/openid-configuration").await).await;
    assert_eq!(discovery["issuer"], format!("{}/", tenant.base));
    let uri = discovery["jwks_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(&tenant.base)
        .unwrap();
    let jwks = json_of(tenant.get(uri).await).await;
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    let kid = jsonwebtoken::decode_header(&tenant.token)
        .unwrap()
        .kid
        .unwrap();
    assert_eq!(jwks["keys"][0]["kid"], kid);
    for key in ["kty", "use", "alg", "n", "e"] {
        assert!(jwks["keys"][0][key].is_string(), "{key}");
    }
}

#[tokio::test]
async fn after_a_rotation_old_tokens_work_until_the_previous_key_is_revoked() {
    let tenant = Tenant::start().await;
    let before = json_of(tenant.get("/.well-known/jwks.json").await).await;
    let after = json_of(tenant.control("keys/rotate", json!({})).await).await;
    assert_eq!(after["keys"].as_array().unwrap().len(), 3);
    assert_eq!(
        after["keys"][0], before["keys"][1],
        "the announced key is in use"
    );
    assert_eq!(tenant.get("/api/v2/users").await.status(), StatusCode::OK);
    let fresh = tenant.machine_token().await;
    let kid = jsonwebtoken::decode_header(&fresh).unwrap().kid.unwrap();
    assert_eq!(after["keys"][0]["kid"], kid);
    tenant.control("keys/revoke", json!({})).await;
    assert_eq!(
        tenant.get("/api/v2/users").await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_cached_token_still_expires() {
    let tenant = Tenant::start().await;
    assert_eq!(tenant.get("/api/v2/users").await.status(), StatusCode::OK);
    tenant
        .control("clock", json!({"advance_seconds": 86_401}))
        .await;
    let response = tenant.get("/api/v2/users").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let message = &json_of(response).await["message"];
    assert_eq!(
        *message,
        "Expired token received for JSON Web Token validation"
    );
}

#[tokio::test]
async fn a_machine_may_show_its_secret_in_the_authorization_header() {
    let tenant = Tenant::start().await;
    let audience = format!("{}/api/v2/", tenant.base);
    for (secret, status) in [("roster-m2m-secret", 200), ("wrong", 401)] {
        let form = [
            ("grant_type", "client_credentials"),
            ("audience", &audience),
        ];
        let request = tenant.http.post(format!("{}/oauth/token", tenant.base));
        let request = request.basic_auth("roster-m2m", Some(secret)).form(&form);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_machine_may_ask_for_a_token_of_a_custom_api_and_gets_no_scopes() {
    let tenant = Tenant::start().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "roster-m2m"),
        ("client_secret", "roster-m2m-secret"),
        ("audience", API),
    ];
    let body = json_of(tenant.form("/oauth/token", &form).await).await;
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], API);
    assert_eq!(claims.get("scope"), None);
}

#[tokio::test]
async fn keys_may_keep_their_algorithm_to_themselves() {
    let tenant = Tenant::start().await;
    for said in [true, false] {
        let option = json!({"jwks_alg": said});
        tenant.control("options", option).await;
        let jwks = tenant.read("/.well-known/jwks.json").await;
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.iter().all(|key| key.get("alg").is_some() == said));
    }
}

//! The control face: the log, resets, options and minted tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use roster::emulator::{self, Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{API, Tenant, claims, json_of};

#[tokio::test]
async fn the_log_shows_each_request_with_its_body_but_not_its_secrets() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    tenant.patch_ann(json!({"name": "Anna"})).await;
    let log = json_of(tenant.get("/_emulator/requests").await).await;
    let routes: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["route"].as_str().unwrap())
        .collect();
    assert_eq!(
        routes,
        ["/oauth/token", "/api/v2/users", "/api/v2/users/{id}"]
    );
    assert_eq!(log[0]["body"], Value::Null);
    assert_eq!(log[1]["status"], 201);
    assert_eq!(log[1]["body"]["email"], "ann@a.test");
    assert_eq!(log[1]["body"]["password"], "[redacted]");
    assert_eq!(log[2]["method"], "PATCH");
    assert_eq!(log[2]["body"], json!({"name": "Anna"}));
    let later = json_of(tenant.get("/_emulator/requests?after=2").await).await;
    assert_eq!(later.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reset_empties_the_tenant_and_keeps_its_keys() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"verify_email": true})).await;
    tenant.control("options", json!({"plan": "free"})).await;
    tenant
        .control("faults", json!({"kind": "status", "status": 503}))
        .await;
    assert_eq!(
        tenant.control("reset", json!({})).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        json_of(tenant.get("/_emulator/users").await).await,
        json!([])
    );
    assert_eq!(tenant.mails().await.len(), 0);
    let response = tenant.get("/api/v2/users").await;
    assert_eq!(
        response.status(),
        StatusCode::OK,
        "the old token and no fault"
    );
    assert!(
        !response.headers().contains_key("x-ratelimit-limit"),
        "the first plan"
    );
}

#[tokio::test]
async fn an_option_that_does_not_exist_is_refused() {
    let tenant = Tenant::start().await;
    for body in [
        json!({"plam": "free"}),
        json!({"plan": "gratis"}),
        json!({"base_url": "http://a.test"}),
    ] {
        let response = tenant.control("options", body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_option_no_tenant_can_have_is_refused_by_name_at_the_start_and_later() {
    let senseless = Options {
        token_lifetime_seconds: 2_592_001,
        ..Options::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = emulator::serve(listener, senseless, CancellationToken::new()).await;
    let Err(emulator::Error::Options(at_the_start)) = started else {
        panic!("{started:?}")
    };
    let tenant = Tenant::start().await;
    let change = json!({"token_lifetime_seconds": 2_592_001});
    let refused = tenant.control("options", change).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let later = json_of(refused).await["message"].clone();
    assert_eq!(later, at_the_start.to_string());
    assert!(
        at_the_start
            .to_string()
            .starts_with("token_lifetime_seconds: ")
    );
}

#[tokio::test]
async fn minted_tokens_can_be_wrong_in_every_way_asked_for() {
    let tenant = Tenant::start().await;
    let make = async |wanted: Value| {
        let made = json_of(tenant.control("tokens", wanted).await).await;
        made["access_token"].as_str().unwrap().to_owned()
    };
    let header = |token: &str| {
        let header = token.split('.').next().unwrap();
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
    };
    let plain = make(json!({"claims": {"sub": "auth0|x", "scope": null}})).await;
    assert_eq!(claims(&plain)["sub"], "auth0|x");
    assert_eq!(claims(&plain).get("scope"), None);
    let old = claims(&make(json!({"expires_in": -60})).await);
    assert!(old["iat"].as_i64() < old["exp"].as_i64());
    let unsigned = make(json!({"header": {"alg": "none", "kid": null}})).await;
    assert!(unsigned.ends_with('.'));
    assert_eq!(header(&unsigned).get("kid"), None);
    assert_eq!(
        header(&make(json!({"header": {"alg": "HS256"}})).await)["alg"],
        "HS256"
    );
    assert_eq!(
        header(&make(json!({"header": {"typ": "at+jwt"}})).await)["typ"],
        "at+jwt"
    );
    let nobody = tenant
        .control("tokens", json!({"user_id": "auth0|nobody"}))
        .await;
    assert_eq!(nobody.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_minted_token_of_a_user_carries_what_the_action_sets() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"app_metadata": {"role": "Artist"}}))
        .await;
    let made = json_of(
        tenant
            .control("tokens", json!({"user_id": "auth0|ann"}))
            .await,
    )
    .await;
    assert_eq!(made["claims"]["https://roster.dev/role"], "Artist");
    assert_eq!(made["claims"]["aud"][0], API);
}

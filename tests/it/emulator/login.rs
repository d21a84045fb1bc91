//! People logging in: the page, the code, the Action, Google, refresh and refusal.

use reqwest::StatusCode;
use roster::emulator::Options;
use serde_json::json;

use super::{API, CALLBACK, PASSWORD, Tenant, claims, json_of, redirected, transaction_in};

#[tokio::test]
async fn a_login_ends_in_tokens_that_carry_what_the_action_sets() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({
        "email_verified": true, "app_metadata": {"role": "Artist", "permissions": ["songs:read"]},
    })).await;
    let back = redirected(&tenant.log_in("Ann@a.test", PASSWORD).await);
    assert_eq!(back["state"], "s1");
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["iss"], format!("{}/", tenant.base));
    assert_eq!(access["sub"], "auth0|ann");
    assert_eq!(
        access["aud"],
        json!([API, format!("{}/userinfo", tenant.base)])
    );
    assert_eq!(access["azp"], "demo-app");
    assert_eq!(access["https://roster.dev/role"], "Artist");
    assert_eq!(
        access["https://roster.dev/permissions"],
        json!(["songs:read"])
    );
    assert_eq!(access["https://roster.dev/email"], "ann@a.test");
    assert_eq!(access["https://roster.dev/email_verified"], true);
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["aud"], "demo-app");
    assert_eq!(id["nonce"], "n1");
    assert_eq!(id["email"], "ann@a.test");
    assert_eq!(id["https://roster.dev/role"], "Artist");
}

#[tokio::test]
async fn userinfo_tells_about_the_bearer_and_refuses_in_plain_text() {
    let mut tenant = Tenant::start().await;
    tenant.ann(json!({"name": "Ann"})).await;
    let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let response = tenant.get("/userinfo").await;
    assert_eq!(
        response.status(),
        StatusCode::UNAUTHORIZED,
        "a machine's token has no user"
    );
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(response.text().await.unwrap(), "Unauthorized");
    tenant.token = tokens["access_token"].as_str().unwrap().to_owned();
    let info = json_of(tenant.get("/userinfo").await).await;
    assert_eq!(info["sub"], "auth0|ann");
    assert_eq!(info["name"], "Ann");
    assert_eq!(info["email_verified"], false);
}

#[tokio::test]
async fn without_an_audience_the_access_token_is_opaque_and_good_for_userinfo() {
    let mut tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let state = transaction_in(tenant.authorize(&[("audience", "")]).await).await;
    let form = [
        ("state", &*state),
        ("email", "ann@a.test"),
        ("password", PASSWORD),
    ];
    let back = redirected(&tenant.form("/u/login", &form).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(access.split('.').count(), 1);
    tenant.token = access.to_owned();
    assert_eq!(
        json_of(tenant.get("/userinfo").await).await["sub"],
        "auth0|ann"
    );
}

#[tokio::test]
async fn a_code_is_good_once_and_only_with_its_verifier() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for (more, status) in [
        (vec![("code_verifier", "wrong")], 403),
        (vec![("redirect_uri", "http://127.0.0.1:9/other")], 403),
        (vec![("client_id", "roster-m2m")], 401),
        (vec![("code_verifier", "")], 403),
        (vec![], 200),
    ] {
        let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
        let response = tenant.redeem(&back["code"], &more).await;
        assert_eq!(response.status().as_u16(), status, "{more:?}");
        if status == 200 {
            let again = tenant.redeem(&back["code"], &[]).await;
            assert_eq!(json_of(again).await["error"], "invalid_grant");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_the_login_can_go_on() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let state = tenant.transaction().await;
    let attempt = async |password: &str| {
        let form = [
            ("state", &*state),
            ("email", "ann@a.test"),
            ("password", password),
        ];
        tenant.form("/u/login", &form).await
    };
    let refused = attempt("Wrong-horse-1").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(
        refused
            .text()
            .await
            .unwrap()
            .contains("Wrong email or password.")
    );
    assert!(redirected(&attempt(PASSWORD).await).contains_key("code"));
    assert_eq!(
        attempt(PASSWORD).await.status(),
        StatusCode::BAD_REQUEST,
        "the login has ended"
    );
}

#[tokio::test]
async fn a_blocked_user_is_sent_back_without_a_code() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"blocked": true})).await;
    let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
    assert_eq!(back["error"], "unauthorized");
    assert_eq!(back["error_description"], "user is blocked");
    assert_eq!(back["state"], "s1");
    assert!(!back.contains_key("code"));
    assert_eq!(
        tenant.read_ann().await["logins_count"],
        1,
        "the attempt is counted"
    );
}

#[tokio::test]
async fn a_refresh_brings_the_metadata_of_now_and_ends_with_a_block() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"app_metadata": {"role": "Artist"}}))
        .await;
    let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo-app"),
        ("refresh_token", refresh),
    ];
    tenant
        .patch_ann(json!({"app_metadata": {"role": "Admin"}}))
        .await;
    let fresh = json_of(tenant.form("/oauth/token", &form).await).await;
    let access = claims(fresh["access_token"].as_str().unwrap());
    assert_eq!(access["https://roster.dev/role"], "Admin");
    tenant.patch_ann(json!({"blocked": true})).await;
    let refused = tenant.form("/oauth/token", &form).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_google_login_makes_an_account_of_its_own_and_finds_it_again() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let mut subjects = Vec::new();
    for verified in [true, false] {
        let back = redirected(&tenant.google("ann@a.test", verified).await);
        let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
        let access = claims(tokens["access_token"].as_str().unwrap());
        assert_eq!(access["https://roster.dev/email_verified"], verified);
        subjects.push(access["sub"].as_str().unwrap().to_owned());
    }
    assert!(subjects[0].starts_with("google-oauth2|"));
    assert_eq!(subjects[0], subjects[1]);
    let found = json_of(tenant.get("/api/v2/users-by-email?email=ann@a.test").await).await;
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(found[1]["identities"][0]["isSocial"], true);
    assert_eq!(found[1]["identities"][0]["connection"], "google-oauth2");
}

#[tokio::test]
async fn authorize_sends_nobody_to_a_stranger_and_no_public_client_past_pkce() {
    let tenant = Tenant::start().await;
    let stranger = tenant
        .authorize(&[("redirect_uri", "https://evil.test/")])
        .await;
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    let unknown = tenant.authorize(&[("client_id", "unknown")]).await;
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
    for (more, error) in [
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("audience", "https://nobody.test"), "access_denied"),
        (("prompt", "none"), "login_required"),
    ] {
        let back = redirected(&tenant.authorize(&[more]).await);
        assert_eq!(back["error"], error, "{more:?}");
        assert_eq!(back["state"], "s1");
    }
}

#[tokio::test]
async fn an_action_can_deny_and_cannot_set_reserved_claims() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let action = "exports.onExecutePostLogin = async (event, api) => {
        if (event.user.email === 'bob@a.test') return api.access.deny('not today');
        api.accessToken.setCustomClaim('permissions', ['all']);
        api.accessToken.setCustomClaim('email', event.user.email);
    };";
    tenant.control("options", json!({"action": action})).await;
    let back = redirected(&tenant.log_in("ann@a.test", PASSWORD).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access.get("permissions"), None);
    assert_eq!(access["email"], "ann@a.test");
    let back = redirected(&tenant.google("bob@a.test", true).await);
    assert_eq!(
        (&*back["error"], &*back["error_description"]),
        ("access_denied", "not today")
    );
}

#[tokio::test]
async fn only_scopes_that_exist_are_granted() {
    let options = Options {
        api_scopes: vec!["read:songs".into()],
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    let scope = ("scope", "openid read:songs write:songs");
    let state = transaction_in(tenant.authorize(&[scope]).await).await;
    let form = [
        ("state", &*state),
        ("email", "ann@a.test"),
        ("password", PASSWORD),
    ];
    let back = redirected(&tenant.form("/u/login", &form).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    assert_eq!(tokens["scope"], "openid read:songs");
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["scope"], "openid read:songs");
}

#[tokio::test]
async fn a_single_page_application_may_ask_for_its_tokens_from_its_own_origin() {
    let tenant = Tenant::start().await;
    let url = format!("{}/oauth/token", tenant.base);
    let origin = "http://localhost:3000";
    let preflight = tenant
        .http
        .request("OPTIONS".parse().unwrap(), &url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,auth0-client",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-origin"], origin);
    let answered = tenant
        .http
        .post(&url)
        .header("origin", origin)
        .send()
        .await
        .unwrap();
    assert_eq!(answered.headers()["access-control-allow-origin"], origin);
}

#[tokio::test]
async fn a_confidential_application_needs_its_secret_and_no_pkce() {
    let mut options = Options::default();
    options.app.client_secret = Some("app-secret".into());
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    for (secret, status) in [("wrong", 401), ("app-secret", 200)] {
        let page = tenant.authorize(&[("code_challenge", "")]).await;
        let state = transaction_in(page).await;
        let form = [
            ("state", &*state),
            ("email", "ann@a.test"),
            ("password", PASSWORD),
        ];
        let back = redirected(&tenant.form("/u/login", &form).await);
        let more = [("client_secret", secret), ("code_verifier", "")];
        let response = tenant.redeem(&back["code"], &more).await;
        assert_eq!(response.status().as_u16(), status);
    }
}

#[tokio::test]
async fn logging_out_leads_back_to_the_application_and_nowhere_else() {
    let tenant = Tenant::start().await;
    let logout = async |to: &str| {
        tenant
            .get(&format!("/v2/logout?client_id=demo-app&returnTo={to}"))
            .await
    };
    redirected(&logout(CALLBACK).await);
    assert_eq!(
        logout("https://evil.test/").await.status(),
        StatusCode::BAD_REQUEST
    );
}

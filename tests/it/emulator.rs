//! The emulator over real HTTP: each fact of Auth0 that Roster leans on, as a sentence.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use roster::emulator::{self, Options, Plan};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const CONNECTION: &str = "Username-Password-Authentication";
const API: &str = "https://api.example.test";
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// A tenant of its own, which ends with the test.
struct Tenant {
    base: String,
    http: Client,
    token: String,
    _stop: DropGuard,
}

impl Tenant {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(emulator::serve(listener, options, stop.clone()));
        let http = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let mut tenant = Self {
            base,
            http,
            token: String::new(),
            _stop: stop.drop_guard(),
        };
        tenant.token = tenant.machine_token().await;
        tenant
    }

    async fn machine_token(&self) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "roster-m2m"),
            ("client_secret", "roster-m2m-secret"),
            ("audience", &format!("{}/api/v2/", self.base)),
        ];
        let body = json_of(self.form("/oauth/token", &form).await).await;
        body["access_token"].as_str().unwrap().to_owned()
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        self.try_call(method, path, body).await.unwrap()
    }

    async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let method = method.parse().unwrap();
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        match body {
            Some(body) => request.json(&body).send().await,
            None => request.send().await,
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.call("GET", path, None).await
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let url = format!("{}{path}", self.base);
        self.http.post(url).form(form).send().await.unwrap()
    }

    async fn control(&self, path: &str, body: Value) -> Response {
        self.call("POST", &format!("/_emulator/{path}"), Some(body))
            .await
    }

    /// Creates `ann@a.test` with the bare id `ann` and more fields.
    async fn ann(&self, more: Value) -> Value {
        let response = self
            .call("POST", "/api/v2/users", Some(new_user("ann", more)))
            .await;
        assert_eq!(response.status(), StatusCode::CREATED);
        json_of(response).await
    }

    async fn patch_ann(&self, body: Value) -> Response {
        self.call("PATCH", "/api/v2/users/auth0%7Cann", Some(body))
            .await
    }

    async fn read_ann(&self) -> Value {
        json_of(self.get("/api/v2/users/auth0%7Cann").await).await
    }

    async fn mails(&self) -> Vec<Value> {
        let mails = json_of(self.get("/_emulator/mail").await).await;
        mails.as_array().unwrap().clone()
    }

    /// Opens the login page and returns the transaction in its forms.
    async fn authorize(&self, more: &[(&str, &str)]) -> Response {
        let mut query = vec![
            ("client_id", "demo-app"),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("state", "s1"),
            ("scope", "openid profile email offline_access"),
            ("audience", API),
            ("nonce", "n1"),
            ("code_challenge_method", "S256"),
            // The challenge of RFC 7636 appendix B.
            (
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
        ];
        query.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        query.extend_from_slice(more);
        let request = self.http.get(format!("{}/authorize", self.base));
        request.query(&query).send().await.unwrap()
    }

    async fn transaction(&self) -> String {
        let page = self.authorize(&[]).await;
        assert_eq!(page.status(), StatusCode::OK);
        let page = page.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"state\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    async fn log_in(&self, email: &str, password: &str) -> Response {
        let state = self.transaction().await;
        let form = [("state", &*state), ("email", email), ("password", password)];
        self.form("/u/login", &form).await
    }

    async fn google(&self, email: &str, verified: bool) -> Response {
        let state = self.transaction().await;
        let mut form = vec![("state", &*state), ("email", email)];
        if verified {
            form.push(("email_verified", "true"));
        }
        self.form("/u/login/google", &form).await
    }

    async fn redeem(&self, code: &str, more: &[(&str, &str)]) -> Response {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "demo-app"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            (
                "code_verifier",
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
        ];
        form.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        form.extend_from_slice(more);
        self.form("/oauth/token", &form).await
    }
}

const PASSWORD: &str = "Correct-horse-1";

fn new_user(id: &str, more: Value) -> Value {
    let mut body = json!({
        "connection": CONNECTION, "user_id": id, "email": format!("{id}@a.test"), "password": PASSWORD,
        "verify_email": false,
    });
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

/// Where a redirect goes, as its query.
fn redirected(response: &Response) -> HashMap<String, String> {
    assert_eq!(response.status(), StatusCode::FOUND);
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(CALLBACK), "{location}");
    let url = url::Url::parse(location).unwrap();
    url.query_pairs().into_owned().collect()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn error(status: u16, error: &str, message: &str, code: &str) -> Value {
    json!({"statusCode": status, "error": error, "message": message, "errorCode": code})
}

// Users.

#[tokio::test]
async fn a_created_user_has_auth0s_defaults_and_no_blocked_flag() {
    let tenant = Tenant::start().await;
    let user = tenant.ann(json!({"email": "Ann@A.test"})).await;
    assert_eq!(user["user_id"], "auth0|ann");
    assert_eq!(user["email"], "ann@a.test");
    assert_eq!(user["email_verified"], false);
    assert_eq!(user["name"], "ann@a.test");
    assert_eq!(user["nickname"], "ann");
    assert_eq!(user["created_at"], user["updated_at"]);
    let identity =
        json!({"connection": CONNECTION, "user_id": "ann", "provider": "auth0", "isSocial": false});
    assert_eq!(user["identities"], json!([identity]));
    for absent in [
        "blocked",
        "app_metadata",
        "user_metadata",
        "password",
        "last_login",
    ] {
        assert_eq!(user.get(absent), None, "{absent}");
    }
    assert_eq!(tenant.read_ann().await, user);
}

#[tokio::test]
async fn without_an_id_of_the_callers_auth0_makes_one() {
    let tenant = Tenant::start().await;
    let user = tenant.ann(json!({"user_id": null})).await;
    let id = user["user_id"]
        .as_str()
        .unwrap()
        .strip_prefix("auth0|")
        .unwrap();
    assert_eq!(id.len(), 24);
    assert_eq!(user["identities"][0]["user_id"], id);
}

#[tokio::test]
async fn a_prefix_sent_with_an_id_is_kept_and_doubled() {
    let tenant = Tenant::start().await;
    let user = tenant.ann(json!({"user_id": "auth0|ann"})).await;
    assert_eq!(user["user_id"], "auth0|auth0|ann");
}

#[tokio::test]
async fn the_same_email_or_the_same_id_is_a_conflict_that_does_not_say_which() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let expected = error(
        409,
        "Conflict",
        "The user already exists.",
        "auth0_idp_error",
    );
    for (id, email) in [("other", "ANN@a.test"), ("ann", "other@a.test")] {
        let body = new_user(id, json!({"email": email}));
        let response = tenant.call("POST", "/api/v2/users", Some(body)).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(json_of(response).await, expected);
    }
}

#[tokio::test]
async fn what_auth0_would_not_take_is_refused_with_400() {
    let tenant = Tenant::start().await;
    for (more, code) in [
        (json!({"connection": null}), Some("invalid_body")),
        (
            json!({"connection": "nowhere"}),
            Some("inexistent_connection"),
        ),
        (
            json!({"connection": "google-oauth2"}),
            Some("operation_not_supported"),
        ),
        (json!({"password": null}), Some("invalid_body")),
        (json!({"password": "weak"}), None),
        (json!({"username": "ann"}), Some("invalid_body")),
        (json!({"roles": []}), Some("invalid_body")),
        (json!({"email": "ann"}), Some("invalid_body")),
        (
            json!({"app_metadata": {"email": "a@a.test"}}),
            Some("invalid_body"),
        ),
        (json!({"name": "x".repeat(301)}), Some("invalid_body")),
    ] {
        let body = new_user("ann", more.clone());
        let response = tenant.call("POST", "/api/v2/users", Some(body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{more}");
        let body = json_of(response).await;
        assert_eq!(
            body.get("errorCode").and_then(Value::as_str),
            code,
            "{more}: {body}"
        );
    }
    assert_eq!(
        json_of(tenant.get("/_emulator/users").await).await,
        json!([])
    );
}

#[tokio::test]
async fn an_absent_user_is_404_to_read_and_204_to_delete() {
    let tenant = Tenant::start().await;
    let path = "/api/v2/users/auth0%7Cann";
    let response = tenant.get(path).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let expected = error(
        404,
        "Not Found",
        "The user does not exist.",
        "inexistent_user",
    );
    assert_eq!(json_of(response).await, expected);
    assert_eq!(
        tenant.patch_ann(json!({"name": "A"})).await.status(),
        StatusCode::NOT_FOUND
    );
    tenant.ann(json!({})).await;
    for _ in 0..2 {
        let response = tenant.call("DELETE", path, None).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(tenant.get(path).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_users_id_and_email_are_free_again() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    tenant
        .call("DELETE", "/api/v2/users/auth0%7Cann", None)
        .await;
    assert_eq!(tenant.ann(json!({})).await["user_id"], "auth0|ann");
}

#[tokio::test]
async fn a_patch_merges_metadata_null_deletes_a_key_and_an_empty_object_clears() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"app_metadata": {"role": "Artist", "theirs": {"a": 1}}}))
        .await;
    let steps = [
        (
            json!({"role": "Admin"}),
            Some(json!({"role": "Admin", "theirs": {"a": 1}})),
        ),
        (
            json!({"theirs": {"b": 2}}),
            Some(json!({"role": "Admin", "theirs": {"b": 2}})),
        ),
        (json!({"role": null}), Some(json!({"theirs": {"b": 2}}))),
        (json!({}), None),
    ];
    for (change, expected) in steps {
        let body = json!({"app_metadata": change, "user_metadata": change});
        let answered = json_of(tenant.patch_ann(body).await).await;
        assert_eq!(answered.get("app_metadata"), expected.as_ref());
        assert_eq!(tenant.read_ann().await, answered);
    }
    assert_eq!(tenant.read_ann().await["user_metadata"], json!({}));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_moves_updated_at() {
    let tenant = Tenant::start().await;
    let before = tenant
        .ann(json!({"name": "Ann", "given_name": "Ann"}))
        .await;
    let response = tenant
        .patch_ann(json!({"name": "Anna", "blocked": true, "given_name": null}))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let after = json_of(response).await;
    assert_eq!(after["name"], "Anna");
    assert_eq!(after["blocked"], true);
    assert_eq!(after.get("given_name"), None);
    assert_eq!(after["email"], before["email"]);
    assert_eq!(after["created_at"], before["created_at"]);
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
}

#[tokio::test]
async fn a_patch_to_a_taken_email_is_400_or_409_as_the_option_says() {
    for status in [400, 409] {
        let options = Options {
            email_conflict_status: status,
            ..Options::default()
        };
        let tenant = Tenant::with(options).await;
        tenant.ann(json!({})).await;
        let bob = new_user("bob", json!({}));
        tenant.call("POST", "/api/v2/users", Some(bob)).await;
        let response = tenant.patch_ann(json!({"email": "BOB@a.test"})).await;
        assert_eq!(response.status().as_u16(), status);
        let body = json_of(response).await;
        assert_eq!(body["message"], "The specified new email already exists");
        assert_eq!(body["errorCode"], "auth0_idp_error");
        assert_eq!(tenant.read_ann().await["email"], "ann@a.test");
    }
}

#[tokio::test]
async fn a_changed_email_is_unverified_unless_the_patch_or_the_option_says_otherwise() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"email_verified": true})).await;
    let user = json_of(tenant.patch_ann(json!({"email": "ann2@a.test"})).await).await;
    assert_eq!(user["email_verified"], false);
    let both = json!({"email": "ann3@a.test", "email_verified": true});
    assert_eq!(
        json_of(tenant.patch_ann(both).await).await["email_verified"],
        true
    );
    tenant
        .control("options", json!({"email_change_unverifies": false}))
        .await;
    let user = json_of(tenant.patch_ann(json!({"email": "ann4@a.test"})).await).await;
    assert_eq!(user["email_verified"], true);
}

#[tokio::test]
async fn a_password_set_through_the_api_lifts_the_administrators_block() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"blocked": true})).await;
    let user = json_of(
        tenant
            .patch_ann(json!({"password": "Another-horse-2"}))
            .await,
    )
    .await;
    assert_eq!(user["blocked"], false);
    assert!(user["last_password_reset"].is_string());
}

#[tokio::test]
async fn fields_that_auth0_does_not_patch_together_are_refused() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for body in [
        json!({"password": PASSWORD, "email": "b@a.test"}),
        json!({"password": PASSWORD, "email_verified": true}),
        json!({"connection": ""}),
        json!({"user_id": "other"}),
        json!({"blocked": "yes"}),
        json!({}),
    ] {
        let response = tenant.patch_ann(body.clone()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(tenant.read_ann().await["email"], "ann@a.test");
}

#[tokio::test]
async fn users_by_email_finds_every_connection_and_knows_upper_from_lower_case() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"email": "ANN@a.test"})).await;
    let google =
        json!({"user_id": "google-oauth2|1", "email": "ann@a.test", "email_verified": true});
    tenant.control("users", google).await;
    let find = async |email: &str| {
        let found = json_of(
            tenant
                .get(&format!("/api/v2/users-by-email?email={email}"))
                .await,
        )
        .await;
        found.as_array().unwrap().len()
    };
    assert_eq!(find("ann%40a.test").await, 2);
    assert_eq!(find("ANN%40a.test").await, 0);
    assert_eq!(find("nobody%40a.test").await, 0);
}

#[tokio::test]
async fn a_google_users_profile_is_googles_but_metadata_and_block_are_ours() {
    let tenant = Tenant::start().await;
    let google = json!({"user_id": "google-oauth2|1", "email": "ann@a.test"});
    tenant.control("users", google).await;
    let patch = async |body: Value| {
        let path = "/api/v2/users/google-oauth2%7C1";
        tenant.call("PATCH", path, Some(body)).await.status()
    };
    assert_eq!(
        patch(json!({"email": "b@a.test"})).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(patch(json!({"name": "Ann"})).await, StatusCode::BAD_REQUEST);
    let ours = json!({"blocked": true, "app_metadata": {"role": "Artist"}});
    assert_eq!(patch(ours).await, StatusCode::OK);
}

#[tokio::test]
async fn listing_is_paged_and_ends_at_the_thousandth_user() {
    let tenant = Tenant::start().await;
    let many: Vec<Value> = (0..120)
        .map(|n| json!({"user_id": format!("auth0|{n}"), "email": format!("u{n}@a.test")}))
        .collect();
    tenant.control("users", many.into()).await;
    let page = json_of(
        tenant
            .get("/api/v2/users?page=1&per_page=50&include_totals=true")
            .await,
    )
    .await;
    assert_eq!(page["start"], 50);
    assert_eq!(page["length"], 50);
    assert_eq!(page["total"], 120);
    assert_eq!(page["users"][0]["user_id"], "auth0|50");
    let found = json_of(
        tenant
            .get("/api/v2/users?q=email:%22U7@a.test%22&fields=user_id")
            .await,
    )
    .await;
    assert_eq!(found, json!([{"user_id": "auth0|7"}]));
    let beyond = tenant.get("/api/v2/users?page=20&per_page=50").await;
    assert_eq!(beyond.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(beyond).await["errorCode"], "invalid_paging");
}

#[tokio::test]
async fn fields_can_be_asked_for_or_left_out() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let path = "/api/v2/users/auth0%7Cann?fields=email,user_id";
    let only = json_of(tenant.get(path).await).await;
    assert_eq!(only, json!({"email": "ann@a.test", "user_id": "auth0|ann"}));
    let without = json_of(tenant.get(&format!("{path}&include_fields=false")).await).await;
    assert_eq!(without.get("email"), None);
    assert_eq!(without["nickname"], "ann");
}

// Tokens and scopes of the Management API.

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

// Mail.

#[tokio::test]
async fn a_verification_mail_goes_out_unless_it_is_switched_off_or_needless() {
    for (more, mails) in [
        (json!({"verify_email": null}), 1),
        (json!({"verify_email": false}), 0),
        (json!({"verify_email": null, "email_verified": true}), 0),
        (json!({"verify_email": true, "email_verified": true}), 1),
    ] {
        let tenant = Tenant::start().await;
        tenant.ann(more.clone()).await;
        let sent = tenant.mails().await;
        assert_eq!(sent.len(), mails, "{more}");
        if let Some(mail) = sent.first() {
            assert_eq!(mail["kind"], "verify_email");
            let link = mail["link"].as_str().unwrap();
            assert_eq!(
                tenant.http.get(link).send().await.unwrap().status(),
                StatusCode::OK
            );
            assert_eq!(tenant.read_ann().await["email_verified"], true);
        }
    }
}

#[tokio::test]
async fn a_password_mail_is_promised_to_everybody_and_sent_to_those_who_exist() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for email in ["ANN@a.test", "nobody@a.test"] {
        let body = json!({"email": email, "connection": CONNECTION, "client_id": "demo-app"});
        let response = tenant
            .call("POST", "/dbconnections/change_password", Some(body))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.text().await.unwrap();
        assert_eq!(text, "We've just sent you an email to reset your password.");
    }
    let mails = tenant.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0]["to"], "ann@a.test");
    assert_eq!(mails[0]["kind"], "change_password");
}

#[tokio::test]
async fn the_mailed_link_sets_the_password_once_and_verifies_the_address() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let body = json!({"email": "ann@a.test", "connection": CONNECTION});
    tenant
        .call("POST", "/dbconnections/change_password", Some(body.clone()))
        .await;
    tenant
        .call("POST", "/dbconnections/change_password", Some(body))
        .await;
    let links: Vec<String> = tenant
        .mails()
        .await
        .iter()
        .map(|mail| mail["link"].as_str().unwrap().to_owned())
        .collect();
    let set = async |link: &str, password: &str| {
        let form = [("password", password), ("re-enter-password", password)];
        tenant
            .http
            .post(link)
            .form(&form)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(
        set(&links[0], "Another-horse-2").await,
        StatusCode::GONE,
        "only the newest works"
    );
    assert_eq!(set(&links[1], "weak").await, StatusCode::BAD_REQUEST);
    assert_eq!(set(&links[1], "Another-horse-2").await, StatusCode::OK);
    assert_eq!(
        set(&links[1], "Another-horse-3").await,
        StatusCode::GONE,
        "a link works once"
    );
    assert_eq!(tenant.read_ann().await["email_verified"], true);
    assert!(redirected(&tenant.log_in("ann@a.test", "Another-horse-2").await).contains_key("code"));
}

// Logging in.

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
    let page = tenant
        .authorize(&[("audience", "")])
        .await
        .text()
        .await
        .unwrap();
    let (_, rest) = page.split_once("name=\"state\" value=\"").unwrap();
    let state = rest.split_once('"').unwrap().0;
    let form = [
        ("state", state),
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

// Limits and faults.

#[tokio::test]
async fn a_plan_limits_writes_and_says_so_in_headers() {
    let options = Options {
        plan: Plan::Essentials,
        retry_after: true,
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

// The control face.

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

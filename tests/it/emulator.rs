//! The emulator over real HTTP: each fact of Auth0 that Roster leans on, as a sentence.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use roster::emulator::{self, Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

mod blocks;
mod connections;
mod control;
mod exports;
mod identities;
mod imports;
mod limits;
mod login;
mod mail;
mod recordings;
mod roles;
mod search;
mod sessions;
mod tickets;
mod tokens;
mod users;
mod verification;

const CONNECTION: &str = "Username-Password-Authentication";
const API: &str = "https://api.example.test";
const PASSWORD: &str = "Correct-horse-1";
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

    async fn post(&self, path: &str, body: Value) -> Response {
        self.call("POST", path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Response {
        self.call("DELETE", path, None).await
    }

    /// The body of a GET that succeeds.
    async fn read(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        json_of(response).await
    }

    /// Logs in and gets tokens.
    async fn tokens(&self, email: &str) -> Value {
        let back = redirected(&self.log_in(email, PASSWORD).await);
        json_of(self.redeem(&back["code"], &[]).await).await
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

    /// `/authorize` as the demo app asks, with some parameters replaced.
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

    /// Opens the login page and returns the transaction in its forms.
    async fn transaction(&self) -> String {
        transaction_in(self.authorize(&[]).await).await
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

/// A tenant whose machine may do everything there is, with one API that has two scopes.
fn privileged() -> Options {
    const SCOPES: &str = "read:users create:users update:users delete:users create:user_tickets read:connections \
        read:roles create:roles update:roles delete:roles read:role_members create:role_members delete:role_members \
        read:user_effective_roles read:user_effective_permissions read:sessions update:sessions delete:sessions \
        read:refresh_tokens update:refresh_tokens delete:refresh_tokens read:logs";
    let mut options = Options {
        api_scopes: vec!["read:songs".into(), "write:songs".into()],
        ..Options::default()
    };
    options.m2m.scopes = SCOPES.split_whitespace().map(str::to_owned).collect();
    options
}

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

/// The transaction in the forms of a login page.
async fn transaction_in(page: Response) -> String {
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    let (_, rest) = page.split_once("name=\"state\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
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

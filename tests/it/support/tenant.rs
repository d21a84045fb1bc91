//! An emulated tenant behind HTTP, and what stories ask of it.

use roster::{
    auth0::{self, Patch},
    emulator,
    user::Auth0UserId,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::word::Net;

/// An emulated tenant, served until it is dropped.
pub(crate) struct Tenant {
    pub(crate) url: String,
    http: reqwest::Client,
    stop: CancellationToken,
    /// What it says and what Roster's client asks is held to Auth0's schema.
    _net: Net,
}

impl Tenant {
    pub(crate) async fn start(options: emulator::Options) -> Self {
        Self::serve(options, |net, listener, options, stop| {
            net.serve(listener, options, stop)
        })
        .await
    }

    /// Nobody holds what is said to Auth0's schema, which takes longer than all the rest of a call: for storms of calls.
    pub(crate) async fn unjudged(options: emulator::Options) -> Self {
        Self::serve(options, |_, listener, options, stop| {
            tokio::spawn(emulator::serve(listener, options, stop));
        })
        .await
    }

    async fn serve(
        options: emulator::Options,
        serve: impl FnOnce(&Net, TcpListener, emulator::Options, CancellationToken),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        let net = Net::default();
        serve(&net, listener, options, stop.clone());
        Self {
            url,
            _net: net,
            // Idle connections are left before the server ends them, which would cost the next answer.
            http: reqwest::Client::builder()
                .pool_idle_timeout(std::time::Duration::from_secs(2))
                .build()
                .expect("a client"),
            stop,
        }
    }

    /// Everything there is of `what`: `users`, `mail`, `requests` or `faults`.
    pub(crate) async fn list(&self, what: &str) -> Vec<Value> {
        let url = format!("{}/_emulator/{what}", self.url);
        let answer = self.http.get(url).send().await.expect("the control face");
        answer.json().await.expect("a list")
    }

    /// The one user with this address, if there is one.
    pub(crate) async fn user(&self, email: &str) -> Option<Value> {
        let mut users = self.list("users").await;
        users.retain(|user| user["email"] == email);
        assert!(
            users.len() <= 1,
            "{} accounts have this address",
            users.len()
        );
        users.pop()
    }

    /// The one user with this address, who is there.
    pub(crate) async fn account(&self, email: &str) -> Value {
        self.user(email).await.expect("an account")
    }

    /// To whom mails went, in order.
    pub(crate) async fn mailed(&self) -> Vec<String> {
        let mails = self.list("mail").await;
        mails.iter().map(|mail| text(&mail["to"])).collect()
    }

    /// The Management API's and the token endpoint's requests of this method at a path that begins so, in order.
    pub(crate) async fn requests(&self, method: &str, path: &str) -> Vec<Value> {
        let mut requests = self.list("requests").await;
        requests.retain(|request| {
            request["method"] == method
                && request["path"]
                    .as_str()
                    .is_some_and(|p| p.starts_with(path))
        });
        requests
    }

    /// How often a request of this method arrived at a path that begins so.
    pub(crate) async fn calls(&self, method: &str, path: &str) -> usize {
        self.requests(method, path).await.len()
    }

    /// The bodies of all PATCH requests, in order.
    pub(crate) async fn patches(&self) -> Vec<Value> {
        let patches = self.requests("PATCH", "/api/v2/users/").await;
        patches
            .into_iter()
            .map(|mut request| request["body"].take())
            .collect()
    }

    /// How many requests could have changed a user.
    pub(crate) async fn writes(&self) -> usize {
        let mut writes = self.calls("POST", "/dbconnections").await;
        for method in ["POST", "PATCH", "PUT", "DELETE"] {
            writes += self.calls(method, "/api/v2").await;
        }
        writes
    }

    /// The log of requests begins anew.
    pub(crate) async fn forget_requests(&self) {
        let url = format!("{}/_emulator/requests", self.url);
        self.http
            .delete(url)
            .send()
            .await
            .expect("the control face");
    }

    /// No more faults.
    pub(crate) async fn mend(&self) {
        let url = format!("{}/_emulator/faults", self.url);
        self.http
            .delete(url)
            .send()
            .await
            .expect("the control face");
    }

    /// `POST` to the control face: `faults`, `users`, `options`, …
    pub(crate) async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/_emulator/{what}", self.url);
        let answer = self
            .http
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("the control face");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{what}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Somebody was there already; gives the id.
    pub(crate) async fn has(&self, user: Value) -> String {
        text(&self.control("users", user).await["user_id"])
    }

    /// The next `times` requests on `route`, such as `PATCH /api/v2/users/{id}`, fail in this way.
    pub(crate) async fn fault(&self, route: &str, kind: &str, times: u32, more: Value) {
        let mut fault = json!({"route": route, "kind": kind, "times": times});
        for (key, value) in more.as_object().into_iter().flatten() {
            fault[key] = value.clone();
        }
        self.control("faults", fault).await;
    }

    /// Every fault has struck as often as it was to: the requests it was meant for have arrived.
    pub(crate) async fn has_struck(&self) -> bool {
        self.list("faults").await.is_empty()
    }

    /// Somebody else than Roster calls the Management API; gives the status.
    pub(crate) async fn post(&self, path: &str, body: Value) -> u16 {
        let m2m = emulator::Options::default().m2m;
        let grant = json!({
            "grant_type": "client_credentials", "client_id": m2m.client_id, "client_secret": m2m.client_secret.expose_secret(),
            "audience": format!("{}/api/v2/", self.url),
        });
        let post =
            |path: &str, body: Value| self.http.post(format!("{}{path}", self.url)).json(&body);
        let answer = post("/oauth/token", grant).send().await.expect("a token");
        let token: Value = answer.json().await.expect("a token");
        let call = post(path, body).bearer_auth(text(&token["access_token"]));
        call.send().await.expect("an answer").status().as_u16()
    }

    /// Somebody else than Roster changes an account, at the dashboard or with a program of theirs.
    pub(crate) async fn somebody_patches(&self, email: &str, patch: Patch) {
        let id = Auth0UserId(text(&self.account(email).await["user_id"]));
        client(self, |_| {})
            .update_user(&id, &patch)
            .await
            .expect("a change by somebody else");
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A client of this tenant with short deadlines, and what `change` makes of its settings.
pub(crate) fn client(tenant: &Tenant, change: impl FnOnce(&mut auth0::Settings)) -> auth0::Client {
    let options = emulator::Options::default();
    let mut settings = auth0::Settings {
        audience: format!("{}/api/v2/", tenant.url),
        base_url: tenant.url.parse().expect("an URL"),
        client_id: options.m2m.client_id,
        client_secret: options.m2m.client_secret,
        connection: options.connection,
        invitation_client_id: Some(options.app.client_id),
        budget_share: 1.0,
        call_timeout: std::time::Duration::from_secs(5),
        permit_wait: std::time::Duration::from_secs(5),
    };
    change(&mut settings);
    auth0::Client::new(settings).expect("settings of the emulator")
}

/// A JSON string as it is.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

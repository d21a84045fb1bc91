//! The client against small tenants on this machine, each scripted by its test.

mod calls;
mod failures;
mod jobs;
mod recordings;
mod tokens;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use url::Url;
use warp::{
    Filter,
    http::{HeaderMap, Method, Response},
    hyper::body::Bytes,
    path::FullPath,
};

use super::*;

const SECRET: &str = "s3cret-of-the-client";

/// A request as the tenant saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body)
            .into_owned()
            .collect()
    }
}

type Answer = Response<String>;

/// An Auth0 that answers as its test says and remembers what it was asked.
struct Tenant {
    base_url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: AbortHandle,
}

impl Tenant {
    /// Every request, also for tokens, is answered by `script`.
    async fn scripted(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = seen.clone();
        let script = Arc::new(script);
        let routes = warp::method()
            .and(warp::path::full())
            .and(warp::query::raw().or(warp::any().map(String::new)).unify())
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .map(move |method, path: FullPath, query, headers, body: Bytes| {
                let request = Seen {
                    method,
                    path: path.as_str().to_owned(),
                    query,
                    headers,
                    body: body.to_vec(),
                };
                record.lock().unwrap().push(request.clone());
                script(&request)
            });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = warp::serve(routes).incoming(listener).run();
        Self {
            base_url: format!("http://{address}").parse().unwrap(),
            seen,
            server: tokio::spawn(server).abort_handle(),
        }
    }

    /// Tokens `token-1`, `token-2`, … are granted; everything else is answered by `script`.
    async fn granting(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let granted = Mutex::new(0);
        Self::scripted(move |request| {
            if request.path != "/oauth/token" {
                return script(request);
            }
            let mut granted = granted.lock().unwrap();
            *granted += 1;
            token(&format!("token-{granted}"))
        })
        .await
    }

    /// Tokens are granted, calls are answered with these, one after the other.
    async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Mutex<VecDeque<Answer>> = Mutex::new(answers.into_iter().collect());
        Self::granting(move |_| {
            let next = answers.lock().unwrap().pop_front();
            next.unwrap_or_else(|| answer(500, json!({"message": "not in the script"})))
        })
        .await
    }

    fn settings(&self) -> Settings {
        settings(self.base_url.clone())
    }

    fn client(&self) -> Client {
        Client::new(self.settings()).unwrap()
    }

    /// Requests for this path so far.
    fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|seen| seen.path == path)
            .cloned()
            .collect()
    }

    fn tokens_asked(&self) -> usize {
        self.seen("/oauth/token").len()
    }

    /// The only request that was not for a token.
    fn only_call(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        let calls: Vec<&Seen> = seen
            .iter()
            .filter(|seen| seen.path != "/oauth/token")
            .collect();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn settings(base_url: Url) -> Settings {
    Settings {
        base_url,
        client_id: "the-client".into(),
        client_secret: SecretString::from(SECRET),
        audience: "https://tenant.example/api/v2/".into(),
        connection: "people".into(),
        invitation_client_id: Some("the-application".into()),
        budget_share: Settings::BUDGET_SHARE,
        call_timeout: Settings::CALL_TIMEOUT,
        permit_wait: Duration::ZERO,
    }
}

fn answer(status: u16, body: Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(body)
        .unwrap()
}

fn token(token: &str) -> Answer {
    let scope = "read:users create:users";
    answer(
        200,
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 86_400, "scope": scope}),
    )
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    answer(
        status,
        json!({"statusCode": status, "error": "Refused", "message": message, "errorCode": code}),
    )
}

fn ann() -> Value {
    json!({"user_id": "auth0|ann", "email": "ann@example.com", "email_verified": false, "name": "Ann"})
}

fn ann_id() -> Auth0UserId {
    "auth0|ann".into()
}

fn new_ann() -> NewUser {
    NewUser {
        id: ann_id(),
        email: "ann@example.com".into(),
        name: Some("Ann".into()),
        blocked: false,
        app_metadata: object(json!({"role": "Artist"})),
        user_metadata: Map::new(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

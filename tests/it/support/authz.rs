//! The authorization server over a database of its own, asked over HTTP.

use reqwest::header::HeaderMap;
use roster::{
    authz::{self, Authz},
    db::pool::Pool,
    http::{Limits, serve, warp_service},
    telemetry::Metrics,
};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{Database, issuer::Issuer};

/// The server over a database of its own, asked over HTTP.
pub(crate) struct Server {
    pub(crate) sql: Client,
    pub(crate) issuer: Issuer,
    pub(crate) url: String,
    _database: Database,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and code: what a refusal is known by.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let database = Database::migrated().await;
        let sql = database.client().await;
        let issuer = Issuer::start().await;
        let url = listen(&issuer, database.pool()).await;
        Self {
            sql,
            issuer,
            url,
            _database: database,
        }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.expect(sql);
    }

    pub(crate) async fn fold(&self) {
        self.run("select roster.fold()").await;
    }

    /// Ada, user 1, an Artist with an account that Roster made.
    pub(crate) async fn with_ada(self) -> Self {
        self.run(
            "insert into public.role_permissions values ('Artist', 'art:read'), ('Artist', 'art:write');
             insert into public.users (id, email, name) values (1, 'Ada@example.com', 'Ada');
             insert into public.user_permissions values (1, 'art:sell')",
        )
        .await;
        self.fold().await;
        self.link("auth0|ada", 1).await;
        self
    }

    /// What the reactor stores once it knows an account.
    pub(crate) async fn link(&self, account: &str, key: i32) {
        self.run(&format!(
            "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email)
             select '{account}', m.user_key, m.incarnation, 'made', 'linked', u.email
             from roster.mirror m join public.users u on u.id::text = m.user_key where u.id = {key}"
        ))
        .await;
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(&format!("{}{path}", self.url), headers).await
    }

    pub(crate) async fn me(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.get("/v1/me", &[("authorization", &bearer)]).await
    }
}

pub(crate) async fn listen(issuer: &Issuer, pool: Pool) -> String {
    let authz = Authz::new(issuer.settings(), pool, Metrics::default()).expect("the server");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let service = warp_service(authz::routes(authz));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, service, Limits::default(), stop));
    url
}

pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().build();
    client.expect("a client")
}

pub(crate) async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

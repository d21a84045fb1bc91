//! The authorization server over a database of its own, asked over HTTP.

use std::{sync::Arc, time::Duration};

use reqwest::header::HeaderMap;
use roster::{
    authz::{self, Authz, DirectoryMode, Settings},
    db::{connect::Endpoint, pool::Pool},
    http::{Limits, serve as serve_http, warp_service},
    progress::Progress,
    telemetry::Metrics,
};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Database, issuer::Issuer, world::eventually};

/// Set to [`READ_THROUGH`], this variable has every story's server ask its database each time.
pub(crate) const DIRECTORY: &str = "ROSTER_TEST_DIRECTORY";
/// The mode that is not the usual one.
pub(crate) const READ_THROUGH: &str = "read_through";

/// The server over a database of its own, asked over HTTP.
pub(crate) struct Server {
    pub(crate) sql: Client,
    pub(crate) issuer: Issuer,
    pub(crate) url: String,
    pub(crate) authz: Arc<Authz>,
    pub(crate) database: Database,
    _stop: DropGuard,
}

/// How a server reaches its database.
pub(crate) struct Ways {
    pub(crate) pool: Pool,
    pub(crate) listen: Endpoint,
    /// Between two readings of everybody.
    pub(crate) reload_every: Duration,
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
    /// Once it answers from memory, where it is to.
    pub(crate) async fn start() -> Self {
        let server = Self::with(Database::migrated().await, |_, _| {}).await;
        server.ready().await;
        server
    }

    /// One that asks its database each time, so that nothing is answered while that does not answer.
    pub(crate) async fn reading_through() -> Self {
        Self::over(Database::migrated().await, |settings| {
            settings.directory = DirectoryMode::ReadThrough;
        })
        .await
    }

    /// Over a database that was made for the story, with other settings than the usual ones.
    pub(crate) async fn over(database: Database, set: impl FnOnce(&mut Settings)) -> Self {
        let server = Self::with(database, |settings, _| set(settings)).await;
        server.ready().await;
        server
    }

    /// On this database, with other settings or ways to it.
    pub(crate) async fn with(
        database: Database,
        change: impl FnOnce(&mut Settings, &mut Ways),
    ) -> Self {
        let sql = database.client().await;
        let issuer = Issuer::start().await;
        let (url, authz, stop) = serve(&issuer, &database, change).await;
        Self {
            sql,
            issuer,
            url,
            authz,
            database,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits until memory answers, where it is to.
    pub(crate) async fn ready(&self) {
        eventually("memory answers", async || {
            self.authz
                .standing()
                .is_none_or(|memory| memory.reads_through.is_none())
        })
        .await;
    }

    /// The state of the database just now, as a revision.
    pub(crate) async fn revision(&self) -> String {
        let now = "select pg_current_snapshot()::text";
        let row = self.sql.query_one(now, &[]).await.expect(now);
        row.get(0)
    }

    /// Its issuer's keys cannot be had.
    pub(crate) async fn without_keys() -> Self {
        Self::over(Database::migrated().await, |settings| {
            // A port that nobody listens on.
            settings.jwks_url = "http://127.0.0.1:1/jwks".parse().expect("an address");
        })
        .await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.expect(sql);
    }

    /// As [`Server::run`], and waits until answers are made from that.
    pub(crate) async fn commit(&self, sql: &str) {
        self.run(sql).await;
        // Whoever asks: the server looks at the database before it says that this is nobody.
        self.me(&self.issuer.token("auth0|whoever")).await;
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

    /// Waits until it answers: on a busy machine its first sessions with the database take their time.
    pub(crate) async fn answers(&self, subject: &str) {
        let token = self.issuer.token(subject);
        let what = "the server answers";
        eventually(what, async || self.me(&token).await.status == 200).await;
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(&format!("{}{path}", self.url), headers).await
    }

    /// As of everything that was committed before, however the server is told of it.
    pub(crate) async fn me(&self, token: &str) -> Answer {
        let revision = self.revision().await;
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-roster-at-least", revision.as_str()),
        ];
        self.get("/v1/me", &headers).await
    }

    /// As an application asks that has written nothing itself.
    pub(crate) async fn me_just_so(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.get("/v1/me", &[("authorization", &bearer)]).await
    }
}

/// Another server with these keys on this database.
pub(crate) async fn serve(
    issuer: &Issuer,
    database: &Database,
    change: impl FnOnce(&mut Settings, &mut Ways),
) -> (String, Arc<Authz>, CancellationToken) {
    let mut settings = issuer.settings();
    if std::env::var_os(DIRECTORY).is_some_and(|mode| mode == READ_THROUGH) {
        settings.directory = DirectoryMode::ReadThrough;
    }
    let mut ways = Ways {
        pool: database.pool(),
        listen: database.endpoint(),
        reload_every: Duration::from_secs(3600),
    };
    change(&mut settings, &mut ways);
    let authz = Authz::new(settings, ways.pool, Metrics::default()).expect("the server");
    let stop = CancellationToken::new();
    let (kept, kept_stop) = (authz.clone(), stop.clone());
    tokio::spawn(async move {
        let progress = Progress::default();
        kept.keep_directory(ways.listen, ways.reload_every, &progress, kept_stop)
            .await;
    });
    (bind(authz.clone(), stop.clone()).await, authz, stop)
}

/// A server with this pool alone: nothing is kept in memory.
pub(crate) async fn listen(issuer: &Issuer, pool: Pool) -> String {
    listen_with(issuer.settings(), pool).await
}

/// As [`listen`], with these settings.
pub(crate) async fn listen_with(settings: Settings, pool: Pool) -> String {
    let authz = Authz::new(settings, pool, Metrics::default()).expect("the server");
    bind(authz, CancellationToken::new()).await
}

async fn bind(authz: Arc<Authz>, stop: CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let service = warp_service(authz::routes(authz));
    tokio::spawn(serve_http(listener, service, Limits::default(), stop));
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
    answer(request).await
}

/// Sends a request and reads the answer: as JSON if it is that, else as text.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
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

//! Whoever runs the server sees what it decides, what it counts, and whether it should be asked.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use roster::{
    authz::{DecisionSink, Settings},
    config::Config,
    progress::Progress,
    service::{self, Part},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::authzen::by_key;
use crate::support::{
    Database,
    authz::{Answer, Server, answer, client, get},
    issuer::{AUDIENCE, Issuer},
    program::Program,
    proxy::Proxy,
    world::{World, eventually},
};

const KEY: &str = "2b7e151628aed2a6";
const UNKNOWN: &str = "database_unavailable";

/// A server with a decision log in a file.
struct Logged {
    server: Server,
    file: PathBuf,
    _dir: TempDir,
}

impl Logged {
    /// That logs so much of what it allows; Ada is there.
    async fn start(sample: f64) -> Self {
        let dir = TempDir::new().expect("a directory");
        let file = dir.path().join("decisions");
        let sink = DecisionSink::File(file.clone());
        let set = |settings: &mut Settings| {
            settings.decision_log = sink;
            settings.decision_log_sample = sample;
            settings.callers = vec![by_key(KEY, true, true)];
        };
        let server = Server::over(Database::migrated().await, set).await;
        let server = server.with_ada().await;
        let more = "insert into public.user_permissions values (1, 'read:art')";
        server.run(more).await;
        Self {
            server,
            file,
            _dir: dir,
        }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        known(async || self.server.get(path, &headers).await).await
    }

    /// As the program.
    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = || client().post(format!("{}{path}", self.server.url));
        known(async || answer(request().bearer_auth(KEY).json(&body)).await).await
    }

    async fn text(&self) -> String {
        self.server.authz.flush_decision_log().await;
        fs::read_to_string(&self.file).expect("the log")
    }

    /// But for those that say that the database could not be asked in time.
    async fn lines(&self) -> Vec<Value> {
        let text = self.text().await;
        let line = |line| serde_json::from_str::<Value>(line).expect("one object a line");
        let lines = text.lines().map(line);
        lines.filter(|line| line["code"] != UNKNOWN).collect()
    }

    fn ada(&self) -> String {
        self.server.issuer.token("auth0|ada")
    }
}

/// The first answer that is not the one of a database that is too busy.
async fn known(ask: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..100 {
        let answer = ask().await;
        let code = answer.headers.get("x-roster-code");
        let is_unknown = answer.status == 503 || code.is_some_and(|code| code == UNKNOWN);
        if !is_unknown {
            return answer;
        }
    }
    panic!("the database is never asked in time");
}

fn id(answer: &Answer) -> &str {
    let id = answer.headers["x-roster-decision-id"].to_str();
    id.expect("an id")
}

fn may(action: &str, id: &str) -> Value {
    json!({ "subject": { "type": "user", "id": id }, "action": { "name": action }, "resource": { "type": "art", "id": "1" } })
}

#[tokio::test]
async fn every_refusal_has_a_line_with_the_id_that_is_in_the_answer() {
    let logged = Logged::start(0.0).await;
    let stranger = logged.server.issuer.token("auth0|stranger");
    assert_eq!(logged.get("/v1/me", &logged.ada()).await.status, 200);
    let answers = [
        logged
            .get(
                "/v1/check?permission=art:read&permission=art:burn",
                &logged.ada(),
            )
            .await,
        logged.get("/v1/me", &stranger).await,
        logged.get("/auth/nginx?requires=", &logged.ada()).await,
        logged.get("/auth/hasura", "not.a.token").await,
        logged.post("/access/v1/evaluation", json!({})).await,
    ];
    let lines = logged.lines().await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| (&line["endpoint"], &line["code"], &line["status"]))
        .map(|(endpoint, code, status)| json!([endpoint, code, status]))
        .collect();
    let expected = [
        json!(["/v1/check", "insufficient_scope", 403]),
        json!(["/v1/me", "user_not_provisioned", 403]),
        json!(["/auth/nginx", "invalid_request", 403]),
        json!(["/auth/hasura", "token_malformed", 401]),
        json!(["/access/v1/evaluation", "request_malformed", 400]),
    ];
    assert_eq!(told, expected);
    for (answer, line) in answers.iter().zip(&lines) {
        assert_eq!(id(answer), line["decision.id"]);
        let request_id = answer.headers["x-request-id"].to_str();
        assert_eq!(request_id.expect("an id"), line["request.id"]);
        assert_eq!(line["decision"], "deny");
    }
    assert_eq!(lines[0]["user.key"], "1");
    assert_eq!(lines[0]["required"], json!(["art:read", "art:burn"]));
    assert_eq!(lines[0]["missing"], json!(["art:burn"]));
    assert_eq!(lines[1]["source"], "database");
    // As `printf %s 'auth0|stranger' | sha256sum` begins.
    assert_eq!(lines[1]["account.fingerprint"], "sha256:50fbfd5800882e83");
}

#[tokio::test]
async fn what_is_allowed_has_a_line_where_it_is_drawn_and_each_evaluation_is_a_decision() {
    let logged = Logged::start(1.0).await;
    let me = logged.get("/v1/me", &logged.ada()).await;
    let batch =
        json!({ "evaluations": [may("read", "1"), may("burn", "1"), may("read", "nobody"), {}] });
    let batch = logged.post("/access/v1/evaluations", batch).await;
    assert_eq!(batch.status, 200);
    let lines = logged.lines().await;
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["decision"], "allow");
    assert_eq!(lines[0]["revision"], me.body["revision"]);
    assert!(["memory", "database"].contains(&lines[0]["source"].as_str().unwrap()));
    assert!(lines[0]["duration_ms"].as_f64().unwrap() > 0.0);
    let expected = [
        json!([0, "allow", "ok", "1", ["read:art"]]),
        json!([1, "deny", "permission_missing", "1", ["burn:art"]]),
        json!([2, "deny", "subject_unknown", null, ["read:art"]]),
        json!([3, "deny", "request_malformed", null, null]),
    ];
    for (line, expected) in lines[1..].iter().zip(expected) {
        let told = [
            "decision.evaluation",
            "decision",
            "code",
            "user.key",
            "required",
        ];
        assert_eq!(json!(told.map(|name| &line[name])), expected);
        assert_eq!(line["decision.id"], id(&batch));
        assert_eq!(line["source"], "database");
        assert!(line["caller.program"].is_string());
    }
}

#[tokio::test]
async fn the_decision_log_holds_no_token_no_address_and_no_subject() {
    let logged = Logged::start(1.0).await;
    let issuer = &logged.server.issuer;
    let tokens = [
        issuer.token_of("google-oauth2|1", "ada@example.com", true),
        issuer.token_of("google-oauth2|2", "eve@example.com", false),
        issuer.token("samlp|x|eve@example.com"),
    ];
    for token in &tokens {
        for path in [
            "/v1/me",
            "/v1/check?permission=eve%40example.com",
            "/auth/envoy/eve@example.com",
        ] {
            let bearer = format!("Bearer {token}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("x-request-id", "eve@example.com"),
            ];
            logged.server.get(path, &headers).await;
            logged
                .get(
                    &format!("{path}?require={token}&access_token={token}"),
                    &format!("{token}x"),
                )
                .await;
        }
    }
    let about = json!({
        "subject": { "type": "identity", "id": "samlp|x|eve@example.com" },
        "action": { "name": "eve@example.com" }, "resource": { "type": tokens[0], "id": tokens[1] },
    });
    logged.post("/access/v1/evaluation", about.clone()).await;
    logged.post("/access/v1/search/subject", about).await;
    logged.get("/access/v1/evaluation", &tokens[0]).await;

    let text = logged.text().await.to_lowercase();
    assert!(text.lines().count() >= 20, "{text}");
    let parts = tokens.iter().flat_map(|token| token.split('.'));
    for secret in parts.chain(["eve@", "ada@", "%40", "samlp|", "google-oauth2|", KEY]) {
        assert!(!text.contains(&secret.to_lowercase()), "{secret} in {text}");
    }
}

#[tokio::test]
async fn metrics_tell_decisions_by_endpoint_and_reason_and_how_old_all_is() {
    let logged = Logged::start(0.0).await;
    logged.get("/v1/me", &logged.ada()).await;
    logged.get("/auth/nginx", "x").await;
    let batch = json!({ "evaluations": [may("read", "1"), may("read", "1"), may("burn", "1")] });
    logged.post("/access/v1/evaluations", batch).await;
    logged.server.authz.flush_decision_log().await;
    let metrics = logged.server.get("/metrics", &[]).await.body;
    let metrics = metrics.as_str().expect("text");
    for line in [
        "authz_requests_total{endpoint=\"/auth/nginx\",code=\"token_malformed\",status=\"401\"} 1",
        "authz_requests_total{endpoint=\"/access/v1/evaluations\",code=\"ok\",status=\"200\"} 1",
        "authz_decisions_total{endpoint=\"/v1/me\",decision=\"allow\",reason=\"ok\"} 1",
        "authz_decisions_total{endpoint=\"/v1/check\",decision=\"allow\",reason=\"ok\"} 0",
        "authz_decisions_total{endpoint=\"/access/v1/evaluations\",decision=\"allow\",reason=\"ok\"} 2",
        "authz_decisions_total{endpoint=\"/access/v1/evaluations\",decision=\"deny\",reason=\"permission_missing\"} 1",
        "authz_request_duration_seconds_count{endpoint=\"/auth/nginx\"} 1",
        "authz_decisions_not_logged_total 0",
    ] {
        assert!(
            metrics.contains(&format!("roster_{line}\n")),
            "{line} in {metrics}"
        );
    }
    let age = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|age| age.trim().parse::<f64>().ok())
    };
    assert!(age("roster_authz_decisions_logged_total").expect("a number") >= 2.0);
    assert!(age("roster_authz_keys_age_seconds").expect("an age") >= 0.0);
    for name in [
        "roster_authz_memory_age_seconds",
        "roster_authz_canary_age_seconds",
    ] {
        assert!(age(name).is_some(), "{name}");
    }
    assert!(!metrics.contains("endpoint=\"/livez\""), "{metrics}");
}

#[tokio::test]
async fn a_server_that_cannot_know_should_not_be_asked_unless_old_answers_are_allowed() {
    for (max_stale, status) in [(0, 503), (600, 200)] {
        let database = Database::migrated().await;
        let proxy = Proxy::to(&database).await;
        let endpoint = proxy.endpoint();
        let server = Server::with(database, |settings, ways| {
            settings.max_stale = Duration::from_secs(max_stale);
            settings.directory = roster::authz::DirectoryMode::Memory;
            ways.pool = endpoint.pool(4);
            ways.listen = endpoint;
        })
        .await
        .with_ada()
        .await;
        server.ready().await;
        // The keys are fetched for the first token.
        server.answers("auth0|ada").await;
        let ready = server.get("/readyz", &[]).await;
        assert_eq!(
            (ready.status, &ready.body["status"]),
            (200, &json!("ready"))
        );
        assert_eq!(ready.body["checks"]["memory"]["ok"], true);
        proxy.cut();
        eventually("it is noticed", async || {
            let ready = server.get("/readyz", &[]).await;
            let checks = &ready.body["checks"];
            checks["database"]["ok"] == false
                && checks["memory"]["reads_through"] == "listener"
                && ready.status == status
        })
        .await;
        proxy.restore();
        eventually("it is over", async || {
            server.get("/readyz", &[]).await.status == 200
        })
        .await;
    }
}

#[tokio::test]
async fn an_outage_is_in_the_log_but_not_once_for_each_request() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its number").to_string();
    drop(free);
    let variables = [
        ("ROSTER__HTTP__LISTEN", address.as_str()),
        ("ROSTER__AUTHZ__DIRECTORY", "read_through"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program = Program::run(&world.tenant, &proxy.url(), &variables);
    let ada = json!({"user_id": "auth0|ada", "email": "ada@example.test"});
    world.tenant.has(ada).await;
    let wanted = json!({"user_id": "auth0|ada"});
    let token = world.tenant.control("tokens", wanted).await["access_token"].clone();
    let bearer = format!("Bearer {}", token.as_str().expect("a token"));
    let headers = [("authorization", bearer.as_str())];
    let url = format!("http://{address}/v1/me");
    eventually("it answers", async || {
        let asked = client()
            .get(&url)
            .header("authorization", &bearer)
            .send()
            .await;
        asked.is_ok_and(|answer| answer.status() == 403)
    })
    .await;
    // Also where it has not begun to listen yet.
    proxy.cut();
    let asked = (0..50).map(|_| get(&url, &headers));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.refusal(), (503, UNKNOWN));
    }
    let told = program
        .log()
        .matches("a request could not be answered")
        .count();
    assert!((1..50).contains(&told), "{told}");
}

#[tokio::test]
async fn a_server_that_is_to_stop_says_so_and_answers_until_it_does() {
    let (database, issuer) = (Database::migrated().await, Issuer::start().await);
    let settings = issuer.settings();
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("decisions");
    let variables = BTreeMap::from([
        ("DATABASE_URL".to_owned(), database.url()),
        ("ROSTER__AUTHZ__ISSUER".to_owned(), settings.issuer),
        (
            "ROSTER__AUTHZ__JWKS_URL".to_owned(),
            settings.jwks_url.into(),
        ),
        ("ROSTER__AUTHZ__AUDIENCE".to_owned(), AUDIENCE.to_owned()),
        (
            "ROSTER__AUTHZ__DECISION_LOG".to_owned(),
            file.display().to_string(),
        ),
        ("ROSTER__HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("ROSTER__HTTP__STOP_DELAY".to_owned(), "8s".to_owned()),
    ]);
    let config = Config::load_from(None, &variables).expect("a configuration");
    let (ready, is_ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move {
        service::run(&config, Part::Server, Progress::default(), ready, stopped).await
    });
    let address = is_ready.await.expect("it runs").expect("a server");
    let at = |path: &str| format!("http://{address}{path}");
    eventually("it is ready", async || {
        get(&at("/readyz"), &[]).await.status == 200
    })
    .await;

    stop.cancel();
    eventually("it says that it stops", async || {
        let leaving = get(&at("/readyz"), &[]).await;
        leaving.status == 503 && leaving.body["checks"]["stop"]["ok"] == false
    })
    .await;
    let answer = get(&at("/v1/me"), &[]).await;
    assert_eq!(answer.refusal(), (401, "token_missing"));
    assert_eq!(answer.headers["connection"], "close");
    assert!(running.await.expect("no panic").is_ok());
    let text = fs::read_to_string(&file).expect("the log");
    assert!(text.contains("token_missing"), "{text}");
}

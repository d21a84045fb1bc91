//! Auth0's own clients, unchanged and from their registries, work with the emulator as with a tenant.
//!
//! What they do stands in `tests/clients`, in their languages; here the tenants are started and looked at afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::Duration,
};

use roster::emulator::{Options, Plan};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    https::{Authority, Https},
    packages,
    tenant::{Tenant, text},
};

/// The tenants a client is tried on: one without limits, and one of the free plan that tells callers to wait.
struct Stage {
    authority: Authority,
    main: Https,
    free: Https,
}

/// What the clients ask for beyond what Roster needs.
const MORE_SCOPES: &str = "create:user_tickets read:roles create:roles update:roles delete:roles read:role_members create:role_members \
    delete:role_members read:sessions delete:sessions read:refresh_tokens delete:refresh_tokens read:logs";

/// How often the clients ask, unless told otherwise, before they give up.
const ASKED: u32 = 3;

/// The limit of the free plan is met, however slowly the clients come: its 429 is the answer so many times.
async fn says_wait(tenant: &Tenant, route: &str, times: u32) {
    let reset = (jiff::Timestamp::now().as_second() + 1).to_string();
    let more = json!({
        "status": 429,
        "headers": {
            "retry-after": "1", "x-ratelimit-limit": "2", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset,
        },
        "body": {
            "statusCode": 429, "error": "Too Many Requests", "message": "Global limit has been reached",
            "errorCode": "too_many_requests",
        },
    });
    tenant.fault(route, "status", times, more).await;
}

impl Stage {
    async fn start() -> Self {
        let authority = Authority::new();
        let mut main = Options {
            api_scopes: vec!["read:songs".to_owned(), "write:songs".to_owned()],
            ..Options::default()
        };
        let more = MORE_SCOPES.split_whitespace().map(str::to_owned);
        main.m2m.scopes.extend(more);
        let free = Options {
            plan: Plan::Free,
            ..Options::default()
        };
        let free = Https::start(&authority, free).await;
        says_wait(&free.tenant, "POST /api/v2/users", ASKED - 1).await;
        says_wait(&free.tenant, "GET /api/v2/users", ASKED).await;
        Self {
            main: Https::start(&authority, main).await,
            free,
            authority,
        }
    }

    /// Runs a client's steps; what it printed, once it has succeeded.
    async fn run(&self, client: &mut Command) -> String {
        let options = Options::default();
        let reader = self.token(json!({"scope": "read:users"})).await;
        let expired = self.token(json!({"expires_in": 0})).await;
        client
            .env("AUTH0_DOMAIN", &self.main.domain)
            .env("AUTH0_FREE_DOMAIN", &self.free.domain)
            .env("AUTH0_CLIENT_ID", &options.m2m.client_id)
            .env(
                "AUTH0_CLIENT_SECRET",
                options.m2m.client_secret.expose_secret(),
            )
            .env("AUTH0_CONNECTION", &options.connection)
            .env("AUTH0_CONNECTION_ID", options.connection_id())
            .env("AUTH0_API", &options.audiences[0])
            .env("AUTH0_READER_TOKEN", reader)
            .env("AUTH0_EXPIRED_TOKEN", expired)
            // Each client has a name of its own for the authorities it trusts.
            .env("NODE_EXTRA_CA_CERTS", self.authority.file())
            .env("SSL_CERT_FILE", self.authority.file())
            .env("REQUESTS_CA_BUNDLE", self.authority.file())
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        client.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(120), client.output())
            .await
            .expect("a client that ends")
            .expect("a client that runs");
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(output.status.success(), "{told}");
        told
    }

    /// A token for the Management API that no client asked for.
    async fn token(&self, mut wanted: Value) -> String {
        wanted["audience"] = format!("https://{}/api/v2/", self.main.domain).into();
        text(&self.main.tenant.control("tokens", wanted).await["access_token"])
    }
}

/// The script's steps, which it declares by lines that begin so.
fn declared(script: &Path, beginning: &str) -> usize {
    let script = std::fs::read_to_string(script).expect("a script");
    let declared = script.lines().map(str::trim_start);
    declared.filter(|line| line.starts_with(beginning)).count()
}

/// Every step of a script in JavaScript succeeds; what is left of it.
async fn node(script: &str) -> Stage {
    let node = packages::node().await.expect("Node and its packages");
    let script = packages::client(script);
    let stage = Stage::start().await;
    let mut command = Command::new(node.program);
    command.arg("--test-reporter=tap").arg(&script);
    let told = stage.run(command.env("NODE_PATH", node.modules)).await;
    let passed = |line: &&str| line.starts_with("ok ") && !line.contains(" # ");
    let steps = told.lines().filter(passed).count();
    assert_eq!(steps, declared(&script, "test("), "{told}");
    stage
}

/// Every step of a script in Python succeeds; what is left of it.
async fn python(script: &str) -> Stage {
    let python = packages::python(&packages::client("python/requirements.txt")).await;
    let script = packages::client(script);
    let stage = Stage::start().await;
    let mut command = Command::new(python.expect("Python and its packages"));
    let told = stage.run(command.arg("-Bsu").arg(&script)).await;
    let all = format!("\nRan {} tests in ", declared(&script, "def test_"));
    assert!(told.contains(&all) && told.ends_with("\nOK\n"), "{told}");
    stage
}

/// What both current clients did is seen in their tenant, and nothing of what they were refused.
async fn is_left(stage: &Stage, client: &str) {
    let at = |name: &str| format!("{name}@{client}.test");
    let tenant = &stage.main.tenant;
    let ann = tenant.account(&at("ann")).await;
    assert_eq!(ann["user_id"], format!("auth0|{client}-ann"));
    let cleo = tenant.account(&at("cleo")).await;
    assert_eq!(cleo["name"], "Cleo");
    assert_eq!(
        cleo["app_metadata"],
        json!({"plan": "gold", "role": "Editor"})
    );
    assert_eq!(tenant.account(&at("eve")).await["blocked"], false);
    for there in ["daniel", "ida", "jan", "kim", "page-0", "page-6"] {
        assert!(tenant.user(&at(there)).await.is_some(), "{there} is gone");
    }
    for absent in ["dan", "fay", "hal"] {
        assert_eq!(tenant.user(&at(absent)).await, None);
    }
    assert_eq!(tenant.mailed().await, [""; 0]);
    // One client that works, one with a wrong secret, one with a wrong audience, another that works.
    let tokens = statuses(tenant.requests("POST", "/oauth/token").await);
    assert_eq!(
        count(&tokens),
        [(200, 2), (401, 1), (403, 1)].into(),
        "{tokens:?}"
    );
}

fn statuses(requests: Vec<Value>) -> Vec<u64> {
    let status = |request: &Value| request["status"].as_u64().expect("a status");
    requests.iter().map(status).collect()
}

fn count(statuses: &[u64]) -> BTreeMap<u64, usize> {
    statuses.iter().fold(BTreeMap::new(), |mut counts, status| {
        *counts.entry(*status).or_default() += 1;
        counts
    })
}

/// Who was told to wait asked again: twice and came through, or three times, as often as the clients do, and gave up.
async fn waited(stage: &Stage) {
    let tenant = &stage.free.tenant;
    assert!(tenant.has_struck().await);
    assert_eq!(tenant.list("users").await.len(), 4);
    let asked = async |method| {
        let requests = tenant.requests(method, "/api/v2/users").await;
        count(&statuses(requests))
    };
    assert_eq!(asked("GET").await, [(429, 3)].into());
    let created = asked("POST").await;
    assert!(created[&201] == 4 && created[&429] >= 2, "{created:?}");
}

/// What was imported, mailed and verified by both current clients is seen in their tenant.
async fn was_loaded(stage: &Stage, client: &str) {
    let at = |name: &str| format!("{name}@{client}.test");
    let tenant = &stage.main.tenant;
    let lea = tenant.account(&at("lea")).await;
    assert_eq!(lea["user_id"], format!("auth0|{client}-lea"));
    assert_eq!(lea["blocked"], true);
    let nia = tenant.account(&at("nia")).await;
    assert_eq!(nia["app_metadata"], json!({"role": "Editor"}));
    for (name, verified) in [
        ("mia", false),
        ("quin", false),
        ("rosa", true),
        ("sue", true),
    ] {
        assert_eq!(
            tenant.account(&at(name)).await["email_verified"],
            verified,
            "{name}"
        );
    }
    assert_eq!(tenant.mailed().await, [at("quin")]);
}

/// Who was linked is back, and the roles that were not deleted are known to whoever asks with a token.
async fn are_there(stage: &Stage, client: &str, roles: &[&str]) {
    let tenant = &stage.main.tenant;
    for name in ["yan", "yann", "zoe"] {
        let user = tenant.account(&format!("{name}@{client}.test")).await;
        assert_eq!(user["identities"].as_array().map(Vec::len), Some(1));
    }
    let token = stage.token(json!({"scope": "read:roles"})).await;
    let url = format!("{}/api/v2/roles", tenant.url);
    let answer = reqwest::Client::new().get(url).bearer_auth(token).send();
    let listed: Vec<Value> = answer
        .await
        .expect("an answer")
        .json()
        .await
        .expect("roles");
    let names: BTreeSet<String> = listed.iter().map(|role| text(&role["name"])).collect();
    assert_eq!(names, roles.iter().map(|&role| role.to_owned()).collect());
}

#[tokio::test]
async fn the_client_for_node_keeps_users_as_on_auth0() {
    let stage = node("node/users.js").await;
    is_left(&stage, "node").await;
    waited(&stage).await;
}

#[tokio::test]
async fn the_client_for_node_runs_jobs_and_gets_tickets_as_on_auth0() {
    was_loaded(&node("node/jobs.js").await, "node").await;
}

#[tokio::test]
async fn the_client_for_node_gives_roles_and_links_accounts_as_on_auth0() {
    are_there(
        &node("node/roles.js").await,
        "node",
        &["Node Singer", "Node Reader"],
    )
    .await;
}

#[tokio::test]
async fn the_client_for_node_of_before_keeps_users_too() {
    let tenant = node("node/legacy.js").await.main.tenant;
    assert_eq!(tenant.user("ann@legacy.test").await, None);
    assert!(tenant.user("ida@legacy.test").await.is_some());
    assert_eq!(
        tenant
            .calls("PATCH", "/api/v2/users/auth0%7Clegacy-ann")
            .await,
        1
    );
}

#[tokio::test]
async fn the_client_for_python_keeps_users_as_on_auth0() {
    let stage = python("python/users.py").await;
    is_left(&stage, "python").await;
    waited(&stage).await;
}

#[tokio::test]
async fn the_client_for_python_runs_jobs_and_gets_tickets_as_on_auth0() {
    was_loaded(&python("python/jobs.py").await, "python").await;
}

#[tokio::test]
async fn the_client_for_python_gives_roles_and_links_accounts_as_on_auth0() {
    let stage = python("python/roles.py").await;
    are_there(&stage, "python", &["Python Singer", "Python Reader"]).await;
}

#[test]
fn the_lock_files_name_no_registry() {
    for file in [
        "tests/clients/axe/package-lock.json",
        "tests/clients/node/package-lock.json",
        "tests/clients/node/runtime.txt",
        "tests/clients/openapi/requirements.txt",
        "tests/clients/python/requirements.txt",
        "benches/peers/express/package-lock.json",
        "benches/peers/fastify/package-lock.json",
        "benches/peers/fastapi/requirements.txt",
        "benches/peers/runtime.txt",
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let lock = std::fs::read_to_string(&file).expect("a lock file");
        let file = file.display();
        for place in ["\"resolved\"", "index-url", "find-links"] {
            assert!(!lock.contains(place), "{file}: {place}");
        }
    }
}

//! Tokens as the emulated tenant signs them, good and odd ones; its keys turned over while requests run.

use std::sync::atomic::{AtomicUsize, Ordering};

use roster::{
    authz::{Authz, Settings},
    emulator::Options,
    telemetry::Metrics,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Database,
    authz::{Answer, get, listen_with},
    logs::Logs,
    tenant::{Tenant, text},
    world::eventually,
};

/// Ada, in the tenant and in Postgres, and a server that believes the tenant.
struct Stage {
    tenant: Tenant,
    ada: String,
    url: String,
    _database: Database,
}

impl Stage {
    async fn set() -> Self {
        let (database, tenant) = (
            Database::migrated().await,
            Tenant::start(Options::default()).await,
        );
        let sql = database.client().await;
        sql.batch_execute("insert into public.users (email) values ('ada@example.com')")
            .await
            .expect("Ada");
        let ada = json!({"email": "ada@example.com", "email_verified": true});
        let ada = tenant.has(ada).await;
        let url = listen_with(settings(&tenant), database.pool()).await;
        Self {
            tenant,
            ada,
            url,
            _database: database,
        }
    }

    /// A token of Ada's, changed in this way.
    async fn mint(&self, changes: Value) -> String {
        let mut wanted = changes;
        wanted["user_id"] = json!(self.ada);
        text(&self.tenant.control("tokens", wanted).await["access_token"])
    }

    async fn me(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        get(
            &format!("{}/v1/me", self.url),
            &[("authorization", &bearer)],
        )
        .await
    }

    /// The status and code that a token changed in this way is answered with.
    async fn answers(&self, changes: Value) -> (u16, String) {
        let answer = self.me(&self.mint(changes).await).await;
        let (status, code) = answer.refusal();
        (status, code.to_owned())
    }
}

fn settings(tenant: &Tenant) -> Settings {
    let jwks = format!("{}/.well-known/jwks.json", tenant.url);
    let audiences = Options::default().audiences;
    let mut settings = Settings::new(
        format!("{}/", tenant.url),
        audiences,
        jwks.parse().expect("an address"),
    );
    settings.email_claim = "https://roster.dev/email".to_owned();
    settings
}

#[tokio::test]
async fn of_all_the_tokens_a_tenant_can_sign_only_the_plain_access_token_is_taken() {
    let stage = Stage::set().await;
    let ours = Options::default().audiences.remove(0);
    let (year, far) = (365 * 86_400, json!({"exp": 1e300}));
    let table = [
        (json!({}), 200, ""),
        (json!({"header": {"typ": "at+jwt"}}), 200, ""),
        (json!({"key": "next"}), 200, ""),
        (json!({"expires_in": year}), 200, ""),
        (json!({"claims": {"iat": 4_000_000_000_i64}}), 200, ""),
        (json!({"expires_in": -60}), 401, "token_expired"),
        (json!({"not_before_in": 3600}), 401, "token_not_yet_valid"),
        (json!({"claims": {"exp": null}}), 401, "token_malformed"),
        (
            json!({"claims": {"exp": "4000000000"}}),
            401,
            "token_malformed",
        ),
        (json!({"claims": far}), 401, "token_malformed"),
        (json!({"claims": {"iat": "now"}}), 401, "token_malformed"),
        (
            json!({"audience": "https://other.example"}),
            401,
            "audience_mismatch",
        ),
        (json!({"claims": {"aud": null}}), 401, "audience_mismatch"),
        (json!({"claims": {"aud": []}}), 401, "audience_mismatch"),
        (json!({"claims": {"aud": 7}}), 401, "token_malformed"),
        (
            json!({"claims": {"aud": [ours, 7]}}),
            401,
            "token_malformed",
        ),
        (json!({"claims": {"iss": null}}), 401, "issuer_mismatch"),
        (
            json!({"claims": {"iss": stage.tenant.url}}),
            401,
            "issuer_mismatch",
        ),
        (json!({"claims": {"iss": 7}}), 401, "token_malformed"),
        (
            json!({"claims": {"iss": ["https://evil.example/", format!("{}/", stage.tenant.url)]}}),
            401,
            "token_malformed",
        ),
        (json!({"claims": {"sub": null}}), 401, "token_malformed"),
        (json!({"claims": {"sub": ""}}), 401, "token_malformed"),
        (json!({"claims": {"sub": 7}}), 401, "token_malformed"),
        (json!({"claims": {"nonce": "n"}}), 401, "token_malformed"),
        (json!({"claims": {"at_hash": "h"}}), 401, "token_malformed"),
        (json!({"header": {"crit": ["exp"]}}), 401, "token_malformed"),
        (
            json!({"header": {"typ": "logout+jwt"}}),
            401,
            "token_malformed",
        ),
        (
            json!({"header": {"kid": "../../etc/passwd\u{0}"}}),
            401,
            "token_malformed",
        ),
        (
            json!({"header": {"kid": "' or true --"}}),
            401,
            "token_malformed",
        ),
        (json!({"header": {"alg": "none"}}), 401, "signature_invalid"),
        (
            json!({"header": {"alg": "HS256"}}),
            401,
            "signature_invalid",
        ),
        (
            json!({"header": {"alg": "RS512"}}),
            401,
            "signature_invalid",
        ),
        (json!({"bad_signature": true}), 401, "signature_invalid"),
        (json!({"key": "foreign"}), 401, "key_unknown"),
        (
            json!({"key": "foreign", "header": {"jku": "https://evil.example/jwks.json"}}),
            401,
            "key_unknown",
        ),
        (
            json!({"claims": {"sub": "client@clients"}}),
            403,
            "user_not_provisioned",
        ),
    ];
    for (changes, status, code) in table {
        let answer = stage.answers(changes.clone()).await;
        assert_eq!(answer, (status, code.to_owned()), "{changes}");
    }
}

#[tokio::test]
async fn keys_are_turned_over_again_and_again_without_one_refused_request() {
    let stage = Stage::set().await;
    let answered = AtomicUsize::new(0);
    let kept = stage.mint(json!({})).await;
    assert_eq!(stage.me(&kept).await.status, 200);
    let asking = async {
        loop {
            let answer = stage.me(&stage.mint(json!({})).await).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let turning = async {
        for _ in 0..3 {
            stage.tenant.control("keys/rotate", json!({})).await;
            let then = answered.load(Ordering::Relaxed) + 5;
            eventually("requests go on", async || {
                answered.load(Ordering::Relaxed) >= then
            })
            .await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = turning => {}
    }
}

#[tokio::test]
async fn what_a_revoked_key_signed_is_refused_once_the_keys_were_read_again() {
    let stage = Stage::set().await;
    let old = stage.mint(json!({})).await;
    assert_eq!(stage.me(&old).await.status, 200);
    stage.tenant.control("keys/rotate", json!({})).await;
    assert_eq!(stage.me(&old).await.status, 200, "still listed");
    stage.tenant.control("keys/revoke", json!({})).await;
    // A key that nobody knows makes the server read them.
    assert_eq!(
        stage.answers(json!({"key": "foreign"})).await.1,
        "key_unknown"
    );
    assert_eq!(stage.me(&old).await.refusal(), (401, "key_unknown"));
    assert_eq!(stage.answers(json!({})).await.0, 200);
}

#[tokio::test]
async fn a_token_older_than_the_configured_age_is_refused_however_far_its_exp_is() {
    let mut stage = Stage::set().await;
    let settings = Settings {
        max_token_age: Some(std::time::Duration::from_secs(3600)),
        ..settings(&stage.tenant)
    };
    stage.url = listen_with(settings, stage._database.pool()).await;
    let year = 365 * 86_400;
    let now = jiff::Timestamp::now().as_second();
    let table = [
        (now - 600, 200, ""),
        (now - 7200, 401, "token_expired"),
        (now + 600, 401, "token_not_yet_valid"),
    ];
    for (iat, status, code) in table {
        let changes = json!({"expires_in": year, "claims": {"iat": iat}});
        assert_eq!(
            stage.answers(changes).await,
            (status, code.to_owned()),
            "{}",
            iat - now
        );
    }
}

#[tokio::test]
async fn an_issuer_that_calls_itself_otherwise_is_told_at_the_start() {
    let logs = Logs::capture("roster=warn");
    let tenant = Tenant::start(Options::default()).await;
    let told = "the issuer calls itself otherwise";
    for (issuer, warns) in [
        (format!("{}/", tenant.url), false),
        (tenant.url.clone(), true),
    ] {
        let nowhere = roster::db::connect::Endpoint::parse("postgres://roster@127.0.0.1:1/nowhere");
        let settings = Settings {
            issuer,
            ..settings(&tenant)
        };
        let pool = nowhere.expect("an endpoint").pool(1);
        let authz = Authz::new(settings, pool, Metrics::default()).expect("the server");
        let stop = CancellationToken::new();
        let asked = || async {
            tenant
                .calls("GET", "/.well-known/openid-configuration")
                .await
        };
        let before = asked().await;
        let fresh = authz.keep_fresh(stop.clone());
        let seen = async {
            eventually("the document is read", async || match warns {
                true => logs.text().contains(told),
                false => asked().await > before,
            })
            .await;
            stop.cancel();
        };
        tokio::join!(fresh, seen);
        assert_eq!(logs.text().contains(told), warns, "{}", logs.text());
    }
    let spelled = format!("configured=\"{0}\" document=\"{0}/\"", tenant.url);
    assert!(logs.text().contains(&spelled), "{}", logs.text());
}

//! An application asks who the bearer of a token is. The answer is Postgres's, and it is of now.

mod authzen;
mod certificates;
mod check;
mod described;
mod differently;
mod explained;
mod faults;
mod forward;
mod matching;
mod memory;
mod modes;
mod socket;
mod tokens;
mod traps;
mod watched;

use std::{
    io,
    sync::{Arc, Mutex},
};

use reqwest::header::AUTHORIZATION;
use roster::db::connect::Endpoint;
use serde_json::{Value, json};
use tracing::{Dispatch, subscriber::NoSubscriber};
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::{
    authz::{Server, client, get, listen},
    issuer::Issuer,
};

#[tokio::test]
async fn a_user_is_told_with_role_and_permissions() {
    let server = Server::start().await.with_ada().await;
    let answer = server.me(&server.issuer.token("auth0|ada")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body["user"],
        json!({
            "key": "1", "email": "Ada@example.com", "name": "Ada", "role": "Artist",
            "permissions": ["art:read", "art:sell", "art:write"], "auth0_user_id": "auth0|ada",
        })
    );
    assert!(answer.body["revision"].as_str().unwrap().contains(':'));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["vary"], "Authorization");
}

#[tokio::test]
async fn without_a_good_token_nobody_is_let_in_and_is_told_why() {
    let server = Server::start().await;
    let answer = server.get("/v1/me", &[]).await;
    assert_eq!(answer.refusal(), (401, "token_missing"));
    assert_eq!(
        answer.headers["www-authenticate"],
        "Bearer realm=\"roster\""
    );

    let answer = server.me("not.a.token").await;
    assert_eq!(answer.refusal(), (401, "token_malformed"));
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");

    let stranger = Issuer::start().await.token("auth0|ada");
    assert_eq!(
        server.me(&stranger).await.refusal(),
        (401, "issuer_mismatch")
    );
}

#[tokio::test]
async fn a_request_with_two_tokens_or_one_in_the_address_is_refused() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    let bearer = format!("Bearer {token}");
    let twice = [(AUTHORIZATION.as_str(), bearer.as_str()); 2];
    assert_eq!(
        server.get("/v1/me", &twice).await.refusal(),
        (400, "invalid_request")
    );
    let path = format!("/v1/me?access_token={token}");
    assert_eq!(
        server.get(&path, &twice[..1]).await.refusal(),
        (400, "invalid_request")
    );
}

#[tokio::test]
async fn who_is_not_in_postgres_or_is_blocked_there_is_refused() {
    let server = Server::start().await.with_ada().await;
    for subject in ["auth0|stranger", "client@clients"] {
        let answer = server.me(&server.issuer.token(subject)).await;
        assert_eq!(answer.refusal(), (403, "user_not_provisioned"));
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
    server.run("update public.users set blocked = true").await;
    let answer = server.me(&server.issuer.token("auth0|ada")).await;
    assert_eq!(answer.refusal(), (403, "user_blocked"));
}

#[tokio::test]
async fn every_commit_is_in_the_next_answer() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    server
        .run("update public.users set role = 'Curator', name = null")
        .await;
    let user = server.me(&token).await.body["user"].clone();
    assert_eq!(user["role"], "Curator");
    assert_eq!(user["name"], Value::Null);
    assert_eq!(user["permissions"], json!(["art:sell"]));

    server.run("delete from public.user_permissions").await;
    let user = server.me(&token).await.body["user"].clone();
    assert_eq!(user["permissions"], json!([]));

    server.run("delete from public.users").await;
    assert_eq!(
        server.me(&token).await.refusal(),
        (403, "user_not_provisioned")
    );
}

#[tokio::test]
async fn an_unverified_address_never_matches() {
    let server = Server::start().await.with_ada().await;
    for address in ["ada@example.com", "nobody@example.com"] {
        let token = server.issuer.token_of("google-oauth2|1", address, false);
        assert_eq!(server.me(&token).await.refusal(), (403, "email_unverified"));
    }
    let enterprise = server.issuer.token_of("waad|1", "ada@example.com", true);
    assert_eq!(
        server.me(&enterprise).await.refusal(),
        (403, "user_not_provisioned")
    );
}

#[tokio::test]
async fn a_google_login_with_the_verified_address_is_the_user_and_is_followed() {
    let server = Server::start().await.with_ada().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "ADA@example.com", true);
    for _ in 0..2 {
        let user = server.me(&google).await.body["user"].clone();
        assert_eq!(user["key"], "1");
        assert_eq!(user["auth0_user_id"], "auth0|ada");
    }
    let followed = server
        .sql
        .query_one(
            "select a.user_key, a.origin, a.state,
                (select count(*) from roster.changes where op = 'follow' and user_keys = array['1'])
             from roster.accounts a where a.auth0_user_id = 'google-oauth2|1'",
            &[],
        )
        .await
        .expect("one account that was matched");
    assert_eq!(followed.get::<_, &str>(0), "1");
    assert_eq!(followed.get::<_, &str>(1), "further");
    assert_eq!(followed.get::<_, &str>(2), "linked");
    assert_eq!(followed.get::<_, i64>(3), 1);

    // From now on the account is the user's, whatever its tokens say of an address.
    let bare = server.issuer.token("google-oauth2|1");
    assert_eq!(server.me(&bare).await.status, 200);
}

#[tokio::test]
async fn a_match_is_remembered_only_when_it_is_settled_whose_the_key_is() {
    let server = Server::start().await.with_ada().await;
    let google = server
        .issuer
        .token_of("google-oauth2|1", "bob@example.com", true);
    server.run("delete from public.users").await;
    server
        .run("insert into public.users (id, email) values (1, 'bob@example.com')")
        .await;
    let followed = async || -> Option<i32> {
        let account =
            "select incarnation from roster.accounts where auth0_user_id = 'google-oauth2|1'";
        let row = server.sql.query_opt(account, &[]).await.expect(account);
        row.map(|row| row.get(0))
    };
    // The row is Bob's and so is the answer, but in the mirror the key is still Ada's.
    assert_eq!(server.me(&google).await.status, 200);
    assert_eq!(followed().await, None);
    server.fold().await;
    assert_eq!(server.me(&google).await.status, 200);
    assert_eq!(followed().await, Some(2));
}

#[tokio::test]
async fn a_person_who_came_back_under_another_key_is_known_by_the_verified_address() {
    let server = Server::start().await.with_ada().await;
    server
        .run("delete from public.users; insert into public.users (id, email) values (2, 'ada@example.com')")
        .await;
    server.fold().await;
    let token = server.issuer.token_of("auth0|ada", "ada@example.com", true);
    assert_eq!(server.me(&token).await.body["user"]["key"], "2");
    let without = server.issuer.token("auth0|ada");
    assert_eq!(
        server.me(&without).await.refusal(),
        (403, "user_not_provisioned")
    );
}

#[tokio::test]
async fn a_narrowed_view_is_in_the_next_answer() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    assert_eq!(server.me(&token).await.status, 200);
    server
        .run(
            "do $$ begin execute 'create or replace view roster.desired_users as select * from ('
                 || rtrim(pg_get_viewdef('roster.desired_users'::regclass), ';') || ') v where role = ''Curator''';
             end $$",
        )
        .await;
    assert_eq!(
        server.me(&token).await.refusal(),
        (403, "user_not_provisioned")
    );
}

#[tokio::test]
async fn an_account_of_another_living_user_is_not_matched_by_its_address() {
    let server = Server::start().await.with_ada().await;
    server
        .run("insert into public.users (id, email) values (2, 'bob@example.com')")
        .await;
    server.fold().await;
    // Ada's row has just got another address, so her account waits for the fold; it must not become Bob meanwhile.
    server
        .run("update public.users set email = 'ada@new.example' where id = 1")
        .await;
    let token = server.issuer.token_of("auth0|ada", "bob@example.com", true);
    assert_eq!(
        server.me(&token).await.refusal(),
        (403, "identity_conflict")
    );
}

#[tokio::test]
async fn a_changed_address_keeps_its_user_once_it_is_folded() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    server
        .run("update public.users set email = 'ada@new.example'")
        .await;
    // It could be another person's row by now; only folding tells.
    assert_eq!(
        server.me(&token).await.refusal(),
        (403, "user_not_provisioned")
    );
    server.fold().await;
    let answer = server.me(&token).await;
    assert_eq!(answer.body["user"]["email"], "ada@new.example");
}

#[tokio::test]
async fn a_key_that_came_back_as_another_person_does_not_let_the_old_account_in() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    server.run("delete from public.users").await;
    server
        .run("insert into public.users (id, email, role) values (1, 'bob@example.com', 'Curator')")
        .await;
    for _ in 0..2 {
        assert_eq!(
            server.me(&token).await.refusal(),
            (403, "user_not_provisioned")
        );
        server.fold().await;
    }
}

#[tokio::test]
async fn an_address_changed_behind_the_triggers_is_not_trusted_to_be_the_same_person() {
    let server = Server::start().await.with_ada().await;
    server
        .run("alter table public.users disable trigger all")
        .await;
    server
        .run("update public.users set email = 'bob@example.com'")
        .await;
    let answer = server.me(&server.issuer.token("auth0|ada")).await;
    assert_eq!(answer.refusal(), (403, "user_not_provisioned"));
}

#[tokio::test]
async fn an_answer_is_never_older_than_the_revision_asked_for() {
    let server = Server::start().await.with_ada().await;
    let bearer = format!("Bearer {}", server.issuer.token("auth0|ada"));
    let ask = async |revision: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-roster-at-least", revision),
        ];
        server.get("/v1/me", &headers).await
    };
    server
        .run("begin; update public.users set role = 'Curator'")
        .await;
    let row = server.sql.query_one("select roster.revision()", &[]).await;
    let revision: String = row.expect("the transaction's id").get(0);
    assert_eq!(
        ask(&revision).await.refusal(),
        (503, "revision_not_reached")
    );
    server.run("commit").await;
    let answer = ask(&revision).await;
    assert_eq!(answer.body["user"]["role"], "Curator");

    let seen = answer.body["revision"].as_str().unwrap();
    assert_eq!(ask(seen).await.status, 200);
    // PostgreSQL itself tells nothing of 4294967296, a number that no transaction ever has.
    for never in [
        "18446744073709551615",
        "4294967296",
        "9:4294967297:",
        "9:99999999999:",
        "9:5:",
        "soon",
    ] {
        assert_eq!(ask(never).await.refusal(), (400, "revision_unknown"));
    }
}

#[tokio::test]
async fn probes_tell_what_is_missing() {
    let server = Server::start().await.with_ada().await;
    assert_eq!(server.get("/livez", &[]).await.status, 200);
    let unready = server.get("/readyz", &[]).await;
    assert_eq!(unready.status, 503);
    assert_eq!(unready.body["checks"]["database"]["ok"], true);
    assert_eq!(unready.body["checks"]["keys"]["ok"], false);

    server.me(&server.issuer.token("auth0|ada")).await;
    server.me("x").await;
    assert_eq!(server.get("/readyz", &[]).await.status, 200);
    let metrics = server.get("/metrics", &[]).await.body;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "roster_authz_requests_total{endpoint=\"/v1/me\",code=\"ok\",status=\"200\"} 1",
        "roster_authz_requests_total{endpoint=\"/v1/me\",code=\"token_malformed\",status=\"401\"} 1",
        "roster_authz_key_fetches_total{outcome=\"ok\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn access_ends_at_once_for_whom_the_guard_keeps_in_auth0() {
    let server = Server::start().await.with_ada().await;
    let token = server.issuer.token("auth0|ada");
    assert_eq!(server.me(&token).await.status, 200);
    server
        .run("update roster.accounts set observed_at = now(); select roster.set_mode('enforce'); truncate users cascade; select roster.fold()")
        .await;
    let held = "select count(*) = 1 from roster.plan where state = 'held'";
    let row = server.sql.query_one(held, &[]).await.expect(held);
    assert!(row.get::<_, bool>(0), "Auth0 waits for a person");
    assert_eq!(server.me(&token).await.status, 403);
}

#[tokio::test]
async fn without_postgres_nobody_is_let_in() {
    let issuer = Issuer::start().await;
    let nowhere = Endpoint::parse("postgres://roster@127.0.0.1:1/nowhere").expect("an endpoint");
    let url = listen(&issuer, nowhere.pool(1)).await;
    let bearer = format!("Bearer {}", issuer.token("auth0|ada"));
    let answer = get(&format!("{url}/v1/me"), &[("authorization", &bearer)]).await;
    assert_eq!(answer.refusal(), (503, "database_unavailable"));
    let unready = get(&format!("{url}/readyz"), &[]).await;
    assert_eq!(unready.body["checks"]["database"]["ok"], false);
    assert_eq!(get(&format!("{url}/livez"), &[]).await.status, 200);
}

#[tokio::test]
async fn nothing_in_between_may_keep_an_answer() {
    let server = Server::start().await;
    for path in ["/v1/me", "/livez", "/readyz", "/metrics", "/nowhere"] {
        let answer = server.get(path, &[]).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(answer.headers["vary"], "Authorization", "{path}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_problems_too() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/v1/you", &[]).await.refusal(),
        (404, "not_found")
    );
    let post = client().post(format!("{}/v1/me", server.url));
    let answer = post.send().await.expect("an answer");
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
}

/// Everything that any layer logs while requests are answered, at the finest level.
#[tokio::test]
async fn logs_hold_no_token_and_no_address() {
    let server = Server::start().await.with_ada().await;
    let good = server
        .issuer
        .token_of("google-oauth2|1", "ada@example.com", true);
    let unverified = server
        .issuer
        .token_of("google-oauth2|2", "eve@example.com", false);
    // With one subscriber alone, the first thread to meet a log line, of whatever test, decides for all whether it is
    // wanted. With a second one they are asked themselves.
    let _second = Dispatch::new(NoSubscriber::new());
    let lines = Lines::default();
    let writer = lines.clone();
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();

    assert_eq!(server.me(&good).await.status, 200);
    assert_eq!(server.me(&unverified).await.status, 403);
    assert_eq!(server.me(&format!("{good}x")).await.status, 401);
    server
        .get(&format!("/v1/me?access_token={good}"), &[])
        .await;
    drop(logging);

    let lines = lines.text().to_lowercase();
    for logged in ["email_unverified", "executing statement"] {
        assert!(lines.contains(logged), "{logged} in {lines}");
    }
    let tokens = [&good, &unverified]
        .into_iter()
        .flat_map(|t| t.split('.').skip(1));
    for secret in tokens.chain(["ada@", "eve@", "google-oauth2|"]) {
        assert!(!lines.contains(&secret.to_lowercase()), "{secret}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! `roster explain --token` says which check fails, without a network and without a database.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    issuer::{AUDIENCE, Issuer},
    program::roster,
};

/// Runs it with these words, and this on stdin.
fn explain(issuer: &Issuer, words: &[&str], stdin: &str) -> (i32, String, String) {
    let settings = issuer.settings();
    let mut explaining = roster(&[
        ("ROSTER__AUTHZ__ISSUER", &settings.issuer),
        ("ROSTER__AUTHZ__AUDIENCE", AUDIENCE),
        // Nobody is there.
        ("ROSTER__AUTHZ__JWKS_URL", "http://127.0.0.1:1/jwks"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/nowhere"),
    ])
    .arg("explain")
    .args(words)
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the binary");
    let mut input = explaining.stdin.take().expect("a pipe");
    input.write_all(stdin.as_bytes()).expect("written");
    drop(input);
    let Output {
        status,
        stdout,
        stderr,
    } = explaining.wait_with_output().expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn checks(told: &str) -> Vec<(String, String)> {
    let told: Value = serde_json::from_str(told).expect(told);
    let checks = told["checks"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    checks
        .iter()
        .map(|step| (text(&step["check"]), text(&step["outcome"])))
        .collect()
}

#[tokio::test]
async fn a_good_token_is_accepted_with_the_issuers_keys_and_not_judged_without() {
    let issuer = Issuer::start().await;
    let token = issuer.token_of("auth0|ada", "ada@example.com", true);
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), issuer.keys().to_string()).expect("written");
    let jwks = keys.path().to_str().expect("a path");

    let (code, told, _) = explain(&issuer, &["--token", &token, "--jwks", jwks, "--json"], "");
    assert_eq!(code, 0, "{told}");
    assert!(
        checks(&told).iter().all(|(_, outcome)| outcome == "ok"),
        "{told}"
    );
    let (code, told, _) = explain(&issuer, &["--token", "-", "--json"], &format!("{token}\n"));
    assert_eq!(code, 0, "{told}");
    let signature = ("signature".to_owned(), "unknown".to_owned());
    assert!(checks(&told).contains(&signature), "{told}");
    let (code, told, _) = explain(&issuer, &["--token", &token, "--jwks", jwks], "");
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("Accepted."), "{told}");
}

#[tokio::test]
async fn a_check_that_fails_is_exit_code_1_and_neither_token_nor_address_is_shown() {
    let issuer = Issuer::start().await;
    let changes = json!({"aud": "client", "exp": 1, "email": "ada@example.com", "sub": "email|ada@example.com"});
    let token = issuer.token_with("auth0|ada", changes);
    for words in [&["--token", "-"][..], &["--token", "-", "--json"]] {
        let (code, told, log) = explain(&issuer, words, &token);
        assert_eq!(code, 1, "{told}");
        for code in ["audience_mismatch", "token_expired"] {
            assert!(told.contains(code), "{code} in {told}");
        }
        let shown = format!("{told}{log}").to_lowercase();
        let parts = token.split('.').map(str::to_lowercase);
        for secret in parts.chain(["ada@".to_owned(), "email|".to_owned()]) {
            assert!(!shown.contains(&secret), "{secret} in {shown}");
        }
    }
    let (code, told, _) = explain(&issuer, &["--token", "-"], "no token at all");
    assert_eq!(code, 1, "{told}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_exit_code_4() {
    let issuer = Issuer::start().await;
    let token = issuer.token("auth0|ada");
    let no_keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(no_keys.path(), "{\"keys\": []}").expect("written");
    let no_keys = no_keys.path().to_str().expect("a path");
    for (words, expected) in [
        (
            vec!["--token", &token, "--jwks", "/nowhere/keys.json"],
            "/nowhere/keys.json",
        ),
        (vec!["--token", &token, "--jwks", no_keys], "no set of keys"),
        (
            vec!["--token", &token, "ada@example.com"],
            "cannot be used with",
        ),
        (
            vec!["--jwks", no_keys, "ada@example.com"],
            "cannot be used with",
        ),
        (vec![], "required"),
    ] {
        let (code, _, told) = explain(&issuer, &words, "");
        assert_eq!(code, 4, "{words:?}: {told}");
        assert!(told.contains(expected), "{words:?}: {told}");
    }
    let unset = roster(&[])
        .args(["explain", "--token", &token])
        .output()
        .expect("the binary");
    assert_eq!(unset.status.code(), Some(4));
}

//! `/openapi.json` is what the server does: an outside validator reads it, and Schemathesis makes requests of it, good and bad ones,
//! and finds no answer that it does not promise.

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{
    Database,
    authz::{Server, answer, client},
    packages,
};

/// A server on which every endpoint has an answer, and a token of somebody who may ask all.
async fn server() -> (Server, String) {
    let server = Server::over(Database::migrated().await, |settings| {
        settings.public_url = Some("https://roster.example.com".to_owned());
    })
    .await
    .with_ada()
    .await;
    server
        .run("insert into public.user_permissions values (1, 'roster:evaluate')")
        .await;
    let token = server.issuer.token("auth0|ada");
    server.answers("auth0|ada").await;
    (server, token)
}

async fn document(server: &Server) -> Value {
    let answer = server.get("/openapi.json", &[]).await;
    assert_eq!(answer.status, 200);
    answer.body
}

/// Runs a program of Python's packages to its end, with this on its stdin.
async fn run(words: &[&str], variables: &[(&str, &str)], stdin: &str) {
    let python = packages::python(&packages::client("openapi/requirements.txt")).await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(python.expect("Python and its packages"));
    command
        .args(words)
        .envs(variables.iter().copied())
        .env("PYTHONPATH", packages::client("openapi"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        // It leaves what it has found where it stands.
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ends = async {
        let mut process = command.spawn().expect("Python runs");
        let mut input = process.stdin.take().expect("a pipe");
        input.write_all(stdin.as_bytes()).await.expect("it reads");
        drop(input);
        process.wait_with_output().await.expect("its output")
    };
    let output = tokio::time::timeout(Duration::from_secs(600), ends).await;
    let output = output.expect("it ends");
    let told = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&told)
    );
}

fn script(name: &str) -> String {
    let path = packages::client("openapi").join(name);
    path.display().to_string()
}

#[tokio::test]
async fn an_outside_validator_reads_the_document_and_refuses_a_broken_one() {
    let (server, _) = server().await;
    let mut document = document(&server).await;
    run(&[&script("validate.py")], &[], &document.to_string()).await;
    document["paths"]["/v1/me"]["get"]["responses"] = Value::Null;
    let broken = document.to_string();
    let read = tokio::spawn(async move { run(&[&script("validate.py")], &[], &broken).await });
    assert!(read.await.is_err(), "it reads whatever it is given");
}

/// Twenty requests an operation, beside those that hit every edge of each schema; the requests are the same each time.
async fn schemathesis(server: &Server, token: Option<&str>) {
    let (revision, config) = (server.revision().await, script("schemathesis.toml"));
    let (document, url) = (format!("{}/openapi.json", server.url), server.url.as_str());
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut words = vec!["-m", "schemathesis.cli", "--config-file", &config, "run"];
    words.extend([document.as_str(), "--url", url]);
    words.extend([
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "20",
    ]);
    words.extend(["--no-color", "--warnings", "off"]);
    if let Some(bearer) = &bearer {
        words.extend(["--header", bearer]);
    }
    let variables = [
        ("SCHEMATHESIS_HOOKS", "hooks"),
        ("ROSTER_REVISION", revision.as_str()),
    ];
    run(&words, &variables, "").await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_with_a_token() {
    let (server, token) = server().await;
    schemathesis(&server, Some(&token)).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_without_a_token() {
    let (server, _) = server().await;
    schemathesis(&server, None).await;
}

#[tokio::test]
async fn what_the_document_lists_is_there_and_what_the_readme_names_is_listed() {
    let (server, _) = server().await;
    let document = document(&server).await;
    let paths = document["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let url = format!("{}{}", server.url, path.replace("{path}", "x"));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let status = answer(client().request(method.clone(), url)).await.status;
            // Where no tenant has a path, there is nothing.
            let is_there = status != 405 && (status != 404 || path.contains("well-known"));
            assert!(is_there, "{method} {path}: {status}");
        }
    }
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.expect("the README");
    let named = readme.split(|sign: char| sign.is_whitespace() || "`\"?,\\".contains(sign));
    let beginnings = ["/v1/", "/auth/", "/access/v1/", "/.well-known/authzen"];
    let named: BTreeSet<&str> = named
        .filter(|word| {
            beginnings
                .iter()
                .any(|beginning| word.starts_with(beginning))
        })
        .map(|word| word.trim_end_matches("/…"))
        .collect();
    assert!(named.len() > 8, "{named:?}");
    for path in named {
        assert!(paths.contains_key(path), "{path}");
    }
}

//! The emulator against answers recorded from Auth0 itself, where the recordings are at hand.
//!
//! They are not part of this repository: `ROSTER_SHARED` names the folder, `../shared` is tried without it.

use std::path::PathBuf;

use reqwest::StatusCode;
use roster::emulator::Options;
use serde_json::{Map, Value, json};

use super::{PASSWORD, Tenant};

/// Values that differ from one tenant and moment to another.
const OF_THE_MOMENT: &[&str] = &["created_at", "updated_at", "last_password_reset"];

#[tokio::test]
async fn users_are_created_read_patched_and_deleted_as_recorded() {
    for recording in [
        "users-crud",
        "users-crud-with-ratelimit-headers",
        "users-metadata-merge-null-clear",
        "users-change-username",
        "users-search-and-by-email",
    ] {
        replay(recording).await;
    }
}

async fn replay(recording: &str) {
    let Some(exchanges) = exchanges(recording) else {
        println!("skipped: the recording {recording} is not at hand");
        return;
    };
    let options = Options {
        requires_username: true,
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    // Ids that the recorded tenant made, and those made here instead.
    let mut ids: Vec<(String, String)> = Vec::new();
    for exchange in exchanges {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let mut path = request["path"].as_str().unwrap().to_owned();
        for (theirs, ours) in &ids {
            path = path.replace(theirs, ours);
        }
        let method = request["method"].as_str().unwrap();
        let body = request.get("body").cloned().map(with_a_password);
        let answered = tenant.call(method, &path, body).await;

        let case = format!("{recording}: {method} {path}");
        assert_eq!(answered.status().as_u16(), recorded["status"], "{case}");
        if answered.status() == StatusCode::NO_CONTENT {
            continue;
        }
        let answered: Value = answered.json().await.unwrap();
        if answered.get("statusCode").is_none() && method == "POST" {
            ids.push((bare_id(&recorded["body"]), bare_id(&answered)));
        }
        let mut expected = recorded["body"].to_string();
        for (theirs, ours) in &ids {
            expected = expected.replace(theirs, ours);
        }
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(comparable(answered), comparable(expected), "{case}");
    }
}

fn exchanges(recording: &str) -> Option<Vec<Value>> {
    let shared = std::env::var_os("ROSTER_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let file = shared
        .join("auth0/recordings")
        .join(format!("{recording}.json"));
    let text = std::fs::read_to_string(file).ok()?;
    let mut recording: Value = serde_json::from_str(&text).unwrap();
    match recording["exchanges"].take() {
        Value::Array(exchanges) => Some(exchanges),
        _ => None,
    }
}

/// Recorded passwords were taken out.
fn with_a_password(mut body: Value) -> Value {
    if body.get("password").is_some() {
        body["password"] = PASSWORD.into();
    }
    body
}

fn bare_id(user: &Value) -> String {
    user["identities"][0]["user_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Without what differs from moment to moment; a Gravatar is only known to be one.
fn comparable(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(key, _)| !OF_THE_MOMENT.contains(&key.as_str()))
            .map(|(key, value)| match value.as_str() {
                Some(url) if url.starts_with("https://s.gravatar.com/") => (key, json!("gravatar")),
                _ => (key, comparable(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(comparable).collect(),
        other => other,
    }
}

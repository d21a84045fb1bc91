//! Real answers of Auth0 can be read. The recordings are not part of this project; without them there is nothing to try.

use std::{fs, path::Path};

use super::*;

/// Method, path, status and body of every recorded exchange.
fn exchanges() -> Vec<(String, String, u16, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/auth0/recordings");
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap())
        .flat_map(|recording| {
            recording["exchanges"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .map(|exchange| {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let status = response["status"].as_u64().unwrap_or_default() as u16;
            (
                text(&request["method"]),
                text(&request["path"]),
                status,
                response["body"].clone(),
            )
        })
        .collect()
}

#[test]
fn recorded_users_and_complaints_are_read() {
    let exchanges = exchanges();
    if exchanges.is_empty() {
        println!("skipped: no recordings here");
        return;
    }
    let (mut users, mut complaints) = (0, 0);
    for (method, path, status, body) in exchanges {
        let path = path.split('?').next().unwrap_or_default();
        let segments = path
            .strip_prefix("/api/v2/users")
            .map(|rest| rest.matches('/').count());
        if (200..300).contains(&status)
            && body["user_id"].is_string()
            && segments.is_some_and(|n| n < 2)
        {
            let user =
                User::from(serde_json::from_value::<wire::UserAnswer>(body.clone()).unwrap());
            assert_eq!(body["user_id"], user.id.as_str(), "{method} {path}");
            assert_eq!(body["email"].as_str(), user.email.as_deref());
            assert_eq!(body["blocked"].as_bool().unwrap_or(false), user.blocked);
            assert_eq!(user.created_at.is_some(), body["created_at"].is_string());
            users += 1;
        } else if status >= 400 && path.starts_with("/api/v2/") && body.is_object() {
            let complaint = wire::Complaint::management(body.to_string().as_bytes());
            assert_eq!(
                complaint.code.as_deref(),
                body["errorCode"].as_str(),
                "{method} {path}"
            );
            assert!(complaint.words.is_some(), "{method} {path}");
            complaints += 1;
        }
    }
    assert!(
        users > 20 && complaints > 5,
        "{users} users, {complaints} complaints"
    );
}

//! Export jobs: what is in the file, how it is written, and the links to it.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use reqwest::{Response, StatusCode};
use roster::emulator::{Answers, ExportFile, JobOptions, Options, Plan};
use serde_json::{Value, json};

use super::{Tenant, json_of};

impl Tenant {
    async fn ask_export(&self, body: Value) -> Response {
        self.call("POST", "/api/v2/jobs/users-exports", Some(body))
            .await
    }

    /// Exports and returns the job when it is completed.
    async fn export(&self, body: Value) -> Value {
        let response = self.ask_export(body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let job = json_of(response).await;
        assert_eq!(job["status"], "pending");
        self.completed(&job).await
    }

    async fn completed(&self, job: &Value) -> Value {
        let completed = async {
            loop {
                let job = self.job(job).await;
                if job["status"] != "pending" {
                    assert_eq!(job["status"], "completed");
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(60);
        let completed = tokio::time::timeout(patience, completed).await;
        completed.expect("a job that ends")
    }

    async fn download(&self, job: &Value) -> Response {
        let link = job["location"].as_str().unwrap();
        self.http.get(link).send().await.unwrap()
    }

    /// The lines of the file of an export.
    async fn exported(&self, body: Value) -> Vec<String> {
        let job = self.export(body).await;
        let file = self.download(&job).await.bytes().await.unwrap();
        unzipped(&file).unwrap()
    }
}

fn unzipped(file: &[u8]) -> std::io::Result<Vec<String>> {
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text)?;
    Ok(text.lines().map(str::to_owned).collect())
}

async fn tenant_with_file(export_file: ExportFile) -> Tenant {
    let jobs = JobOptions {
        export_file,
        ..JobOptions::default()
    };
    Tenant::with(Options {
        jobs,
        ..Options::default()
    })
    .await
}

async fn put(tenant: &Tenant, users: Value) {
    let response = tenant.control("users", users).await;
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_json_export_has_one_user_a_line_with_the_fields_asked_for_under_their_titles() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"app_metadata": {"role": "Artist"}, "blocked": true}))
        .await;
    let lines = tenant
        .exported(json!({"format": "json", "fields": [
            {"name": "user_id"}, {"name": "blocked"}, {"name": "app_metadata"}, {"name": "last_login"},
            {"name": "app_metadata.role", "export_as": "role"}, {"name": "identities[0].connection", "export_as": "c"},
        ]}))
        .await;
    let expected = json!({
        "user_id": "auth0|ann", "blocked": true, "app_metadata": {"role": "Artist"}, "role": "Artist",
        "c": "Username-Password-Authentication",
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap(), expected);
}

#[tokio::test]
async fn csv_is_the_default_and_guards_strings_with_an_apostrophe() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"name": "=\"Ann\", x"})).await;
    let fields = json!([
        {"name": "name", "export_as": "Name"}, {"name": "email_verified"}, {"name": "given_name"},
        {"name": "created_at"}, {"name": "user_id"},
    ]);
    let job = tenant.export(json!({"fields": fields})).await;
    assert_eq!(job["format"], "csv");
    let file = tenant.download(&job).await.bytes().await.unwrap();
    let created_at = tenant.read_ann().await["created_at"].clone();
    let expected = [
        "Name,email_verified,given_name,created_at,user_id".to_owned(),
        format!(
            "\"'=\"\"Ann\"\", x\",false,,{},\"'auth0|ann\"",
            created_at.as_str().unwrap()
        ),
    ];
    assert_eq!(unzipped(&file).unwrap(), expected);
}

#[tokio::test]
async fn an_export_has_all_connections_or_one_and_no_more_than_the_limit() {
    let tenant = Tenant::start().await;
    put(
        &tenant,
        json!([
            {"user_id": "auth0|a", "email": "a@a.test"}, {"user_id": "google-oauth2|1", "email": "b@a.test"},
            {"user_id": "auth0|c", "email": "c@a.test"},
        ]),
    )
    .await;
    let one = Options::default().connection_id();
    for (more, users) in [
        (json!({}), 3),
        (json!({"connection_id": one}), 2),
        (json!({"connection_id": one, "limit": 1}), 1),
    ] {
        let mut body = json!({"format": "json", "fields": [{"name": "user_id"}]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        assert_eq!(tenant.exported(body).await.len(), users, "{more}");
    }
}

#[tokio::test]
async fn an_export_repeats_what_was_asked_for() {
    let tenant = Tenant::start().await;
    let connection_id = Options::default().connection_id();
    let asked = json!({
        "connection_id": connection_id, "format": "json", "limit": 5, "fields": [{"name": "identities[0].connection"}],
    });
    let job = json_of(tenant.ask_export(asked.clone()).await).await;
    assert_eq!(job["type"], "users_export");
    assert_eq!(job["connection"], "Username-Password-Authentication");
    for (key, value) in asked.as_object().unwrap() {
        assert_eq!(&job[key], value);
    }
    assert_eq!(job["location"], Value::Null);
}

#[tokio::test]
async fn a_link_is_good_for_a_minute_and_each_look_at_the_job_gives_a_new_one() {
    let tenant = Tenant::start().await;
    let first = tenant.export(json!({"format": "json"})).await;
    tenant
        .control("clock", json!({"advance_seconds": 30}))
        .await;
    assert_eq!(tenant.download(&first).await.status(), StatusCode::OK);
    tenant
        .control("clock", json!({"advance_seconds": 30}))
        .await;
    assert_eq!(
        tenant.download(&first).await.status(),
        StatusCode::FORBIDDEN
    );
    let again = tenant.job(&first).await;
    assert_ne!(again["location"], first["location"]);
    assert_eq!(tenant.download(&again).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_link_that_was_changed_opens_nothing() {
    let tenant = Tenant::start().await;
    let job = tenant.export(json!({"format": "json"})).await;
    let link = job["location"].as_str().unwrap();
    let later = link.replacen("Expires=", "Expires=9", 1);
    let unsigned = link.split("&Signature").next().unwrap();
    for link in [&*later, unsigned] {
        let answer = tenant.http.get(link).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.text().await.unwrap().contains("AccessDenied"));
    }
}

#[tokio::test]
async fn a_file_may_be_cut_in_the_middle() {
    let tenant = tenant_with_file(ExportFile::Truncated).await;
    tenant.ann(json!({})).await;
    let job = tenant.export(json!({"format": "json"})).await;
    let file = tenant.download(&job).await.bytes().await.unwrap();
    assert!(unzipped(&file).is_err());
}

#[tokio::test]
async fn a_file_may_be_good_and_have_nobody_in_it() {
    let tenant = tenant_with_file(ExportFile::Empty).await;
    tenant.ann(json!({})).await;
    let json = tenant.exported(json!({"format": "json"})).await;
    assert!(json.is_empty());
    let csv = tenant
        .exported(json!({"fields": [{"name": "email"}]}))
        .await;
    assert_eq!(csv, ["email"]);
}

#[tokio::test]
async fn csv_takes_thirty_columns_and_no_metadata_as_a_whole() {
    let tenant = Tenant::start().await;
    let columns = |n: usize| json!(vec![json!({"name": "email"}); n]);
    for (fields, format, status) in [
        (columns(30), "csv", StatusCode::OK),
        (columns(31), "csv", StatusCode::BAD_REQUEST),
        (columns(31), "json", StatusCode::OK),
        (
            json!([{"name": "app_metadata"}]),
            "csv",
            StatusCode::BAD_REQUEST,
        ),
        (json!([{"name": "app_metadata"}]), "json", StatusCode::OK),
        (
            json!([{"name": "app_metadata.role"}]),
            "csv",
            StatusCode::OK,
        ),
        (json!([{"title": "email"}]), "json", StatusCode::BAD_REQUEST),
    ] {
        let response = tenant
            .ask_export(json!({"format": format, "fields": fields}))
            .await;
        assert_eq!(response.status(), status, "{format}: {fields}");
    }
}

#[tokio::test]
async fn an_export_of_a_connection_that_is_not_there_is_refused() {
    let tenant = Tenant::start().await;
    let response = tenant
        .ask_export(json!({"connection_id": "con_0000000000000000"}))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = json_of(response).await;
    assert_eq!(body["message"], "The connection does not exist.");
}

#[tokio::test]
async fn the_free_plan_exports_nothing() {
    let options = Options {
        plan: Plan::Free,
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    let response = tenant.ask_export(json!({})).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn all_jobs_share_one_bucket_of_ten_on_self_service_plans() {
    let options = Options {
        plan: Plan::Essentials,
        ..Options::default()
    };
    let tenant = Tenant::with(options).await;
    let first = tenant.ask_export(json!({})).await;
    assert_eq!(first.headers()["x-ratelimit-limit"], "10");
    assert_eq!(first.headers()["x-ratelimit-remaining"], "9");
}

#[tokio::test]
async fn an_export_of_ten_thousand_users_has_every_one_of_them() {
    let tenant = Tenant::start().await;
    let users: Vec<Value> = (0..10_000)
        .map(|n| json!({"user_id": format!("auth0|{n}"), "email": format!("{n}@a.test")}))
        .collect();
    put(&tenant, users.into()).await;
    let lines = tenant
        .exported(json!({"format": "json", "fields": [{"name": "email"}]}))
        .await;
    assert_eq!(lines.len(), 10_000);
    assert_eq!(lines[9_999], r#"{"email":"9999@a.test"}"#);
}

#[tokio::test]
async fn an_export_is_as_late_as_the_option_says_and_search_is_not() {
    let answers = Answers {
        export_lag_ms: 60_000,
        ..Answers::default()
    };
    let tenant = Tenant::with(Options {
        answers,
        ..Options::default()
    })
    .await;
    let asked = || json!({"format": "json", "fields": [{"name": "email"}, {"name": "name"}]});
    tenant.ann(json!({"name": "Ann"})).await;
    assert!(tenant.exported(asked()).await.is_empty());
    tenant
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    tenant.patch_ann(json!({"name": "Anna"})).await;
    let ann = r#"{"email":"ann@a.test","name":"Ann"}"#;
    assert_eq!(tenant.exported(asked()).await, [ann]);
    let found = json_of(tenant.get("/api/v2/users?q=name:Anna").await).await;
    assert_eq!(found[0]["user_id"], "auth0|ann");
    tenant
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    let anna = r#"{"email":"ann@a.test","name":"Anna"}"#;
    assert_eq!(tenant.exported(asked()).await, [anna]);
}

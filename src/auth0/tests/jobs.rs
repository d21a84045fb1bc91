//! Jobs: how an export is asked for, shown and fetched.

use super::*;

fn shown(more: Value) -> Answer {
    let mut job = json!({"id": "job_1", "type": "users_export", "status": "pending"});
    job.as_object_mut().unwrap().extend(object(more));
    answer(200, job)
}

#[tokio::test]
async fn an_export_asks_for_json_and_for_what_is_compared() {
    let tenant = Tenant::answering([shown(json!({}))]).await;
    let job = tenant.client().begin_export().await.unwrap();
    assert_eq!(job.id, "job_1");
    assert!(matches!(job.state, JobState::UnderWay));
    let asked = tenant.only_call();
    assert_eq!(asked.path, "/api/v2/jobs/users-exports");
    let body = asked.json();
    assert_eq!(body["format"], "json");
    let names = body["fields"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|field| field["name"].as_str().unwrap()).collect();
    for name in ["user_id", "email", "blocked", "name", "app_metadata"] {
        assert!(names.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_job_in_an_unknown_state_is_not_done_and_no_link_is_shown() {
    let link = "https://files.example/x?Signature=y";
    let tenant = Tenant::answering([
        shown(json!({"status": "processing", "percentage_done": 40})),
        shown(json!({"status": "completed", "location": link})),
        shown(json!({"status": "failed", "status_details": "because"})),
    ])
    .await;
    let client = tenant.client();
    let job = client.job("job_1").await.unwrap();
    assert!(matches!(job.state, JobState::UnderWay));
    assert_eq!(job.percent, Some(40));
    let job = client.job("job_1").await.unwrap();
    assert!(matches!(job.state, JobState::Completed(Some(_))));
    assert!(!format!("{job:?}").contains("files.example"));
    let job = client.job("job_1").await.unwrap();
    assert!(matches!(job.state, JobState::Failed));
    assert_eq!(job.detail.as_str(), Some("because"));
    assert_eq!(tenant.seen("/api/v2/jobs/job_1").len(), 3);
}

#[tokio::test]
async fn a_link_is_followed_over_https_or_on_this_machine_alone() {
    for (location, may) in [
        ("https://files.example/x?Signature=y", true),
        ("http://127.0.0.1:4000/x", true),
        ("http://files.example/x", false),
        ("ftp://files.example/x", false),
        ("no link", false),
    ] {
        let done = shown(json!({"status": "completed", "location": location}));
        let tenant = Tenant::answering([done]).await;
        let job = tenant.client().job("job_1").await.unwrap();
        let JobState::Completed(link) = job.state else {
            panic!("{job:?}")
        };
        assert_eq!(link.is_some(), may, "{location}");
    }
}

#[tokio::test]
async fn the_file_is_asked_for_without_our_token() {
    let files = Tenant::scripted(|_| answer(403, json!({}))).await;
    let location = files.base_url.join("/file").unwrap();
    let done = shown(json!({"status": "completed", "location": location.as_str()}));
    let tenant = Tenant::answering([done]).await;
    let client = tenant.client();
    let job = client.job("job_1").await.unwrap();
    let JobState::Completed(Some(link)) = job.state else {
        panic!("{job:?}")
    };
    let refused = client.exported(&link).await.err().unwrap();
    assert!(matches!(refused, ExportError::Refused { status: 403 }));
    let asked = files.only_call();
    assert_eq!(asked.path, "/file");
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn an_id_that_would_name_another_path_is_no_job() {
    let tenant = Tenant::answering([]).await;
    for id in ["", "..", "a/b", "a?b"] {
        let refused = tenant.client().job(id).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_uri", "{id}");
    }
    assert_eq!(tenant.seen.lock().unwrap().len(), 0);
}

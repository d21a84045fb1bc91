//! Import jobs: the form, the limits, who is added, changed or refused.

use reqwest::{Response, StatusCode};
use roster::emulator::{Answers, JobOptions, Options};
use serde_json::{Value, json};

use super::{Tenant, error, json_of};

/// What a form is sent with unless a test says otherwise.
const QUIET: (&str, &str) = ("send_completion_email", "false");

impl Tenant {
    /// Sends the form with `users` as its file; a part of `more` replaces the one of the same name.
    async fn send_import(&self, more: &[(&str, &str)], users: &str) -> Response {
        let connection_id = Options::default().connection_id();
        let mut parts = vec![("users", users), ("connection_id", &*connection_id), QUIET];
        parts.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        parts.extend_from_slice(more);
        let body: String = parts
            .iter()
            .map(|(name, value)| {
                format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            })
            .collect();
        self.http
            .post(format!("{}/api/v2/jobs/users-imports", self.base))
            .bearer_auth(&self.token)
            .header("content-type", "multipart/form-data; boundary=X")
            .body(format!("{body}--X--\r\n"))
            .send()
            .await
            .unwrap()
    }

    /// Imports and returns the job as it is in the end.
    async fn import(&self, more: &[(&str, &str)], users: Value) -> Value {
        let response = self.send_import(more, &users.to_string()).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let job = json_of(response).await;
        assert_eq!(job["status"], "pending");
        self.job(&job).await
    }

    pub(super) async fn job(&self, job: &Value) -> Value {
        let id = job["id"].as_str().unwrap();
        json_of(self.get(&format!("/api/v2/jobs/{id}")).await).await
    }

    async fn errors(&self, job: &Value) -> Value {
        let id = job["id"].as_str().unwrap();
        let response = self.get(&format!("/api/v2/jobs/{id}/errors")).await;
        assert_eq!(response.status(), StatusCode::OK);
        json_of(response).await
    }

    /// The code of the only error of the only record that failed.
    async fn only_error(&self, job: &Value) -> String {
        let errors = self.errors(job).await;
        assert_eq!(errors.as_array().unwrap().len(), 1, "{errors}");
        let reasons = errors[0]["errors"].as_array().unwrap();
        assert_eq!(reasons.len(), 1, "{errors}");
        reasons[0]["code"].as_str().unwrap().to_owned()
    }

    async fn by_email(&self, email: &str) -> Value {
        let users = json_of(
            self.get(&format!("/api/v2/users-by-email?email={email}"))
                .await,
        )
        .await;
        users[0].clone()
    }
}

fn summary(failed: u32, updated: u32, inserted: u32) -> Value {
    json!({"failed": failed, "updated": updated, "inserted": inserted, "total": failed + updated + inserted})
}

async fn slow(duration_ms: u64) -> Tenant {
    let jobs = JobOptions {
        duration_ms,
        ..JobOptions::default()
    };
    Tenant::with(Options {
        jobs,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn an_import_adds_users_without_passwords_and_says_how_many() {
    let tenant = Tenant::start().await;
    let records = json!([
        {"email": "Bea@a.test", "user_id": "bea", "blocked": true, "app_metadata": {"role": "Artist"}},
        {"email": "cy@a.test", "email_verified": true},
    ]);
    let job = tenant.import(&[("external_id", "first")], records).await;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["type"], "users_import");
    assert_eq!(job["external_id"], "first");
    assert_eq!(job["summary"], summary(0, 0, 2));
    let bea = tenant.by_email("bea@a.test").await;
    assert_eq!(bea["user_id"], "auth0|bea");
    assert_eq!(bea["blocked"], true);
    assert_eq!(bea["email_verified"], false);
    assert_eq!(bea["app_metadata"], json!({"role": "Artist"}));
    assert_eq!(tenant.by_email("cy@a.test").await["email_verified"], true);
}

#[tokio::test]
async fn without_upsert_a_user_who_is_there_fails_and_the_record_is_repeated() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let record = json!({"email": "ann@a.test", "name": "Other"});
    let job = tenant.import(&[], json!([record])).await;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["summary"], summary(1, 0, 0));
    let expected = json!([{"user": record, "errors": [
        {"code": "DUPLICATED_USER", "message": "The user already exist and upsert parameter is false"},
    ]}]);
    assert_eq!(tenant.errors(&job).await, expected);
    assert_eq!(tenant.read_ann().await["name"], "ann@a.test");
}

#[tokio::test]
async fn an_upsert_overwrites_metadata_whole_and_neither_blocks_nor_renames() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"email_verified": true, "app_metadata": {"role": "Artist", "theirs": 1}}))
        .await;
    let record = json!({
        "email": "ANN@a.test", "user_id": "another", "name": "Ann", "blocked": true, "app_metadata": {"role": "Admin"},
    });
    let job = tenant.import(&[("upsert", "true")], json!([record])).await;
    assert_eq!(job["summary"], summary(0, 1, 0));
    let ann = tenant.read_ann().await;
    assert_eq!(ann["name"], "Ann");
    assert_eq!(ann["app_metadata"], json!({"role": "Admin"}));
    assert_eq!(ann["blocked"], Value::Null);
    assert_eq!(ann["email_verified"], true);
}

#[tokio::test]
async fn an_upsert_that_does_not_say_verified_unverifies_if_the_option_says_so() {
    let answers = Answers {
        import_unverifies: true,
        ..Answers::default()
    };
    let tenant = Tenant::with(Options {
        answers,
        ..Options::default()
    })
    .await;
    for (said, verified) in [(json!(null), false), (json!(true), true)] {
        let mut record = json!({"email": "ann@a.test", "email_verified": said});
        if said.is_null() {
            record.as_object_mut().unwrap().remove("email_verified");
        }
        tenant
            .control(
                "users",
                json!({"user_id": "auth0|ann", "email": "ann@a.test", "email_verified": true}),
            )
            .await;
        tenant.import(&[("upsert", "true")], json!([record])).await;
        assert_eq!(tenant.read_ann().await["email_verified"], verified);
    }
}

#[tokio::test]
async fn an_upsert_matches_the_email_only_so_another_users_id_is_a_conflict() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let record = json!([{"email": "new@a.test", "user_id": "ann"}]);
    let job = tenant.import(&[("upsert", "true")], record.clone()).await;
    assert_eq!(tenant.only_error(&job).await, "CONFLICT");
    let job = tenant.import(&[], record).await;
    assert_eq!(tenant.only_error(&job).await, "DUPLICATED_USER");
    assert_eq!(tenant.read_ann().await["email"], "ann@a.test");
}

#[tokio::test]
async fn the_same_user_twice_in_a_file_is_an_error_even_with_upsert() {
    let tenant = Tenant::start().await;
    let records =
        json!([{"email": "bea@a.test", "name": "One"}, {"email": "Bea@a.test", "name": "Two"}]);
    let job = tenant.import(&[("upsert", "true")], records).await;
    assert_eq!(job["summary"], summary(1, 0, 1));
    assert_eq!(tenant.only_error(&job).await, "DUPLICATED_USER");
    assert_eq!(tenant.by_email("bea@a.test").await["name"], "One");
}

#[tokio::test]
async fn a_record_fails_alone_with_the_code_of_what_is_wrong() {
    let tenant = Tenant::start().await;
    for (record, code) in [
        (json!({"name": "Nobody"}), "OBJECT_REQUIRED"),
        (json!({"email": "nobody"}), "FORMAT"),
        (
            json!({"email": "a@a.test", "blocked": "yes"}),
            "INVALID_TYPE",
        ),
        (
            json!({"email": "a@a.test", "name": "x".repeat(301)}),
            "MAX_LENGTH",
        ),
        (json!({"email": "a@a.test", "nickname": ""}), "MIN_LENGTH"),
        (
            json!({"email": "a@a.test", "phone_number": "12"}),
            "PATTERN",
        ),
        (
            json!({"email": "a@a.test", "app_metadata": {"email": 1}}),
            "NOT_PASSED",
        ),
        (
            json!({"email": "a@a.test", "connection": "c"}),
            "OBJECT_ADDITIONAL_PROPERTIES",
        ),
        (
            json!({"email": "a@a.test", "mfa_factors": []}),
            "ARRAY_LENGTH_SHORT",
        ),
        (
            json!({"email": "a@a.test", "custom_password_hash": {"algorithm": "rot13", "hash": {}}}),
            "ENUM_MISMATCH",
        ),
    ] {
        let job = tenant
            .import(&[], json!([record, {"email": "good@a.test"}]))
            .await;
        assert_eq!(job["summary"], summary(1, 0, 1), "{record}");
        assert_eq!(tenant.only_error(&job).await, code, "{record}");
        tenant.control("reset", json!({})).await;
    }
}

#[tokio::test]
async fn a_hash_is_taken_and_not_repeated_in_errors() {
    let tenant = Tenant::start().await;
    let record = |email: &str| {
        json!({
            "email": email,
            "custom_password_hash": {"algorithm": "md5", "hash": {"value": "c2VjcmV0", "encoding": "base64"}},
        })
    };
    let job = tenant.import(&[], json!([record("bea@a.test")])).await;
    assert_eq!(job["summary"], summary(0, 0, 1));
    let job = tenant.import(&[], json!([record("bea@a.test")])).await;
    let shown = tenant.errors(&job).await;
    assert_eq!(
        shown[0]["user"]["custom_password_hash"]["hash"]["value"],
        "*****"
    );
}

#[tokio::test]
async fn a_job_without_errors_has_none_to_show() {
    let tenant = Tenant::start().await;
    let job = tenant.import(&[], json!([{"email": "bea@a.test"}])).await;
    let id = job["id"].as_str().unwrap();
    let response = tenant.get(&format!("/api/v2/jobs/{id}/errors")).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_file_that_is_no_array_fails_the_whole_job_with_a_reason() {
    let tenant = Tenant::start().await;
    for file in ["{\"email\": \"a@a.test\"}", "nonsense"] {
        let job = json_of(tenant.send_import(&[], file).await).await;
        let job = tenant.job(&job).await;
        assert_eq!(job["status"], "failed");
        assert_eq!(job["summary"], Value::Null);
        let errors = tenant.errors(&job).await;
        assert_eq!(errors["id"], job["id"], "one object about the job");
        assert!(errors["status_details"].as_str().unwrap().contains("parse"));
    }
}

#[tokio::test]
async fn a_form_is_refused_for_what_it_lacks() {
    let tenant = Tenant::start().await;
    for (part, message) in [
        (("users", ""), "Users file must not be empty."),
        (
            ("connection_id", "con_short"),
            "Payload validation error: 'String does not match pattern ^con_[A-Za-z0-9]{16}$' on property connection_id.",
        ),
        (
            ("connection_id", "con_0000000000000000"),
            "The connection does not exist.",
        ),
        (
            ("upsert", "perhaps"),
            "Payload validation error: 'Expected type boolean but found type string' on property upsert.",
        ),
    ] {
        let response = tenant.send_import(&[part], "[]").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(json_of(response).await["message"], message);
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused_as_such() {
    let tenant = Tenant::start().await;
    let response = tenant
        .call("POST", "/api/v2/jobs/users-imports", Some(json!([])))
        .await;
    let expected = error(
        400,
        "Bad Request",
        "Payload validation error: 'Invalid multipart payload format'.",
        "invalid_body",
    );
    assert_eq!(json_of(response).await, expected);
}

#[tokio::test]
async fn a_form_over_512_000_bytes_is_too_large() {
    let tenant = Tenant::start().await;
    let response = tenant.send_import(&[], &" ".repeat(512_000)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body = json_of(response).await;
    assert_eq!(
        body["message"],
        "Payload content length greater than maximum allowed: 512000"
    );
    let response = tenant.send_import(&[], &" ".repeat(511_000)).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_third_import_waits_for_one_of_two_to_end_and_not_for_a_rate_limit() {
    let tenant = slow(60_000).await;
    for _ in 0..2 {
        let response = tenant.send_import(&[], "[]").await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    let refused = tenant.send_import(&[], "[]").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = json_of(refused).await;
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("There are 2 active import users jobs"));
    tenant
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    let response = tenant.send_import(&[], "[]").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_import_does_nothing_until_its_time_and_then_everything() {
    let tenant = slow(600_000).await;
    let job = json_of(
        tenant
            .send_import(&[], r#"[{"email": "bea@a.test"}]"#)
            .await,
    )
    .await;
    tenant
        .control("clock", json!({"advance_seconds": 300}))
        .await;
    assert_eq!(tenant.job(&job).await["status"], "pending");
    assert_eq!(tenant.by_email("bea@a.test").await, Value::Null);
    tenant
        .control("clock", json!({"advance_seconds": 300}))
        .await;
    assert_ne!(tenant.by_email("bea@a.test").await, Value::Null);
    assert_eq!(tenant.job(&job).await["status"], "completed");
}

#[tokio::test]
async fn a_job_that_is_held_back_is_let_go_by_a_shorter_duration() {
    let tenant = slow(600_000).await;
    let job = json_of(tenant.send_import(&[], "[]").await).await;
    assert_eq!(tenant.job(&job).await["status"], "pending");
    tenant
        .control("options", json!({"jobs": {"duration_ms": 0}}))
        .await;
    assert_eq!(tenant.job(&job).await["status"], "completed");
}

#[tokio::test]
async fn a_running_job_says_how_far_it_is_if_it_calls_itself_processing() {
    let tenant = slow(100_000).await;
    tenant
        .control(
            "options",
            json!({"answers": {"job_running_status": "processing"}}),
        )
        .await;
    let job = json_of(tenant.send_import(&[], "[]").await).await;
    tenant
        .control("clock", json!({"advance_seconds": 50}))
        .await;
    let job = tenant.job(&job).await;
    assert_eq!(job["status"], "processing");
    // The machine's own clock goes on too.
    assert!((50..100).contains(&job["percentage_done"].as_u64().unwrap()));
    assert!(job["time_left_seconds"].as_u64().unwrap() <= 50);
}

#[tokio::test]
async fn an_import_fails_after_two_hours_and_is_forgotten_after_a_day() {
    let tenant = slow(100_000_000).await;
    let job = json_of(
        tenant
            .send_import(&[], r#"[{"email": "bea@a.test"}]"#)
            .await,
    )
    .await;
    tenant
        .control("clock", json!({"advance_seconds": 7_100}))
        .await;
    assert_eq!(tenant.job(&job).await["status"], "pending");
    tenant
        .control("clock", json!({"advance_seconds": 100}))
        .await;
    assert_eq!(tenant.job(&job).await["status"], "failed");
    assert_eq!(tenant.by_email("bea@a.test").await, Value::Null);
    // A new token: the old one is good for a day too.
    tenant
        .control("clock", json!({"advance_seconds": 79_200}))
        .await;
    let token = tenant.machine_token().await;
    let url = format!(
        "{}/api/v2/jobs/{}",
        tenant.base,
        job["id"].as_str().unwrap()
    );
    let gone = tenant
        .http
        .get(url)
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_owners_are_mailed_at_the_end_unless_told_otherwise() {
    let tenant = Tenant::start().await;
    for (part, mails) in [(QUIET, 0), (("send_completion_email", "true"), 1)] {
        tenant.import(&[part], json!([])).await;
        let sent = tenant.mails().await;
        assert_eq!(sent.len(), mails);
        assert!(sent.iter().all(|mail| mail["kind"] == "import_completed"));
    }
}

#[tokio::test]
async fn imported_users_are_mailed_if_the_option_says_so() {
    for mails in [false, true] {
        let tenant = Tenant::start().await;
        tenant
            .control("options", json!({"answers": {"import_mails": mails}}))
            .await;
        let records =
            json!([{"email": "bea@a.test"}, {"email": "cy@a.test", "email_verified": true}]);
        tenant.import(&[], records).await;
        let sent = tenant.mails().await;
        let to: Vec<&Value> = sent.iter().map(|mail| &mail["to"]).collect();
        assert_eq!(to == [&json!("bea@a.test")], mails, "{to:?}");
    }
}

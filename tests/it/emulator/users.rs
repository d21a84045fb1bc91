//! Users: created, read, changed, found and deleted as Auth0 does it.

use reqwest::StatusCode;
use roster::emulator::{Answers, Options};
use serde_json::{Value, json};

use super::{CONNECTION, PASSWORD, Tenant, error, json_of, new_user};

#[tokio::test]
async fn a_created_user_has_auth0s_defaults_and_no_blocked_flag() {
    let tenant = Tenant::start().await;
    let user = tenant.ann(json!({"email": "Ann@A.test"})).await;
    assert_eq!(user["user_id"], "auth0|ann");
    assert_eq!(user["email"], "ann@a.test");
    assert_eq!(user["email_verified"], false);
    assert_eq!(user["name"], "ann@a.test");
    assert_eq!(user["nickname"], "ann");
    assert_eq!(user["created_at"], user["updated_at"]);
    let identity =
        json!({"connection": CONNECTION, "user_id": "ann", "provider": "auth0", "isSocial": false});
    assert_eq!(user["identities"], json!([identity]));
    for absent in [
        "blocked",
        "app_metadata",
        "user_metadata",
        "password",
        "last_login",
    ] {
        assert_eq!(user.get(absent), None, "{absent}");
    }
    assert_eq!(tenant.read_ann().await, user);
}

#[tokio::test]
async fn without_an_id_of_the_callers_auth0_makes_one() {
    let tenant = Tenant::start().await;
    let user = tenant.ann(json!({"user_id": null})).await;
    let id = user["user_id"]
        .as_str()
        .unwrap()
        .strip_prefix("auth0|")
        .unwrap();
    assert_eq!(id.len(), 24);
    assert_eq!(user["identities"][0]["user_id"], id);
}

#[tokio::test]
async fn a_prefix_sent_with_an_id_is_kept_and_doubled_unless_the_answers_say_otherwise() {
    for (doubled, id) in [(true, "auth0|auth0|ann"), (false, "auth0|ann")] {
        let answers = Answers {
            user_id_prefix_doubled: doubled,
            ..Answers::default()
        };
        let tenant = Tenant::with(Options {
            answers,
            ..Options::default()
        })
        .await;
        let user = tenant.ann(json!({"user_id": "auth0|ann"})).await;
        assert_eq!(user["user_id"], id);
    }
}

#[tokio::test]
async fn a_forbidden_key_of_app_metadata_is_refused_or_stored_as_the_answers_say() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let forbidden = json!({"app_metadata": {"blocked": true}});
    let refused = tenant.patch_ann(forbidden.clone()).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let lenient = json!({"answers": {"forbidden_app_metadata_refused": false}});
    tenant.control("options", lenient).await;
    assert_eq!(tenant.patch_ann(forbidden).await.status(), StatusCode::OK);
    let ann = tenant.read_ann().await;
    assert_eq!(ann["app_metadata"]["blocked"], true);
    assert_eq!(ann.get("blocked"), None, "it blocks nobody");
}

#[tokio::test]
async fn the_same_email_or_the_same_id_is_a_conflict_that_does_not_say_which() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let expected = error(
        409,
        "Conflict",
        "The user already exists.",
        "auth0_idp_error",
    );
    for (id, email) in [("other", "ANN@a.test"), ("ann", "other@a.test")] {
        let body = new_user(id, json!({"email": email}));
        let response = tenant.call("POST", "/api/v2/users", Some(body)).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(json_of(response).await, expected);
    }
}

#[tokio::test]
async fn what_auth0_would_not_take_is_refused_with_400() {
    let tenant = Tenant::start().await;
    for (more, code) in [
        (json!({"connection": null}), Some("invalid_body")),
        (
            json!({"connection": "nowhere"}),
            Some("inexistent_connection"),
        ),
        (
            json!({"connection": "google-oauth2"}),
            Some("operation_not_supported"),
        ),
        (json!({"password": null}), Some("invalid_body")),
        (json!({"password": "weak"}), None),
        (json!({"username": "ann"}), Some("invalid_body")),
        (json!({"roles": []}), Some("invalid_body")),
        (json!({"email": "ann"}), Some("invalid_body")),
        (
            json!({"app_metadata": {"email": "a@a.test"}}),
            Some("invalid_body"),
        ),
        (json!({"name": "x".repeat(301)}), Some("invalid_body")),
    ] {
        let body = new_user("ann", more.clone());
        let response = tenant.call("POST", "/api/v2/users", Some(body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{more}");
        let body = json_of(response).await;
        assert_eq!(
            body.get("errorCode").and_then(Value::as_str),
            code,
            "{more}: {body}"
        );
    }
    assert_eq!(
        json_of(tenant.get("/_emulator/users").await).await,
        json!([])
    );
}

#[tokio::test]
async fn an_absent_user_is_404_to_read_and_204_to_delete() {
    let tenant = Tenant::start().await;
    let path = "/api/v2/users/auth0%7Cann";
    let response = tenant.get(path).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let expected = error(
        404,
        "Not Found",
        "The user does not exist.",
        "inexistent_user",
    );
    assert_eq!(json_of(response).await, expected);
    assert_eq!(
        tenant.patch_ann(json!({"name": "A"})).await.status(),
        StatusCode::NOT_FOUND
    );
    tenant.ann(json!({})).await;
    for _ in 0..2 {
        let response = tenant.call("DELETE", path, None).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(tenant.get(path).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_id_without_a_prefix_is_no_id() {
    let tenant = Tenant::start().await;
    for (method, id) in [("GET", "ann"), ("DELETE", "%7Cann"), ("GET", "auth0%7C%FF")] {
        let response = tenant
            .call(method, &format!("/api/v2/users/{id}"), None)
            .await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{method} {id}");
        assert_eq!(json_of(response).await["errorCode"], "invalid_uri");
    }
}

#[tokio::test]
async fn a_deleted_users_id_and_email_are_free_again() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    tenant
        .call("DELETE", "/api/v2/users/auth0%7Cann", None)
        .await;
    assert_eq!(tenant.ann(json!({})).await["user_id"], "auth0|ann");
}

#[tokio::test]
async fn a_patch_merges_metadata_null_deletes_a_key_and_an_empty_object_clears() {
    let tenant = Tenant::start().await;
    tenant
        .ann(json!({"app_metadata": {"role": "Artist", "theirs": {"a": 1}}}))
        .await;
    let steps = [
        (
            json!({"role": "Admin"}),
            Some(json!({"role": "Admin", "theirs": {"a": 1}})),
        ),
        (
            json!({"theirs": {"b": 2}}),
            Some(json!({"role": "Admin", "theirs": {"b": 2}})),
        ),
        (json!({"role": null}), Some(json!({"theirs": {"b": 2}}))),
        (json!({}), None),
    ];
    for (change, expected) in steps {
        let body = json!({"app_metadata": change, "user_metadata": change});
        let answered = json_of(tenant.patch_ann(body).await).await;
        assert_eq!(answered.get("app_metadata"), expected.as_ref());
        assert_eq!(tenant.read_ann().await, answered);
    }
    assert_eq!(tenant.read_ann().await["user_metadata"], json!({}));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_moves_updated_at() {
    let tenant = Tenant::start().await;
    let before = tenant
        .ann(json!({"name": "Ann", "given_name": "Ann"}))
        .await;
    let response = tenant
        .patch_ann(json!({"name": "Anna", "blocked": true, "given_name": null}))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let after = json_of(response).await;
    assert_eq!(after["name"], "Anna");
    assert_eq!(after["blocked"], true);
    assert_eq!(after.get("given_name"), None);
    assert_eq!(after["email"], before["email"]);
    assert_eq!(after["created_at"], before["created_at"]);
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
}

#[tokio::test]
async fn a_patch_to_a_taken_email_is_400_or_409_as_the_option_says() {
    for status in [400, 409] {
        let options = Options {
            answers: Answers {
                email_conflict_status: status,
                ..Answers::default()
            },
            ..Options::default()
        };
        let tenant = Tenant::with(options).await;
        tenant.ann(json!({})).await;
        let bob = new_user("bob", json!({}));
        tenant.call("POST", "/api/v2/users", Some(bob)).await;
        let response = tenant.patch_ann(json!({"email": "BOB@a.test"})).await;
        assert_eq!(response.status().as_u16(), status);
        let body = json_of(response).await;
        assert_eq!(body["message"], "The specified new email already exists");
        assert_eq!(body["errorCode"], "auth0_idp_error");
        assert_eq!(tenant.read_ann().await["email"], "ann@a.test");
    }
}

#[tokio::test]
async fn a_changed_email_is_unverified_unless_the_patch_or_the_option_says_otherwise() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"email_verified": true})).await;
    let user = json_of(tenant.patch_ann(json!({"email": "ann2@a.test"})).await).await;
    assert_eq!(user["email_verified"], false);
    let both = json!({"email": "ann3@a.test", "email_verified": true});
    assert_eq!(
        json_of(tenant.patch_ann(both).await).await["email_verified"],
        true
    );
    tenant
        .control(
            "options",
            json!({"answers": {"email_change_unverifies": false}}),
        )
        .await;
    let user = json_of(tenant.patch_ann(json!({"email": "ann4@a.test"})).await).await;
    assert_eq!(user["email_verified"], true);
}

#[tokio::test]
async fn a_password_set_through_the_api_lifts_the_administrators_block() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"blocked": true})).await;
    let user = json_of(
        tenant
            .patch_ann(json!({"password": "Another-horse-2"}))
            .await,
    )
    .await;
    assert_eq!(user["blocked"], false);
    assert!(user["last_password_reset"].is_string());
}

#[tokio::test]
async fn fields_that_auth0_does_not_patch_together_are_refused() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for body in [
        json!({"password": PASSWORD, "email": "b@a.test"}),
        json!({"password": PASSWORD, "email_verified": true}),
        json!({"connection": ""}),
        json!({"user_id": "other"}),
        json!({"blocked": "yes"}),
        json!({}),
    ] {
        let response = tenant.patch_ann(body.clone()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(tenant.read_ann().await["email"], "ann@a.test");
}

#[tokio::test]
async fn users_by_email_finds_every_connection_and_knows_upper_from_lower_case() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({"email": "ANN@a.test"})).await;
    let google =
        json!({"user_id": "google-oauth2|1", "email": "ann@a.test", "email_verified": true});
    tenant.control("users", google).await;
    let find = async |email: &str| {
        let found = json_of(
            tenant
                .get(&format!("/api/v2/users-by-email?email={email}"))
                .await,
        )
        .await;
        found.as_array().unwrap().len()
    };
    assert_eq!(find("ann%40a.test").await, 2);
    assert_eq!(find("ANN%40a.test").await, 0);
    assert_eq!(find("nobody%40a.test").await, 0);
}

#[tokio::test]
async fn a_google_users_profile_is_googles_but_metadata_and_block_are_ours() {
    let tenant = Tenant::start().await;
    let google = json!({"user_id": "google-oauth2|1", "email": "ann@a.test"});
    tenant.control("users", google).await;
    let patch = async |body: Value| {
        let path = "/api/v2/users/google-oauth2%7C1";
        tenant.call("PATCH", path, Some(body)).await.status()
    };
    assert_eq!(
        patch(json!({"email": "b@a.test"})).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(patch(json!({"name": "Ann"})).await, StatusCode::BAD_REQUEST);
    tenant
        .control("options", json!({"social_profile_sync": false}))
        .await;
    assert_eq!(patch(json!({"name": "Ann"})).await, StatusCode::OK);
    let ours = json!({"blocked": true, "app_metadata": {"role": "Artist"}});
    assert_eq!(patch(ours).await, StatusCode::OK);
}

#[tokio::test]
async fn listing_is_paged_and_ends_at_the_thousandth_user() {
    let tenant = Tenant::start().await;
    let many: Vec<Value> = (0..120)
        .map(|n| json!({"user_id": format!("auth0|{n}"), "email": format!("u{n}@a.test")}))
        .collect();
    tenant.control("users", many.into()).await;
    let page = json_of(
        tenant
            .get("/api/v2/users?page=1&per_page=50&include_totals=true")
            .await,
    )
    .await;
    assert_eq!(page["start"], 50);
    assert_eq!(page["length"], 50);
    assert_eq!(page["total"], 120);
    assert_eq!(page["users"][0]["user_id"], "auth0|50");
    let found = json_of(
        tenant
            .get("/api/v2/users?q=email:%22U7@a.test%22&fields=user_id")
            .await,
    )
    .await;
    assert_eq!(found, json!([{"user_id": "auth0|7"}]));
    let beyond = tenant.get("/api/v2/users?page=20&per_page=50").await;
    assert_eq!(beyond.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(beyond).await["errorCode"], "invalid_paging");
}

#[tokio::test]
async fn fields_can_be_asked_for_or_left_out() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let path = "/api/v2/users/auth0%7Cann?fields=email,user_id";
    let only = json_of(tenant.get(path).await).await;
    assert_eq!(only, json!({"email": "ann@a.test", "user_id": "auth0|ann"}));
    let without = json_of(tenant.get(&format!("{path}&include_fields=false")).await).await;
    assert_eq!(without.get("email"), None);
    assert_eq!(without["nickname"], "ann");
}

#[tokio::test]
async fn an_id_and_an_address_can_be_used_again_at_once_or_after_the_delay_of_the_option() {
    let tenant = Tenant::start().await;
    let create = async || {
        let body = Some(new_user("ann", json!({})));
        tenant.call("POST", "/api/v2/users", body).await.status()
    };
    let delete = async || {
        tenant
            .call("DELETE", "/api/v2/users/auth0%7Cann", None)
            .await;
    };
    create().await;
    delete().await;
    assert_eq!(create().await, StatusCode::CREATED);
    let late = json!({"answers": {"reuse_delay_seconds": 60}});
    tenant.control("options", late).await;
    delete().await;
    assert_eq!(create().await, StatusCode::CONFLICT);
    tenant
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(create().await, StatusCode::CREATED);
}

//! Where the endpoints are.

use serde_json::json;

use super::{scenario, scenario_with};

const CONFIGURATION: &str = "/.well-known/authzen-configuration";

#[tokio::test]
async fn the_configuration_is_of_the_address_that_the_operator_gave() {
    let server = scenario_with(|settings| {
        settings.public_url = Some("https://pdp.example.com".to_owned());
    })
    .await;
    let hostile = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
    ];
    let answer = server.get(CONFIGURATION, &hostile).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let at = |path| format!("https://pdp.example.com/access/v1/{path}");
    assert_eq!(
        answer.body,
        json!({
            "policy_decision_point": "https://pdp.example.com",
            "access_evaluation_endpoint": at("evaluation"),
            "access_evaluations_endpoint": at("evaluations"),
            "search_subject_endpoint": at("search/subject"),
            "search_resource_endpoint": at("search/resource"),
            "search_action_endpoint": at("search/action"),
        })
    );
    let elsewhere = server.get(&format!("{CONFIGURATION}/tenant1"), &[]).await;
    assert_eq!(elsewhere.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn an_address_with_a_path_is_found_behind_the_well_known_one() {
    let server = scenario_with(|settings| {
        settings.public_url = Some("https://example.com/tenant1/".to_owned());
    })
    .await;
    let answer = server.get(&format!("{CONFIGURATION}/tenant1"), &[]).await;
    assert_eq!(
        answer.body["policy_decision_point"],
        "https://example.com/tenant1/"
    );
    let evaluation = "https://example.com/tenant1/access/v1/evaluation";
    assert_eq!(answer.body["access_evaluation_endpoint"], evaluation);
    assert_eq!(server.get(CONFIGURATION, &[]).await.status, 404);
}

#[tokio::test]
async fn without_an_address_nothing_is_told() {
    let server = scenario().await;
    let answer = server.get(CONFIGURATION, &[]).await;
    assert_eq!(answer.refusal(), (404, "no_public_url"));
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("authz.public_url")
    );
}

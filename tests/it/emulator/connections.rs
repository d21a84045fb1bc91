//! The tenant's connections, which a client looks up by name.

use reqwest::StatusCode;
use serde_json::json;

use super::{CONNECTION, Tenant, json_of};

#[tokio::test]
async fn a_connection_is_found_by_its_name_and_read_by_its_id() {
    let tenant = Tenant::start().await;
    let path = format!("/api/v2/connections?name={CONNECTION}&strategy=auth0");
    let found = tenant.read(&path).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let id = found[0]["id"].as_str().unwrap();
    assert!(id.starts_with("con_") && id.len() == 20, "{id}");
    assert_eq!(
        tenant.read(&format!("/api/v2/connections/{id}")).await,
        found[0]
    );
    assert_eq!(
        tenant.read("/api/v2/connections?strategy=samlp").await,
        json!([])
    );
    let all = tenant.read("/api/v2/connections?include_totals=true").await;
    assert_eq!(all["total"], 2, "Google's, too");
    let absent = tenant.get("/api/v2/connections/con_0000000000000000").await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn looking_up_a_connection_needs_its_scope() {
    let mut options = roster::emulator::Options::default();
    options
        .m2m
        .scopes
        .retain(|scope| scope != "read:connections");
    let tenant = Tenant::with(options).await;
    let refused = tenant.get("/api/v2/connections").await;
    assert_eq!(json_of(refused).await["errorCode"], "insufficient_scope");
}

//! Roles and permissions: who has them, through what, and what of it a token says.

use reqwest::StatusCode;
use roster::emulator::{Answers, Options};
use serde_json::{Value, json};

use super::{
    API, PASSWORD, Tenant, claims, error, json_of, new_user, privileged, redirected, transaction_in,
};

const ANN: &str = "/api/v2/users/auth0%7Cann";

/// A tenant with ann, and the id of a role.
async fn with_role(options: Options) -> (Tenant, String) {
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    let role = role(&tenant, "Artist").await;
    (tenant, role)
}

async fn role(tenant: &Tenant, name: &str) -> String {
    let created = tenant.post("/api/v2/roles", json!({"name": name})).await;
    assert_eq!(created.status(), StatusCode::OK, "200, not 201");
    json_of(created).await["id"].as_str().unwrap().to_owned()
}

fn permission(name: &str) -> Value {
    json!({"permissions": [{"resource_server_identifier": API, "permission_name": name}]})
}

#[tokio::test]
async fn a_role_is_created_read_changed_listed_and_deleted() {
    let (tenant, id) = with_role(privileged()).await;
    let path = format!("/api/v2/roles/{id}");
    assert!(id.starts_with("rol_") && id.len() == 20, "{id}");
    let change = json!({"description": "Sings"});
    let changed = tenant.call("PATCH", &path, Some(change)).await;
    let expected = json!({"id": id, "name": "Artist", "description": "Sings"});
    assert_eq!(json_of(changed).await, expected);
    assert_eq!(tenant.read(&path).await, expected);
    let listed = tenant
        .read("/api/v2/roles?name_filter=ART&include_totals=true")
        .await;
    assert_eq!(
        listed,
        json!({"roles": [expected], "start": 0, "limit": 50, "total": 1})
    );
    let twin = tenant
        .post("/api/v2/roles", json!({"name": "Artist"}))
        .await;
    assert_eq!(twin.status(), StatusCode::CONFLICT);
    assert_eq!(json_of(tenant.delete(&path).await).await, json!({}));
    let gone =
        json!({"statusCode": 404, "error": "Not Found", "message": "The role does not exist."});
    assert_eq!(json_of(tenant.get(&path).await).await, gone);
    assert_eq!(tenant.delete(&path).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assigning_a_role_adds_to_those_a_user_has() {
    let (tenant, artist) = with_role(privileged()).await;
    let admin = role(&tenant, "Admin").await;
    let roles = format!("{ANN}/roles");
    for id in [&artist, &admin] {
        let assigned = tenant.post(&roles, json!({"roles": [id]})).await;
        assert_eq!(assigned.status(), StatusCode::NO_CONTENT);
    }
    let body = Some(json!({"roles": [artist]}));
    assert_eq!(
        tenant.call("DELETE", &roles, body).await.status(),
        StatusCode::NO_CONTENT
    );
    let left = json!([{"id": admin, "name": "Admin"}]);
    assert_eq!(tenant.read(&roles).await, left);
    let totals = tenant.read(&format!("{roles}?include_totals=true")).await;
    assert_eq!(
        totals,
        json!({"roles": left, "start": 0, "limit": 50, "total": 1})
    );
    let effective = json!({"roles": [{"id": admin, "name": "Admin", "description": "", "sources": ["direct"]}]});
    assert_eq!(
        tenant.read(&format!("{ANN}/effective-roles")).await,
        effective
    );
}

#[tokio::test]
async fn a_deleted_role_leaves_everybody_and_cannot_be_taken_away() {
    let (tenant, id) = with_role(privileged()).await;
    let roles = format!("{ANN}/roles");
    tenant.post(&roles, json!({"roles": [id]})).await;
    tenant.delete(&format!("/api/v2/roles/{id}")).await;
    assert_eq!(tenant.read(&roles).await, json!([]));
    let late = tenant
        .call("DELETE", &roles, Some(json!({"roles": [id]})))
        .await;
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_users_permissions_say_what_they_come_from() {
    let (tenant, id) = with_role(privileged()).await;
    let (own, of_role) = (
        format!("{ANN}/permissions"),
        format!("/api/v2/roles/{id}/permissions"),
    );
    for path in [&own, &of_role] {
        let granted = tenant.post(path, permission("read:songs")).await;
        assert_eq!(granted.status(), StatusCode::CREATED);
        assert_eq!(json_of(granted).await, json!({}));
    }
    tenant
        .post(&format!("{ANN}/roles"), json!({"roles": [id]}))
        .await;
    let listed = tenant.read(&own).await;
    assert_eq!(listed[0]["permission_name"], "read:songs");
    assert_eq!(listed[0]["resource_server_identifier"], API);
    let sources = json!([
        {"source_id": "", "source_name": "", "source_type": "DIRECT"},
        {"source_id": id, "source_name": "Artist", "source_type": "ROLE"},
    ]);
    assert_eq!(listed[0]["sources"], sources);
    let effective = format!("{ANN}/effective-permissions?resource_server_identifier={API}");
    let effective = tenant.read(&effective).await;
    assert_eq!(
        effective["permissions"][0]["sources"],
        json!(["direct", "roles"])
    );
}

#[tokio::test]
async fn a_permission_nobody_defined_is_not_found_and_an_absent_one_can_be_removed() {
    let (tenant, _) = with_role(privileged()).await;
    let path = format!("{ANN}/permissions");
    let refused = tenant.post(&path, permission("fly")).await;
    let message = format!("This permission does not exist: '{API} - fly'");
    let expected = error(
        404,
        "Not Found",
        &message,
        "inexistent_resource_server_permission",
    );
    assert_eq!(json_of(refused).await, expected);
    let removed = tenant.call("DELETE", &path, Some(permission("fly"))).await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let none = tenant.post(&path, json!({"permissions": []})).await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST);
    let nobody = tenant
        .post(
            "/api/v2/users/auth0%7Cx/permissions",
            permission("read:songs"),
        )
        .await;
    assert_eq!(json_of(nobody).await["errorCode"], "inexistent_user");
}

#[tokio::test]
async fn members_of_a_role_are_listed_by_page_and_by_checkpoint() {
    let (tenant, id) = with_role(privileged()).await;
    for name in ["bob", "cara"] {
        tenant
            .post("/api/v2/users", new_user(name, json!({})))
            .await;
    }
    let members = format!("/api/v2/roles/{id}/users");
    let users = json!({"users": ["auth0|ann", "auth0|bob", "auth0|cara"]});
    assert_eq!(json_of(tenant.post(&members, users).await).await, json!({}));
    let page = tenant
        .read(&format!("{members}?include_totals=true&per_page=2&page=1"))
        .await;
    assert_eq!((&page["total"], &page["start"]), (&json!(3), &json!(2)));
    assert_eq!(page["users"][0]["user_id"], "auth0|cara");
    let first = tenant.read(&format!("{members}?take=2")).await;
    assert_eq!(first["users"].as_array().unwrap().len(), 2);
    assert_eq!(first["users"][0]["email"], "ann@a.test");
    let next = first["next"].as_str().unwrap();
    let rest = tenant.read(&format!("{members}?take=2&from={next}")).await;
    assert_eq!(rest["users"][0]["user_id"], "auth0|cara");
    assert_eq!(rest.get("next"), None);
}

#[tokio::test]
async fn writing_roles_needs_all_scopes_or_any_as_the_answers_say() {
    for (all, expected) in [
        (true, StatusCode::FORBIDDEN),
        (false, StatusCode::NO_CONTENT),
    ] {
        let mut options = privileged();
        options.answers = Answers {
            role_writes_need_all_scopes: all,
            ..Answers::default()
        };
        options
            .m2m
            .scopes
            .retain(|scope| scope != "create:role_members");
        let (tenant, id) = with_role(options).await;
        let assigned = tenant
            .post(&format!("{ANN}/roles"), json!({"roles": [id]}))
            .await;
        assert_eq!(assigned.status(), expected);
    }
}

#[tokio::test]
async fn reading_who_has_a_role_needs_three_scopes() {
    for missing in ["read:users", "read:roles", "read:role_members"] {
        let mut options = privileged();
        options.m2m.scopes.retain(|scope| scope != missing);
        let tenant = Tenant::with(options).await;
        let refused = tenant.get(&format!("{ANN}/roles")).await;
        assert_eq!(
            json_of(refused).await["errorCode"],
            "insufficient_scope",
            "{missing}"
        );
    }
}

#[tokio::test]
async fn with_rbac_a_token_lists_permissions_and_its_scope_is_cut_to_them() {
    let (tenant, id) = with_role(Options {
        rbac: true,
        ..privileged()
    })
    .await;
    tenant
        .post(
            &format!("/api/v2/roles/{id}/permissions"),
            permission("read:songs"),
        )
        .await;
    tenant
        .post(&format!("{ANN}/roles"), json!({"roles": [id]}))
        .await;
    let action = "exports.onExecutePostLogin = async (event, api) => {
        api.accessToken.setCustomClaim('names', event.authorization.roles);
    };";
    tenant.control("options", json!({"action": action})).await;
    let scope = ("scope", "openid read:songs write:songs");
    let state = transaction_in(tenant.authorize(&[scope]).await).await;
    let form = [
        ("state", &*state),
        ("email", "ann@a.test"),
        ("password", PASSWORD),
    ];
    let back = redirected(&tenant.form("/u/login", &form).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    assert_eq!(tokens["scope"], "openid read:songs");
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["permissions"], json!(["read:songs"]));
    assert_eq!(access["scope"], "openid read:songs");
    assert_eq!(
        access["names"],
        json!(["Artist"]),
        "an Action sees names, not ids"
    );
}

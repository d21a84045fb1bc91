//! What goes over the wire, and what comes back of it.

use super::*;

#[tokio::test]
async fn a_user_is_read_by_the_encoded_id() {
    let tenant = Tenant::answering([answer(200, ann())]).await;
    let user = tenant.client().user(&ann_id()).await.unwrap().unwrap();
    assert_eq!(user.id, ann_id());
    assert_eq!(user.email.as_deref(), Some("ann@example.com"));
    let call = tenant.only_call();
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("GET", "/api/v2/users/auth0%7Cann")
    );
    assert_eq!(call.header("authorization"), Some("Bearer token-1"));
    assert_eq!(
        call.header("user-agent"),
        Some(concat!("roster/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(call.header("x-correlation-id"), None);
}

#[tokio::test]
async fn a_user_whom_auth0_does_not_have_is_none() {
    let tenant =
        Tenant::answering([refusal(404, "inexistent_user", "The user does not exist.")]).await;
    assert_eq!(tenant.client().user(&ann_id()).await.unwrap(), None);
}

#[tokio::test]
async fn a_404_that_is_not_about_the_user_is_an_error() {
    let tenant = Tenant::answering([answer(404, json!({"message": "no such page"}))]).await;
    let error = tenant.client().user(&ann_id()).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(404), "not_found"));
}

#[tokio::test]
async fn users_are_looked_up_by_the_lower_cased_address() {
    let tenant =
        Tenant::answering([answer(200, json!([ann(), {"user_id": "google-oauth2|7"}]))]).await;
    let users = tenant
        .client()
        .users_by_email("Ann+x@Example.com")
        .await
        .unwrap();
    let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
    assert_eq!(ids, ["auth0|ann", "google-oauth2|7"]);
    let call = tenant.only_call();
    assert_eq!(call.path, "/api/v2/users-by-email");
    assert_eq!(call.query, "email=ann%2Bx%40example.com");
}

#[tokio::test]
async fn a_user_is_created_with_an_own_id_and_a_password_nobody_knows() {
    let tenant = Tenant::answering([answer(201, ann()), answer(201, ann())]).await;
    let client = tenant.client();
    let user = client.create_user(&new_ann()).await.unwrap();
    client.create_user(&new_ann()).await.unwrap();
    assert_eq!(user.id, ann_id());
    let [mut first, second] = [0, 1].map(|n| tenant.seen("/api/v2/users")[n].json());
    assert_ne!(first["password"], second["password"]);
    assert!(
        first["password"]
            .as_str()
            .is_some_and(|password| password.len() >= 32)
    );
    first["password"] = Value::Null;
    let body = json!({
        "connection": "people", "user_id": "ann", "email": "ann@example.com", "name": "Ann", "password": null,
        "email_verified": false, "verify_email": false, "app_metadata": {"role": "Artist"},
    });
    assert_eq!(first, body);
}

#[tokio::test]
async fn a_user_is_updated_with_one_patch() {
    let tenant = Tenant::answering([answer(200, ann())]).await;
    let patch = Patch {
        email: Some("ann@example.com".into()),
        blocked: Some(true),
        app_metadata: object(json!({"role": null})),
        ..Patch::default()
    };
    let user = tenant
        .client()
        .update_user(&ann_id(), &patch)
        .await
        .unwrap();
    assert_eq!(user.name.as_deref(), Some("Ann"));
    let call = tenant.only_call();
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("PATCH", "/api/v2/users/auth0%7Cann")
    );
    let body = json!({
        "email": "ann@example.com", "email_verified": false, "verify_email": false, "blocked": true,
        "app_metadata": {"role": null},
    });
    assert_eq!(call.json(), body);
}

#[tokio::test]
async fn a_user_is_deleted() {
    let tenant = Tenant::answering([answer(204, Value::Null)]).await;
    tenant.client().delete_user(&ann_id()).await.unwrap();
    let call = tenant.only_call();
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("DELETE", "/api/v2/users/auth0%7Cann")
    );
    assert!(call.body.is_empty());
}

#[tokio::test]
async fn an_invitation_is_asked_for_without_a_token() {
    let said = Response::new("We've just sent you an email to reset your password.".to_owned());
    let tenant = Tenant::answering([said]).await;
    tenant
        .client()
        .send_invitation("ann@example.com")
        .await
        .unwrap();
    let call = tenant.only_call();
    assert_eq!(call.path, "/dbconnections/change_password");
    assert_eq!(call.header("authorization"), None);
    let body =
        json!({"client_id": "the-application", "email": "ann@example.com", "connection": "people"});
    assert_eq!(call.json(), body);
    assert_eq!(tenant.tokens_asked(), 0);
}

#[tokio::test]
async fn a_write_carries_a_correlation_id_of_the_caller_or_a_random_one() {
    let tenant = Tenant::granting(|_| answer(204, Value::Null)).await;
    let client = tenant.client();
    let long = format!("attempt 7\n{}", "x".repeat(99));
    client.delete_user(&ann_id()).await.unwrap();
    client.delete_user(&ann_id()).await.unwrap();
    client
        .correlated(&long)
        .delete_user(&ann_id())
        .await
        .unwrap();
    let calls = tenant.seen("/api/v2/users/auth0%7Cann");
    let [first, second, chosen] = [0, 1, 2].map(|n| calls[n].header("x-correlation-id").unwrap());
    assert_ne!(first, second);
    assert_eq!(chosen, format!("attempt7{}", "x".repeat(56)));
}

#[tokio::test]
async fn a_base_url_may_have_a_path() {
    let tenant = Tenant::answering([]).await;
    let mut settings = tenant.settings();
    settings.base_url = settings.base_url.join("tenants/a/").unwrap();
    let client = Client::new(settings).unwrap();
    client.check_token().await.unwrap_err();
    assert_eq!(tenant.seen("/tenants/a/oauth/token").len(), 1);
}

#[tokio::test]
async fn what_auth0_would_refuse_for_sure_is_not_sent() {
    let tenant = Tenant::answering([]).await;
    let client = tenant.client();
    for id in ["", ".", "..", "auth0|", "|ann", "ann"] {
        let id = Auth0UserId::from(id);
        let blocked = Patch {
            blocked: Some(true),
            ..Patch::default()
        };
        let new = NewUser {
            id: id.clone(),
            ..new_ann()
        };
        for error in [
            client.user(&id).await.map(drop).unwrap_err(),
            client
                .update_user(&id, &blocked)
                .await
                .map(drop)
                .unwrap_err(),
            client.delete_user(&id).await.unwrap_err(),
            client.create_user(&new).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.status(), Some(400), "{id}: {error}");
        }
    }
    let error = client
        .update_user(&ann_id(), &Patch::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "invalid_body");
    assert!(tenant.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn calls_can_be_made_by_spawned_tasks() {
    let tenant = Tenant::granting(|_| answer(200, ann())).await;
    let client = tenant.client();
    let call = tokio::spawn(async move {
        client
            .update_user(
                &ann_id(),
                &Patch {
                    blocked: Some(true),
                    ..Patch::default()
                },
            )
            .await
    });
    assert_eq!(call.await.unwrap().unwrap().id, ann_id());
}

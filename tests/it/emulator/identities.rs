//! Linked accounts: what becomes of the secondary one, and how it comes back.

use reqwest::StatusCode;
use roster::emulator::{Answers, LinkedAway, Options};
use serde_json::{Value, json};

use super::{PASSWORD, Tenant, claims, json_of, new_user, redirected};

const LINK: &str = "/api/v2/users/auth0%7Cann/identities";

/// A tenant where bob is linked to ann, and what linking answered.
async fn linked(answers: Answers) -> (Tenant, Value) {
    let tenant = Tenant::with(Options {
        answers,
        ..Options::default()
    })
    .await;
    tenant.ann(json!({})).await;
    let more = json!({"given_name": "Bob", "app_metadata": {"role": "Artist"}});
    tenant.post("/api/v2/users", new_user("bob", more)).await;
    let answered = tenant
        .post(LINK, json!({"provider": "auth0", "user_id": "auth0|bob"}))
        .await;
    assert_eq!(answered.status(), StatusCode::CREATED);
    (tenant, json_of(answered).await)
}

#[tokio::test]
async fn a_linked_account_leaves_the_list_and_lives_on_in_the_primary() {
    let (tenant, identities) = linked(Answers::default()).await;
    assert_eq!(identities[1]["user_id"], "bob");
    let profile = json!({"email": "bob@a.test", "email_verified": false, "given_name": "Bob"});
    assert_eq!(identities[1]["profileData"], profile);
    assert_eq!(identities[0]["profileData"]["email"], "ann@a.test");
    let users = tenant.read("/api/v2/users").await;
    assert_eq!(users.as_array().unwrap().len(), 1);
    let ann = tenant.read_ann().await;
    assert_eq!(ann["identities"][1]["profileData"], profile);
    assert_eq!(ann["identities"][0].get("profileData"), None);
    assert_eq!(ann.get("app_metadata"), None, "metadata is not merged");
}

#[tokio::test]
async fn the_address_of_a_linked_account_stays_taken_and_its_password_logs_in_the_primary() {
    let (tenant, _) = linked(Answers::default()).await;
    for body in [
        new_user("bob", json!({})),
        new_user("other", json!({"email": "bob@a.test"})),
    ] {
        let taken = tenant.post("/api/v2/users", body).await;
        assert_eq!(taken.status(), StatusCode::CONFLICT);
    }
    let tokens = tenant.tokens("bob@a.test").await;
    assert_eq!(
        claims(tokens["access_token"].as_str().unwrap())["sub"],
        "auth0|ann"
    );
}

#[tokio::test]
async fn a_call_to_a_linked_away_user_finds_nobody_or_the_primary_as_the_answers_say() {
    for (linked_away, status) in [
        (LinkedAway::NotFound, StatusCode::NOT_FOUND),
        (LinkedAway::Primary, StatusCode::OK),
    ] {
        let (tenant, _) = linked(Answers {
            linked_away,
            ..Answers::default()
        })
        .await;
        let bob = "/api/v2/users/auth0%7Cbob";
        assert_eq!(tenant.get(bob).await.status(), status);
        let patched = tenant.call("PATCH", bob, Some(json!({"name": "X"}))).await;
        assert_eq!(patched.status(), status);
        let name = if status == StatusCode::OK {
            "X"
        } else {
            "ann@a.test"
        };
        assert_eq!(tenant.read_ann().await["name"], name);
        assert_eq!(tenant.delete(bob).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(
            tenant.read_ann().await["user_id"],
            "auth0|ann",
            "a DELETE deletes nobody"
        );
    }
}

#[tokio::test]
async fn only_the_bare_id_unlinks_and_the_account_comes_back_without_metadata() {
    let (tenant, _) = linked(Answers::default()).await;
    let prefixed = tenant.delete(&format!("{LINK}/auth0/auth0%7Cbob")).await;
    assert_eq!(prefixed.status(), StatusCode::OK);
    assert_eq!(
        json_of(prefixed).await.as_array().unwrap().len(),
        2,
        "nothing was unlinked"
    );
    let bare = json_of(tenant.delete(&format!("{LINK}/auth0/bob")).await).await;
    assert_eq!(bare.as_array().unwrap().len(), 1);
    let bob = tenant.read("/api/v2/users/auth0%7Cbob").await;
    assert_eq!(bob["email"], "bob@a.test");
    assert_eq!(bob.get("app_metadata"), None);
    assert_eq!(bob["identities"][0].get("profileData"), None);
    assert_eq!(
        tenant.read_ann().await["identities"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn deleting_the_primary_deletes_the_linked_account_and_frees_its_address() {
    let (tenant, _) = linked(Answers::default()).await;
    tenant.delete("/api/v2/users/auth0%7Cann").await;
    assert_eq!(tenant.read("/api/v2/users").await, json!([]));
    let again = tenant
        .post("/api/v2/users", new_user("bob", json!({})))
        .await;
    assert_eq!(again.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_id_token_of_the_secondary_account_links_it() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let back = redirected(&tenant.google("ann@a.test", true).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let forged = tenant.post(LINK, json!({"link_with": "a.b.c"})).await;
    assert_eq!(forged.status(), StatusCode::BAD_REQUEST);
    let answered = tenant
        .post(LINK, json!({"link_with": tokens["id_token"]}))
        .await;
    assert_eq!(json_of(answered).await[1]["provider"], "google-oauth2");
    let back = redirected(&tenant.google("ann@a.test", true).await);
    let tokens = json_of(tenant.redeem(&back["code"], &[]).await).await;
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        access["sub"], "auth0|ann",
        "Google now logs in the primary account"
    );
    assert_eq!(
        tenant.log_in("ann@a.test", PASSWORD).await.status(),
        StatusCode::FOUND
    );
}

#[tokio::test]
async fn what_cannot_be_linked_is_refused() {
    let (tenant, _) = linked(Answers::default()).await;
    for (body, status) in [
        (
            json!({"provider": "auth0", "user_id": "bob"}),
            StatusCode::CONFLICT,
        ),
        (
            json!({"provider": "auth0", "user_id": "nobody"}),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({"provider": "auth0", "user_id": "ann"}),
            StatusCode::BAD_REQUEST,
        ),
        (json!({"provider": "auth0"}), StatusCode::BAD_REQUEST),
        (
            json!({"user_id": "bob", "colour": "red"}),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let refused = tenant.post(LINK, body.clone()).await;
        assert_eq!(refused.status(), status, "{body}");
    }
}

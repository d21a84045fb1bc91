//! An application asks for permissions instead of reading them.

use serde_json::{Value, json};

use crate::support::{authz::Server, issuer::Issuer};

#[tokio::test]
async fn a_user_with_all_permissions_passes_and_one_without_is_told_which_are_missing() {
    let server = Server::start().await.with_ada().await;
    let bearer = format!("Bearer {}", server.issuer.token("auth0|ada"));
    let check = async |query: &str| {
        let path = format!("/v1/check{query}");
        server.get(&path, &[("authorization", &bearer)]).await
    };
    for query in [
        "",
        "?permission=art:read",
        "?permission=art%3Asell&permission=art:read",
    ] {
        let answer = check(query).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.body["user"], json!({"key": "1"}));
        assert!(answer.body["revision"].as_str().unwrap().contains(':'));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }

    let answer = check("?permission=art:read&permission=art:burn&permission=a+%22b").await;
    assert_eq!(answer.refusal(), (403, "insufficient_scope"));
    assert_eq!(answer.body["missing"], json!(["art:burn", "a \"b"]));
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with("Bearer realm=\"roster\", error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(
        challenge.ends_with("scope=\"art:read art:burn a%20%22b\""),
        "{challenge}"
    );

    server.commit("delete from public.user_permissions").await;
    let answer = check("?permission=art:sell").await;
    assert_eq!(answer.refusal(), (403, "insufficient_scope"));
}

#[tokio::test]
async fn a_question_that_is_not_understood_is_no_question_for_nothing() {
    let server = Server::start().await.with_ada().await;
    let bearer = format!("Bearer {}", server.issuer.token("auth0|ada"));
    for query in [
        "permissions=art:burn",
        "require=art:burn",
        "Permission=art:burn",
        "permission=art:read&page=2",
        "permission=",
        "permission",
        "access_token=x",
    ] {
        let path = format!("/v1/check?{query}");
        let answer = server.get(&path, &[("authorization", &bearer)]).await;
        assert_eq!(answer.refusal(), (400, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn who_is_refused_a_look_is_refused_a_check() {
    let server = Server::start().await.with_ada().await;
    let check = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let answer = server.get("/v1/check", &[("authorization", &bearer)]).await;
        assert_eq!(answer.body["missing"], Value::Null);
        (answer.status, answer.body["code"].clone())
    };
    let stranger = Issuer::start().await.token("auth0|ada");
    assert_eq!(check(&stranger).await, (401, json!("issuer_mismatch")));
    let nobody = server.issuer.token("auth0|nobody");
    assert_eq!(check(&nobody).await, (403, json!("user_not_provisioned")));
    server
        .commit("update public.users set blocked = true")
        .await;
    let ada = server.issuer.token("auth0|ada");
    assert_eq!(check(&ada).await, (403, json!("user_blocked")));
}

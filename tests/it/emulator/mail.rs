//! What the tenant mails, and what the links do.

use reqwest::StatusCode;
use roster::emulator::{Answers, Options};
use serde_json::json;

use super::{CONNECTION, Tenant, redirected};

#[tokio::test]
async fn a_verification_mail_goes_out_unless_it_is_switched_off_or_needless() {
    for (more, mails) in [
        (json!({"verify_email": null}), 1),
        (json!({"verify_email": false}), 0),
        (json!({"verify_email": null, "email_verified": true}), 0),
        (json!({"verify_email": true, "email_verified": true}), 1),
    ] {
        let tenant = Tenant::start().await;
        tenant.ann(more.clone()).await;
        let sent = tenant.mails().await;
        assert_eq!(sent.len(), mails, "{more}");
        if let Some(mail) = sent.first() {
            assert_eq!(mail["kind"], "verify_email");
            let link = mail["link"].as_str().unwrap();
            assert_eq!(
                tenant.http.get(link).send().await.unwrap().status(),
                StatusCode::OK
            );
            assert_eq!(tenant.read_ann().await["email_verified"], true);
        }
    }
}

#[tokio::test]
async fn a_password_mail_is_promised_to_everybody_and_sent_to_those_who_exist() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    for email in ["ANN@a.test", "nobody@a.test"] {
        let body = json!({"email": email, "connection": CONNECTION, "client_id": "demo-app"});
        let response = tenant
            .call("POST", "/dbconnections/change_password", Some(body))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.text().await.unwrap();
        assert_eq!(text, "We've just sent you an email to reset your password.");
    }
    let mails = tenant.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0]["to"], "ann@a.test");
    assert_eq!(mails[0]["kind"], "change_password");
}

#[tokio::test]
async fn the_mailed_link_sets_the_password_once_and_verifies_the_address() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let body = json!({"email": "ann@a.test", "connection": CONNECTION});
    tenant
        .call("POST", "/dbconnections/change_password", Some(body.clone()))
        .await;
    tenant
        .call("POST", "/dbconnections/change_password", Some(body))
        .await;
    let links: Vec<String> = tenant
        .mails()
        .await
        .iter()
        .map(|mail| mail["link"].as_str().unwrap().to_owned())
        .collect();
    let set = async |link: &str, password: &str| {
        let form = [("password", password), ("re-enter-password", password)];
        tenant
            .http
            .post(link)
            // Browsers send their origin with every form.
            .header("origin", &tenant.base)
            .form(&form)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(
        set(&links[0], "Another-horse-2").await,
        StatusCode::GONE,
        "only the newest works"
    );
    assert_eq!(set(&links[1], "weak").await, StatusCode::BAD_REQUEST);
    assert_eq!(set(&links[1], "Another-horse-2").await, StatusCode::OK);
    assert_eq!(
        set(&links[1], "Another-horse-3").await,
        StatusCode::GONE,
        "a link works once"
    );
    assert_eq!(tenant.read_ann().await["email_verified"], true);
    assert!(redirected(&tenant.log_in("ann@a.test", "Another-horse-2").await).contains_key("code"));
}

#[tokio::test]
async fn a_password_set_through_a_link_lifts_a_block_if_the_option_says_so() {
    for lifts in [true, false] {
        let options = Options {
            answers: Answers {
                reset_lifts_block: lifts,
                ..Answers::default()
            },
            ..Options::default()
        };
        let tenant = Tenant::with(options).await;
        tenant.ann(json!({"blocked": true})).await;
        let body = json!({"email": "ann@a.test", "connection": CONNECTION});
        tenant
            .call("POST", "/dbconnections/change_password", Some(body))
            .await;
        let link = tenant.mails().await[0]["link"].as_str().unwrap().to_owned();
        let form = [("password", "Another-horse-2")];
        let set = tenant.http.post(&link).form(&form).send().await.unwrap();
        assert_eq!(set.status(), StatusCode::OK);
        assert_eq!(tenant.read_ann().await["blocked"], !lifts);
    }
}

#[tokio::test]
async fn a_mailed_link_is_good_for_five_days() {
    let tenant = Tenant::start().await;
    tenant.ann(json!({})).await;
    let body = json!({"email": "ann@a.test", "connection": CONNECTION});
    tenant
        .call("POST", "/dbconnections/change_password", Some(body))
        .await;
    let link = tenant.mails().await[0]["link"].as_str().unwrap().to_owned();
    let open = async || tenant.http.get(&link).send().await.unwrap().status();
    tenant
        .control("clock", json!({"advance_seconds": 431_000}))
        .await;
    assert_eq!(open().await, StatusCode::OK);
    tenant
        .control("clock", json!({"advance_seconds": 1_001}))
        .await;
    assert_eq!(open().await, StatusCode::GONE);
}

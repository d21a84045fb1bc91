//! Tickets of the Management API: who gets one, what it opens, how long and how often.

use reqwest::{Response, StatusCode};
use roster::emulator::Options;
use serde_json::{Value, json};

use super::{Tenant, json_of, privileged, redirected};

impl Tenant {
    async fn ask_ticket(&self, kind: &str, body: Value) -> Response {
        self.call("POST", &format!("/api/v2/tickets/{kind}"), Some(body))
            .await
    }

    /// The link of a new ticket for `ann`.
    async fn ticket(&self, kind: &str, more: Value) -> String {
        let mut body = json!({"user_id": "auth0|ann"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let response = self.ask_ticket(kind, body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let ticket = json_of(response).await["ticket"].clone();
        ticket.as_str().unwrap().to_owned()
    }

    async fn open(&self, link: &str) -> Response {
        self.http.get(link).send().await.unwrap()
    }

    /// Sends the form behind a password ticket.
    async fn choose(&self, link: &str, password: &str) -> Response {
        let form = [("password", password)];
        self.http.post(link).form(&form).send().await.unwrap()
    }
}

#[tokio::test]
async fn a_password_ticket_sets_the_password_once() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let link = tenant.ticket("password-change", json!({})).await;
    let shape = format!("{}/u/reset-password?ticket=", tenant.base);
    assert!(link.starts_with(&shape) && link.ends_with('#'), "{link}");
    assert_eq!(tenant.open(&link).await.status(), StatusCode::OK);
    let set = tenant.choose(&link, "Another-horse-2").await;
    assert_eq!(set.status(), StatusCode::OK);
    let again = tenant.choose(&link, "Another-horse-3").await;
    assert_eq!(again.status(), StatusCode::GONE);
    assert!(redirected(&tenant.log_in("ann@a.test", "Another-horse-2").await).contains_key("code"));
}

#[tokio::test]
async fn a_password_ticket_verifies_the_address_only_if_asked_to() {
    for asked in [false, true] {
        let tenant = Tenant::with(privileged()).await;
        tenant.ann(json!({})).await;
        let more = json!({"mark_email_as_verified": asked});
        let link = tenant.ticket("password-change", more).await;
        tenant.choose(&link, "Another-horse-2").await;
        assert_eq!(tenant.read_ann().await["email_verified"], asked);
    }
}

#[tokio::test]
async fn a_verification_ticket_verifies_the_address_once() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let link = tenant.ticket("email-verification", json!({})).await;
    let shape = format!("{}/u/email-verification?ticket=", tenant.base);
    assert!(link.starts_with(&shape) && link.ends_with('#'), "{link}");
    assert_eq!(tenant.open(&link).await.status(), StatusCode::OK);
    assert_eq!(tenant.read_ann().await["email_verified"], true);
    assert_eq!(tenant.open(&link).await.status(), StatusCode::GONE);
}

#[tokio::test]
async fn a_ticket_is_good_for_its_ttl_or_five_days() {
    for (more, seconds) in [
        (json!({"ttl_sec": 3_600}), 3_600),
        (json!({"ttl_sec": 0}), 432_000),
        (json!({}), 432_000),
    ] {
        let tenant = Tenant::with(privileged()).await;
        tenant.ann(json!({})).await;
        let link = tenant.ticket("password-change", more).await;
        let advance = async |seconds: u32| {
            tenant
                .control("clock", json!({"advance_seconds": seconds}))
                .await
        };
        advance(seconds - 60).await;
        assert_eq!(tenant.open(&link).await.status(), StatusCode::OK);
        advance(60).await;
        assert_eq!(tenant.open(&link).await.status(), StatusCode::GONE);
    }
}

#[tokio::test]
async fn a_second_ticket_cancels_the_first_if_the_option_says_so() {
    for (cancels, status) in [(true, StatusCode::GONE), (false, StatusCode::OK)] {
        let tenant = Tenant::with(privileged()).await;
        tenant.ann(json!({})).await;
        tenant
            .control(
                "options",
                json!({"answers": {"ticket_cancels_earlier": cancels}}),
            )
            .await;
        let first = tenant.ticket("password-change", json!({})).await;
        let second = tenant.ticket("password-change", json!({})).await;
        assert_eq!(tenant.open(&first).await.status(), status);
        assert_eq!(tenant.open(&second).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_ticket_goes_with_its_user() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let link = tenant.ticket("password-change", json!({})).await;
    tenant
        .call("DELETE", "/api/v2/users/auth0%7Cann", None)
        .await;
    tenant.ann(json!({})).await;
    assert_eq!(tenant.open(&link).await.status(), StatusCode::GONE);
}

#[tokio::test]
async fn a_password_ticket_is_for_a_user_id_or_for_an_email_of_a_connection() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let id = Options::default().connection_id();
    for (body, status) in [
        (json!({"email": "ANN@a.test", "connection_id": id}), 201),
        (json!({"email": "nobody@a.test", "connection_id": id}), 404),
        (
            json!({"email": "ann@a.test", "connection_id": "con_0000000000000000"}),
            400,
        ),
        (json!({"email": "ann@a.test"}), 400),
        (json!({"user_id": "auth0|ann", "connection_id": id}), 400),
        (json!({}), 400),
    ] {
        let response = tenant.ask_ticket("password-change", body.clone()).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
    }
}

#[tokio::test]
async fn nobody_gets_a_ticket_who_is_not_there_or_has_no_password() {
    let tenant = Tenant::with(privileged()).await;
    let google = json!({"user_id": "google-oauth2|1", "email": "g@a.test"});
    tenant.control("users", google).await;
    for kind in ["password-change", "email-verification"] {
        for (user_id, status) in [("auth0|nobody", 404), ("google-oauth2|1", 400)] {
            let response = tenant.ask_ticket(kind, json!({"user_id": user_id})).await;
            assert_eq!(response.status().as_u16(), status, "{kind} {user_id}");
        }
    }
}

#[tokio::test]
async fn a_ticket_is_refused_for_what_its_schema_does_not_have() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let url = "https://app.test/done";
    for (kind, more) in [
        (
            "password-change",
            json!({"new_password": "Another-horse-2"}),
        ),
        ("password-change", json!({"ttl_sec": -1})),
        ("password-change", json!({"ttl_sec": 1.5})),
        ("password-change", json!({"result_url": "nowhere"})),
        (
            "password-change",
            json!({"result_url": url, "organization_id": "org_1"}),
        ),
        ("password-change", json!({"client_id": "unknown"})),
        (
            "email-verification",
            json!({"mark_email_as_verified": true}),
        ),
        (
            "email-verification",
            json!({"result_url": url, "client_id": "demo-app"}),
        ),
    ] {
        let mut body = json!({"user_id": "auth0|ann"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let response = tenant.ask_ticket(kind, body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{kind} {more}");
    }
}

#[tokio::test]
async fn with_classic_login_a_ticket_has_the_old_link_and_ends_at_its_result_url() {
    let options = Options {
        classic_login: true,
        ..privileged()
    };
    let tenant = Tenant::with(options).await;
    tenant.ann(json!({})).await;
    let more = json!({"result_url": "https://app.test/done?a=1", "includeEmailInRedirect": true});
    let link = tenant.ticket("password-change", more).await;
    assert!(link.starts_with(&format!("{}/lo/reset?ticket=", tenant.base)));
    let set = tenant.choose(&link, "Another-horse-2").await;
    assert_eq!(set.status(), StatusCode::FOUND);
    let location = set.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("https://app.test/done?a=1&success=true"));
    assert!(location.ends_with("&email=ann%40a.test"), "{location}");
}

#[tokio::test]
async fn with_universal_login_a_result_url_is_taken_and_leads_nowhere() {
    let tenant = Tenant::with(privileged()).await;
    tenant.ann(json!({})).await;
    let more = json!({"result_url": "https://app.test/done"});
    let link = tenant.ticket("email-verification", more).await;
    assert_eq!(tenant.open(&link).await.status(), StatusCode::OK);
}

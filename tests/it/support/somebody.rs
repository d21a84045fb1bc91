//! Somebody with a mailbox and a browser: follows the links of mails, logs in.

use reqwest::{StatusCode, redirect::Policy};
use roster::emulator;

use super::tenant::{Tenant, text};

/// Strong enough for every policy.
const PASSWORD: &str = "Correct-horse-1";
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// The links that were mailed to this address, in order.
pub(crate) async fn links(tenant: &Tenant, email: &str) -> Vec<String> {
    let mails = tenant.list("mail").await;
    let mine = mails.iter().filter(|mail| mail["to"] == email);
    mine.map(|mail| text(&mail["link"])).collect()
}

/// Chooses a password at the end of a mailed link; false if the link is no longer good.
pub(crate) async fn chooses_a_password(tenant: &Tenant, link: &str) -> bool {
    let form = [("password", PASSWORD), ("re-enter-password", PASSWORD)];
    let answer = browser()
        .post(link)
        .header("origin", &tenant.url)
        .form(&form)
        .send()
        .await
        .expect("an answer");
    match answer.status() {
        StatusCode::OK => true,
        StatusCode::GONE => false,
        other => panic!("the form answers {other}"),
    }
}

/// Logs in to the application with the password chosen; false if Auth0 refuses.
pub(crate) async fn logs_in(tenant: &Tenant, email: &str) -> bool {
    let client_id = emulator::Options::default().app.client_id;
    let browser = browser();
    let query = [
        ("response_type", "code"),
        ("client_id", client_id.as_str()),
        ("redirect_uri", CALLBACK),
        ("scope", "openid"),
        ("state", "s1"),
        ("code_challenge_method", "S256"),
        // The challenge of RFC 7636 appendix B.
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
    ];
    let page = browser
        .get(format!("{}/authorize", tenant.url))
        .query(&query)
        .send()
        .await
        .expect("the login page");
    let page = page.text().await.expect("a page");
    let (_, rest) = page
        .split_once("name=\"state\" value=\"")
        .unwrap_or_else(|| panic!("no form in {page}"));
    let state = rest.split('"').next().unwrap_or_default();
    let form = [("state", state), ("email", email), ("password", PASSWORD)];
    let answer = browser
        .post(format!("{}/u/login", tenant.url))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    let back = answer.headers().get("location");
    back.is_some_and(|to| to.to_str().is_ok_and(|to| to.contains("code=")))
}

fn browser() -> reqwest::Client {
    // Redirects are what a log-in is about: looked at, never followed.
    reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a browser")
}

//! A person with a browser, by plain HTTP: reads a mail, sets a password, logs in.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Response, StatusCode, header, redirect::Policy};
use url::Url;

use super::application::{Application, Tokens};

/// How long one page may take. The Action runs on the way.
const LIMIT: Duration = Duration::from_secs(10);
/// Four kinds of characters, which every password policy takes.
pub(super) const PASSWORD: &str = "Roster-demo-1";

/// How somebody says who they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// E-mail and password, in the tenant's own connection.
    Password,
    /// "Continue with Google", with an address that Google has verified.
    Google,
}

/// Somebody with this address.
pub(super) struct Person {
    email: &'static str,
    way: Way,
    browser: reqwest::Client,
}

impl Person {
    pub(super) fn new(email: &'static str, way: Way) -> Result<Self> {
        // Redirects are what a log-in is about: looked at, never followed.
        let browser = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .redirect(Policy::none())
            .build()?;
        Ok(Self {
            email,
            way,
            browser,
        })
    }

    /// Opens the link of a password mail and chooses [`PASSWORD`].
    pub(super) async fn set_password(&self, link: &str) -> Result<()> {
        let page = self.browser.get(link).send().await?;
        ensure!(
            page.status().is_success(),
            "the link's page answers {}",
            page.status()
        );
        let form = [("password", PASSWORD), ("re-enter-password", PASSWORD)];
        let answer = self.browser.post(link).form(&form).send().await?;
        ensure!(
            answer.status().is_success(),
            "the password's form answers {}",
            answer.status()
        );
        Ok(())
    }

    /// Logs in to the application: tokens, or Auth0's refusal in words.
    pub(super) async fn log_in(&self, to: &Application) -> Result<Result<Tokens, String>> {
        let begun = to.begin()?;
        let page = self.browser.get(begun.url.clone()).send().await?;
        ensure!(
            page.status().is_success(),
            "the login page answers {}",
            page.status()
        );
        let page = page.text().await?;
        let (action, form) = match self.way {
            Way::Password => ("/u/login", ("password", PASSWORD)),
            Way::Google => ("/u/login/google", ("email_verified", "true")),
        };
        let form = [
            ("state", hidden(&page, "state")?),
            ("email", self.email),
            form,
        ];
        let answer = self
            .browser
            .post(begun.url.join(action)?)
            .form(&form)
            .send()
            .await?;
        if answer.status() == StatusCode::BAD_REQUEST {
            return Ok(Err("the login page refuses".to_owned()));
        }
        to.end(&begun, &sent_back(&answer)?).await
    }
}

/// The value of a form's hidden field.
fn hidden<'a>(page: &'a str, name: &str) -> Result<&'a str> {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .split_once(&field)
        .context("the login page has no form")?;
    Ok(rest.split('"').next().unwrap_or_default())
}

/// What stands in the address that the browser is sent back to.
fn sent_back(answer: &Response) -> Result<HashMap<String, String>> {
    let Some(location) = answer.headers().get(header::LOCATION) else {
        bail!("the login form answers {}", answer.status());
    };
    Ok(Url::parse(location.to_str()?)?
        .query_pairs()
        .into_owned()
        .collect())
}

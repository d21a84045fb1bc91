//! The application's part: it sends people to Auth0, takes the code they come back with, and asks Roster who they are.
//!
//! Authorization code with PKCE (RFC 7636), as a public client does it.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// One application of the emulated tenant that asks one Roster.
#[derive(Debug, Clone)]
pub(super) struct Application {
    tenant: String,
    server: String,
    callback: String,
    client_id: String,
    audience: String,
    http: reqwest::Client,
}

/// A log-in that has begun.
pub(super) struct Begun {
    /// Where the person's browser is sent.
    pub(super) url: Url,
    /// What the person comes back with, so that nobody else's code is taken.
    pub(super) state: String,
    verifier: String,
}

/// What a log-in ends in.
#[derive(Clone, Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

/// What Roster says of a token.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Application {
    pub(super) fn new(
        tenant: &str,
        server: &str,
        callback: &str,
        client_id: &str,
        audience: &str,
    ) -> Result<Self> {
        Ok(Self {
            tenant: tenant.to_owned(),
            server: server.to_owned(),
            callback: callback.to_owned(),
            client_id: client_id.to_owned(),
            audience: audience.to_owned(),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(LIMIT)
                .build()?,
        })
    }

    /// Where Roster answers.
    pub(super) fn me_url(&self) -> String {
        format!("{}/v1/me", self.server)
    }

    /// Waits until Roster can answer.
    pub(super) async fn ready(&self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            let asked = self
                .http
                .get(format!("{}/readyz", self.server))
                .send()
                .await?;
            if asked.status().is_success() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!(
                    "the server was not ready after {limit:?}: {}",
                    asked.text().await?
                );
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Begins a log-in.
    pub(super) fn begin(&self) -> Result<Begun> {
        let (state, verifier) = (secret(), secret());
        let challenge =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.callback),
            ("scope", "openid profile email offline_access"),
            ("audience", &self.audience),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = Url::parse_with_params(&format!("{}/authorize", self.tenant), parameters)?;
        Ok(Begun {
            url,
            state,
            verifier,
        })
    }

    /// Ends a log-in with what the person came back with: tokens, or Auth0's refusal in words.
    pub(super) async fn end(
        &self,
        begun: &Begun,
        back: &HashMap<String, String>,
    ) -> Result<Result<Tokens, String>> {
        ensure!(
            back.get("state") == Some(&begun.state),
            "the answer is to another log-in"
        );
        if let Some(error) = back.get("error") {
            let description = back.get("error_description").unwrap_or(error);
            return Ok(Err(description.clone()));
        }
        let code = back
            .get("code")
            .context("neither a code nor an error came back")?;
        self.token(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("code", code),
            ("redirect_uri", &self.callback),
            ("code_verifier", &begun.verifier),
        ])
        .await
    }

    /// Asks for a new access token without the person.
    pub(super) async fn refresh(&self, refresh_token: &str) -> Result<Result<Tokens, String>> {
        self.token(&[
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("refresh_token", refresh_token),
        ])
        .await
    }

    /// Asks Roster whom an access token belongs to and what they may do, now or at least in the state of a revision.
    pub(super) async fn me(&self, access_token: &str, at_least: Option<&str>) -> Result<Answer> {
        let mut request = self.http.get(self.me_url()).bearer_auth(access_token);
        if let Some(revision) = at_least {
            request = request.header("x-roster-at-least", revision);
        }
        let answer = request.send().await?;
        let status = answer.status();
        Ok(Answer {
            status,
            body: answer.json().await?,
        })
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<Result<Tokens, String>> {
        let answer = post(self.http.post(format!("{}/oauth/token", self.tenant)), form).await?;
        if answer.status.is_success() {
            return Ok(Ok(serde_json::from_value(answer.body)?));
        }
        let description = answer.body["error_description"].as_str();
        Ok(Err(description.unwrap_or("no reason given").to_owned()))
    }
}

async fn post(request: RequestBuilder, form: &[(&str, &str)]) -> Result<Answer> {
    let answer = request.form(form).send().await?;
    let status = answer.status();
    Ok(Answer {
        status,
        body: answer.json().await?,
    })
}

/// What a token says. It is not verified: this is for showing what stands in it.
pub(super) fn claims(access_token: &str) -> Result<Value> {
    let payload = access_token
        .split('.')
        .nth(1)
        .context("the token is no JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// 43 characters, as RFC 7636 section 4.1 recommends.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

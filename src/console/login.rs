//! Logging in: by Auth0 (authorization code with PKCE), or by the break-glass token on the day Auth0 is what is broken.
//!
//! What a log-in is about to be (state, nonce, verifier) stands in a signed cookie of the browser that began it, so that nobody is logged in by
//! somebody else's link. A log-in only says who somebody is; whether they may come in is asked at each request.

use std::time::Duration;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, StandardRevocableToken, StandardTokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::sleep};
use url::Url;

use super::session::{Begun, Who, is_same};
use crate::{authz::Authz, config};

/// One exchange with Auth0.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer with tokens: Auth0's are a few thousand.
const MAX_ANSWER: usize = 64 * 1024;
/// After a wrong break-glass token, during which no other is looked at.
const AFTER_A_GUESS: Duration = Duration::from_secs(1);

/// Beside the access token, which is not used.
#[derive(Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: String,
}

impl ExtraTokenFields for IdToken {}

type Oidc = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The log-in with Auth0.
pub(super) struct Login {
    oidc: Oidc,
    client_id: String,
    http: reqwest::Client,
}

/// Why a log-in came to nothing, in words for the person at the browser.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("this log-in was begun in another browser, or more than ten minutes ago")]
    NotBegun,
    #[error("Auth0 refuses: {0}")]
    Refused(String),
    #[error("Auth0 could not be reached, or its answer is none that can be used")]
    Exchange,
    #[error("what Auth0 says of you cannot be believed: {0}")]
    Token(#[from] crate::authz::token::TokenError),
}

#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error(transparent)]
    Answer(#[from] oauth2::http::Error),
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

/// Why the console cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the issuer is no URL that a log-in can be begun at")]
    Issuer(#[source] url::ParseError),
    #[error("it is not known where browsers reach this server")]
    Url(#[source] url::ParseError),
    #[error("no HTTP client could be made")]
    Http(#[source] reqwest::Error),
}

impl Login {
    pub(super) fn new(
        settings: &config::Login,
        issuer: &str,
        callback: Url,
    ) -> Result<Self, SettingsError> {
        // Auth0's own paths, which its discovery document repeats.
        let at = |path: &str| Url::parse(issuer).and_then(|issuer| issuer.join(path));
        let (authorize, token) = (
            at("authorize").map_err(SettingsError::Issuer)?,
            at("oauth/token").map_err(SettingsError::Issuer)?,
        );
        let is_here = crate::authz::jwks::is_loopback(&token);
        let mut oidc = Client::new(ClientId::new(settings.client_id.clone()))
            .set_auth_uri(AuthUrl::from_url(authorize))
            .set_token_uri(TokenUrl::from_url(token))
            .set_redirect_uri(RedirectUrl::from_url(callback))
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = &settings.client_secret {
            oidc = oidc.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
        }
        let mut http = reqwest::Client::builder()
            .timeout(LIMIT)
            .redirect(Policy::none());
        if is_here {
            http = http.no_proxy();
        }
        Ok(Self {
            oidc,
            client_id: settings.client_id.clone(),
            http: http.build().map_err(SettingsError::Http)?,
        })
    }

    /// Where the browser is to go, and what it is to come back with.
    pub(super) fn begin(&self, back: String) -> (Url, Begun) {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let begun = Begun::new(verifier.into_secret(), back);
        let state = begun.state.clone();
        let (url, _) = self
            .oidc
            .authorize_url(|| CsrfToken::new(state))
            .add_scopes(["openid", "profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .add_extra_param("nonce", begun.nonce.clone())
            .set_pkce_challenge(challenge)
            .url();
        (url, begun)
    }

    /// Who it is that came back.
    pub(super) async fn end(
        &self,
        authz: &Authz,
        begun: Option<&Begun>,
        back: &[(String, String)],
    ) -> Result<Who, LoginError> {
        let said = |name: &str| {
            let named = back.iter().find(|(key, _)| key == name);
            named.map(|(_, value)| value.as_str())
        };
        let state = said("state").unwrap_or_default();
        let begun = begun
            .filter(|begun| is_same(&begun.state, state))
            .ok_or(LoginError::NotBegun)?;
        if let Some(error) = said("error") {
            let why = said("error_description").unwrap_or(error);
            return Err(LoginError::Refused(why.to_owned()));
        }
        let code = said("code").ok_or(LoginError::NotBegun)?;
        let client = self.http.clone();
        let http = move |request| exchange(client.clone(), request);
        let answer = self
            .oidc
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.clone()))
            .request_async(&http)
            .await;
        let tokens = answer.map_err(|error| match error {
            oauth2::RequestTokenError::ServerResponse(refusal) => {
                LoginError::Refused(refusal.to_string())
            }
            // Not told further: it may quote the answer.
            _ => LoginError::Exchange,
        })?;
        let token = &tokens.extra_fields().id_token;
        let claims = authz
            .logged_in(token, &self.client_id, &begun.nonce)
            .await?;
        let (email, verified) = match claims.email {
            Some(email) => (Some(email.address), email.verified),
            None => (None, false),
        };
        Ok(Who::Account {
            subject: claims.subject.as_str().to_owned(),
            email,
            verified,
        })
    }
}

async fn exchange(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut response = oauth2::http::Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(response.body(body)?)
}

/// The way in without Auth0.
pub(super) struct BreakGlass {
    sha256: [u8; 32],
    turn: Mutex<()>,
}

/// What a token was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Yes,
    No,
    /// Another one is being looked at.
    Busy,
}

impl BreakGlass {
    pub(super) fn new(sha256: [u8; 32]) -> Self {
        Self {
            sha256,
            turn: Mutex::new(()),
        }
    }

    /// Whether the token is the one; guesses wait for each other, a second each.
    pub(super) async fn opens(&self, token: &str) -> Opened {
        let Ok(_turn) = self.turn.try_lock() else {
            return Opened::Busy;
        };
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        if verify_slices_are_equal(hash.as_ref(), &self.sha256).is_ok() {
            return Opened::Yes;
        }
        sleep(AFTER_A_GUESS).await;
        Opened::No
    }
}

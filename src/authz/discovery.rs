//! Is the configured issuer spelled as the issuer spells itself? Asked once at the start, and told if not.
//!
//! `iss` is compared exactly, so a slash too few or many, or the tenant's own domain instead of a custom one, refuses
//! every token. The issuer's own discovery document says what stands in its tokens. Nothing is decided by the answer:
//! what a document says does not change whom Roster trusts.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Settings,
    jwks::{Jwks, JwksError, KeySet},
};

/// Tries, and the wait after the first; each further one waits twice as long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Document {
    issuer: String,
}

/// Warns if the issuer calls itself otherwise. A document that cannot be had is no news of the issuer's: some have none.
pub(super) async fn compare(issuer: &str, keys: &Jwks, stop: &CancellationToken) {
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        let Some(read) = stop.run_until_cancelled(named(issuer, keys)).await else {
            return;
        };
        match read {
            Ok(named) if named == issuer => return,
            Ok(named) => {
                tracing::warn!(
                    configured = issuer,
                    document = named,
                    "the issuer calls itself otherwise than authz.issuer does: its tokens will be refused (issuer_mismatch) \
                     until authz.issuer is what its discovery document says"
                );
                return;
            }
            Err(JwksError::Fetch(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the issuer's discovery document could not be read"
                );
                stop.run_until_cancelled(sleep(pause)).await;
                pause *= 2;
            }
            // There is none, or it is something else: it will not be otherwise in a second.
            Err(_) => return,
        }
    }
}

/// What an issuer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// What the settings call it. It lists so many keys.
    Same { keys: usize },
    /// Something else: its tokens are refused.
    Named { name: String },
    /// Nothing that can be read; its keys can.
    Unnamed { keys: usize },
}

/// Reads the issuer's keys and its discovery document.
///
/// # Errors
/// [`JwksError`]: the keys cannot be had, so no token can be verified.
pub async fn ask(settings: &Settings) -> Result<Issuer, JwksError> {
    let jwks = Jwks::new(settings.jwks_url.clone(), |_| {})?;
    let body = jwks.download(settings.jwks_url.clone()).await?;
    let keys = KeySet::parse(&body)?.len();
    Ok(match named(&settings.issuer, &jwks).await {
        Ok(name) if name == settings.issuer => Issuer::Same { keys },
        Ok(name) => Issuer::Named { name },
        Err(_) => Issuer::Unnamed { keys },
    })
}

/// What the issuer's discovery document calls it (`OpenID` Connect Discovery 1.0 section 4).
async fn named(issuer: &str, keys: &Jwks) -> Result<String, JwksError> {
    let issuer = issuer.trim_end_matches('/');
    let Ok(url) = Url::parse(&format!("{issuer}/.well-known/openid-configuration")) else {
        return Err(JwksError::Insecure);
    };
    let body = keys.download(url).await?;
    let document: Document = serde_json::from_slice(&body).map_err(JwksError::Malformed)?;
    Ok(document.issuer)
}

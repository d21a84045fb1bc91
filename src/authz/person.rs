//! Who is at the console: the server's own way from a log-in to a user, for the one face of Roster that people log in to.
//!
//! An ID token is judged as an access token is, but for its purpose and its audience; and it must be the answer to this log-in. The user is
//! found as for any application, at each request, so that access ends with the commit that ends it.

use jiff::Timestamp;
use warp::http::HeaderMap;

use super::{
    Authz,
    decision::Denial,
    directory::AtLeast,
    endpoint::Endpoint,
    rejection::Refusal,
    token::{CHECKS, Claims, Parts, TokenError, key_id, verify},
    trail::Trail,
};
use crate::db::directory::User;

/// Why nobody is at the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("the database cannot be asked who that is")]
    Unavailable,
}

impl Authz {
    /// What an ID token says that was made for this client in answer to this nonce.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn logged_in(
        &self,
        token: &str,
        client_id: &str,
        nonce: &str,
    ) -> Result<Claims, TokenError> {
        let mut settings = self.settings.clone();
        settings.audiences = vec![client_id.to_owned()];
        "email".clone_into(&mut settings.email_claim);
        let (parts, now) = (Parts::of(token)?, Timestamp::now());
        for (name, check) in CHECKS {
            if name != "purpose" {
                check(&parts, &settings, now)?;
            }
        }
        let key = self.keys.key(key_id(&parts)?).await?;
        verify(parts.signed, parts.signature, &key)?;
        if parts.payload.get("nonce").and_then(|said| said.as_str()) != Some(nonce) {
            return Err(TokenError::Malformed("it answers another log-in"));
        }
        parts.claims(&settings)
    }

    /// The user whom these claims belong to, by Postgres, now.
    ///
    /// # Errors
    /// [`Unknown`].
    pub(crate) async fn person(&self, claims: &Claims) -> Result<User, Unknown> {
        let headers = HeaderMap::new();
        // It ends here: only what applications ask is counted and logged as a decision.
        let trail = Trail::begin(self, Endpoint::Me, &headers);
        let known = self.identify(claims, &AtLeast::default(), &trail).await;
        match known {
            Ok(known) => Ok(known.user),
            Err(Refusal::Denied(denial)) => Err(denial.into()),
            Err(_) => Err(Unknown::Unavailable),
        }
    }

    /// Who signs the tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }
}

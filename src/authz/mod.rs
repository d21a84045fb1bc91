//! The authorization server: an application presents a user's JWT and learns who that is and what they may do.
//!
//! ```text
//!  request ─► bearer ─► token ─► jwks (key by kid) ─► directory (memory or Postgres) ─► decision ─► answer
//! ```
//!
//! Promises: the answer is made from the row as committed, never from a claim; who cannot be told apart, or cannot be looked up, is
//! not let in. Two things are kept between requests: that a token was verified (`verified`), and a copy of the users that follows each
//! commit (`directory`). A verdict never is. [`token`], [`explain`] and [`decision`] are pure.
//!
//! It does not issue, renew or revoke tokens, calls no Auth0 endpoint but the public keys, and writes one thing: that a
//! verified address was matched ([`crate::db::directory::follow`]).
//!
//! Logs name the code, the request and a fingerprint of the token; never a token, a subject (some connections put
//! addresses there) or an address. So does the decision log (`decision_log`), which has a line for every refusal.

mod authzen;
mod bearer;
pub mod decision;
mod decision_log;
mod directory;
pub mod discovery;
mod endpoint;
pub mod explain;
mod handlers;
pub mod jwks;
mod metrics;
mod openapi;
pub(crate) mod person;
mod problem;
mod rejection;
mod revision;
mod seldom;
#[cfg(test)]
mod testing;
pub mod token;
mod trail;
mod unique;
mod verified;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use url::Url;
use warp::http::HeaderMap;

use self::{
    decision::{Denial, decide, email_standing},
    decision_log::DecisionLog,
    directory::{AtLeast, Directory},
    jwks::{Jwks, JwksError},
    metrics::Counts,
    rejection::Refusal,
    seldom::Seldom,
    token::Claims,
    trail::Trail,
    verified::{Digest, Verified},
};
use crate::{
    config,
    db::{
        connect::Endpoint,
        directory::{MatchedBy, User},
        pool::Pool,
    },
    progress::Progress,
    telemetry,
};

pub use self::{
    directory::{Reason, Standing},
    handlers::{endpoints, recover, routes},
};
pub use crate::config::{
    Caller, Credential, DecisionSink, DirectoryMode, EmailMatch, PermissionFormat,
};

/// Which tokens are accepted, and what their addresses are worth.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Compared exactly. Auth0's ends with a slash; a custom domain is another issuer than the tenant's own.
    pub issuer: String,
    /// API identifiers; a token must name one of them. Never a client id: those are the audience of ID tokens.
    pub audiences: Vec<String>,
    /// Where the issuer lists its keys: https, or http to this machine.
    pub jwks_url: Url,
    /// The claim that holds the address, bare or namespaced (`https://example.com/email`).
    pub email_claim: String,
    /// Whether an address may find a user.
    pub email_match: EmailMatch,
    /// Beginnings of subjects whose `email_verified` is trusted. Enterprise connections can be set to always say true.
    pub email_match_subjects: Vec<String>,
    /// Since `iat`; without it a token is good until its `exp`, however far that is.
    pub max_token_age: Option<Duration>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
    /// Where look-ups are answered from.
    pub directory: DirectoryMode,
    /// How old an answer from memory may be while the database cannot be asked.
    pub max_stale: Duration,
    /// How permissions name actions on resources.
    pub permission_format: PermissionFormat,
    /// Programs that may ask about anybody.
    pub callers: Vec<Caller>,
    /// Where applications reach the server: https, as they write it.
    pub public_url: Option<String>,
    /// Where decisions are logged.
    pub decision_log: DecisionSink,
    /// The share of allows that is, from 0 to 1.
    pub decision_log_sample: f64,
}

impl From<&config::Authz> for Settings {
    fn from(config: &config::Authz) -> Self {
        Self {
            email_claim: config.email_claim.clone(),
            email_match: config.email_match,
            email_match_subjects: config.email_match_subjects.clone(),
            directory: config.directory,
            max_stale: config.max_stale,
            max_token_age: config.max_token_age,
            permission_format: config.permission_format.clone(),
            callers: config.callers.clone(),
            public_url: config.public_url.clone(),
            decision_log: config.decision_log.clone(),
            decision_log_sample: config.decision_log_sample,
            ..Self::new(
                config.issuer.clone(),
                config.audience.iter().cloned(),
                config.jwks_url.clone(),
            )
        }
    }
}

impl Settings {
    /// The defaults around what has none.
    pub fn new<A: Into<String>>(
        issuer: impl Into<String>,
        audiences: impl IntoIterator<Item = A>,
        jwks_url: Url,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: audiences.into_iter().map(Into::into).collect(),
            jwks_url,
            email_claim: "email".to_owned(),
            email_match: EmailMatch::Verified,
            email_match_subjects: vec!["auth0|".to_owned(), "google-oauth2|".to_owned()],
            max_token_age: None,
            leeway: Duration::from_secs(30),
            directory: DirectoryMode::Memory,
            max_stale: Duration::ZERO,
            permission_format: PermissionFormat::default(),
            callers: Vec::new(),
            public_url: None,
            decision_log: DecisionSink::Off,
            decision_log_sample: 0.0,
        }
    }

    /// The claim beside [`Settings::email_claim`] that says whether the address is verified: `email_verified` in the
    /// same namespace.
    pub fn email_verified_claim(&self) -> String {
        let namespace = self
            .email_claim
            .rfind(['/', ':'])
            .map_or("", |end| &self.email_claim[..=end]);
        format!("{namespace}email_verified")
    }
}

/// The server's state, shared by all requests.
pub struct Authz {
    settings: Settings,
    keys: Jwks,
    verified: Verified,
    directory: Directory,
    pool: Pool,
    counts: Counts,
    log: Option<DecisionLog>,
    is_leaving: AtomicBool,
    faults_told: Seldom,
    /// Of the whole process, for `/metrics`.
    metrics: telemetry::Metrics,
}

/// Why the server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address of the issuer's keys.
    #[error(transparent)]
    Keys(#[from] JwksError),
    /// The file of the decision log.
    #[error("authz.decision_log cannot be written to")]
    DecisionLog(#[source] io::Error),
}

/// A user who is let in, and the state of the database that says so.
struct Known {
    user: User,
    revision: String,
}

impl Authz {
    /// Prepares the server and registers its metrics; nothing is fetched or asked yet.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        settings: Settings,
        pool: Pool,
        metrics: telemetry::Metrics,
    ) -> Result<Arc<Self>, SettingsError> {
        let counts = Counts::register(&metrics);
        let counted = counts.clone();
        let keys = Jwks::new(settings.jwks_url.clone(), move |succeeded| {
            counted.fetched_keys(succeeded);
        })?;
        let directory = Directory::new(
            pool.clone(),
            settings.directory,
            settings.max_stale,
            counts.clone(),
        );
        let (sink, sample) = (&settings.decision_log, settings.decision_log_sample);
        let log =
            DecisionLog::open(sink, sample, counts.log()).map_err(SettingsError::DecisionLog)?;
        Ok(Arc::new(Self {
            log,
            is_leaving: AtomicBool::new(false),
            faults_told: Seldom::default(),
            settings,
            keys,
            verified: Verified::new(),
            directory,
            pool,
            counts,
            metrics,
        }))
    }

    /// Keeps the issuer's keys fresh until `stop`. Without it they are fetched on demand, within the allowance. Warns
    /// once if the issuer calls itself otherwise than the settings do.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        tokio::join!(
            self.keys.keep_fresh(stop.clone()),
            discovery::compare(&self.settings.issuer, &self.keys, &stop),
        );
    }

    /// Keeps the directory in memory true until `stop`, if it is to be there. `endpoint` must not go through a transaction pooler;
    /// everybody is read again every `reload_every`, for what no change tells. Without it each request asks the database.
    pub async fn keep_directory(
        &self,
        endpoint: Endpoint,
        reload_every: Duration,
        progress: &Progress,
        stop: CancellationToken,
    ) {
        self.directory
            .keep(endpoint, reload_every, progress, stop)
            .await;
    }

    /// How the directory in memory stands; none where each request asks the database.
    pub fn standing(&self) -> Option<Standing> {
        self.directory.standing()
    }

    /// From now on `/readyz` says that nobody should ask, and each answer ends its connection: the server is about to stop, and still
    /// answers.
    pub fn leave(&self) {
        self.is_leaving.store(true, Relaxed);
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Relaxed)
    }

    /// Waits until the decisions so far are in their log, for two seconds at most.
    pub async fn flush_decision_log(&self) {
        if let Some(log) = &self.log {
            log.flush().await;
        }
    }

    /// Who signed in, by the request's token alone.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        query: &str,
        trail: &Trail<'_>,
    ) -> Result<Arc<Claims>, Refusal> {
        let token = bearer::token(headers, query)?;
        let (digest, now) = (Digest::of(token), Timestamp::now());
        trail.presented(digest);
        // Asked before the key: should the issuer list others meanwhile, the entry is of a past generation.
        let generation = self.keys.generation();
        if let Some(generation) = generation
            && let Some(claims) = self.verified.get(&digest, generation, now)
        {
            trail.authenticated(&claims);
            return Ok(claims);
        }
        let presented = token::read(token, &self.settings, now)?;
        let key = self.keys.key(presented.kid()).await?;
        let claims = Arc::new(presented.verify(&key)?);
        if let Some(generation) = generation {
            self.verified.insert(digest, generation, claims.clone());
        }
        trail.authenticated(&claims);
        Ok(claims)
    }

    /// Brings the gauges up to date, for whoever is about to read them.
    fn stand(&self) {
        let keys_age = self.keys.health().age;
        self.counts
            .stand(self.standing(), keys_age, self.verified.len());
    }

    /// Waits until what the caller has written, or has seen elsewhere, can be seen; [`Authz::identify`] is to be told of it.
    async fn await_revision(&self, headers: &HeaderMap) -> Result<AtLeast, Refusal> {
        self.directory
            .await_revision(revision::at_least(headers)?)
            .await
    }

    /// Which user that is, by Postgres.
    async fn identify(
        &self,
        claims: &Claims,
        at_least: &AtLeast,
        trail: &Trail<'_>,
    ) -> Result<Known, Refusal> {
        if claims.machine {
            return Err(Denial::NotProvisioned.into());
        }
        let email = email_standing(claims, &self.settings);
        let (answer, source) = self
            .directory
            .find(&claims.subject, email.eligible(), at_least)
            .await?;
        trail.found(&answer, source);
        let user = decide(answer.found, &email)?;
        if let (MatchedBy::Email, Some(address)) = (user.matched_by, email.eligible()) {
            // The answer stands without it: the next request matches again, and tries again.
            let followed = self.directory.follow(&user.key, &claims.subject, address);
            if let Err(error) = followed.await {
                tracing::warn!(
                    user.key = %user.key,
                    error = &error as &dyn std::error::Error,
                    "an account matched by its address could not be remembered"
                );
            }
        }
        Ok(Known {
            user,
            revision: answer.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verified_flag_stands_beside_the_address_claim() {
        let table = [
            ("email", "email_verified"),
            ("mail", "email_verified"),
            (
                "https://x.example/email",
                "https://x.example/email_verified",
            ),
            ("urn:x:email", "urn:x:email_verified"),
        ];
        for (claim, verified) in table {
            let mut settings = Settings::new(
                "https://tenant.example/",
                ["api"],
                "https://tenant.example/jwks".parse().unwrap(),
            );
            settings.email_claim = claim.to_owned();
            assert_eq!(settings.email_verified_claim(), verified);
        }
    }
}

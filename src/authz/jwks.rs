//! The tenant's public keys: fetched, kept, and followed through a rotation.
//!
//! Promises:
//! * A key that the tenant lists is known within [`REFRESH`]: Auth0 lists the next key before it signs with it, so a
//!   planned rotation never shows. A `kid` that is not known is looked up at once, for the unplanned one.
//! * Whatever is presented, the tenant sees at most [`BURST`] fetches in a row and one per [`COOLDOWN`] after that beside
//!   the background's, one at a time; failures and empty sets count like any other fetch.
//! * A set that was read stays in use while newer fetches fail, for at most [`MAX_AGE`]. Then nothing is accepted.
//!
//! Known race: an attacker who spends the burst can delay the look-up of a key that was rotated without notice by
//! [`COOLDOWN`], or until the background refresh. Accepted: the alternative is a fetch per request.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::token::TokenError;

/// Between two background fetches. Auth0 advises to cache for 5 to 10 minutes.
pub const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Fetches that unknown key ids may cause in a row.
pub const BURST: u32 = 2;
/// One more such fetch is granted per this time. Auth0 answers 20 a second to all callers of a tenant together.
pub const COOLDOWN: Duration = Duration::from_secs(10);
/// How long a set is trusted while no newer one can be read: a key revoked meanwhile is honoured for that long.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// One fetch, from connecting to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Auth0's document has about 6 KB for three keys.
const MAX_BODY: usize = 64 * 1024;
const MAX_KEYS: usize = 32;
/// Waits between background fetches while they fail: doubled from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why no new set of keys was had.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    #[error("the address of the issuer's keys must be https (or http to this machine)")]
    Insecure,
    #[error("fetching the issuer's keys failed")]
    Fetch(#[source] reqwest::Error),
    #[error("fetching the issuer's keys was answered with status {0}")]
    Status(u16),
    #[error("the issuer's key set is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the issuer's key set is not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    #[error("the issuer's key set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("the issuer's key set has no RSA key for RS256 signatures")]
    Empty,
}

/// The usable keys of a JWK Set by `kid`.
pub struct KeySet {
    keys: HashMap<String, Arc<DecodingKey>>,
    /// Of the document: another one may mean other keys.
    digest: digest::Digest,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517), leaving out what is no RSA key of 2048 to 8192 bits for RS256 signatures.
    ///
    /// # Errors
    /// [`JwksError::TooLarge`], [`JwksError::Malformed`], [`JwksError::TooMany`], [`JwksError::Empty`].
    pub fn parse(body: &[u8]) -> Result<Self, JwksError> {
        if body.len() > MAX_BODY {
            return Err(JwksError::TooLarge);
        }
        let document: Document = serde_json::from_slice(body).map_err(JwksError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany);
        }
        let mut keys = HashMap::new();
        for jwk in document.keys {
            // A key of a kind we do not know is none of our business, not an error of the set.
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else {
                continue;
            };
            if let Some(key) = jwk.usable() {
                match keys.entry(jwk.kid) {
                    Entry::Vacant(entry) => {
                        entry.insert(Arc::new(key));
                    }
                    Entry::Occupied(_) => {
                        tracing::warn!("the issuer lists two keys of one id; the first is used");
                    }
                }
            }
        }
        if keys.is_empty() {
            return Err(JwksError::Empty);
        }
        Ok(Self {
            keys,
            digest: digest::digest(&digest::SHA256, body),
        })
    }

    /// How many keys there are; one at least.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of this id.
    pub fn get(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.keys.get(kid).cloned()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: String,
    e: String,
}

impl Jwk {
    fn usable(&self) -> Option<DecodingKey> {
        let wanted = self.kty == "RSA"
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == "RS256");
        if !wanted {
            return None;
        }
        let modulus = URL_SAFE_NO_PAD.decode(&self.n).ok()?;
        let exponent = URL_SAFE_NO_PAD.decode(&self.e).ok()?;
        let fits = (2048..=8192).contains(&bits(&modulus))
            && (2..=64).contains(&bits(&exponent))
            && exponent.last().is_some_and(|byte| byte % 2 == 1);
        fits.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    }
}

/// Bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    match significant.clone().next() {
        Some(first) => significant.count() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

/// What is known of the keys just now, for `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// A set is loaded and not older than [`MAX_AGE`].
    pub usable: bool,
    /// Since that set was read.
    pub age: Option<Duration>,
}

/// The keys of one tenant. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Jwks(Arc<Inner>);

struct Inner {
    url: Url,
    client: reqwest::Client,
    known: RwLock<Known>,
    /// Held during a fetch: there is never more than one.
    fetching: tokio::sync::Mutex<Allowance>,
    on_fetch: Box<dyn Fn(bool) + Send + Sync>,
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").finish_non_exhaustive()
    }
}

/// What the fetches so far have brought.
#[derive(Default)]
struct Known {
    set: Option<(KeySet, Instant)>,
    /// Raised whenever the issuer lists something else than before.
    generation: u64,
    /// Fetches that have ended.
    fetches: u64,
    last_failed: bool,
}

impl Known {
    fn set(&self, now: Instant) -> Option<&KeySet> {
        self.set
            .as_ref()
            .filter(|(_, read_at)| now.duration_since(*read_at) <= MAX_AGE)
            .map(|(set, _)| set)
    }

    fn key(&self, kid: &str, now: Instant) -> Option<Arc<DecodingKey>> {
        self.set(now)?.get(kid)
    }
}

impl Jwks {
    /// Prepares to fetch from `url`; nothing is fetched yet. `on_fetch` is told of each fetch whether it succeeded.
    ///
    /// # Errors
    /// [`JwksError::Insecure`]; [`JwksError::Fetch`] if TLS cannot be set up.
    pub fn new(
        url: Url,
        on_fetch: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<Self, JwksError> {
        let local = is_loopback(&url);
        if url.scheme() != "https" && !(local && url.scheme() == "http") {
            return Err(JwksError::Insecure);
        }
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            // A redirect would let whoever answers choose the keys' origin.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("roster/", env!("CARGO_PKG_VERSION")));
        let client = if local { client.no_proxy() } else { client };
        Ok(Self(Arc::new(Inner {
            url,
            client: client.build().map_err(JwksError::Fetch)?,
            known: RwLock::default(),
            fetching: tokio::sync::Mutex::new(Allowance::new(Instant::now())),
            on_fetch: Box::new(on_fetch),
        })))
    }

    /// The key listed under `kid`; if none is, the set is fetched again as far as the allowance goes.
    ///
    /// # Errors
    /// [`TokenError::KeyUnknown`] if the tenant does not list it; [`TokenError::KeysUnavailable`] if that cannot be told:
    /// there is no set, or the last attempt to read a newer one failed.
    pub async fn key(&self, kid: &str) -> Result<Arc<DecodingKey>, TokenError> {
        let seen = {
            let known = self.known();
            match known.key(kid, Instant::now()) {
                Some(key) => return Ok(key),
                None => known.fetches,
            }
        };
        // In a task of its own: a caller who hangs up must not waste the fetch that others wait for.
        let jwks = self.clone();
        if let Err(error) = tokio::spawn(async move { jwks.fetch_unless_done(seen).await }).await {
            tracing::error!(error = %error, "the look-up of a key was broken off");
        }

        let (known, now) = (self.known(), Instant::now());
        match known.key(kid, now) {
            Some(key) => Ok(key),
            None if known.last_failed || known.set(now).is_none() => {
                Err(TokenError::KeysUnavailable)
            }
            None => Err(TokenError::KeyUnknown),
        }
    }

    /// Which listing of keys is in use: another number once the issuer lists others. None while there is no usable set.
    ///
    /// What was verified under a number is verified as long as it stands.
    pub fn generation(&self) -> Option<u64> {
        let known = self.known();
        known.set(Instant::now()).map(|_| known.generation)
    }

    /// Whether a usable set is loaded.
    pub fn health(&self) -> Health {
        let (known, now) = (self.known(), Instant::now());
        Health {
            usable: known.set(now).is_some(),
            age: known.set.as_ref().map(|(_, read_at)| now - *read_at),
        }
    }

    /// Fetches at once and every [`REFRESH`], more often while that fails, until `stop`.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        let mut retry = RETRY.0;
        loop {
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = async {
                    let _one_at_a_time = self.0.fetching.lock().await;
                    self.fetch().await
                } => fetched,
            };
            let pause = if fetched {
                retry = RETRY.0;
                REFRESH
            } else {
                let pause = retry;
                retry = (retry * 2).min(RETRY.1);
                pause
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Fetches unless somebody has since `seen`, or the allowance is spent.
    async fn fetch_unless_done(&self, seen: u64) {
        let mut allowance = self.0.fetching.lock().await;
        if self.known().fetches == seen && allowance.take(Instant::now()) {
            self.fetch().await;
        }
    }

    /// Called with `fetching` held.
    async fn fetch(&self) -> bool {
        let body = self.download(self.0.url.clone()).await;
        let fetched = body.and_then(|body| KeySet::parse(&body));
        let mut known = self.known_to_change();
        known.fetches += 1;
        known.last_failed = fetched.is_err();
        (self.0.on_fetch)(fetched.is_ok());
        match fetched {
            Ok(set) => {
                tracing::debug!(keys = set.keys.len(), "read the issuer's keys");
                let listed_before = known.set.as_ref().map(|(before, _)| before.digest.as_ref());
                if listed_before != Some(set.digest.as_ref()) {
                    known.generation += 1;
                }
                known.set = Some((set, Instant::now()));
                true
            }
            Err(error) => {
                let kept = known.set(Instant::now()).is_some();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    keys.kept = kept,
                    "the issuer's keys could not be read"
                );
                false
            }
        }
    }

    /// What the issuer publishes there, within the limits of a fetch.
    pub(super) async fn download(&self, url: Url) -> Result<Vec<u8>, JwksError> {
        let mut response = self
            .0
            .client
            .get(url)
            .header(reqwest::header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(JwksError::Fetch)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(JwksError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(JwksError::Fetch)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(JwksError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // Nothing panics while it is held, and what it holds is whole after each statement.
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_to_change(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// How many fetches unknown key ids may still cause: [`BURST`] at once, one more per [`COOLDOWN`].
struct Allowance {
    /// When the whole burst is available again.
    full_at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + COOLDOWN;
        let granted = full_at <= now + COOLDOWN * BURST;
        if granted {
            self.full_at = full_at;
        }
        granted
    }
}

#[cfg(test)]
mod tests;

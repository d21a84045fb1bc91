//! The tenant's signing keys: current, next and, after a rotation, the previous one until it is revoked.
//!
//! Auth0's JWKS document shows all of them (docs: json-web-key-sets, rotate-signing-keys). A fourth key, the foreign
//! one, is in no document: tests sign with it what nobody may believe.

use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{profile::hex, tenant::Guard};

/// Which key to sign with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyName {
    /// The one Auth0 signs with.
    #[default]
    Current,
    /// The one after the next rotation, published already.
    Next,
    /// The one before the last rotation, if it was not revoked.
    Previous,
    /// One that is published nowhere.
    Foreign,
}

/// The keys of one tenant.
#[derive(Debug)]
pub(super) struct Keys {
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    previous: Option<Arc<SigningKey>>,
    foreign: OnceLock<Arc<SigningKey>>,
}

/// Key pairs of tenants that have ended. Making one takes a tenth of a second, and a test program starts hundreds of
/// tenants; a pair is never in two tenants at a time, and has a new `kid` in each.
static SPARE: Mutex<Vec<Arc<RsaKeyPair>>> = Mutex::new(Vec::new());

impl Drop for Keys {
    fn drop(&mut self) {
        let pairs = self.all_published().map(|key| key.pair.clone());
        SPARE.guard().extend(pairs);
    }
}

impl Keys {
    pub(super) fn generate() -> Result<Self, Unspecified> {
        // Neither waits for the other.
        let (current, next) = std::thread::scope(|scope| {
            let next = scope.spawn(SigningKey::generate);
            let current = SigningKey::generate();
            (current, next.join().unwrap_or(Err(Unspecified)))
        });
        Ok(Self {
            current: Arc::new(current?),
            next: Arc::new(next?),
            previous: None,
            foreign: OnceLock::new(),
        })
    }

    /// Next becomes current, current becomes previous, `fresh` becomes next.
    pub(super) fn rotate(&mut self, fresh: SigningKey) {
        let current = std::mem::replace(&mut self.next, Arc::new(fresh));
        self.previous = Some(std::mem::replace(&mut self.current, current));
    }

    /// Takes the previous key out of the JWKS; whether there was one.
    pub(super) fn revoke_previous(&mut self) -> bool {
        self.previous.take().is_some()
    }

    pub(super) fn current(&self) -> &Arc<SigningKey> {
        &self.current
    }

    pub(super) fn named(&self, name: KeyName) -> Result<Option<Arc<SigningKey>>, Unspecified> {
        Ok(match name {
            KeyName::Current => Some(self.current.clone()),
            KeyName::Next => Some(self.next.clone()),
            KeyName::Previous => self.previous.clone(),
            KeyName::Foreign => {
                if self.foreign.get().is_none() {
                    // Two at once may both generate; the first one set stays.
                    let _ = self.foreign.set(Arc::new(SigningKey::generate()?));
                }
                self.foreign.get().cloned()
            }
        })
    }

    /// The published key with this `kid`.
    pub(super) fn published(&self, kid: &str) -> Option<&Arc<SigningKey>> {
        self.all_published().find(|key| key.kid == kid)
    }

    /// The JWKS document.
    pub(super) fn jwks(&self) -> Value {
        json!({"keys": self.all_published().map(|key| key.jwk()).collect::<Vec<_>>()})
    }

    fn all_published(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        [&self.current, &self.next]
            .into_iter()
            .chain(&self.previous)
    }
}

/// Takes `alg` out of a JWKS document.
pub(super) fn drop_alg(jwks: &mut Value) {
    for key in jwks["keys"].as_array_mut().into_iter().flatten() {
        if let Value::Object(key) = key {
            key.remove("alg");
        }
    }
}

/// One RSA key of 2048 bits.
pub(super) struct SigningKey {
    pub(super) kid: String,
    pair: Arc<RsaKeyPair>,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let spare = SPARE.guard().pop();
        let pair = match spare {
            Some(pair) => pair,
            None => Arc::new(RsaKeyPair::generate(KeySize::Rsa2048)?),
        };
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        Ok(Self {
            kid: hex(&rand::random::<[u8; 10]>()),
            pair,
            modulus: URL_SAFE_NO_PAD.encode(public.n),
            exponent: URL_SAFE_NO_PAD.encode(public.e),
        })
    }

    /// A JWT with exactly this header, signed with RS256 whatever the header says.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> Result<String, Unspecified> {
        let message = unsigned(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The header Auth0 gives its tokens.
    pub(super) fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "JWT", "kid": self.kid})
    }

    pub(super) fn decoding_key(&self) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
        DecodingKey::from_rsa_components(&self.modulus, &self.exponent)
    }

    /// The public modulus, base64url. Tests use it as an HMAC secret, to try the old confusion of algorithms.
    pub(super) fn modulus(&self) -> &str {
        &self.modulus
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": self.modulus, "e": self.exponent,
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// `header.claims`, the part of a JWT that is signed.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keys: &Keys) -> Vec<String> {
        keys.all_published().map(|key| key.kid.clone()).collect()
    }

    #[test]
    fn a_rotation_promotes_the_next_key_and_keeps_the_previous_until_revoked() {
        let mut keys = Keys::generate().unwrap();
        let before = kids(&keys);
        keys.rotate(SigningKey::generate().unwrap());
        let after = kids(&keys);
        assert_eq!(after.len(), 3);
        assert_eq!(after[0], before[1], "next is current");
        assert_eq!(after[2], before[0], "current is previous");
        assert!(keys.revoke_previous());
        assert_eq!(kids(&keys), after[..2]);
        assert!(!keys.revoke_previous());
    }
}

//! Keys and tokens for the tests of this room: everything about a token can be wrong, so everything is given as JSON.

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::Settings;

pub(super) const ISSUER: &str = "https://tenant.example/";
pub(super) const AUDIENCE: &str = "https://api.example";

/// The tenant's current key, and the one it rotates to. Made once: generating RSA keys takes a while.
pub(super) static CURRENT: LazyLock<Key> = LazyLock::new(|| Key::generate("key-1"));
pub(super) static NEXT: LazyLock<Key> = LazyLock::new(|| Key::generate("key-2"));

pub(super) struct Key {
    pub(super) kid: &'static str,
    pair: KeyPair,
}

impl Key {
    fn generate(kid: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { kid, pair }
    }

    /// PKCS #1 bytes of the public key.
    pub(super) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(super) fn decoding(&self) -> DecodingKey {
        DecodingKey::from_rsa_der(self.public_der())
    }

    /// As a tenant lists it.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(
            Jwk::from_decoding_key(&self.decoding(), Some(Algorithm::RS256)).unwrap(),
        )
        .unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Signs whatever header and claims these are.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs texts that need not be JSON.
    pub(super) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid })
    }
}

pub(super) fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn settings() -> Settings {
    Settings::new(
        ISSUER,
        [AUDIENCE],
        format!("{ISSUER}.well-known/jwks.json").parse().unwrap(),
    )
}

/// `base` with members set; `null` takes one away.
pub(super) fn with(base: Value, changes: &Value) -> Value {
    let mut base = base;
    let members = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    base
}

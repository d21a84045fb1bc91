//! An issuer of tokens: lists one key and signs what it is told to, without knowing any user.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, jwk::Jwk};
use roster::authz::Settings;
use serde_json::{Value, json};
use warp::Filter;

pub(crate) const AUDIENCE: &str = "https://api.example";
const KID: &str = "key-1";

/// Serves its keys until the test's runtime ends.
pub(crate) struct Issuer {
    key: KeyPair,
    keys: Value,
    url: String,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = DecodingKey::from_rsa_der(key.public_key().as_ref());
        let jwk = Jwk::from_decoding_key(&public, Some(Algorithm::RS256)).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("a JWK as JSON");
        jwk["kid"] = json!(KID);
        let keys = json!({ "keys": [jwk] });
        let listed = keys.clone();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let routes = warp::path!("jwks").map(move || warp::reply::json(&listed));
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        Self { key, keys, url }
    }

    pub(crate) fn settings(&self) -> Settings {
        let jwks = format!("{}jwks", self.url).parse().expect("an address");
        Settings::new(&self.url, [AUDIENCE], jwks)
    }

    /// The set of keys that it lists.
    pub(crate) fn keys(&self) -> &Value {
        &self.keys
    }

    /// A token for `subject`, good for an hour.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.token_with(subject, json!({}))
    }

    /// A token for `subject` that says `address` is or is not verified.
    pub(crate) fn token_of(&self, subject: &str, address: &str, verified: bool) -> String {
        self.token_with(
            subject,
            json!({ "email": address, "email_verified": verified }),
        )
    }

    /// A token for `subject` with these claims in place of the usual ones.
    pub(crate) fn token_with(&self, subject: &str, further: Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600,
        });
        let members = claims.as_object_mut().expect("an object");
        members.extend(further.as_object().cloned().unwrap_or_default());
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": KID });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

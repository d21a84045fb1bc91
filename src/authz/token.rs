//! Is this bearer token one of ours? Pure: the keys and the time are given, nothing is fetched, no clock is read.
//!
//! [`read`] checks everything that costs no cryptography and yields a [`Presented`] token; only [`Presented::verify`]
//! turns it into [`Claims`], so claims that nobody signed cannot be used by mistake. The order (shape, header, claims,
//! key, signature) keeps a flood of foreign tokens away from both the RSA code and the tenant's key endpoint.
//!
//! The header never chooses: the algorithm is RS256, the key comes from the configured tenant by `kid`, and `jku`, `x5u`,
//! `x5c` and `jwk` are ignored (RFC 8725 sections 3.1 to 3.10). The JSON is read here rather than by `jsonwebtoken`, which
//! takes a claim of the wrong type for an absent one, accepts a list of issuers and an empty `sub`, and ignores `crit`
//! and `typ`.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::{Settings, unique::Unique};
use crate::user::Auth0UserId;

/// Bytes of a token that are looked at. Auth0's are about 1 KB; custom claims may swell them.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Bytes of a key id. Auth0's have 21 characters.
const MAX_KID: usize = 128;
/// Bytes of a subject (`OpenID` Connect Core 1.0 section 2: "MUST NOT exceed 255 ASCII characters").
const MAX_SUBJECT: usize = 255;
/// Largest `NumericDate` taken as a date: integers are exact in a double up to here (RFC 7493 section 2.2).
const MAX_NUMERIC_DATE: f64 = 9_007_199_254_740_991.0;

/// Why a token is refused. [`TokenError::code`] is stable; the text may be shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the signature is not valid: {0}")]
    Signature(&'static str),
    #[error("the token is signed with a key that the issuer does not list")]
    KeyUnknown,
    #[error("the issuer's keys could not be read")]
    KeysUnavailable,
}

impl TokenError {
    /// The stable code that stands in answers, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Issuer => "issuer_mismatch",
            Self::Audience => "audience_mismatch",
            Self::Signature(_) => "signature_invalid",
            Self::KeyUnknown => "key_unknown",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

/// What a verified token says of its bearer. It holds no role and no permission: those are asked of Postgres.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The Auth0 account.
    pub subject: Auth0UserId,
    /// A client-credentials token: no person behind it.
    pub machine: bool,
    /// The address claim, whatever it is worth.
    pub email: Option<EmailClaim>,
    /// From then on the token is refused; the leeway is in it.
    pub good_until: Timestamp,
}

/// The address a token carries.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailClaim {
    pub address: String,
    /// The verified flag was JSON `true`; the string `"true"` is not.
    pub verified: bool,
}

impl fmt::Debug for EmailClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailClaim")
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// A token that has passed every check but the signature's.
pub struct Presented<'a> {
    kid: String,
    signed: &'a str,
    signature: &'a str,
    claims: Claims,
}

impl Presented<'_> {
    /// The key the token says it was signed with: at most 128 printable ASCII characters, good for a map lookup only.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies the signature with the key listed under [`Presented::kid`].
    ///
    /// # Errors
    /// [`TokenError::Signature`].
    pub fn verify(self, key: &DecodingKey) -> Result<Claims, TokenError> {
        verify(self.signed, self.signature, key)?;
        Ok(self.claims)
    }
}

/// Checks shape, header and claims of a compact JWS.
///
/// # Errors
/// Every variant of [`TokenError`] but `KeyUnknown` and `KeysUnavailable`.
pub fn read<'a>(
    token: &'a str,
    settings: &Settings,
    now: Timestamp,
) -> Result<Presented<'a>, TokenError> {
    let parts = Parts::of(token)?;
    for (_, check) in CHECKS {
        check(&parts, settings, now)?;
    }
    Ok(Presented {
        kid: key_id(&parts)?.to_owned(),
        signed: parts.signed,
        signature: parts.signature,
        claims: parts.claims(settings)?,
    })
}

pub(super) fn verify(signed: &str, signature: &str, key: &DecodingKey) -> Result<(), TokenError> {
    match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, Algorithm::RS256) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(TokenError::Signature("it does not fit the key")),
    }
}

/// A token taken apart; nothing in it is believed yet.
pub(super) struct Parts<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed("it is longer than 8 KiB"));
        }
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or(TokenError::Malformed("it is not a JWT"))?;
        let (header, payload) = signed
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or(TokenError::Malformed("it does not have three parts"))?;
        Ok(Self {
            header: object(header, "its header is not a JSON object in base64url")?,
            payload: object(payload, "its claims are not a JSON object in base64url")?,
            signed,
            signature,
        })
    }

    pub(super) fn claims(&self, settings: &Settings) -> Result<Claims, TokenError> {
        let subject = Auth0UserId::from(subject(self)?);
        let machine = subject.as_str().ends_with("@clients")
            || self.payload.get("gty").and_then(Value::as_str) == Some("client-credentials");
        let email = self
            .payload
            .get(&settings.email_claim)
            .and_then(Value::as_str)
            .map(|address| EmailClaim {
                address: address.to_owned(),
                verified: self.payload.get(&settings.email_verified_claim())
                    == Some(&Value::Bool(true)),
            });
        Ok(Claims {
            subject,
            machine,
            email,
            good_until: good_until(self, settings)?,
        })
    }
}

/// A check of header or claims.
pub(super) type Check = fn(&Parts<'_>, &Settings, Timestamp) -> Result<(), TokenError>;

/// All of them, in the order in which a token meets them, each under the name that `roster explain` gives it.
pub(super) const CHECKS: [(&str, Check); 10] = [
    ("algorithm", |parts, _, _| algorithm(&parts.header)),
    ("parameters", |parts, _, _| parameters(&parts.header)),
    ("type", |parts, _, _| media_type(&parts.header)),
    ("key id", |parts, _, _| key_id(parts).map(drop)),
    ("issuer", |parts, settings, _| {
        issuer(&parts.payload, settings)
    }),
    ("audience", |parts, settings, _| {
        audience(&parts.payload, settings)
    }),
    ("purpose", |parts, _, _| purpose(&parts.payload)),
    ("expiry", expiry),
    ("beginning", beginning),
    ("subject", |parts, _, _| subject(parts).map(drop)),
];

fn algorithm(header: &Map<String, Value>) -> Result<(), TokenError> {
    match header.get("alg") {
        Some(Value::String(alg)) if alg == "RS256" => Ok(()),
        Some(Value::String(_)) => Err(TokenError::Signature("only RS256 is accepted")),
        _ => Err(TokenError::Malformed("its alg is not a string")),
    }
}

/// RFC 7515 section 4.1.11: who does not understand a critical parameter must refuse. None is understood here.
fn parameters(header: &Map<String, Value>) -> Result<(), TokenError> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenError::Malformed(
            "it has critical header parameters that are not supported",
        ));
    }
    Ok(())
}

/// Media types compare without case and may carry their prefix (RFC 7515 section 4.1.9).
fn media_type(header: &Map<String, Value>) -> Result<(), TokenError> {
    let typ = header
        .get("typ")
        .and_then(Value::as_str)
        .map(str::to_ascii_lowercase);
    match typ
        .as_deref()
        .map(|typ| typ.strip_prefix("application/").unwrap_or(typ))
    {
        Some("jwt" | "at+jwt") => Ok(()),
        _ => Err(TokenError::Malformed("its typ is neither JWT nor at+jwt")),
    }
}

pub(super) fn key_id<'p>(parts: &'p Parts<'_>) -> Result<&'p str, TokenError> {
    match parts.header.get("kid") {
        Some(Value::String(kid))
            if (1..=MAX_KID).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(kid)
        }
        _ => Err(TokenError::Malformed(
            "its kid is not 1 to 128 printable characters",
        )),
    }
}

fn issuer(claims: &Map<String, Value>, settings: &Settings) -> Result<(), TokenError> {
    match claims.get("iss") {
        Some(Value::String(issuer)) if *issuer == settings.issuer => Ok(()),
        Some(Value::String(_)) | None => Err(TokenError::Issuer),
        Some(_) => Err(TokenError::Malformed("its iss is not a string")),
    }
}

fn audience(claims: &Map<String, Value>, settings: &Settings) -> Result<(), TokenError> {
    let named = audiences(claims.get("aud"))?;
    let ours = |audience: &&str| settings.audiences.iter().any(|ours| ours == audience);
    if named.iter().any(ours) {
        Ok(())
    } else {
        Err(TokenError::Audience)
    }
}

/// An ID token is signed by the same keys and issuer. It says who logged in, not what an API may be asked for.
fn purpose(claims: &Map<String, Value>) -> Result<(), TokenError> {
    let marks = ["nonce", "at_hash", "c_hash"];
    if marks.iter().any(|name| claims.contains_key(*name)) {
        return Err(TokenError::Malformed(
            "it is an ID token, not an access token",
        ));
    }
    Ok(())
}

/// RFC 7519 section 4.1.4: "on or after" the expiration time it must not be accepted.
fn expiry(parts: &Parts<'_>, settings: &Settings, now: Timestamp) -> Result<(), TokenError> {
    if now >= good_until(parts, settings)? {
        return Err(TokenError::Expired);
    }
    Ok(())
}

/// `nbf` is honoured. `iat` is a reason to refuse only where ages are counted from it: issuers' clocks run ahead.
fn beginning(parts: &Parts<'_>, settings: &Settings, now: Timestamp) -> Result<(), TokenError> {
    let latest = now.as_duration().as_secs_f64() + settings.leeway.as_secs_f64();
    let not_before = numeric_date(parts.payload.get("nbf"), "its nbf is not a number")?;
    let issued = issued_at(parts)?.filter(|_| settings.max_token_age.is_some());
    if [not_before, issued]
        .into_iter()
        .flatten()
        .any(|date| latest < date)
    {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// The moment from which it is refused: `exp`, or the configured age where that comes first; and the leeway.
fn good_until(parts: &Parts<'_>, settings: &Settings) -> Result<Timestamp, TokenError> {
    let mut until = numeric_date(parts.payload.get("exp"), "its exp is not a number")?
        .ok_or(TokenError::Malformed("it has no exp"))?;
    let issued = issued_at(parts)?;
    if let Some(age) = settings.max_token_age {
        let issued = issued.ok_or(TokenError::Malformed("it has no iat"))?;
        until = until.min(issued + age.as_secs_f64());
    }
    let until = SignedDuration::try_from_secs_f64(until + settings.leeway.as_secs_f64());
    let until = until.and_then(Timestamp::from_duration);
    // Beyond the year 9999.
    Ok(until.unwrap_or(Timestamp::MAX))
}

fn issued_at(parts: &Parts<'_>) -> Result<Option<f64>, TokenError> {
    numeric_date(parts.payload.get("iat"), "its iat is not a number")
}

fn subject<'p>(parts: &'p Parts<'_>) -> Result<&'p str, TokenError> {
    match parts.payload.get("sub") {
        Some(Value::String(subject))
            if (1..=MAX_SUBJECT).contains(&subject.len())
                && !subject.chars().any(char::is_control) =>
        {
            Ok(subject)
        }
        _ => Err(TokenError::Malformed(
            "its sub is not 1 to 255 bytes without control characters",
        )),
    }
}

fn numeric_date(value: Option<&Value>, wrong: &'static str) -> Result<Option<f64>, TokenError> {
    match value {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|seconds| (0.0..=MAX_NUMERIC_DATE).contains(seconds))
            .map(Some)
            .ok_or(TokenError::Malformed(wrong)),
    }
}

/// A string or a list of strings (RFC 7519 section 4.1.3); absent is the empty list.
fn audiences(value: Option<&Value>) -> Result<Vec<&str>, TokenError> {
    const WRONG: TokenError =
        TokenError::Malformed("its aud is neither a string nor a list of strings");
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience]),
        Some(Value::Array(list)) => list.iter().map(|v| v.as_str().ok_or(WRONG)).collect(),
        Some(_) => Err(WRONG),
    }
}

fn object(part: &str, wrong: &'static str) -> Result<Map<String, Value>, TokenError> {
    let wrong = TokenError::Malformed(wrong);
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| wrong)?;
    match serde_json::from_slice(&bytes) {
        Ok(Unique(Some(Value::Object(object)))) => Ok(object),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests;

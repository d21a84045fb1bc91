//! `authz.callers`: which programs may ask about other people, and what.

use std::collections::HashSet;

use ::config::{Value, ValueKind};

use super::{ConfigError, layers::Layers};

/// A program that may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// How it shows who it is.
    pub credential: Credential,
    /// It may have requests evaluated.
    pub evaluate: bool,
    /// It may search.
    pub search: bool,
}

/// What a program presents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token of the client-credentials grant of this application.
    ClientId(String),
    /// A key of which only the SHA-256 is known here.
    ApiKeySha256([u8; 32]),
}

const EXPECTED: &str = "a list of tables in the configuration file, each with one of client_id and api_key_sha256 \
    (64 hexadecimal digits), none twice, and may = [\"evaluate\", \"search\"] or one of these";

pub(super) fn callers(from: &Layers) -> Result<Vec<Caller>, ConfigError> {
    const KEY: &str = "authz.callers";
    let ValueKind::Array(entries) = from.value(KEY).kind else {
        return Err(from.bad(KEY, EXPECTED));
    };
    let callers: Option<Vec<Caller>> = entries.into_iter().map(caller).collect();
    let mut met = HashSet::new();
    callers
        .filter(|callers| callers.iter().all(|c| met.insert(c.credential.clone())))
        .ok_or_else(|| from.bad(KEY, EXPECTED))
}

fn caller(entry: Value) -> Option<Caller> {
    let ValueKind::Table(mut entry) = entry.kind else {
        return None;
    };
    let credential = match (entry.remove("client_id"), entry.remove("api_key_sha256")) {
        (Some(id), None) => Credential::ClientId(text(id)?),
        (None, Some(digest)) => Credential::ApiKeySha256(sha256(&text(digest)?)?),
        _ => return None,
    };
    let ValueKind::Array(may) = entry.remove("may")?.kind else {
        return None;
    };
    let may: Vec<String> = may.into_iter().map(text).collect::<Option<_>>()?;
    let is_known = |right: &String| ["evaluate", "search"].contains(&right.as_str());
    let has = |right: &str| may.iter().any(|known| known == right);
    (entry.is_empty() && !may.is_empty() && may.iter().all(is_known)).then(|| Caller {
        credential,
        evaluate: has("evaluate"),
        search: has("search"),
    })
}

fn text(value: Value) -> Option<String> {
    match value.kind {
        ValueKind::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => None,
    }
}

pub(super) fn sha256(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hexadecimal = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hexadecimal {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

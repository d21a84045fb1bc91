//! What the tenant has handed out and may get back: login transactions, codes, opaque tokens.
//!
//! Each value is a random text that means something only here, and is good once where OAuth says so.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::profile::hex;

/// Seconds between the login page and the login. Nobody waits longer; Auth0 allows an hour.
const TRANSACTION: SignedDuration = SignedDuration::from_secs(3600);
/// RFC 6749 section 4.1.2 recommends ten minutes at most.
const CODE: SignedDuration = SignedDuration::from_secs(600);

/// What `/authorize` was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Authorization {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) scope: String,
    pub(super) audience: Option<String>,
    pub(super) code_challenge: Option<String>,
}

/// A user who has logged in, with what the Action wants in the tokens.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) authorization: Authorization,
    pub(super) user_id: String,
    /// The session's id, the `sid` of ID tokens.
    pub(super) sid: String,
    pub(super) claims: CustomClaims,
}

/// Claims the Action has set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CustomClaims {
    pub(super) access_token: Map<String, Value>,
    pub(super) id_token: Map<String, Value>,
}

/// An access token for no API in particular, which only `/userinfo` takes.
#[derive(Debug, Clone)]
pub(super) struct Opaque {
    pub(super) user_id: String,
    pub(super) scope: String,
    pub(super) expires_at: Timestamp,
}

/// Everything handed out.
#[derive(Debug, Default)]
pub(super) struct Grants {
    transactions: HashMap<String, (Authorization, Timestamp)>,
    codes: HashMap<String, (Login, Timestamp)>,
    opaque: HashMap<String, Opaque>,
}

impl Grants {
    pub(super) fn begin(&mut self, authorization: Authorization, now: Timestamp) -> String {
        self.transactions
            .retain(|_, (_, since)| now.duration_since(*since) < TRANSACTION);
        let state = secret();
        self.transactions
            .insert(state.clone(), (authorization, now));
        state
    }

    /// The transaction, which stays: a wrong password may be corrected.
    pub(super) fn transaction(&self, state: &str, now: Timestamp) -> Option<&Authorization> {
        self.transactions
            .get(state)
            .filter(|(_, since)| now.duration_since(*since) < TRANSACTION)
            .map(|(authorization, _)| authorization)
    }

    pub(super) fn end(&mut self, state: &str) {
        self.transactions.remove(state);
    }

    pub(super) fn issue_code(&mut self, login: Login, now: Timestamp) -> String {
        self.codes
            .retain(|_, (_, since)| now.duration_since(*since) < CODE);
        let code = secret();
        self.codes.insert(code.clone(), (login, now));
        code
    }

    /// The login behind a code. A code is good once, also if what follows fails.
    pub(super) fn redeem_code(&mut self, code: &str, now: Timestamp) -> Option<Login> {
        self.codes
            .remove(code)
            .filter(|(_, since)| now.duration_since(*since) < CODE)
            .map(|(login, _)| login)
    }

    pub(super) fn issue_opaque(&mut self, opaque: Opaque) -> String {
        let token = secret();
        self.opaque.insert(token.clone(), opaque);
        token
    }

    pub(super) fn opaque(&self, token: &str) -> Option<&Opaque> {
        self.opaque.get(token)
    }

    /// Forgets everything about a user who is gone.
    pub(super) fn forget(&mut self, user_id: &str) {
        self.codes.retain(|_, (login, _)| login.user_id != user_id);
        self.opaque.retain(|_, token| token.user_id != user_id);
    }
}

/// 192 random bits.
pub(super) fn secret() -> String {
    hex(&rand::random::<[u8; 24]>())
}

/// Random letters and digits, as Auth0's ids have them.
pub(super) fn letters(count: usize) -> String {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..count)
        .map(|_| char::from(CHARACTERS[usize::from(rand::random::<u16>()) % CHARACTERS.len()]))
        .collect()
}

//! The tenant's log, as far as people go: logins that worked or did not, tokens refreshed, passwords and addresses.
//!
//! What machines do through the Management API is not in it; the control face has a log of every request.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{clock::iso, grants::letters, profile::User};

/// More entries than any test reads; the oldest go first.
const KEEP: usize = 10_000;

/// What happened (docs: log-event-type-codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Login,
    WrongPassword,
    /// A login that failed otherwise, as a blocked user's does.
    FailedLogin,
    /// A login that brute-force protection refused.
    BruteForce,
    Refresh,
    FailedRefresh,
    PasswordAsked,
    PasswordChanged,
    EmailVerified,
}

impl Event {
    fn code(self) -> &'static str {
        match self {
            Self::Login => "s",
            Self::WrongPassword => "fp",
            Self::FailedLogin => "f",
            Self::BruteForce => "limit_wc",
            Self::Refresh => "sertft",
            Self::FailedRefresh => "fertft",
            Self::PasswordAsked => "scpr",
            Self::PasswordChanged => "scp",
            Self::EmailVerified => "sv",
        }
    }
}

#[derive(Debug)]
struct Entry {
    id: String,
    at: Timestamp,
    event: Event,
    user_id: String,
    shown: Value,
}

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
}

impl Journal {
    pub(super) fn note(
        &mut self,
        event: Event,
        user: &User,
        client_id: Option<&str>,
        now: Timestamp,
    ) {
        if self.entries.len() == KEEP {
            self.entries.pop_front();
        }
        let connection = user.identities.first();
        let mut shown = json!({
            "connection": connection.map(|identity| identity.connection.as_str()),
            "strategy": connection.map(|identity| identity.provider.as_str()),
            "ip": "127.0.0.1", "user_id": user.user_id, "user_name": user.email, "isMobile": false,
        });
        if let Some(client_id) = client_id {
            shown["client_id"] = client_id.into();
        }
        self.entries.push_back(Entry {
            id: letters(40),
            at: now,
            event,
            user_id: user.user_id.clone(),
            shown,
        });
    }

    /// What happened to one user, newest first.
    pub(super) fn of(&self, user_id: &str) -> Vec<Value> {
        let entries = self.entries.iter().rev();
        entries
            .filter(|entry| entry.user_id == user_id)
            .map(|entry| {
                let mut shown = entry.shown.clone();
                shown["date"] = iso(entry.at).into();
                shown["type"] = entry.event.code().into();
                shown["log_id"] = entry.id.as_str().into();
                if let Value::Object(shown) = &mut shown {
                    shown.retain(|_, value| !value.is_null());
                }
                shown
            })
            .collect()
    }
}

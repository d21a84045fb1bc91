//! Who is logged in, and the refresh tokens they hold. Pure: no HTTP, no clock of its own.
//!
//! A session is what the Management API lists and ends; the browser is shown the login page at every `/authorize` all the
//! same. Ending sessions does not revoke refresh tokens (docs: manage-user-sessions). Both end asynchronously: after the
//! delay that the caller names.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    clock::iso,
    grants::{Login, secret},
};

/// A session nobody uses ends after three days, any after seven (Auth0's defaults).
const IDLE: SignedDuration = SignedDuration::from_hours(72);
const ABSOLUTE: SignedDuration = SignedDuration::from_hours(168);

/// More sessions or tokens than any test has; past it those that have ended go.
const KEEP: usize = 100_000;

/// One login of one person.
#[derive(Debug, Clone)]
pub(super) struct Session {
    id: String,
    pub(super) user_id: String,
    client_id: String,
    /// `pwd` or `federated`.
    method: &'static str,
    since: Timestamp,
    updated_at: Timestamp,
    pub(super) metadata: Option<Value>,
    ends: Option<Timestamp>,
}

/// One refresh token. It does not rotate and does not expire, as Auth0's by default.
#[derive(Debug, Clone)]
pub(super) struct RefreshToken {
    id: String,
    pub(super) login: Login,
    created_at: Timestamp,
    last_exchanged_at: Option<Timestamp>,
    pub(super) metadata: Option<Value>,
    ends: Option<Timestamp>,
}

/// All of them, by their ids.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<String, Session>,
    tokens: BTreeMap<String, RefreshToken>,
    /// Ids of refresh tokens by their secret value.
    values: HashMap<String, String>,
}

impl Sessions {
    /// A new session; its id is the `sid` of ID tokens.
    pub(super) fn open(
        &mut self,
        user_id: &str,
        client_id: &str,
        method: &'static str,
        now: Timestamp,
    ) -> String {
        if self.sessions.len() >= KEEP {
            self.sessions.retain(|_, session| session.is_live(now));
        }
        let id = secret();
        let session = Session {
            id: id.clone(),
            user_id: user_id.to_owned(),
            client_id: client_id.to_owned(),
            method,
            since: now,
            updated_at: now,
            metadata: None,
            ends: None,
        };
        self.sessions.insert(id.clone(), session);
        id
    }

    /// A new refresh token's value.
    pub(super) fn issue(&mut self, login: Login, now: Timestamp) -> String {
        if self.tokens.len() >= KEEP {
            self.tokens.retain(|_, token| token.is_live(now));
            self.values.retain(|_, id| self.tokens.contains_key(id));
        }
        let value = secret();
        let id = format!("rt_{}", &secret()[..24]);
        let token = RefreshToken {
            id: id.clone(),
            login,
            created_at: now,
            last_exchanged_at: None,
            metadata: None,
            ends: None,
        };
        self.tokens.insert(id.clone(), token);
        self.values.insert(value.clone(), id);
        value
    }

    /// The login behind a refresh token that is good, and that it was used.
    pub(super) fn exchange(&mut self, value: &str, now: Timestamp) -> Option<Login> {
        let id = self.values.get(value)?;
        let token = self.tokens.get_mut(id).filter(|token| token.is_live(now))?;
        token.last_exchanged_at = Some(now);
        Some(token.login.clone())
    }

    pub(super) fn session(&mut self, id: &str, now: Timestamp) -> Option<&mut Session> {
        self.sessions
            .get_mut(id)
            .filter(|session| session.is_live(now))
    }

    pub(super) fn token(&mut self, id: &str, now: Timestamp) -> Option<&mut RefreshToken> {
        self.tokens.get_mut(id).filter(|token| token.is_live(now))
    }

    /// A user's sessions, by id.
    pub(super) fn sessions_of(
        &self,
        user_id: &str,
        now: Timestamp,
    ) -> impl Iterator<Item = &Session> {
        self.sessions
            .values()
            .filter(move |session| session.user_id == user_id && session.is_live(now))
    }

    /// A user's refresh tokens, by id.
    pub(super) fn tokens_of(
        &self,
        user_id: &str,
        now: Timestamp,
    ) -> impl Iterator<Item = &RefreshToken> {
        self.tokens
            .values()
            .filter(move |token| token.login.user_id == user_id && token.is_live(now))
    }

    /// Ends sessions at a time.
    pub(super) fn end(&mut self, at: Timestamp, which: impl Fn(&Session) -> bool) {
        for session in self.sessions.values_mut().filter(|session| which(session)) {
            session.ends = Some(session.ends.map_or(at, |ends| ends.min(at)));
        }
    }

    /// Revokes refresh tokens at a time.
    pub(super) fn revoke(&mut self, at: Timestamp, which: impl Fn(&RefreshToken) -> bool) {
        for token in self.tokens.values_mut().filter(|token| which(token)) {
            token.ends = Some(token.ends.map_or(at, |ends| ends.min(at)));
        }
    }

    /// Forgets a user who is gone.
    pub(super) fn forget(&mut self, user_id: &str) {
        self.sessions
            .retain(|_, session| session.user_id != user_id);
        self.tokens
            .retain(|_, token| token.login.user_id != user_id);
        self.values.retain(|_, id| self.tokens.contains_key(id));
    }
}

impl Session {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| now < ends)
            && now.duration_since(self.since) < ABSOLUTE
            && now.duration_since(self.updated_at) < IDLE
    }

    /// As the Management API shows it.
    pub(super) fn shown(&self) -> Value {
        let after = |time: Timestamp, long: SignedDuration| {
            iso(time.saturating_add(long).unwrap_or(Timestamp::MAX))
        };
        let since = iso(self.since);
        let mut shown = json!({
            "id": self.id, "user_id": self.user_id, "created_at": since, "authenticated_at": since,
            "updated_at": iso(self.updated_at), "last_interacted_at": iso(self.updated_at),
            "idle_expires_at": after(self.updated_at, IDLE), "expires_at": after(self.since, ABSOLUTE),
            "device": {
                "initial_user_agent": "", "initial_ip": "127.0.0.1", "last_user_agent": "", "last_ip": "127.0.0.1",
            },
            "clients": [{"client_id": self.client_id}],
            "authentication": {"methods": [{"name": self.method, "timestamp": since}]},
        });
        if let Some(metadata) = &self.metadata {
            shown["session_metadata"] = metadata.clone();
        }
        shown
    }

    /// Says that it was changed.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.updated_at = now;
    }
}

impl RefreshToken {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    /// As the Management API shows it, without its value.
    pub(super) fn shown(&self) -> Value {
        let authorization = &self.login.authorization;
        let servers: Vec<Value> = authorization
            .audience
            .iter()
            .map(|audience| json!({"audience": audience, "scopes": authorization.scope}))
            .collect();
        let mut shown = json!({
            "id": self.id, "user_id": self.login.user_id, "created_at": iso(self.created_at),
            "idle_expires_at": null, "expires_at": null, "client_id": authorization.client_id,
            "session_id": self.login.sid, "rotating": false, "resource_servers": servers,
        });
        if let Some(at) = self.last_exchanged_at {
            shown["last_exchanged_at"] = iso(at).into();
        }
        if let Some(metadata) = &self.metadata {
            shown["refresh_token_metadata"] = metadata.clone();
        }
        shown
    }
}

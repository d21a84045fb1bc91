//! Auth0's user as Roster sees it: what is observed, what is created, what is changed.
//!
//! `Debug` of these types leaves out e-mail, names and metadata, so that a stray `?user` in a log line tells nobody who
//! somebody is.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::user::Auth0UserId;

/// A user that Auth0 has, cut to what Roster reads.
#[derive(Clone, PartialEq)]
pub struct User {
    pub id: Auth0UserId,
    pub email: Option<String>,
    pub email_verified: bool,
    pub name: Option<String>,
    /// The administrator's block. Absent until first set, which means false.
    pub blocked: bool,
    pub app_metadata: Map<String, Value>,
    pub user_metadata: Map<String, Value>,
    pub identities: Vec<Identity>,
    /// Moves with failed logins of blocked users too.
    pub last_login: Option<Timestamp>,
    pub logins_count: Option<u64>,
    pub created_at: Option<Timestamp>,
}

impl User {
    /// Whether one of the user's identities belongs to the connection of this name.
    pub fn in_connection(&self, connection: &str) -> bool {
        self.identities
            .iter()
            .any(|identity| identity.connection == connection)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("email_verified", &self.email_verified)
            .field("blocked", &self.blocked)
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}

/// One way in which a user logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Such as `auth0` or `google-oauth2`.
    pub provider: String,
    /// Without the provider's prefix.
    pub user_id: String,
    /// The connection's name; empty where Auth0 does not say.
    pub connection: String,
    pub is_social: bool,
}

/// A user to be created in the configured connection.
#[derive(Clone, PartialEq)]
pub struct NewUser {
    /// Chosen by us, `auth0|…`.
    pub id: Auth0UserId,
    pub email: String,
    /// Auth0 puts the e-mail there when absent.
    pub name: Option<String>,
    pub blocked: bool,
    pub app_metadata: Map<String, Value>,
    pub user_metadata: Map<String, Value>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("id", &self.id)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// Changes to one user; what is `None` or not named in a map stays as it is.
#[derive(Clone, Default, PartialEq)]
pub struct Patch {
    /// Sent with `email_verified: false` and `verify_email: false`: the new address is unproven, and nobody is mailed.
    pub email: Option<String>,
    /// `Some(None)` unsets the name.
    pub name: Option<Option<String>>,
    pub blocked: Option<bool>,
    /// Top-level keys to set, each whole; a null deletes its key. Never sent when empty, since `{}` clears everything,
    /// other writers' keys too.
    pub app_metadata: Map<String, Value>,
    /// As `app_metadata`.
    pub user_metadata: Map<String, Value>,
}

impl Patch {
    /// Whether there is nothing to change, hence no call to make.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("email", &self.email.is_some())
            .field("name", &self.name.is_some())
            .field("blocked", &self.blocked)
            .field("app_metadata", &self.app_metadata.len())
            .field("user_metadata", &self.user_metadata.len())
            .finish()
    }
}

/// What a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Auth0 keeps its users and their passwords.
    Database,
    /// Somebody else does; Auth0's name for whom.
    Other(String),
    /// There is no such connection.
    None,
}

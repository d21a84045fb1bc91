//! Accounts that were linked to a primary one: out of every list, but still a way to log in, and still in the way of
//! whoever wants their address.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use warp::http::StatusCode;

use super::{
    directory::Directory,
    errors::ApiError,
    identities::profile_data,
    profile::{Identity, User},
};

/// The secondary accounts by their own id, each with the id of its primary.
#[derive(Debug, Default)]
pub(super) struct Linked {
    secondaries: HashMap<String, (String, Arc<User>)>,
}

impl Linked {
    /// Links one, and whoever was linked to it, to the primary.
    pub(super) fn add(&mut self, primary: &str, secondary: Arc<User>) {
        for (of, _) in self.secondaries.values_mut() {
            if *of == secondary.user_id {
                primary.clone_into(of);
            }
        }
        self.secondaries
            .insert(secondary.user_id.clone(), (primary.to_owned(), secondary));
    }

    pub(super) fn has(&self, user_id: &str) -> bool {
        self.secondaries.contains_key(user_id)
    }

    /// Whom a secondary account was linked to.
    pub(super) fn primary(&self, user_id: &str) -> Option<&str> {
        self.secondaries
            .get(user_id)
            .map(|(primary, _)| primary.as_str())
    }

    /// Unlinks one.
    pub(super) fn remove(&mut self, user_id: &str) -> Option<Arc<User>> {
        self.secondaries.remove(user_id).map(|(_, user)| user)
    }

    /// Unlinks all of one primary account.
    pub(super) fn remove_all_of(&mut self, primary: &str) -> Vec<Arc<User>> {
        // Nearly no tenant of a test has linked accounts, and a DELETE must not pay for them.
        if self.secondaries.is_empty() {
            return Vec::new();
        }
        self.secondaries
            .extract_if(|_, (of, _)| of == primary)
            .map(|(_, (_, user))| user)
            .collect()
    }

    /// Whether a secondary account in one of the user's connections has this address.
    pub(super) fn has_email(&self, user: &User, email: &str) -> bool {
        self.secondaries.values().any(|(_, secondary)| {
            secondary.email.as_deref() == Some(email)
                && secondary.user_id != user.user_id
                && secondary.shares(user)
        })
    }

    /// The secondary account of this connection with this address, and its primary's id: how people log in with it.
    pub(super) fn find(&self, connection: &str, email: &str) -> Option<(&str, &Arc<User>)> {
        self.secondaries
            .values()
            .find(|(_, user)| user.email.as_deref() == Some(email) && user.is_in(connection))
            .map(|(primary, user)| (primary.as_str(), user))
    }
}

impl Directory {
    /// Folds a secondary account into the primary one.
    ///
    /// # Errors
    /// 404 if either is not there, 409 for one that was linked already, 400 for the primary itself.
    pub(super) fn link(
        &mut self,
        primary: &str,
        secondary: &str,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        self.get(primary).ok_or_else(ApiError::no_such_user)?;
        if primary == secondary {
            return Err(ApiError::bad_request(
                "invalid_body",
                "Main account and linked account cannot be the same",
            ));
        }
        if self.linked.has(secondary) {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                Some("identity_conflict"),
                "Specified identity already exists.",
            ));
        }
        let gone = self
            .remove(secondary, now)
            .ok_or_else(ApiError::no_such_secondary)?;
        let mut identities = gone.identities.clone();
        if let Some(first) = identities.first_mut() {
            first.profile_data = Some(profile_data(&gone));
        }
        self.linked.add(primary, gone);
        self.update(primary, now, |user| user.identities.extend(identities))
            .ok_or_else(ApiError::no_such_user)
    }

    /// Makes a secondary account one of its own again, without metadata. What names no secondary account changes nothing.
    ///
    /// # Errors
    /// 404 for no such primary account, 400 for its own identity.
    pub(super) fn unlink(
        &mut self,
        primary: &str,
        provider: &str,
        bare_id: &str,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        let user = self.get(primary).ok_or_else(ApiError::no_such_user)?;
        let named =
            |identity: &Identity| identity.provider == provider && identity.user_id == bare_id;
        let identity = match user.identities.iter().position(named) {
            None => return Ok(user.clone()),
            Some(0) => {
                return Err(ApiError::bad_request(
                    "invalid_uri",
                    "The main identity of a user cannot be unlinked",
                ));
            }
            Some(place) => user.identities[place].clone(),
        };
        let secondary = format!("{provider}|{bare_id}");
        let mut freed = match self.linked.remove(&secondary) {
            Some(user) => Arc::unwrap_or_clone(user),
            None => User::new(identity, now),
        };
        (freed.app_metadata, freed.user_metadata) = (None, None);
        freed.identities.truncate(1);
        if let Some(identity) = freed.identities.first_mut() {
            identity.profile_data = None;
        }
        self.insert(freed, now);
        self.update(primary, now, |user| {
            user.identities.retain(|identity| !named(identity))
        })
        .ok_or_else(ApiError::no_such_user)
    }
}

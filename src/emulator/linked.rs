//! Accounts that were linked to a primary one: out of every list, but still a way to log in, and still in the way of
//! whoever wants their address.

use std::{collections::HashMap, sync::Arc};

use super::profile::User;

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

//! The tenant's users, found by id and by e-mail, and what is refused because of who else is there.
//!
//! Pure: no HTTP, no clock of its own. What one user's change means is in [`super::rules`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use warp::http::StatusCode;

use super::{
    clock::TICK,
    errors::ApiError,
    identities::profile_data,
    lateness::Lateness,
    linked::Linked,
    options::{Answers, LinkedAway, Options},
    profile::{Identity, User},
    rules,
    validate::Object,
};

/// The users, found by id and by e-mail, listed in the order they came.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: HashMap<String, Entry>,
    /// Ids by e-mail exactly as stored; one address may be there once in each connection.
    emails: HashMap<String, Vec<String>>,
    order: BTreeMap<u64, String>,
    next: u64,
    /// What search and new users still see of the past.
    lateness: Lateness,
    /// Who was linked to somebody else.
    pub(super) linked: Linked,
}

#[derive(Debug)]
struct Entry {
    place: u64,
    user: Arc<User>,
}

impl Directory {
    /// How late search is, and for how long what was deleted stays taken.
    pub(super) fn set_options(&mut self, options: &Options) {
        self.lateness.set_options(options);
    }

    pub(super) fn get(&self, user_id: &str) -> Option<&Arc<User>> {
        self.users.get(user_id).map(|entry| &entry.user)
    }

    /// As [`Self::get`], but for who was linked away, whom some answers take for the primary account.
    pub(super) fn reached(&self, user_id: &str, answers: &Answers) -> Option<&Arc<User>> {
        self.get(user_id).or_else(|| match answers.linked_away {
            LinkedAway::NotFound => None,
            LinkedAway::Primary => self.get(self.linked.primary(user_id)?),
        })
    }

    /// Users of all connections with exactly this address; the comparison knows upper from lower case, as Auth0's.
    pub(super) fn by_email<'a>(&'a self, email: &str) -> impl Iterator<Item = &'a Arc<User>> {
        self.emails
            .get(email)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(id))
    }

    /// The user of this connection who has this address.
    pub(super) fn find(&self, connection: &str, email: &str) -> Option<&Arc<User>> {
        self.by_email(email).find(|user| user.is_in(connection))
    }

    /// All users, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<User>> {
        self.order.values().filter_map(|id| self.get(id))
    }

    /// All users as search knows them at `now`: oldest first, and as late as the options say.
    pub(super) fn indexed(&self, now: Timestamp) -> Vec<Arc<User>> {
        self.as_it_was(|users| self.lateness.undo_for_search(users, now))
    }

    /// All users as an export at `now` knows them: oldest first, and as late as the options say.
    pub(super) fn exported(&self, now: Timestamp) -> Vec<Arc<User>> {
        self.as_it_was(|users| self.lateness.undo_for_exports(users, now))
    }

    fn as_it_was(&self, undo: impl FnOnce(&mut BTreeMap<u64, Arc<User>>)) -> Vec<Arc<User>> {
        if !self.lateness.is_late() {
            return self.iter().cloned().collect();
        }
        let mut users: BTreeMap<u64, Arc<User>> = self
            .users
            .values()
            .map(|entry| (entry.place, entry.user.clone()))
            .collect();
        undo(&mut users);
        users.into_values().collect()
    }

    /// `POST /users`, with a body that fits its schema.
    pub(super) fn create(
        &mut self,
        body: &Object,
        options: &Options,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        let user = rules::new_user(body, options, now)?;
        let taken = |name: &Option<String>, is_taken: &dyn Fn(&str) -> bool| {
            name.as_deref().is_some_and(is_taken)
        };
        if self.users.contains_key(&user.user_id)
            || self.is_left_behind(&user, now)
            || taken(&user.email, &|email| self.email_is_taken(&user, email))
            || taken(&user.username, &|name| self.username_is_taken(&user, name))
        {
            return Err(ApiError::user_exists());
        }
        Ok(self.insert(user, now))
    }

    /// `PATCH /users/{id}`, with a body that fits its schema.
    pub(super) fn patch(
        &mut self,
        user_id: &str,
        body: &Object,
        options: &Options,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        let current = self
            .reached(user_id, &options.answers)
            .ok_or_else(ApiError::no_such_user)?
            .clone();
        let (current, user_id) = (&*current, current.user_id.as_str());
        rules::may_patch(current, body, options)?;
        if let Some(email) = rules::new_email(body)
            && self.email_is_taken(current, &email)
        {
            return Err(rules::email_exists(options));
        }
        if let Some(username) = rules::text(body, "username")
            && self.username_is_taken(current, username)
        {
            return Err(rules::username_exists());
        }

        let old_email = current.email.clone();
        let user = self
            .update(user_id, now, |user| rules::apply(user, body, options, now))
            .ok_or_else(ApiError::no_such_user)?;
        self.reindex(&user, old_email);
        Ok(user)
    }

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
            .ok_or_else(ApiError::no_such_user)?;
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

    /// `DELETE /users/{id}`, and whoever was linked to it; whether there was one.
    pub(super) fn delete(&mut self, user_id: &str, now: Timestamp) -> bool {
        let Some(user) = self.remove(user_id, now) else {
            return false;
        };
        self.lateness.depart(user, now);
        for secondary in self.linked.remove_all_of(user_id) {
            self.lateness.depart(secondary, now);
        }
        true
    }

    /// Takes a user out of the lists.
    pub(super) fn remove(&mut self, user_id: &str, now: Timestamp) -> Option<Arc<User>> {
        let entry = self.users.remove(user_id)?;
        self.order.remove(&entry.place);
        if let Some(email) = &entry.user.email {
            self.unindex(email, user_id);
        }
        self.lateness.changed(entry.place, Some(&entry.user), now);
        Some(entry.user)
    }

    /// Puts a user there, in place of the one with the same id, whatever the rules say.
    pub(super) fn insert(&mut self, user: User, now: Timestamp) -> Arc<User> {
        self.remove(&user.user_id, now);
        let user = Arc::new(user);
        let place = self.next;
        self.next += 1;
        self.lateness.changed(place, None, now);
        self.order.insert(place, user.user_id.clone());
        if let Some(email) = &user.email {
            self.emails
                .entry(email.clone())
                .or_default()
                .push(user.user_id.clone());
        }
        let entry = Entry {
            place,
            user: user.clone(),
        };
        self.users.insert(user.user_id.clone(), entry);
        user
    }

    /// Changes a user and moves `updated_at`. The caller sees to the e-mail's index.
    pub(super) fn update(
        &mut self,
        user_id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut User),
    ) -> Option<Arc<User>> {
        let entry = self.users.get_mut(user_id)?;
        self.lateness.changed(entry.place, Some(&entry.user), now);
        let user = Arc::make_mut(&mut entry.user);
        change(user);
        touch(user, now);
        Some(entry.user.clone())
    }

    /// Whether somebody else in one of the user's connections has this address.
    fn email_is_taken(&self, user: &User, email: &str) -> bool {
        self.by_email(email)
            .any(|other| other.user_id != user.user_id && other.shares(user))
            || self.linked.has_email(user, email)
    }

    /// Whether who was deleted only now, or was linked to somebody, still has the id or the address of a new user.
    pub(super) fn is_left_behind(&self, user: &User, now: Timestamp) -> bool {
        let email = user.email.as_deref();
        self.linked.has(&user.user_id)
            || email.is_some_and(|email| self.linked.has_email(user, email))
            || self.lateness.is_departed(user, now)
    }

    /// Whether somebody else in one of the user's connections has this username.
    pub(super) fn username_is_taken(&self, user: &User, username: &str) -> bool {
        // Connections with usernames are rare and small in tests; an index would serve nobody.
        self.users.values().map(|entry| &entry.user).any(|other| {
            other.user_id != user.user_id
                && other.shares(user)
                && other
                    .username
                    .as_deref()
                    .is_some_and(|taken| taken.eq_ignore_ascii_case(username))
        })
    }

    /// Whether somebody else in one of the user's connections has this phone number. As rare as usernames.
    pub(super) fn phone_is_taken(&self, user: &User, phone: &str) -> bool {
        self.users.values().map(|entry| &entry.user).any(|other| {
            other.user_id != user.user_id
                && other.shares(user)
                && other.phone_number.as_deref() == Some(phone)
        })
    }

    fn reindex(&mut self, user: &User, old_email: Option<String>) {
        if user.email == old_email {
            return;
        }
        if let Some(old) = old_email {
            self.unindex(&old, &user.user_id);
        }
        if let Some(email) = &user.email {
            self.emails
                .entry(email.clone())
                .or_default()
                .push(user.user_id.clone());
        }
    }

    fn unindex(&mut self, email: &str, user_id: &str) {
        if let Some(ids) = self.emails.get_mut(email) {
            ids.retain(|id| id != user_id);
            if ids.is_empty() {
                self.emails.remove(email);
            }
        }
    }
}

/// Moves `updated_at`, even if the clock did not move since the last change.
fn touch(user: &mut User, now: Timestamp) {
    user.updated_at = now.max(
        user.updated_at
            .saturating_add(TICK)
            .unwrap_or(Timestamp::MAX),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else {
            unreachable!("tests pass objects")
        };
        object
    }

    fn ann(directory: &mut Directory) -> Arc<User> {
        let body = json!({
            "connection": "Username-Password-Authentication", "user_id": "ann", "email": "Ann@a.test",
            "password": "Correct-horse-1",
        });
        directory
            .create(&object(body), &Options::default(), Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn patched(directory: &mut Directory, body: Value) -> Arc<User> {
        directory
            .patch(
                "auth0|ann",
                &object(body),
                &Options::default(),
                Timestamp::UNIX_EPOCH,
            )
            .unwrap()
    }

    #[test]
    fn metadata_merges_on_the_first_level_only() {
        let mut directory = Directory::default();
        ann(&mut directory);
        patched(
            &mut directory,
            json!({"app_metadata": {"a": {"x": 1}, "b": 1, "c": 1}}),
        );
        let user = patched(
            &mut directory,
            json!({"app_metadata": {"a": {"y": 2}, "b": null}}),
        );
        assert_eq!(
            user.app_metadata,
            Some(object(json!({"a": {"y": 2}, "c": 1})))
        );
    }

    #[test]
    fn an_empty_object_clears_and_app_metadata_vanishes_while_user_metadata_stays() {
        let mut directory = Directory::default();
        ann(&mut directory);
        patched(
            &mut directory,
            json!({"app_metadata": {"a": 1}, "user_metadata": {"a": 1}}),
        );
        let user = patched(
            &mut directory,
            json!({"app_metadata": {}, "user_metadata": {}}),
        );
        assert_eq!(user.app_metadata, None);
        assert_eq!(user.user_metadata, Some(Object::new()));
    }

    #[test]
    fn an_address_is_free_again_once_its_holder_moved_or_went() {
        let mut directory = Directory::default();
        assert_eq!(ann(&mut directory).email.as_deref(), Some("ann@a.test"));
        assert_eq!(directory.by_email("ann@a.test").count(), 1);
        assert_eq!(directory.by_email("Ann@a.test").count(), 0);
        patched(&mut directory, json!({"email": "b@a.test"}));
        assert_eq!(directory.by_email("ann@a.test").count(), 0);
        assert!(directory.delete("auth0|ann", Timestamp::UNIX_EPOCH));
        assert!(!directory.delete("auth0|ann", Timestamp::UNIX_EPOCH));
        assert_eq!(directory.by_email("b@a.test").count(), 0);
        assert_eq!(directory.iter().count(), 0);
    }

    #[test]
    fn updated_at_moves_even_when_the_clock_stands() {
        let mut directory = Directory::default();
        let before = ann(&mut directory).updated_at;
        assert!(patched(&mut directory, json!({"name": "Ann"})).updated_at > before);
    }
}

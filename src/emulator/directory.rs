//! The tenant's users and the rules of changing them. Pure: no HTTP, no clock of its own.
//!
//! Bodies come in checked by [`super::validate`]; what is refused here depends on who else is there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    clock::TICK,
    errors::ApiError,
    options::Options,
    passwords::{Password, is_strong},
    profile::{Identity, User, hex},
    validate::Object,
};

/// The connection of people who log in with Google.
pub(super) const GOOGLE: &str = "google-oauth2";

/// The users, found by id and by e-mail, listed in the order they came.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: HashMap<String, Entry>,
    /// Ids by e-mail exactly as stored; one address may be there once in each connection.
    emails: HashMap<String, Vec<String>>,
    order: BTreeMap<u64, String>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    place: u64,
    user: Arc<User>,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn get(&self, user_id: &str) -> Option<&Arc<User>> {
        self.users.get(user_id).map(|entry| &entry.user)
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

    /// `POST /users`.
    pub(super) fn create(
        &mut self,
        body: &Object,
        options: &Options,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        let connection = text(body, "connection").unwrap_or_default();
        if connection == GOOGLE {
            return Err(ApiError::bad_request(
                "operation_not_supported",
                "The connection does not support user creation through the API. It must either be a database or passwordless connection.",
            ));
        }
        if connection != options.connection {
            return Err(ApiError::bad_request(
                "inexistent_connection",
                "The connection does not exist.",
            ));
        }
        if body.contains_key("username") && !options.requires_username {
            return Err(username_not_allowed());
        }
        let email = text(body, "email").ok_or_else(|| required("email"))?;
        let password = text(body, "password").ok_or_else(|| required("password"))?;
        strong(password)?;

        let id = text(body, "user_id")
            .filter(|id| !id.is_empty())
            .map_or_else(|| hex(&rand::random::<[u8; 12]>()), str::to_owned);
        let mut user = User::new(
            Identity {
                connection: connection.to_owned(),
                user_id: id,
                provider: "auth0".into(),
                is_social: false,
                profile_data: None,
            },
            now,
        );
        user.email = Some(email.to_lowercase());
        user.password = Some(Password::new(password));
        apply_plain(&mut user, body);
        user.app_metadata = merged(None, body.get("app_metadata")).filter(|map| !map.is_empty());
        user.user_metadata = merged(None, body.get("user_metadata"));
        user.fill_defaults();
        self.ensure_free(&user)?;
        Ok(self.insert(user))
    }

    /// `PATCH /users/{id}`.
    pub(super) fn patch(
        &mut self,
        user_id: &str,
        body: &Object,
        options: &Options,
        now: Timestamp,
    ) -> Result<Arc<User>, ApiError> {
        let current = self.get(user_id).ok_or_else(ApiError::no_such_user)?;
        if let Some(connection) = text(body, "connection")
            && !current.is_in(connection)
        {
            return Err(ApiError::bad_request(
                "inexistent_connection",
                "The connection does not exist.",
            ));
        }
        if !current.is_database_user() {
            refuse_on_social(current, body, options)?;
        }
        if body.contains_key("username") && !options.requires_username {
            return Err(username_not_allowed());
        }
        if let Some(password) = text(body, "password") {
            strong(password)?;
        }
        let email = body
            .get("email")
            .map(|email| email.as_str().map(str::to_lowercase));
        if let Some(Some(email)) = &email
            && self.is_taken_from(current, email)
        {
            return Err(ApiError::new(
                warp::http::StatusCode::from_u16(options.email_conflict_status)
                    .unwrap_or(warp::http::StatusCode::BAD_REQUEST),
                Some("auth0_idp_error"),
                "The specified new email already exists",
            ));
        }
        if let Some(username) = text(body, "username")
            && self.username_is_taken(current, username)
        {
            return Err(ApiError::bad_request(
                "auth0_idp_error",
                "The specified new username already exists",
            ));
        }

        let old_email = current.email.clone();
        let Some(entry) = self.users.get_mut(user_id) else {
            return Err(ApiError::no_such_user());
        };
        let user = Arc::make_mut(&mut entry.user);
        if let Some(email) = email {
            if options.email_change_unverifies && user.email != email {
                user.email_verified = false;
            }
            user.email = email;
        }
        if let Some(password) = text(body, "password") {
            user.password = Some(Password::new(password));
            user.last_password_reset = Some(now);
            lift_block(user);
        }
        apply_plain(user, body);
        if body.contains_key("app_metadata") {
            user.app_metadata = merged(user.app_metadata.take(), body.get("app_metadata"))
                .filter(|map| !map.is_empty());
        }
        if body.contains_key("user_metadata") {
            user.user_metadata = merged(user.user_metadata.take(), body.get("user_metadata"));
        }
        touch(user, now);
        let user = entry.user.clone();
        self.reindex(&user, old_email);
        Ok(user)
    }

    /// `DELETE /users/{id}`; whether there was one.
    pub(super) fn delete(&mut self, user_id: &str) -> bool {
        let Some(entry) = self.users.remove(user_id) else {
            return false;
        };
        self.order.remove(&entry.place);
        if let Some(email) = &entry.user.email {
            self.unindex(email, user_id);
        }
        true
    }

    /// Puts a user there, in place of the one with the same id, whatever the rules say.
    pub(super) fn insert(&mut self, user: User) -> Arc<User> {
        self.delete(&user.user_id);
        let user = Arc::new(user);
        let place = self.next;
        self.next += 1;
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

    /// Changes a user's own affairs (a login, a password set through a link), never the e-mail.
    pub(super) fn update(
        &mut self,
        user_id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut User),
    ) -> Option<Arc<User>> {
        let entry = self.users.get_mut(user_id)?;
        let user = Arc::make_mut(&mut entry.user);
        change(user);
        touch(user, now);
        Some(entry.user.clone())
    }

    fn ensure_free(&self, user: &User) -> Result<(), ApiError> {
        let email_taken = user
            .email
            .as_deref()
            .is_some_and(|email| self.is_taken_from(user, email));
        let username_taken = user
            .username
            .as_deref()
            .is_some_and(|username| self.username_is_taken(user, username));
        if self.users.contains_key(&user.user_id) || email_taken || username_taken {
            return Err(ApiError::user_exists());
        }
        Ok(())
    }

    /// Whether somebody else in one of the user's connections has this address.
    fn is_taken_from(&self, user: &User, email: &str) -> bool {
        self.by_email(email)
            .any(|other| other.user_id != user.user_id && share_connection(other, user))
    }

    fn username_is_taken(&self, user: &User, username: &str) -> bool {
        // Connections with usernames are rare and small in tests; an index would serve nobody.
        self.users.values().map(|entry| &entry.user).any(|other| {
            other.user_id != user.user_id
                && share_connection(other, user)
                && other
                    .username
                    .as_deref()
                    .is_some_and(|taken| taken.eq_ignore_ascii_case(username))
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

/// Setting a password through the Management API lifts the administrator's block (docs: block-and-unblock-users).
pub(super) fn lift_block(user: &mut User) {
    if user.is_blocked() {
        user.blocked = Some(false);
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

/// Fields that are simply set or, in a patch, unset by `null`.
fn apply_plain(user: &mut User, body: &Object) {
    let unset_or_text = |key: &str, field: &mut Option<String>| {
        if let Some(value) = body.get(key) {
            *field = value.as_str().map(str::to_owned);
        }
    };
    unset_or_text("username", &mut user.username);
    unset_or_text("name", &mut user.name);
    unset_or_text("nickname", &mut user.nickname);
    unset_or_text("given_name", &mut user.given_name);
    unset_or_text("family_name", &mut user.family_name);
    unset_or_text("picture", &mut user.picture);
    unset_or_text("phone_number", &mut user.phone_number);
    if let Some(flag) = flag(body, "email_verified") {
        user.email_verified = flag;
    }
    user.blocked = flag(body, "blocked").or(user.blocked);
    user.phone_verified = flag(body, "phone_verified").or(user.phone_verified);
}

/// First-level merge: `null` removes a key, nested objects are replaced whole, and `{}` clears everything.
fn merged(current: Option<Object>, change: Option<&Value>) -> Option<Object> {
    let Some(Value::Object(change)) = change else {
        return current;
    };
    let mut result = match change.is_empty() {
        true => Object::new(),
        false => current.unwrap_or_default(),
    };
    for (key, value) in change {
        if value.is_null() {
            result.remove(key);
        } else {
            result.insert(key.clone(), value.clone());
        }
    }
    Some(result)
}

fn refuse_on_social(user: &User, body: &Object, options: &Options) -> Result<(), ApiError> {
    const OWNED_BY_THE_PROVIDER: &[&str] = &[
        "email",
        "email_verified",
        "username",
        "password",
        "verify_email",
    ];
    const SYNCED: &[&str] = &["name", "nickname", "given_name", "family_name", "picture"];
    let refused: Vec<&str> = body
        .keys()
        .map(String::as_str)
        .filter(|key| {
            OWNED_BY_THE_PROVIDER.contains(key)
                || (options.social_profile_sync && SYNCED.contains(key))
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let connection = user
        .identities
        .first()
        .map_or("", |identity| &identity.connection);
    Err(ApiError::bad_request(
        "operation_not_supported",
        format!(
            "The following user attributes cannot be updated: {}. The connection ({connection}) must either be a database connection or have disabled the sync of user profile attributes at each login.",
            refused.join(", "),
        ),
    ))
}

fn share_connection(one: &User, other: &User) -> bool {
    one.identities
        .iter()
        .any(|identity| other.is_in(&identity.connection))
}

fn strong(password: &str) -> Result<(), ApiError> {
    if is_strong(password) {
        return Ok(());
    }
    Err(ApiError::weak_password())
}

fn required(key: &str) -> ApiError {
    ApiError::invalid_body(format_args!("'Missing required property: {key}'"))
}

fn username_not_allowed() -> ApiError {
    ApiError::bad_request(
        "invalid_body",
        "Cannot set username for connection without requires_username",
    )
}

fn text<'a>(body: &'a Object, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str)
}

fn flag(body: &Object, key: &str) -> Option<bool> {
    body.get(key).and_then(Value::as_bool)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert!(directory.delete("auth0|ann"));
        assert!(!directory.delete("auth0|ann"));
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

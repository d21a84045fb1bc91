//! What an import does to the users: who is added, who is changed, who is refused and why.
//!
//! Without `upsert` nobody is changed. With it, who is there with the same e-mail is changed, but only in what the docs
//! call upsertable: never the block, the id, the username, the phone or the password. Both metadata objects are
//! overwritten whole, unlike in a PATCH. Hashed passwords are checked for their form and then dropped: nobody can log in
//! with one here, and each such user sets a new password, as one without any does.
//!
//! Facts: docs pages `bulk-user-imports` (the codes) and `bulk-user-import-schema`; recorded messages where there are.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{import::Import, queue::Summary};
use crate::emulator::{
    directory::Directory,
    options::Options,
    profile::{Identity, User, hex},
    rules::{self, text},
    validate::{
        self,
        Form::{
            AnyList, AnyObject, AppMetadata, Email, Flag, Id, OneOf, Phone, Text, Url, UserMetadata,
        },
        Object, Schema, UNBOUNDED,
    },
};

const RECORD: Schema = &[
    ("email", Email, false),
    ("email_verified", Flag, false),
    ("user_id", Id, false),
    ("username", Text(1, 128), false),
    ("phone_number", Phone, false),
    ("phone_verified", Flag, false),
    ("name", Text(1, 300), false),
    ("nickname", Text(1, 300), false),
    ("given_name", Text(1, 150), false),
    ("family_name", Text(1, 150), false),
    ("picture", Url, false),
    ("blocked", Flag, false),
    ("password_hash", Text(1, UNBOUNDED), false),
    ("custom_password_hash", AnyObject, false),
    ("app_metadata", AppMetadata, false),
    ("user_metadata", UserMetadata, false),
    ("mfa_factors", AnyList, false),
];

const ALGORITHMS: &[&str] = &[
    "argon2", "bcrypt", "hmac", "ldap", "md4", "md5", "sha1", "sha256", "sha512", "pbkdf2",
    "scrypt",
];

const CUSTOM_HASH: Schema = &[
    ("algorithm", OneOf(ALGORITHMS), false),
    ("hash", AnyObject, false),
    ("salt", AnyObject, false),
    ("password", AnyObject, false),
    ("keylen", validate::Form::Count(1), false),
    ("cost", validate::Form::Count(2), false),
    ("blockSize", validate::Form::Count(1), false),
    ("parallelization", validate::Form::Count(1), false),
];

/// What an import may change of a user who is there.
const UPSERTABLE: &[&str] = &[
    "email_verified",
    "name",
    "nickname",
    "given_name",
    "family_name",
    "picture",
    "app_metadata",
    "user_metadata",
];

/// How many second factors a user may bring.
const MAX_FACTORS: usize = 10;

/// What an import did.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) summary: Summary,
    /// The records that failed with their reasons, as `GET /jobs/{id}/errors` shows them; null for none.
    pub(super) errors: Value,
    pub(super) inserted: Vec<Arc<User>>,
}

/// Why a record failed.
#[derive(Debug)]
struct Reason {
    code: &'static str,
    message: String,
    path: Option<String>,
}

impl Reason {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: None,
        }
    }

    fn at(path: &str, code: &'static str, what: &str) -> Self {
        Self {
            code,
            message: format!("Error in {path} property - {what}"),
            path: Some(path.to_owned()),
        }
    }

    fn show(&self) -> Value {
        let mut shown = json!({"code": self.code, "message": self.message});
        if let Some(path) = &self.path {
            shown["path"] = path.as_str().into();
        }
        shown
    }
}

/// Imports all records, each for itself.
pub(super) fn import(
    records: Vec<Value>,
    import: &Import,
    directory: &mut Directory,
    options: &Options,
    now: Timestamp,
) -> Imported {
    let mut imported = Imported::default();
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    imported.summary.total = records.len();
    for record in records {
        let done = checked(&record, options)
            .and_then(|record| unseen(record, &mut seen).map_err(|reason| vec![reason]))
            .and_then(|record| {
                write(record, import, directory, options, now).map_err(|reason| vec![reason])
            });
        match done {
            Ok(Written::Inserted(user)) => {
                imported.summary.inserted += 1;
                imported.inserted.push(user);
            }
            Ok(Written::Updated) => imported.summary.updated += 1,
            Err(reasons) => {
                imported.summary.failed += 1;
                let reasons: Vec<Value> = reasons.iter().map(Reason::show).collect();
                errors.push(json!({"user": redacted(record), "errors": reasons}));
            }
        }
    }
    if !errors.is_empty() {
        imported.errors = errors.into();
    }
    imported
}

/// The record, if it fits its schema; else all that is wrong with it.
fn checked<'a>(record: &'a Value, options: &Options) -> Result<&'a Object, Vec<Reason>> {
    let Value::Object(record) = record else {
        return Err(vec![Reason::new("INVALID_TYPE", "Expected type object")]);
    };
    let mut reasons: Vec<Reason> = validate::misfits(RECORD, record)
        .map(|(key, misfit)| Reason::at(key, misfit.code, &misfit.what))
        .collect();
    if !record.contains_key("email") {
        reasons.push(Reason::at(
            "email",
            "OBJECT_REQUIRED",
            "Missing required property: email",
        ));
    }
    if record.contains_key("username") && !options.requires_username {
        let what = "The connection has no usernames";
        reasons.push(Reason::at("username", "NOT_PASSED", what));
    }
    reasons.extend(wrong_hash(record));
    reasons.extend(wrong_factors(record));
    match reasons.is_empty() {
        true => Ok(record),
        false => Err(reasons),
    }
}

fn wrong_hash(record: &Object) -> Vec<Reason> {
    const PATH: &str = "custom_password_hash";
    let Some(Value::Object(hash)) = record.get(PATH) else {
        return Vec::new();
    };
    let mut reasons: Vec<Reason> = validate::misfits(CUSTOM_HASH, hash)
        .map(|(key, misfit)| Reason::at(&format!("{PATH}.{key}"), misfit.code, &misfit.what))
        .collect();
    for missing in ["algorithm", "hash"] {
        if !hash.contains_key(missing) {
            let what = format!("Missing required property: {missing}");
            reasons.push(Reason::at(PATH, "OBJECT_REQUIRED", &what));
        }
    }
    if record.contains_key("password_hash") {
        let what = "Not together with password_hash";
        reasons.push(Reason::at(PATH, "NOT_PASSED", what));
    }
    reasons
}

fn wrong_factors(record: &Object) -> Option<Reason> {
    let factors = record.get("mfa_factors")?.as_array()?;
    let code = match factors.len() {
        0 => "ARRAY_LENGTH_SHORT",
        1..=MAX_FACTORS => return None,
        _ => "ARRAY_LENGTH_LONG",
    };
    let what = format!("From 1 to {MAX_FACTORS} factors");
    Some(Reason::at("mfa_factors", code, &what))
}

/// The record, unless another one of the same file was for the same user. The first is taken, whatever becomes of it.
fn unseen<'a>(
    record: &'a Object,
    seen: &mut HashSet<(&'static str, String)>,
) -> Result<&'a Object, Reason> {
    let mut twice = None;
    for key in ["email", "user_id", "username", "phone_number"] {
        let Some(value) = text(record, key) else {
            continue;
        };
        let value = match key {
            "email" | "username" => value.to_lowercase(),
            _ => value.to_owned(),
        };
        if !seen.insert((key, value)) {
            twice = twice.or(Some(key));
        }
    }
    match twice {
        None => Ok(record),
        Some(key) => Err(Reason::new(
            "DUPLICATED_USER",
            format!("A user with this {key} was already provided."),
        )),
    }
}

enum Written {
    Inserted(Arc<User>),
    Updated,
}

fn write(
    record: &Object,
    import: &Import,
    directory: &mut Directory,
    options: &Options,
    now: Timestamp,
) -> Result<Written, Reason> {
    let new = new_user(record, import, now);
    let email = new.email.as_deref().unwrap_or_default();
    let same_email = directory.find(&import.connection, email).cloned();
    let collision = collision(record, &new, same_email.as_deref(), directory);
    if !import.upsert && (same_email.is_some() || collision.is_some()) {
        return Err(Reason::new(
            "DUPLICATED_USER",
            "The user already exist and upsert parameter is false",
        ));
    }
    if let Some(reason) = collision {
        return Err(reason);
    }
    let Some(current) = same_email else {
        if directory.is_left_behind(&new, now) {
            // The docs' words for who is in Auth0's store but not among the tenant's users.
            return Err(Reason::new("DUPLICATED_USER", "The user already exists"));
        }
        return Ok(Written::Inserted(directory.insert(new, now)));
    };
    directory.update(&current.user_id, now, |user| {
        overwrite(user, record, options);
    });
    Ok(Written::Updated)
}

fn new_user(record: &Object, import: &Import, now: Timestamp) -> User {
    let id = text(record, "user_id")
        .filter(|id| !id.is_empty())
        .map_or_else(|| hex(&rand::random::<[u8; 12]>()), str::to_owned);
    let mut user = User::new(
        Identity {
            connection: import.connection.clone(),
            // A prefix that is sent stays and gets another before it (docs).
            user_id: id,
            provider: "auth0".into(),
            is_social: false,
            profile_data: None,
        },
        now,
    );
    user.email = rules::new_email(record);
    rules::apply_plain(&mut user, record);
    rules::apply_metadata(&mut user, record);
    user.fill_defaults();
    user
}

/// Who else has what the record claims beside the e-mail.
fn collision(
    record: &Object,
    new: &User,
    same_email: Option<&User>,
    directory: &Directory,
) -> Option<Reason> {
    let is_theirs = |user_id: &str| same_email.is_some_and(|user| user.user_id == user_id);
    if record.contains_key("user_id")
        && directory.get(&new.user_id).is_some()
        && !is_theirs(&new.user_id)
    {
        return Some(Reason::new(
            "CONFLICT",
            "The user_id belongs to another user",
        ));
    }
    let among_others = same_email.unwrap_or(new);
    if text(record, "username").is_some_and(|name| directory.username_is_taken(among_others, name))
    {
        return Some(Reason::new(
            "CONFLICT_USERNAME",
            "The username belongs to another user",
        ));
    }
    if text(record, "phone_number")
        .is_some_and(|phone| directory.phone_is_taken(among_others, phone))
    {
        return Some(Reason::new(
            "CONFLICT",
            "The phone_number belongs to another user",
        ));
    }
    None
}

/// Changes what an upsert may change.
fn overwrite(user: &mut User, record: &Object, options: &Options) {
    let record: Object = record
        .iter()
        .filter(|(key, _)| UPSERTABLE.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if options.answers.import_unverifies {
        user.email_verified = false;
    }
    if record.contains_key("app_metadata") {
        user.app_metadata = None;
    }
    if record.contains_key("user_metadata") {
        user.user_metadata = None;
    }
    rules::apply_plain(user, &record);
    rules::apply_metadata(user, &record);
}

/// The record as errors repeat it, without what a password could be found from.
fn redacted(mut record: Value) -> Value {
    for path in [
        "/password_hash",
        "/custom_password_hash/hash/value",
        "/custom_password_hash/hash/key/value",
    ] {
        if let Some(secret) = record.pointer_mut(path) {
            *secret = "*****".into();
        }
    }
    let factors = record.get_mut("mfa_factors").and_then(Value::as_array_mut);
    for factor in factors.into_iter().flatten() {
        if let Some(secret) = factor.pointer_mut("/totp/secret") {
            *secret = "*****".into();
        }
    }
    record
}

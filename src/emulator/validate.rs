//! Request bodies, as strict as the Management API: the forms values have, and the schemas of `POST /users` and
//! `PATCH /users/{id}`. Other endpoints keep their schemas beside their handlers.
//!
//! Facts: Auth0's Management API schema (`CreateUserRequestContent`, `UpdateUserRequestContent`) and the docs pages
//! `user-profile-structure` and `metadata-fields-data`. The schema leaves PATCH open; the API itself does not.

use serde_json::{Map, Value};

use super::{errors::ApiError, options::Answers};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Reads a body that must be a user to create.
pub(super) fn create(user: &[u8], answers: &Answers) -> Result<Object, ApiError> {
    user_body(CREATE, &["connection"], user, answers)
}

/// Reads a body that must be a change to a user. `null` unsets what may be unset.
pub(super) fn patch(change: &[u8], answers: &Answers) -> Result<Object, ApiError> {
    let body = user_body(PATCH, &[], change, answers)?;
    for pair in NOT_TOGETHER {
        if pair.iter().all(|key| body.contains_key(*key)) {
            return Err(ApiError::bad_request(
                "invalid_body",
                format!("Cannot update {} and {} simultaneously", pair[0], pair[1]),
            ));
        }
    }
    Ok(body)
}

/// The forms a value may have. Lengths count characters.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag,
    Text(usize, usize),
    Email,
    /// A caller's own id: at most 255, no whitespace.
    Id,
    Phone,
    Url,
    UserMetadata,
    AppMetadata,
    /// A whole number, this or more.
    Count(u64),
    OneOf(&'static [&'static str]),
    /// `con_` and 16 letters and digits.
    ConnectionId,
    /// Letters, digits, `-` and `_`.
    ClientId,
    /// `provider|id`.
    UserId,
    /// Any object; what is in it is checked elsewhere.
    AnyObject,
    /// Any array; what is in it is checked elsewhere.
    AnyList,
}

use Form::{
    AnyList, AnyObject, AppMetadata, ClientId, ConnectionId, Count, Email, Flag, Id, OneOf, Phone,
    Text, Url, UserId, UserMetadata,
};

/// What is wrong with a value: the code that import jobs give it, and the words of every refusal.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) code: &'static str,
    pub(super) what: String,
}

fn misfit<T>(code: &'static str, what: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit {
        code,
        what: what.into(),
    })
}

pub(super) const UNBOUNDED: usize = usize::MAX;

/// Name, form, and whether `null` is a value.
pub(super) type Schema = &'static [(&'static str, Form, bool)];

const CREATE: Schema = &[
    ("connection", Text(1, UNBOUNDED), false),
    ("email", Email, false),
    ("password", Text(1, UNBOUNDED), false),
    ("user_id", Id, false),
    ("username", Text(1, 128), false),
    ("name", Text(1, 300), false),
    ("nickname", Text(1, 300), false),
    ("given_name", Text(1, 150), false),
    ("family_name", Text(1, 150), false),
    ("picture", Url, false),
    ("phone_number", Phone, false),
    ("phone_verified", Flag, false),
    ("blocked", Flag, false),
    ("email_verified", Flag, false),
    ("verify_email", Flag, false),
    ("app_metadata", AppMetadata, false),
    ("user_metadata", UserMetadata, false),
];

const PATCH: Schema = &[
    ("email", Email, true),
    ("password", Text(1, UNBOUNDED), true),
    ("username", Text(1, 128), true),
    ("name", Text(1, 300), true),
    ("nickname", Text(1, 300), true),
    ("given_name", Text(1, 150), true),
    ("family_name", Text(1, 150), true),
    ("picture", Url, true),
    ("phone_number", Phone, true),
    ("phone_verified", Flag, false),
    ("blocked", Flag, false),
    ("email_verified", Flag, false),
    ("verify_email", Flag, false),
    ("verify_phone_number", Flag, false),
    ("app_metadata", AppMetadata, false),
    ("user_metadata", UserMetadata, false),
    ("connection", Text(1, UNBOUNDED), false),
    ("client_id", Text(1, UNBOUNDED), false),
];

const NOT_TOGETHER: &[[&str; 2]] = &[
    ["password", "email"],
    ["password", "email_verified"],
    ["username", "email"],
    ["username", "email_verified"],
    ["username", "password"],
];

/// Keys that `app_metadata` must not hold, because they name parts of the profile.
const FORBIDDEN_APP_METADATA: &[&str] = &[
    "__tenant",
    "_id",
    "blocked",
    "clientID",
    "created_at",
    "email_verified",
    "email",
    "globalClientID",
    "global_client_id",
    "identities",
    "lastIP",
    "lastLogin",
    "loginsCount",
    "metadata",
    "multifactor_last_modified",
    "multifactor",
    "updated_at",
    "user_id",
];

/// As [`body`], but for keys that `app_metadata` must not hold where the answers let them pass.
fn user_body(
    schema: Schema,
    required: &[&str],
    body: &[u8],
    answers: &Answers,
) -> Result<Object, ApiError> {
    let body = with_required(required, body)?;
    let passes = |code: &str| code == FORBIDDEN && !answers.forbidden_app_metadata_refused;
    let misfit = misfits(schema, &body).find(|(_, misfit)| !passes(misfit.code));
    refused(misfit)?;
    Ok(body)
}

/// Reads a body that must be an object of this schema with these properties at least.
pub(super) fn body(schema: Schema, required: &[&str], body: &[u8]) -> Result<Object, ApiError> {
    let body = with_required(required, body)?;
    check(schema, &body)?;
    Ok(body)
}

fn with_required(required: &[&str], body: &[u8]) -> Result<Object, ApiError> {
    let body = object(body)?;
    match required.iter().find(|key| !body.contains_key(**key)) {
        None => Ok(body),
        Some(missing) => Err(ApiError::invalid_body(format_args!(
            "'Missing required property: {missing}'"
        ))),
    }
}

fn object(body: &[u8]) -> Result<Object, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(other) => Err(ApiError::invalid_body(format_args!(
            "'Expected type object but found type {}'",
            type_name(&other)
        ))),
        Err(_) => Err(ApiError::bad_request(
            "invalid_body",
            "Invalid request payload JSON format",
        )),
    }
}

/// Refuses an object for the first thing in it that does not fit.
pub(super) fn check(schema: Schema, body: &Object) -> Result<(), ApiError> {
    refused(misfits(schema, body).next())
}

fn refused(misfit: Option<(&str, Misfit)>) -> Result<(), ApiError> {
    let Some((key, Misfit { code, what })) = misfit else {
        return Ok(());
    };
    if code == UNKNOWN_PROPERTY {
        return Err(ApiError::invalid_body(format_args!("'{what}'")));
    }
    // Auth0 repeats the property's description; recorded for this one.
    let note = match key {
        "client_id" => {
            " (client_id of the client (application). If no value provided, the global Client ID will be used)"
        }
        _ => "",
    };
    Err(ApiError::invalid_body(format_args!(
        "'{what}' on property {key}{note}"
    )))
}

/// The code of a key that `app_metadata` must not hold.
const FORBIDDEN: &str = "NOT_PASSED";

/// The code of a property that the schema does not have; undocumented, it is what JSON schema libraries call it.
const UNKNOWN_PROPERTY: &str = "OBJECT_ADDITIONAL_PROPERTIES";

/// Everything that does not fit, by property.
pub(super) fn misfits(schema: Schema, body: &Object) -> impl Iterator<Item = (&str, Misfit)> {
    body.iter().filter_map(move |(key, value)| {
        let misfit = match schema.iter().find(|(name, ..)| name == key) {
            None => Misfit {
                code: UNKNOWN_PROPERTY,
                what: format!("Additional properties not allowed: {key}"),
            },
            Some((_, _, true)) if value.is_null() => return None,
            Some((_, form, _)) => fits(*form, value).err()?,
        };
        Some((key.as_str(), misfit))
    })
}

fn fits(form: Form, value: &Value) -> Result<(), Misfit> {
    let wrong_type = |expected: &str| {
        misfit(
            "INVALID_TYPE",
            format!(
                "Expected type {expected} but found type {}",
                type_name(value)
            ),
        )
    };
    match (form, value) {
        (Flag, Value::Bool(_)) | (AnyObject, Value::Object(_)) | (AnyList, Value::Array(_)) => {
            Ok(())
        }
        (UserMetadata, Value::Object(metadata)) => metadata_fits(metadata, false),
        (AppMetadata, Value::Object(metadata)) => metadata_fits(metadata, true),
        (Count(min), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            match number.as_u64() {
                Some(count) if count >= min => Ok(()),
                _ => misfit(
                    "MINIMUM",
                    format!("Value {number} is less than minimum {min}"),
                ),
            }
        }
        (Flag, _) => wrong_type("boolean"),
        (UserMetadata | AppMetadata | AnyObject, _) => wrong_type("object"),
        (AnyList, _) => wrong_type("array"),
        (Count(_), _) => wrong_type("integer"),
        (_, Value::String(text)) => text_fits(form, text),
        _ => wrong_type("string"),
    }
}

fn text_fits(form: Form, text: &str) -> Result<(), Misfit> {
    let bad_format = |format: &str| {
        misfit(
            "FORMAT",
            format!("Object didn't pass validation for format {format}"),
        )
    };
    let bad_pattern = |pattern: &str| {
        misfit(
            "PATTERN",
            format!("String does not match pattern: {pattern}"),
        )
    };
    match form {
        Text(min, max) => length_fits(text, min, max),
        Id if text.chars().any(char::is_whitespace) => bad_pattern("^\\S*$"),
        Id => length_fits(text, 0, 255),
        Email if !is_email(text) => bad_format("email"),
        Phone if !is_phone(text) => bad_pattern("^\\+[0-9]{1,15}$"),
        Url if url::Url::parse(text).is_err() => bad_format("strict-uri"),
        UserId if !is_user_id(text) => bad_format("user-id"),
        ClientId if !text.chars().all(is_of_a_name) => bad_format(&format!("client-id: {text}")),
        ConnectionId if !is_connection_id(text) => bad_pattern("^con_[A-Za-z0-9]{16}$"),
        OneOf(choices) if !choices.contains(&text) => {
            misfit("ENUM_MISMATCH", format!("No enum match for: {text}"))
        }
        _ => Ok(()),
    }
}

fn length_fits(text: &str, min: usize, max: usize) -> Result<(), Misfit> {
    let chars = text.chars().count();
    if chars < min {
        misfit(
            "MIN_LENGTH",
            format!("String is too short ({chars} chars), minimum {min}"),
        )
    } else if chars > max {
        misfit(
            "MAX_LENGTH",
            format!("String is too long ({chars} chars), maximum {max}"),
        )
    } else {
        Ok(())
    }
}

/// `provider|id`, neither of them empty.
pub(super) fn is_user_id(text: &str) -> bool {
    text.split_once('|')
        .is_some_and(|(provider, id)| !provider.is_empty() && !id.is_empty())
}

/// `con_` and 16 letters and digits.
pub(super) fn is_connection_id(text: &str) -> bool {
    text.strip_prefix("con_")
        .is_some_and(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// An address as far as lengths go: 64 before the `@`, 254 in all, nothing blank.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    (1..=64).contains(&local.len())
        && !local.contains('@')
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Undocumented what Auth0 answers to a key that its docs forbid; a refusal is the stricter guess.
fn metadata_fits(metadata: &Object, of_the_app: bool) -> Result<(), Misfit> {
    names_fit(metadata)?;
    if of_the_app
        && let Some(key) = metadata
            .keys()
            .find(|key| FORBIDDEN_APP_METADATA.contains(&key.as_str()))
    {
        return misfit(FORBIDDEN, format!("Property not allowed: {key}"));
    }
    Ok(())
}

fn names_fit(metadata: &Object) -> Result<(), Misfit> {
    metadata.iter().try_for_each(|(key, value)| {
        if key.contains(['.', '$']) {
            return misfit(
                "PATTERN",
                format!("Property names must not contain . or $: {key}"),
            );
        }
        match value {
            Value::Object(inner) => names_fit(inner),
            _ => Ok(()),
        }
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;

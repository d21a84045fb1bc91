//! The request schemas of `POST /users` and `PATCH /users/{id}`, as strict as the Management API.
//!
//! Facts: Auth0's Management API schema (`CreateUserRequestContent`, `UpdateUserRequestContent`) and the docs pages
//! `user-profile-structure` and `metadata-fields-data`. The schema leaves PATCH open; the API itself does not.

use serde_json::{Map, Value};

use super::errors::ApiError;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Reads a body that must be a user to create.
pub(super) fn create(body: &[u8]) -> Result<Object, ApiError> {
    let body = object(body)?;
    if !body.contains_key("connection") {
        return Err(ApiError::invalid_body(
            "'Missing required property: connection'",
        ));
    }
    check(CREATE, &body)?;
    Ok(body)
}

/// Reads a body that must be a change to a user. `null` unsets what may be unset.
pub(super) fn patch(body: &[u8]) -> Result<Object, ApiError> {
    let body = object(body)?;
    check(PATCH, &body)?;
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
enum Form {
    Flag,
    Text(usize, usize),
    Email,
    /// A caller's own id: at most 255, no whitespace.
    Id,
    Phone,
    Url,
    UserMetadata,
    AppMetadata,
}

use Form::{AppMetadata, Email, Flag, Id, Phone, Text, Url, UserMetadata};

const UNBOUNDED: usize = usize::MAX;

/// Name, form, and whether `null` is a value.
type Schema = &'static [(&'static str, Form, bool)];

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

fn check(schema: Schema, body: &Object) -> Result<(), ApiError> {
    for (key, value) in body {
        let Some((_, form, nullable)) = schema.iter().find(|(name, ..)| name == key) else {
            return Err(ApiError::invalid_body(format_args!(
                "'Additional properties not allowed: {key}'"
            )));
        };
        if value.is_null() && *nullable {
            continue;
        }
        fits(*form, value)
            .map_err(|what| ApiError::invalid_body(format_args!("'{what}' on property {key}")))?;
    }
    Ok(())
}

fn fits(form: Form, value: &Value) -> Result<(), String> {
    let wrong_type = |expected: &str| {
        Err(format!(
            "Expected type {expected} but found type {}",
            type_name(value)
        ))
    };
    let bad_format =
        |format: &str| Err(format!("Object didn't pass validation for format {format}"));
    match form {
        Flag => match value {
            Value::Bool(_) => Ok(()),
            _ => wrong_type("boolean"),
        },
        UserMetadata | AppMetadata => match value {
            Value::Object(metadata) => metadata_fits(metadata, matches!(form, AppMetadata)),
            _ => wrong_type("object"),
        },
        Text(..) | Email | Id | Phone | Url => {
            let Value::String(text) = value else {
                return wrong_type("string");
            };
            match form {
                Text(min, max) => length_fits(text, min, max),
                Id if text.chars().any(char::is_whitespace) => {
                    Err("String does not match pattern: ^\\S*$".into())
                }
                Id => length_fits(text, 0, 255),
                Email if !is_email(text) => bad_format("email"),
                Phone if !is_phone(text) => {
                    Err("String does not match pattern: ^\\+[0-9]{1,15}$".into())
                }
                Url if url::Url::parse(text).is_err() => bad_format("strict-uri"),
                _ => Ok(()),
            }
        }
    }
}

fn length_fits(text: &str, min: usize, max: usize) -> Result<(), String> {
    let chars = text.chars().count();
    if chars < min {
        Err(format!(
            "String is too short ({chars} chars), minimum {min}"
        ))
    } else if chars > max {
        Err(format!("String is too long ({chars} chars), maximum {max}"))
    } else {
        Ok(())
    }
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
fn metadata_fits(metadata: &Object, of_the_app: bool) -> Result<(), String> {
    if of_the_app
        && let Some(key) = metadata
            .keys()
            .find(|key| FORBIDDEN_APP_METADATA.contains(&key.as_str()))
    {
        return Err(format!("Property not allowed: {key}"));
    }
    names_fit(metadata)
}

fn names_fit(metadata: &Object) -> Result<(), String> {
    metadata.iter().try_for_each(|(key, value)| {
        if key.contains(['.', '$']) {
            return Err(format!("Property names must not contain . or $: {key}"));
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
mod tests {
    use serde_json::json;

    use super::*;

    fn create_with(key: &str, value: Value) -> Result<Object, ApiError> {
        let body = json!({"connection": "c", key: value});
        create(body.to_string().as_bytes())
    }

    #[test]
    fn each_limit_of_a_new_user_is_enforced_on_both_sides() {
        let long = |n: usize| Value::from("x".repeat(n));
        let cases = [
            ("name", long(300), long(301)),
            ("nickname", long(300), json!("")),
            ("given_name", long(150), long(151)),
            ("family_name", long(150), long(151)),
            ("username", long(128), long(129)),
            ("user_id", long(255), long(256)),
            ("user_id", json!("a|b"), json!("a b")),
            ("email", json!("a@b.test"), json!("a.b.test")),
            (
                "email",
                json!(format!("{}@b.test", "x".repeat(64))),
                json!(format!("{}@b.test", "x".repeat(65))),
            ),
            ("picture", json!("https://a.test/p.png"), json!("p.png")),
            ("phone_number", json!("+4912345"), json!("04912345")),
            ("blocked", json!(true), json!("true")),
            ("verify_email", json!(false), Value::Null),
            ("app_metadata", json!({"role": "x"}), json!("x")),
            ("app_metadata", json!({"emails": 1}), json!({"email": 1})),
            ("user_metadata", json!({"email": 1}), json!({"a.b": 1})),
            (
                "app_metadata",
                json!({"deep": {"x": 1}}),
                json!({"deep": {"$x": 1}}),
            ),
        ];
        for (key, good, bad) in cases {
            assert!(create_with(key, good.clone()).is_ok(), "{key}: {good}");
            assert!(create_with(key, bad.clone()).is_err(), "{key}: {bad}");
        }
    }

    #[test]
    fn a_key_nobody_knows_is_named_in_the_refusal() {
        let error = create_with("blockd", json!(true)).unwrap_err();
        assert_eq!(
            error.body()["message"],
            "Payload validation error: 'Additional properties not allowed: blockd'."
        );
        assert_eq!(error.body()["errorCode"], "invalid_body");
    }

    #[test]
    fn null_unsets_in_a_patch_only_what_may_be_unset() {
        assert!(patch(br#"{"name": null, "email": null}"#).is_ok());
        assert!(patch(br#"{"blocked": null}"#).is_err());
        assert!(patch(br#"{"app_metadata": null}"#).is_err());
        assert!(patch(br#"{"app_metadata": {"role": null}}"#).is_ok());
    }

    #[test]
    fn some_fields_cannot_be_patched_together() {
        assert!(patch(br#"{"password": "x", "email": "a@b.test"}"#).is_err());
        assert!(patch(br#"{"username": "x", "email_verified": true}"#).is_err());
        assert!(
            patch(br#"{"email": "a@b.test", "email_verified": true, "blocked": true}"#).is_ok()
        );
        assert!(patch(br#"{"password": "x", "app_metadata": {}}"#).is_ok());
    }
}

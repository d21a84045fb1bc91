//! What Auth0's lists say, written out once more: a list here that is no longer the code's is a list that was changed.

use serde_json::json;

use super::*;

const FLAGS: &[&str] = &[
    "blocked",
    "email_verified",
    "phone_verified",
    "verify_email",
];
const METADATA: &[&str] = &["app_metadata", "user_metadata"];
/// What a change may unset.
const NULLABLE: &[&str] = &[
    "email",
    "family_name",
    "given_name",
    "name",
    "nickname",
    "password",
    "phone_number",
    "picture",
    "username",
];
const ONLY_OF_CREATE: &[&str] = &["user_id"];
const ONLY_OF_PATCH: &[&str] = &["client_id", "verify_phone_number"];

/// The keys both bodies may have.
fn shared_keys() -> Vec<&'static str> {
    [FLAGS, METADATA, NULLABLE, &["connection"]].concat()
}

/// A value that the property of this name takes.
fn good(key: &str) -> Value {
    match key {
        "app_metadata" | "user_metadata" => json!({"role": "Artist"}),
        "email" => json!("ann@a.test"),
        "picture" => json!("https://a.test/ann.png"),
        "phone_number" => json!("+4912345"),
        _ if FLAGS.contains(&key) || key == "verify_phone_number" => json!(true),
        _ => json!("ann"),
    }
}

fn create_with(key: &str, value: Value) -> Result<Object, ApiError> {
    let body = json!({"connection": "c", key: value});
    create(body.to_string().as_bytes(), &Answers::default())
}

fn patch_with(key: &str, value: Value) -> Result<Object, ApiError> {
    patched(json!({key: value}).to_string().as_bytes())
}

fn patched(body: &[u8]) -> Result<Object, ApiError> {
    patch(body, &Answers::default())
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
fn a_forbidden_key_in_app_metadata_passes_where_the_answers_say_so_and_nothing_else_does() {
    let passes = |body: &[u8]| patch(body, &Answers::other()).is_ok();
    assert!(passes(br#"{"app_metadata": {"email": 1}}"#));
    assert!(!passes(br#"{"app_metadata": {"a.b": 1}}"#));
    assert!(!passes(
        br#"{"app_metadata": {"email": 1}, "blockd": true}"#
    ));
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
    assert!(patched(br#"{"name": null, "email": null}"#).is_ok());
    assert!(patched(br#"{"blocked": null}"#).is_err());
    assert!(patched(br#"{"app_metadata": null}"#).is_err());
    assert!(patched(br#"{"app_metadata": {"role": null}}"#).is_ok());
}

#[test]
fn some_fields_cannot_be_patched_together() {
    assert!(patched(br#"{"password": "x", "email": "a@b.test"}"#).is_err());
    assert!(patched(br#"{"username": "x", "email_verified": true}"#).is_err());
    assert!(patched(br#"{"email": "a@b.test", "email_verified": true, "blocked": true}"#).is_ok());
    assert!(patched(br#"{"password": "x", "app_metadata": {}}"#).is_ok());
}

#[test]
fn a_create_takes_each_of_its_keys_and_none_that_only_a_patch_has() {
    for key in [shared_keys(), ONLY_OF_CREATE.to_vec()].concat() {
        assert!(create_with(key, good(key)).is_ok(), "{key}");
        assert!(create_with(key, json!(7)).is_err(), "{key}: 7");
        assert!(create_with(key, Value::Null).is_err(), "{key}: null");
    }
    for key in ONLY_OF_PATCH {
        assert!(create_with(key, good(key)).is_err(), "{key}");
    }
}

#[test]
fn a_patch_takes_each_of_its_keys_and_none_that_only_a_create_has() {
    for key in [shared_keys(), ONLY_OF_PATCH.to_vec()].concat() {
        assert!(patch_with(key, good(key)).is_ok(), "{key}");
        assert!(patch_with(key, json!(7)).is_err(), "{key}: 7");
        let unset = patch_with(key, Value::Null);
        assert_eq!(unset.is_ok(), NULLABLE.contains(&key), "{key}: null");
    }
    for key in ONLY_OF_CREATE {
        assert!(patch_with(key, good(key)).is_err(), "{key}");
    }
}

#[test]
fn five_pairs_of_keys_and_no_others_are_not_patched_together() {
    const APART: [[&str; 2]; 5] = [
        ["email", "password"],
        ["email_verified", "password"],
        ["email", "username"],
        ["email_verified", "username"],
        ["password", "username"],
    ];
    let mut keys = [shared_keys(), ONLY_OF_PATCH.to_vec()].concat();
    keys.sort_unstable();
    for (at, one) in keys.iter().enumerate() {
        for other in &keys[at + 1..] {
            let body = json!({*one: good(one), *other: good(other)}).to_string();
            let apart = APART.contains(&[*one, *other]);
            assert_eq!(
                patched(body.as_bytes()).is_err(),
                apart,
                "{one} and {other}"
            );
        }
    }
}

#[test]
fn each_key_that_names_a_part_of_the_profile_is_refused_in_app_metadata_and_in_no_other() {
    for key in [
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
    ] {
        for write in [create_with, patch_with] {
            let error = write("app_metadata", json!({"role": 1, key: 1})).unwrap_err();
            let message = error.body()["message"].to_string();
            let refused = format!("Property not allowed: {key}' on property app_metadata");
            assert!(message.contains(&refused), "{message}");
            assert!(write("user_metadata", json!({key: 1})).is_ok(), "{key}");
        }
    }
}

#[test]
fn an_address_has_64_characters_before_the_at_and_254_in_all() {
    let address = |local: usize, whole: usize| {
        let domain = "d".repeat(whole - local - "@.test".len());
        Value::from(format!("{}@{domain}.test", "x".repeat(local)))
    };
    for (local, whole, fits) in [
        (64, 254, true),
        (1, 254, true),
        (64, 255, false),
        (1, 255, false),
        (65, 254, false),
        (65, 80, false),
    ] {
        for write in [create_with, patch_with] {
            let written = write("email", address(local, whole));
            assert_eq!(written.is_ok(), fits, "{local} of {whole}");
        }
    }
}

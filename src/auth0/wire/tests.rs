use serde_json::json;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn read(value: Value) -> User {
    serde_json::from_value::<UserAnswer>(value).unwrap().into()
}

#[test]
fn what_a_user_lacks_has_its_documented_meaning() {
    for bare in [
        json!({"user_id": "auth0|1"}),
        json!({
            "user_id": "auth0|1", "email": null, "email_verified": null, "name": null, "blocked": null,
            "app_metadata": null, "user_metadata": null, "identities": null, "last_login": null,
        }),
        json!({
            "user_id": "auth0|1", "created_at": "yesterday", "logins_count": "many", "last_login": {},
            "a field of the future": [1, 2],
        }),
    ] {
        let nobody = User {
            id: "auth0|1".into(),
            email: None,
            email_verified: false,
            name: None,
            blocked: false,
            app_metadata: Map::new(),
            user_metadata: Map::new(),
            identities: vec![],
            last_login: None,
            logins_count: None,
            created_at: None,
        };
        assert!(read(bare.clone()) == nobody, "{bare}");
    }
}

#[test]
fn a_whole_user_is_read() {
    let user = read(json!({
        "user_id": "github|17",
        "email": "Ann@Example.com",
        "email_verified": true,
        "name": "Ann",
        "blocked": true,
        "app_metadata": {"role": "Artist"},
        "user_metadata": {"theme": "dark"},
        "identities": [{"provider": "github", "user_id": 17, "connection": "github", "isSocial": true}],
        "last_login": "2021-09-03T20:16:45.288Z",
        "logins_count": 3,
        "created_at": "2021-09-03T20:16:45.288Z",
    }));
    assert_eq!(user.email.as_deref(), Some("Ann@Example.com"));
    assert!(user.email_verified && user.blocked);
    assert_eq!(user.name.as_deref(), Some("Ann"));
    assert_eq!(user.app_metadata, map(json!({"role": "Artist"})));
    assert_eq!(user.user_metadata, map(json!({"theme": "dark"})));
    let identity = Identity {
        provider: "github".into(),
        user_id: "17".into(),
        connection: "github".into(),
        is_social: true,
    };
    assert_eq!(user.identities, [identity]);
    assert!(user.in_connection("github") && !user.in_connection("google-oauth2"));
    assert_eq!(user.logins_count, Some(3));
    assert_eq!(user.last_login, user.created_at);
    assert_eq!(
        user.created_at.map(|time| time.as_second()),
        Some(1_630_700_205)
    );
}

#[test]
fn a_user_without_an_id_or_with_a_block_that_is_no_boolean_is_not_guessed_at() {
    for odd in [
        json!({"email": "ann@example.com"}),
        json!({"user_id": "auth0|1", "blocked": "no"}),
        json!({"user_id": "auth0|1", "app_metadata": "none"}),
    ] {
        assert!(
            serde_json::from_value::<UserAnswer>(odd.clone()).is_err(),
            "{odd}"
        );
    }
}

#[test]
fn a_patch_holds_what_changes_and_never_an_empty_object() {
    let sent = |patch: Patch| serde_json::to_value(UpdateUser::from(&patch)).unwrap();
    for (patch, body) in [
        (Patch::default(), json!({})),
        (
            Patch {
                email: Some("ann@example.com".into()),
                ..Patch::default()
            },
            json!({"email": "ann@example.com", "email_verified": false, "verify_email": false}),
        ),
        (
            Patch {
                name: Some(Some("Ann".into())),
                ..Patch::default()
            },
            json!({"name": "Ann"}),
        ),
        (
            Patch {
                name: Some(None),
                ..Patch::default()
            },
            json!({"name": null}),
        ),
        (
            Patch {
                blocked: Some(false),
                ..Patch::default()
            },
            json!({"blocked": false}),
        ),
        (
            Patch {
                app_metadata: map(json!({"role": "Artist", "old": null})),
                user_metadata: map(json!({"theme": {}})),
                ..Patch::default()
            },
            json!({"app_metadata": {"role": "Artist", "old": null}, "user_metadata": {"theme": {}}}),
        ),
    ] {
        assert_eq!(patch.is_empty(), body == json!({}));
        assert_eq!(sent(patch), body);
    }
}

#[test]
fn a_new_user_goes_out_with_a_bare_id_and_without_what_is_not_set() {
    let mut new = NewUser {
        id: "auth0|1".into(),
        email: "ann@example.com".into(),
        name: None,
        blocked: false,
        app_metadata: Map::new(),
        user_metadata: Map::new(),
    };
    let sent = |new: &NewUser| CreateUser::new(new, "people", "secret").map(|body| json!(body));
    let mut body = json!({
        "connection": "people", "user_id": "1", "email": "ann@example.com", "password": "secret",
        "email_verified": false, "verify_email": false,
    });
    assert_eq!(sent(&new).as_ref(), Some(&body));

    new.name = Some("Ann".into());
    new.blocked = true;
    new.app_metadata = map(json!({"role": "Artist"}));
    new.user_metadata = map(json!({"theme": "dark"}));
    body["name"] = json!("Ann");
    body["blocked"] = json!(true);
    body["app_metadata"] = json!({"role": "Artist"});
    body["user_metadata"] = json!({"theme": "dark"});
    assert_eq!(sent(&new), Some(body));

    for id in ["auth0|", "1", "google-oauth2|1", ""] {
        new.id = id.into();
        assert_eq!(sent(&new), None, "{id}");
    }
}

#[test]
fn a_complaint_is_read_in_both_shapes_and_its_absence_too() {
    let of = |code: Option<&str>, words: Option<&str>| Complaint {
        code: code.map(str::to_owned),
        words: words.map(str::to_owned),
    };
    let management =
        br#"{"statusCode":404,"error":"Not Found","message":"No.","errorCode":"inexistent_user"}"#;
    assert_eq!(
        Complaint::management(management),
        of(Some("inexistent_user"), Some("No."))
    );
    let coded_by_nothing =
        br#"{"statusCode":401,"error":"Unauthorized","message":"Missing authentication"}"#;
    assert_eq!(
        Complaint::management(coded_by_nothing),
        of(None, Some("Missing authentication"))
    );
    let authentication = br#"{"error":"access_denied","error_description":"Unauthorized"}"#;
    assert_eq!(
        Complaint::authentication(authentication),
        of(Some("access_denied"), Some("Unauthorized"))
    );
    for unreadable in ["", "<html>502</html>", "[]", r#"{"error":7}"#] {
        assert_eq!(
            Complaint::authentication(unreadable.as_bytes()),
            of(None, None)
        );
    }
}

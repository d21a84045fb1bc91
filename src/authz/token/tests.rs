use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::authz::testing::{AUDIENCE, CURRENT, ISSUER, NEXT, encode, settings, with};

const NOW: i64 = 1_800_000_000;

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "auth0|7", "aud": [AUDIENCE, "https://tenant.example/userinfo"],
        "iat": NOW, "exp": NOW + 600, "azp": "client", "scope": "openid",
    })
}

fn check(token: &str, settings: &Settings) -> Result<Claims, TokenError> {
    let presented = read(token, settings, Timestamp::from_second(NOW).unwrap())?;
    assert_eq!(presented.kid(), CURRENT.kid);
    presented.verify(&CURRENT.decoding())
}

/// The code a token with these changes to header and claims ends in.
fn code(header: &Value, changed: &Value) -> &'static str {
    let token = CURRENT.sign(&with(CURRENT.header(), header), &with(claims(), changed));
    check(&token, &settings()).map_or_else(TokenError::code, |_| "ok")
}

#[test]
fn an_access_token_of_the_tenant_is_accepted() {
    let token = CURRENT.sign(&CURRENT.header(), &claims());
    let claims = check(&token, &settings()).unwrap();
    assert_eq!(claims.subject.as_str(), "auth0|7");
    assert!(!claims.machine);
    assert_eq!(claims.email, None);
}

#[test]
fn claims_are_taken_for_what_they_are() {
    let table = [
        (json!({ "aud": AUDIENCE }), "ok"),
        (json!({ "aud": null }), "audience_mismatch"),
        (json!({ "aud": [] }), "audience_mismatch"),
        (
            json!({ "aud": "https://other.example" }),
            "audience_mismatch",
        ),
        (json!({ "aud": "client" }), "audience_mismatch"),
        (json!({ "aud": 7 }), "token_malformed"),
        (json!({ "aud": [AUDIENCE, 7] }), "token_malformed"),
        (json!({ "iss": null }), "issuer_mismatch"),
        (
            json!({ "iss": "https://tenant.example" }),
            "issuer_mismatch",
        ),
        (json!({ "iss": "https://evil.example/" }), "issuer_mismatch"),
        (json!({ "iss": 7 }), "token_malformed"),
        (
            json!({ "iss": ["https://evil.example/", ISSUER] }),
            "token_malformed",
        ),
        (json!({ "sub": null }), "token_malformed"),
        (json!({ "sub": 7 }), "token_malformed"),
        (json!({ "sub": "" }), "token_malformed"),
        (json!({ "sub": "auth0|7\n" }), "token_malformed"),
        (json!({ "sub": "x".repeat(255) }), "ok"),
        (json!({ "sub": "x".repeat(256) }), "token_malformed"),
        (json!({ "sub": ["auth0|7"] }), "token_malformed"),
        (json!({ "nonce": "n" }), "token_malformed"),
        (json!({ "at_hash": "h" }), "token_malformed"),
    ];
    for (changed, expected) in table {
        assert_eq!(code(&json!({}), &changed), expected, "{changed}");
    }
}

#[test]
fn lifetimes_are_kept_with_the_leeway_of_thirty_seconds() {
    let table = [
        (json!({ "exp": NOW - 29 }), "ok"),
        (json!({ "exp": NOW - 30 }), "token_expired"),
        (json!({ "exp": NOW - 50 }), "token_expired"),
        (json!({ "exp": f64::from(1_800_000_000) + 0.5 }), "ok"),
        (json!({ "exp": null }), "token_malformed"),
        (json!({ "exp": "1800000600" }), "token_malformed"),
        (json!({ "exp": 1e300 }), "token_malformed"),
        (json!({ "exp": -1 }), "token_malformed"),
        (json!({ "nbf": NOW + 30 }), "ok"),
        (json!({ "nbf": NOW + 31 }), "token_not_yet_valid"),
        (json!({ "nbf": NOW + 3600 }), "token_not_yet_valid"),
        (json!({ "nbf": "soon" }), "token_malformed"),
        // An issuer whose clock runs ahead: never a reason to refuse.
        (json!({ "iat": NOW + 3600 }), "ok"),
        (json!({ "iat": null }), "ok"),
        (json!({ "iat": "now" }), "token_malformed"),
        (json!({ "exp": NOW + 365 * 86_400 }), "ok"),
        (json!({ "exp": 9_007_199_254_740_991_i64 }), "ok"),
    ];
    for (changed, expected) in table {
        assert_eq!(code(&json!({}), &changed), expected, "{changed}");
    }
}

#[test]
fn where_an_age_is_set_it_is_counted_from_iat() {
    let settings = Settings {
        max_token_age: Some(std::time::Duration::from_secs(3600)),
        ..settings()
    };
    let far = NOW + 365 * 86_400;
    let table = [
        (json!({ "exp": far }), Ok(NOW + 3630)),
        (json!({ "exp": NOW + 60 }), Ok(NOW + 90)),
        (json!({ "exp": far, "iat": NOW - 3629 }), Ok(NOW + 1)),
        (
            json!({ "exp": far, "iat": NOW - 3630 }),
            Err("token_expired"),
        ),
        (json!({ "exp": far, "iat": NOW + 30 }), Ok(NOW + 3660)),
        (
            json!({ "exp": far, "iat": NOW + 31 }),
            Err("token_not_yet_valid"),
        ),
        (json!({ "exp": far, "iat": null }), Err("token_malformed")),
    ];
    for (changed, expected) in table {
        let token = CURRENT.sign(&CURRENT.header(), &with(claims(), &changed));
        let until = check(&token, &settings).map(|claims| claims.good_until.as_second());
        assert_eq!(until.map_err(TokenError::code), expected, "{changed}");
    }
}

#[test]
fn claims_say_until_when_they_hold() {
    let until = |exp: Value| {
        let token = CURRENT.sign(&CURRENT.header(), &with(claims(), &json!({ "exp": exp })));
        check(&token, &settings()).unwrap().good_until
    };
    assert_eq!(until(json!(NOW + 600)).as_second(), NOW + 630);
    assert_eq!(until(json!(9_007_199_254_740_991_i64)), Timestamp::MAX);
}

#[test]
fn the_header_chooses_nothing() {
    let table = [
        (json!({ "typ": "at+jwt" }), "ok"),
        (json!({ "typ": "application/at+JWT" }), "ok"),
        (
            json!({ "typ": "application/application/jwt" }),
            "token_malformed",
        ),
        (json!({ "typ": null }), "token_malformed"),
        (json!({ "typ": "logout+jwt" }), "token_malformed"),
        (json!({ "typ": 7 }), "token_malformed"),
        (json!({ "crit": ["exp"] }), "token_malformed"),
        (json!({ "crit": [] }), "token_malformed"),
        (json!({ "b64": false }), "token_malformed"),
        (json!({ "kid": null }), "token_malformed"),
        (json!({ "kid": "" }), "token_malformed"),
        (json!({ "kid": 7 }), "token_malformed"),
        (json!({ "kid": "key 1" }), "token_malformed"),
        (
            json!({ "kid": "k\n2026 a forged line of the log" }),
            "token_malformed",
        ),
        (json!({ "kid": "../../key\u{0}" }), "token_malformed"),
        (json!({ "kid": "k".repeat(129) }), "token_malformed"),
        (json!({ "alg": "RS512" }), "signature_invalid"),
        (json!({ "alg": "PS256" }), "signature_invalid"),
        (json!({ "alg": "none" }), "signature_invalid"),
        (json!({ "alg": null }), "token_malformed"),
        (
            json!({ "jku": "https://evil.example/jwks", "jwk": NEXT.jwk() }),
            "ok",
        ),
    ];
    for (header, expected) in table {
        assert_eq!(code(&header, &json!({})), expected, "{header}");
    }
}

#[test]
fn an_hmac_made_with_the_public_key_is_no_signature() {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(CURRENT.kid.to_owned());
    let secret = EncodingKey::from_secret(CURRENT.public_der());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(
        check(&token, &settings()).unwrap_err().code(),
        "signature_invalid"
    );
}

#[test]
fn only_the_listed_key_signs_and_every_byte_is_signed() {
    let stranger = NEXT.sign(&CURRENT.header(), &claims());
    assert_eq!(
        check(&stranger, &settings()).unwrap_err().code(),
        "signature_invalid"
    );

    let good = CURRENT.sign(&CURRENT.header(), &claims());
    let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("a token has three parts");
    };
    let other = encode(&with(claims(), &json!({ "sub": "auth0|1" })).to_string());
    for forged in [
        format!("{header}.{other}.{signature}"),
        format!("{header}.{}.", encode(&claims().to_string())),
    ] {
        assert_eq!(
            check(&forged, &settings()).unwrap_err().code(),
            "signature_invalid"
        );
    }
}

#[test]
fn what_is_not_a_compact_jws_is_malformed() {
    let good = CURRENT.sign(&CURRENT.header(), &claims());
    let header = CURRENT.header().to_string();
    let claims = claims().to_string();
    let doubled = claims.replacen('{', "{\"sub\":\"auth0|1\",", 1);
    for token in [
        String::new(),
        "opaque".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}.x"),
        format!("{good}, Bearer {good}").replace(' ', "."),
        CURRENT.sign_text("[]", &claims),
        CURRENT.sign_text(&header, "[]"),
        CURRENT.sign_text(&header, "not json"),
        CURRENT.sign_text(&header, &doubled),
        CURRENT.sign_text(&header.replacen('{', "{\"alg\":\"none\",", 1), &claims),
        CURRENT.sign_text(&header, &format!("{claims}{}", " ".repeat(MAX_TOKEN))),
    ] {
        assert_eq!(
            check(&token, &settings()).unwrap_err().code(),
            "token_malformed",
            "{token}"
        );
    }
}

#[test]
fn an_address_is_verified_only_by_json_true_beside_it() {
    let namespaced = Settings {
        email_claim: "https://roster.example/email".to_owned(),
        ..settings()
    };
    let address = "ada@example.com";
    let table = [
        (
            settings(),
            json!({ "email": address, "email_verified": true }),
            Some(true),
        ),
        (
            settings(),
            json!({ "email": address, "email_verified": "true" }),
            Some(false),
        ),
        (
            settings(),
            json!({ "email": address, "email_verified": 1 }),
            Some(false),
        ),
        (settings(), json!({ "email": address }), Some(false)),
        (
            settings(),
            json!({ "email": [address], "email_verified": true }),
            None,
        ),
        (
            namespaced.clone(),
            json!({ "https://roster.example/email": address, "https://roster.example/email_verified": true }),
            Some(true),
        ),
        (
            namespaced.clone(),
            json!({ "https://roster.example/email": address, "email_verified": true }),
            Some(false),
        ),
        (
            namespaced,
            json!({ "email": address, "email_verified": true }),
            None,
        ),
    ];
    for (settings, changed, expected) in table {
        let token = CURRENT.sign(&CURRENT.header(), &with(claims(), &changed));
        let email = check(&token, &settings).unwrap().email;
        assert_eq!(email.map(|email| email.verified), expected, "{changed}");
    }
}

#[test]
fn machines_are_known_by_their_subject_or_grant() {
    for changed in [
        json!({ "sub": "client@clients" }),
        json!({ "sub": "client", "gty": "client-credentials" }),
    ] {
        let token = CURRENT.sign(&CURRENT.header(), &with(claims(), &changed));
        assert!(check(&token, &settings()).unwrap().machine, "{changed}");
    }
}

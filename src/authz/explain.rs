//! Why is this token refused? Each check by its name, in the order in which the server makes them. Pure, like [`token`].
//!
//! The server stops at the first check that fails; here the others are made as well, as far as they can be told. Nothing
//! that is said quotes the token, its subject or an address; issuers, audiences and times are quoted.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Settings,
    decision::{EmailStanding, email_standing},
    jwks::KeySet,
    token::{self, CHECKS, Claims, Parts, TokenError},
};

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The code that the server answers with, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Why, or what follows from it.
    pub detail: String,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Failed,
    /// It could not be made.
    Unknown,
}

impl Step {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Outcome::Ok, None, detail)
    }

    fn failed(check: &'static str, error: TokenError, detail: Option<String>) -> Self {
        let detail = detail.map_or_else(|| error.to_string(), |seen| format!("{error}: {seen}"));
        Self::new(check, Outcome::Failed, Some(error.code()), detail)
    }

    fn unknown(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Outcome::Unknown, None, detail)
    }

    fn new(
        check: &'static str,
        outcome: Outcome,
        code: Option<&'static str>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            check,
            outcome,
            code,
            detail: detail.into(),
        }
    }
}

/// All checks of a token at this time, with these keys if there are any.
pub fn explain(
    token: &str,
    settings: &Settings,
    keys: Option<&KeySet>,
    now: Timestamp,
) -> Vec<Step> {
    let parts = match Parts::of(token) {
        Ok(parts) => parts,
        Err(error) => {
            let mut steps = vec![Step::failed("shape", error, None)];
            let left = CHECKS.iter().map(|(check, _)| *check);
            let left = left.chain(["key", "signature"]);
            steps.extend(left.map(|check| Step::unknown(check, "the token could not be read")));
            return steps;
        }
    };
    let mut steps = vec![Step::ok("shape", "a JWT")];
    for (check, passes) in CHECKS {
        steps.push(match passes(&parts, settings, now) {
            Ok(()) => Step::ok(check, ""),
            Err(error) => Step::failed(check, error, seen(error, &parts, settings)),
        });
    }
    steps.extend(signature(&parts, keys));
    if let Ok(claims) = parts.claims(settings) {
        steps.extend(bearer(&claims, settings));
    }
    steps
}

/// The key, and what was signed with it.
fn signature(parts: &Parts<'_>, keys: Option<&KeySet>) -> [Step; 2] {
    let unknown = |why: &str| ["key", "signature"].map(|check| Step::unknown(check, why));
    let Some(keys) = keys else {
        return unknown("not checked: no keys were given");
    };
    let Ok(kid) = token::key_id(parts) else {
        return unknown("not checked: the token names no key");
    };
    let Some(key) = keys.get(kid) else {
        return [
            Step::failed("key", TokenError::KeyUnknown, None),
            Step::unknown("signature", "not checked: its key is not listed"),
        ];
    };
    let verified = token::verify(parts.signed, parts.signature, &key);
    [
        Step::ok("key", "listed"),
        match verified {
            Ok(()) => Step::ok("signature", ""),
            Err(error) => Step::failed("signature", error, None),
        },
    ]
}

/// What the token is good for; nothing here fails, since an account that Roster knows needs no address.
fn bearer(claims: &Claims, settings: &Settings) -> [Step; 2] {
    let kind = match claims.machine {
        true => "a machine (client credentials): no user is behind it",
        false => "a person",
    };
    let address = match (email_standing(claims, settings), &claims.email) {
        (EmailStanding::Eligible(_), _) => "verified: it may find a user",
        (EmailStanding::Unverified, _) => "not verified: it finds nobody",
        (EmailStanding::Unused, None) => "none in the claim authz.email_claim names",
        (EmailStanding::Unused, Some(_)) => {
            "not used: see authz.email_match and authz.email_match_subjects, or it is not plain ASCII"
        }
    };
    [Step::ok("bearer", kind), Step::ok("address", address)]
}

/// What the token says, and what was wanted.
fn seen(error: TokenError, parts: &Parts<'_>, settings: &Settings) -> Option<String> {
    let claim = |name: &str| {
        parts
            .payload
            .get(name)
            .map_or("nothing".to_owned(), Value::to_string)
    };
    let time = |name: &str| {
        let seconds = parts.payload.get(name)?.as_f64()?;
        // Whole seconds say enough; beyond the year 9999 there is no text for it.
        Timestamp::from_second(seconds as i64)
            .ok()
            .map(|time| time.to_string())
    };
    match error {
        TokenError::Issuer => Some(format!(
            "its iss is {}, authz.issuer is {:?}",
            claim("iss"),
            settings.issuer
        )),
        TokenError::Audience => Some(format!(
            "its aud is {}, authz.audience is {:?}",
            claim("aud"),
            settings.audiences
        )),
        TokenError::Expired => {
            let age = settings.max_token_age.zip(time("iat"));
            let aged = age.map(|(age, iat)| {
                format!(
                    ", its iat {iat}; authz.max_token_age is {} s",
                    age.as_secs()
                )
            });
            Some(format!(
                "its exp is {}{}",
                time("exp")?,
                aged.unwrap_or_default()
            ))
        }
        TokenError::NotYetValid => time("nbf")
            .map(|nbf| format!("its nbf is {nbf}"))
            .or_else(|| Some(format!("its iat is {}", time("iat")?))),
        TokenError::Signature(_) => Some(format!("its alg is {}", parts.header.get("alg")?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authz::testing::{AUDIENCE, CURRENT, ISSUER, NEXT, settings, with};

    const NOW: i64 = 1_800_000_000;

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "sub": "auth0|7", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600,
            "email": "ada@example.com", "email_verified": true,
        })
    }

    fn steps(header: &Value, changed: &Value) -> Vec<Step> {
        let token = CURRENT.sign(&with(CURRENT.header(), header), &with(claims(), changed));
        let keys = json!({ "keys": [CURRENT.jwk()] }).to_string();
        let keys = KeySet::parse(keys.as_bytes()).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        explain(&token, &settings(), Some(&keys), now)
    }

    /// The checks that did not end well.
    fn not_ok(steps: &[Step]) -> Vec<(&str, Outcome, Option<&str>)> {
        let not_ok = steps.iter().filter(|step| step.outcome != Outcome::Ok);
        not_ok
            .map(|step| (step.check, step.outcome, step.code))
            .collect()
    }

    #[test]
    fn of_a_good_token_every_check_is_ok() {
        let steps = steps(&json!({}), &json!({}));
        assert_eq!(not_ok(&steps), []);
        let checks: Vec<_> = steps.iter().map(|step| step.check).collect();
        assert_eq!(checks.first(), Some(&"shape"));
        assert_eq!(checks[11..], ["key", "signature", "bearer", "address"]);
    }

    #[test]
    fn every_check_that_fails_is_told_and_not_the_first_alone() {
        use Outcome::{Failed, Unknown};
        let table = [
            (
                json!({}),
                json!({ "iss": "https://tenant.example", "exp": NOW - 60 }),
                vec![
                    ("issuer", Failed, Some("issuer_mismatch")),
                    ("expiry", Failed, Some("token_expired")),
                ],
            ),
            (
                json!({ "typ": "logout+jwt", "kid": "another" }),
                json!({}),
                vec![
                    ("type", Failed, Some("token_malformed")),
                    ("key", Failed, Some("key_unknown")),
                    ("signature", Unknown, None),
                ],
            ),
            (
                json!({ "kid": null }),
                json!({ "nonce": "n" }),
                vec![
                    ("key id", Failed, Some("token_malformed")),
                    ("purpose", Failed, Some("token_malformed")),
                    ("key", Unknown, None),
                    ("signature", Unknown, None),
                ],
            ),
            (
                json!({}),
                json!({ "nbf": NOW + 60, "aud": "client", "sub": "" }),
                vec![
                    ("audience", Failed, Some("audience_mismatch")),
                    ("beginning", Failed, Some("token_not_yet_valid")),
                    ("subject", Failed, Some("token_malformed")),
                ],
            ),
        ];
        for (header, changed, expected) in table {
            assert_eq!(
                not_ok(&steps(&header, &changed)),
                expected,
                "{header} {changed}"
            );
        }
    }

    #[test]
    fn what_fails_first_here_is_what_the_server_answers() {
        let changes = [
            json!({ "iss": "x", "aud": "y" }),
            json!({ "aud": "y", "exp": 1 }),
            json!({ "exp": 1, "nbf": NOW + 60 }),
            json!({ "nbf": NOW + 60, "sub": 7 }),
            json!({ "exp": "soon" }),
        ];
        for changed in changes {
            let token = CURRENT.sign(&CURRENT.header(), &with(claims(), &changed));
            let now = Timestamp::from_second(NOW).unwrap();
            let answered = token::read(&token, &settings(), now).err().unwrap();
            let steps = steps(&json!({}), &changed);
            assert_eq!(not_ok(&steps)[0].2, Some(answered.code()), "{changed}");
        }
    }

    #[test]
    fn a_signature_is_unknown_without_keys_and_false_under_another_key() {
        let now = Timestamp::from_second(NOW).unwrap();
        let stranger = NEXT.sign(&CURRENT.header(), &claims());
        let signature = |keys: Option<&KeySet>| {
            let mut steps = explain(&stranger, &settings(), keys, now).into_iter();
            steps
                .find(|step| step.check == "signature")
                .unwrap()
                .outcome
        };
        let keys = json!({ "keys": [CURRENT.jwk()] }).to_string();
        let keys = KeySet::parse(keys.as_bytes()).unwrap();
        assert_eq!(signature(None), Outcome::Unknown);
        assert_eq!(signature(Some(&keys)), Outcome::Failed);
        for check in explain("no.jwt", &settings(), Some(&keys), now)
            .split_first()
            .unwrap()
            .1
        {
            assert_eq!(check.outcome, Outcome::Unknown);
        }
    }

    #[test]
    fn issuers_audiences_and_times_are_quoted_and_nothing_else() {
        let all = steps(
            &json!({ "alg": "RS512", "kid": "secret-kid" }),
            &json!({
                "iss": "https://other.example/", "aud": ["client"], "exp": NOW - 86_400, "nbf": NOW + 60,
                "sub": "secret-sub\n", "email": "secret@example.com",
            }),
        );
        let text = serde_json::to_string(&all).unwrap();
        for told in [
            "https://other.example/",
            ISSUER,
            "client",
            AUDIENCE,
            "2027-01-14T08:00:00Z",
            "RS512",
        ] {
            assert!(text.contains(told), "{told} in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}

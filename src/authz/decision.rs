//! May the bearer of these claims in, and as whom? Pure: what Postgres answered is given, nothing is asked here.

use super::{EmailMatch, Settings, token::Claims};
use crate::db::directory::{Found, User};

/// Why a person with a good token is not let in. Answered with 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("this account belongs to no user")]
    NotProvisioned,
    #[error("this user is blocked")]
    Blocked,
    #[error("this account belongs to no user, and its e-mail address is not verified")]
    EmailUnverified,
    #[error(
        "this account cannot be told apart from another user's; an administrator has to link it"
    )]
    Conflict,
}

impl Denial {
    /// The stable code that stands in answers, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotProvisioned => "user_not_provisioned",
            Self::Blocked => "user_blocked",
            Self::EmailUnverified => "email_unverified",
            Self::Conflict => "identity_conflict",
        }
    }
}

/// What a token's address may be used for.
#[derive(Clone, PartialEq, Eq)]
pub enum EmailStanding {
    /// It may find a user; lower case.
    Eligible(String),
    /// It is there, and nobody has verified it.
    Unverified,
    /// There is none, or it may not be used: matching is off, the account is of a connection whose verified flag is not
    /// trusted, or the address is not plain ASCII (several such spellings can fold to one).
    Unused,
}

impl EmailStanding {
    /// The address to look up, if it may be.
    pub fn eligible(&self) -> Option<&str> {
        match self {
            Self::Eligible(address) => Some(address),
            Self::Unverified | Self::Unused => None,
        }
    }
}

/// Judges the address of a token.
pub fn email_standing(claims: &Claims, settings: &Settings) -> EmailStanding {
    let subject = claims.subject.as_str();
    let trusted = settings.email_match == EmailMatch::Verified
        && settings
            .email_match_subjects
            .iter()
            .any(|prefix| subject.starts_with(prefix.as_str()));
    match &claims.email {
        Some(email) if trusted && !email.verified => EmailStanding::Unverified,
        Some(email) if trusted && is_plain_address(&email.address) => {
            EmailStanding::Eligible(email.address.to_ascii_lowercase())
        }
        _ => EmailStanding::Unused,
    }
}

/// The answer to "who is it, and may they in".
///
/// Whether some row has an unverified address is not told: [`Denial::EmailUnverified`] depends on the token alone.
///
/// # Errors
/// [`Denial`].
pub fn decide(found: Found, email: &EmailStanding) -> Result<User, Denial> {
    match found {
        Found::User(user) if user.blocked => Err(Denial::Blocked),
        Found::User(user) => Ok(user),
        Found::Conflict => Err(Denial::Conflict),
        Found::Nobody if *email == EmailStanding::Unverified => Err(Denial::EmailUnverified),
        Found::Nobody => Err(Denial::NotProvisioned),
    }
}

/// 254 octets is what a path in SMTP leaves for an address (RFC 5321 section 4.5.3.1.3).
fn is_plain_address(address: &str) -> bool {
    address.len() <= 254
        && address.bytes().all(|byte| byte.is_ascii_graphic())
        && address
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::token::EmailClaim;
    use crate::db::directory::MatchedBy;

    fn settings() -> Settings {
        Settings::new(
            "https://tenant.example/",
            ["https://api.example"],
            "https://tenant.example/.well-known/jwks.json"
                .parse()
                .unwrap(),
        )
    }

    fn claims(subject: &str, email: Option<(&str, bool)>) -> Claims {
        Claims {
            subject: subject.into(),
            machine: false,
            email: email.map(|(address, verified)| EmailClaim {
                address: address.to_owned(),
                verified,
            }),
            good_until: jiff::Timestamp::MAX,
        }
    }

    fn user(blocked: bool) -> User {
        User {
            key: "7".into(),
            email: Some("ada@example.com".into()),
            name: None,
            role: Some("Artist".into()),
            permissions: vec![],
            auth0_user_id: "auth0|7".into(),
            blocked,
            matched_by: MatchedBy::Account,
        }
    }

    #[test]
    fn an_address_finds_a_user_only_if_verified_plain_and_of_a_trusted_connection() {
        let eligible = |a: &str| EmailStanding::Eligible(a.to_owned());
        let table = [
            (
                "google-oauth2|1",
                Some(("Ada@Example.com", true)),
                eligible("ada@example.com"),
            ),
            (
                "auth0|1",
                Some(("ada@example.com", true)),
                eligible("ada@example.com"),
            ),
            (
                "auth0|1",
                Some(("ada@example.com", false)),
                EmailStanding::Unverified,
            ),
            ("auth0|1", None, EmailStanding::Unused),
            (
                "waad|1",
                Some(("ada@example.com", true)),
                EmailStanding::Unused,
            ),
            (
                "waad|1",
                Some(("ada@example.com", false)),
                EmailStanding::Unused,
            ),
            (
                "auth0|1",
                Some(("ada@example.com ", true)),
                EmailStanding::Unused,
            ),
            (
                "auth0|1",
                Some(("ad\u{131}@example.com", true)),
                EmailStanding::Unused,
            ),
            (
                "auth0|1",
                Some(("@example.com", true)),
                EmailStanding::Unused,
            ),
            ("auth0|1", Some(("ada", true)), EmailStanding::Unused),
        ];
        for (subject, email, expected) in table {
            let standing = email_standing(&claims(subject, email), &settings());
            assert!(standing == expected, "{subject} {email:?}");
        }
    }

    #[test]
    fn with_email_match_never_no_address_finds_anybody() {
        let settings = Settings {
            email_match: EmailMatch::Never,
            ..settings()
        };
        for verified in [true, false] {
            let claims = claims("google-oauth2|1", Some(("ada@example.com", verified)));
            assert!(email_standing(&claims, &settings) == EmailStanding::Unused);
        }
    }

    #[test]
    fn only_a_user_who_was_found_and_is_not_blocked_is_let_in() {
        let unused = EmailStanding::Unused;
        assert!(decide(Found::User(user(false)), &unused).is_ok());
        assert_eq!(
            decide(Found::User(user(true)), &unused),
            Err(Denial::Blocked)
        );
        assert_eq!(decide(Found::Nobody, &unused), Err(Denial::NotProvisioned));
        assert_eq!(decide(Found::Conflict, &unused), Err(Denial::Conflict));
        assert_eq!(
            decide(Found::Nobody, &EmailStanding::Unverified),
            Err(Denial::EmailUnverified)
        );
    }
}

//! Who a browser is, by a cookie that only this server can write.
//!
//! Promises: a cookie that was changed, made elsewhere or is too old is none; scripts cannot read it, other sites cannot have it sent with
//! what they post, and over https it goes over nothing else. It says who logged in, never what they may do: that is asked at each request.
//!
//! What it does not do: end one session before its time at the server. Logging out takes the cookie from the browser; who is to be kept out
//! is blocked, which ends access at once. Another session key or break-glass token ends all sessions.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cookie::{Cookie, CookieJar, Key, SameSite};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use warp::http::{HeaderMap, HeaderValue, header};

use crate::authz::token::{Claims, EmailClaim};

/// How long somebody may take at the log-in page.
pub(super) const LOGIN: Duration = Duration::from_secs(600);

/// What is signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) who: Who,
    /// What each form of this session must hold.
    pub(super) csrf: String,
    until: i64,
}

/// Who logged in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Who {
    Account {
        subject: String,
        email: Option<String>,
        verified: bool,
    },
    BreakGlass,
}

impl Session {
    pub(super) fn new(who: Who, lasts: Duration) -> Self {
        Self {
            who,
            csrf: secret(),
            until: from_now(lasts),
        }
    }

    /// Whether a form is of this session.
    pub(super) fn wrote(&self, token: &str) -> bool {
        is_same(&self.csrf, token)
    }

    /// As the authorization server takes them; none of the break-glass token.
    pub(super) fn claims(&self) -> Option<Claims> {
        let Who::Account {
            subject,
            email,
            verified,
        } = &self.who
        else {
            return None;
        };
        Some(Claims {
            subject: subject.as_str().into(),
            machine: false,
            email: email.clone().map(|address| EmailClaim {
                address,
                verified: *verified,
            }),
            good_until: Timestamp::from_second(self.until).unwrap_or(Timestamp::MIN),
        })
    }
}

/// A log-in that has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Which page it began at.
    pub(super) back: String,
    until: i64,
}

impl Begun {
    pub(super) fn new(verifier: String, back: String) -> Self {
        Self {
            state: secret(),
            nonce: secret(),
            verifier,
            back,
            until: from_now(LOGIN),
        }
    }
}

/// What has an end.
pub(super) trait Ends {
    fn until(&self) -> i64;
}

impl Ends for Session {
    fn until(&self) -> i64 {
        self.until
    }
}

impl Ends for Begun {
    fn until(&self) -> i64 {
        self.until
    }
}

/// The cookies of one server.
pub(super) struct Cookies {
    key: Key,
    is_https: bool,
    lasts: Duration,
}

impl Cookies {
    /// The hash of the break-glass token is part of what signs, so that no session outlives the token it was opened with.
    pub(super) fn new(
        key: Option<&SecretString>,
        break_glass_sha256: Option<[u8; 32]>,
        is_https: bool,
        lasts: Duration,
    ) -> Self {
        Self {
            key: match key {
                Some(key) => {
                    let glass = break_glass_sha256.unwrap_or_default();
                    Key::derive_from(&[&glass, key.expose_secret().as_bytes()].concat())
                }
                None => Key::generate(),
            },
            is_https,
            lasts,
        }
    }

    /// How long a log-in lasts.
    pub(super) fn lasts(&self) -> Duration {
        self.lasts
    }

    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        self.read("roster_session", headers)
    }

    pub(super) fn begun(&self, headers: &HeaderMap) -> Option<Begun> {
        self.read("roster_login", headers)
    }

    pub(super) fn keep_session(&self, session: &Session) -> HeaderValue {
        self.write("roster_session", session, self.lasts)
    }

    pub(super) fn keep_begun(&self, begun: &Begun) -> HeaderValue {
        self.write("roster_login", begun, LOGIN)
    }

    pub(super) fn end_session(&self) -> HeaderValue {
        self.end("roster_session")
    }

    pub(super) fn end_begun(&self) -> HeaderValue {
        self.end("roster_login")
    }

    /// With this prefix, browsers take it from this very host over https alone.
    fn name(&self, name: &'static str) -> String {
        let prefix = if self.is_https { "__Host-" } else { "" };
        format!("{prefix}{name}")
    }

    fn read<T: DeserializeOwned + Ends>(
        &self,
        name: &'static str,
        headers: &HeaderMap,
    ) -> Option<T> {
        let name = self.name(name);
        let sent = headers.get_all(header::COOKIE);
        let texts = sent.iter().filter_map(|sent| sent.to_str().ok());
        let mut named = texts
            .flat_map(|text| Cookie::split_parse_encoded(text.to_owned()))
            .filter_map(Result::ok)
            .filter(|cookie| cookie.name() == name);
        let cookie = named.next()?;
        let value = CookieJar::new().signed(&self.key).verify(cookie)?;
        let read: T = serde_json::from_str(value.value()).ok()?;
        (read.until() > Timestamp::now().as_second()).then_some(read)
    }

    fn write<T: Serialize>(&self, name: &'static str, value: &T, lasts: Duration) -> HeaderValue {
        let mut jar = CookieJar::new();
        let text = serde_json::to_string(value).unwrap_or_default();
        let age = cookie::time::Duration::try_from(lasts).unwrap_or(cookie::time::Duration::HOUR);
        let cookie = Cookie::build((self.name(name), text)).max_age(age);
        jar.signed_mut(&self.key).add(self.shut(cookie.build()));
        self.header(jar.get(&self.name(name)))
    }

    fn end(&self, name: &'static str) -> HeaderValue {
        let cookie = Cookie::build((self.name(name), "")).max_age(cookie::time::Duration::ZERO);
        self.header(Some(&self.shut(cookie.build())))
    }

    fn shut(&self, mut cookie: Cookie<'static>) -> Cookie<'static> {
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Lax);
        cookie.set_secure(self.is_https);
        cookie
    }

    fn header(&self, cookie: Option<&Cookie<'_>>) -> HeaderValue {
        let text = cookie.map(|cookie| cookie.encoded().to_string());
        text.and_then(|text| HeaderValue::try_from(text).ok())
            .unwrap_or(HeaderValue::from_static(""))
    }
}

/// Compares without telling by the time it takes where they differ.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn from_now(lasts: Duration) -> i64 {
    let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    Timestamp::now().as_second().saturating_add(seconds)
}

/// 256 random bits, in 64 digits.
fn secret() -> String {
    rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(is_https: bool) -> Cookies {
        Cookies::new(None, None, is_https, Duration::from_secs(60))
    }

    fn sent(set: &HeaderValue) -> HeaderMap {
        let text = set.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn only_the_server_that_wrote_a_session_reads_it_and_only_unchanged_and_in_time() {
        let (ours, session) = (cookies(false), Session::new(Who::BreakGlass, LOGIN));
        let kept = ours.keep_session(&session);
        let read = ours.session(&sent(&kept)).expect("a session");
        assert!(session.wrote(&read.csrf) && !session.wrote("") && !session.wrote(&secret()));
        assert!(cookies(false).session(&sent(&kept)).is_none());
        let changed = kept.to_str().unwrap().replace("BreakGlass", "BreakGlasz");
        assert!(
            ours.session(&sent(&HeaderValue::try_from(changed).unwrap()))
                .is_none()
        );
        let old = Session::new(Who::BreakGlass, Duration::ZERO);
        assert!(ours.session(&sent(&ours.keep_session(&old))).is_none());
        // One cookie is no other: the name is not signed, but what stands in it is of another kind.
        let begun = ours.keep_begun(&Begun::new(String::new(), String::new()));
        let renamed = begun
            .to_str()
            .unwrap()
            .replace("roster_login", "roster_session");
        assert!(
            ours.session(&sent(&HeaderValue::try_from(renamed).unwrap()))
                .is_none()
        );
    }

    #[test]
    fn a_session_is_over_when_the_key_or_the_break_glass_token_is_another_one() {
        let with = |key: &str, glass: Option<[u8; 32]>| {
            let key = SecretString::from(key.repeat(32));
            Cookies::new(Some(&key), glass, false, LOGIN)
        };
        let session = Session::new(Who::BreakGlass, LOGIN);
        let kept = sent(&with("k", Some([1; 32])).keep_session(&session));
        assert!(with("k", Some([1; 32])).session(&kept).is_some());
        for (key, glass) in [("l", Some([1; 32])), ("k", Some([2; 32])), ("k", None)] {
            assert!(with(key, glass).session(&kept).is_none(), "{key} {glass:?}");
        }
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
        let session = Session::new(Who::BreakGlass, LOGIN);
        let plain = cookies(false).keep_session(&session);
        let plain = plain.to_str().unwrap();
        assert!(
            plain.contains("HttpOnly; SameSite=Lax") && !plain.contains("Secure"),
            "{plain}"
        );
        let https = cookies(true).keep_session(&session);
        let https = https.to_str().unwrap();
        assert!(
            https.starts_with("__Host-roster_session=") && https.contains("Secure"),
            "{https}"
        );
    }
}

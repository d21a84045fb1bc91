//! The headers that tell an application behind a proxy who its user is.
//!
//! All of them stand in every answer, allow or not, empty where there is nothing to say: proxies differ in what they do
//! with a header that the answer lacks, and some keep the one their client sent.

use percent_encoding::utf8_percent_encode;
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{authz::problem::NOT_PLAIN, db::directory::User};

const USER: HeaderName = HeaderName::from_static("x-roster-user");
const EMAIL: HeaderName = HeaderName::from_static("x-roster-email");
const ROLE: HeaderName = HeaderName::from_static("x-roster-role");
const PERMISSIONS: HeaderName = HeaderName::from_static("x-roster-permissions");
/// `ok`, or why not: some proxies drop the body.
const CODE: HeaderName = HeaderName::from_static("x-roster-code");

/// Says who it is, if that is known, and what became of the request.
pub(super) fn put(headers: &mut HeaderMap, user: Option<&User>, code: &'static str) {
    let text = |value: Option<&str>| plain(value.unwrap_or_default());
    let permissions = |user: &User| {
        let each: Vec<String> = user.permissions.iter().map(|each| plain(each)).collect();
        each.join(" ")
    };
    let values = [
        (USER, text(user.map(|user| user.key.as_str()))),
        (EMAIL, text(user.and_then(|user| user.email.as_deref()))),
        (ROLE, text(user.and_then(|user| user.role.as_deref()))),
        (PERMISSIONS, user.map(permissions).unwrap_or_default()),
    ];
    for (name, value) in values {
        let value = HeaderValue::try_from(value).expect("percent-encoded");
        headers.insert(name, value);
    }
    headers.insert(CODE, HeaderValue::from_static(code));
}

/// A value as `decodeURIComponent` and its like read it back. What could end or split a header is not left in it.
fn plain(value: &str) -> String {
    utf8_percent_encode(value, NOT_PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::directory::MatchedBy, user::UserKey};

    #[test]
    fn values_are_safe_in_a_header_and_can_be_read_back() {
        let table = [
            ("ada@example.com", "ada@example.com"),
            ("read:songs", "read:songs"),
            ("Lead Artist", "Lead%20Artist"),
            ("a,b", "a%2Cb"),
            ("50%", "50%25"),
            ("x\r\nX-Roster-Role: Admin", "x%0D%0AX-Roster-Role:%20Admin"),
            ("Zo\u{eb}\u{7f}\t\"\\", "Zo%C3%AB%7F%09%22%5C"),
        ];
        for (value, expected) in table {
            assert_eq!(plain(value), expected);
            let back = percent_encoding::percent_decode_str(expected);
            assert_eq!(back.decode_utf8().unwrap(), value);
        }
    }

    #[test]
    fn every_header_is_there_whoever_it_is() {
        let user = User {
            key: UserKey("7".to_owned()),
            email: None,
            name: None,
            role: Some("Artist".to_owned()),
            permissions: vec!["art read".to_owned(), "art:write".to_owned()],
            auth0_user_id: "auth0|7".into(),
            blocked: false,
            matched_by: MatchedBy::Account,
        };
        for (user, expected) in [
            (Some(&user), ["7", "", "Artist", "art%20read art:write"]),
            (None, [""; 4]),
        ] {
            let mut headers = HeaderMap::new();
            put(&mut headers, user, "ok");
            let names = [USER, EMAIL, ROLE, PERMISSIONS];
            assert_eq!(names.map(|name| headers[name].clone()), expected);
        }
    }
}

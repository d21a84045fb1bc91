//! Problem details: the body of every answer that is not a success (RFC 9457), with a stable `code`.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{HeaderValue, Response, StatusCode, header};

/// The realm of every challenge.
const REALM: &str = "roster";

/// The error of RFC 6750 for a good token whose user may not.
pub(super) const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// What a permission, an address or a role must not bring into a header: it is percent-encoded there. The comma, since
/// some readers take it for the beginning of another value.
pub(super) const NOT_PLAIN: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',').add(b'\\');

/// An answer that says what went wrong, for the caller's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// For people. Never a token, an address or the text of an error from below.
    pub(super) detail: String,
    /// Permissions that would have let the request through.
    pub(super) missing: Option<Vec<String>>,
    pub(super) challenge: Challenge,
}

/// What `WWW-Authenticate` says (RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// No such header: sending another token would not help.
    None,
    /// The scheme and realm alone: no credentials came, so there is no error to name.
    Bare,
    /// With `error` and the detail as its description.
    Error(&'static str),
    /// [`INSUFFICIENT_SCOPE`] and what is required, so that the client may ask for a token with it.
    Scope(Vec<String>),
}

/// Why a request was not answered as it asked (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(description = "Permissions that would have let the request through")]
    missing: Option<&'a [String]>,
    request_id: &'a str,
}

impl Problem {
    /// The answer as HTTP with nothing but the detail as its body, which is what `AuthZEN` asks for.
    pub(super) fn into_line(self) -> Response<String> {
        let challenge = self.www_authenticate();
        let mut response = Response::new(self.detail);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// The answer as HTTP.
    pub(super) fn into_response(self, request_id: &str) -> Response<String> {
        let body = Body {
            // No page describes these; the code does. "about:blank" makes the title the status's own phrase.
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            missing: self.missing.as_deref(),
            request_id,
        };
        let body = serde_json::to_string(&body).expect("strings and numbers always serialize");
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(challenge) = self.www_authenticate() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn www_authenticate(&self) -> Option<HeaderValue> {
        let value = match &self.challenge {
            Challenge::None => return None,
            Challenge::Bare => format!("Bearer realm=\"{REALM}\""),
            Challenge::Error(error) => format!(
                "Bearer realm=\"{REALM}\", error=\"{error}\", error_description=\"{}\"",
                description(&self.detail)
            ),
            Challenge::Scope(required) => {
                let required: Vec<String> = required
                    .iter()
                    .map(|each| utf8_percent_encode(each, NOT_PLAIN).to_string())
                    .collect();
                format!(
                    "Bearer realm=\"{REALM}\", error=\"{INSUFFICIENT_SCOPE}\", error_description=\"{}\", scope=\"{}\"",
                    description(&self.detail),
                    required.join(" ")
                )
            }
        };
        HeaderValue::try_from(value).ok()
    }
}

/// What RFC 6750 section 3 allows in a description: printable ASCII without the quote and the backslash.
fn description(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => '\'',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(challenge: Challenge) -> Problem {
        Problem {
            status: StatusCode::UNAUTHORIZED,
            code: "token_expired",
            detail: "the token \"x\" has expired\n".into(),
            missing: None,
            challenge,
        }
    }

    #[test]
    fn the_body_is_problem_json_with_a_stable_code() {
        let response = problem(Challenge::Bare).into_response("r-1");
        assert_eq!(response.status(), 401);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "about:blank", "title": "Unauthorized", "status": 401,
                "detail": "the token \"x\" has expired\n", "code": "token_expired", "request_id": "r-1",
            })
        );
    }

    #[test]
    fn the_challenge_names_an_error_only_if_credentials_came() {
        let header = |challenge| {
            let response = problem(challenge).into_response("r-1");
            let value = response.headers().get(header::WWW_AUTHENTICATE);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(Challenge::None), None);
        assert_eq!(header(Challenge::Bare).unwrap(), "Bearer realm=\"roster\"");
        assert_eq!(
            header(Challenge::Error("invalid_token")).unwrap(),
            "Bearer realm=\"roster\", error=\"invalid_token\", error_description=\"the token 'x' has expired?\""
        );
        let required = vec!["read:songs".to_owned(), "a \"b\", \u{e9}".to_owned()];
        let scope = header(Challenge::Scope(required)).unwrap();
        assert!(
            scope.ends_with(", scope=\"read:songs a%20%22b%22%2C%20%C3%A9\""),
            "{scope}"
        );
    }
}

//! What can go wrong with a call, told apart by what is known about its effect.
//!
//! The question after every failed write is "did Auth0 apply it?". [`CallError`] answers by variant, so that the caller
//! decides without reading text: `NotSent`, `Throttled` and `Token` surely not, `AnswerLost` perhaps, `Malformed` yes,
//! `Refused` as its status says.
//!
//! Auth0's own words may hold a person's mail address. They are kept in [`Detail`], which neither `Debug` nor `Display`
//! shows; URLs are taken out of transport errors for the same reason (`users-by-email` has the address in its query).

use std::{borrow::Cow, fmt, time::Duration};

/// A boxed cause from a library below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to Auth0 did not give what it promises. `call` names the operation and, where there is one, the user id.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection was made (refused, DNS, TLS, connect timeout), or the time for it was over: surely not applied.
    #[error("{call}: auth0 cannot be reached, nothing was sent")]
    NotSent {
        call: String,
        #[source]
        source: Cause,
    },
    /// The request may have arrived, its answer did not (deadline passed, connection cut): perhaps applied.
    #[error("{call}: auth0's answer was lost")]
    AnswerLost {
        call: String,
        #[source]
        source: Cause,
    },
    /// Auth0 answered with a status other than 2xx. A 5xx leaves open whether a write was applied.
    #[error("{call}: auth0 answered {status}{}", in_brackets(.error_code))]
    Refused {
        call: String,
        status: u16,
        /// Auth0's `errorCode`, often missing. Only short plain codes are kept, so it can be logged and stored.
        error_code: Option<String>,
        /// How long Auth0 asks to wait (`Retry-After`), else as long as this client's pace will hold such calls.
        retry_after: Option<Duration>,
        /// Auth0's own words.
        detail: Detail,
    },
    /// No access token for the Management API: surely not applied.
    #[error("{call}: no access token")]
    Token {
        call: String,
        #[source]
        source: TokenError,
    },
    /// The pace did not allow the call in time: not sent. A call is worth trying again after `retry_after`.
    #[error("{call}: held back by the rate limit")]
    Throttled { call: String, retry_after: Duration },
    /// A 2xx whose body was cut, too long or not understood: applied, but the answer cannot be used.
    #[error("{call}: auth0 answered {status} with a body that cannot be used")]
    Malformed {
        call: String,
        status: u16,
        #[source]
        source: Cause,
    },
}

impl CallError {
    /// The HTTP status of Auth0's answer to the call itself, where one came.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Malformed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// A short stable code for logs, metrics and the database: Auth0's `errorCode` where it gave one, else ours.
    pub fn code(&self) -> &str {
        match self {
            Self::NotSent { .. } => "not_sent",
            Self::AnswerLost { .. } => "answer_lost",
            Self::Refused {
                error_code: Some(code),
                ..
            } => code,
            Self::Refused { status, .. } => match status {
                400 => "bad_request",
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not_found",
                408 => "request_timeout",
                409 => "conflict",
                429 => "too_many_requests",
                500.. => "server_error",
                _ => "unexpected_status",
            },
            Self::Token { source, .. } => source.code(),
            Self::Throttled { .. } => "throttled",
            Self::Malformed { .. } => "malformed_answer",
        }
    }

    /// How long to wait before trying again, where something said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Token { source, .. } => source.retry_after(),
            Self::Throttled { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Auth0's own words, at most [`Detail::MAX_CHARS`] characters. May hold personal data: for the database, never for a log.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused { detail, .. } => detail.as_str(),
            _ => None,
        }
    }
}

/// Why there is no access token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// `/oauth/token` refused our credentials or their grant (any 4xx but 408 and 429): a person must change the configuration.
    #[error("auth0 answered {status}{} to the token request", in_brackets(.error_code))]
    Refused {
        status: u16,
        error_code: Option<String>,
        /// When it will be asked again at the earliest.
        retry_after: Duration,
    },
    /// `/oauth/token` is rate limited (429) or not well (408, 5xx).
    #[error("auth0 answered {status} to the token request")]
    Unavailable { status: u16, retry_after: Duration },
    /// `/oauth/token` could not be reached, or did not answer in time.
    #[error("the token request was not answered: {reason}")]
    Unreachable {
        /// The transport error with its causes, without URL.
        reason: String,
        retry_after: Duration,
    },
    /// A 2xx without a usable token.
    #[error("the answer to the token request cannot be used: {reason}")]
    Malformed {
        reason: Cow<'static, str>,
        retry_after: Duration,
    },
}

impl TokenError {
    /// Not fetched within the call's deadline.
    pub(super) fn late() -> Self {
        Self::Unreachable {
            reason: "not in time".to_owned(),
            retry_after: Duration::from_secs(1),
        }
    }

    /// Whether only a changed configuration can help.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// A short stable code for logs, metrics and the database.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "token_refused",
            Self::Unavailable { status: 429, .. } => "token_throttled",
            Self::Unavailable { .. } => "token_unavailable",
            Self::Unreachable { .. } => "token_unreachable",
            Self::Malformed { .. } => "token_malformed",
        }
    }

    /// When `/oauth/token` will be asked again at the earliest; until then every call fails with this error.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. }
            | Self::Unavailable { retry_after, .. }
            | Self::Unreachable { retry_after, .. }
            | Self::Malformed { retry_after, .. } => Some(*retry_after),
        }
    }
}

/// Words of Auth0 that may hold personal data. `Debug` says only whether there are any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Detail(Option<String>);

impl Detail {
    /// Longer words are cut here; enough for a person to see what is meant.
    pub const MAX_CHARS: usize = 500;

    /// Keeps the first [`Self::MAX_CHARS`] characters of `words`.
    pub fn new(words: Option<&str>) -> Self {
        Self(words.map(|words| words.chars().take(Self::MAX_CHARS).collect()))
    }

    /// The words themselves. See [`CallError::detail`] for where they may go.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Some([redacted])"
        } else {
            "None"
        })
    }
}

/// Why [`super::Client::new`] refuses its settings. The message names the key of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("auth0.base_url must be an https URL (http only for this machine)")]
    InsecureBaseUrl,
    #[error(
        "auth0.base_url must be an URL with a host and without user, password, query and fragment"
    )]
    BaseUrl,
    #[error("{key} must not be empty")]
    Empty { key: &'static str },
    #[error("auth0.budget_share is {0}, it must be above 0 and at most 1")]
    BudgetShare(f64),
    #[error("the time limit of a call must be above zero")]
    CallTimeout,
    #[error("the http client cannot be made")]
    Http(#[source] reqwest::Error),
}

/// A code as it may be logged: short, lower case, no address could hide in it.
pub(super) fn plain_code(code: &str) -> Option<String> {
    let plain = (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    plain.then(|| code.to_owned())
}

fn in_brackets(code: &Option<String>) -> String {
    code.as_deref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, error_code: Option<&str>) -> CallError {
        CallError::Refused {
            call: "create user auth0|1".into(),
            status,
            error_code: error_code.map(str::to_owned),
            retry_after: None,
            detail: Detail::new(Some("ann@example.com is taken")),
        }
    }

    #[test]
    fn the_words_of_auth0_are_kept_but_never_shown() {
        let error = refused(409, Some("auth0_idp_error"));
        assert_eq!(error.detail(), Some("ann@example.com is taken"));
        assert!(!format!("{error:?}").contains("ann@"));
        assert_eq!(
            error.to_string(),
            "create user auth0|1: auth0 answered 409 (auth0_idp_error)"
        );
    }

    #[test]
    fn a_code_is_auth0s_or_follows_from_the_status() {
        assert_eq!(
            refused(409, Some("auth0_idp_error")).code(),
            "auth0_idp_error"
        );
        assert_eq!(refused(409, None).code(), "conflict");
        assert_eq!(refused(503, None).code(), "server_error");
        assert_eq!(refused(302, None).code(), "unexpected_status");
        assert_eq!(refused(302, None).status(), Some(302));
    }

    #[test]
    fn only_plain_codes_are_taken_as_codes() {
        assert_eq!(
            plain_code("inexistent_user").as_deref(),
            Some("inexistent_user")
        );
        for odd in ["", "Not Found", "ann@example.com", &"a".repeat(65)] {
            assert_eq!(plain_code(odd), None, "{odd}");
        }
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        let detail = Detail::new(Some(&"é".repeat(900)));
        assert_eq!(
            detail.as_str().map(|words| words.chars().count()),
            Some(Detail::MAX_CHARS)
        );
    }
}

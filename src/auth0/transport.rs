//! One HTTP exchange with Auth0: sent or not, answered or not, and with what.
//!
//! It knows neither tokens nor users. Promises: a deadline for the whole exchange, a bound on the answer's size, no redirect
//! followed, nothing sent twice, no URL in an error (one may hold a mail address).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect::Policy, retry};
use url::{Host, Url};

use super::{
    error::{Cause, SettingsError},
    quota::Pacing,
};

/// Longest time to make a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are dropped before the other side does, which would cost the answer of the next call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection pool to one tenant.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
}

/// An answer, of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) pacing: Pacing,
    /// The status is known even where the body was cut or too long.
    pub(super) body: Result<Vec<u8>, Cause>,
}

/// No answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was made.
    NotSent(Cause),
    /// There was a connection; what arrived is not known.
    AnswerLost(Cause),
}

/// The body is longer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("the body is longer than {0} bytes")]
struct TooLong(usize);

impl Transport {
    /// `timeout` is the deadline of an exchange that sets none of its own.
    pub(super) fn new(base: Url, timeout: Duration) -> Result<Self, SettingsError> {
        let on_this_machine = check(&base)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("roster/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(Policy::none())
            .retry(retry::never());
        if on_this_machine {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(SettingsError::Http)?,
            base,
            timeout,
        })
    }

    /// The deadline of an exchange that sets none of its own.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where the tenant is.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// A request for `path`, which begins with a slash and is already percent-encoded.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        self.http.request(method, url)
    }

    /// A GET of a place that is not the tenant's, such as the file of an export.
    pub(super) fn elsewhere(&self, url: Url) -> RequestBuilder {
        self.http.get(url)
    }

    /// Sends and reads the answer, of which at most `limit` bytes.
    pub(super) async fn exchange(
        &self,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|error| {
            let nothing_sent = error.is_connect() || error.is_builder();
            let cause = error.without_url().into();
            if nothing_sent {
                Failure::NotSent(cause)
            } else {
                Failure::AnswerLost(cause)
            }
        })?;
        Ok(Answer {
            status: response.status(),
            pacing: Pacing::read(response.headers(), Timestamp::now()),
            body: read(response, limit).await,
        })
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, Cause> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)?
    {
        if body.len() + chunk.len() > limit {
            return Err(TooLong(limit).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A path segment with everything but letters, digits, `*`, `-`, `.` and `_` percent-encoded: `auth0|1` is `auth0%7C1`.
pub(super) fn encoded(segment: &str) -> String {
    // Form encoding writes a space as `+`, and a plus as `%2B`.
    url::form_urlencoded::byte_serialize(segment.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Whether the URL's host is this machine. Credentials go over it, so anything else must be https.
fn check(base: &Url) -> Result<bool, SettingsError> {
    if base.host().is_none() {
        return Err(SettingsError::BaseUrl);
    }
    let on_this_machine = is_on_this_machine(base);
    let plain = base.username().is_empty()
        && base.password().is_none()
        && base.query().is_none()
        && base.fragment().is_none();
    match base.scheme() {
        _ if !plain => Err(SettingsError::BaseUrl),
        "https" => Ok(on_this_machine),
        "http" if on_this_machine => Ok(true),
        _ => Err(SettingsError::InsecureBaseUrl),
    }
}

/// Whether the URL's host is this machine.
pub(super) fn is_on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

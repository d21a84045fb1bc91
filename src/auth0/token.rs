//! The access token of the Management API: fetched once, shared, renewed before it ends.
//!
//! * One request at a time (single flight): who needs a token while it is fetched waits for that one.
//! * A token is renewed when a tenth of its life, at least a minute, is left. If that fails it is used until it ends.
//! * A failure is remembered for its `retry_after`, so thousands of calls do not become thousands of token requests.
//!   401 and 403 mean a wrong configuration and are asked again only after half a minute.
//! * Nothing here prints the token: it is a header value marked sensitive.
//!
//! Token requests have a rate limit of their own, which is why there is no way round the cache
//! (<https://auth0.com/docs/secure/tokens/access-tokens/management-api-access-tokens>).

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Method, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::TokenError,
    transport::{Failure, Transport},
    wire,
};
use crate::telemetry::with_causes;

/// How long refused credentials are not tried again.
const REFUSAL: Duration = Duration::from_secs(30);
/// How long an unreachable or broken token endpoint is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a 429 of the token endpoint is obeyed that does not say how long.
const THROTTLED: Duration = Duration::from_secs(5);
/// Longest `Retry-After` of the token endpoint that is believed.
const LONGEST_THROTTLED: Duration = Duration::from_secs(60);
/// Auth0 grants at most this (<https://auth0.com/docs/secure/tokens/access-tokens/update-access-token-lifetime>).
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// A token's answer is about a kilobyte; many scopes make it a few.
const BODY_LIMIT: usize = 64 * 1024;

/// A token that can be used now.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// `Bearer …`, marked sensitive.
    pub(super) header: HeaderValue,
    pub(super) scopes: Arc<[String]>,
    /// Counts the fetched tokens, so that a token is only dropped if it is still the one that was refused.
    generation: u64,
}

/// Where tokens come from.
pub(super) struct Tokens {
    client_id: String,
    client_secret: SecretString,
    audience: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<Cached>,
    failure: Option<(TokenError, Instant)>,
    fetched: u64,
    /// Until then a refused token is not replaced, because a fresh one was refused as well.
    no_replacement_until: Option<Instant>,
}

struct Cached {
    token: Token,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub(super) fn new(client_id: String, client_secret: SecretString, audience: String) -> Self {
        Self {
            client_id,
            client_secret,
            audience,
            state: Mutex::default(),
        }
    }

    /// The cached token, or a new one.
    pub(super) async fn get(&self, transport: &Transport) -> Result<Token, TokenError> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(token) = state.usable(now, |cached| cached.renew_at) {
            return Ok(token);
        }
        let fetched = match state.remembered_failure(now) {
            Some(failure) => Err(failure),
            None => self.fetch(transport, &mut state).await,
        };
        match fetched {
            Err(error) => state
                .usable(Instant::now(), |cached| cached.ends_at)
                .ok_or(error),
            token => token,
        }
    }

    /// The Management API refused `token`: gives another one, or `None` where that would not help.
    pub(super) async fn replace(
        &self,
        token: &Token,
        transport: &Transport,
    ) -> Option<Result<Token, TokenError>> {
        {
            let mut state = self.state.lock().await;
            if state
                .no_replacement_until
                .is_some_and(|until| Instant::now() < until)
            {
                return None;
            }
            if state.is_cached(token) {
                state.cached = None;
            }
        }
        Some(self.get(transport).await)
    }

    /// The Management API refused `token` though it is fresh: for a while, others are not fetched for that reason.
    pub(super) async fn distrust(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if state.is_cached(token) {
            state.no_replacement_until = Some(Instant::now() + REFUSAL);
        }
    }

    async fn fetch(&self, transport: &Transport, state: &mut State) -> Result<Token, TokenError> {
        let result = self.request(transport, state.fetched + 1).await;
        match result {
            Ok((token, life)) => {
                let now = Instant::now();
                state.fetched += 1;
                state.failure = None;
                state.cached = Some(Cached {
                    token: token.clone(),
                    renew_at: now + life.saturating_sub(margin(life)),
                    ends_at: now + life,
                });
                Ok(token)
            }
            Err(error) => {
                let until = Instant::now() + error.retry_after().unwrap_or(PAUSE);
                state.failure = Some((error.clone(), until));
                Err(error)
            }
        }
    }

    async fn request(
        &self,
        transport: &Transport,
        generation: u64,
    ) -> Result<(Token, Duration), TokenError> {
        let body = wire::TokenRequest::new(
            &self.client_id,
            self.client_secret.expose_secret(),
            &self.audience,
        );
        // Half of a call's time, so that who waits for the token has time left to use it.
        let request = transport
            .request(Method::POST, "/oauth/token")
            .timeout(transport.timeout() / 2)
            .form(&body);
        let started = Instant::now();
        let answer = transport.exchange(request, BODY_LIMIT).await;
        let status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        tracing::debug!(
            http.route = "/oauth/token",
            http.status = status,
            duration_ms = started.elapsed().as_millis() as u64,
            "auth0 token requested"
        );
        let answer = answer.map_err(|failure| {
            let (Failure::NotSent(cause) | Failure::AnswerLost(cause)) = failure;
            TokenError::Unreachable {
                reason: with_causes(cause.as_ref()),
                retry_after: PAUSE,
            }
        })?;
        match answer.status.as_u16() {
            200..=299 => {
                let body = answer
                    .body
                    .map_err(|cause| malformed(with_causes(cause.as_ref())))?;
                read(&body, generation)
            }
            status @ 429 => Err(TokenError::Unavailable {
                status,
                retry_after: answer
                    .pacing
                    .retry_after
                    .unwrap_or(THROTTLED)
                    .clamp(PAUSE, LONGEST_THROTTLED),
            }),
            status @ (408 | 500..) => Err(TokenError::Unavailable {
                status,
                retry_after: PAUSE,
            }),
            status => Err(TokenError::Refused {
                status,
                error_code: wire::Complaint::authentication(&answer.body.unwrap_or_default()).code,
                retry_after: REFUSAL,
            }),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("client_id", &self.client_id)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl State {
    fn usable(&self, now: Instant, until: impl Fn(&Cached) -> Instant) -> Option<Token> {
        let cached = self.cached.as_ref().filter(|cached| now < until(cached))?;
        Some(cached.token.clone())
    }

    /// The last failure while it is too early to try again, with the time that is left.
    fn remembered_failure(&self, now: Instant) -> Option<TokenError> {
        let (error, until) = self.failure.as_ref().filter(|(_, until)| now < *until)?;
        let left = *until - now;
        let mut error = error.clone();
        match &mut error {
            TokenError::Refused { retry_after, .. }
            | TokenError::Unavailable { retry_after, .. }
            | TokenError::Unreachable { retry_after, .. }
            | TokenError::Malformed { retry_after, .. } => *retry_after = left,
        }
        Some(error)
    }

    fn is_cached(&self, token: &Token) -> bool {
        self.cached
            .as_ref()
            .is_some_and(|cached| cached.token.generation == token.generation)
    }
}

fn read(body: &[u8], generation: u64) -> Result<(Token, Duration), TokenError> {
    // Serde's message could repeat what it read, so it is not passed on.
    let answer: wire::TokenAnswer =
        serde_json::from_slice(body).map_err(|_| malformed("not the JSON of a token"))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {}", answer.access_token))
        .map_err(|_| malformed("not a token"))?;
    header.set_sensitive(true);
    let token = Token {
        header,
        scopes: answer.scope.split_whitespace().map(str::to_owned).collect(),
        generation,
    };
    Ok((
        token,
        Duration::from_secs(answer.expires_in).min(LONGEST_LIFE),
    ))
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> TokenError {
    TokenError::Malformed {
        reason: reason.into(),
        retry_after: PAUSE,
    }
}

/// How long before its end a token is renewed: a tenth of its life, at least a minute, but not more than half of it.
fn margin(life: Duration) -> Duration {
    (life / 10).max(Duration::from_secs(60)).min(life / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody listens here.
    const NOBODY: &str = "http://127.0.0.1:1";

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_renewed_with_a_tenth_of_its_life_left() {
        for (life, left) in [
            (86_400, 8_640),
            (1_200, 120),
            (300, 60),
            (120, 60),
            (60, 30),
            (0, 0),
        ] {
            assert_eq!(margin(seconds(life)), seconds(left), "life of {life} s");
        }
    }

    #[test]
    fn a_life_longer_than_auth0_grants_is_not_believed() {
        let body = format!(r#"{{"access_token":"a","expires_in":{}}}"#, u64::MAX);
        let (_, life) = read(body.as_bytes(), 1).unwrap();
        assert_eq!(life, LONGEST_LIFE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_cannot_be_renewed_is_used_until_it_ends() {
        let transport = Transport::new(NOBODY.parse().unwrap(), seconds(10)).unwrap();
        let tokens = Tokens::new("id".into(), "secret".into(), "audience".into());
        let (token, _) = read(br#"{"access_token":"old"}"#, 1).unwrap();
        let now = Instant::now();
        tokens.state.lock().await.cached = Some(Cached {
            token,
            renew_at: now + seconds(50),
            ends_at: now + seconds(100),
        });
        assert!(tokens.get(&transport).await.is_ok());
        assert!(
            tokens.state.lock().await.failure.is_none(),
            "nothing was asked yet"
        );
        tokio::time::advance(seconds(60)).await;
        assert!(tokens.get(&transport).await.is_ok());
        assert!(tokens.state.lock().await.failure.is_some(), "it was tried");
        tokio::time::advance(seconds(60)).await;
        let error = tokens.get(&transport).await.unwrap_err();
        assert_eq!(error.code(), "token_unreachable");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_as_long_as_it_says() {
        let refused = TokenError::Refused {
            status: 401,
            error_code: None,
            retry_after: REFUSAL,
        };
        let state = State {
            failure: Some((refused, Instant::now() + REFUSAL)),
            ..State::default()
        };
        tokio::time::advance(REFUSAL - seconds(1)).await;
        let remembered = state.remembered_failure(Instant::now()).unwrap();
        assert_eq!(remembered.retry_after(), Some(seconds(1)));
        tokio::time::advance(seconds(1)).await;
        assert!(state.remembered_failure(Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_tried_again_after_half_a_minute_by_the_same_client() {
        let transport = Transport::new(NOBODY.parse().unwrap(), seconds(10)).unwrap();
        let tokens = Tokens::new("id".into(), "secret".into(), "audience".into());
        let refused = TokenError::Refused {
            status: 401,
            error_code: None,
            retry_after: REFUSAL,
        };
        tokens.state.lock().await.failure = Some((refused, Instant::now() + REFUSAL));
        tokio::time::advance(REFUSAL - seconds(1)).await;
        let error = tokens.get(&transport).await.unwrap_err();
        assert_eq!(error.code(), "token_refused");
        tokio::time::advance(seconds(1)).await;
        // Nobody listens there, which is found out by asking.
        let error = tokens.get(&transport).await.unwrap_err();
        assert_eq!(error.code(), "token_unreachable");
    }
}

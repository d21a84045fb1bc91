//! Making a call: token, turn, exchange, and what the answer says.

use std::{borrow::Cow, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    error::{CallError, Detail, TokenError},
    limits::{Class, Pace, Permit},
    token::{Token, Tokens},
    transport::{Answer, Failure, Transport, encoded},
    wire::Complaint,
};
use crate::user::Auth0UserId;

/// Longest answer with one user; a profile may hold a megabyte.
const USER_LIMIT: usize = 1024 * 1024;
/// Longest answer with several users.
const LIST_LIMIT: usize = 10 * 1024 * 1024;

/// What one call is.
pub(super) struct Call<'a> {
    /// What it does, for people: `get user`.
    operation: &'static str,
    id: Option<&'a Auth0UserId>,
    method: Method,
    /// The path with its parameters' names, for logs.
    route: &'static str,
    path: String,
    query: Option<(&'static str, &'a str)>,
    body: Option<(Vec<u8>, Cow<'static, str>)>,
    class: Class,
    /// Longest answer in bytes.
    limit: usize,
    correlation: String,
    /// After this it is not sent any more.
    send_by: Option<Instant>,
}

impl<'a> Call<'a> {
    /// A call on a path without parameters.
    pub(super) fn on(
        operation: &'static str,
        method: Method,
        class: Class,
        path: &'static str,
    ) -> Self {
        Self {
            operation,
            id: None,
            method,
            route: path,
            path: path.to_owned(),
            query: None,
            body: None,
            class,
            limit: USER_LIMIT,
            correlation: Uuid::new_v4().to_string(),
            send_by: None,
        }
    }

    /// A call on `/api/v2/users/{id}`. An id that cannot be one is refused as Auth0 would do it, without asking: put into
    /// a path, an empty one or a `..` would name something else.
    pub(super) fn on_user(
        operation: &'static str,
        method: Method,
        class: Class,
        id: &'a Auth0UserId,
    ) -> Result<Self, CallError> {
        let call = Self {
            path: format!("/api/v2/users/{}", encoded(id.as_str())),
            ..Self::on(operation, method, class, "/api/v2/users/{id}").about(id)
        };
        match id.as_str().split_once('|') {
            Some((provider, rest)) if !provider.is_empty() && !rest.is_empty() => Ok(call),
            _ => Err(call.refused_here("invalid_uri", "not an Auth0 user id")),
        }
    }

    /// A call on `/api/v2/jobs/{id}`. Ids of jobs are letters, digits, `_` and `-`; anything else could name another path.
    pub(super) fn on_job(
        operation: &'static str,
        method: Method,
        class: Class,
        id: &str,
    ) -> Result<Self, CallError> {
        let call = Self {
            path: format!("/api/v2/jobs/{id}"),
            ..Self::on(operation, method, class, "/api/v2/jobs/{id}")
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        match !id.is_empty() && id.bytes().all(is_plain) {
            true => Ok(call),
            false => Err(call.refused_here("invalid_uri", "not the id of a job")),
        }
    }

    /// Names the user in errors and logs.
    pub(super) fn about(mut self, id: &'a Auth0UserId) -> Self {
        self.id = Some(id);
        self
    }

    /// A list is asked for, with this query.
    pub(super) fn listing(mut self, name: &'static str, value: &'a str) -> Self {
        self.query = Some((name, value));
        self.limit = LIST_LIMIT;
        self
    }

    /// Goes out with this JSON.
    pub(super) fn with(mut self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body);
        let body = body.expect("texts, booleans and maps with text keys always serialize");
        self.body = Some((body, "application/json".into()));
        self
    }

    /// Goes out with this form, whose type names its boundary.
    pub(super) fn with_form(mut self, form: Vec<u8>, content_type: String) -> Self {
        self.body = Some((form, content_type.into()));
        self
    }

    /// Is about what is below the path.
    pub(super) fn asking(mut self, below: &str) -> Self {
        self.path = format!("{}/{below}", self.path);
        self.limit = LIST_LIMIT;
        self
    }

    /// Is found in the tenant's log under this id, instead of a random one.
    pub(super) fn correlated(mut self, id: Option<&str>) -> Self {
        if let Some(id) = id {
            self.correlation = id.to_owned();
        }
        self
    }

    /// Is not sent any more after this.
    pub(super) fn sending_by(mut self, at: Option<Instant>) -> Self {
        self.send_by = at;
        self
    }

    /// The earlier one of `at` and the moment after which it is not sent any more.
    fn or_send_by(&self, at: Instant) -> Instant {
        self.send_by.map_or(at, |send_by| at.min(send_by))
    }

    /// What Auth0 would surely refuse, refused without asking, with Auth0's code.
    pub(super) fn refused_here(&self, code: &str, words: &str) -> CallError {
        CallError::Refused {
            call: self.name(),
            status: 400,
            error_code: Some(code.to_owned()),
            retry_after: None,
            detail: Detail::new(Some(words)),
        }
    }

    /// Reads the JSON of a 2xx answer.
    pub(super) fn parse<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, CallError> {
        let status = answer.status.as_u16();
        let body = answer.body.and_then(|body| {
            serde_json::from_slice(&body).map_err(|error| Misread::from(error).into())
        });
        body.map_err(|source| CallError::Malformed {
            call: self.name(),
            status,
            source,
        })
    }

    /// Operation and identifier, as errors name the call.
    fn name(&self) -> String {
        match self.id {
            Some(id) => format!("{} {id}", self.operation),
            None => self.operation.to_owned(),
        }
    }

    fn without_token(&self, source: TokenError) -> CallError {
        CallError::Token {
            call: self.name(),
            source,
        }
    }
}

/// The time in which a call may be sent is over.
#[derive(Debug, thiserror::Error)]
#[error("it was not sent in time")]
struct Late;

/// Where an answer's JSON could not be read. Serde's own message would repeat what stands there.
#[derive(Debug, thiserror::Error)]
#[error("the json is not as expected at line {line} column {column} ({category:?})")]
pub struct Misread {
    line: usize,
    column: usize,
    category: serde_json::error::Category,
}

impl From<serde_json::Error> for Misread {
    fn from(error: serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
            category: error.classify(),
        }
    }
}

/// What all calls to one tenant share.
pub(super) struct Caller {
    pub(super) transport: Transport,
    pub(super) tokens: Tokens,
    pub(super) pace: Pace,
    /// How long a call waits for its turn.
    pub(super) permit_wait: Duration,
}

impl Caller {
    /// Makes a call of the Management API. Gives a 2xx answer.
    pub(super) async fn management(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        // A token first: without one there is no sense in waiting for a turn.
        self.token(call, call.or_send_by(self.deadline())).await?;
        let permit = self.permit(call).await?;
        let deadline = self.deadline();
        let token = self.token(call, call.or_send_by(deadline)).await?;
        let mut answer = self.exchange(call, Some(&token), deadline).await?;
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(token) = self.other_token(call, &token, deadline).await?
        {
            answer = self.exchange(call, Some(&token), deadline).await?;
            if answer.status == StatusCode::UNAUTHORIZED {
                self.tokens.distrust(&token).await;
            }
        }
        self.judge(call, &permit, answer, Complaint::management)
    }

    /// Makes a call of the Authentication API that needs no token. Gives a 2xx answer.
    pub(super) async fn authentication(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        let permit = self.permit(call).await?;
        let answer = self.exchange(call, None, self.deadline()).await?;
        self.judge(call, &permit, answer, Complaint::authentication)
    }

    /// The token for `call`, which fails where there is none before `deadline`.
    pub(super) async fn token(
        &self,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<Token, CallError> {
        tokio::time::timeout_at(deadline, self.tokens.get(&self.transport))
            .await
            .unwrap_or_else(|_| Err(TokenError::late()))
            .map_err(|source| call.without_token(source))
    }

    /// When an exchange that begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.transport.timeout()
    }

    /// Another token than the one that was refused; `None` where that would not help.
    async fn other_token(
        &self,
        call: &Call<'_>,
        refused: &Token,
        deadline: Instant,
    ) -> Result<Option<Token>, CallError> {
        tokio::time::timeout_at(deadline, self.tokens.replace(refused, &self.transport))
            .await
            .unwrap_or_else(|_| Some(Err(TokenError::late())))
            .transpose()
            .map_err(|source| call.without_token(source))
    }

    async fn permit(&self, call: &Call<'_>) -> Result<Permit<'_>, CallError> {
        let patience = call.or_send_by(Instant::now() + self.permit_wait);
        let patience = patience.saturating_duration_since(Instant::now());
        let permit = self.pace.take(call.class, patience).await;
        permit.map_err(|retry_after| CallError::Throttled {
            call: call.name(),
            retry_after,
        })
    }

    /// Sends the call once and reads the answer, whatever it is.
    async fn exchange(
        &self,
        call: &Call<'_>,
        token: Option<&Token>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let started = Instant::now();
        // A process that was stopped meanwhile and goes on must not send what others have given up.
        if call.send_by.is_some_and(|send_by| started >= send_by) {
            return Err(CallError::NotSent {
                call: call.name(),
                source: Late.into(),
            });
        }
        let mut request = self
            .transport
            .request(call.method.clone(), &call.path)
            .timeout(deadline.saturating_duration_since(started));
        if let Some(query) = call.query {
            request = request.query(&[query]);
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.header.clone());
        }
        if let Some((body, content_type)) = &call.body {
            request = request
                .header(CONTENT_TYPE, &**content_type)
                .body(body.clone());
        }
        if call.method != Method::GET {
            request = request.header("X-Correlation-ID", &call.correlation);
        }
        let result = self.transport.exchange(request, call.limit).await;
        tracing::debug!(
            http.method = %call.method,
            http.route = call.route,
            http.status = result.as_ref().ok().map(|answer| answer.status.as_u16()),
            duration_ms = started.elapsed().as_millis() as u64,
            auth0.user_id = call.id.map(Auth0UserId::as_str),
            auth0.correlation_id = call.correlation,
            "auth0 called"
        );
        result.map_err(|failure| match failure {
            Failure::NotSent(source) => CallError::NotSent {
                call: call.name(),
                source,
            },
            Failure::AnswerLost(source) => CallError::AnswerLost {
                call: call.name(),
                source,
            },
        })
    }

    /// Lets the pace learn from the answer, and gives it back if it is a 2xx.
    fn judge(
        &self,
        call: &Call<'_>,
        permit: &Permit<'_>,
        answer: Answer,
        complaint: fn(&[u8]) -> Complaint,
    ) -> Result<Answer, CallError> {
        let mut held = None;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            held = Some(self.pace.refused(permit, answer.pacing));
        } else {
            self.pace.answered(permit, answer.pacing);
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        let Complaint { code, words } = complaint(&answer.body.unwrap_or_default());
        Err(CallError::Refused {
            call: call.name(),
            status: answer.status.as_u16(),
            error_code: code,
            retry_after: answer.pacing.retry_after.or(held),
            detail: Detail::new(words.as_deref()),
        })
    }
}

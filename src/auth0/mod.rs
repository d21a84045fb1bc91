//! The client of Auth0's Management API: one method a call.
//!
//! Read on in [`CallError`] (what is known after a failure), [`Pace`] (the rate limits), `token`, `transport` and `wire`
//! (their JSON).
//!
//! Promises:
//! * Every method ends within [`Client::longest_call`], and sends its request at most once, except that a 401 is answered with a new
//!   token and one repetition (nothing was applied). Retrying is the reactor's business.
//! * Each call takes its turn in the [`Pace`] that all clones of a client share, so many workers stay inside one budget.
//! * No token, secret, password, mail address or person's name reaches a log, a `Debug` or an error's text.
//!
//! It deliberately knows nothing of the database, of what should be done, and of what an answer means for it.

mod bucket;
mod error;
mod limits;
mod password;
mod quota;
mod token;
mod transport;
mod user;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

pub use self::{
    error::{CallError, Cause, Detail, SettingsError, TokenError},
    limits::{Class, ClassBudget, Pace},
    user::{Identity, NewUser, Patch, User},
};
use self::{
    limits::Permit,
    token::{Token, Tokens},
    transport::{Answer, Failure, Transport, encoded},
    wire::Complaint,
};
use crate::user::Auth0UserId;

/// Longest answer with one user; a profile may hold a megabyte.
const USER_LIMIT: usize = 1024 * 1024;
/// Longest answer with several users.
const LIST_LIMIT: usize = 10 * 1024 * 1024;
/// Auth0's limit for `X-Correlation-ID`.
const CORRELATION_CHARS: usize = 64;

/// Which tenant, as whom, and how hard.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Such as `https://tenant.eu.auth0.com`. Plain http only for this machine (an emulator).
    pub base_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
    /// Of the Management API: `{base}/api/v2/`, with the trailing slash.
    pub audience: String,
    /// Name of the database connection that new users are created in.
    pub connection: String,
    /// The application that reset mails lead to; the client's own id when `None`.
    pub invitation_client_id: Option<String>,
    /// The part of each rate limit that is used, above 0 and at most 1; the rest is left to logins and other programs.
    pub budget_share: f64,
    /// Deadline of one call, once it is its turn.
    pub call_timeout: Duration,
    /// How long a call waits for its turn before it fails with [`CallError::Throttled`].
    pub permit_wait: Duration,
}

impl Settings {
    /// Default of [`Self::budget_share`]: Auth0's own warning in the tenant log comes at 80 % of a limit.
    pub const BUDGET_SHARE: f64 = 0.8;
    /// Default of [`Self::call_timeout`].
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
    /// Default of [`Self::permit_wait`].
    pub const PERMIT_WAIT: Duration = Duration::from_secs(30);
}

/// A client of one tenant. Clones share connections, token and pace.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    correlation: Option<Arc<str>>,
}

struct Shared {
    transport: Transport,
    tokens: Tokens,
    pace: Pace,
    connection: String,
    invitation_client_id: String,
    permit_wait: Duration,
}

/// What one call is, apart from its body.
struct Call<'a> {
    /// What it does, for people: `get user`.
    operation: &'static str,
    id: Option<&'a Auth0UserId>,
    method: Method,
    /// The path with its parameters' names, for logs.
    route: &'static str,
    path: String,
    query: Option<(&'static str, &'a str)>,
    class: Class,
    limit: usize,
}

impl Client {
    /// Checks the settings; talks to nobody yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let share = settings.budget_share;
        if !(share > 0.0 && share <= 1.0) {
            return Err(SettingsError::BudgetShare(share));
        }
        if settings.call_timeout.is_zero() {
            return Err(SettingsError::CallTimeout);
        }
        for (key, value) in [
            ("the client id", settings.client_id.as_str()),
            ("the client secret", settings.client_secret.expose_secret()),
            ("auth0.audience", settings.audience.as_str()),
            ("auth0.connection", settings.connection.as_str()),
        ] {
            if value.is_empty() {
                return Err(SettingsError::Empty { key });
            }
        }
        let invitation_client_id = settings
            .invitation_client_id
            .unwrap_or_else(|| settings.client_id.clone());
        Ok(Self {
            shared: Arc::new(Shared {
                transport: Transport::new(settings.base_url, settings.call_timeout)?,
                tokens: Tokens::new(
                    settings.client_id,
                    settings.client_secret,
                    settings.audience,
                ),
                pace: Pace::new(share),
                connection: settings.connection,
                invitation_client_id,
                permit_wait: settings.permit_wait,
            }),
            correlation: None,
        })
    }

    /// The same client, with this id (cut to 64 visible ASCII characters) on its writes instead of a random one. Auth0
    /// repeats it in the tenant's log as `references.correlation_id` (<https://auth0.com/docs/api/management/v2>).
    pub fn correlated(&self, id: &str) -> Self {
        let id: String = id
            .chars()
            .filter(char::is_ascii_graphic)
            .take(CORRELATION_CHARS)
            .collect();
        Self {
            shared: self.shared.clone(),
            correlation: Some(id.into()),
        }
    }

    /// Name of the database connection.
    pub fn connection(&self) -> &str {
        &self.shared.connection
    }

    /// The rate limits as they are known.
    pub fn pace(&self) -> &Pace {
        &self.shared.pace
    }

    /// The hard deadline of a whole method: waiting for a token, for the turn, and the call itself. After it nothing is sent.
    pub fn longest_call(&self) -> Duration {
        self.shared.transport.timeout() * 2 + self.shared.permit_wait
    }

    /// Gets a token, or uses the one there is, and says which scopes it grants.
    pub async fn check_token(&self) -> Result<Vec<String>, CallError> {
        let call = Call {
            operation: "check token",
            id: None,
            method: Method::POST,
            route: "/oauth/token",
            path: "/oauth/token".into(),
            query: None,
            class: Class::Other,
            limit: USER_LIMIT,
        };
        let token = self.token(&call, self.deadline()).await?;
        Ok(token.scopes.to_vec())
    }

    /// The user with this id, `None` where Auth0 has none. Reads by id see every earlier write.
    pub async fn user(&self, id: &Auth0UserId) -> Result<Option<User>, CallError> {
        let call = Call::on_user("get user", Method::GET, Class::ReadUsers, id)?;
        match self.management(&call, None).await {
            Ok(answer) => call.user(answer).map(Some),
            Err(CallError::Refused {
                status: 404,
                error_code: Some(code),
                ..
            }) if code == "inexistent_user" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every user with this address, over all connections. Database connections keep addresses in lower case and the look-up
    /// is case-sensitive, so the address is lower-cased.
    pub async fn users_by_email(&self, email: &str) -> Result<Vec<User>, CallError> {
        let email = email.to_lowercase();
        let call = Call {
            operation: "get users by e-mail",
            id: None,
            method: Method::GET,
            route: "/api/v2/users-by-email",
            path: "/api/v2/users-by-email".into(),
            query: Some(("email", &email)),
            class: Class::ReadUsers,
            limit: LIST_LIMIT,
        };
        let answer = self.management(&call, None).await?;
        let users: Vec<wire::UserAnswer> = call.parse(answer)?;
        Ok(users.into_iter().map(User::from).collect())
    }

    /// Creates the user in the configured connection, with a random password and an unverified address. Auth0 mails nobody.
    pub async fn create_user(&self, new: &NewUser) -> Result<User, CallError> {
        let call = Call {
            route: "/api/v2/users",
            path: "/api/v2/users".into(),
            ..Call::on_user("create user", Method::POST, Class::WriteUsers, &new.id)?
        };
        let password = password::random();
        let body = wire::CreateUser::new(new, &self.shared.connection, password.expose_secret())
            .ok_or_else(|| {
                call.refused_here("invalid_body", "not the id of a database connection")
            })?;
        let answer = self.management(&call, Some(json(&body))).await?;
        call.user(answer)
    }

    /// Changes the user, who is given back as Auth0 now has it. An empty patch is refused without a call.
    pub async fn update_user(&self, id: &Auth0UserId, patch: &Patch) -> Result<User, CallError> {
        let call = Call::on_user("update user", Method::PATCH, Class::WriteUsers, id)?;
        if patch.is_empty() {
            return Err(call.refused_here("invalid_body", "the patch is empty"));
        }
        let body = json(&wire::UpdateUser::from(patch));
        let answer = self.management(&call, Some(body)).await?;
        call.user(answer)
    }

    /// Deletes the user. Deleting one that Auth0 does not have succeeds too.
    pub async fn delete_user(&self, id: &Auth0UserId) -> Result<(), CallError> {
        let call = Call::on_user("delete user", Method::DELETE, Class::DeleteUsers, id)?;
        self.management(&call, None).await.map(drop)
    }

    /// Has Auth0 mail a link for choosing a password. Auth0 may say yes for an address it does not know. A repeated call is a
    /// second mail, whose link makes the first one's useless.
    pub async fn send_invitation(&self, email: &str) -> Result<(), CallError> {
        let call = Call {
            operation: "send invitation",
            id: None,
            method: Method::POST,
            route: "/dbconnections/change_password",
            path: "/dbconnections/change_password".into(),
            query: None,
            class: Class::ChangePassword,
            limit: USER_LIMIT,
        };
        let body = json(&wire::ChangePassword {
            client_id: &self.shared.invitation_client_id,
            email,
            connection: &self.shared.connection,
        });
        let permit = self.permit(&call).await?;
        let deadline = self.deadline();
        let answer = self.exchange(&call, None, Some(&body), deadline).await?;
        self.judge(&call, &permit, answer, Complaint::authentication)
            .map(drop)
    }

    /// A call of the Management API. Gives a 2xx answer.
    async fn management(
        &self,
        call: &Call<'_>,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, CallError> {
        // A token first: without one there is no sense in waiting for a turn.
        self.token(call, self.deadline()).await?;
        let permit = self.permit(call).await?;
        let deadline = self.deadline();
        let token = self.token(call, deadline).await?;
        let mut answer = self
            .exchange(call, Some(&token), body.as_deref(), deadline)
            .await?;
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(token) = self.other_token(call, &token, deadline).await?
        {
            answer = self
                .exchange(call, Some(&token), body.as_deref(), deadline)
                .await?;
            if answer.status == StatusCode::UNAUTHORIZED {
                self.shared.tokens.distrust(&token).await;
            }
        }
        self.judge(call, &permit, answer, Complaint::management)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.transport.timeout()
    }

    async fn permit(&self, call: &Call<'_>) -> Result<Permit, CallError> {
        let permit = self.shared.pace.take(call.class, self.shared.permit_wait);
        permit.await.map_err(|retry_after| CallError::Throttled {
            call: call.name(),
            retry_after,
        })
    }

    async fn token(&self, call: &Call<'_>, deadline: Instant) -> Result<Token, CallError> {
        let token = self.shared.tokens.get(&self.shared.transport);
        tokio::time::timeout_at(deadline, token)
            .await
            .unwrap_or_else(|_| Err(TokenError::late()))
            .map_err(|source| call.without_token(source))
    }

    /// Another token than the one that was refused; `None` where that would not help.
    async fn other_token(
        &self,
        call: &Call<'_>,
        refused: &Token,
        deadline: Instant,
    ) -> Result<Option<Token>, CallError> {
        let token = self.shared.tokens.replace(refused, &self.shared.transport);
        tokio::time::timeout_at(deadline, token)
            .await
            .unwrap_or_else(|_| Some(Err(TokenError::late())))
            .transpose()
            .map_err(|source| call.without_token(source))
    }

    /// Sends the call once and reads the answer, whatever it is.
    async fn exchange(
        &self,
        call: &Call<'_>,
        token: Option<&Token>,
        body: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let started = Instant::now();
        let correlation = self.correlation();
        let mut request = self
            .shared
            .transport
            .request(call.method.clone(), &call.path)
            .timeout(deadline.saturating_duration_since(started));
        if let Some(query) = call.query {
            request = request.query(&[query]);
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.header.clone());
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_vec());
        }
        if call.method != Method::GET {
            request = request.header("X-Correlation-ID", correlation.as_ref());
        }
        let result = self.shared.transport.exchange(request, call.limit).await;
        tracing::debug!(
            http.method = %call.method,
            http.route = call.route,
            http.status = result.as_ref().ok().map(|answer| answer.status.as_u16()),
            duration_ms = started.elapsed().as_millis() as u64,
            auth0.user_id = call.id.map(Auth0UserId::as_str),
            auth0.correlation_id = %correlation,
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
        permit: &Permit,
        answer: Answer,
        complaint: fn(&[u8]) -> Complaint,
    ) -> Result<Answer, CallError> {
        let mut held = None;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            held = Some(self.shared.pace.refused(permit, answer.pacing));
        } else {
            self.shared.pace.answered(permit, answer.pacing);
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

    fn correlation(&self) -> Arc<str> {
        self.correlation
            .clone()
            .unwrap_or_else(|| Uuid::new_v4().to_string().into())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("tokens", &self.shared.tokens)
            .field("connection", &self.shared.connection)
            .finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// A call on `/api/v2/users/{id}`. An id that cannot be one is refused as Auth0 would do it, without asking: put into
    /// a path, an empty one or a `..` would name something else.
    fn on_user(
        operation: &'static str,
        method: Method,
        class: Class,
        id: &'a Auth0UserId,
    ) -> Result<Self, CallError> {
        let call = Self {
            operation,
            id: Some(id),
            method,
            route: "/api/v2/users/{id}",
            path: format!("/api/v2/users/{}", encoded(id.as_str())),
            query: None,
            class,
            limit: USER_LIMIT,
        };
        match id.as_str().split_once('|') {
            Some((provider, rest)) if !provider.is_empty() && !rest.is_empty() => Ok(call),
            _ => Err(call.refused_here("invalid_uri", "not an Auth0 user id")),
        }
    }

    /// Operation and identifier, as errors name the call.
    fn name(&self) -> String {
        match self.id {
            Some(id) => format!("{} {id}", self.operation),
            None => self.operation.to_owned(),
        }
    }

    /// What Auth0 would surely refuse, refused without asking, with Auth0's code.
    fn refused_here(&self, code: &str, words: &str) -> CallError {
        CallError::Refused {
            call: self.name(),
            status: 400,
            error_code: Some(code.to_owned()),
            retry_after: None,
            detail: Detail::new(Some(words)),
        }
    }

    fn without_token(&self, source: TokenError) -> CallError {
        CallError::Token {
            call: self.name(),
            source,
        }
    }

    fn user(&self, answer: Answer) -> Result<User, CallError> {
        self.parse::<wire::UserAnswer>(answer).map(User::from)
    }

    fn parse<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, CallError> {
        let status = answer.status.as_u16();
        answer
            .body
            .and_then(|body| {
                serde_json::from_slice(&body).map_err(|error| Misread::from(error).into())
            })
            .map_err(|source| CallError::Malformed {
                call: self.name(),
                status,
                source,
            })
    }
}

/// Where an answer's JSON could not be read. Serde's own message would repeat what stands there.
#[derive(Debug, thiserror::Error)]
#[error("the json is not as expected at line {line} column {column} ({category:?})")]
struct Misread {
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

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, booleans and maps with text keys always serialize")
}

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
//! The one thing that lasts longer is the file of an export ([`ExportedUsers`]), which ends within its own limits.
//!
//! It deliberately knows nothing of the database, of what should be done, and of what an answer means for it.

mod bucket;
mod call;
mod error;
mod jobs;
mod limits;
mod password;
mod quota;
mod token;
mod transport;
mod user;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use self::{
    call::{Call, Caller},
    token::Tokens,
    transport::{Answer, Transport},
};
pub use self::{
    error::{CallError, Cause, Detail, SettingsError, TokenError},
    jobs::{
        ExportError, ExportedUsers, FileError, ImportFile, Job, JobState, Link, Refusal, Summary,
    },
    limits::{Class, ClassBudget, Pace},
    user::{Identity, NewUser, Patch, Strategy, User},
};
use crate::user::Auth0UserId;

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
    caller: Arc<Caller>,
    connection: Arc<str>,
    invitation_client_id: Arc<str>,
    correlation: Option<Arc<str>>,
    send_by: Option<Instant>,
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
            caller: Arc::new(Caller {
                transport: Transport::new(settings.base_url, settings.call_timeout)?,
                tokens: Tokens::new(
                    settings.client_id,
                    settings.client_secret,
                    settings.audience,
                ),
                pace: Pace::new(share),
                permit_wait: settings.permit_wait,
            }),
            connection: settings.connection.into(),
            invitation_client_id: invitation_client_id.into(),
            correlation: None,
            send_by: None,
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
            correlation: Some(id.into()),
            ..self.clone()
        }
    }

    /// The same client, whose writes are sent before `at` or not at all, however long token and turn take. Each has ended
    /// [`Client::longest_exchange`] after that.
    pub fn sending_by(&self, at: std::time::Instant) -> Self {
        Self {
            send_by: Some(at.into()),
            ..self.clone()
        }
    }

    /// Name of the database connection.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// Which tenant: where its Management API is, without a slash at the end.
    pub fn tenant(&self) -> &str {
        self.caller.transport.base().as_str().trim_end_matches('/')
    }

    /// The rate limits as they are known.
    pub fn pace(&self) -> &Pace {
        &self.caller.pace
    }

    /// The hard deadline of a whole method: waiting for a token, for the turn, and the call itself. After it nothing is sent.
    pub fn longest_call(&self) -> Duration {
        self.caller.transport.timeout() * 2 + self.caller.permit_wait
    }

    /// The deadline of a request and its answer, once it is sent. After it this side has hung up.
    pub fn longest_exchange(&self) -> Duration {
        self.caller.transport.timeout()
    }

    /// Gets a token, or uses the one there is, and says which scopes it grants.
    pub async fn check_token(&self) -> Result<Vec<String>, CallError> {
        let call = Call::on("check token", Method::POST, Class::Other, "/oauth/token");
        let token = self.caller.token(&call, self.caller.deadline()).await?;
        Ok(token.scopes.to_vec())
    }

    /// What kind of connection the configured one is. Needs `read:connections`, which nothing else here does.
    pub async fn strategy(&self) -> Result<Strategy, CallError> {
        let own = self.own_connection().await?;
        Ok(own.map_or(Strategy::None, wire::ConnectionAnswer::strategy))
    }

    async fn own_connection(&self) -> Result<Option<wire::ConnectionAnswer>, CallError> {
        let (class, path) = (Class::Other, "/api/v2/connections");
        let call =
            Call::on("get connection", Method::GET, class, path).listing("name", &self.connection);
        let found: Vec<wire::ConnectionAnswer> = call.parse(self.send(&call).await?)?;
        Ok(found.into_iter().find(|one| *one.name == *self.connection))
    }

    /// The user with this id, `None` where Auth0 has none. Reads by id see every earlier write.
    pub async fn user(&self, id: &Auth0UserId) -> Result<Option<User>, CallError> {
        let call = Call::on_user("get user", Method::GET, Class::ReadUsers, id)?;
        match self.send(&call).await {
            Ok(answer) => user(&call, answer).map(Some),
            Err(CallError::Refused {
                status: 404,
                error_code: Some(code),
                ..
            }) if code == wire::NO_SUCH_USER => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every user with this address, over all connections. Database connections keep addresses in lower case and the look-up
    /// is case-sensitive, so the address is lower-cased.
    pub async fn users_by_email(&self, email: &str) -> Result<Vec<User>, CallError> {
        let email = email.to_lowercase();
        let (read, path) = (Class::ReadUsers, "/api/v2/users-by-email");
        let call =
            Call::on("get users by e-mail", Method::GET, read, path).listing("email", &email);
        let users: Vec<wire::UserAnswer> = call.parse(self.send(&call).await?)?;
        Ok(users.into_iter().map(User::from).collect())
    }

    /// Creates the user in the configured connection, with a random password and an unverified address. Auth0 mails nobody.
    pub async fn create_user(&self, new: &NewUser) -> Result<User, CallError> {
        let (write, path) = (Class::WriteUsers, "/api/v2/users");
        let call = Call::on("create user", Method::POST, write, path).about(&new.id);
        let password = password::random();
        let body = wire::CreateUser::new(new, &self.connection, password.expose_secret())
            .ok_or_else(|| {
                call.refused_here("invalid_body", "not the id of a database connection")
            })?;
        let call = self.write(call).with(&body);
        user(&call, self.send(&call).await?)
    }

    /// Changes the user, who is given back as Auth0 now has it. An empty patch is refused without a call.
    pub async fn update_user(&self, id: &Auth0UserId, patch: &Patch) -> Result<User, CallError> {
        let call = Call::on_user("update user", Method::PATCH, Class::WriteUsers, id)?;
        if patch.is_empty() {
            return Err(call.refused_here("invalid_body", "the patch is empty"));
        }
        let call = self.write(call).with(&wire::UpdateUser::from(patch));
        user(&call, self.send(&call).await?)
    }

    /// Deletes the user. Deleting one that Auth0 does not have succeeds too.
    pub async fn delete_user(&self, id: &Auth0UserId) -> Result<(), CallError> {
        let call = Call::on_user("delete user", Method::DELETE, Class::DeleteUsers, id)?;
        self.send(&self.write(call)).await.map(drop)
    }

    /// Has Auth0 mail a link for choosing a password. Auth0 may say yes for an address it does not know. A repeated call is a
    /// second mail, whose link makes the first one's useless.
    pub async fn send_invitation(&self, email: &str) -> Result<(), CallError> {
        let (class, path) = (Class::ChangePassword, "/dbconnections/change_password");
        let call = Call::on("send invitation", Method::POST, class, path);
        let call = self.write(call).with(&wire::ChangePassword {
            client_id: &self.invitation_client_id,
            email,
            connection: &self.connection,
        });
        self.caller.authentication(&call).await.map(drop)
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        self.caller.management(call).await
    }

    fn write<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.correlated(self.correlation.as_deref())
            .sending_by(self.send_by)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("tokens", &self.caller.tokens)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

fn user(call: &Call<'_>, answer: Answer) -> Result<User, CallError> {
    call.parse::<wire::UserAnswer>(answer).map(User::from)
}

#[cfg(test)]
mod tests;

//! One look at a candidate: its account by id, or else what has its address. Tried again while that may help.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    auth0::{CallError, Client, User},
    db::{
        audit::{Candidate, Seen},
        done::Observed,
    },
    reactor::outcome::observed,
    user::Auth0UserId,
};

/// What was seen; `None` where Auth0 does not answer for this one, whoever asks: it counts as not confirmed.
pub(super) type Looked = Option<Vec<Seen>>;

/// How often one call is tried while Auth0 is not well.
const TRIES: u32 = 3;
/// How often one call is tried while the rate limit does not allow it.
const TURNS: u32 = 60;
/// The longest that is waited between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Looks.
pub(super) async fn look(client: &Client, candidate: &Candidate) -> Result<Looked, CallError> {
    match ask(client, candidate).await {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if is_about_this_one(&error) => {
            tracing::warn!(error = %error, "an account could not be looked at");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn ask(client: &Client, candidate: &Candidate) -> Result<Vec<Seen>, CallError> {
    let id = candidate.auth0_user_id.clone().map(Auth0UserId);
    if let Some(id) = &id
        && let Some(user) = persist(|| client.user(id)).await?
    {
        return Ok(match user.id == *id {
            true => vec![seen(client, &user)],
            // Auth0 may show the account that it was linked into.
            false => vec![moved(id, &user)],
        });
    }
    let by_email = match &candidate.email {
        Some(email) => persist(|| client.users_by_email(email)).await?,
        None => Vec::new(),
    };
    let Some(id) = id else {
        return Ok(by_email.iter().map(|user| seen(client, user)).collect());
    };
    let holds_it = |user: &&User| {
        user.identities.iter().any(|identity| {
            id.as_str().split_once('|') == Some((&*identity.provider, &*identity.user_id))
        })
    };
    Ok(match by_email.iter().find(holds_it) {
        Some(primary) => vec![moved(&id, primary)],
        None => vec![absent(&id)],
    })
}

/// Makes the call again while it is held back by the rate limit, or Auth0 is not well.
pub(super) async fn persist<T, F>(call: impl Fn() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let (mut tries, mut turns) = (0, 0);
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let wait = match &error {
            CallError::Throttled { retry_after, .. } if turns < TURNS => {
                turns += 1;
                *retry_after
            }
            CallError::Refused { status: 429, .. } if turns < TURNS => {
                turns += 1;
                error.retry_after().unwrap_or(Duration::from_secs(1))
            }
            CallError::NotSent { .. } | CallError::AnswerLost { .. } if tries + 1 < TRIES => {
                tries += 1;
                Duration::from_secs(1 << tries)
            }
            CallError::Refused { status, .. } if *status >= 500 && tries + 1 < TRIES => {
                tries += 1;
                Duration::from_secs(1 << tries)
            }
            CallError::Token { source, .. } if !source.is_config() && tries + 1 < TRIES => {
                tries += 1;
                source
                    .retry_after()
                    .unwrap_or(Duration::from_secs(1 << tries))
            }
            _ => return Err(error),
        };
        sleep(wait.clamp(Duration::from_millis(20), LONGEST_WAIT)).await;
    }
}

/// Whether the failure says nothing of the next one.
fn is_about_this_one(error: &CallError) -> bool {
    match error {
        CallError::Refused { status, .. } => {
            (400..500).contains(status) && ![401, 403, 408, 429].contains(status)
        }
        CallError::Malformed { .. } => true,
        _ => false,
    }
}

/// A user as Auth0 showed it.
pub(super) fn seen(client: &Client, user: &User) -> Seen {
    let is_named_by_us = user.id.as_str().starts_with("auth0|");
    Seen {
        account: observed(user),
        found: true,
        // Where nothing is said of connections, the id tells; a look by id will.
        in_connection: user.in_connection(client.connection())
            || user.identities.is_empty() && is_named_by_us,
        moved_into: None,
    }
}

fn moved(id: &Auth0UserId, primary: &User) -> Seen {
    Seen {
        moved_into: Some(primary.id.0.clone()),
        ..absent(id)
    }
}

fn absent(id: &Auth0UserId) -> Seen {
    Seen {
        account: Observed {
            auth0_user_id: id.0.clone(),
            email: None,
            email_verified: false,
            name: None,
            blocked: false,
            has_logged_in: false,
            app_metadata: serde_json::Map::new(),
            user_metadata: serde_json::Map::new(),
        },
        found: false,
        in_connection: false,
        moved_into: None,
    }
}

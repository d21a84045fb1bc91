//! One planned action carried out on Auth0, and its answer turned into what is to be recorded. No retries: the plan is the
//! retry.

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::{
    outcome::{self, Seen},
    plan::{self, Call, Look},
};
use crate::{
    auth0::{CallError, Client, Patch, User},
    db::{
        begin::Begun,
        done::{Class, Done, Effect, Failure},
    },
    user::Auth0UserId,
};

/// What a call's deadline leaves for the time before a write is sent.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to look whether an account is blocked already, before it is blocked.
const LOOK_FIRST: Duration = Duration::from_secs(2);

/// How long after it was begun a write has surely ended, as far as this process can tell: the usual `Terms::call_deadline`.
pub fn call_deadline(client: &Client) -> Duration {
    SEND_WITHIN + client.longest_exchange()
}

/// Makes the call that was begun and says what came of it. A write that could not end by [`Begun::ends`] is not sent; a look ends
/// within two [`Client::longest_call`].
pub async fn apply(client: &Client, begun: Begun) -> Done {
    let span = tracing::debug_span!("apply", user.key = %begun.row.user_key, action = begun.row.action.as_str());
    let started = Instant::now();
    let send_by = begun
        .ends
        .checked_sub(client.longest_exchange())
        .unwrap_or(begun.at);
    let client = client
        .correlated(&begun.call_id.to_string())
        .sending_by(send_by);
    let (effect, status, detail) = match plan::call(&begun) {
        Ok(call) => match carry_out(&client, call).instrument(span).await {
            Ok((effect, status)) => (effect, Some(status), None),
            Err(error) => {
                let detail = error.detail().map(str::to_owned);
                (
                    outcome::of_error(begun.row.action, &error),
                    error.status(),
                    detail,
                )
            }
        },
        Err(incomplete) => {
            tracing::error!(error = %incomplete, "the planner gave an incomplete row");
            let failure = Failure {
                class: Class::Data,
                code: "plan_incomplete".to_owned(),
                retry_after: None,
                perhaps_applied: false,
            };
            (Effect::Failed(failure), None, None)
        }
    };
    let done = Done {
        user_key: begun.row.user_key,
        auth0_user_id: begun.row.auth0_user_id,
        call_id: begun.call_id,
        incarnation: begun.incarnation,
        action: begun.row.action,
        changes: begun.row.changes,
        generation: begun.generation,
        alone: begun.alone,
        effect,
        status,
        detail,
        started,
        duration: started.elapsed(),
    };
    log(&done);
    done
}

/// The end of a call that was begun and is not made after all.
pub fn not_made(begun: Begun) -> Done {
    Done {
        user_key: begun.row.user_key,
        auth0_user_id: begun.row.auth0_user_id,
        call_id: begun.call_id,
        incarnation: begun.incarnation,
        action: begun.row.action,
        changes: begun.row.changes,
        generation: begun.generation,
        alone: begun.alone,
        effect: Effect::NotMade,
        status: None,
        detail: None,
        started: Instant::now(),
        duration: Duration::ZERO,
    }
}

async fn carry_out(client: &Client, call: Call) -> Result<(Effect, u16), CallError> {
    Ok(match call {
        Call::Look(look) => {
            let seen = look_at(client, &look).await?;
            (
                Effect::Looked(Box::new(outcome::of_look(&look, seen, client.connection()))),
                200,
            )
        }
        Call::Create(new) => {
            let user = client.create_user(&new).await?;
            (Effect::Observed(outcome::observed(&user)), 201)
        }
        Call::Block(id, patch) => {
            if let Some(user) = is_blocked_already(client, &id).await {
                return Ok((Effect::BlockedAlready(outcome::observed(&user)), 200));
            }
            (changed(client, &id, &patch).await?, 200)
        }
        Call::Patch(id, patch) => (changed(client, &id, &patch).await?, 200),
        Call::Delete(id) => {
            client.delete_user(&id).await?;
            (Effect::Deleted, 204)
        }
        Call::Invite(email) => {
            client.send_invitation(&email).await?;
            (Effect::Mailed, 200)
        }
    })
}

async fn changed(client: &Client, id: &Auth0UserId, patch: &Patch) -> Result<Effect, CallError> {
    let user = client.update_user(id, patch).await?;
    Ok(if user.id == *id {
        Effect::Observed(outcome::observed(&user))
    } else {
        // It was linked into another account, which answered for it.
        Effect::Missing
    })
}

/// A ban that somebody else made since Auth0 was last looked at must not become Roster's own, which it would lift one day. Where that
/// cannot be seen in time, the block is more urgent.
async fn is_blocked_already(client: &Client, id: &Auth0UserId) -> Option<User> {
    let look = tokio::time::timeout(LOOK_FIRST, client.user(id));
    let user = look.await.ok()?.ok()??;
    user.blocked.then_some(user)
}

async fn look_at(client: &Client, look: &Look) -> Result<Seen, CallError> {
    if let Some(id) = &look.id
        && let Some(user) = client.user(id).await?
    {
        return Ok(Seen {
            by_id: Some(user),
            by_email: Vec::new(),
        });
    }
    let by_email = match &look.email {
        Some(email) if look.live || look.known => client.users_by_email(email).await?,
        _ => Vec::new(),
    };
    Ok(Seen {
        by_id: None,
        by_email,
    })
}

fn log(done: &Done) {
    let duration_ms = u64::try_from(done.duration.as_millis()).unwrap_or(u64::MAX);
    let (key, action, code) = (&done.user_key, done.action.as_str(), done.code());
    match &done.effect {
        Effect::Failed(failure) => {
            tracing::warn!(user.key = %key, action, code, class = failure.class.as_str(), status = done.status, duration_ms, "the action failed");
        }
        Effect::Looked(found) if found.dispute.is_some() => {
            tracing::warn!(user.key = %key, action, code, duration_ms, "a person has to decide");
        }
        Effect::Missing => {
            tracing::warn!(user.key = %key, action, code, duration_ms, "the account is missing")
        }
        _ => tracing::info!(user.key = %key, action, duration_ms, "done"),
    }
}

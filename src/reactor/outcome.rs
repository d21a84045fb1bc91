//! What Auth0's answer means: a pure function of the call and the answer. No I/O, no clock.
//!
//! | answer | write | look |
//! |---|---|---|
//! | not sent, held back by the rate limit | try again | try again |
//! | lost, 5xx, unusable 2xx | perhaps applied: look, then plan anew | try again |
//! | 429 | everybody waits | everybody waits |
//! | 401, 403, token refused | a person mends the configuration | the same |
//! | 409 on create | somebody is there already: look | – |
//! | 404 | the account is missing: look for it | the finding "not there" |
//! | 400 | parked until the row changes | – |
//! | 400 or 409, the address is taken | tried again for a while: whoever of ours has it may be about to give it up | – |

use serde_json::Value;

use super::plan::{Look, is_marked};
use crate::{
    auth0::{CallError, User},
    db::{
        done::{ADDRESS_TAKEN, Class, Effect, Failure, Findings, Observed},
        plan::Action,
    },
};

/// What a write that failed means.
pub fn of_error(action: Action, error: &CallError) -> Effect {
    let class = match error {
        CallError::NotSent { .. } => Class::Transient,
        CallError::AnswerLost { .. } | CallError::Malformed { .. } => Class::Transient,
        CallError::Throttled { .. } => Class::Throttled,
        CallError::Token { source, .. } if source.is_config() => Class::Config,
        CallError::Token { .. } => Class::Transient,
        CallError::Refused { status, .. } => match (status, action) {
            (404, Action::Delete) => return Effect::Deleted,
            (404, Action::Look | Action::Create | Action::Invite) => Class::Config,
            (404, _) => return Effect::Missing,
            (409, Action::Create) => Class::Conflict,
            _ if is_address_taken(action, error) => Class::Transient,
            (429, _) => Class::Throttled,
            (401 | 403, _) => Class::Config,
            (400..=499, Action::Look) => Class::Config,
            (408, _) => Class::Transient,
            (400..=499, _) => Class::Data,
            _ => Class::Transient,
        },
    };
    let perhaps_applied = action != Action::Look
        && match error {
            CallError::AnswerLost { .. } | CallError::Malformed { .. } => true,
            CallError::Refused { status, .. } => *status >= 500 || *status == 408,
            _ => false,
        };
    Effect::Failed(Failure {
        class,
        code: code(action, error),
        retry_after: error.retry_after(),
        perhaps_applied,
    })
}

/// Auth0 refuses a change since another account has the address: 400 in the field, 409 in some tools, with the code of its identity
/// store. A block is tried again without what came with it, whatever was refused.
fn is_address_taken(action: Action, error: &CallError) -> bool {
    let may_change_it = matches!(
        action,
        Action::Update | Action::Unblock | Action::Block | Action::MoveAside
    );
    may_change_it
        && match error {
            CallError::Refused {
                status: 400,
                error_code,
                ..
            } => error_code.as_deref() == Some("auth0_idp_error"),
            CallError::Refused { status, .. } => *status == 409,
            _ => false,
        }
}

/// The stable code, where the call tells more than the answer.
fn code(action: Action, error: &CallError) -> String {
    match (action, error.status()) {
        _ if is_address_taken(action, error) => ADDRESS_TAKEN.to_owned(),
        (Action::Create, Some(409)) => "user_exists".to_owned(),
        (_, Some(429)) => "rate_limited".to_owned(),
        _ => error.code().to_owned(),
    }
}

/// What reading found: the account by id if it is there, else all accounts with the address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// By its id.
    pub by_id: Option<User>,
    /// By address, over all connections; empty where the id was found.
    pub by_email: Vec<User>,
}

/// What a look means for the user.
pub fn of_look(look: &Look, seen: Seen, connection: &str) -> Findings {
    if let Some(user) = seen.by_id {
        return by_id(look, user, connection);
    }
    let ours = look.id.as_ref().and_then(|id| id.as_str().split_once('|'));
    let linked_away = seen.by_email.iter().find(|user| {
        ours.is_some_and(|(provider, bare)| {
            user.identities
                .iter()
                .any(|identity| identity.provider == provider && identity.user_id == bare)
        })
    });
    if let Some(user) = linked_away.filter(|_| look.known) {
        return moved_into(user);
    }
    if !look.live {
        return Findings::default();
    }
    let (here, elsewhere): (Vec<&User>, Vec<&User>) = seen
        .by_email
        .iter()
        .partition(|user| user.in_connection(connection));
    let further = elsewhere
        .into_iter()
        .filter(|user| user.email_verified)
        .map(observed)
        .collect();
    let claimed = look.id.is_some() && !look.known;
    let (adopt, dispute) = match here.as_slice() {
        [] if look.conflict => (None, None),
        [] if claimed => (None, Some("claimed_account_missing")),
        [] => (None, None),
        [_] if claimed => (None, Some("claimed_account_differs")),
        [one] if one.email_verified || is_marked(&one.app_metadata, &look.user_key) => {
            (Some(observed(one)), None)
        }
        [_] => (None, Some("account_unverified")),
        _ => (None, Some("accounts_double")),
    };
    let in_the_way = match (here.as_slice(), dispute) {
        ([one], Some(_)) => Some(one.id.as_str().to_owned()),
        _ => None,
    };
    Findings {
        own: None,
        moved_into: None,
        in_the_way,
        unexplained: here.is_empty() && look.conflict,
        made_before: was_made_before(look, adopt.as_ref()),
        adopt,
        further,
        dispute,
    }
}

fn by_id(look: &Look, user: User, connection: &str) -> Findings {
    if look.known && look.id.as_ref() != Some(&user.id) {
        return moved_into(&user);
    }
    if look.known {
        return Findings {
            own: Some(observed(&user)),
            ..Findings::default()
        };
    }
    // The row claims this id. It is believed where the account is in our connection and has the row's address.
    let same = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b));
    if user.in_connection(connection) && same(&user.email, &look.email) {
        let adopt = Some(observed(&user));
        Findings {
            made_before: was_made_before(look, adopt.as_ref()),
            adopt,
            ..Findings::default()
        }
    } else {
        Findings {
            dispute: Some("claimed_account_differs"),
            ..Findings::default()
        }
    }
}

/// An account of ours was linked into another one, as a further identity of it. Asked for by the old id, Auth0 may also show the new
/// one (UNVERIFIED).
fn moved_into(primary: &User) -> Findings {
    Findings {
        moved_into: Some(observed(primary)),
        ..Findings::default()
    }
}

fn was_made_before(look: &Look, adopted: Option<&Observed>) -> bool {
    adopted.is_some_and(|account| is_marked(&account.app_metadata, &look.user_key))
}

/// The user as it is recorded. Permissions are a set, so they are kept in order.
pub fn observed(user: &User) -> Observed {
    let mut app_metadata = user.app_metadata.clone();
    if let Some(Value::Array(permissions)) = app_metadata.get_mut("permissions")
        && permissions.iter().all(Value::is_string)
    {
        permissions.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    Observed {
        auth0_user_id: user.id.as_str().to_owned(),
        email: user.email.clone(),
        email_verified: user.email_verified,
        name: user.name.clone(),
        blocked: user.blocked,
        has_logged_in: user.logins_count.is_some_and(|count| count > 0),
        app_metadata,
        user_metadata: user.user_metadata.clone(),
    }
}

#[cfg(test)]
mod tests;

//! Rows of `roster.plan` turned into typed calls. Nothing is decided here: the row says what, this says it in Auth0's types.

use serde_json::{Map, Value};

use crate::{
    auth0::{NewUser, Patch},
    db::{
        begin::Begun,
        plan::{Action, PlanRow},
    },
    user::Auth0UserId,
};

/// The key in `app_metadata` of the accounts that Roster makes, and in it whom the account is for: `{"user_key": "17"}`. Where the ledgers are
/// lost (a failover that lost the last commits, a schema made anew), it tells that the account is Roster's and was invited.
const MARK: &str = "roster";

/// Roster's mark on an account made for this user.
fn mark(user_key: &str) -> Value {
    serde_json::json!({"user_key": user_key})
}

/// Whether Roster once made the account with this `app_metadata` for this user.
pub(super) fn is_marked(app_metadata: &Map<String, Value>, user_key: &str) -> bool {
    app_metadata.get(MARK) == Some(&mark(user_key))
}

/// One call (or, for a look, a few reads) to Auth0.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Read the account by its id, where there is one, then by address.
    Look(Look),
    /// `POST /users`.
    Create(NewUser),
    /// `PATCH /users/{id}`: update, unblock, move aside.
    Patch(Auth0UserId, Patch),
    /// The same that blocks, unless somebody else did.
    Block(Auth0UserId, Patch),
    /// `DELETE /users/{id}`.
    Delete(Auth0UserId),
    /// `POST /dbconnections/change_password`.
    Invite(String),
}

/// What a look starts from.
#[derive(Clone, PartialEq)]
pub struct Look {
    /// Whom the account is for.
    pub user_key: String,
    /// An account of ours, or the id that the row claims.
    pub id: Option<Auth0UserId>,
    /// Whether `id` is an account Roster knows, as opposed to a claim.
    pub known: bool,
    /// The address to look for when the id is not found.
    pub email: Option<String>,
    /// The user's row is there; for a removed user nothing is adopted.
    pub live: bool,
    /// Auth0 had said that the account exists already.
    pub conflict: bool,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look")
            .field("id", &self.id)
            .field("live", &self.live)
            .field("conflict", &self.conflict)
            .finish_non_exhaustive()
    }
}

/// A planned row that no call can be made of; a fault of the planner, shown as such.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the plan row for user {user_key} ({action}) lacks {lacks}")]
pub struct Incomplete {
    user_key: String,
    action: &'static str,
    lacks: &'static str,
}

/// The call that a begun row stands for.
///
/// # Errors
/// [`Incomplete`] where the row lacks what its action needs.
pub fn call(begun: &Begun) -> Result<Call, Incomplete> {
    let row = &begun.row;
    let lacks = |lacks| Incomplete {
        user_key: row.user_key.clone(),
        action: row.action.as_str(),
        lacks,
    };
    let id = row.auth0_user_id.clone().map(Auth0UserId);
    Ok(match row.action {
        Action::Look => Call::Look(Look {
            user_key: row.user_key.clone(),
            id,
            known: begun.known,
            email: row.email.clone(),
            live: begun.live,
            conflict: begun.conflict,
        }),
        Action::Create => {
            let mut patch = patch(row);
            // A view that has a use of its own for the key keeps it.
            let of_ours = patch.app_metadata.entry(MARK);
            of_ours.or_insert_with(|| mark(&row.user_key));
            Call::Create(NewUser {
                id: id.ok_or_else(|| lacks("an id"))?,
                email: patch.email.ok_or_else(|| lacks("an address"))?,
                name: patch.name.flatten(),
                blocked: false,
                app_metadata: patch.app_metadata,
                user_metadata: patch.user_metadata,
            })
        }
        Action::Delete => Call::Delete(id.ok_or_else(|| lacks("an id"))?),
        Action::Invite => Call::Invite(row.email.clone().ok_or_else(|| lacks("an address"))?),
        Action::Block | Action::Unblock | Action::Update | Action::MoveAside => {
            let patch = patch(row);
            if patch.is_empty() {
                return Err(lacks("changes"));
            }
            let id = id.ok_or_else(|| lacks("an id"))?;
            match row.action {
                Action::Block => Call::Block(id, patch),
                _ => Call::Patch(id, patch),
            }
        }
        Action::Rekey | Action::Link => return Err(lacks("a call, by its nature")),
    })
}

/// The `to` side of the row's changes.
fn patch(row: &PlanRow) -> Patch {
    let mut patch = Patch::default();
    let changes = row.changes.as_object();
    for (field, change) in changes.into_iter().flatten() {
        let to = change.get("to").cloned().unwrap_or(Value::Null);
        match (field.as_str(), &to) {
            ("email", Value::String(email)) => patch.email = Some(email.clone()),
            ("name", Value::String(name)) => patch.name = Some(Some(name.clone())),
            ("blocked", Value::Bool(blocked)) => patch.blocked = Some(*blocked),
            _ => {
                let into: Option<(&mut Map<String, Value>, &str)> = match field.split_once('.') {
                    Some(("app_metadata", key)) => Some((&mut patch.app_metadata, key)),
                    Some(("user_metadata", key)) => Some((&mut patch.user_metadata, key)),
                    _ => None,
                };
                if let Some((metadata, key)) = into {
                    metadata.insert(key.to_owned(), to);
                }
            }
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn begun(action: Action, id: Option<&str>, changes: Value) -> Begun {
        Begun {
            row: PlanRow {
                user_key: "1".into(),
                auth0_user_id: id.map(str::to_owned),
                email: Some("Ada@example.test".into()),
                action,
                state: "due".into(),
                lane: "update".into(),
                due_at: None,
                reason: None,
                changes,
                code: None,
            },
            call_id: Uuid::nil(),
            incarnation: 1,
            at: Instant::now(),
            ends: Instant::now(),
            conflict: false,
            live: true,
            known: true,
            generation: 1,
            alone: false,
        }
    }

    #[test]
    fn an_update_sends_only_what_differs_and_a_null_takes_a_key_away() {
        let changes = json!({
            "app_metadata.role": {"from": "Artist", "to": "Admin"},
            "app_metadata.team": {"from": 1, "to": null},
        });
        let call = call(&begun(Action::Update, Some("auth0|1"), changes)).expect("a call");
        let Call::Patch(id, patch) = call else {
            panic!("{call:?}")
        };
        assert_eq!(id.as_str(), "auth0|1");
        assert_eq!(patch.email, None);
        assert_eq!(patch.blocked, None);
        assert_eq!(
            Value::Object(patch.app_metadata),
            json!({"role": "Admin", "team": null})
        );
        assert!(patch.user_metadata.is_empty());
    }

    #[test]
    fn a_create_takes_address_name_and_metadata_from_the_changes() {
        let changes = json!({
            "email": {"from": null, "to": "ada@example.test"},
            "name": {"from": null, "to": "Ada"},
            "app_metadata.permissions": {"from": null, "to": ["paint:canvas"]},
        });
        let call = call(&begun(Action::Create, Some("auth0|1"), changes)).expect("a call");
        let Call::Create(new) = call else {
            panic!("{call:?}")
        };
        assert_eq!(new.email, "ada@example.test");
        assert_eq!(new.name.as_deref(), Some("Ada"));
        assert_eq!(
            Value::Object(new.app_metadata),
            json!({"permissions": ["paint:canvas"], "roster": {"user_key": "1"}})
        );
    }

    #[test]
    fn a_row_without_what_it_needs_is_refused() {
        for (action, id, changes) in [
            (Action::Update, Some("auth0|1"), json!({})),
            (
                Action::Block,
                None,
                json!({"blocked": {"from": false, "to": true}}),
            ),
            (Action::Create, Some("auth0|1"), json!({})),
            (Action::Delete, None, json!({})),
        ] {
            assert!(call(&begun(action, id, changes)).is_err(), "{action:?}");
        }
    }
}

//! What a call came to: the one type the reactor hands to the database.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::plan::Action;

/// An account as Auth0 showed it.
#[derive(Clone, PartialEq, Serialize)]
pub struct Observed {
    /// With its provider's prefix.
    pub auth0_user_id: String,
    /// As shown.
    pub email: Option<String>,
    /// As shown.
    pub email_verified: bool,
    /// As shown.
    pub name: Option<String>,
    /// As shown; absent means false.
    pub blocked: bool,
    /// Somebody has logged in with it, ever.
    pub has_logged_in: bool,
    /// All of it; only the owned keys are kept.
    pub app_metadata: Map<String, Value>,
    /// All of it; only the owned keys are kept.
    pub user_metadata: Map<String, Value>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed")
            .field("auth0_user_id", &self.auth0_user_id)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// What a failure means for the next try. The words stand in `roster.mirror.error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait as told; everybody waits.
    Throttled,
    /// Try again with backoff.
    Transient,
    /// Parked until the row changes.
    Data,
    /// A person has to mend the tenant or the configuration; tried again now and then.
    Config,
    /// An account is there already; look.
    Conflict,
}

impl Class {
    /// The word in the database, in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Data => "data",
            Self::Config => "config",
            Self::Conflict => "conflict",
        }
    }
}

/// A call that did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub class: Class,
    /// Stable code.
    pub code: String,
    /// Not before this; else by backoff.
    pub retry_after: Option<Duration>,
    /// Whether Auth0 may have applied it all the same.
    pub perhaps_applied: bool,
}

/// What came of a look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The account that was looked for by its id.
    pub own: Option<Observed>,
    /// The account that was looked for is now a further identity of this one.
    pub moved_into: Option<Observed>,
    /// An account in the connection that becomes the user's.
    pub adopt: Option<Observed>,
    /// That account carries Roster's own mark for this user: what was known of it here is lost, its invitation included.
    pub made_before: bool,
    /// Log-ins elsewhere of the same, verified address.
    pub further: Vec<Observed>,
    /// Why a person has to decide.
    pub dispute: Option<&'static str>,
    /// The account that has the address and was not taken for the user's.
    pub in_the_way: Option<String>,
    /// Auth0 had said that the account exists, and nobody is to be seen: an id or address is perhaps not free again yet after
    /// a deletion. Tried again, and disputed if it stays so.
    pub unexplained: bool,
}

/// The code of [`Findings::unexplained`].
pub(super) const UNEXPLAINED: &str = "conflict_unexplained";

/// The code of a change that Auth0 refuses since another account has the address. That may be one of ours that Roster takes to have
/// another address, or that is about to: tried again for a while, then parked.
pub const ADDRESS_TAKEN: &str = "address_taken";

/// What is to be written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Done; the account is now as shown.
    Observed(Observed),
    /// Nothing was written: somebody else had blocked the account already, which is left theirs.
    BlockedAlready(Observed),
    /// Deleted, or was not there to be deleted.
    Deleted,
    /// Looked.
    Looked(Box<Findings>),
    /// The mail was accepted.
    Mailed,
    /// Auth0 does not know the account.
    Missing,
    /// Not done.
    Failed(Failure),
    /// Never sent: it waited too long for its turn, or the reactor stops. The user is let go, due still.
    NotMade,
}

/// A call that is over, as far as this worker knows.
#[derive(Debug, Clone)]
pub struct Done {
    /// Whom it was for.
    pub user_key: String,
    /// The account; absent for a look by address.
    pub auth0_user_id: Option<String>,
    /// Which begun call it was.
    pub call_id: Uuid,
    /// Which person of the key it was for.
    pub incarnation: i32,
    /// What it was to do.
    pub action: Action,
    /// Owned fields, old and new.
    pub changes: Value,
    /// The user's generation when the call was begun: the result tells nothing of a change that was folded later.
    pub generation: i64,
    /// Whether it was all there was to do for the user.
    pub alone: bool,
    /// What it came to.
    pub effect: Effect,
    /// HTTP status.
    pub status: Option<u16>,
    /// Auth0's own words, for the database only.
    pub detail: Option<String>,
    /// When the call began, on the clock that durations are measured with: this host's time of day may be hours off the database's.
    pub started: Instant,
    /// How long it took.
    pub duration: Duration,
}

impl Done {
    /// `ok`, or the stable error code.
    pub fn code(&self) -> &str {
        match &self.effect {
            Effect::Failed(failure) => &failure.code,
            Effect::Missing => "account_missing",
            Effect::NotMade => "not_made",
            Effect::Looked(found) => match found.dispute {
                Some(code) => code,
                None if found.unexplained => UNEXPLAINED,
                None => "ok",
            },
            _ => "ok",
        }
    }

    /// Whether an update did all that was planned, and no more: the account now has every field as it was to be, and all else that
    /// Roster owns as it was known `before`. Addresses are left to the planner, who knows what else hangs on them.
    pub(super) fn is_as_planned(&self, before: &Observed) -> bool {
        let (Action::Update, Effect::Observed(now), Value::Object(changes)) =
            (self.action, &self.effect, &self.changes)
        else {
            return false;
        };
        let wanted = |change: &'_ Value| change.get("to").filter(|to| !to.is_null()).cloned();
        let mut name = before.name.clone().map(Value::from);
        let mut app_metadata = before.app_metadata.clone();
        let mut user_metadata = before.user_metadata.clone();
        for (field, change) in changes {
            let (object, key) = match field.split_once('.') {
                Some(("app_metadata", key)) => (&mut app_metadata, key),
                Some(("user_metadata", key)) => (&mut user_metadata, key),
                _ if field == "name" => {
                    name = wanted(change);
                    continue;
                }
                _ => return false,
            };
            object.insert(key.to_owned(), wanted(change).unwrap_or_default());
        }
        // These are owned even where there are none.
        for fixed in ["role", "permissions"] {
            app_metadata.entry(fixed).or_insert(Value::Null);
        }
        let has = |metadata: &Map<String, Value>, wanted: &Map<String, Value>| {
            let of = |key| metadata.get(key).unwrap_or(&Value::Null);
            wanted.iter().all(|(key, value)| of(key) == value)
        };
        now.email == before.email
            && now.blocked == before.blocked
            && now.name.clone().map(Value::from) == name
            && has(&now.app_metadata, &app_metadata)
            && has(&now.user_metadata, &user_metadata)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn done(action: Action, changes: Value) -> Done {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Done {
            user_key: "1".to_owned(),
            auth0_user_id: Some("auth0|1".to_owned()),
            call_id: Uuid::nil(),
            incarnation: 1,
            action,
            changes,
            generation: 1,
            alone: true,
            effect: Effect::Observed(Observed {
                auth0_user_id: "auth0|1".to_owned(),
                email: Some("ann@example.test".to_owned()),
                email_verified: true,
                name: Some("Ann".to_owned()),
                blocked: false,
                has_logged_in: false,
                app_metadata: object(json!({"role": "Editor", "theirs": 1})),
                user_metadata: object(json!({"team": {"a": 1}})),
            }),
            status: Some(200),
            detail: None,
            started: Instant::now(),
            duration: Duration::ZERO,
        }
    }

    /// What was known before of the account that [`done`] shows.
    fn before() -> Observed {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Observed {
            auth0_user_id: "auth0|1".to_owned(),
            email: Some("ann@example.test".to_owned()),
            email_verified: true,
            name: Some("A".to_owned()),
            blocked: false,
            has_logged_in: false,
            app_metadata: object(json!({"role": "Artist", "old": 1})),
            user_metadata: object(json!({})),
        }
    }

    fn all() -> Value {
        json!({
            "app_metadata.role": {"from": "Artist", "to": "Editor"},
            "app_metadata.old": {"from": 1, "to": null},
            "user_metadata.team": {"from": null, "to": {"a": 1}},
            "name": {"from": "A", "to": "Ann"},
        })
    }

    fn as_planned(changes: Value) -> bool {
        done(Action::Update, changes).is_as_planned(&before())
    }

    #[test]
    fn what_nobody_planned_is_left_to_the_planner() {
        let differing: [fn(&mut Observed); 6] = [
            |seen| seen.blocked = true,
            |seen| seen.email = Some("eve@example.test".to_owned()),
            |seen| drop(seen.app_metadata.insert("role".to_owned(), json!("Chief"))),
            |seen| {
                drop(
                    seen.app_metadata
                        .insert("permissions".to_owned(), json!(["a"])),
                )
            },
            |seen| drop(seen.app_metadata.insert("old".to_owned(), json!(2))),
            |seen| seen.name = Some("Eve".to_owned()),
        ];
        for (number, differ) in differing.into_iter().enumerate() {
            let mut done = done(Action::Update, all());
            assert!(done.is_as_planned(&before()));
            if let Effect::Observed(seen) = &mut done.effect {
                differ(seen);
            }
            assert!(!done.is_as_planned(&before()), "{number}");
        }
        // Each of them alone leaves something as it was known before; it is not so any more.
        for (field, change) in all().as_object().into_iter().flatten() {
            assert!(!as_planned(json!({field: change})), "{field}");
        }
    }

    #[test]
    fn an_update_is_as_planned_when_every_field_is_as_it_was_to_be() {
        assert!(as_planned(all()));
    }

    #[test]
    fn a_field_that_auth0_shows_otherwise_is_not_as_planned() {
        for (field, to) in [
            ("app_metadata.role", json!("Chief")),
            ("app_metadata.role", Value::Null),
            ("user_metadata.team", json!({"a": 2})),
            ("user_metadata.role", json!("Editor")),
            ("name", json!("Bob")),
        ] {
            let mut changes = all();
            changes[field] = json!({"from": null, "to": to});
            assert!(!as_planned(changes.clone()), "{changes}");
        }
    }

    #[test]
    fn an_address_and_other_actions_are_left_to_the_planner() {
        let mut changes = all();
        assert!(!done(Action::Unblock, changes.clone()).is_as_planned(&before()));
        changes["email"] = json!({"from": "a@example.test", "to": "ann@example.test"});
        assert!(!as_planned(changes));
    }
}

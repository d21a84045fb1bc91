//! The rows of `roster.plan`, as the reactor, the command line and the console read them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, Row, types::ToSql};

use super::DbError;

/// What is to be done for a user or one of the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Take over the account of a key that has no row any more. No call.
    Rekey,
    /// Read what Auth0 has.
    Look,
    /// Block: the row is gone, blocked, or the key means another person.
    Block,
    /// Delete an account that was blocked long enough.
    Delete,
    /// Move an account to an unused address, so that a live user gets the one it holds.
    #[serde(rename = "move aside")]
    MoveAside,
    /// Lift a block that Roster set.
    Unblock,
    /// Create an account.
    Create,
    /// Change owned fields.
    Update,
    /// Have Auth0 mail an invitation.
    Invite,
    /// Settle that the row names another account than the linked one. Always a person's to do.
    Link,
}

impl Action {
    const WORDS: [(&str, Self); 10] = [
        ("rekey", Self::Rekey),
        ("look", Self::Look),
        ("block", Self::Block),
        ("delete", Self::Delete),
        ("move aside", Self::MoveAside),
        ("unblock", Self::Unblock),
        ("create", Self::Create),
        ("update", Self::Update),
        ("invite", Self::Invite),
        ("link", Self::Link),
    ];

    /// The word in `roster.plan`, in logs and in `roster.attempts`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, action)| *action == self)
            .map_or("?", |(word, _)| word)
    }

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, action)| *action)
    }
}

/// One row of `roster.plan`.
#[derive(Debug, Clone, Serialize)]
pub struct PlanRow {
    /// Whom it is about.
    pub user_key: String,
    /// The account; absent where there is none yet.
    pub auth0_user_id: Option<String>,
    /// Desired, or last observed where the row is gone. Never logged.
    pub email: Option<String>,
    /// What is to be done.
    pub action: Action,
    /// `due`, `waiting`, `held`, `disputed`, `parked`, `staged`, `kept` or `suppressed`.
    pub state: String,
    /// `removal`, `creation`, `update` or `bulk`.
    pub lane: String,
    /// Not before this time.
    pub due_at: Option<Timestamp>,
    /// Why, in words.
    pub reason: Option<String>,
    /// `{"field": {"from": …, "to": …}}`; metadata fields as `app_metadata.key`.
    pub changes: Value,
    /// Stable code of why it is disputed or parked.
    pub code: Option<String>,
}

impl PlanRow {
    pub(super) fn from_row(row: &Row) -> Result<Self, DbError> {
        let word: &str = row.get("action");
        Ok(Self {
            user_key: row.get("user_key"),
            auth0_user_id: row.get("auth0_user_id"),
            email: row.get("email"),
            action: Action::parse(word).ok_or_else(|| DbError::Unexpected {
                what: "roster.plan has an action this program does not know",
                value: word.to_owned(),
            })?,
            state: row.get("state"),
            lane: row.get("lane"),
            due_at: row.get("due_at"),
            reason: row.get("reason"),
            changes: row.get("changes"),
            code: row.get("code"),
        })
    }
}

pub(super) const COLUMNS: &str = "select user_key, auth0_user_id, email, action, state, lane, due_at, reason, changes, code from roster.plan";

/// The plan of everybody, or of the users that `who` means (e-mail, key or Auth0 id).
///
/// # Errors
/// [`DbError`]; `RO003` where `who` means nobody.
pub async fn read(client: &Client, who: &[String]) -> Result<Vec<PlanRow>, DbError> {
    let order = "order by array_position(array['removal', 'creation', 'update', 'bulk'], lane), user_key, auth0_user_id, action";
    let mut keys: Vec<String> = Vec::new();
    for one in who {
        let rows = client.query("select roster.find_users($1)", &[one]).await?;
        keys.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    let (filter, parameters): (&str, Vec<&(dyn ToSql + Sync)>) = if who.is_empty() {
        ("", Vec::new())
    } else {
        ("where user_key = any($1)", vec![&keys])
    };
    let rows = client
        .query(&format!("{COLUMNS} {filter} {order}"), &parameters)
        .await?;
    rows.iter().map(PlanRow::from_row).collect()
}

//! `roster explain` and `roster history`: why things are as they are, and who made them so.

use serde_json::{Value, json};

use super::{Exit, look::rows, output, session};
use crate::{config::Config, db::past};

/// Which history is wanted.
pub(super) enum History {
    /// The newest transactions.
    Transactions,
    /// What came of one of them.
    Transaction(u64),
    /// Everything that happened to a user.
    User(String),
    /// Removals, and how long somebody could still get in.
    Removals,
}

pub(super) async fn explain(
    config: &Config,
    who: &[String],
    permission: Option<&str>,
    json: bool,
) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    for (number, one) in who.iter().enumerate() {
        let text = past::explain(&client, one, permission).await?;
        if json {
            output::json(&json!({"who": one, "text": text}))?;
        } else {
            output::say!("{}{text}", if number > 0 { "\n" } else { "" });
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn history(
    config: &Config,
    which: History,
    limit: i64,
    json: bool,
) -> anyhow::Result<Exit> {
    let client = session(config).await?;
    let most = usize::try_from(limit).unwrap_or_default();
    let (found, columns): (Vec<Value>, &[&str]) = match which {
        History::Transactions => (
            past::transactions(None, most).objects(&client).await?,
            &[
                "txid",
                "changed_at",
                "changed_by",
                "actor",
                "application_name",
                "did",
                "user_keys",
                "reason",
            ],
        ),
        History::Transaction(txid) => (
            past::of_transaction(txid, "", most)
                .objects(&client)
                .await?,
            &[
                "user_key", "email", "action", "detail", "outcome", "told_at", "after",
            ],
        ),
        History::User(who) => (
            past::of_user(&client, &who, limit).await?,
            &["at", "what", "by", "tool", "detail", "outcome", "txid"],
        ),
        History::Removals => (
            past::removals(&client, limit).await?,
            &[
                "user_key",
                "email",
                "because",
                "committed_at",
                "blocked_at",
                "exposure",
                "last_token_expires_at",
            ],
        ),
    };
    if json {
        output::json(&found)?;
    } else if found.is_empty() {
        output::say!("Nothing is recorded.");
    } else {
        output::say!("{}", rows(&found, columns));
    }
    Ok(Exit::Done)
}

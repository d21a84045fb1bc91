//! What nothing that is done at the console may lead to: that its author loses their own rights, or that nobody may change users any more.
//!
//! It is asked in the transaction that would lead there, after its turn has come, so that two who would remove one another are not both
//! right. Who refuses goes back to the savepoint before.

use deadpool_postgres::Transaction;

use super::{
    Desired, desired,
    edit::{Author, Outcome, READ, WRITE},
};
use crate::db::DbError;

/// What it takes to change users at the console.
const RIGHTS: [&str; 2] = [READ, WRITE];
/// How the console's rights begin.
const OURS: &str = "roster:";

/// How things stood before something that can concern many users.
pub(super) struct Before {
    /// The author's own row.
    own: Option<Desired>,
    somebody_wrote: bool,
}

impl Before {
    /// Looks. That somebody writes is asked only if it `may_end`: it can take reading every user.
    pub(super) async fn of(
        tx: &Transaction<'_>,
        author: &Author,
        may_end: bool,
    ) -> Result<Self, DbError> {
        let own = author.user_key.as_deref().unwrap_or_default();
        Ok(Self {
            own: desired(tx.client(), own).await?,
            somebody_wrote: may_end && somebody_writes(tx).await?,
        })
    }

    /// Whether how things stand now must not be.
    pub(super) async fn refuses(
        &self,
        tx: &Transaction<'_>,
        author: &Author,
    ) -> Result<Option<Outcome>, DbError> {
        if let Some(own) = &self.own {
            let after = desired(tx.client(), &own.user_key).await?;
            if let Some(refused) = refused(tx, author, own, after.as_ref()).await? {
                return Ok(Some(refused));
            }
        }
        let ends = self.somebody_wrote && !somebody_writes(tx).await?;
        Ok(ends.then_some(Outcome::LastAdmin))
    }
}

/// Whether what an edit leads to must not be.
pub(super) async fn refused(
    tx: &Transaction<'_>,
    author: &Author,
    before: &Desired,
    after: Option<&Desired>,
) -> Result<Option<Outcome>, DbError> {
    let has = |user: &Desired, permission: &str| {
        !user.blocked && user.permissions.iter().any(|has| has == permission)
    };
    let keeps = |permission: &str| after.is_some_and(|after| has(after, permission));
    let ours = || before.permissions.iter().filter(|p| p.starts_with(OURS));
    if author.user_key.as_deref() == Some(&before.user_key)
        && (after.is_none_or(|after| after.blocked) || !ours().all(|p| keeps(p)))
    {
        return Ok(Some(Outcome::Yourself));
    }
    let writes = |user: &Desired| RIGHTS.iter().all(|right| has(user, right));
    if writes(before) && !after.is_some_and(writes) {
        return Ok((!somebody_writes(tx).await?).then_some(Outcome::LastAdmin));
    }
    Ok(None)
}

/// Whether anybody may change users.
async fn somebody_writes(tx: &Transaction<'_>) -> Result<bool, DbError> {
    let query = "select exists (select from roster.desired_users where permissions @> $1::text[] and blocked is not true)";
    Ok(tx.query_one(query, &[&RIGHTS.as_slice()]).await?.get(0))
}

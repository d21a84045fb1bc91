//! Who is meant by an id, and who may hold a permission: for questions about others than the bearer.
//!
//! [`holders`] answers for many ids from one snapshot, by the rules of [`super::find`]. An id that could mean two users means
//! nobody. [`candidates`] looks at a bounded number of users in the order of their keys, in a transaction that the server
//! itself ends after [`STATEMENT`]; who it finds is to be looked up with [`holders`] before it is told to anybody.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Row;

use super::{DEADLINE, DirectoryError, Hidden, Permissions, failed, query};
use crate::{db::pool::Pool, user::UserKey};

/// What one look at candidates may take at the server.
const STATEMENT: Duration = Duration::from_millis(800);

/// An id to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted<'a> {
    /// An account, or a key.
    pub id: &'a str,
    /// Whether it may be a key.
    pub may_be_key: bool,
}

/// Whom an id means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// One user, who is not blocked.
    User(Holder),
    /// Nobody, or a blocked user.
    Nobody,
    /// More than one user.
    Several,
}

/// A user, and what the user may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub key: UserKey,
    pub permissions: Vec<String>,
}

/// Some users in the order of their keys, and those of them who hold what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// How many were looked at.
    pub looked: usize,
    /// The last one's key.
    pub last: Option<UserKey>,
    /// Each holder's key and primary account.
    pub holding: Vec<(UserKey, Option<String>)>,
}

const HOLDERS: &str = include_str!("search/holders.sql");
const CANDIDATES: &str = include_str!("search/candidates.sql");

/// Looks up all of `wanted`; the answer is in their order.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn holders(pool: &Pool, wanted: &[Wanted<'_>]) -> Result<Vec<Meant>, DirectoryError> {
    // PostgreSQL's text knows no NUL, so nobody is called that; nor nothing at all.
    let is_id = |id: &str| !id.is_empty() && !id.contains('\0');
    let known: Vec<&Wanted<'_>> = wanted.iter().filter(|w| is_id(w.id)).collect();
    let ids: Vec<Hidden<'_>> = known.iter().map(|w| Hidden(w.id)).collect();
    let may_be_key: Vec<bool> = known.iter().map(|w| w.may_be_key).collect();
    let mut meant = if known.is_empty() {
        Vec::new()
    } else {
        query(pool, HOLDERS, &[&ids, &may_be_key], |rows| {
            meant(rows, known.len())
        })
        .await?
    }
    .into_iter();
    let each = wanted.iter().map(|w| {
        let found = is_id(w.id).then(|| meant.next()).flatten();
        found.unwrap_or(Meant::Nobody)
    });
    Ok(each.collect())
}

fn meant(rows: &[Row], count: usize) -> Vec<Meant> {
    let mut matches: Vec<Vec<Match>> = (0..count).map(|_| Vec::new()).collect();
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>("n") - 1).unwrap_or(usize::MAX);
        if let Some(of_id) = matches.get_mut(place) {
            of_id.push(Match::from(row));
        }
    }
    matches.into_iter().map(one_of).collect()
}

/// One way in which an id means a user.
struct Match {
    holder: Holder,
    blocked: bool,
    by_key: bool,
}

impl From<&Row> for Match {
    fn from(row: &Row) -> Self {
        Self {
            holder: Holder {
                key: UserKey(row.get("user_key")),
                permissions: row.get::<_, Permissions>("permissions").0,
            },
            blocked: row.get("blocked"),
            by_key: row.get("by_key"),
        }
    }
}

/// A key and an account may be the same user's; two rows of one key are two users until the view is mended.
fn one_of(mut matches: Vec<Match>) -> Meant {
    let by_key = matches.iter().filter(|m| m.by_key).count();
    let by_account = matches.len() - by_key;
    let Some(first) = matches.pop() else {
        return Meant::Nobody;
    };
    if by_key > 1 || by_account > 1 || matches.iter().any(|m| m.holder.key != first.holder.key) {
        Meant::Several
    } else if first.blocked || matches.iter().any(|m| m.blocked) {
        Meant::Nobody
    } else {
        Meant::User(first.holder)
    }
}

/// Looks at the next `count` users after `after` for those who hold one of `permissions` and are not blocked.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn candidates(
    pool: &Pool,
    after: &str,
    count: usize,
    permissions: &[String],
) -> Result<Candidates, DirectoryError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let permissions: Vec<Hidden<'_>> = permissions.iter().map(|p| Hidden(p)).collect();
    let asked = pool.transaction(DEADLINE, async |tx| {
        let limit = STATEMENT.as_millis();
        tx.batch_execute(&format!(
            "set transaction read only; set local statement_timeout = '{limit}ms'"
        ))
        .await?;
        let statement = tx.prepare_cached(CANDIDATES).await?;
        let row = tx
            .query_one(&statement, &[&Hidden(after), &count, &permissions])
            .await?;
        Ok(read(&row))
    });
    match timeout(DEADLINE, asked).await {
        Ok(answered) => answered.map_err(failed),
        Err(_) => Err(DirectoryError::TimedOut),
    }
}

fn read(row: &Row) -> Candidates {
    let keys: Vec<String> = row.get("keys");
    let accounts: Vec<Option<String>> = row.get("accounts");
    Candidates {
        looked: usize::try_from(row.get::<_, i64>("looked")).unwrap_or_default(),
        last: row.get::<_, Option<String>>("last_key").map(UserKey),
        holding: keys.into_iter().map(UserKey).zip(accounts).collect(),
    }
}

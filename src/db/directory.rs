//! Who is this, says Postgres: the one look-up behind every answer of the authorization server.
//!
//! [`find`] answers from one statement, so that the user, the match and the revision are of one
//! snapshot, and an answer given after a commit always knows it. It holds nothing back for the next question. [`Feed`] is for those
//! who keep a copy.
//!
//! A subject finds its user through `roster.accounts`, as long as the account belongs to the person the key means now:
//! the account's incarnation is the mirror's. A change that the reactor has not folded yet may be about to raise that
//! incarnation, so while one names the key, the row's address must still be the account's. Else a verified address
//! finds the one row that has it. An account that is stored for another living user is never matched by address:
//! that is [`Found::Conflict`], as is an address that several rows share.

mod feed;
mod permissions;
pub mod search;
mod snapshot;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{IsNull, ToSql, Type},
};

use self::permissions::Permissions;
pub use self::{
    feed::{Change, Fact, Feed, Look, News, load},
    snapshot::Snapshot,
};
use super::{DbError, pool::Pool};
use crate::user::{Auth0UserId, UserKey};

/// From asking the pool for a connection to the last row. A caller at a login waits; longer than this is an outage.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// What an application may know of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub key: UserKey,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// Sorted, without doubles.
    pub permissions: Vec<String>,
    /// The user's primary account; before there is one, the account that asked.
    pub auth0_user_id: Auth0UserId,
    pub blocked: bool,
    pub matched_by: MatchedBy,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("key", &self.key)
            .field("role", &self.role)
            .field("permissions", &self.permissions)
            .field("blocked", &self.blocked)
            .field("matched_by", &self.matched_by)
            .finish_non_exhaustive()
    }
}

/// How a user was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// By a row of `roster.accounts`.
    Account,
    /// By the verified address: [`follow`] remembers such a match.
    Email,
}

/// Whom a subject, or else an address, belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    User(User),
    Nobody,
    /// More than one user could be meant.
    Conflict,
}

/// A look-up and the state of the database it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub found: Found,
    /// The statement's snapshot, as `pg_snapshot` text.
    pub revision: String,
}

/// Postgres did not answer. Texts and causes hold no value of a row or a parameter.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("no connection to look up a user could be had")]
    Connection(#[source] deadpool_postgres::PoolError),
    /// Not a source: the detail of a database error may quote values.
    #[error("looking up a user failed: {}", crate::telemetry::with_causes(.0))]
    Query(tokio_postgres::Error),
    #[error("looking up a user took longer than {} ms", DEADLINE.as_millis())]
    TimedOut,
    /// Several asked for the same user, and were answered as one.
    #[error("{0}")]
    Shared(Arc<DirectoryError>),
}

/// `$1` is the subject. One row, or else [`FIND`] decides.
const FIND_OWN: &str = include_str!("directory/find_own.sql");

/// `$1` is the subject, `$2` the address that may be used, in lower case, or null.
const FIND: &str = include_str!("directory/find.sql");

/// `$1` is the key, `$2` the subject, `$3` the address. Nothing happens if the row has another address by now; nor while
/// a change to the key is not folded: it could make the key another person's, and the account would be written to the
/// one before.
const FOLLOW: &str = "
select roster.follow(d.user_key, $2::text, d.email)
from roster.desired_users d
where d.user_key = $1::text
    and lower(d.email) = $3::text
    and not exists (
        select from roster.changes c
        where c.folded_at is null and (c.user_keys @> array[$1::text] or c.user_keys is null)
    )";

/// Finds the user whom `subject` belongs to, or else the one who has `email`.
///
/// `email` is given only if it may be used for a match: verified, ASCII, lower case, of a trusted connection.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn find(
    pool: &Pool,
    subject: &Auth0UserId,
    email: Option<&str>,
) -> Result<Answer, DirectoryError> {
    let (subject, email) = (Hidden(subject.as_str()), email.map(Hidden));
    let asked = pool.soon(DEADLINE, async |session| {
        let own = session.prepare_cached(FIND_OWN).await?;
        let rows = session.query(&own, &[&subject]).await?;
        if rows.len() == 1 {
            return Ok(answer(&rows));
        }
        let any = session.prepare_cached(FIND).await?;
        Ok(answer(&session.query(&any, &[&subject, &email]).await?))
    });
    asked.await.map_err(failed)
}

/// Remembers that `subject` was matched to `key` by its verified address, so that the reactor follows that account.
///
/// Safe to repeat, and worth repeating: it does nothing while a change to the key is still to be folded.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn follow(
    pool: &Pool,
    key: &UserKey,
    subject: &Auth0UserId,
    email: &str,
) -> Result<(), DirectoryError> {
    query(
        pool,
        FOLLOW,
        &[&key.as_str(), &Hidden(subject.as_str()), &Hidden(email)],
        |_| (),
    )
    .await
}

/// A state of the database that an answer must not be older than.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revision {
    /// What one transaction wrote: `roster.revision()`, asked inside it.
    Transaction(u64),
    /// Everything an earlier answer could see: [`Answer::revision`].
    Snapshot(String),
}

/// Whether a look-up made after this question sees a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Yes,
    /// Its transaction is still open.
    NotYet,
    /// No such transaction was ever begun here, or the text is no snapshot.
    Unknown,
}

/// `pg_xact_status` raises for a transaction that has not been begun, but for numbers that no transaction ever has, of which it tells
/// nothing. One that failed counts as reached: it wrote nothing.
const TRANSACTION_REACHED: &str = "
select pg_visible_in_snapshot(t.id, pg_current_snapshot()) as reached,
    pg_xact_status(t.id) is null and t.id >= pg_snapshot_xmax(pg_current_snapshot()) as unknown
from (select $1::text::xid8 as id) t";

/// Reached if no transaction that the snapshot saw ended is still open here. Its last one has been begun here, or else
/// the snapshot is of another database's future.
const SNAPSHOT_REACHED: &str = "
select pg_snapshot_xmax(s.then) <= pg_snapshot_xmax(s.now)
        and not exists (
            select from pg_snapshot_xip(s.now) x
            where x < pg_snapshot_xmax(s.then) and pg_visible_in_snapshot(x, s.then)
        ) as reached,
    pg_xact_status(s.last) is null and s.last >= pg_snapshot_xmax(s.now) as unknown
from (
    select t.then, pg_current_snapshot() as now, (pg_snapshot_xmax(t.then)::text::numeric - 1)::text::xid8 as last
    from (select $1::text::pg_snapshot as then) t
) s";

/// Asks whether `revision` can be seen now.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn reached(pool: &Pool, revision: &Revision) -> Result<Reached, DirectoryError> {
    let (sql, text) = match revision {
        Revision::Transaction(id) => (TRANSACTION_REACHED, id.to_string()),
        Revision::Snapshot(snapshot) => (SNAPSHOT_REACHED, snapshot.clone()),
    };
    let told = |rows: &[Row]| match rows {
        [row] if row.get("reached") => Reached::Yes,
        [row] if row.get("unknown") => Reached::Unknown,
        _ => Reached::NotYet,
    };
    match query(pool, sql, &[&text], told).await {
        Ok(reached) => Ok(reached),
        Err(DirectoryError::Query(error))
            if matches!(
                error.code(),
                Some(&SqlState::INVALID_PARAMETER_VALUE | &SqlState::INVALID_TEXT_REPRESENTATION)
            ) =>
        {
            Ok(Reached::Unknown)
        }
        Err(error) => Err(error),
    }
}

/// Asks Postgres for anything at all.
///
/// # Errors
/// [`DirectoryError`], after at most [`DEADLINE`].
pub async fn ping(pool: &Pool) -> Result<(), DirectoryError> {
    query(pool, "select 1", &[], |_| ()).await
}

async fn query<T>(
    pool: &Pool,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    read: impl Fn(&[Row]) -> T,
) -> Result<T, DirectoryError> {
    let asked = pool.soon(DEADLINE, async |session| {
        let statement = session.prepare_cached(sql).await?;
        Ok(read(&session.query(&statement, parameters).await?))
    });
    asked.await.map_err(failed)
}

fn failed(error: DbError) -> DirectoryError {
    match error {
        DbError::Pool(error) => DirectoryError::Connection(error),
        DbError::Sql(error) => DirectoryError::Query(error),
        _ => DirectoryError::TimedOut,
    }
}

/// [`FIND`] yields one row at least, for the revision, and a second one only if two users match.
fn answer(rows: &[Row]) -> Answer {
    let found = match rows {
        [row] if row.get::<_, Option<&str>>("user_key").is_none() => Found::Nobody,
        [row] if row.get("elsewhere") => Found::Conflict,
        [row] => Found::User(User {
            key: UserKey(row.get("user_key")),
            email: row.get("email"),
            name: row.get("name"),
            role: row.get("role"),
            permissions: row.get::<_, Permissions>("permissions").0,
            auth0_user_id: Auth0UserId(row.get("auth0_user_id")),
            blocked: row.get("blocked"),
            matched_by: if row.get("by_account") {
                MatchedBy::Account
            } else {
                MatchedBy::Email
            },
        }),
        _ => Found::Conflict,
    };
    Answer {
        found,
        revision: rows
            .first()
            .map(|row| row.get("revision"))
            .unwrap_or_default(),
    }
}

/// A parameter that does not print: tokio-postgres logs parameters at debug level.
struct Hidden<'a>(&'a str);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl ToSql for Hidden<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as ToSql>::accepts(ty)
    }

    tokio_postgres::types::to_sql_checked!();
}

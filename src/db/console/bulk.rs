//! One edit of many users: of those that were ticked, or of all that a list shows.
//!
//! Promises, beyond those of [`super::edit`]: it is made on as many users as its author has typed, or on none; one statement does it, so
//! that it is one row of `roster.changes`, and a removal of too many is held as one of psql's would be.

use tokio_postgres::Client;

use super::{
    Filter,
    edit::{self, Author, NO_COLUMN, NO_KEY, NO_TABLE, Table, begin},
    guard::Before,
    matching,
};
use crate::db::{
    DbError,
    pool::{Pool, QUICK},
    statement::Statement,
};

/// Looks at users again are asked for one by one.
const MOST_SYNCS: usize = 1000;

/// Which users are meant.
#[derive(Debug, Clone)]
pub enum Which {
    Keys(Vec<String>),
    /// All whose address begins so, in this state.
    All(String, Filter),
}

/// What is to be done with each.
#[derive(Debug, Clone)]
pub enum Bulk {
    Block(bool),
    Role(String),
    Delete,
    Sync,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// So many users.
    Done(usize),
    /// So many are meant now, and not as many as were typed; nothing is written.
    Number(usize),
    /// It would have taken rights from its own author.
    Yourself,
    /// It would have left nobody who may change users.
    LastAdmin,
    /// There is no way to write that here, with the reason.
    Unable(&'static str),
}

impl Which {
    /// The condition on `roster.desired_users d`, with its parameters.
    fn condition(&self) -> (String, Vec<Option<String>>) {
        match self {
            Self::Keys(keys) => {
                let places: Vec<String> = (1..=keys.len()).map(|n| format!("${n}::text")).collect();
                let list = format!("d.user_key = any (array[{}]::text[])", places.join(", "));
                (list, keys.iter().cloned().map(Some).collect())
            }
            Self::All(prefix, filter) => {
                let mut values = Vec::new();
                let conditions = matching(prefix, *filter, &mut values);
                let all = match conditions.is_empty() {
                    true => "true".to_owned(),
                    false => conditions.join(" and "),
                };
                (all, values)
            }
        }
    }

    /// How many are meant.
    async fn count(&self, client: &Client) -> Result<usize, DbError> {
        let (condition, values) = self.condition();
        let sql = format!("select count(*) from roster.desired_users d where {condition}");
        let counted = Statement::new(sql, values.iter().map(Option::as_deref));
        let rows = counted.rows(client).await?;
        let number = rows.first().map_or(0, |row| row.get::<_, i64>(0));
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// The first of them by their keys, at most so many.
    fn some(&self, most: usize) -> Statement {
        let (condition, values) = self.condition();
        let sql = format!(
            "select d.user_key, d.email from roster.desired_users d where {condition} order by d.user_key collate \"C\" limit {most}"
        );
        Statement::new(sql, values.iter().map(Option::as_deref))
    }

    fn statement(&self, bulk: &Bulk, table: &Table) -> Result<Statement, &'static str> {
        let (condition, mut values) = self.condition();
        let (name, key) = (&table.name, table.key.as_deref().ok_or(NO_KEY)?);
        let whom = format!(
            "where {key}::text in (select d.user_key from roster.desired_users d where {condition})"
        );
        let sql = match bulk {
            Bulk::Block(blocked) => {
                let flag = table.blocked.as_deref().ok_or(NO_COLUMN)?;
                format!("update {name} set {flag} = {blocked} {whom}")
            }
            Bulk::Role(role) => {
                let column = table.role.as_deref().ok_or(NO_COLUMN)?;
                values.push(Some(role.clone()));
                format!("update {name} set {column} = ${} {whom}", values.len())
            }
            Bulk::Delete => format!("delete from {name} {whom}"),
            Bulk::Sync => format!(
                "select roster.resync(d.user_key) from roster.desired_users d where {condition}"
            ),
        };
        Ok(Statement::new(sql, values.iter().map(Option::as_deref)))
    }
}

/// Who is meant.
#[derive(Debug)]
pub struct Meant {
    pub number: usize,
    /// Key and address of the first ones.
    pub some: Vec<(String, Option<String>)>,
    /// What would do it; none where nothing can.
    pub statement: Option<Statement>,
}

/// How many are meant, and at most `most` of them.
///
/// # Errors
/// [`DbError`].
pub async fn meant(pool: &Pool, which: &Which, bulk: &Bulk, most: usize) -> Result<Meant, DbError> {
    pool.transaction(QUICK, async |tx| {
        let rows = which.some(most).rows(tx.client()).await?;
        let table = Table::read(tx).await?;
        Ok(Meant {
            number: which.count(tx.client()).await?,
            some: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
            statement: table.and_then(|table| which.statement(bulk, &table).ok()),
        })
    })
    .await
}

/// Does it, if so many are meant.
///
/// # Errors
/// [`DbError`]: what the table itself refuses, too.
pub async fn apply(
    pool: &Pool,
    author: &Author,
    which: &Which,
    bulk: &Bulk,
    number: usize,
) -> Result<Outcome, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        let Some(table) = Table::read(tx).await? else {
            return Ok(Outcome::Unable(NO_TABLE));
        };
        let statement = match which.statement(bulk, &table) {
            Ok(statement) => statement,
            Err(why) => return Ok(Outcome::Unable(why)),
        };
        let meant = which.count(tx.client()).await?;
        if meant != number {
            return Ok(Outcome::Number(meant));
        }
        if matches!(bulk, Bulk::Sync) && meant > MOST_SYNCS {
            return Ok(Outcome::Unable(
                "that is more than 1000 looks: select roster.resync_all() compares everybody.",
            ));
        }
        let before = Before::of(tx, author, true).await?;
        tx.batch_execute("savepoint untouched").await?;
        let done = usize::try_from(statement.run(tx.client()).await?).unwrap_or(usize::MAX);
        let refused = match before.refuses(tx, author).await? {
            _ if done != meant => Some(Outcome::Number(done)),
            None => None,
            Some(edit::Outcome::Yourself) => Some(Outcome::Yourself),
            Some(_) => Some(Outcome::LastAdmin),
        };
        if let Some(refused) = refused {
            tx.batch_execute("rollback to savepoint untouched").await?;
            return Ok(refused);
        }
        Ok(Outcome::Done(meant))
    })
    .await
}

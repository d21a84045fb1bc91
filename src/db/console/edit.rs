//! What the console writes: rows of the application's tables, as any SQL client would; triggers and the reactor do the rest.
//!
//! Promises, of each edit:
//! * It is one transaction that says for whom it is made (`roster.actor`), so that `roster.changes` has it.
//! * It is made on what its author has seen: if the user is another one by now, nothing is written ([`Outcome::Changed`]).
//! * Nobody takes from himself the right to use the console, and the last who may change users stays ([`Outcome::Yourself`],
//!   [`Outcome::LastAdmin`]). Edits wait for each other, so that two who remove one another are not both right.
//!
//! Known gap: psql takes none of these turns. Whoever has SQL can remove the last admin, and `guard.min_admins` holds Auth0's side then.

use deadpool_postgres::Transaction;

use super::{Desired, desired, guard::refused};
use crate::db::{
    DbError,
    pool::{Pool, QUICK},
    statement::Statement,
};

/// The right to see users, and the one to change them: the console's last bearer of both keeps them.
pub const READ: &str = "roster:read";
pub const WRITE: &str = "roster:write";
/// How long an edit waits for whoever holds the row.
pub(super) const PATIENCE: &str = "set local lock_timeout = '3s'";
/// Edits wait for each other here, until their end.
pub(super) const TURN: &str = "select pg_advisory_xact_lock(hashtextextended('roster.console', 0))";

/// Who edits.
#[derive(Debug, Clone)]
pub struct Author {
    /// For the history.
    pub actor: String,
    /// The user's own key; none of the break-glass token.
    pub user_key: Option<String>,
}

/// What a form says of a user.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub email: String,
    pub name: String,
    pub role: String,
    /// Of the user's own; none: they stay.
    pub own: Option<Vec<String>>,
}

/// What is to be done with a user who is there.
#[derive(Debug, Clone)]
pub enum Edit {
    Change(Fields),
    Block(bool),
    Delete,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// It is committed; the user's key.
    Done(String),
    /// Somebody was faster; nothing is written. None: the row is gone.
    Changed(Option<Desired>),
    /// It would have taken rights from its own author.
    Yourself,
    /// It would have left nobody who may change users.
    LastAdmin,
    /// There is no way to write that here, with the reason.
    Unable(&'static str),
}

/// The application's table, as `roster.import_into` names it: each name quoted where it must be.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) key: Option<String>,
    email: Option<String>,
    person: Option<String>,
    pub(super) role: Option<String>,
    pub(super) blocked: Option<String>,
}

const TABLE: &str = "
select s.import_into, quote_ident(w.key_column) as key, quote_ident(s.import_columns ->> 'email') as email,
    quote_ident(s.import_columns ->> 'name') as person, quote_ident(s.import_columns ->> 'role') as role,
    quote_ident(s.import_columns ->> 'blocked') as blocked
from roster.settings s left join roster.watched w on w.relation = s.import_into and w.of_users";

pub(super) const NO_KEY: &str =
    "the table of users is not watched with a key: select roster.watch(…, key => …)";
pub(super) const NO_TABLE: &str =
    "it is not known which table users are written to: select roster.import_into(…)";
pub(super) const NO_COLUMN: &str =
    "the table of users has no column for that: select roster.import_into(…)";

impl Table {
    pub(super) async fn read(tx: &Transaction<'_>) -> Result<Option<Self>, DbError> {
        let row = tx.query_opt(TABLE, &[]).await?;
        Ok(row.map(|row| Self {
            name: row.get("import_into"),
            key: row.get("key"),
            email: row.get("email"),
            person: row.get("person"),
            role: row.get("role"),
            blocked: row.get("blocked"),
        }))
    }

    fn insert(&self, fields: &Fields) -> Result<Statement, &'static str> {
        let (columns, values) = self.named(fields)?;
        let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
        let key = self.key.as_deref().ok_or(NO_KEY)?;
        let sql = format!(
            "insert into {} ({}) values ({}) returning {key}::text",
            self.name,
            columns.join(", "),
            places.join(", ")
        );
        Ok(Statement::new(sql, values))
    }

    /// What is to be done with the row, and with the permissions beside it, in this order.
    fn statements(&self, key: &str, edit: &Edit) -> Result<Vec<Statement>, &'static str> {
        let Self { name, .. } = self;
        let column = self.key.as_deref().ok_or(NO_KEY)?;
        Ok(match edit {
            Edit::Delete => vec![Statement::new(
                format!("delete from {name} where {column}::text = $1"),
                [Some(key)],
            )],
            Edit::Block(blocked) => {
                let flag = self.blocked.as_deref().ok_or(NO_COLUMN)?;
                vec![Statement::new(
                    format!("update {name} set {flag} = {blocked} where {column}::text = $1"),
                    [Some(key)],
                )]
            }
            Edit::Change(fields) => {
                let (columns, mut values) = self.named(fields)?;
                let sets: Vec<String> = (columns.iter().enumerate())
                    .map(|(n, column)| format!("{column} = ${}", n + 2))
                    .collect();
                values.insert(0, Some(key));
                let update = format!(
                    "update {name} set {} where {column}::text = $1",
                    sets.join(", ")
                );
                let mut statements = vec![Statement::new(update, values)];
                if let Some(own) = &fields.own {
                    statements.extend(self.own(key, own)?);
                }
                statements
            }
        })
    }

    /// The columns that the table has, with what they are to be. An empty name is no name.
    fn named<'f>(
        &self,
        fields: &'f Fields,
    ) -> Result<(Vec<&str>, Vec<Option<&'f str>>), &'static str> {
        let name = Some(fields.name.as_str()).filter(|name| !name.is_empty());
        let email = self.email.as_deref().ok_or(NO_COLUMN)?;
        let mut named = vec![(email, Some(fields.email.as_str()))];
        named.extend(self.person.as_deref().map(|column| (column, name)));
        if !fields.role.is_empty() {
            named.extend(
                self.role
                    .as_deref()
                    .map(|column| (column, Some(fields.role.as_str()))),
            );
        }
        Ok(named.into_iter().unzip())
    }

    /// Permissions of the user's own become these.
    fn own(&self, key: &str, own: &[String]) -> Result<[Statement; 2], &'static str> {
        let column = self.key.as_deref().ok_or(NO_KEY)?;
        let wanted: Vec<Option<&str>> = own.iter().map(|text| Some(text.as_str())).collect();
        let places: Vec<String> = (2..wanted.len() + 2)
            .map(|n| format!("${n}::text"))
            .collect();
        let list = format!("array[{}]::text[]", places.join(", "));
        let values = || std::iter::once(Some(key)).chain(wanted.iter().copied());
        Ok([
            Statement::new(
                format!(
                    "delete from public.user_permissions where user_id::text = $1 and permission <> all ({list})"
                ),
                values(),
            ),
            Statement::new(
                format!(
                    "insert into public.user_permissions (user_id, permission)\n\
                     select u.{column}, p from {} u, unnest({list}) p where u.{column}::text = $1 on conflict do nothing",
                    self.name
                ),
                values(),
            ),
        ])
    }
}

/// Makes a user.
///
/// # Errors
/// [`DbError`]: what the table itself refuses, too.
pub async fn create(pool: &Pool, author: &Author, fields: &Fields) -> Result<Outcome, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        let Some(table) = Table::read(tx).await? else {
            return Ok(Outcome::Unable(NO_TABLE));
        };
        let insert = match table.insert(fields) {
            Ok(insert) => insert,
            Err(why) => return Ok(Outcome::Unable(why)),
        };
        let rows = insert.rows(tx.client()).await?;
        let key: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        if let Some(own) = fields.own.as_ref().filter(|own| !own.is_empty()) {
            match table.own(&key, own) {
                Ok([_, insert]) => drop(insert.run(tx.client()).await?),
                Err(why) => return Ok(Outcome::Unable(why)),
            }
        }
        Ok(Outcome::Done(key))
    })
    .await
}

/// Edits a user whom the author has seen in this version.
///
/// # Errors
/// [`DbError`]: what the table itself refuses, too.
pub async fn apply(
    pool: &Pool,
    author: &Author,
    key: &str,
    version: &str,
    edit: &Edit,
) -> Result<Outcome, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        let Some(table) = Table::read(tx).await? else {
            return Ok(Outcome::Unable(NO_TABLE));
        };
        let statements = match table.statements(key, edit) {
            Ok(statements) => statements,
            Err(why) => return Ok(Outcome::Unable(why)),
        };
        let column = table.key.as_deref().unwrap_or_default();
        let lock = format!(
            "select from {} where {column}::text = $1 for update",
            table.name
        );
        Statement::new(lock, [Some(key)]).rows(tx.client()).await?;
        let before = match desired(tx.client(), key).await? {
            Some(before) if before.version == version => before,
            other => return Ok(Outcome::Changed(other)),
        };
        tx.batch_execute("savepoint untouched").await?;
        for statement in &statements {
            statement.run(tx.client()).await?;
        }
        let after = desired(tx.client(), key).await?;
        let refused = refused(tx, author, &before, after.as_ref()).await?;
        if let Some(refused) = refused {
            tx.batch_execute("rollback to savepoint untouched").await?;
            return Ok(refused);
        }
        Ok(Outcome::Done(key.to_owned()))
    })
    .await
}

/// Has held removals go ahead, or their accounts kept: one user's, or `all`, if `number` is how many there are. Says whether it is.
///
/// # Errors
/// [`DbError`]; `RO005` where none is held.
pub async fn judge_held(
    pool: &Pool,
    author: &Author,
    which: &str,
    release: bool,
    number: Option<&str>,
) -> Result<bool, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        tx.batch_execute("savepoint before").await?;
        let judged = match release {
            true => crate::db::control::release_held(tx.client(), which).await?,
            false => crate::db::control::discard_held(tx.client(), which).await?,
        };
        // The plan says by now how many they are.
        if number.is_some_and(|number| number != judged.to_string()) {
            tx.batch_execute("rollback to savepoint before").await?;
            return Ok(false);
        }
        Ok(true)
    })
    .await
}

/// Says who it is for, and waits for its turn.
pub(super) async fn begin(tx: &Transaction<'_>, author: &Author) -> Result<(), DbError> {
    tx.batch_execute(PATIENCE).await?;
    named(tx, author).await?;
    tx.execute(TURN, &[]).await?;
    Ok(())
}

/// Says who it is for.
pub(super) async fn named(tx: &Transaction<'_>, author: &Author) -> Result<(), DbError> {
    let told = "select set_config('roster.actor', $1, true), set_config('roster.reason', 'by the console', true)";
    tx.execute(told, &[&author.actor]).await?;
    Ok(())
}

/// The statements of some edits of one user, for whoever would rather type them; none where there is no way to edit.
///
/// # Errors
/// [`DbError`].
pub async fn shown(pool: &Pool, key: &str, edits: &[Edit]) -> Result<Vec<Statement>, DbError> {
    pool.transaction(QUICK, async |tx| {
        let mut shown = Vec::new();
        if let Some(table) = Table::read(tx).await? {
            let statements = edits
                .iter()
                .filter_map(|edit| table.statements(key, edit).ok());
            shown.extend(statements.flatten());
        }
        Ok(shown)
    })
    .await
}

/// The statement that makes such a user; none where there is no way to make one.
///
/// # Errors
/// [`DbError`].
pub async fn create_shown(pool: &Pool, fields: &Fields) -> Result<Option<Statement>, DbError> {
    pool.transaction(QUICK, async |tx| {
        let table = Table::read(tx).await?;
        Ok(table.and_then(|table| table.insert(fields).ok()))
    })
    .await
}

//! Roles and what they may do, for the console: `public.roles` and `public.role_permissions`, some at a time, changed in one transaction.
//!
//! Promises: what is written are the differences between what an author saw and what they ticked, all of them or none; one that is no
//! difference any more refuses all ([`Outcome::Changed`]). Whoever edits keeps their own rights, and somebody keeps `roster:write`.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::db::{
    DbError,
    console::{
        edit::{Author, Outcome, READ, WRITE, begin},
        guard::Before,
        has_table,
    },
    pool::{Pool, QUICK},
    statement::Statement,
};

/// Roles, and permissions, on a page.
pub const ROLES: usize = 5;
pub const PERMISSIONS: usize = 40;

/// Where a page of the matrix begins: behind this role and this permission.
#[derive(Debug, Clone, Default)]
pub struct After {
    pub role: String,
    pub permission: String,
}

/// A part of the matrix.
#[derive(Debug)]
pub struct Matrix {
    /// Each with what is said of it.
    pub roles: Vec<(String, Option<String>)>,
    pub permissions: Vec<String>,
    /// Of these roles and permissions: who has what.
    pub grants: BTreeSet<(String, String)>,
    /// There are further ones.
    pub more_roles: bool,
    pub more_permissions: bool,
    pub statements: Vec<Statement>,
}

fn roles(after: &str, limit: usize) -> Statement {
    Statement::new(
        format!(
            "select name, description from (\n    \
             select name, description from public.roles\n    \
             union all select distinct p.role, null from public.role_permissions p where not exists (select from public.roles r where r.name = p.role)\n\
             ) r where name collate \"C\" > $1 order by name collate \"C\" limit {limit}"
        ),
        [Some(after)],
    )
}

fn permissions(after: &str, limit: usize) -> Statement {
    Statement::new(
        format!(
            "select distinct permission collate \"C\" as permission from public.role_permissions where permission collate \"C\" > $1 order by 1 limit {limit}"
        ),
        [Some(after)],
    )
}

/// A part of the matrix; none: permissions come from elsewhere here.
///
/// # Errors
/// [`DbError`].
pub async fn matrix(client: &Client, after: &After) -> Result<Option<Matrix>, DbError> {
    if !has_table(client, "public.roles").await?
        || !has_table(client, "public.role_permissions").await?
    {
        return Ok(None);
    }
    let found = roles(&after.role, ROLES + 1).rows(client).await?;
    let mut all: Vec<(String, Option<String>)> =
        found.iter().map(|row| (row.get(0), row.get(1))).collect();
    let more_roles = all.len() > ROLES;
    all.truncate(ROLES);
    let found = permissions(&after.permission, PERMISSIONS + 1)
        .rows(client)
        .await?;
    let mut named: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    let more_permissions = named.len() > PERMISSIONS;
    named.truncate(PERMISSIONS);
    let keys: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let grants = "select role, permission from public.role_permissions where role = any ($1) and permission = any ($2)";
    let grants = client.query(grants, &[&keys, &named]).await?;
    Ok(Some(Matrix {
        grants: grants.iter().map(|row| (row.get(0), row.get(1))).collect(),
        roles: all,
        permissions: named,
        more_roles,
        more_permissions,
        statements: vec![
            roles(&after.role, ROLES),
            Statement::new(
                "select role, permission from public.role_permissions order by role, permission",
                [],
            ),
        ],
    }))
}

/// A difference that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub role: String,
    pub permission: String,
    /// Else it is taken.
    pub given: bool,
}

/// How many users have each of these roles.
///
/// # Errors
/// [`DbError`].
pub async fn touched(client: &Client, changes: &[Change]) -> Result<Vec<(String, i64)>, DbError> {
    let roles: BTreeSet<&str> = changes.iter().map(|change| change.role.as_str()).collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    let count = "select r.role, count(d.user_key) from unnest($1::text[]) r (role) \
         left join roster.desired_users d on d.role = r.role group by r.role order by r.role collate \"C\"";
    let rows = client.query(count, &[&roles]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// `($1, $2), ($3, $4)` and what stands there.
fn pairs(changes: &[Change], given: bool) -> Option<(String, Vec<Option<&str>>)> {
    let some = changes.iter().filter(|change| change.given == given);
    let values: Vec<_> = some
        .flat_map(|change| [Some(change.role.as_str()), Some(change.permission.as_str())])
        .collect();
    let places: Vec<String> = (0..values.len() / 2)
        .map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2))
        .collect();
    (!places.is_empty()).then(|| (places.join(", "), values))
}

fn taking(changes: &[Change]) -> Option<Statement> {
    let (places, values) = pairs(changes, false)?;
    let sql = format!("delete from public.role_permissions where (role, permission) in ({places})");
    Some(Statement::new(sql, values))
}

fn giving(changes: &[Change]) -> Option<Statement> {
    let (places, values) = pairs(changes, true)?;
    let sql = format!(
        "insert into public.role_permissions (role, permission) values {places} on conflict do nothing"
    );
    Some(Statement::new(sql, values))
}

/// Roles that get something are roles.
fn naming(changes: &[Change]) -> Option<Statement> {
    let given = changes.iter().filter(|change| change.given);
    let roles: BTreeSet<&str> = given.map(|change| change.role.as_str()).collect();
    let places: Vec<String> = (1..=roles.len()).map(|n| format!("(${n})")).collect();
    let sql = format!(
        "insert into public.roles (name) values {} on conflict do nothing",
        places.join(", ")
    );
    (!roles.is_empty()).then(|| Statement::new(sql, roles.into_iter().map(Some)))
}

/// What writes these changes, in this order.
pub fn statements(changes: &[Change]) -> Vec<Statement> {
    let all = [taking(changes), naming(changes), giving(changes)];
    all.into_iter().flatten().collect()
}

/// Writes them all, or none.
///
/// # Errors
/// [`DbError`]: what the tables refuse, too.
pub async fn save(pool: &Pool, author: &Author, changes: &[Change]) -> Result<Outcome, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        // psql takes no turns.
        tx.batch_execute(
            "lock table public.role_permissions in share row exclusive mode; savepoint untouched",
        )
        .await?;
        let takes_write = changes
            .iter()
            .any(|change| !change.given && [READ, WRITE].contains(&change.permission.as_str()));
        let before = Before::of(tx, author, takes_write).await?;
        let mut written = 0;
        for statement in [taking(changes), giving(changes)].iter().flatten() {
            written += statement.run(tx.client()).await?;
        }
        if let Some(naming) = naming(changes) {
            naming.run(tx.client()).await?;
        }
        let refusal = match written == changes.len() as u64 {
            true => before.refuses(tx, author).await?,
            false => Some(Outcome::Changed(None)),
        };
        if let Some(refusal) = refusal {
            tx.batch_execute("rollback to savepoint untouched").await?;
            return Ok(refusal);
        }
        Ok(Outcome::Done(String::new()))
    })
    .await
}

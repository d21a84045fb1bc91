//! What a table that holds users looks like: its columns, its key, and the tables beside it.

use tokio_postgres::{Client, error::SqlState};

use super::super::DbError;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Without its length: `character varying`.
    pub type_name: String,
}

/// A foreign key of one column, from a table to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Quoted, with its schema.
    pub from: String,
    pub from_column: String,
    /// Quoted, with its schema.
    pub to: String,
    pub to_column: String,
    /// Of the table it leads to.
    pub to_columns: Vec<Column>,
}

/// A table and what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Quoted, with its schema.
    pub table: String,
    pub columns: Vec<Column>,
    /// The one column that is its primary key; else one that is unique and not null.
    pub key: Option<String>,
    /// Where it leads to.
    pub out: Vec<Link>,
    /// Where tables that lead to it lead to besides.
    pub beside: Vec<(Link, Link)>,
    /// Expressions that have an index: `lower(mail)`.
    pub indexed: Vec<String>,
}

/// Looks at a table. None: there is no such table, or this is no name of one.
///
/// # Errors
/// [`DbError`].
pub async fn inspect(client: &Client, table: &str) -> Result<Option<Shape>, DbError> {
    let found = client
        .query_opt(
            "select c.oid, format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where c.oid = to_regclass($1) and c.relkind in ('r', 'p', 'f', 'v', 'm')",
            &[&table],
        )
        .await;
    let found = match found.map_err(DbError::from) {
        Err(error) if error.server().is_some_and(is_no_name) => None,
        found => found?,
    };
    let Some(found) = found else {
        return Ok(None);
    };
    let (oid, table): (u32, String) = (found.get(0), found.get(1));
    let key = client
        .query_opt(
            "select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
             where i.indrelid = $1 and i.indisunique and i.indnkeyatts = 1 and i.indpred is null and (i.indisprimary or a.attnotnull) \
             order by i.indisprimary desc, a.attnum limit 1",
            &[&oid],
        )
        .await?
        .map(|row| row.get(0));
    let indexed = client
        .query(
            "select pg_get_indexdef(i.indexrelid, 1, true) from pg_index i where i.indrelid = $1 and i.indisvalid and i.indpred is null",
            &[&oid],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let out = links(client, oid, "c.conrelid").await?;
    let mut beside = Vec::new();
    for (from, link) in links(client, oid, "c.confrelid").await? {
        let others = links(client, from, "c.conrelid").await?.into_iter();
        let others = others.filter(|(_, other)| other.to != table);
        beside.extend(others.map(|(_, other)| (link.clone(), other)));
    }
    Ok(Some(Shape {
        columns: columns(client, oid).await?,
        table,
        key,
        out: out.into_iter().map(|(_, link)| link).collect(),
        beside,
        indexed,
    }))
}

fn is_no_name(error: &tokio_postgres::error::DbError) -> bool {
    [SqlState::SYNTAX_ERROR, SqlState::INVALID_NAME].contains(error.code())
}

async fn columns(client: &Client, table: u32) -> Result<Vec<Column>, DbError> {
    let query = "select attname::text, format_type(atttypid, null) from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped order by attnum";
    let rows = client.query(query, &[&table]).await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        type_name: row.get(1),
    };
    Ok(rows.iter().map(column).collect())
}

/// Foreign keys of one column whose one end is this table, each with the oid of where it comes from.
async fn links(client: &Client, table: u32, end: &str) -> Result<Vec<(u32, Link)>, DbError> {
    let query = format!(
        "select c.conrelid as from_oid, c.confrelid as to_oid, format('%I.%I', fn.nspname, f.relname) as from_table, fa.attname::text as from_column, \
            format('%I.%I', tn.nspname, t.relname) as to_table, ta.attname::text as to_column \
         from pg_constraint c \
         join pg_class f on f.oid = c.conrelid join pg_namespace fn on fn.oid = f.relnamespace \
         join pg_class t on t.oid = c.confrelid join pg_namespace tn on tn.oid = t.relnamespace \
         join pg_attribute fa on fa.attrelid = f.oid and fa.attnum = c.conkey[1] \
         join pg_attribute ta on ta.attrelid = t.oid and ta.attnum = c.confkey[1] \
         where c.contype = 'f' and cardinality(c.conkey) = 1 and fn.nspname <> 'roster' and {end} = $1 order by c.oid"
    );
    let mut links = Vec::new();
    for row in client.query(&query, &[&table]).await? {
        let link = Link {
            from: row.get("from_table"),
            from_column: row.get("from_column"),
            to: row.get("to_table"),
            to_column: row.get("to_column"),
            to_columns: columns(client, row.get("to_oid")).await?,
        };
        links.push((row.get("from_oid"), link));
    }
    Ok(links)
}

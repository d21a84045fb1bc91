//! Statements that are run and shown: what is on a page is what PostgreSQL was asked.

use std::error::Error;

use bytes::BytesMut;
use serde_json::Value;
use tokio_postgres::{
    Client, Row,
    types::{Format, IsNull, ToSql, Type},
};

use super::DbError;

/// A statement with what its parameters are.
#[derive(Debug, Clone)]
pub struct Statement {
    sql: String,
    values: Vec<Literal>,
}

/// A parameter as psql has it: text, of whatever type is wanted at its place.
#[derive(Debug, Clone)]
struct Literal(Option<String>);

impl ToSql for Literal {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Statement {
    pub(super) fn new<'a>(
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Self {
        Self {
            sql: sql.into(),
            values: values
                .into_iter()
                .map(|value| Literal(value.map(str::to_owned)))
                .collect(),
        }
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values
            .iter()
            .map(|value| value as &(dyn ToSql + Sync))
            .collect()
    }

    pub(super) async fn rows(&self, client: &Client) -> Result<Vec<Row>, DbError> {
        Ok(client.query(&self.sql, &self.parameters()).await?)
    }

    pub(super) async fn run(&self, client: &Client) -> Result<u64, DbError> {
        Ok(client.execute(&self.sql, &self.parameters()).await?)
    }

    /// Its rows as JSON objects.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn objects(&self, client: &Client) -> Result<Vec<Value>, DbError> {
        let query = format!("select to_jsonb(t) from ({}) t", self.sql);
        let rows = client.query(&query, &self.parameters()).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// As psql takes it: the parameters in their places, as literals.
    pub fn shown(&self) -> String {
        let mut shown = String::with_capacity(self.sql.len() + 64);
        let mut rest = self.sql.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            shown.push_str(before);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number: usize = after[..digits].parse().unwrap_or(0);
            match number.checked_sub(1).and_then(|at| self.values.get(at)) {
                Some(value) => shown.push_str(
                    &value
                        .0
                        .as_deref()
                        .map_or_else(|| "null".to_owned(), literal),
                ),
                None => shown.push_str(&format!("${}", &after[..digits])),
            }
            rest = &after[digits..];
        }
        shown.push_str(rest);
        shown.push(';');
        shown
    }
}

/// A text as SQL writes it. What would not be seen as what it is, or would turn what is beside it round, is written by its number.
pub fn literal(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(|c| c == '\\' || is_hidden(c)) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut literal = "e'".to_owned();
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("''"),
            hidden if is_hidden(hidden) => {
                literal.push_str(&format!("\\u{:04x}", u32::from(hidden)))
            }
            seen => literal.push(seen),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_shown_as_psql_takes_it() {
        let statement = Statement::new("select $2::text, $1, $10", [Some("O'Hara"), None]);
        assert_eq!(statement.shown(), "select null::text, 'O''Hara', $10;");
        assert_eq!(literal("a\\'b\n\u{202e}"), "e'a\\\\''b\\u000a\\u202e'");
    }
}

//! Findings of an audit as a table, as JSON and as CSV.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::output;
use crate::db::audit::{Drift, Summary};

/// Findings that a table on a terminal shows.
const MOST_SHOWN: usize = 200;

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One document
    Json,
    /// A line a field that differs
    Csv,
}

/// What was found, in this format; as a table no more than a person reads, unless `all`.
pub(super) fn text(
    format: Format,
    summary: &Summary,
    found: &[Drift],
    all: bool,
) -> Result<String> {
    match format {
        Format::Table => Ok(table(found, if all { usize::MAX } else { MOST_SHOWN })),
        Format::Json => Ok(serde_json::to_string(&Document {
            audit: summary,
            drift: found,
        })?),
        Format::Csv => csv(found),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    audit: &'a Summary,
    drift: &'a [Drift],
}

fn table(found: &[Drift], most: usize) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut table = output::table(&[
        "#",
        "kind",
        "user",
        "e-mail",
        "account",
        "Auth0 → Postgres",
        "more",
    ]);
    for drift in found.iter().take(most) {
        let planned = drift
            .planned
            .as_ref()
            .map(|said| format!("planned: {said}"));
        let more = [drift.detail.clone(), planned].into_iter().flatten();
        table.add_row([
            drift.id.to_string(),
            drift.kind.clone(),
            drift.user_key.clone().unwrap_or_default(),
            drift.email.clone().unwrap_or_default(),
            drift.auth0_user_id.clone().unwrap_or_default(),
            output::changes(&drift.changes),
            more.collect::<Vec<_>>().join("\n"),
        ]);
    }
    match found.len().saturating_sub(most) {
        0 => table.to_string(),
        more => format!(
            "{table}\n… and {more} more: roster audit --format csv --output FILE, or roster.drift."
        ),
    }
}

/// A line of the CSV file; its header is the same whether or not anything was found.
#[derive(Serialize)]
struct Record<'a> {
    id: i64,
    kind: &'a str,
    user_key: Option<&'a str>,
    auth0_user_id: Option<&'a str>,
    email: Option<&'a str>,
    field: &'a str,
    auth0: String,
    postgres: String,
    detail: Option<&'a str>,
    planned: Option<&'a str>,
    what_to_do: &'a str,
}

const HEADER: [&str; 11] = [
    "id",
    "kind",
    "user_key",
    "auth0_user_id",
    "email",
    "field",
    "auth0",
    "postgres",
    "detail",
    "planned",
    "what_to_do",
];

fn csv(found: &[Drift]) -> Result<String> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    csv.write_record(HEADER)?;
    for drift in found {
        let record = |field, auth0, postgres| Record {
            id: drift.id,
            kind: &drift.kind,
            user_key: drift.user_key.as_deref(),
            auth0_user_id: drift.auth0_user_id.as_deref(),
            email: drift.email.as_deref(),
            field,
            auth0,
            postgres,
            detail: drift.detail.as_deref(),
            planned: drift.planned.as_deref(),
            what_to_do: &drift.what_to_do,
        };
        match drift
            .changes
            .as_object()
            .filter(|fields| !fields.is_empty())
        {
            // It is no field that differs.
            None => csv.serialize(record("", String::new(), String::new()))?,
            Some(fields) => {
                for (field, sides) in fields {
                    let side = |side: &str| output::plain(&sides[side]);
                    csv.serialize(record(field, side("from"), side("to")))?;
                }
            }
        }
    }
    Ok(String::from_utf8(csv.into_inner()?)?)
}

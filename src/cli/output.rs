//! Tables and JSON on stdout.
//!
//! Whoever reads may stop reading (`roster plan | head`); then the command ends quietly.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;
use serde_json::Value;

/// Prints a line as `println!` does, and ends the program quietly when nobody reads any more.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::cli::output::line(format_args!($($words)*))
    };
}
pub(super) use say;

/// What [`say!`] does.
pub(super) fn line(words: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if let Err(error) = writeln!(std::io::stdout(), "{words}") {
        let broken_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(if broken_pipe { 0 } else { 1 });
    }
}

/// Prints one JSON document on a line of its own.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string(data)?);
    Ok(())
}

/// A table that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    table
}

/// A table of two columns without a header.
pub(super) fn list() -> Table {
    let mut table = table(&[]);
    table.set_header(Vec::<String>::new());
    table
}

/// A value as a person reads it: text bare, absence as nothing.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `role: Artist → Admin`, one field a line.
pub(super) fn changes(changes: &Value) -> String {
    let Value::Object(fields) = changes else {
        return String::new();
    };
    let side = |change: &Value, side| change.get(side).map(plain).filter(|text| !text.is_empty());
    fields
        .iter()
        .map(|(field, change)| {
            let field = field.strip_prefix("app_metadata.").unwrap_or(field);
            let to = side(change, "to").unwrap_or_else(|| "(nothing)".to_owned());
            match side(change, "from") {
                Some(from) => format!("{field}: {from} → {to}"),
                None => format!("{field}: {to}"),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// `1 user`, `3 users`.
pub(super) fn count(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_read_as_old_and_new() {
        let fields = json!({
            "app_metadata.role": {"from": "Artist", "to": "Admin"},
            "app_metadata.team": {"from": 1, "to": null},
            "name": {"from": null, "to": "Ada"},
        });
        assert_eq!(
            changes(&fields),
            "role: Artist → Admin\nteam: 1 → (nothing)\nname: Ada"
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(
            (count(1, "user"), count(0, "user")),
            ("1 user".into(), "0 users".into())
        );
    }
}

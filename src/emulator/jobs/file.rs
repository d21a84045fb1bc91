//! The file of an export: one user a line as JSON or CSV, compressed.
//!
//! It is made once, when the job is done, and kept compressed: of the file in plain there is never more than a line in
//! memory. Users are let go as they are written, so one who changes meanwhile is not held twice for long. Measured with
//! 200 000 users and seven fields: 37 bytes a user, and 9 MB at most beside the 550 MB of the users themselves.

use std::{
    io::{self, Write},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::export::{Export, Field, Format};
use crate::emulator::profile::User;

/// The file, compressed by gzip.
///
/// # Errors
/// None in fact, since memory takes every byte.
pub(super) fn write(users: Vec<Arc<User>>, export: &Export) -> io::Result<Vec<u8>> {
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    if export.format == Format::Csv {
        let titles: Vec<String> = export
            .fields
            .iter()
            .map(|field| title(&field.title))
            .collect();
        writeln!(file, "{}", titles.join(","))?;
    }
    let is_asked_for = |user: &Arc<User>| {
        export
            .connection
            .as_ref()
            .is_none_or(|connection| user.is_in(connection))
    };
    for user in users.into_iter().filter(is_asked_for).take(export.limit) {
        let user = json!(&*user);
        match export.format {
            Format::Json => {
                serde_json::to_writer(&mut file, &object(&user, &export.fields))?;
                file.write_all(b"\n")?;
            }
            Format::Csv => {
                let cells: Vec<String> = export
                    .fields
                    .iter()
                    .map(|field| cell(field, value(&user, &field.name)))
                    .collect();
                writeln!(file, "{}", cells.join(","))?;
            }
        }
    }
    file.finish()
}

/// A file of the same format with nobody in it.
///
/// # Errors
/// As [`write`].
pub(super) fn write_empty(export: &Export) -> io::Result<Vec<u8>> {
    write(Vec::new(), export)
}

/// The user's fields under their titles, flat; what the user does not have is left out. Whether Auth0 nests a dotted
/// name is undocumented.
fn object(user: &Value, fields: &[Field]) -> Value {
    fields
        .iter()
        .filter_map(|field| Some((field.title.clone(), value(user, &field.name)?.clone())))
        .collect::<Map<_, _>>()
        .into()
}

/// What is at a dotted name with indexes, such as `identities[0].connection`.
fn value<'a>(user: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(user, |value, step| {
        let mut parts = step.split('[');
        let value = value.get(parts.next()?)?;
        parts.try_fold(value, |value, index| {
            value.get(index.strip_suffix(']')?.parse::<usize>().ok()?)
        })
    })
}

/// Times that Auth0 itself has written, which are not escaped.
const TIMES: &[&str] = &[
    "created_at",
    "updated_at",
    "last_login",
    "last_password_reset",
];

/// One cell. Auth0 quotes every string and puts an apostrophe before it, lest a spreadsheet takes it for a formula; so
/// this is no CSV that a library's writer would write.
fn cell(field: &Field, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if TIMES.contains(&&*field.name) => text.clone(),
        Some(Value::String(text)) => quoted(text),
        Some(value @ (Value::Array(_) | Value::Object(_))) => quoted(&value.to_string()),
        Some(value) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"'{}\"", text.replace('"', "\"\""))
}

/// A title as RFC 4180 has it, since titles are the caller's own.
fn title(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotted_name_leads_through_objects_and_lists() {
        let user = json!({"a": {"b": [{"c": 1}, [2]]}, "email": "a@a.test"});
        assert_eq!(value(&user, "email"), Some(&json!("a@a.test")));
        assert_eq!(value(&user, "a.b[0].c"), Some(&json!(1)));
        assert_eq!(value(&user, "a.b[1][0]"), Some(&json!(2)));
        for nowhere in ["", "a.x", "a.b[2]", "a.b[x]", "a.b[0", "email.x"] {
            assert_eq!(value(&user, nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn strings_are_guarded_and_times_numbers_and_nothing_are_not() {
        let in_field = |name: &str, value: Value| {
            let field = Field {
                name: name.into(),
                title: name.into(),
            };
            cell(&field, Some(&value))
        };
        assert_eq!(in_field("name", json!("=1+\"2\"")), "\"'=1+\"\"2\"\"\"");
        assert_eq!(in_field("created_at", json!("2023-01-25")), "2023-01-25");
        assert_eq!(in_field("email_verified", json!(true)), "true");
        assert_eq!(in_field("name", Value::Null), "");
        assert_eq!(title("a,b"), "\"a,b\"");
    }
}

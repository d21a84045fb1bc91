//! The `key=value` notation of connection strings (PostgreSQL's documentation, section 34.1.1.1).

use super::UrlError;

/// `key = value key='value with \'quotes\''`. Errors do not quote: an unquoted password with a space ends up as a key.
pub(super) fn key_values(text: &str) -> Result<Vec<(String, String)>, UrlError> {
    let missing = UrlError::Malformed {
        what: "expected postgres://… or key=value pairs; a value with spaces stands in single quotes",
    };
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(missing);
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(missing);
        }
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        let mut value = String::new();
        let mut closed = !quoted;
        let mut end = after.len();
        let mut chars = after.char_indices().skip(usize::from(quoted));
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                '\'' if quoted => {
                    closed = true;
                    end = at + 1;
                    break;
                }
                char if !quoted && char.is_whitespace() => {
                    end = at;
                    break;
                }
                char => value.push(char),
            }
        }
        if !closed {
            return Err(UrlError::Malformed {
                what: "a single quote is opened and not closed",
            });
        }
        pairs.push((key.to_owned(), value));
        rest = after[end..].trim_start();
    }
    if pairs.is_empty() {
        Err(missing)
    } else {
        Ok(pairs)
    }
}

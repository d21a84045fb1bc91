//! libpq's password file: `host:port:database:user:password` a line, `*` for any, `\` before a literal `:` or `\`.
//!
//! Read only where the connection string names it. tokio-postgres has one password for all hosts, so a file with
//! different ones for the hosts of one string is refused. Format: PostgreSQL's documentation, section 34.16.

use std::{io, os::unix::fs::PermissionsExt, path::Path};

use tokio_postgres::config::{Config, Host};

use super::UrlError;

/// The password for every host of `config`, or `None` if no line fits.
pub(super) fn password(path: &Path, config: &Config) -> Result<Option<String>, UrlError> {
    let file_error = |source: io::Error| UrlError::File {
        key: "passfile",
        path: path.to_owned(),
        source: source.into(),
    };
    let metadata = std::fs::metadata(path).map_err(file_error)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let reason = "others may read it; chmod 0600 makes it private";
        return Err(file_error(io::Error::new(
            io::ErrorKind::PermissionDenied,
            reason,
        )));
    }
    let text = std::fs::read_to_string(path).map_err(file_error)?;

    let user = config.get_user().unwrap_or_default();
    let dbname = config.get_dbname().unwrap_or(user);
    let ports = config.get_ports();
    let mut found: Option<String> = None;
    for (index, host) in config.get_hosts().iter().enumerate() {
        let port = ports
            .get(index)
            .or(ports.first())
            .copied()
            .unwrap_or(5432)
            .to_string();
        let host = match host {
            Host::Tcp(name) => name.as_str(),
            Host::Unix(_) => "localhost",
        };
        let password = look_up(&text, [host, &port, dbname, user]);
        if index > 0 && password != found {
            return Err(file_error(io::Error::other(
                "it has different passwords for the hosts given",
            )));
        }
        found = password;
    }
    Ok(found)
}

fn look_up(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| <[String; 5]>::try_from(fields(line)).ok())
        .find(|fields| {
            wanted
                .iter()
                .zip(fields)
                .all(|(wanted, field)| field == "*" || field == wanted)
        })
        .map(|[.., password]| password)
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut().expect("never empty").extend(chars.next()),
            char => fields.last_mut().expect("never empty").push(char),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let text =
            "# comment\nother:5432:*:*:no\ndb:5432:app:roster:a\\:b:c\n*:*:*:*:last\nshort:line\n";
        let ask = |wanted| look_up(text, wanted);
        assert_eq!(
            ask(["db", "5432", "app", "roster"]).as_deref(),
            Some("a:b:c")
        );
        assert_eq!(
            ask(["db", "5433", "app", "roster"]).as_deref(),
            Some("last")
        );
        assert_eq!(look_up("db:1:a:b:c", ["db", "1", "a", "x"]), None);
    }
}

//! Errors for people: what went wrong, where, and what to do next; and the exit code that scripts read.

use std::process::ExitCode;

use super::init;
use crate::{
    audit::{AuditError, Means},
    auth0,
    authz::jwks::JwksError,
    config::ConfigError,
    db::{
        DbError,
        connect::{self, ConnectError, UrlError},
        migrate::MigrateError,
    },
    import::ImportError,
    service::ServiceError,
};

/// What an error means to a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error = 1,
    Configuration = 4,
    Unreachable = 5,
}

/// A file or stream that the command line names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String, #[source] pub(super) std::io::Error);

/// Exit code 4.
pub(super) fn configuration() -> ExitCode {
    ExitCode::from(Kind::Configuration as u8)
}

/// Prints the error with its causes, the server's DETAIL and HINT, and what to do next; gives the exit code.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let server = error.chain().find_map(|cause| {
        cause
            .downcast_ref::<tokio_postgres::Error>()
            .and_then(|error| error.as_db_error())
    });
    // What a function of the schema refuses is said in its own words, and everything the server said once.
    let ours = server.filter(|server| server.code().code().starts_with("RO"));
    match ours {
        Some(server) => eprintln!("error: {} ({})", server.message(), server.code().code()),
        None => {
            let mut last = error.to_string();
            eprintln!("error: {last}");
            let said = |cause: &&(dyn std::error::Error + 'static)| {
                server.is_some()
                    && (cause.is::<tokio_postgres::Error>()
                        || cause.is::<tokio_postgres::error::DbError>())
            };
            for cause in error.chain().skip(1).filter(|cause| !said(cause)) {
                let cause = cause.to_string();
                // Some errors say their cause themselves.
                if !last.ends_with(&cause) {
                    eprintln!("  caused by: {cause}");
                }
                last = cause;
            }
        }
    }
    if let Some(server) = server {
        if ours.is_none() {
            eprintln!(
                "  postgres: {} ({})",
                server.message(),
                server.code().code()
            );
        }
        if let Some(detail) = server.detail() {
            eprintln!("  detail: {detail}");
        }
        if let Some(hint) = server.hint() {
            eprintln!("  hint: {hint}");
        }
    }
    if let Some(next) = next_step(error) {
        eprintln!("  next: {next}");
    }
    ExitCode::from(kind(error) as u8)
}

fn kind(error: &anyhow::Error) -> Kind {
    if let Some(audit) = error.downcast_ref::<AuditError>() {
        return match audit.means() {
            Means::Wrong => Kind::Error,
            Means::Configuration => Kind::Configuration,
            Means::Unreachable => Kind::Unreachable,
        };
    }
    for cause in error.chain() {
        if cause.is::<ConfigError>()
            || cause.is::<UrlError>()
            || cause.is::<auth0::SettingsError>()
            || cause.is::<JwksError>()
            || cause.is::<Usage>()
            || cause.is::<ImportError>()
            || cause.is::<init::InitError>()
            || matches!(
                cause.downcast_ref(),
                Some(
                    ServiceError::NotInstalled
                        | ServiceError::Tls(_)
                        | ServiceError::Url { .. }
                        | ServiceError::Listen { .. }
                )
            )
            || matches!(
                cause.downcast_ref(),
                Some(ServiceError::Config(_) | ServiceError::Auth0(_) | ServiceError::Authz(_))
            )
        {
            return Kind::Configuration;
        }
        if cause.is::<ConnectError>()
            || matches!(cause.downcast_ref(), Some(ServiceError::Connect(_)))
            || cause
                .downcast_ref::<DbError>()
                .is_some_and(DbError::is_unreachable)
            || cause
                .downcast_ref::<tokio_postgres::Error>()
                .is_some_and(connect::is_lost)
        {
            return Kind::Unreachable;
        }
    }
    Kind::Error
}

fn next_step(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(audit) = error.downcast_ref::<AuditError>()
        && !matches!(audit, AuditError::Connect(_))
    {
        return Some(match audit.means() {
            Means::Configuration => {
                "check auth0.domain or auth0.base_url, auth0.client_id, its secret, and that it has the scope read:users"
            }
            _ => "what the last audit found stands; run roster audit again in a while",
        });
    }
    for cause in error.chain() {
        if matches!(cause.downcast_ref(), Some(ServiceError::NotInstalled)) {
            return Some("roster migrate");
        }
        if let Some(MigrateError::Sql { source, .. }) = cause.downcast_ref()
            && source.code() == Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE)
        {
            return Some(
                "somebody holds the table; nothing is half-done, run roster migrate again",
            );
        }
    }
    (kind(error) == Kind::Unreachable).then_some(
        "check that PostgreSQL runs and that DATABASE_URL names it, for instance with psql \"$DATABASE_URL\"",
    )
}

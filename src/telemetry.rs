//! Logs to stderr and metrics in one registry.
//!
//! Logs are `tracing` events with dotted fields; the same words name metric labels and SQL columns:
//!
//! | field | meaning |
//! |---|---|
//! | `user.key` | a row of the users table |
//! | `user.auth0_id` | an account |
//! | `request.id`, `decision.id` | of a question to the authorization server; the second also of its line in the decision log |
//! | `change.id`, `change.attempt` | a row of `roster.changes`, and which try this is |
//! | `action`, `lane`, `state` | as in `roster.plan` |
//! | `code` | the stable error code, as in `roster.attempts` |
//! | `duration_ms` | how long it took |
//!
//! Never in a log: tokens, secrets, passwords, ticket links, bodies, e-mail addresses.

use std::{
    io::IsTerminal,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus_client::{encoding::text::encode, registry::Registry};
use tracing_subscriber::{
    EnvFilter, Layer, fmt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{Log, LogFormat};

/// The content type of what [`Metrics::encode`] returns.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Starts logging to stderr for the whole process.
///
/// # Errors
/// If logging was started before; what is there is kept.
pub fn start(log: &Log) -> Result<(), TryInitError> {
    let filter = filter(log);
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(colours).boxed()
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
}

/// The configuration's filter, but for what prints values whoever asks: at debug level the database's client logs each statement with
/// its parameters, which are addresses and names.
fn filter(log: &Log) -> EnvFilter {
    // The configuration has checked it; a caller with one of its own gets the readable part of it.
    let filter = EnvFilter::new(&log.filter);
    [
        "tokio_postgres",
        "tokio_postgres::query",
        "tokio_postgres::simple_query",
        "tokio_postgres::prepare",
    ]
    .into_iter()
    .map(|target| format!("{target}=warn").parse().expect("a directive"))
    .fold(filter, EnvFilter::add_directive)
}

/// An error with its causes in one line. What the server says may quote a row's values, in its detail and in its message too, so
/// of its errors only the code and the names of what is concerned are given.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes
        .map(|cause| match cause.downcast_ref() {
            Some(server) => named(server),
            None => cause.to_string(),
        })
        .collect();
    texts.join(": ")
}

fn named(server: &tokio_postgres::error::DbError) -> String {
    let names = [
        ("table", server.table()),
        ("column", server.column()),
        ("constraint", server.constraint()),
    ];
    let names = names
        .into_iter()
        .filter_map(|(what, name)| name.map(|name| format!(", {what} {name}")));
    format!(
        "SQLSTATE {}{}",
        server.code().code(),
        names.collect::<String>()
    )
}

/// The metrics of one program. Cheap to clone; each room registers its own, under the prefix `roster_`.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<RwLock<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Registry::with_prefix("roster"))))
    }
}

impl Metrics {
    /// Lets a room register what it counts.
    pub fn register(&self, room: impl FnOnce(&mut Registry)) {
        room(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// All metrics in the `OpenMetrics` text format ([`OPENMETRICS`]).
    ///
    /// # Errors
    /// If a metric of ours refuses to be written.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(
            &mut text,
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn no_filter_shows_the_parameters_of_statements() {
        for asked in [
            "trace",
            "info,tokio_postgres=debug",
            "tokio_postgres::query=trace",
        ] {
            let log = Log {
                format: LogFormat::Text,
                filter: asked.to_owned(),
            };
            let subscriber = tracing_subscriber::registry().with(filter(&log));
            tracing::subscriber::with_default(subscriber, || {
                assert!(
                    !tracing::enabled!(target: "tokio_postgres::query", tracing::Level::DEBUG),
                    "{asked}"
                );
                assert!(
                    !tracing::enabled!(target: "tokio_postgres::connection", tracing::Level::INFO),
                    "{asked}"
                );
                assert!(
                    tracing::enabled!(target: "tokio_postgres::query", tracing::Level::WARN),
                    "{asked}"
                );
            });
        }
    }

    #[test]
    fn what_a_room_registers_is_encoded_under_our_prefix() {
        let metrics = Metrics::default();
        let wakes = Counter::<u64>::default();
        metrics.register(|registry| registry.register("wakes", "Bells heard", wakes.clone()));
        wakes.inc();
        let text = metrics.encode().expect("encoded");
        assert!(text.contains("roster_wakes_total 1"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}

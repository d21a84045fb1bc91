//! What can be wrong with a connection string. Its values, one of which is a password, are never quoted.

use std::path::PathBuf;

/// Why a connection string cannot be used. No variant holds any of its values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The string as a whole cannot be read.
    #[error("the connection string cannot be read: {what}")]
    Malformed {
        /// What is wrong and what to write instead.
        what: &'static str,
    },
    /// A key that neither libpq nor Roster has.
    #[error("the connection string has an unknown key `{key}`; {advice}")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The nearest known key, or to take it out.
        advice: String,
    },
    /// A key of libpq's whose meaning Roster cannot give, so that ignoring it would change what was asked for.
    #[error("the key `{key}` of the connection string is not supported; {advice}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A value that does not fit its key.
    #[error("the value of `{key}` in the connection string does not fit: expected {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What fits.
        expected: &'static str,
    },
    /// A file that the string names cannot be used.
    #[error("the file given as `{key}` in the connection string cannot be used: {}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The machine's own certificates or rustls itself are in the way.
    #[error("TLS for the database cannot be set up")]
    Tls {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

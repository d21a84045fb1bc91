//! What can be wrong with a configuration, worded for who has to mend it. Values are never quoted.

use std::{io, path::PathBuf};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("the configuration file {} cannot be read", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML in line {line}: {problem}")]
    Syntax {
        /// Which file.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What the TOML reader says, which quotes no values.
        problem: String,
    },
    /// The `.env` file is not a list of assignments.
    #[error(
        "the file .env cannot be read; every line is NAME=value, and values with spaces stand in quotes"
    )]
    DotEnv,
    /// A key that does not exist.
    #[error("there is no key `{key}`, which comes from {origin}{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The key, or the variable's name.
        key: String,
        /// The file or variable.
        origin: String,
        /// The known key it resembles most.
        nearest: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("the value of `{key}` from {origin} does not fit: expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The file or variable.
        origin: String,
        /// What fits.
        expected: String,
    },
    /// Keys without a default that a command needs.
    #[error("{} not set; {}", keys.join(", "), how(keys))]
    Missing {
        /// The keys.
        keys: Vec<&'static str>,
    },
}

impl ConfigError {
    pub(super) fn missing(keys: &[&'static str]) -> Self {
        Self::Missing {
            keys: keys.to_vec(),
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    match nearest {
        Some(key) => format!("; did you mean `{key}`?"),
        None => "; config/default.toml has all keys".to_owned(),
    }
}

fn how(keys: &[&str]) -> String {
    let variables: Vec<String> = keys
        .iter()
        .map(|key| {
            super::layers::short_variable(key)
                .map_or_else(|| super::layers::variable(key), str::to_owned)
        })
        .collect();
    format!(
        "set them in the configuration file, or as {} in the environment",
        variables.join(", ")
    )
}

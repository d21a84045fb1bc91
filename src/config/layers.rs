//! The layers of a configuration, flattened: for each key its value and where it came from.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use toml::{Table, Value};

use super::{ConfigError, DEFAULT};

/// Variables that people know by another name than `ROSTER__SECTION__KEY`. The long name wins.
const SHORT: &[(&str, &str)] = &[
    ("AUTH0_MGMT_DOMAIN", "auth0.domain"),
    ("AUTH0_MGMT_CLIENT_ID", "auth0.client_id"),
    ("AUTH0_MGMT_CLIENT_SECRET", "auth0.client_secret"),
    ("DATABASE_URL", "database.url"),
    ("RUST_LOG", "log.filter"),
];
const PREFIX: &str = "ROSTER__";

/// Where a value came from, as an operator would look for it.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Default,
    File(String),
    Variable {
        name: String,
        file: Option<&'static str>,
    },
}

impl Origin {
    /// Values of variables are text, whatever the key's type.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self, Self::Variable { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("config/default.toml"),
            Self::File(name) => f.write_str(name),
            Self::Variable { name, file: None } => write!(f, "the variable {name}"),
            Self::Variable {
                name,
                file: Some(file),
            } => write!(f, "the variable {name} in {file}"),
        }
    }
}

/// All keys with their values so far, later layers over earlier ones. Begins with the embedded defaults.
pub(super) struct Layers {
    pub(super) values: BTreeMap<String, (Value, Origin)>,
}

impl Default for Layers {
    fn default() -> Self {
        let table: Table = DEFAULT.parse().expect("the embedded defaults are TOML");
        let mut values = BTreeMap::new();
        flatten("", table, &mut |key, value| {
            values.insert(key, (value, Origin::Default));
        });
        Self { values }
    }
}

impl Layers {
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        self.add_text(&path.display().to_string(), &text)
    }

    /// Only what `origin` says overrides; every key must be one of the defaults'.
    pub(super) fn add_text(&mut self, origin: &str, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // Not its Display, which shows the line, and so perhaps a secret.
            let before = error
                .span()
                .map_or("", |span| text.get(..span.start).unwrap_or(text));
            ConfigError::Syntax {
                origin: origin.to_owned(),
                line: before.matches('\n').count() + 1,
                problem: error.message().to_owned(),
            }
        })?;
        let mut pairs = Vec::new();
        flatten("", table, &mut |key, value| pairs.push((key, value)));
        for (key, value) in pairs {
            self.set(key, value, Origin::File(origin.to_owned()))?;
        }
        Ok(())
    }

    /// `.env` first, so that the process's own environment is the last word.
    pub(super) fn add_environment(&mut self) -> Result<(), ConfigError> {
        match dotenvy::dotenv_iter() {
            Ok(lines) => {
                let variables = lines
                    .collect::<Result<_, _>>()
                    .map_err(|_| ConfigError::DotEnv)?;
                self.add_variables(variables, Some(".env"))?;
            }
            Err(error) if error.not_found() => {}
            Err(_) => return Err(ConfigError::DotEnv),
        }
        // What is not Unicode cannot be one of ours: names are ASCII, and a value would not be a URL or number.
        let process = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((
                    name.into_string().ok()?,
                    value.to_string_lossy().into_owned(),
                ))
            })
            .collect();
        self.add_variables(process, None)
    }

    pub(super) fn add_variables(
        &mut self,
        variables: BTreeMap<String, String>,
        file: Option<&'static str>,
    ) -> Result<(), ConfigError> {
        let origin = |name: &str| Origin::Variable {
            name: name.to_owned(),
            file,
        };
        for (name, key) in SHORT {
            if let Some(value) = variables.get(*name) {
                self.set(
                    (*key).to_owned(),
                    Value::String(value.clone()),
                    origin(name),
                )?;
            }
        }
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(PREFIX) {
                let key = key.to_ascii_lowercase().replace("__", ".");
                let from = origin(&name);
                self.set(key, Value::String(value), from)?;
            } else if let Some(meant) = self.meant(&name) {
                return Err(ConfigError::UnknownKey {
                    key: name.clone(),
                    origin: origin(&name).to_string(),
                    nearest: Some(meant),
                });
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
        match self.values.get_mut(&key) {
            Some(entry) => {
                *entry = (value, origin);
                Ok(())
            }
            None => Err(ConfigError::UnknownKey {
                nearest: self.nearest(&key),
                key,
                origin: origin.to_string(),
            }),
        }
    }

    /// `ROSTER_HTTP_LISTEN` would be ignored in silence otherwise.
    fn meant(&self, name: &str) -> Option<String> {
        self.values
            .keys()
            .map(|key| variable(key))
            .find(|known| known.replace("__", "_") == name)
    }

    fn nearest(&self, key: &str) -> Option<String> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
        let distance = |known: &str| {
            let whole = strsim::damerau_levenshtein(known, key);
            // The right key in the wrong section is near as well.
            if last(known) == last(key) {
                whole.min(1)
            } else {
                whole
            }
        };
        self.values
            .keys()
            .map(|known| (distance(known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, known)| known.clone())
    }
}

/// The variable for a key: `http.listen` is `ROSTER__HTTP__LISTEN`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

pub(super) fn short_variable(key: &str) -> Option<&'static str> {
    SHORT
        .iter()
        .find(|(_, known)| *known == key)
        .map(|(name, _)| *name)
}

fn flatten(prefix: &str, table: Table, each: &mut impl FnMut(String, Value)) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) => flatten(&key, inner, each),
            value => each(key, value),
        }
    }
}

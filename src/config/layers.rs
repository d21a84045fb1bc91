//! The layers of a configuration, merged by the `config` crate: for each key its value and where it came from.
//!
//! Each layer is held to the keys of the defaults before it is merged, so that a wrong key is found although a later layer
//! hides it. The `config` crate's own conversions and errors are not used: they round 2.7 to 3 and quote values.

use std::{
    collections::{BTreeMap, HashMap},
    fs, mem,
    path::Path,
};

use ::config::{Config, FileFormat, Format, Source, Value, ValueKind};

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
const DEFAULT_ORIGIN: &str = "config/default.toml";

/// Values by key, such as `http.listen`, which is also how the `config` crate writes a path. Each value carries its
/// origin, as an operator would look for it.
#[derive(Debug, Clone, Default)]
struct Layer(BTreeMap<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ::config::ConfigError> {
        Ok(self.0.clone().into_iter().collect())
    }
}

impl Layer {
    /// `config::File` would name no origin for a text.
    fn from_toml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let table = FileFormat::Toml
            .parse(Some(&origin.to_owned()), text)
            .map_err(|_| syntax(origin, text))?;
        let mut layer = Self::default();
        layer.flatten(None, &table);
        Ok(layer)
    }

    /// An empty table stays one, for [`Layers::add`] to judge.
    fn flatten(&mut self, section: Option<&str>, table: &HashMap<String, Value>) {
        for (name, value) in table {
            let key = section.map_or_else(|| name.clone(), |section| format!("{section}.{name}"));
            match &value.kind {
                ValueKind::Table(inner) if !inner.is_empty() => self.flatten(Some(&key), inner),
                _ => {
                    self.0.insert(key, value.clone());
                }
            }
        }
    }
}

/// All keys with their values so far, later layers over earlier ones. Begins with the embedded defaults.
pub(super) struct Layers {
    defaults: Layer,
    merged: Config,
}

impl Default for Layers {
    fn default() -> Self {
        let defaults =
            Layer::from_toml(DEFAULT_ORIGIN, DEFAULT).expect("the embedded defaults are TOML");
        let mut layers = Self {
            defaults: defaults.clone(),
            merged: Config::default(),
        };
        layers.merge(defaults);
        layers
    }
}

impl Layers {
    pub(super) fn value(&self, key: &str) -> Value {
        let (section, name) = key.rsplit_once('.').unwrap_or_default();
        let section = self.merged.get_table(section).ok();
        section
            .and_then(|mut values| values.remove(name))
            .unwrap_or_default()
    }

    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        self.add_text(&path.display().to_string(), &text)
    }

    pub(super) fn add_text(&mut self, origin: &str, text: &str) -> Result<(), ConfigError> {
        self.add(Layer::from_toml(origin, text)?)
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
        file: Option<&str>,
    ) -> Result<(), ConfigError> {
        let file = file.map_or_else(String::new, |file| format!(" in {file}"));
        let origin = |name: &str| format!("the variable {name}{file}");
        let mut layer = Layer::default();
        let mut set = |key: String, name: &str, text: &str| {
            let kind = self.kind(&key, text);
            layer.0.insert(key, Value::new(Some(&origin(name)), kind));
        };
        for (name, key) in SHORT {
            if let Some(text) = variables.get(*name) {
                set((*key).to_owned(), name, text);
            }
        }
        for (name, text) in &variables {
            if let Some(key) = name.strip_prefix(PREFIX) {
                set(key.to_ascii_lowercase().replace("__", "."), name, text);
            } else if let Some(meant) = self.meant(name) {
                return Err(ConfigError::UnknownKey {
                    key: name.clone(),
                    origin: origin(name),
                    nearest: Some(meant),
                });
            }
        }
        self.add(layer)
    }

    /// A variable is text: read as what its key's default is, or left as it is, which then does not fit.
    fn kind(&self, key: &str, text: &str) -> ValueKind {
        let trimmed = text.trim();
        let typed = match self.defaults.0.get(key).map(|default| &default.kind) {
            Some(ValueKind::I64(_)) => trimmed.parse().map(ValueKind::I64).ok(),
            Some(ValueKind::Float(_)) => trimmed.parse().map(ValueKind::Float).ok(),
            Some(ValueKind::Array(_)) if trimmed.is_empty() => Some(ValueKind::Array(Vec::new())),
            Some(ValueKind::Array(_)) => Some(trimmed.split(',').collect::<Vec<_>>().into()),
            _ => None,
        };
        typed.unwrap_or_else(|| text.into())
    }

    /// Every key must be one of the defaults'; a section without keys says nothing.
    fn add(&mut self, layer: Layer) -> Result<(), ConfigError> {
        for (key, value) in &layer.0 {
            let is_table = matches!(value.kind, ValueKind::Table(_));
            match (self.defaults.0.contains_key(key), is_table) {
                (true, false) => {}
                // Merged, it would leave the key without a value.
                (true, true) => {
                    return Err(ConfigError::BadValue {
                        key: key.clone(),
                        origin: origin(value),
                        expected: "a value, not a table".to_owned(),
                    });
                }
                (false, true) if self.is_section(key) => {}
                (false, _) => {
                    return Err(ConfigError::UnknownKey {
                        key: key.clone(),
                        origin: origin(value),
                        nearest: self.nearest(key),
                    });
                }
            }
        }
        self.merge(layer);
        Ok(())
    }

    fn merge(&mut self, layer: Layer) {
        self.merged = Config::builder()
            .add_source(mem::take(&mut self.merged))
            .add_source(layer)
            .build()
            .expect("what is in memory is collected without errors");
    }

    fn is_section(&self, name: &str) -> bool {
        let mut keys = self.defaults.0.keys();
        keys.any(|key| {
            key.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// `ROSTER_HTTP_LISTEN` would be ignored in silence otherwise.
    fn meant(&self, name: &str) -> Option<String> {
        self.defaults
            .0
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
        self.defaults
            .0
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

/// Where the operator finds the value.
pub(super) fn origin(value: &Value) -> String {
    value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned()
}

/// The `config` crate's report shows the line, and so perhaps a secret; `toml` gives its number and the problem apart.
fn syntax(origin: &str, text: &str) -> ConfigError {
    let (start, problem) = match text.parse::<toml::Table>() {
        Err(error) => (
            error.span().map_or(0, |span| span.start),
            error.message().to_owned(),
        ),
        Ok(_) => (0, "a value that cannot be represented".to_owned()),
    };
    let before = text.get(..start).unwrap_or(text);
    ConfigError::Syntax {
        origin: origin.to_owned(),
        line: before.matches('\n').count() + 1,
        problem,
    }
}

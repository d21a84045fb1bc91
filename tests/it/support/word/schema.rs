//! The published schema, as operations with their parameters, bodies and answers.
//!
//! `OpenAPI` 3.1 is JSON Schema 2020-12, so each schema is compiled from where it stands, when first asked for, once a process.
//! `default` values in it are samples, which validation does not look at anyway.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use jsonschema::{Registry, Validator};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::shared::shared;

/// Under which name the document refers to itself.
const NAME: &str = "urn:auth0:management";
/// What the document's paths begin with.
const BASE: &str = "/api/v2";
const METHODS: &[&str] = &["get", "post", "patch", "put", "delete"];

/// Everything that is described.
pub(crate) struct Schema {
    pub(super) operations: Vec<Operation>,
}

/// A method at a path.
pub(super) struct Operation {
    /// `PATCH /users/{id}`.
    pub(super) name: String,
    method: String,
    segments: Vec<String>,
    pub(super) parameters: Vec<Parameter>,
    /// The bodies it takes, by content type; none where it takes no body.
    pub(super) body: Option<BTreeMap<String, Part>>,
    /// By status; none where no body is described.
    pub(super) answers: BTreeMap<u16, Option<Part>>,
}

pub(super) struct Parameter {
    pub(super) name: String,
    /// `path`, `query` or `header`.
    pub(super) place: String,
    pub(super) required: bool,
    pub(super) part: Part,
}

/// A schema within the document.
pub(super) struct Part {
    pointer: String,
    validator: OnceLock<Validator>,
}

impl Schema {
    /// The schema Auth0 publishes; none where it is not at hand.
    pub(crate) fn published() -> Option<&'static Self> {
        static SCHEMA: LazyLock<Option<Schema>> = LazyLock::new(|| document().map(Schema::read));
        SCHEMA.as_ref()
    }

    fn read(document: &Value) -> Self {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in METHODS {
                if let Some(operation) = item.get(*method) {
                    let pointer = format!("/paths/{}/{method}", path.replace('/', "~1"));
                    operations.push(Operation::read(method, path, &pointer, operation));
                }
            }
        }
        Self { operations }
    }

    /// The operation that answers a request, with the values of its path's parameters.
    pub(super) fn operation(
        &self,
        method: &str,
        path: &str,
    ) -> Option<(&Operation, Vec<(&str, String)>)> {
        let segments: Vec<&str> = path.strip_prefix(BASE)?.split('/').skip(1).collect();
        self.operations
            .iter()
            .filter(|operation| operation.method == method)
            .filter_map(|operation| Some((operation, operation.values(&segments)?)))
            // `/jobs/users-exports` is no job of that name.
            .min_by_key(|(_, values)| values.len())
    }
}

impl Operation {
    fn read(method: &str, path: &str, pointer: &str, described: &Value) -> Self {
        let parameters = described["parameters"].as_array().into_iter().flatten();
        let answers = described["responses"].as_object().expect("responses");
        Self {
            name: format!("{} {path}", method.to_uppercase()),
            method: method.to_uppercase(),
            segments: path.split('/').skip(1).map(str::to_owned).collect(),
            parameters: parameters
                .enumerate()
                .map(|(number, described)| Parameter {
                    name: text(&described["name"]),
                    place: text(&described["in"]),
                    required: described["required"] == true,
                    part: Part::at(format!("{pointer}/parameters/{number}/schema")),
                })
                .collect(),
            body: described
                .get("requestBody")
                .map(|body| parts(&format!("{pointer}/requestBody"), body)),
            answers: answers
                .iter()
                .map(|(status, answer)| {
                    let pointer = format!("{pointer}/responses/{status}");
                    let part = parts(&pointer, answer).remove("application/json");
                    (status.parse().expect("a status"), part)
                })
                .collect(),
        }
    }

    /// The values of the path's parameters, if these are segments of such a path.
    fn values(&self, segments: &[&str]) -> Option<Vec<(&str, String)>> {
        if segments.len() != self.segments.len() {
            return None;
        }
        let mut values = Vec::new();
        for (described, segment) in self.segments.iter().zip(segments) {
            match described
                .strip_prefix('{')
                .and_then(|d| d.strip_suffix('}'))
            {
                Some(name) => {
                    let value = percent_decode_str(segment).decode_utf8_lossy();
                    values.push((name, value.into_owned()));
                }
                None if described == segment => {}
                None => return None,
            }
        }
        Some(values)
    }
}

impl Part {
    fn at(pointer: String) -> Self {
        Self {
            pointer,
            validator: OnceLock::new(),
        }
    }

    /// What checks values of this schema.
    pub(super) fn validator(&self) -> &Validator {
        self.validator.get_or_init(|| {
            let fragment: Vec<String> = self
                .pointer
                .split('/')
                .map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string())
                .collect();
            jsonschema::options()
                .with_registry(registry())
                .should_validate_formats(true)
                .build(&json!({"$ref": format!("{NAME}#{}", fragment.join("/"))}))
                .expect("a schema that compiles")
        })
    }
}

impl Part {
    /// The keys that the schema names, where it names any.
    pub(super) fn names(&self) -> Option<Vec<&'static str>> {
        let document = document()?;
        let mut schema = document.pointer(&self.pointer)?;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            schema = document.pointer(reference.strip_prefix('#')?)?;
        }
        let properties = schema.get("properties")?.as_object()?;
        Some(properties.keys().map(String::as_str).collect())
    }
}

fn parts(pointer: &str, described: &Value) -> BTreeMap<String, Part> {
    let content = described["content"].as_object().into_iter().flatten();
    content
        .filter(|(_, media)| media.get("schema").is_some())
        .map(|(kind, _)| {
            let escaped = kind.replace('/', "~1");
            (
                kind.clone(),
                Part::at(format!("{pointer}/content/{escaped}/schema")),
            )
        })
        .collect()
}

fn document() -> Option<&'static Value> {
    static DOCUMENT: LazyLock<Option<Value>> = LazyLock::new(|| {
        let text = shared("auth0/management-openapi-subset.json")?;
        Some(serde_json::from_str(&text).expect("JSON"))
    });
    DOCUMENT.as_ref()
}

fn registry() -> &'static Registry<'static> {
    static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
        Registry::new()
            .add(NAME, document().expect("a schema at hand"))
            .and_then(|registry| registry.prepare())
            .expect("a document that refers to itself only")
    });
    &REGISTRY
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

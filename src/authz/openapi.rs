//! `/openapi.json`: every endpoint, what it takes, and each answer it can give, as `OpenAPI` 3.1.
//!
//! It is made from what answers: the addresses from [`Endpoint::ALL`], bodies from the very types that are read and written, statuses,
//! codes and challenges from the refusals that `requests` names for each endpoint, by the functions that answer them. What is
//! written by hand here is prose and what cannot be seen in a type; the tests hold it against the running server.

mod answers;
mod requests;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;

/// How a revision looks: a transaction, or a snapshot.
const REVISION: &str = "^([0-9]{1,20}|[0-9]+:[0-9]+:([0-9]+(,[0-9]+)*)?)$";

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for endpoint in Endpoint::ALL {
        for path in requests::addresses(endpoint) {
            let mut item = Map::new();
            for method in requests::methods(endpoint) {
                let operation = operation(&mut schemas, endpoint, path, method);
                item.insert((*method).to_owned(), operation);
            }
            paths.insert((*path).to_owned(), item.into());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roster's authorization server",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Who is the bearer of a token, and what may they do? PostgreSQL answers, as of now",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "users", "description": "An application asks about its user" },
            { "name": "proxies", "description": "A proxy asks whether it may let a request through" },
            { "name": "authzen", "description": "The OpenID AuthZEN Authorization API 1.0" },
            { "name": "operation", "description": "For whoever runs the server" },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of the configured issuer, for one of the configured audiences",
                },
                "caller": {
                    "type": "http", "scheme": "bearer",
                    "description": "An access token, or the key of a program that authz.callers lists",
                },
            },
            "parameters": parameters(),
            "headers": answers::headers(),
            "schemas": schemas.all(),
        },
    })
}

fn operation(
    schemas: &mut Schemas,
    endpoint: Endpoint,
    path: &'static str,
    method: &'static str,
) -> Value {
    let (tag, summary) = requests::purpose(endpoint);
    let mut operation = json!({
        "operationId": id(path, method),
        "tags": [tag],
        "summary": summary,
        "parameters": requests::parameters(endpoint, path),
        "responses": answers::responses(schemas, endpoint),
        "security": requests::security(endpoint, method),
    });
    if let Some(body) = requests::body(schemas, endpoint, method) {
        operation["requestBody"] = json!({
            "required": true, "content": { "application/json": { "schema": body } },
        });
    }
    operation
}

/// `get_v1_me`
fn id(path: &str, method: &str) -> String {
    let words = path.split(|sign: char| !sign.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn parameters() -> Value {
    json!({
        "at-least": {
            "name": "X-Roster-At-Least", "in": "header",
            "description": "The answer is to be no older: roster.revision() of the writing transaction, or the revision of an earlier answer",
            "schema": { "type": "string", "format": "roster-revision", "pattern": REVISION },
        },
        "request-id": {
            "name": "X-Request-ID", "in": "header",
            "description": "Comes back as it was sent",
            "schema": { "type": "string" },
        },
        "permission": {
            "name": "permission", "in": "query",
            "description": "The user must have it; all of them, if there are several",
            "schema": { "type": "array", "items": { "type": "string", "minLength": 1 } },
        },
        "require": {
            "name": "require", "in": "query",
            "description": "The user must have this permission; all of them, if there are several",
            "schema": { "type": "array", "items": { "type": "string", "minLength": 1 } },
        },
        "path": {
            "name": "path", "in": "path", "required": true,
            "description": "What the proxy was asked for. It is not looked at",
            "schema": { "type": "string" },
        },
        "tenant": {
            "name": "path", "in": "path", "required": true,
            "description": "The path of authz.public_url, if it has one",
            "schema": { "type": "string" },
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// The types met so far: those that are read, and those that are written.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// Each member is there, but those that are left out where there is nothing to say.
    fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        for (name, schema) in self.written.take_definitions(true) {
            let doubled = all.insert(name, schema);
            debug_assert!(doubled.is_none(), "two types have one name");
        }
        all
    }
}

#[cfg(test)]
mod tests;

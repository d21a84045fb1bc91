//! One exchange against the schema: what does not fit.

use std::sync::LazyLock;

use bytes::Bytes;
use jsonschema::{Validator, error::ValidationErrorKind};
use reqwest::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use roster::emulator::Exchange;
use serde_json::{Value, json};

use super::{
    exceptions::{AMBIGUOUS, ANYWHERE, NOT_REQUIRED, UNDESCRIBED, UNLISTED},
    schema::{Operation, Parameter, Part, Schema},
};

/// What Roster's own client calls itself.
const OWN: &str = "roster/";

/// The errors of the Management API have one shape, which its schema leaves out.
static COMPLAINT: LazyLock<Validator> = LazyLock::new(|| {
    let schema = json!({
        "type": "object",
        "required": ["statusCode", "error", "message"],
        "properties": {
            "statusCode": {"type": "integer"},
            "error": {"type": "string"},
            "message": {"type": "string"},
            "errorCode": {"type": "string"},
            "attributes": {"type": "object", "properties": {"error": {"type": "string"}}},
        },
        "additionalProperties": false,
    });
    jsonschema::validator_for(&schema).expect("a schema that compiles")
});

/// What does not fit, with operation, status and place.
pub(crate) fn misfits(schema: &Schema, exchange: &Exchange) -> Vec<String> {
    let request = &exchange.request;
    let (method, path) = (request.method().as_str(), request.uri().path());
    let own = is_own(request.headers());
    let Some((operation, values)) = schema.operation(method, path) else {
        let is_known = UNDESCRIBED.iter().any(|u| (u.0, u.1) == (method, path));
        // Others may ask for whatever they like.
        return match own && !is_known && path.starts_with("/api/") {
            true => vec![format!("{method} {path}: no such operation")],
            false => Vec::new(),
        };
    };
    let mut misfits = Vec::new();
    if own {
        let query = request.uri().query().unwrap_or_default();
        misfits.extend(parameters(operation, &values, query, request.headers()));
        misfits.extend(body(operation, request.headers(), request.body()));
    }
    if let Some(answer) = exchange.answer.as_ref().filter(|_| !exchange.faulted) {
        let status = answer.status().as_u16();
        let found = answered(operation, status, answer.headers(), answer.body());
        misfits.extend(
            found
                .into_iter()
                .map(|fault| format!("answered {status}: {fault}")),
        );
    }
    misfits
        .into_iter()
        .map(|fault| format!("{} {fault}", operation.name))
        .collect()
}

fn is_own(headers: &HeaderMap) -> bool {
    headers
        .get(USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(OWN.as_bytes()))
}

fn parameters(
    operation: &Operation,
    values: &[(&str, String)],
    query: &str,
    headers: &HeaderMap,
) -> Vec<String> {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut misfits: Vec<String> = query
        .iter()
        .filter(|(name, _)| {
            let is_it = |p: &Parameter| p.place == "query" && p.name == *name;
            !operation.parameters.iter().any(is_it)
        })
        .map(|(name, _)| format!("asked: no parameter {name}"))
        .collect();
    for parameter in &operation.parameters {
        let name = parameter.name.as_str();
        let given: Vec<String> = match parameter.place.as_str() {
            "path" => values_of(values.iter().map(|(n, v)| (*n, v)), name),
            "query" => values_of(query.iter().map(|(n, v)| (n.as_str(), v)), name),
            _ => headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect(),
        };
        if given.is_empty() && parameter.required {
            misfits.push(format!("asked: {name} is missing"));
        }
        for value in given {
            // What is written `1` or `true` may be meant as a text all the same.
            let meant = serde_json::from_str(&value).ok();
            let validator = parameter.part.validator();
            let fits = |value: &Value| validator.is_valid(value);
            if !fits(&json!(value)) && !meant.as_ref().is_some_and(fits) {
                misfits.extend(faults(validator, &json!(value), name));
            }
        }
    }
    misfits
}

fn values_of<'a>(pairs: impl Iterator<Item = (&'a str, &'a String)>, name: &str) -> Vec<String> {
    pairs
        .filter(|(other, _)| *other == name)
        .map(|(_, value)| value.clone())
        .collect()
}

fn body(operation: &Operation, headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    let Some(described) = &operation.body else {
        return match body.is_empty() {
            true => Vec::new(),
            false => vec!["asked: with a body, which it does not take".to_owned()],
        };
    };
    if body.is_empty() {
        // The schema marks no body as required, but some say which keys one must have.
        let part = described.get("application/json");
        return match part.is_some_and(|part| !part.validator().is_valid(&json!({}))) {
            true => vec!["asked: without its body".to_owned()],
            false => Vec::new(),
        };
    }
    let kind = content_type(headers);
    let Some(part) = described.get(kind) else {
        return vec![format!("asked: with a body of type {kind:?}")];
    };
    if kind != "application/json" {
        return Vec::new();
    }
    match serde_json::from_slice(body) {
        Ok(value) => {
            let mut faults = faults(part.validator(), &value, "asked");
            faults.extend(unnamed(part, &value));
            faults
        }
        Err(error) => vec![format!("asked: not JSON: {error}")],
    }
}

/// Keys that a body has and its schema does not name: some schemas are left open, and Auth0 refuses them all the same.
fn unnamed(part: &Part, body: &Value) -> Vec<String> {
    let (Some(names), Some(body)) = (part.names(), body.as_object()) else {
        return Vec::new();
    };
    body.keys()
        .filter(|key| !names.contains(&key.as_str()))
        .map(|key| format!("asked: /{key}: a key that is not described"))
        .collect()
}

fn answered(operation: &Operation, status: u16, headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    let name = operation.name.as_str();
    let is_this = |(other, code, _): &&(&str, u16, &str)| *other == name && *code == status;
    let excused = UNLISTED.iter().any(|entry| is_this(&entry))
        || ANYWHERE.iter().any(|(code, _)| *code == status);
    let described = operation.answers.get(&status);
    if described.is_none() && !excused {
        return vec!["a status that is not listed".to_owned()];
    }
    let validator = match described {
        _ if status == 204 => {
            return match body.is_empty() {
                true => Vec::new(),
                false => vec!["with a body".to_owned()],
            };
        }
        _ if status >= 400 => &*COMPLAINT,
        Some(Some(part)) => part.validator(),
        _ => return Vec::new(),
    };
    let kind = content_type(headers);
    if kind != "application/json" {
        return vec![format!("a body of type {kind:?}")];
    }
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return vec![format!("not JSON: {error}")],
    };
    if status >= 400 && value["statusCode"] != status {
        return vec![format!("/statusCode: {}", value["statusCode"])];
    }
    let excused = |error: &ValidationErrorKind| match error {
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            AMBIGUOUS.iter().any(|entry| is_this(&entry))
        }
        ValidationErrorKind::Required { property } => NOT_REQUIRED
            .iter()
            .any(|(other, code, key, _)| *other == name && *code == status && property == key),
        _ => false,
    };
    validator
        .iter_errors(&value)
        .filter(|error| !excused(error.kind()))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn faults(validator: &Validator, value: &Value, what: &str) -> Vec<String> {
    validator
        .iter_errors(value)
        .map(|error| format!("{what}: {}: {error}", error.instance_path()))
        .collect()
}

/// Without its parameters, such as the character set.
fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim()
}

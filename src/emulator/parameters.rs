//! Query strings of the Management API, and its two ways of paging: by page and by checkpoint.

use std::{collections::HashMap, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::errors::ApiError;

/// The query of a request, decoded.
pub(super) type Parameters = HashMap<String, String>;

/// Items on a page, by default and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// Refuses a parameter that the endpoint does not have.
pub(super) fn known(parameters: &Parameters, names: &[&str]) -> Result<(), ApiError> {
    match parameters
        .keys()
        .find(|name| !names.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(invalid(format!(
            "Query validation error: 'Additional properties not allowed: {name}'."
        ))),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_query_string", message)
}

/// A parameter that must be there.
pub(super) fn required<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, ApiError> {
    parameters
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            invalid(format!(
                "Query validation error: 'Missing required property: {name}'."
            ))
        })
}

fn read<T: FromStr>(
    parameters: &Parameters,
    name: &str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    parameters
        .get(name)
        .map(|text| {
            text.parse().map_err(|_| {
                invalid(format!(
                    "Query validation error: 'Expected type {expected}' on property {name}."
                ))
            })
        })
        .transpose()
}

/// A whole number from `least` to `most`.
pub(super) fn number(
    parameters: &Parameters,
    name: &str,
    least: usize,
    most: usize,
    default: usize,
) -> Result<usize, ApiError> {
    match read(parameters, name, "integer")? {
        None => Ok(default),
        Some(number) if number < least => Err(invalid(format!(
            "Query validation error: 'Value {number} is less than minimum {least}' on property {name}."
        ))),
        Some(number) if number > most => Err(invalid(format!(
            "Query validation error: 'Value {number} is greater than maximum {most}' on property {name}."
        ))),
        Some(number) => Ok(number),
    }
}

pub(super) fn flag(parameters: &Parameters, name: &str) -> Result<bool, ApiError> {
    Ok(read(parameters, name, "boolean")?.unwrap_or(false))
}

/// `page`, `per_page` and `include_totals`.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) page: usize,
    pub(super) per_page: usize,
    pub(super) include_totals: bool,
}

impl Page {
    /// The names it reads.
    pub(super) const NAMES: &[&str] = &["page", "per_page", "include_totals"];

    /// # Errors
    /// 400 for what is no number, or out of bounds.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        Ok(Self {
            page: number(parameters, "page", 0, usize::MAX, 0)?,
            per_page: number(parameters, "per_page", 1, MAX_PAGE, PAGE)?,
            include_totals: flag(parameters, "include_totals")?,
        })
    }

    /// One page of `items`: a bare array, or with totals an object that holds it as `name`.
    pub(super) fn of(&self, name: &str, items: Vec<Value>) -> Value {
        let total = items.len();
        let start = self.page.saturating_mul(self.per_page);
        let page: Vec<Value> = items.into_iter().skip(start).take(self.per_page).collect();
        if !self.include_totals {
            return page.into();
        }
        let mut body = Map::new();
        body.insert(name.into(), page.into());
        body.insert("start".into(), start.into());
        body.insert("limit".into(), self.per_page.into());
        body.insert("total".into(), total.into());
        body.into()
    }
}

/// `take` and `from`.
#[derive(Debug)]
pub(super) struct Checkpoint {
    after: Option<String>,
    take: usize,
}

impl Checkpoint {
    /// The names it reads.
    pub(super) const NAMES: &[&str] = &["from", "take"];

    /// # Errors
    /// 400 for what is no number, out of bounds, or a cursor nobody gave.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        let after = parameters
            .get("from")
            .map(|cursor| {
                URL_SAFE_NO_PAD
                    .decode(cursor)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| {
                        invalid("Query validation error: 'Invalid cursor' on property from.")
                    })
            })
            .transpose()?;
        Ok(Self {
            after,
            take: number(parameters, "take", 1, MAX_PAGE, PAGE)?,
        })
    }

    /// What comes next of `items`, which are in the order of their keys: an object that holds them as `name`, and the
    /// cursor of the rest as `next` while there is one.
    pub(super) fn of(
        &self,
        name: &str,
        items: impl Iterator<Item = (String, Value)>,
    ) -> Map<String, Value> {
        let mut rest = items.filter(|(key, _)| self.after.as_ref().is_none_or(|after| key > after));
        let page: Vec<(String, Value)> = rest.by_ref().take(self.take).collect();
        let mut body = Map::new();
        if rest.next().is_some()
            && let Some((last, _)) = page.last()
        {
            body.insert("next".into(), URL_SAFE_NO_PAD.encode(last).into());
        }
        let page: Vec<Value> = page.into_iter().map(|(_, value)| value).collect();
        body.insert(name.into(), page.into());
        body
    }
}

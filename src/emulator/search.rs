//! `GET /api/v2/users`: what to look for, in which order, and which page of it.
//!
//! As at Auth0 nobody pages beyond the thousandth user, and what is found may be late: the list is the directory's as it
//! was `search_delay_ms` ago ([`Directory::indexed`]). What is not understood is refused. The query language is in
//! [`super::lucene`].

use std::{cmp::Ordering, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use warp::http::StatusCode;

use super::{
    directory::Directory,
    errors::ApiError,
    lucene::Filter,
    parameters::{Parameters, flag, invalid, number},
    profile::User,
    searchable::Field,
};

/// How deep anyone can page.
const CAP: usize = 1000;
/// Users on a page, by default and at most (`per_page` of the schema).
const PAGE: usize = 50;
const MAX_PAGE: usize = 100;
/// The longest query, in bytes. Auth0 answers 414 to one that is too long; where its limit lies is not documented.
const MAX_QUERY: usize = 4096;

/// A search.
#[derive(Debug)]
pub(super) struct Query {
    filter: Option<Filter>,
    sort: Option<(Field, bool)>,
    page: usize,
    pub(super) per_page: usize,
    pub(super) include_totals: bool,
}

/// One page of what matched.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) users: Vec<Arc<User>>,
    pub(super) total: usize,
}

impl Query {
    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 `invalid_query_string` for what is not understood, `invalid_paging` beyond the thousandth user, 414 for a
    /// query that is too long.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        engine(parameters)?;
        let query = Self {
            filter: match parameters.get("q").map(String::as_str) {
                None | Some("") => None,
                Some(q) => Some(filter(q)?),
            },
            sort: parameters.get("sort").map(|text| sort(text)).transpose()?,
            page: number(parameters, "page", 0, usize::MAX, 0)?,
            per_page: number(parameters, "per_page", 0, MAX_PAGE, PAGE)?,
            include_totals: flag(parameters, "include_totals")?,
        };
        if query.start().saturating_add(query.per_page) > CAP {
            return Err(ApiError::bad_request(
                "invalid_paging",
                "You can only page through the first 1000 records.",
            ));
        }
        Ok(query)
    }

    /// The place of the page's first user.
    pub(super) fn start(&self) -> usize {
        self.page.saturating_mul(self.per_page)
    }
}

/// Only version 3 is left, and `connection` was a filter of version 1 (schema of the endpoint).
fn engine(parameters: &Parameters) -> Result<(), ApiError> {
    if parameters
        .get("search_engine")
        .is_some_and(|engine| engine != "v3")
    {
        return Err(invalid("Only search_engine=v3 is supported."));
    }
    if parameters.contains_key("connection") {
        return Err(invalid(
            "connection is a filter of search_engine=v1; use q=identities.connection:\"…\".",
        ));
    }
    Ok(())
}

fn filter(q: &str) -> Result<Filter, ApiError> {
    if q.len() > MAX_QUERY {
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            None,
            "The query is too long.",
        ));
    }
    Filter::read(q).map_err(|why| invalid(format!("The query is not supported: {why}.")))
}

/// `field:1` or `field:-1`; whether it descends.
fn sort(text: &str) -> Result<(Field, bool), ApiError> {
    let (name, descends) = match text.rsplit_once(':') {
        Some((name, "1")) => (name, false),
        Some((name, "-1")) => (name, true),
        _ => return Err(invalid("sort takes field:1 or field:-1.")),
    };
    match Field::named(name) {
        Ok(field) if !field.is_metadata() => Ok((field, descends)),
        _ => Err(invalid(format!("Users cannot be sorted by {name}."))),
    }
}

/// Runs a search over what the index knows by now.
pub(super) fn run(directory: &Directory, query: &Query, now: Timestamp) -> Found {
    let mut matching: Vec<Arc<User>> = directory.indexed(now);
    if let Some(filter) = &query.filter {
        matching.retain(|user| filter.matches(user));
    }
    if let Some((field, descends)) = &query.sort {
        matching.sort_by_cached_key(|user| Key(field.values(user).into_iter().next()));
        if *descends {
            matching.reverse();
        }
    }
    Found {
        total: matching.len(),
        users: matching
            .into_iter()
            .skip(query.start())
            .take(query.per_page)
            .collect(),
    }
}

/// A value to sort by; who has none comes first. A field has values of one type, and times sort as their text does.
#[derive(PartialEq)]
struct Key(Option<Value>);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
            (Some(Value::Number(one)), Some(Value::Number(other))) => one
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&other.as_f64().unwrap_or_default()),
            (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }
}

//! `GET /api/v2/users`: paging with Auth0's cap of a thousand, and the simplest of its queries.
//!
//! A query is one term, `field:"value"` or `field:value`, with `*` at the end for any rest. Anything more is refused
//! rather than answered wrongly. Unlike Auth0's, this search is never late.

use std::{collections::HashMap, sync::Arc};

use super::{directory::Directory, errors::ApiError, profile::User};

/// How deep anyone can page.
const CAP: usize = 1000;
/// Users on a page, by default and at most (`per_page` of the schema).
const PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// A search.
#[derive(Debug)]
pub(super) struct Query {
    term: Option<Term>,
    page: usize,
    pub(super) per_page: usize,
    pub(super) include_totals: bool,
}

#[derive(Debug)]
struct Term {
    field: Field,
    value: String,
    prefix: bool,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Email,
    UserId,
    Username,
    Name,
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
    /// 400 `invalid_query_string` for what is not understood, `invalid_paging` beyond the thousandth user.
    pub(super) fn read(parameters: &HashMap<String, String>) -> Result<Self, ApiError> {
        let invalid = |message: String| ApiError::bad_request("invalid_query_string", message);
        let number = |name: &str, default: usize| match parameters.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| {
                invalid(format!(
                    "Query validation error: 'Expected type integer' on property {name}."
                ))
            }),
        };
        let query = Self {
            term: parameters
                .get("q")
                .filter(|q| !q.is_empty())
                .map(|q| Term::read(q).ok_or_else(|| invalid("The query is not supported.".into())))
                .transpose()?,
            page: number("page", 0)?,
            per_page: number("per_page", PAGE)?,
            include_totals: parameters.get("include_totals").map(String::as_str) == Some("true"),
        };
        if query.per_page > MAX_PAGE {
            return Err(invalid(format!(
                "Query validation error: 'Value {} is greater than maximum {MAX_PAGE}' on property per_page.",
                query.per_page
            )));
        }
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

impl Term {
    fn read(q: &str) -> Option<Self> {
        let (field, value) = q.split_once(':')?;
        let field = match field {
            "email" => Field::Email,
            "user_id" => Field::UserId,
            "username" => Field::Username,
            "name" => Field::Name,
            _ => return None,
        };
        let (value, prefix) = match value.strip_prefix('"') {
            Some(quoted) => (quoted.strip_suffix('"')?, false),
            None => match value.strip_suffix('*') {
                Some(start) => (start, true),
                None => (value, false),
            },
        };
        let unquoted_special = |c: char| c.is_whitespace() || "\"()[]{}*?\\".contains(c);
        (!value.contains(unquoted_special)).then(|| Self {
            field,
            value: value.to_lowercase(),
            prefix,
        })
    }

    fn matches(&self, user: &User) -> bool {
        let text = match self.field {
            Field::Email => user.email.as_deref(),
            Field::UserId => Some(user.user_id.as_str()),
            Field::Username => user.username.as_deref(),
            Field::Name => user.name.as_deref(),
        };
        text.map(str::to_lowercase)
            .is_some_and(|text| match self.prefix {
                true => text.starts_with(&self.value),
                false => text == self.value,
            })
    }
}

/// Runs a search.
pub(super) fn run(directory: &Directory, query: &Query) -> Found {
    let all = directory
        .iter()
        .filter(|user| query.term.as_ref().is_none_or(|term| term.matches(user)));
    let page = |users: &mut dyn Iterator<Item = &Arc<User>>| {
        users
            .skip(query.start())
            .take(query.per_page)
            .cloned()
            .collect()
    };
    match &query.term {
        None => Found {
            total: directory.len(),
            users: page(&mut directory.iter()),
        },
        Some(_) => {
            let matching: Vec<&Arc<User>> = all.collect();
            Found {
                total: matching.len(),
                users: page(&mut matching.into_iter()),
            }
        }
    }
}

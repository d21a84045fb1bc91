//! Which permissions a request asks about, and whether a user has them all.

use std::sync::Arc;

use url::form_urlencoded;

use crate::{
    authz::{rejection::Refusal, trail::Trail},
    db::directory::User,
};

/// Permissions in the order asked for, each once. None of them means: a known user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Required(Arc<[String]>);

impl Required {
    /// Reads a query that consists of `parameter` alone, as often as there are permissions.
    ///
    /// Anything else in it is refused: a misspelt parameter would otherwise be a door that asks for nothing.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`].
    pub(super) fn read(query: &str, parameter: &str) -> Result<Self, Refusal> {
        let mut required = Vec::new();
        for (name, permission) in form_urlencoded::parse(query.as_bytes()) {
            if name != parameter {
                return Err(Refusal::InvalidRequest(
                    "the query has a parameter that this address does not take",
                ));
            }
            if permission.is_empty() {
                return Err(Refusal::InvalidRequest(
                    "a permission in the query is empty",
                ));
            }
            let permission = permission.into_owned();
            if !required.contains(&permission) {
                required.push(permission);
            }
        }
        Ok(Self(required.into()))
    }

    /// Those in a query that others have written to as well.
    pub(super) fn among(query: &str, parameter: &str) -> Self {
        let mut required = Vec::new();
        for (name, permission) in form_urlencoded::parse(query.as_bytes()) {
            if name == parameter {
                required.push(permission.into_owned());
            }
        }
        Self(required.into())
    }

    /// For the decision log.
    pub(super) fn note(&self, trail: &Trail<'_>) {
        if !self.0.is_empty() {
            trail.requires(&self.0);
        }
    }

    /// Whether the user has them all.
    ///
    /// # Errors
    /// [`Refusal::InsufficientScope`].
    pub(super) fn of(&self, user: &User) -> Result<(), Refusal> {
        let missing: Vec<String> = self
            .0
            .iter()
            .filter(|permission| !user.permissions.contains(permission))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::InsufficientScope {
            required: self.0.to_vec(),
            missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_refused() {
        let table: [(&str, Option<&[&str]>); 11] = [
            ("", Some(&[])),
            ("require=a", Some(&["a"])),
            ("require=b&require=a&require=b", Some(&["b", "a"])),
            ("require=read%3Asongs", Some(&["read:songs"])),
            ("require=read+all", Some(&["read all"])),
            ("require=%C3%A9", Some(&["é"])),
            ("require", None),
            ("require=", None),
            ("requires=a", None),
            ("Require=a", None),
            ("require=a&page=2", None),
        ];
        for (query, expected) in table {
            let read = Required::read(query, "require");
            let read = read
                .as_ref()
                .ok()
                .map(|required| required.0.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(read.as_deref(), expected, "{query}");
        }
    }
}

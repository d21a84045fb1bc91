//! How a permission names an action on a type of resource, both ways.
//!
//! The default `{action}:{resource type}` writes `read:record`, which is every record; `read:record:record-1` is that one
//! alone. [`PermissionFormat::write`] writes only what [`PermissionFormat::read`] reads back as the same: names that would
//! be read as others, such as a type `record:record-1`, name no permission. So nobody gets at one record's permission by
//! asking about a type that is called like it.

use std::str::FromStr;

const ACTION: &str = "{action}";
const RESOURCE_TYPE: &str = "{resource type}";
/// Before the id of the one resource that a permission is limited to.
const ONE: char = ':';

/// `authz.permission_format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionFormat {
    before: String,
    between: String,
    action_first: bool,
}

/// What a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant<'a> {
    pub action: &'a str,
    pub resource_type: &'a str,
    /// The one resource; `None` is every resource of the type.
    pub resource_id: Option<&'a str>,
}

/// The format cannot be read back without doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a format")]
pub struct NotAFormat;

impl Default for PermissionFormat {
    fn default() -> Self {
        Self {
            before: String::new(),
            between: ONE.to_string(),
            action_first: true,
        }
    }
}

impl FromStr for PermissionFormat {
    type Err = NotAFormat;

    /// Each placeholder once, the second one at the end, and between them something that is no part of a name.
    fn from_str(text: &str) -> Result<Self, NotAFormat> {
        let (action, resource_type) = (text.find(ACTION), text.find(RESOURCE_TYPE));
        let (Some(action), Some(resource_type)) = (action, resource_type) else {
            return Err(NotAFormat);
        };
        let action_first = action < resource_type;
        let (first, second) = if action_first {
            (ACTION, RESOURCE_TYPE)
        } else {
            (RESOURCE_TYPE, ACTION)
        };
        let (before, rest) = text.split_once(first).ok_or(NotAFormat)?;
        let between = rest.strip_suffix(second).ok_or(NotAFormat)?;
        let is_plain = |part: &str| !part.contains(['{', '}', '\0']);
        let parts_names = !between.is_empty()
            && !between
                .chars()
                .any(|c| c.is_alphanumeric() || c.is_whitespace());
        if !is_plain(before) || !is_plain(between) || !parts_names {
            return Err(NotAFormat);
        }
        Ok(Self {
            before: before.to_owned(),
            between: between.to_owned(),
            action_first,
        })
    }
}

impl PermissionFormat {
    /// What a permission allows; `None` for one of another form, which allows nothing here.
    pub fn read<'a>(&self, permission: &'a str) -> Option<Grant<'a>> {
        let (first, rest) = permission
            .strip_prefix(self.before.as_str())?
            .split_once(self.between.as_str())?;
        let (second, resource_id) = match rest.split_once(ONE) {
            Some((second, id)) => (second, Some(id)),
            None => (rest, None),
        };
        let (action, resource_type) = if self.action_first {
            (first, second)
        } else {
            (second, first)
        };
        let is_whole = !action.is_empty() && !resource_type.is_empty() && resource_id != Some("");
        is_whole.then_some(Grant {
            action,
            resource_type,
            resource_id,
        })
    }

    /// The permission for an action on every resource of a type; `None` if no permission can say that.
    pub fn write(&self, action: &str, resource_type: &str) -> Option<String> {
        let (first, second) = if self.action_first {
            (action, resource_type)
        } else {
            (resource_type, action)
        };
        let permission = format!("{}{first}{}{second}", self.before, self.between);
        let meant = Grant {
            action,
            resource_type,
            resource_id: None,
        };
        // PostgreSQL's text knows no NUL.
        let is_text = !permission.contains('\0');
        (is_text && self.read(&permission) == Some(meant)).then_some(permission)
    }

    /// Limits a permission that [`PermissionFormat::write`] wrote to one resource.
    pub fn limit(permission: &str, resource_id: &str) -> String {
        format!("{permission}{ONE}{resource_id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_cannot_be_read_back_is_refused() {
        let table = [
            ("{action}:{resource type}", true),
            ("{resource type}:{action}", true),
            ("{resource type}.{action}", true),
            ("app/{action}::{resource type}", true),
            ("", false),
            ("{action}", false),
            ("{action}{resource type}", false),
            ("{action} {resource type}", false),
            ("{action}on{resource type}", false),
            ("{action}:{resource type}!", false),
            ("{action}:{resource type}:{action}", false),
            ("{action}:{action}:{resource type}", false),
            ("{action}:{type}", false),
            ("{{action}:{resource type}", false),
        ];
        for (text, fits) in table {
            assert_eq!(text.parse::<PermissionFormat>().is_ok(), fits, "{text}");
        }
        assert_eq!(
            "{action}:{resource type}".parse(),
            Ok(PermissionFormat::default())
        );
    }

    #[test]
    fn a_permission_is_read_as_it_is_written() {
        let table = [
            (
                "{action}:{resource type}",
                "read:record",
                Some(("read", "record", None)),
            ),
            (
                "{action}:{resource type}",
                "read:record:1",
                Some(("read", "record", Some("1"))),
            ),
            (
                "{action}:{resource type}",
                "read:record:a:b",
                Some(("read", "record", Some("a:b"))),
            ),
            ("{action}:{resource type}", "read", None),
            ("{action}:{resource type}", "read:", None),
            ("{action}:{resource type}", ":record", None),
            ("{action}:{resource type}", "read:record:", None),
            (
                "{resource type}:{action}",
                "art:sell:7",
                Some(("sell", "art", Some("7"))),
            ),
            (
                "{resource type}.{action}",
                "art.sell:7",
                Some(("sell", "art", Some("7"))),
            ),
            (
                "app/{action}/{resource type}",
                "app/read/art",
                Some(("read", "art", None)),
            ),
            ("app/{action}/{resource type}", "read/art", None),
        ];
        for (format, permission, expected) in table {
            let format: PermissionFormat = format.parse().unwrap();
            let read = format.read(permission);
            let parts = read.map(|g| (g.action, g.resource_type, g.resource_id));
            assert_eq!(parts, expected, "{permission}");
            if let Some(grant) = read {
                let all = format.write(grant.action, grant.resource_type).unwrap();
                let id = grant.resource_id;
                let again = id.map_or(all.clone(), |id| PermissionFormat::limit(&all, id));
                assert_eq!(again, permission);
            }
        }
    }

    #[test]
    fn names_that_would_be_read_as_something_else_name_no_permission() {
        let colon = PermissionFormat::default();
        for (action, resource_type) in [
            ("read", "record:record-1"),
            ("read:record", "record-1"),
            ("", "record"),
            ("read", ""),
            ("read", "rec\0ord"),
        ] {
            assert_eq!(
                colon.write(action, resource_type),
                None,
                "{action} {resource_type}"
            );
        }
        let dot: PermissionFormat = "{resource type}.{action}".parse().unwrap();
        assert_eq!(dot.write("b.c", "a").as_deref(), Some("a.b.c"));
        assert_eq!(dot.write("c", "a.b"), None);
        assert_eq!(dot.write("sell:7", "art"), None);
    }
}

//! `OpenID` `AuthZEN` Authorization API 1.0: a program asks what a user may do, in the standard's words.
//!
//! ```text
//!  request ─► callers (who asks, and may they) ─► subjects (whom is it about) ─► decision: permissions of Postgres
//! ```
//!
//! Promises: a decision is `true` only if the user is found without doubt, is not blocked, and holds the permission that
//! names the action on the resource ([`PermissionFormat`]). Properties and context are what the caller says: they are
//! accepted and change nothing. Whoever a search finds is evaluated before it is told.

pub(super) mod callers;
pub(super) mod page;
pub(super) mod request;
pub(super) mod subjects;

use std::collections::BTreeSet;

use crate::config::PermissionFormat;

/// Whether who holds `permissions` may do that.
pub(super) fn permits(
    format: &PermissionFormat,
    permissions: &[String],
    action: &str,
    resource_type: &str,
    resource_id: &str,
) -> bool {
    let Some(every) = format.write(action, resource_type) else {
        return false;
    };
    let holds = |wanted: &str| permissions.iter().any(|held| held == wanted);
    holds(&every) || !resource_id.is_empty() && holds(&PermissionFormat::limit(&every, resource_id))
}

/// The permissions of which one is enough to do that.
pub(super) fn enough(
    format: &PermissionFormat,
    action: &str,
    resource_type: &str,
    resource_id: &str,
) -> Vec<String> {
    let is_text = !resource_id.is_empty() && !resource_id.contains('\0');
    format
        .write(action, resource_type)
        .map_or_else(Vec::new, |every| {
            let one = is_text.then(|| PermissionFormat::limit(&every, resource_id));
            [Some(every), one].into_iter().flatten().collect()
        })
}

/// The resources of a type on which who holds `permissions` may do that, as far as these name resources.
pub(super) fn resources(
    format: &PermissionFormat,
    permissions: &[String],
    action: &str,
    resource_type: &str,
) -> Vec<String> {
    let named: BTreeSet<&str> = permissions
        .iter()
        .filter_map(|permission| format.read(permission))
        .filter(|grant| grant.resource_type == resource_type)
        .filter_map(|grant| grant.resource_id)
        .collect();
    let may = |id: &&str| permits(format, permissions, action, resource_type, id);
    named.into_iter().filter(may).map(str::to_owned).collect()
}

/// Whether that may be done on every resource of the type, named or not.
pub(super) fn permits_on_every(
    format: &PermissionFormat,
    permissions: &[String],
    action: &str,
    resource_type: &str,
) -> bool {
    permits(format, permissions, action, resource_type, "")
}

/// What who holds `permissions` may do with a resource.
pub(super) fn actions(
    format: &PermissionFormat,
    permissions: &[String],
    resource_type: &str,
    resource_id: &str,
) -> Vec<String> {
    let on_it: BTreeSet<&str> = permissions
        .iter()
        .filter_map(|permission| format.read(permission))
        .filter(|grant| grant.resource_type == resource_type)
        .filter(|grant| grant.resource_id.is_none_or(|id| id == resource_id))
        .map(|grant| grant.action)
        .collect();
    on_it.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: [&str; 6] = [
        "read:record",
        "write:record:1",
        "read:secret:1",
        "read:secret:x:y",
        "odd",
        "delete:record:",
    ];

    fn held() -> Vec<String> {
        HELD.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_permission_is_for_every_resource_or_for_the_one_it_names() {
        let table = [
            ("read", "record", "1", true),
            ("read", "record", "2", true),
            ("write", "record", "1", true),
            ("write", "record", "2", false),
            ("write", "record", "", false),
            ("delete", "record", "", false),
            ("read", "secret", "2", false),
            ("read", "secret", "x:y", true),
            ("read", "secret:1", "2", false),
            ("read", "secret:1", "", false),
            ("read:secret", "1", "2", false),
            ("READ", "record", "1", false),
            ("odd", "", "", false),
        ];
        let format = PermissionFormat::default();
        for (action, kind, id, expected) in table {
            let decision = permits(&format, &held(), action, kind, id);
            assert_eq!(decision, expected, "{action} {kind} {id}");
            let enough = enough(&format, action, kind, id);
            let by_search = enough.iter().any(|wanted| HELD.contains(&wanted.as_str()));
            assert_eq!(by_search, expected, "search: {action} {kind} {id}");
        }
    }

    #[test]
    fn what_is_found_is_permitted() {
        let format = PermissionFormat::default();
        assert_eq!(resources(&format, &held(), "read", "record"), ["1"]);
        assert_eq!(resources(&format, &held(), "read", "secret"), ["1", "x:y"]);
        assert!(resources(&format, &held(), "write", "secret").is_empty());
        assert!(permits_on_every(&format, &held(), "read", "record"));
        assert!(!permits_on_every(&format, &held(), "write", "record"));
        assert_eq!(actions(&format, &held(), "record", "1"), ["read", "write"]);
        assert_eq!(actions(&format, &held(), "record", "2"), ["read"]);
        assert!(actions(&format, &held(), "spaceship", "1").is_empty());
    }
}

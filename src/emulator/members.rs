//! What a user has: `/api/v2/users/{id}/roles`, `…/permissions` and the effective ones.

use serde::Deserialize;
use serde_json::json;
use warp::{Reply, http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    errors::{ApiError, json_response},
    limits::Class,
    management::Needs,
    parameters::{Checkpoint, Page, known, required},
    rbac::{Permission, Source},
    roles::empty,
    tenant::Guard,
};

/// Reading who has a role takes all of these (descriptions of 403 in the schema).
pub(super) const ROLE_READS: &[&str] = &["read:users", "read:roles", "read:role_members"];

/// A body that names permissions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Permissions {
    permissions: Vec<Permission>,
}

impl Permissions {
    /// # Errors
    /// 400 for none.
    pub(super) fn some(self) -> Result<Vec<Permission>, ApiError> {
        some("permissions", self.permissions)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: Vec<String>,
}

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    let ["users", _, what] = path else {
        return None;
    };
    Some(match (method, *what) {
        ("GET", "roles") => roles,
        ("POST", "roles") => assign,
        ("DELETE", "roles") => unassign,
        ("GET", "permissions") => permissions,
        ("POST", "permissions") => grant,
        ("DELETE", "permissions") => withdraw,
        ("GET", "effective-roles") => effective_roles,
        ("GET", "effective-permissions") => effective_permissions,
        _ => return None,
    })
}

fn roles(call: &Call) -> Response {
    call.answer(Class::Others, Needs::All(ROLE_READS), |_| {
        known(&call.parameters, Page::NAMES)?;
        let page = Page::read(&call.parameters)?;
        let user = call.user()?;
        let rbac = call.tenant.rbac.guard();
        let roles = rbac
            .roles_of(&user.user_id)
            .map(|role| json!(role))
            .collect();
        Ok(json_response(StatusCode::OK, &page.of("roles", roles)))
    })
}

fn assign(call: &Call) -> Response {
    const SCOPES: &[&str] = &["update:users", "create:role_members"];
    call.answer(
        Class::Others,
        Needs::role_writes(&call.tenant, SCOPES),
        |_| {
            let ids = some("roles", call.body::<Roles>()?.roles)?;
            let user = call.user()?;
            let now = call.tenant.clock.now();
            call.tenant.rbac.guard().assign(&user.user_id, &ids, now)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        },
    )
}

fn unassign(call: &Call) -> Response {
    const SCOPES: &[&str] = &["update:users", "delete:role_members"];
    call.answer(
        Class::Others,
        Needs::role_writes(&call.tenant, SCOPES),
        |_| {
            let ids = some("roles", call.body::<Roles>()?.roles)?;
            let user = call.user()?;
            call.tenant.rbac.guard().unassign(&user.user_id, &ids)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        },
    )
}

fn permissions(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:users"]), |_| {
        known(&call.parameters, Page::NAMES)?;
        let page = Page::read(&call.parameters)?;
        let user = call.user()?;
        let permissions = call.tenant.rbac.guard().permissions_of(&user.user_id);
        let shown = permissions
            .iter()
            .map(|(permission, sources)| {
                let mut shown = permission.shown();
                shown["sources"] = sources.iter().map(Source::shown).collect();
                shown
            })
            .collect();
        Ok(json_response(
            StatusCode::OK,
            &page.of("permissions", shown),
        ))
    })
}

fn grant(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:users"]), |_| {
        let permissions = call.body::<Permissions>()?.some()?;
        let user = call.user()?;
        let options = call.tenant.options();
        let mut rbac = call.tenant.rbac.guard();
        rbac.grant(&user.user_id, permissions, &options)?;
        Ok(empty(StatusCode::CREATED))
    })
}

fn withdraw(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:users"]), |_| {
        let permissions = call.body::<Permissions>()?.some()?;
        let user = call.user()?;
        call.tenant
            .rbac
            .guard()
            .withdraw(&user.user_id, &permissions);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// There are no groups here, so all roles are direct.
fn effective_roles(call: &Call) -> Response {
    const SCOPES: Needs<'_> = Needs::Any(&["read:user_effective_roles"]);
    call.answer(Class::Others, SCOPES, |_| {
        known(&call.parameters, Checkpoint::NAMES)?;
        let checkpoint = Checkpoint::read(&call.parameters)?;
        let user = call.user()?;
        let rbac = call.tenant.rbac.guard();
        let mut roles: Vec<_> = rbac
            .roles_of(&user.user_id)
            .map(|role| {
                let description = role.description.as_deref().unwrap_or_default();
                let shown = json!({
                    "id": role.id, "name": role.name, "description": description, "sources": ["direct"],
                });
                (role.id.clone(), shown)
            })
            .collect();
        roles.sort_by(|(one, _), (other, _)| one.cmp(other));
        let body = checkpoint.of("roles", roles.into_iter());
        Ok(json_response(StatusCode::OK, &body))
    })
}

fn effective_permissions(call: &Call) -> Response {
    const SCOPES: Needs<'_> = Needs::Any(&["read:user_effective_permissions"]);
    call.answer(Class::Others, SCOPES, |_| {
        let names = [Checkpoint::NAMES, &["resource_server_identifier"]].concat();
        known(&call.parameters, &names)?;
        let checkpoint = Checkpoint::read(&call.parameters)?;
        let api = required(&call.parameters, "resource_server_identifier")?;
        let user = call.user()?;
        let permissions = call.tenant.rbac.guard().permissions_of(&user.user_id);
        let of_api = permissions
            .into_iter()
            .filter(|(permission, _)| permission.resource_server_identifier == api)
            .map(|(permission, sources)| {
                let mut shown = permission.shown();
                let is_direct = |source: &Source| *source == Source::Direct;
                let mut kinds = Vec::new();
                if sources.iter().any(is_direct) {
                    kinds.push("direct");
                }
                if !sources.iter().all(is_direct) {
                    kinds.push("roles");
                }
                shown["sources"] = json!(kinds);
                (permission.permission_name, shown)
            });
        let body = checkpoint.of("permissions", of_api);
        Ok(json_response(StatusCode::OK, &body))
    })
}

fn some<T>(name: &str, items: Vec<T>) -> Result<Vec<T>, ApiError> {
    match items.is_empty() {
        true => Err(ApiError::invalid_body(format_args!(
            "'Array is too short (0), minimum 1' on property {name}"
        ))),
        false => Ok(items),
    }
}

//! `/api/v2/roles`: the roles, their permissions and their members. Creating one answers 200, as recorded.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    api::{Call, Handler},
    clock::iso,
    errors::{ApiError, json_response},
    limits::Class,
    management::Needs,
    members::{Permissions, ROLE_READS},
    parameters::{Checkpoint, Page, known},
    rbac::Permission,
    tenant::{Guard, SharedGuard},
};

pub(super) fn handler(method: &str, path: &[&str]) -> Option<Handler> {
    Some(match (method, path) {
        ("GET", ["roles"]) => list,
        ("POST", ["roles"]) => create,
        ("GET", ["roles", _]) => read,
        ("PATCH", ["roles", _]) => update,
        ("DELETE", ["roles", _]) => delete,
        ("GET", ["roles", _, "permissions"]) => permissions,
        ("POST", ["roles", _, "permissions"]) => grant,
        ("DELETE", ["roles", _, "permissions"]) => withdraw,
        ("GET", ["roles", _, "users"]) => users,
        ("POST", ["roles", _, "users"]) => assign,
        _ => return None,
    })
}

fn list(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:roles"]), |_| {
        known(&call.parameters, &[Page::NAMES, &["name_filter"]].concat())?;
        let page = Page::read(&call.parameters)?;
        let filter = call
            .parameters
            .get("name_filter")
            .map(|name| name.to_lowercase());
        let rbac = call.tenant.rbac.guard();
        let roles = rbac
            .roles()
            .filter(|role| {
                filter
                    .as_ref()
                    .is_none_or(|name| role.name.to_lowercase().contains(name))
            })
            .map(|role| json!(role))
            .collect();
        Ok(json_response(StatusCode::OK, &page.of("roles", roles)))
    })
}

fn create(call: &Call) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct New {
        name: String,
        description: Option<String>,
    }
    call.answer(Class::Others, Needs::Any(&["create:roles"]), |_| {
        let new: New = call.body()?;
        let role = call.tenant.rbac.guard().create(new.name, new.description)?;
        Ok(json_response(StatusCode::OK, &role))
    })
}

fn read(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:roles"]), |_| {
        let rbac = call.tenant.rbac.guard();
        Ok(json_response(StatusCode::OK, rbac.role(call.part(1))?))
    })
}

fn update(call: &Call) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Change {
        name: Option<String>,
        description: Option<String>,
    }
    call.answer(Class::Others, Needs::Any(&["update:roles"]), |_| {
        let change: Change = call.body()?;
        let mut rbac = call.tenant.rbac.guard();
        let role = rbac.rename(call.part(1), change.name, change.description)?;
        Ok(json_response(StatusCode::OK, &role))
    })
}

fn delete(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["delete:roles"]), |_| {
        call.tenant.rbac.guard().delete(call.part(1))?;
        Ok(empty(StatusCode::OK))
    })
}

fn permissions(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["read:roles"]), |_| {
        known(&call.parameters, Page::NAMES)?;
        let page = Page::read(&call.parameters)?;
        let rbac = call.tenant.rbac.guard();
        let permissions = &rbac.role(call.part(1))?.permissions;
        let shown = permissions.iter().map(Permission::shown).collect();
        Ok(json_response(
            StatusCode::OK,
            &page.of("permissions", shown),
        ))
    })
}

fn grant(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:roles"]), |_| {
        let permissions = call.body::<Permissions>()?.some()?;
        let options = call.tenant.options();
        let mut rbac = call.tenant.rbac.guard();
        rbac.grant_to_role(call.part(1), permissions, &options)?;
        Ok(empty(StatusCode::CREATED))
    })
}

/// 204 was recorded where the schema says 200.
fn withdraw(call: &Call) -> Response {
    call.answer(Class::Others, Needs::Any(&["update:roles"]), |_| {
        let permissions = call.body::<Permissions>()?.some()?;
        let mut rbac = call.tenant.rbac.guard();
        rbac.withdraw_from_role(call.part(1), &permissions)?;
        Ok(warp::Reply::into_response(StatusCode::NO_CONTENT))
    })
}

/// By page, or by checkpoint where there is a `take` or a `from`.
fn users(call: &Call) -> Response {
    call.answer(Class::Others, Needs::All(ROLE_READS), |_| {
        known(&call.parameters, &[Page::NAMES, Checkpoint::NAMES].concat())?;
        let members: Vec<(String, String)> = {
            let rbac = call.tenant.rbac.guard();
            let members = &rbac.role(call.part(1))?.members;
            let keyed = |(since, id): &(_, String)| (format!("{},{id}", iso(*since)), id.clone());
            members.iter().map(keyed).collect()
        };
        let directory = call.tenant.directory.read_guard();
        let members = members.into_iter().filter_map(|(key, id)| {
            let user = directory.get(&id)?;
            let mut shown = json!({"user_id": user.user_id, "email": user.email, "picture": user.picture, "name": user.name});
            if let Value::Object(shown) = &mut shown {
                shown.retain(|_, value| !value.is_null());
            }
            Some((key, shown))
        });
        let by_checkpoint = Checkpoint::NAMES
            .iter()
            .any(|name| call.parameters.contains_key(*name));
        let body = match by_checkpoint {
            true => Checkpoint::read(&call.parameters)?.of("users", members).into(),
            false => {
                let members = members.map(|(_, shown)| shown).collect();
                Page::read(&call.parameters)?.of("users", members)
            }
        };
        Ok(json_response(StatusCode::OK, &body))
    })
}

fn assign(call: &Call) -> Response {
    const SCOPES: &[&str] = &["update:roles", "create:role_members"];
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Users {
        users: Vec<String>,
    }
    call.answer(
        Class::Others,
        Needs::role_writes(&call.tenant, SCOPES),
        |_| {
            let users = call.body::<Users>()?.users;
            {
                let directory = call.tenant.directory.read_guard();
                if users.iter().any(|id| directory.get(id).is_none()) {
                    return Err(ApiError::no_such_user());
                }
            }
            let now = call.tenant.clock.now();
            let mut rbac = call.tenant.rbac.guard();
            let role = [rbac.role(call.part(1))?.id.clone()];
            for user in users {
                rbac.assign(&user, &role, now)?;
            }
            Ok(empty(StatusCode::OK))
        },
    )
}

/// `{}`.
pub(super) fn empty(status: StatusCode) -> Response {
    json_response(status, &Map::<String, Value>::new())
}

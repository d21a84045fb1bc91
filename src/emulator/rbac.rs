//! The tenant's roles and permissions, who has them, and through what. Pure: no HTTP, no clock of its own.
//!
//! Assigning and granting only ever add. Limits are Auth0's (docs: entity-limit-policy).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::{errors::ApiError, grants::letters, options::Options};

const MAX_ROLES: usize = 1000;
const MAX_ROLES_OF_USER: usize = 50;
const MAX_PERMISSIONS: usize = 1000;

/// A permission of one API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Permission {
    pub(super) resource_server_identifier: String,
    pub(super) permission_name: String,
}

/// A role.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Role {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip)]
    pub(super) permissions: BTreeSet<Permission>,
    /// Who has it and since when, which is the order Auth0 lists them in.
    #[serde(skip)]
    pub(super) members: BTreeSet<(Timestamp, String)>,
}

/// What a user's permission comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Direct,
    Role { id: String, name: String },
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Rbac {
    roles: Vec<Role>,
    direct: HashMap<String, BTreeSet<Permission>>,
}

impl Rbac {
    pub(super) fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter()
    }

    /// # Errors
    /// 404 for no such role.
    pub(super) fn role(&self, id: &str) -> Result<&Role, ApiError> {
        self.roles
            .iter()
            .find(|role| role.id == id)
            .ok_or_else(no_such_role)
    }

    fn role_mut(&mut self, id: &str) -> Result<&mut Role, ApiError> {
        self.roles
            .iter_mut()
            .find(|role| role.id == id)
            .ok_or_else(no_such_role)
    }

    /// # Errors
    /// 409 for a name that is taken, 403 beyond a thousand.
    pub(super) fn create(
        &mut self,
        name: String,
        description: Option<String>,
    ) -> Result<Role, ApiError> {
        self.name_is_free(&name, None)?;
        within(self.roles.len() + 1, MAX_ROLES)?;
        let role = Role {
            id: format!("rol_{}", letters(16)),
            name,
            description,
            permissions: BTreeSet::new(),
            members: BTreeSet::new(),
        };
        self.roles.push(role.clone());
        Ok(role)
    }

    /// # Errors
    /// 404 for no such role, 409 for a name that is taken.
    pub(super) fn rename(
        &mut self,
        id: &str,
        name: Option<String>,
        description: Option<String>,
    ) -> Result<Role, ApiError> {
        if let Some(name) = &name {
            self.role(id)?;
            self.name_is_free(name, Some(id))?;
        }
        let role = self.role_mut(id)?;
        role.name = name.unwrap_or_else(|| role.name.clone());
        role.description = description.or_else(|| role.description.take());
        Ok(role.clone())
    }

    fn name_is_free(&self, name: &str, of: Option<&str>) -> Result<(), ApiError> {
        let taken = |role: &Role| role.name == name && Some(role.id.as_str()) != of;
        match self.roles.iter().any(taken) {
            true => Err(ApiError::new(
                StatusCode::CONFLICT,
                None,
                "The role already exists.",
            )),
            false => Ok(()),
        }
    }

    /// Deletes a role, which takes it from everybody.
    ///
    /// # Errors
    /// 404 for no such role.
    pub(super) fn delete(&mut self, id: &str) -> Result<(), ApiError> {
        self.role(id)?;
        self.roles.retain(|role| role.id != id);
        Ok(())
    }

    /// Gives a user roles; those the user has stay as they are.
    ///
    /// # Errors
    /// 404 for no such role, 403 beyond fifty; either way nothing was given.
    pub(super) fn assign(
        &mut self,
        user_id: &str,
        ids: &[String],
        now: Timestamp,
    ) -> Result<(), ApiError> {
        for id in ids {
            self.role(id)?;
        }
        let mut after: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        after.extend(self.roles_of(user_id).map(|role| role.id.as_str()));
        within(after.len(), MAX_ROLES_OF_USER)?;
        for id in ids {
            let role = self.role_mut(id)?;
            if !role.has(user_id) {
                role.members.insert((now, user_id.to_owned()));
            }
        }
        Ok(())
    }

    /// Takes roles from a user.
    ///
    /// # Errors
    /// 404 for no such role; nothing was taken.
    pub(super) fn unassign(&mut self, user_id: &str, ids: &[String]) -> Result<(), ApiError> {
        for id in ids {
            self.role(id)?;
        }
        for id in ids {
            self.role_mut(id)?
                .members
                .retain(|(_, member)| member != user_id);
        }
        Ok(())
    }

    pub(super) fn roles_of(&self, user_id: &str) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(move |role| role.has(user_id))
    }

    /// Adds permissions to a role.
    ///
    /// # Errors
    /// 404 for no such role or permission, 403 beyond a thousand.
    pub(super) fn grant_to_role(
        &mut self,
        id: &str,
        permissions: Vec<Permission>,
        options: &Options,
    ) -> Result<(), ApiError> {
        let role = self.role_mut(id)?;
        add(&mut role.permissions, permissions, options)
    }

    /// Takes permissions from a role; those it has not do not matter.
    ///
    /// # Errors
    /// 404 for no such role.
    pub(super) fn withdraw_from_role(
        &mut self,
        id: &str,
        permissions: &[Permission],
    ) -> Result<(), ApiError> {
        let role = self.role_mut(id)?;
        role.permissions.retain(|has| !permissions.contains(has));
        Ok(())
    }

    /// Adds permissions to a user.
    ///
    /// # Errors
    /// 404 for no such permission, 403 beyond a thousand.
    pub(super) fn grant(
        &mut self,
        user_id: &str,
        permissions: Vec<Permission>,
        options: &Options,
    ) -> Result<(), ApiError> {
        add(
            self.direct.entry(user_id.to_owned()).or_default(),
            permissions,
            options,
        )
    }

    /// Takes a user's own permissions; those the user has not do not matter.
    pub(super) fn withdraw(&mut self, user_id: &str, permissions: &[Permission]) {
        if let Some(direct) = self.direct.get_mut(user_id) {
            direct.retain(|has| !permissions.contains(has));
        }
    }

    /// What a user may do, and through what.
    pub(super) fn permissions_of(&self, user_id: &str) -> BTreeMap<Permission, Vec<Source>> {
        let mut found: BTreeMap<Permission, Vec<Source>> = BTreeMap::new();
        for permission in self.direct.get(user_id).into_iter().flatten() {
            found
                .entry(permission.clone())
                .or_default()
                .push(Source::Direct);
        }
        for role in self.roles_of(user_id) {
            for permission in &role.permissions {
                found
                    .entry(permission.clone())
                    .or_default()
                    .push(Source::Role {
                        id: role.id.clone(),
                        name: role.name.clone(),
                    });
            }
        }
        found
    }

    /// Forgets a user who is gone.
    pub(super) fn forget(&mut self, user_id: &str) {
        self.direct.remove(user_id);
        for role in &mut self.roles {
            role.members.retain(|(_, member)| member != user_id);
        }
    }
}

impl Role {
    fn has(&self, user_id: &str) -> bool {
        self.members.iter().any(|(_, member)| member == user_id)
    }
}

impl Permission {
    /// As lists show it. The API's name is its identifier, the description the permission's name.
    pub(super) fn shown(&self) -> Value {
        json!({
            "permission_name": self.permission_name, "description": self.permission_name,
            "resource_server_name": self.resource_server_identifier,
            "resource_server_identifier": self.resource_server_identifier,
        })
    }

    fn exists(&self, options: &Options) -> bool {
        options.audiences.contains(&self.resource_server_identifier)
            && options.api_scopes.contains(&self.permission_name)
    }
}

impl Source {
    /// As recorded.
    pub(super) fn shown(&self) -> Value {
        match self {
            Self::Direct => json!({"source_id": "", "source_name": "", "source_type": "DIRECT"}),
            Self::Role { id, name } => {
                json!({"source_id": id, "source_name": name, "source_type": "ROLE"})
            }
        }
    }
}

fn add(
    to: &mut BTreeSet<Permission>,
    permissions: Vec<Permission>,
    options: &Options,
) -> Result<(), ApiError> {
    if let Some(unknown) = permissions
        .iter()
        .find(|permission| !permission.exists(options))
    {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            Some("inexistent_resource_server_permission"),
            format!(
                "This permission does not exist: '{} - {}'",
                unknown.resource_server_identifier, unknown.permission_name
            ),
        ));
    }
    let new = permissions
        .iter()
        .filter(|permission| !to.contains(permission))
        .count();
    within(to.len() + new, MAX_PERMISSIONS)?;
    to.extend(permissions);
    Ok(())
}

fn no_such_role() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, None, "The role does not exist.")
}

/// The code is what the field reports of other entities; it is not documented for these.
fn within(count: usize, most: usize) -> Result<(), ApiError> {
    match count <= most {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            Some("too_many_entities"),
            "You reached the limit of entities of this type for this tenant.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_fifty_roles_at_most_and_a_refused_assignment_gives_none() {
        let mut rbac = Rbac::default();
        let ids: Vec<String> = (0..51)
            .map(|n| rbac.create(format!("role {n}"), None).unwrap().id)
            .collect();
        assert!(
            rbac.assign("auth0|ann", &ids, Timestamp::UNIX_EPOCH)
                .is_err()
        );
        assert_eq!(rbac.roles_of("auth0|ann").count(), 0);
        assert!(
            rbac.assign("auth0|ann", &ids[1..], Timestamp::UNIX_EPOCH)
                .is_ok()
        );
        assert!(
            rbac.assign("auth0|ann", &ids[..1], Timestamp::UNIX_EPOCH)
                .is_err()
        );
        assert_eq!(rbac.roles_of("auth0|ann").count(), 50);
    }

    #[test]
    fn a_tenant_has_a_thousand_roles_at_most() {
        let mut rbac = Rbac::default();
        for n in 0..1000 {
            rbac.create(format!("role {n}"), None).unwrap();
        }
        let error = rbac.create("one more".into(), None).unwrap_err();
        assert_eq!(error.status, StatusCode::FORBIDDEN);
    }

    #[test]
    fn who_is_forgotten_has_neither_roles_nor_permissions() {
        let options = Options {
            api_scopes: vec!["read:songs".into()],
            ..Options::default()
        };
        let permission = Permission {
            resource_server_identifier: options.audiences[0].clone(),
            permission_name: "read:songs".into(),
        };
        let mut rbac = Rbac::default();
        let role = rbac.create("Artist".into(), None).unwrap().id;
        rbac.assign("auth0|ann", &[role], Timestamp::UNIX_EPOCH)
            .unwrap();
        rbac.grant("auth0|ann", vec![permission], &options).unwrap();
        rbac.forget("auth0|ann");
        assert_eq!(rbac.roles_of("auth0|ann").count(), 0);
        assert!(rbac.permissions_of("auth0|ann").is_empty());
    }
}

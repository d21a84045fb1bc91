//! Who is at the console and may do what, asked of Postgres at each request.

use maud::{Markup, html};

use super::{Console, page::Failure, session::Session};
use crate::{
    authz::person::Unknown,
    db::console::edit::{Author, WRITE},
};

const READ: &str = "roster:read";
const OPERATE: &str = "roster:operate";

/// One request of somebody who is known.
pub(super) struct Visit {
    /// As the pages greet them.
    pub(super) name: String,
    pub(super) author: Author,
    csrf: String,
    permissions: Option<Vec<String>>,
}

impl Visit {
    pub(super) async fn of(console: &Console, session: Session) -> Result<Self, Failure> {
        let csrf = session.csrf.clone();
        let Some(claims) = session.claims() else {
            let name = "break-glass token".to_owned();
            return Ok(Self {
                author: Author {
                    actor: name.clone(),
                    user_key: None,
                },
                name,
                csrf,
                permissions: None,
            });
        };
        let user = match console.authz.person(&claims).await {
            Ok(user) => user,
            Err(Unknown::Denied(denial)) => {
                return Err(Failure::Outside(denial.to_string(), csrf));
            }
            Err(Unknown::Unavailable) => return Err(Failure::Unreachable),
        };
        let key = user.key.as_str();
        let name = user.email.unwrap_or_else(|| format!("user {key}"));
        Ok(Self {
            author: Author {
                actor: format!("{name} (user {key})"),
                user_key: Some(key.to_owned()),
            },
            name,
            csrf,
            permissions: Some(user.permissions),
        })
    }

    fn has(&self, permission: &str) -> bool {
        let Some(permissions) = &self.permissions else {
            return true;
        };
        permissions.iter().any(|has| has == permission)
    }

    fn must(&self, permission: &'static str) -> Result<(), Failure> {
        match self.has(permission) {
            true => Ok(()),
            false => Err(Failure::Lacks(permission)),
        }
    }

    pub(super) fn may_read(&self) -> Result<(), Failure> {
        self.must(READ)
    }

    pub(super) fn may_write(&self) -> Result<(), Failure> {
        self.must(WRITE)
    }

    pub(super) fn may_operate(&self) -> Result<(), Failure> {
        self.must(OPERATE)
    }

    pub(super) fn writes(&self) -> bool {
        self.has(WRITE)
    }

    pub(super) fn operates(&self) -> bool {
        self.has(OPERATE)
    }

    pub(super) fn reads(&self) -> bool {
        self.has(READ)
    }

    /// What each form holds.
    pub(super) fn csrf(&self) -> Markup {
        csrf(&self.csrf)
    }
}

pub(super) fn csrf(token: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(token); }
}

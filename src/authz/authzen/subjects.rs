//! Whom a request is about: `identity`, whose id is the `sub` of an account, or `user`, whose id is a key of the users table or
//! such a `sub`. An id that could mean two users means nobody, and so does one of any other type.

use std::collections::HashMap;

use super::{
    callers::{Asker, Person},
    request::Subject,
};
use crate::{
    authz::{Authz, rejection::Refusal, trail::Trail},
    db::directory::search::{self, Holder, Meant, Wanted},
};

pub(in crate::authz) const USER: &str = "user";
pub(in crate::authz) const IDENTITY: &str = "identity";

impl Authz {
    /// The user whom each of `subjects` means, from one state of the database; `None` has no permission.
    ///
    /// # Errors
    /// [`Refusal::CallerNotAllowed`] if a person asks about somebody else without being allowed to, or about nobody: the
    /// answer does not tell which.
    pub(in crate::authz) async fn holders(
        &self,
        asker: &Asker,
        subjects: &[&Subject],
        trail: &Trail<'_>,
    ) -> Result<Vec<Option<Holder>>, Refusal> {
        let mut places: HashMap<Wanted<'_>, usize> = HashMap::new();
        let mut wanted = Vec::new();
        for subject in subjects {
            if let Some(one) = lookup(subject) {
                places.entry(one).or_insert_with(|| {
                    wanted.push(one);
                    wanted.len() - 1
                });
            }
        }
        let wanted: &[Wanted<'_>] = match asker {
            Asker::Person(person) if wanted.iter().all(|one| is_token(person, one)) => &[],
            _ => &wanted,
        };
        if !wanted.is_empty() {
            trail.asked_database();
        }
        let found = search::holders(&self.pool, wanted).await?;
        subjects
            .iter()
            .map(|subject| {
                let one = lookup(subject);
                let meant = one
                    .and_then(|one| found.get(*places.get(&one)?))
                    .unwrap_or(&Meant::Nobody);
                match asker {
                    Asker::Program => Ok(holder(meant)),
                    Asker::Person(person) => about(person, one.as_ref(), meant),
                }
            })
            .collect()
    }
}

fn lookup(subject: &Subject) -> Option<Wanted<'_>> {
    let may_be_key = match subject.r#type.as_str() {
        USER => true,
        IDENTITY => false,
        _ => return None,
    };
    Some(Wanted {
        id: &subject.id,
        may_be_key,
    })
}

/// Whether it is the very account of the token, so that whose it is was found out already.
fn is_token(person: &Person, one: &Wanted<'_>) -> bool {
    !one.may_be_key && one.id == person.claims.subject.as_str()
}

fn holder(meant: &Meant) -> Option<Holder> {
    match meant {
        Meant::User(holder) => Some(holder.clone()),
        Meant::Nobody | Meant::Several => None,
    }
}

fn about(
    person: &Person,
    one: Option<&Wanted<'_>>,
    meant: &Meant,
) -> Result<Option<Holder>, Refusal> {
    let user = &person.known.user;
    let oneself = Holder {
        key: user.key.clone(),
        permissions: user.permissions.clone(),
    };
    let is_account = one.is_some_and(|one| one.id == person.claims.subject.as_str());
    let is_oneself = one.is_some_and(|one| is_token(person, one))
        || match meant {
            Meant::User(holder) => holder.key == user.key,
            // Matched by its address, and not remembered yet.
            Meant::Nobody => is_account,
            Meant::Several => false,
        };
    if is_oneself {
        Ok(Some(oneself))
    } else if person.may_ask_about_others() {
        Ok(holder(meant))
    } else {
        Err(Refusal::CallerNotAllowed)
    }
}

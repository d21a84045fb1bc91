//! Who asks: a program that `authz.callers` lists, by a token of its own or by a key, or a person with a token of theirs.

use std::sync::Arc;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use warp::http::HeaderMap;

use crate::{
    authz::{Authz, Known, bearer, rejection::Refusal, token::Claims, trail::Trail},
    config::{Caller, Credential},
};

/// The permission of a person who may ask about others.
const ASK_ABOUT_OTHERS: &str = "roster:evaluate";

/// What somebody may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::authz) enum Right {
    Evaluate,
    Search,
}

/// Who has shown who they are.
pub(in crate::authz) enum Asker {
    /// About anybody.
    Program,
    /// About themselves.
    Person(Box<Person>),
}

/// A person, as `GET /v1/me` would tell them.
pub(in crate::authz) struct Person {
    pub(in crate::authz) claims: Arc<Claims>,
    pub(in crate::authz) known: Known,
}

impl Person {
    pub(in crate::authz) fn may_ask_about_others(&self) -> bool {
        let mut held = self.known.user.permissions.iter();
        held.any(|permission| permission == ASK_ABOUT_OTHERS)
    }
}

impl Authz {
    /// Who asks, if they may ask at all; looked up once what the caller has written can be seen.
    ///
    /// # Errors
    /// 401 without credentials that hold; [`Refusal::CallerNotAllowed`] for a program that is not listed or has not this
    /// right; as [`Authz::identify`] for a person.
    pub(in crate::authz) async fn asker(
        &self,
        headers: &HeaderMap,
        query: &str,
        right: Right,
        trail: &Trail<'_>,
    ) -> Result<Asker, Refusal> {
        let claims = self.credentials(headers, query, right, trail).await?;
        let at_least = self.await_revision(headers).await?;
        let Some(claims) = claims else {
            return Ok(Asker::Program);
        };
        let known = self.identify(&claims, &at_least, trail).await?;
        Ok(Asker::Person(Box::new(Person { claims, known })))
    }

    /// Of a person, the token's claims; nothing of a program that has the right.
    async fn credentials(
        &self,
        headers: &HeaderMap,
        query: &str,
        right: Right,
        trail: &Trail<'_>,
    ) -> Result<Option<Arc<Claims>>, Refusal> {
        let callers = &self.settings.callers;
        let mut program = by_key(callers, bearer::token(headers, query)?);
        if program.is_none() {
            let claims = self.authenticate(headers, query, trail).await?;
            if !claims.machine {
                return Ok(Some(claims));
            }
            program = by_client_id(callers, claims.subject.as_str());
        }
        if let Some(program) = program {
            trail.asked_by(program);
        }
        let may = program.is_some_and(|program| match right {
            Right::Evaluate => program.evaluate,
            Right::Search => program.search,
        });
        may.then_some(None).ok_or(Refusal::CallerNotAllowed)
    }
}

/// The program of a client-credentials token. Its subject names the application; `azp` would too, but in people's tokens as well.
fn by_client_id<'a>(callers: &'a [Caller], subject: &str) -> Option<&'a Caller> {
    let client_id = subject.strip_suffix("@clients").unwrap_or(subject);
    callers
        .iter()
        .find(|caller| matches!(&caller.credential, Credential::ClientId(id) if id == client_id))
}

/// The program whose key this is. How long it takes says nothing of how much of a key is right.
fn by_key<'a>(callers: &'a [Caller], key: &str) -> Option<&'a Caller> {
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    let is_it = |caller: &&Caller| match &caller.credential {
        Credential::ApiKeySha256(known) => verify_slices_are_equal(known, hash.as_ref()).is_ok(),
        Credential::ClientId(_) => false,
    };
    // All of them, wherever the right one stands.
    callers.iter().filter(is_it).fold(None, |_, it| Some(it))
}

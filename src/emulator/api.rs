//! The calls of the Management API beyond users: one table of routes, and what each handler is given.
//!
//! `users.rs` has routes of its own, before these, since they must be fast; here it is enough that a call is easy to add.

use std::sync::Arc;

use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use warp::{
    Filter, Rejection,
    filters::BoxedFilter,
    http::{Method, StatusCode},
    reply::Response,
};

use super::{
    blocks, connections,
    errors::ApiError,
    identities, journal_calls,
    limits::Class,
    management::{Needs, Scopes, UserId, answer_needing},
    members,
    options::Plan,
    parameters::Parameters,
    profile::User,
    roles, session_calls,
    tenant::{SharedGuard, Tenant},
};

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) tenant: Arc<Tenant>,
    /// What follows `/api/v2/`, decoded.
    path: Vec<String>,
    pub(super) bearer: Option<String>,
    pub(super) parameters: Parameters,
    pub(super) body: Bytes,
}

/// Answers one kind of call.
pub(super) type Handler = fn(&Call) -> Response;

/// The routes of this part. A path that is not in the table is left to others, with its body.
pub(super) fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    let tenant = tenant.clone();
    warp::path!("api" / "v2" / ..)
        .and(warp::path::tail())
        .and(warp::method())
        .and_then(async |tail: warp::path::Tail, method: Method| find(&method, tail.as_str()))
        .and(warp::header::optional::<String>("authorization"))
        .and(warp::query::<Parameters>())
        .and(warp::body::bytes())
        .map(
            move |(handler, path): (Handler, Vec<String>), bearer, parameters, body| {
                handler(&Call {
                    tenant: tenant.clone(),
                    path,
                    bearer,
                    parameters,
                    body,
                })
            },
        )
        .boxed()
}

fn find(method: &Method, tail: &str) -> Result<(Handler, Vec<String>), Rejection> {
    let path: Vec<String> = tail
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let (method, parts) = (method.as_str(), parts.as_slice());
    roles::handler(method, parts)
        .or_else(|| members::handler(method, parts))
        .or_else(|| identities::handler(method, parts))
        .or_else(|| session_calls::handler(method, parts))
        .or_else(|| blocks::handler(method, parts))
        .or_else(|| journal_calls::handler(method, parts))
        .or_else(|| connections::handler(method, parts))
        .map(|handler| (handler, path))
        .ok_or_else(warp::reject::not_found)
}

impl Call {
    /// Answers after the token, its scopes and the rate limit were looked at.
    pub(super) fn answer(
        &self,
        class: Class,
        needs: Needs<'_>,
        work: impl FnOnce(&Scopes) -> Result<Response, ApiError>,
    ) -> Response {
        answer_needing(&self.tenant, self.bearer.as_deref(), class, needs, work)
    }

    /// One part of the path, counted from `/api/v2/`.
    pub(super) fn part(&self, place: usize) -> &str {
        self.path.get(place).map_or("", String::as_str)
    }

    /// The user named in the path, who is there.
    ///
    /// # Errors
    /// 400 for what is no id, 404 for nobody.
    pub(super) fn user(&self) -> Result<Arc<User>, ApiError> {
        let id = UserId::from(self.part(1));
        let user = self.tenant.directory.read_guard().get(id.get()?).cloned();
        user.ok_or_else(ApiError::no_such_user)
    }

    /// The body, as its schema says.
    ///
    /// # Errors
    /// 400 `invalid_body`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::invalid_body(format_args!("'{error}'")))
    }

    /// Docs reserve sessions and refresh tokens to Enterprise plans.
    ///
    /// # Errors
    /// 403 with the code that the answers say.
    pub(super) fn enterprise_only(&self) -> Result<(), ApiError> {
        let options = self.tenant.options();
        match options.plan {
            Plan::Free | Plan::Essentials | Plan::Professional => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                Some(options.answers.missing_feature.code()),
                "This feature is not enabled for this tenant.",
            )),
            _ => Ok(()),
        }
    }
}

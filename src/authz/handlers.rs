//! The endpoints: filters that route here, handlers that answer in a file each; what all answers share is in `answer`.

mod answer;
pub(super) mod authzen;
pub(super) mod check;
pub(super) mod forward;
pub(super) mod hook;
mod identity;
pub(super) mod me;
pub(super) mod probes;
mod required;

use std::{convert::Infallible, sync::Arc};

use serde::de::DeserializeOwned;
use warp::{
    Filter, Rejection, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, Response, header},
};

use self::{authzen::discovery, forward::Door};
use super::{Authz, endpoint::Endpoint, rejection::Refusal, trail::new_id};
use crate::http::{MAX_BODY, body, first_of};

/// A body that is one JSON object; none if it is not. serde would take a list for a struct, by position.
fn object<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    begins
        .filter(|byte| **byte == b'{')
        .and_then(|_| serde_json::from_slice(body).ok())
}

/// Every endpoint, and an answer for everything else.
pub fn routes(
    authz: Arc<Authz>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    endpoints(authz).recover(recover)
}

/// The endpoints alone, to be joined with another face on the same socket before [`recover`].
pub fn endpoints(authz: Arc<Authz>) -> BoxedFilter<(Response<String>,)> {
    first_of(Endpoint::ALL.map(|endpoint| route(endpoint, &authz)))
}

/// What leads to an endpoint.
fn route(endpoint: Endpoint, authz: &Arc<Authz>) -> BoxedFilter<(Response<String>,)> {
    let authz = authz.clone();
    let state = warp::any().map(move || authz.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let read = warp::get().or(warp::head()).unify();

    // What is asked about a user: the server, the headers, the query.
    let asked = state.clone().and(warp::header::headers_cloned()).and(query);
    let whole = |door| warp::any().map(move || door).and(asked.clone());
    let evaluated = |path: BoxedFilter<()>| {
        path.map(move || endpoint)
            .and(state.clone())
            .and(warp::method())
            .and(warp::header::headers_cloned())
            .and(query)
            .and(body(MAX_BODY))
            .then(authzen::ask)
            .boxed()
    };

    match endpoint {
        Endpoint::Me => warp::path!("v1" / "me")
            .and(read)
            .and(asked)
            .then(me::me)
            .boxed(),
        Endpoint::Check => warp::path!("v1" / "check")
            .and(read)
            .and(asked)
            .then(check::check)
            .boxed(),
        Endpoint::Nginx => warp::path!("auth" / "nginx" / ..)
            .and(warp::path::full())
            .and(asked)
            .then(forward::nginx)
            .boxed(),
        Endpoint::Traefik => warp::path!("auth" / "traefik")
            .and(whole(Door::Traefik))
            .then(forward::whole)
            .boxed(),
        Endpoint::Caddy => warp::path!("auth" / "caddy")
            .and(whole(Door::Caddy))
            .then(forward::whole)
            .boxed(),
        Endpoint::Envoy => warp::path!("auth" / "envoy" / ..)
            .and(warp::path::full())
            .and(asked)
            .then(forward::envoy)
            .boxed(),
        Endpoint::Hasura => warp::path!("auth" / "hasura")
            .and(warp::method())
            .and(asked)
            .and(body(MAX_BODY))
            .then(forward::hasura)
            .boxed(),
        Endpoint::Evaluation => evaluated(warp::path!("access" / "v1" / "evaluation").boxed()),
        Endpoint::Evaluations => evaluated(warp::path!("access" / "v1" / "evaluations").boxed()),
        Endpoint::SearchSubject => {
            evaluated(warp::path!("access" / "v1" / "search" / "subject").boxed())
        }
        Endpoint::SearchResource => {
            evaluated(warp::path!("access" / "v1" / "search" / "resource").boxed())
        }
        Endpoint::SearchAction => {
            evaluated(warp::path!("access" / "v1" / "search" / "action").boxed())
        }
        Endpoint::Discovery => warp::path!(".well-known" / "authzen-configuration" / ..)
            .and(warp::path::tail())
            .and(read)
            .and(state)
            .and(warp::header::headers_cloned())
            .then(discovery::configuration)
            .boxed(),
        Endpoint::Livez => warp::path!("livez").and(read).map(probes::livez).boxed(),
        Endpoint::Readyz => warp::path!("readyz")
            .and(read)
            .and(state)
            .then(probes::readyz)
            .boxed(),
        Endpoint::Metrics => warp::path!("metrics")
            .and(read)
            .and(state)
            .map(probes::metrics)
            .boxed(),
        Endpoint::OpenApi => warp::path!("openapi.json")
            .and(read)
            .map(probes::openapi)
            .boxed(),
    }
}

/// Answers what no endpoint took, as a problem.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<impl Reply, Infallible> {
    let request_id = new_id().to_string();
    let refusal = Refusal::from(&rejection);
    let mut response = refusal.problem().into_response(&request_id);
    if matches!(refusal, Refusal::MethodNotAllowed) {
        // RFC 9110 section 15.5.6 requires it; every endpoint so far is only read.
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(answer::private(response, &request_id))
}

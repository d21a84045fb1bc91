//! The endpoints: filters that route here, handlers that answer in a file each; what all answers share is in `answer`.

mod answer;
mod authzen;
mod check;
mod forward;
mod hook;
mod identity;
mod me;
mod probes;
mod required;

use std::{convert::Infallible, sync::Arc};

use warp::{
    Filter, Rejection, Reply,
    filters::BoxedFilter,
    http::{HeaderValue, Response, header},
};

use self::forward::Door;
use super::{Authz, rejection::Refusal};
use crate::http::{MAX_BODY, body, first_of};

/// Every endpoint, and an answer for everything else.
pub fn routes(
    authz: Arc<Authz>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    endpoints(authz).recover(recover)
}

/// The endpoints alone, to be joined with another face on the same socket before [`recover`].
pub fn endpoints(authz: Arc<Authz>) -> BoxedFilter<(Response<String>,)> {
    let authzen = authzen::routes(authz.clone());
    let state = warp::any().map(move || authz.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let read = warp::get().or(warp::head()).unify();

    // What is asked about a user: the server, the headers, the query.
    let asked = state.clone().and(warp::header::headers_cloned()).and(query);

    let me = warp::path!("v1" / "me")
        .and(read)
        .and(asked.clone())
        .then(me::me);
    let check = warp::path!("v1" / "check")
        .and(read)
        .and(asked.clone())
        .then(check::check);
    let nginx = warp::path!("auth" / "nginx" / ..)
        .and(warp::path::full())
        .and(asked.clone())
        .then(forward::nginx);
    let whole = |door| warp::any().map(move || door).and(asked.clone());
    let traefik = warp::path!("auth" / "traefik")
        .and(read)
        .and(whole(Door::Traefik))
        .then(forward::whole);
    let caddy = warp::path!("auth" / "caddy")
        .and(read)
        .and(whole(Door::Caddy))
        .then(forward::whole);
    let envoy = warp::path!("auth" / "envoy" / ..)
        .and(warp::path::full())
        .and(asked.clone())
        .then(forward::envoy);
    let hasura = warp::path!("auth" / "hasura")
        .and(warp::method())
        .and(asked.clone())
        .and(body(MAX_BODY))
        .then(forward::hasura);
    let livez = warp::path!("livez").and(read).map(probes::livez);
    let readyz = warp::path!("readyz")
        .and(read)
        .and(state.clone())
        .then(probes::readyz);
    let metrics = warp::path!("metrics")
        .and(read)
        .and(state)
        .map(probes::metrics);

    first_of([
        me.boxed(),
        check.boxed(),
        nginx.boxed(),
        traefik.boxed(),
        caddy.boxed(),
        envoy.boxed(),
        hasura.boxed(),
        livez.boxed(),
        readyz.boxed(),
        metrics.boxed(),
        authzen,
    ])
}

/// Answers what no endpoint took, as a problem.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<impl Reply, Infallible> {
    let request_id = answer::new_id().to_string();
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

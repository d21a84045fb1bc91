//! `GET /.well-known/authzen-configuration`: where the endpoints are. It tells `authz.public_url` and nothing that the request
//! says: a `Host` header would let anybody name another server as the one to trust.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use url::Url;
use warp::{
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    path::Tail,
};

use super::super::answer::{answer, json_response};
use crate::authz::{Authz, endpoint::Endpoint, rejection::Refusal, trail::Trail};

/// The standard's metadata of a policy decision point.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::authz) struct Configuration<'a> {
    policy_decision_point: &'a str,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

impl<'a> Configuration<'a> {
    fn of(public_url: &'a str) -> Self {
        let at =
            |endpoint: Endpoint| format!("{}{}", public_url.trim_end_matches('/'), endpoint.path());
        Self {
            policy_decision_point: public_url,
            access_evaluation_endpoint: at(Endpoint::Evaluation),
            access_evaluations_endpoint: at(Endpoint::Evaluations),
            search_subject_endpoint: at(Endpoint::SearchSubject),
            search_resource_endpoint: at(Endpoint::SearchResource),
            search_action_endpoint: at(Endpoint::SearchAction),
        }
    }
}

/// The path of the public URL, if it has one, stands behind the well-known one.
pub(in crate::authz::handlers) async fn configuration(
    tail: Tail,
    authz: Arc<Authz>,
    headers: HeaderMap,
) -> Response<String> {
    let trail = Trail::begin(&authz, Endpoint::Discovery, &headers);
    let mut response = answer(&trail, async {
        let public_url = authz.settings.public_url.as_deref();
        let public_url = public_url.ok_or(Refusal::NoPublicUrl)?;
        let path = Url::parse(public_url).map(|url| url.path().trim_matches('/').to_owned());
        if path.is_ok_and(|path| path == tail.as_str().trim_matches('/')) {
            Ok(json_response(
                StatusCode::OK,
                &Configuration::of(public_url),
            ))
        } else {
            Err(Refusal::NotFound)
        }
    })
    .await;
    if response.status() == StatusCode::OK {
        // The same for everybody, and for as long as the program runs.
        let caching = HeaderValue::from_static("public, max-age=300");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, caching);
        response.headers_mut().remove(header::VARY);
    }
    response
}

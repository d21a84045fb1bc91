//! `GET /v1/check`: has the bearer all of these permissions?

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{HeaderMap, Response, StatusCode};

use super::{
    answer::{answer, json_response},
    required::Required,
};
use crate::{
    authz::{Authz, Known, endpoint::Endpoint, rejection::Refusal, trail::Trail},
    user::UserKey,
};

/// The bearer has all of the permissions.
#[derive(Serialize, JsonSchema)]
pub(in crate::authz) struct Checked {
    user: CheckedUser,
    revision: String,
}

/// Who that is.
#[derive(Serialize, JsonSchema)]
struct CheckedUser {
    key: UserKey,
}

/// `GET /v1/check?permission=…`: 200 if the user has all of them, else 403 with those that are missing.
pub(super) async fn check(
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
) -> Response<String> {
    let trail = Trail::begin(&authz, Endpoint::Check, &headers);
    answer(&trail, async {
        let required = Required::read(&query, "permission")?;
        required.note(&trail);
        let known = bearer(&trail, &headers, &query).await?;
        required.of(&known.user)?;
        let checked = Checked {
            user: CheckedUser {
                key: known.user.key,
            },
            revision: known.revision,
        };
        Ok(json_response(StatusCode::OK, &checked))
    })
    .await
}

/// The user whose token a request carries, as of the revision it asks for.
pub(super) async fn bearer(
    trail: &Trail<'_>,
    headers: &HeaderMap,
    query: &str,
) -> Result<Known, Refusal> {
    let authz = trail.authz;
    let claims = authz.authenticate(headers, query, trail).await?;
    let at_least = authz.await_revision(headers).await?;
    authz.identify(&claims, &at_least, trail).await
}

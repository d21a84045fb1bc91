//! `GET /v1/check`: has the bearer all of these permissions?

use std::sync::Arc;

use serde::Serialize;
use warp::http::{HeaderMap, Response, StatusCode};

use super::{
    answer::{answer, json_response},
    required::Required,
};
use crate::{
    authz::{Authz, Known, rejection::Refusal},
    user::UserKey,
};

/// `GET /v1/check?permission=…`: 200 if the user has all of them, else 403 with those that are missing.
pub(super) async fn check(
    authz: Arc<Authz>,
    headers: HeaderMap,
    query: String,
) -> Response<String> {
    #[derive(Serialize)]
    struct Checked {
        user: CheckedUser,
        revision: String,
    }
    #[derive(Serialize)]
    struct CheckedUser {
        key: UserKey,
    }

    answer(&authz, "/v1/check", &headers, async {
        let required = Required::read(&query, "permission")?;
        let known = bearer(&authz, &headers, &query).await?;
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
    authz: &Authz,
    headers: &HeaderMap,
    query: &str,
) -> Result<Known, Refusal> {
    let claims = authz.authenticate(headers, query).await?;
    let at_least = authz.await_revision(headers).await?;
    authz.identify(&claims, &at_least).await
}

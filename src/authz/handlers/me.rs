//! `GET /v1/me`: who the bearer is and what they may do.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{HeaderMap, Response, StatusCode};

use super::answer::{answer, json_response};
use crate::{
    authz::{Authz, endpoint::Endpoint, trail::Trail},
    user::{Auth0UserId, UserKey},
};

/// Who the bearer is.
#[derive(Serialize, JsonSchema)]
pub(in crate::authz) struct Me {
    user: MeUser,
    revision: String,
}

/// A user, with everything that an application may know of them.
#[derive(Serialize, JsonSchema)]
struct MeUser {
    key: UserKey,
    email: Option<String>,
    name: Option<String>,
    role: Option<String>,
    /// Sorted, without doubles.
    permissions: Vec<String>,
    /// The user's primary account; before there is one, the account that asked.
    auth0_user_id: Auth0UserId,
}

/// `GET /v1/me`: the user whom the token belongs to.
pub(super) async fn me(authz: Arc<Authz>, headers: HeaderMap, query: String) -> Response<String> {
    let trail = Trail::begin(&authz, Endpoint::Me, &headers);
    answer(&trail, async {
        let claims = authz.authenticate(&headers, &query, &trail).await?;
        let at_least = authz.await_revision(&headers).await?;
        let known = authz.identify(&claims, &at_least, &trail).await?;
        let me = Me {
            user: MeUser {
                key: known.user.key,
                email: known.user.email,
                name: known.user.name,
                role: known.user.role,
                permissions: known.user.permissions,
                auth0_user_id: known.user.auth0_user_id,
            },
            revision: known.revision,
        };
        Ok(json_response(StatusCode::OK, &me))
    })
    .await
}

//! `GET /v1/me`: who the bearer is and what they may do.

use std::sync::Arc;

use serde::Serialize;
use warp::http::{HeaderMap, Response, StatusCode};

use super::answer::{answer, json_response};
use crate::{
    authz::Authz,
    user::{Auth0UserId, UserKey},
};

/// `GET /v1/me`: the user whom the token belongs to.
pub(super) async fn me(authz: Arc<Authz>, headers: HeaderMap, query: String) -> Response<String> {
    #[derive(Serialize)]
    struct Me {
        user: MeUser,
        revision: String,
    }
    #[derive(Serialize)]
    struct MeUser {
        key: UserKey,
        email: Option<String>,
        name: Option<String>,
        role: Option<String>,
        permissions: Vec<String>,
        auth0_user_id: Auth0UserId,
    }

    answer(&authz, "/v1/me", &headers, async {
        let claims = authz.authenticate(&headers, &query).await?;
        let at_least = authz.await_revision(&headers).await?;
        let known = authz.identify(&claims, &at_least).await?;
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

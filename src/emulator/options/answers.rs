//! The answers Auth0 does not document, all in one table, so that a client can be tried on both of each.
//!
//! The default is what its documentation, recordings or the field make more likely; [`Answers::other`] is the other one
//! everywhere. What a tenant is really *set up* with (its connection, its plan) is no answer and stands in
//! [`Options`](super::Options).

use serde::{Deserialize, Serialize};

/// What the tenant does where Auth0 leaves it open. Every field has a default; an unknown key is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// Status of a PATCH to an e-mail that is taken: 400 in the field, 409 in one simulator.
    pub email_conflict_status: u16,
    /// Whether changing an e-mail without saying `email_verified` makes it unverified.
    pub email_change_unverifies: bool,
    /// Seconds for which the id and the address of a deleted user stay taken for new ones.
    pub reuse_delay_seconds: u32,
    /// Whether a key that the docs forbid in `app_metadata` is refused with 400; else it is stored.
    pub forbidden_app_metadata_refused: bool,
    /// Whether `user_id: "auth0|x"` at creation becomes `auth0|auth0|x`, as it does at imports; else `auth0|x`.
    pub user_id_prefix_doubled: bool,
    /// What a GET or PATCH by the id of a linked-away user finds.
    pub linked_away: LinkedAway,
    /// Whether writing roles needs every scope that the schema lists, or any of them.
    pub role_writes_need_all_scopes: bool,
    /// Whether GET by id, by e-mail and search draw on one bucket; else on one each.
    pub read_bucket_shared: bool,
    /// Whether a blocked user's refresh token gets no tokens.
    pub blocked_refresh_refused: bool,
    /// Whether a 429 carries the `x-ratelimit-*` headers that other answers have.
    pub rate_limit_headers_on_429: bool,
    /// What a 403 says where the plan lacks a feature.
    pub missing_feature: MissingFeature,
    /// Whether setting a password through a mailed link lifts the administrator's block, as the Management API does.
    pub reset_lifts_block: bool,
    /// Whether a 429 carries `Retry-After`, which Auth0 does not promise on plain rate limits.
    pub retry_after: bool,
    /// What an unfinished job says once it has begun: recordings show `pending` only, scripts also meet `processing`.
    pub job_running_status: String,
    /// Whether an import job mails the users it adds, as `POST /users` does unless told otherwise.
    pub import_mails: bool,
    /// Whether an import that updates a user without saying `email_verified` makes the address unverified.
    pub import_unverifies: bool,
    /// Milliseconds by which the file of an export lags behind writes, by the tenant's clock.
    pub export_lag_ms: u32,
    /// Whether a ticket cancels the user's earlier ones of its kind, as a mailed link does.
    pub ticket_cancels_earlier: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            email_conflict_status: 400,
            email_change_unverifies: true,
            reuse_delay_seconds: 0,
            forbidden_app_metadata_refused: true,
            user_id_prefix_doubled: true,
            linked_away: LinkedAway::NotFound,
            role_writes_need_all_scopes: true,
            read_bucket_shared: true,
            blocked_refresh_refused: true,
            rate_limit_headers_on_429: true,
            missing_feature: MissingFeature::FeatureNotEnabled,
            reset_lifts_block: true,
            retry_after: false,
            job_running_status: "pending".into(),
            import_mails: false,
            import_unverifies: false,
            export_lag_ms: 0,
            ticket_cancels_earlier: true,
        }
    }
}

impl Answers {
    /// The other answer everywhere.
    #[must_use]
    pub fn other() -> Self {
        Self {
            email_conflict_status: 409,
            email_change_unverifies: false,
            // Long enough for a client to meet it, short enough for a story to end.
            reuse_delay_seconds: 2,
            forbidden_app_metadata_refused: false,
            user_id_prefix_doubled: false,
            linked_away: LinkedAway::Primary,
            role_writes_need_all_scopes: false,
            read_bucket_shared: false,
            blocked_refresh_refused: false,
            rate_limit_headers_on_429: false,
            missing_feature: MissingFeature::InsufficientEntitlement,
            reset_lifts_block: false,
            retry_after: true,
            job_running_status: "processing".into(),
            import_mails: true,
            import_unverifies: true,
            export_lag_ms: 2_000,
            ticket_cancels_earlier: false,
        }
    }
}

/// What a GET or PATCH by id that names a linked-away user finds. A DELETE deletes nobody either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkedAway {
    /// Nobody: 404.
    NotFound,
    /// The primary account, which is read and changed under its own id.
    Primary,
}

/// What a 403 says where the plan lacks a feature; both codes are recorded of other endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingFeature {
    /// `feature_not_enabled`.
    FeatureNotEnabled,
    /// `insufficient_entitlement`.
    InsufficientEntitlement,
}

impl MissingFeature {
    /// The `errorCode`.
    pub(in crate::emulator) fn code(self) -> &'static str {
        match self {
            Self::FeatureNotEnabled => "feature_not_enabled",
            Self::InsufficientEntitlement => "insufficient_entitlement",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_other_answers_differ_from_the_usual_ones_in_every_point() {
        let (Value::Object(usual), Value::Object(other)) =
            (json!(Answers::default()), json!(Answers::other()))
        else {
            unreachable!("a table is an object")
        };
        for (point, answer) in usual {
            assert_ne!(other[&point], answer, "{point}");
        }
    }
}

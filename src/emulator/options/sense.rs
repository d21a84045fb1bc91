//! Which options no tenant can have, though each value is of the right type. Said at the start and at each change, so
//! that a test hears of its slip there and not from an answer Auth0 would never give.

use super::{super::validate::is_connection_id, Options};

/// The longest life of a Management API token, in seconds: 30 days (docs: `update-access-token-lifetime`).
const LONGEST_TOKEN_LIFE: u32 = 30 * 24 * 60 * 60;

/// Why options cannot be a tenant's. Every message names the option.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadOptions {
    /// A key that does not exist, or a value of the wrong type.
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    /// A value that Auth0 does not allow or never answers.
    #[error("{option}: {value} is not {allowed}")]
    Senseless {
        /// The option, with the table it is in.
        option: &'static str,
        /// What it was to be.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
}

impl Options {
    /// Whether a tenant can be set up so.
    ///
    /// # Errors
    /// [`BadOptions::Senseless`] for the first option that cannot be.
    pub(in crate::emulator) fn check(&self) -> Result<(), BadOptions> {
        let answers = &self.answers;
        let conflict = answers.email_conflict_status;
        let running = answers.job_running_status.as_str();
        let id = self.connection_id.as_deref();
        allow(
            self.token_lifetime_seconds <= LONGEST_TOKEN_LIFE,
            "token_lifetime_seconds",
            &self.token_lifetime_seconds,
            "at most 2592000, which is 30 days",
        )?;
        allow(
            id.is_none_or(is_connection_id),
            "connection_id",
            &id.unwrap_or_default(),
            "con_ and 16 letters and digits",
        )?;
        allow(
            matches!(conflict, 400 | 409),
            "answers.email_conflict_status",
            &conflict,
            "400 or 409",
        )?;
        allow(
            matches!(running, "pending" | "processing"),
            "answers.job_running_status",
            &running,
            "pending or processing",
        )
    }
}

fn allow(
    is_allowed: bool,
    option: &'static str,
    value: &dyn std::fmt::Debug,
    allowed: &'static str,
) -> Result<(), BadOptions> {
    if is_allowed {
        return Ok(());
    }
    Err(BadOptions::Senseless {
        option,
        value: format!("{value:?}"),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is said of options with these changes; none if they are good.
    fn refusal(changes: Value) -> Option<String> {
        let changes = serde_json::from_value(changes).expect("an object");
        let changed = Options::default().with(changes);
        changed.err().map(|error| error.to_string())
    }

    #[test]
    fn a_token_lives_thirty_days_at_most() {
        assert_eq!(refusal(json!({"token_lifetime_seconds": 2_592_000})), None);
        assert_eq!(
            refusal(json!({"token_lifetime_seconds": 2_592_001})).as_deref(),
            Some("token_lifetime_seconds: 2592001 is not at most 2592000, which is 30 days")
        );
    }

    #[test]
    fn a_connections_id_has_auth0s_form() {
        assert_eq!(refusal(json!({"connection_id": null})), None);
        assert_eq!(
            refusal(json!({"connection_id": "con_ftSSLHb0O7rcUGmF"})),
            None
        );
        for id in [
            "",
            "ftSSLHb0O7rcUGmF",
            "con_ftSSLHb0O7rcUGm",
            "con_ftSSLHb0O7rcUGmFx",
            "con_ftSSLHb0O7rcUGm-",
        ] {
            assert_eq!(
                refusal(json!({"connection_id": id})),
                Some(format!(
                    "connection_id: {id:?} is not con_ and 16 letters and digits"
                ))
            );
        }
    }

    #[test]
    fn a_taken_address_is_answered_by_400_or_409() {
        for status in [400, 409] {
            assert_eq!(
                refusal(json!({"answers": {"email_conflict_status": status}})),
                None
            );
        }
        for status in [0, 200, 422, 500] {
            assert_eq!(
                refusal(json!({"answers": {"email_conflict_status": status}})),
                Some(format!(
                    "answers.email_conflict_status: {status} is not 400 or 409"
                ))
            );
        }
    }

    #[test]
    fn a_job_under_way_is_pending_or_processing() {
        for status in ["pending", "processing"] {
            assert_eq!(
                refusal(json!({"answers": {"job_running_status": status}})),
                None
            );
        }
        assert_eq!(
            refusal(json!({"answers": {"job_running_status": "running"}})).as_deref(),
            Some(r#"answers.job_running_status: "running" is not pending or processing"#)
        );
    }
}

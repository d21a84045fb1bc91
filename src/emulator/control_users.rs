//! Users put there by the control face: any shape, any connection, no rules.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    control::Refusal,
    grants::secret,
    options::Options,
    passwords::Password,
    profile::{Identity, User},
    rules::GOOGLE,
    validate::Object,
};

/// A user as a test describes one; what is absent is made up as Auth0 would.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// With its prefix, which also says the connection if that is absent.
    user_id: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    connection: Option<String>,
    username: Option<String>,
    name: Option<String>,
    nickname: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    picture: Option<String>,
    blocked: Option<bool>,
    app_metadata: Option<Object>,
    user_metadata: Option<Object>,
    /// All of them, the primary first; absent: one, from `user_id` and `connection`.
    identities: Option<Vec<Identity>>,
    password: Option<String>,
    created_at: Option<Timestamp>,
    last_login: Option<Timestamp>,
    logins_count: Option<u64>,
}

impl NewUser {
    /// # Errors
    /// An id without a prefix, or an empty list of identities.
    pub(super) fn into_user(self, options: &Options, now: Timestamp) -> Result<User, Refusal> {
        let identities = match self.identities {
            Some(identities) => identities,
            None => vec![identity(self.user_id.as_deref(), self.connection, options)?],
        };
        let primary = identities.first().cloned().ok_or("identities: none")?;
        let created_at = self.created_at.unwrap_or(now);
        let mut user = User {
            email: self.email,
            email_verified: self.email_verified,
            username: self.username,
            name: self.name,
            nickname: self.nickname,
            given_name: self.given_name,
            family_name: self.family_name,
            picture: self.picture,
            blocked: self.blocked,
            app_metadata: self.app_metadata,
            user_metadata: self.user_metadata,
            identities,
            last_login: self.last_login,
            logins_count: self.logins_count,
            password: self.password.as_deref().map(Password::new),
            ..User::new(primary, created_at)
        };
        if let Some(user_id) = self.user_id {
            user.user_id = user_id;
        }
        user.fill_defaults();
        Ok(user)
    }
}

fn identity(
    user_id: Option<&str>,
    connection: Option<String>,
    options: &Options,
) -> Result<Identity, Refusal> {
    let (provider, id) = match user_id {
        Some(user_id) => {
            let (provider, id) = user_id.split_once('|').ok_or("user_id: has no prefix")?;
            (provider.to_owned(), id.to_owned())
        }
        None if connection
            .as_ref()
            .is_none_or(|name| *name == options.connection) =>
        {
            ("auth0".to_owned(), secret())
        }
        None => (connection.clone().unwrap_or_default(), secret()),
    };
    let connection = connection.unwrap_or_else(|| match provider.as_str() {
        "auth0" => options.connection.clone(),
        other => other.to_owned(),
    });
    Ok(Identity {
        is_social: provider == GOOGLE,
        connection,
        user_id: id,
        provider,
        profile_data: None,
    })
}

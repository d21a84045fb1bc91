//! What people do beside the storm's SQL: in Auth0's dashboard, with programs of their own, at Roster's own buttons.
//!
//! Somebody else's key in `app_metadata` or `user_metadata`; a ban; a log-in with Google under the address of a user; a pause. What
//! was surely done is remembered, so that the oracle can ask for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt;
use roster::{
    auth0::{Client, Patch},
    db::directory,
    user::{Auth0UserId, UserKey},
};
use serde_json::json;

use super::{faults::Counts, people, place::Stage, statements::Dice};
use crate::support::world::text;

/// One thing somebody does.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Somebody else's key in the metadata of the account at this place of the list.
    Mark { nth: usize, number: u32 },
    /// A ban in the dashboard.
    Ban { person: u32 },
    /// A log-in with Google, which the authorization server makes known.
    Google { person: u32 },
    /// A pause of so many milliseconds.
    Pause { ms: u64 },
}

impl Deed {
    pub(super) fn any(dice: &mut Dice) -> Self {
        match dice.random_range(0..10) {
            0..=3 => Self::Mark {
                nth: dice.random_range(0..1_000),
                number: dice.random_range(0..100),
            },
            4..=5 => Self::Ban {
                person: dice.random_range(people::BANNED),
            },
            6..=8 => Self::Google {
                person: dice.random_range(people::GOOGLE),
            },
            _ => Self::Pause {
                ms: dice.random_range(20..200),
            },
        }
    }
}

/// What was surely done, by account.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Account and key.
    pub(super) marks: Mutex<Vec<(String, String)>>,
    pub(super) bans: Mutex<Vec<String>>,
    /// Whether they were banned nobody knows for sure, unless they are in `bans` too.
    pub(super) perhaps_banned: Mutex<Vec<String>>,
    /// Log-ins with Google that there are.
    pub(super) googles: Mutex<Vec<String>>,
    /// Those that Roster was told of.
    pub(super) followed: Mutex<Vec<String>>,
}

impl Known {
    pub(super) fn all<T: Clone>(of: &Mutex<Vec<T>>) -> Vec<T> {
        of.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add<T>(of: &Mutex<Vec<T>>, one: T) {
        of.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }
}

/// The account of a Google log-in of this person.
pub(super) fn google(person: u32) -> String {
    format!("google-oauth2|{person}")
}

/// The account that was there before Roster for this person.
pub(super) fn earlier(person: u32) -> String {
    format!("auth0|before-{person}")
}

/// Does it, and keeps in mind what was surely done.
pub(super) async fn act(stage: &Stage<'_>, others: &Client, deed: &Deed, counts: &Counts) {
    match deed {
        Deed::Mark { nth, number } => {
            let users = stage.tenant.list("users").await;
            if users.is_empty() {
                return;
            }
            let id = text(&users[nth % users.len()]["user_id"]);
            let key = format!("theirs_{number}");
            let mut patch = Patch::default();
            for metadata in [&mut patch.app_metadata, &mut patch.user_metadata] {
                metadata.insert(key.clone(), json!({"by": "them"}));
            }
            if patched(others, &id, &patch).await {
                Known::add(&stage.known.marks, (id, key));
            }
        }
        Deed::Ban { person } => {
            // By their id in the table; who has none yet is not banned yet.
            let named = "select auth0_user_id from users where person = $1";
            let row = match stage
                .control
                .query_opt(named, &[&person.cast_signed()])
                .await
            {
                Ok(row) => row,
                Err(_) => return,
            };
            let Some(id) = row.and_then(|row| row.get::<_, Option<String>>(0)) else {
                return;
            };
            let ban = Patch {
                blocked: Some(true),
                ..Patch::default()
            };
            Known::add(&stage.known.perhaps_banned, id.clone());
            if patched(others, &id, &ban).await {
                Known::add(&stage.known.bans, id);
            }
        }
        Deed::Google { person } => {
            let id = google(*person);
            if Known::all(&stage.known.followed).contains(&id) {
                return;
            }
            if !Known::all(&stage.known.googles).contains(&id) {
                let account =
                    json!({"user_id": id, "email": people::home(*person), "email_verified": true});
                stage.tenant.control("users", account).await;
                Known::add(&stage.known.googles, id.clone());
            }
            let who = "select id::text, lower(email) from users where person = $1";
            let row = stage.control.query_opt(who, &[&person.cast_signed()]).await;
            let Ok(Some(row)) = row else {
                return;
            };
            let (key, address): (String, String) = (row.get(0), row.get(1));
            let subject = Auth0UserId(id.clone());
            let _ = directory::follow(&stage.pool, &UserKey(key), &subject, &address).await;
            let followed = "select from roster.accounts where auth0_user_id = $1";
            if matches!(stage.control.query_opt(followed, &[&id]).await, Ok(Some(_))) {
                Known::add(&stage.known.followed, id);
            }
        }
        Deed::Pause { ms } => {
            let paused = stage.control.batch_execute("select roster.pause('a look')");
            if paused.await.is_ok() {
                counts.add("pause", 1);
            }
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            let _ = stage.control.batch_execute("select roster.resume()").await;
        }
    }
}

/// Tried until Auth0 says yes; who does not get through gives up.
async fn patched(client: &Client, id: &str, patch: &Patch) -> bool {
    let id = Auth0UserId(id.to_owned());
    for _ in 0..8 {
        if client.update_user(&id, patch).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    false
}

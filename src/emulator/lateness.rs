//! What of the past is still to be seen: search and exports lag behind, and what was deleted may stay taken for a while.
//!
//! Search is served from an undo log rather than a second copy of the users, so that a tenant whose search is not late
//! pays nothing for it: a write keeps the user as it was, and a search takes back what is too recent for it to know.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{options::Options, profile::User};

/// What was, for as long as somebody may ask.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// How far search lags behind.
    search: SignedDuration,
    /// How far exports lag behind.
    exports: SignedDuration,
    /// How long ids and addresses stay taken.
    reuse: SignedDuration,
    /// Recent changes, oldest first.
    changes: VecDeque<Change>,
    departed: VecDeque<(Timestamp, Arc<User>)>,
}

/// One change of one user.
#[derive(Debug)]
struct Change {
    at: Timestamp,
    /// The user's place in the list.
    place: u64,
    /// The user before; none: there was none.
    before: Option<Arc<User>>,
}

impl Lateness {
    pub(super) fn set_options(&mut self, options: &Options) {
        self.search = SignedDuration::from_millis(i64::from(options.search_delay_ms));
        self.exports = SignedDuration::from_millis(i64::from(options.answers.export_lag_ms));
        self.reuse = SignedDuration::from_secs(options.answers.reuse_delay_seconds.into());
        if self.horizon().is_zero() {
            self.changes.clear();
        }
        if self.reuse.is_zero() {
            self.departed.clear();
        }
    }

    pub(super) fn is_late(&self) -> bool {
        !self.changes.is_empty()
    }

    /// For how long changes can be asked for.
    fn horizon(&self) -> SignedDuration {
        self.search.max(self.exports)
    }

    /// Notes a change that is about to be made, or was just made to who was not there.
    pub(super) fn changed(&mut self, place: u64, before: Option<&Arc<User>>, now: Timestamp) {
        let horizon = self.horizon();
        if horizon.is_zero() {
            return;
        }
        while self
            .changes
            .front()
            .is_some_and(|change| now.duration_since(change.at) >= horizon)
        {
            self.changes.pop_front();
        }
        self.changes.push_back(Change {
            at: now,
            place,
            before: before.cloned(),
        });
    }

    /// Takes back what search cannot know yet.
    pub(super) fn undo_for_search(&self, users: &mut BTreeMap<u64, Arc<User>>, now: Timestamp) {
        self.undo(self.search, users, now);
    }

    /// Takes back what an export cannot know yet.
    pub(super) fn undo_for_exports(&self, users: &mut BTreeMap<u64, Arc<User>>, now: Timestamp) {
        self.undo(self.exports, users, now);
    }

    fn undo(&self, lag: SignedDuration, users: &mut BTreeMap<u64, Arc<User>>, now: Timestamp) {
        let recent = self
            .changes
            .iter()
            .rev()
            .take_while(|change| now.duration_since(change.at) < lag);
        for change in recent {
            match &change.before {
                Some(before) => users.insert(change.place, before.clone()),
                None => users.remove(&change.place),
            };
        }
    }

    /// Notes a user who was deleted.
    pub(super) fn depart(&mut self, user: Arc<User>, now: Timestamp) {
        if self.reuse.is_zero() {
            return;
        }
        while self
            .departed
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= self.reuse)
        {
            self.departed.pop_front();
        }
        self.departed.push_back((now, user));
    }

    /// Whether a new user has the id of one who was deleted only now, or the address in the same connection.
    pub(super) fn is_departed(&self, user: &User, now: Timestamp) -> bool {
        self.departed
            .iter()
            .filter(|(at, _)| now.duration_since(*at) < self.reuse)
            .any(|(_, gone)| {
                gone.user_id == user.user_id
                    || (gone.email.is_some() && gone.email == user.email && gone.shares(user))
            })
    }
}

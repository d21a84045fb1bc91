//! All users in little room: found by account, changed by key.
//!
//! Promises: an account finds at most one user; what is put in later stands; a million users fit into 250 MB. So a user's texts are
//! one allocation, role and permissions are shared by all who have the same, and both indexes hold numbers only.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

use super::packed::Packed;
use crate::{
    db::directory::{Fact, MatchedBy, User},
    user::{Auth0UserId, UserKey},
};

/// What a user may do. Many users, few of these.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Grants {
    role: Option<String>,
    permissions: Vec<String>,
}

struct Slot {
    texts: Packed,
    grants: Arc<Grants>,
    blocked: bool,
}

/// The users by account and by key.
#[derive(Default)]
pub(super) struct Table {
    /// None where a user was taken out.
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    /// Slot, and which of its accounts.
    by_subject: HashTable<(u32, u32)>,
    grants: HashSet<Arc<Grants>>,
    /// When the shared grants are looked through for some that nobody has any more.
    tidy_at: usize,
    hasher: RandomState,
}

/// A reading of everybody that is under way beside single changes. Those are newer wherever both speak of a user.
#[derive(Default)]
pub(super) struct Load {
    /// Slots whose users were read.
    seen: Vec<bool>,
    /// Keys that changed since it began.
    touched: HashSet<String>,
    /// Keys that it read twice: nobody's.
    doubled: HashSet<String>,
}

impl Load {
    /// A change of this key was seen.
    pub(super) fn touch(&mut self, key: &str) {
        if !self.touched.contains(key) {
            self.touched.insert(key.to_owned());
        }
    }
}

impl Table {
    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The user whom `subject` belongs to.
    pub(super) fn find(&self, subject: &str) -> Option<User> {
        let hash = self.hasher.hash_one(subject);
        let (slot, _) = self.by_subject.find(hash, |(slot, nth)| {
            self.texts(*slot).subject(*nth) == Some(subject)
        })?;
        let slot = self.slots[*slot as usize].as_ref()?;
        Some(User {
            key: UserKey(slot.texts.key().to_owned()),
            email: slot.texts.email().map(str::to_owned),
            name: slot.texts.name().map(str::to_owned),
            role: slot.grants.role.clone(),
            permissions: slot.grants.permissions.clone(),
            auth0_user_id: Auth0UserId(slot.texts.primary().unwrap_or(subject).to_owned()),
            blocked: slot.blocked,
            matched_by: MatchedBy::Account,
        })
    }

    /// The user of this key is now as `fact` says; says where it stands.
    pub(super) fn put(&mut self, fact: Fact) -> u32 {
        self.remove(&fact.key);
        let texts = Packed::new(&fact);
        let slot = Slot {
            grants: self.share(Grants {
                role: fact.role,
                permissions: fact.permissions,
            }),
            texts,
            blocked: fact.blocked,
        };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("fewer than four thousand million users")
            }
        };
        self.slots[at as usize] = Some(slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let texts = |at: u32| &slots[at as usize].as_ref().expect("indexed").texts;
        let key_hash = hasher.hash_one(&*fact.key);
        self.by_key
            .insert_unique(key_hash, at, |at| hasher.hash_one(texts(*at).key()));
        for (nth, subject) in (0..).zip(&fact.subjects) {
            let hash = hasher.hash_one(&**subject);
            // It may stand with a user of before, whose own news is still to come.
            let before = self
                .by_subject
                .find_entry(hash, |(at, nth)| texts(*at).subject(*nth) == Some(subject));
            if let Ok(before) = before {
                before.remove();
            }
            self.by_subject.insert_unique(hash, (at, nth), |(at, nth)| {
                hasher.hash_one(texts(*at).subject(*nth).unwrap_or_default())
            });
        }
        at
    }

    /// There is no user of this key any more, or more than one.
    pub(super) fn remove(&mut self, key: &str) {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        let found = self.by_key.find_entry(hash, |at| {
            slots[*at as usize]
                .as_ref()
                .is_some_and(|slot| slot.texts.key() == key)
        });
        if let Ok(entry) = found {
            let (at, _) = entry.remove();
            self.vacate(at);
        }
    }

    /// Takes a user over from a load, unless something newer is known.
    pub(super) fn put_loaded(&mut self, load: &mut Load, fact: Fact) {
        if load.touched.contains(&fact.key) || load.doubled.contains(&fact.key) {
            return;
        }
        if self
            .place(&fact.key)
            .is_some_and(|at| load.seen.get(at as usize) == Some(&true))
        {
            self.remove(&fact.key);
            load.doubled.insert(fact.key);
            return;
        }
        let at = self.put(fact) as usize;
        if load.seen.len() <= at {
            load.seen.resize(at + 1, false);
        }
        load.seen[at] = true;
    }

    /// A load has read everybody: whom it did not see is gone.
    pub(super) fn finish(&mut self, load: &Load) {
        for at in 0..self.slots.len() {
            let gone = self.slots[at].as_ref().is_some_and(|slot| {
                load.seen.get(at) != Some(&true) && !load.touched.contains(slot.texts.key())
            });
            if gone {
                let key = self.slots[at]
                    .as_ref()
                    .map(|slot| slot.texts.key().to_owned());
                self.remove(&key.unwrap_or_default());
            }
        }
        self.tidy();
    }

    fn place(&self, key: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.by_key
            .find(hash, |at| self.texts(*at).key() == key)
            .copied()
    }

    /// The texts of a slot that an index names.
    fn texts(&self, at: u32) -> &Packed {
        &self.slots[at as usize].as_ref().expect("indexed").texts
    }

    /// Empties a slot that stands in no index by key any more.
    fn vacate(&mut self, at: u32) {
        let Some(slot) = self.slots[at as usize].take() else {
            return;
        };
        for (nth, subject) in (0..).zip(slot.texts.subjects()) {
            let hash = self.hasher.hash_one(subject);
            // It is not there if another user has it by now.
            if let Ok(entry) = self
                .by_subject
                .find_entry(hash, |found| *found == (at, nth))
            {
                entry.remove();
            }
        }
        self.free.push(at);
    }

    fn share(&mut self, grants: Grants) -> Arc<Grants> {
        if let Some(shared) = self.grants.get(&grants) {
            return shared.clone();
        }
        if self.grants.len() >= self.tidy_at {
            self.tidy();
        }
        let grants = Arc::new(grants);
        self.grants.insert(grants.clone());
        grants
    }

    /// Forgets grants that nobody has.
    fn tidy(&mut self) {
        self.grants.retain(|grants| Arc::strong_count(grants) > 1);
        self.tidy_at = self.grants.len() * 2 + 64;
    }
}

#[cfg(test)]
mod tests;

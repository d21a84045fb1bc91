//! Tokens that were verified, so that the same token is not verified again with every request.
//!
//! Promises: what is kept is what the token says of its bearer, never what that bearer may do. An entry is good for nothing once its
//! token has expired, or the issuer lists other keys than when it was verified. It is found by the SHA-256 of the whole token, stands
//! there only after the signature was good, and there are at most [`SETS`] × [`WAYS`] of them: who is new takes the place of one
//! drawn by lot (by its own hash, which nobody chooses).

use std::{
    array,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::{decision_log::Fingerprint, token::Claims};

const SETS: usize = 4096;
const WAYS: usize = 8;

/// SHA-256 of a token as it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let bytes = digest.as_ref();
        Self(array::from_fn(|place| bytes[place]))
    }

    /// What may be shown of it.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_hash(&self.0)
    }

    /// Two of its bytes.
    fn number(&self, from: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0[from], self.0[from + 1]]))
    }
}

struct Entry {
    digest: Digest,
    claims: Arc<Claims>,
    /// Of the issuer's keys, when it was verified.
    generation: u64,
}

/// The tokens of late.
pub(super) struct Verified {
    sets: Vec<RwLock<Vec<Entry>>>,
    entries: AtomicUsize,
}

impl Verified {
    pub(super) fn new() -> Self {
        Self {
            sets: (0..SETS).map(|_| RwLock::default()).collect(),
            entries: AtomicUsize::new(0),
        }
    }

    /// What the token says, if it was verified with the keys of `generation` and is good `now`.
    pub(super) fn get(
        &self,
        digest: &Digest,
        generation: u64,
        now: Timestamp,
    ) -> Option<Arc<Claims>> {
        let set = self.set(digest).read();
        let set = set.unwrap_or_else(PoisonError::into_inner);
        let entry = set.iter().find(|entry| entry.digest == *digest)?;
        (entry.generation == generation && now < entry.claims.good_until)
            .then(|| entry.claims.clone())
    }

    /// The token was verified with the keys of `generation`.
    pub(super) fn insert(&self, digest: Digest, generation: u64, claims: Arc<Claims>) {
        let set = self.set(&digest).write();
        let mut set = set.unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            digest,
            claims,
            generation,
        };
        let place = set.iter().position(|entry| entry.digest == digest);
        match place {
            Some(place) => set[place] = entry,
            None if set.len() < WAYS => {
                set.push(entry);
                self.entries.fetch_add(1, Relaxed);
            }
            None => set[digest.number(2) % WAYS] = entry,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    fn set(&self, digest: &Digest) -> &RwLock<Vec<Entry>> {
        &self.sets[digest.number(0) % SETS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims(subject: &str, good_until: i64) -> Arc<Claims> {
        Arc::new(Claims {
            subject: subject.into(),
            machine: false,
            email: None,
            good_until: at(good_until),
        })
    }

    #[test]
    fn an_entry_ends_with_its_token_and_with_its_keys() {
        let verified = Verified::new();
        let token = Digest::of("a.b.c");
        assert!(verified.get(&token, 1, at(0)).is_none());
        verified.insert(token, 1, claims("auth0|1", 100));
        let subject = |generation, now| {
            let found = verified.get(&token, generation, at(now));
            found.map(|claims| claims.subject.as_str().to_owned())
        };
        assert_eq!(subject(1, 99).as_deref(), Some("auth0|1"));
        assert_eq!(subject(1, 100), None);
        assert_eq!(subject(2, 99), None);
        verified.insert(token, 2, claims("auth0|1", 100));
        assert_eq!(subject(2, 99).as_deref(), Some("auth0|1"));
        assert_eq!(subject(1, 99), None);
        assert_eq!(verified.len(), 1);
        assert!(verified.get(&Digest::of("a.b.d"), 2, at(0)).is_none());
    }

    #[test]
    fn however_many_tokens_come_a_bounded_number_is_kept() {
        let verified = Verified::new();
        for number in 0..3 * SETS * WAYS {
            verified.insert(Digest::of(&number.to_string()), 1, claims("auth0|1", 9));
        }
        assert!(verified.len() <= SETS * WAYS);
        let last = (3 * SETS * WAYS - 1).to_string();
        assert!(verified.get(&Digest::of(&last), 1, at(0)).is_some());
    }
}

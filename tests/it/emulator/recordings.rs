//! The emulator against answers recorded from Auth0 itself, where the recordings are at hand.
//!
//! * Promised: every recording is replayed, or `table.rs` says why it cannot be; so is every exchange of one that is
//!   replayed. Statuses, content types and bodies are compared, and what the rate-limit headers say of the limit.
//! * Not compared: what is of the moment (times, made-up ids, tokens, tickets) and other headers.

use std::collections::BTreeSet;

use crate::support::shared::{listed, shared};

mod replay;
mod table;

use self::table::{NOT_REPLAYED, REPLAYED};

/// Where the recordings are, within what is shared.
const FOLDER: &str = "auth0/recordings";

#[tokio::test]
async fn the_emulator_answers_as_recorded() {
    let mut differ = Vec::new();
    for recording in REPLAYED {
        let Some(text) = shared(&format!("{FOLDER}/{}.json", recording.name)) else {
            println!("skipped: the recording {} is not at hand", recording.name);
            continue;
        };
        // A task of its own, so that one that differs does not hide the others.
        let replayed = tokio::spawn(async move { replay::replay(recording, &text).await });
        if replayed.await.is_err() {
            differ.push(recording.name);
        }
    }
    assert!(differ.is_empty(), "these differ: {differ:?}");
}

#[test]
fn every_recording_is_replayed_or_it_is_said_why_not() {
    let Some(recorded) = listed(FOLDER, ".json") else {
        println!("skipped: the recordings are not at hand");
        return;
    };
    let replayed = REPLAYED.iter().map(|recording| recording.name);
    let spoken_of: Vec<&str> = replayed
        .chain(NOT_REPLAYED.iter().map(|(name, _)| *name))
        .collect();
    let once: BTreeSet<&str> = spoken_of.iter().copied().collect();
    assert_eq!(once.len(), spoken_of.len(), "a recording is named twice");
    let once: Vec<&str> = once.into_iter().collect();
    assert_eq!(once, recorded);
}

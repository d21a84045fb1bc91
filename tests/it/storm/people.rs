//! The people of a storm: who may meet which change, so that the oracle can tell what the right end is.
//!
//! | people | what never happens to them | since |
//! |---|---|---|
//! | [`ANCHORS`] | they never go and are never blocked | an emptied table holds all removals |
//! | [`GOOGLE`] | the address stays | somebody logged in with Google under it, and that account follows |
//! | [`ADOPTED`] | the address stays | an account of that address was there before Roster |
//! | [`BANNED`] | they never go, the row is never blocked | somebody bans them in the dashboard; a ban beside our own block looks like our own |
//! | [`SHADOW`] | the address stays, the key is not used again | they change unseen, and identity needs history |
//! | [`ORDINARY`] | – | |

use std::ops::Range;

use rand::RngExt;

use super::statements::Dice;

pub(super) const ANCHORS: Range<u32> = 0..2;
pub(super) const GOOGLE: Range<u32> = 2..5;
pub(super) const ADOPTED: Range<u32> = 5..8;
pub(super) const BANNED: Range<u32> = 8..10;
pub(super) const SHADOW: Range<u32> = 10..13;
pub(super) const ORDINARY: Range<u32> = 13..30;

/// So few that a change is often undone by a later one.
pub(super) const ROLES: &[&str] = &["Artist", "Editor", "Admin"];

/// Where somebody is at home: nobody else has this address unless it is given away.
pub(super) fn home(person: u32) -> String {
    format!("p{person}@example.test")
}

/// One of the few addresses of a person, as somebody may have typed it.
pub(super) fn address(person: u32, dice: &mut Dice) -> String {
    let steady = !may_move(person);
    let address = match dice.random_range(0..5) {
        1 if !steady => format!("p{person}-1@example.test"),
        2 if !steady => format!("p{person}-2@example.test"),
        _ => home(person),
    };
    match dice.random_bool(0.1) {
        true => address.to_uppercase(),
        false => address,
    }
}

/// One of the few names of a person; one of them is longer than Auth0 takes.
pub(super) fn name(person: u32, dice: &mut Dice) -> String {
    match dice.random_range(0..12) {
        0 => "n".repeat(200),
        n => format!("Person {person} {}", n % 3),
    }
}

/// Whether the address may change.
pub(super) fn may_move(person: u32) -> bool {
    !GOOGLE.contains(&person) && !ADOPTED.contains(&person) && !SHADOW.contains(&person)
}

/// Ordinary people come up more often than their number.
pub(super) fn any(dice: &mut Dice) -> u32 {
    match dice.random_bool(0.5) {
        true => ordinary(dice),
        false => dice.random_range(0..ORDINARY.end),
    }
}

pub(super) fn ordinary(dice: &mut Dice) -> u32 {
    match dice.random_bool(0.4) {
        true => busy(dice),
        false => dice.random_range(ORDINARY),
    }
}

/// Some are in the thick of it.
pub(super) fn busy(dice: &mut Dice) -> u32 {
    dice.random_range(ORDINARY.start..ORDINARY.start + 4)
}

pub(super) fn shadow(dice: &mut Dice) -> u32 {
    dice.random_range(SHADOW)
}

pub(super) fn movable(dice: &mut Dice) -> u32 {
    such(dice, may_move)
}

pub(super) fn removable(dice: &mut Dice) -> u32 {
    such(dice, |person| {
        !ANCHORS.contains(&person) && !BANNED.contains(&person) && !SHADOW.contains(&person)
    })
}

pub(super) fn blockable(dice: &mut Dice) -> u32 {
    such(dice, |person| {
        !ANCHORS.contains(&person) && !BANNED.contains(&person)
    })
}

fn such(dice: &mut Dice, may: impl Fn(u32) -> bool) -> u32 {
    loop {
        let person = any(dice);
        if may(person) {
            return person;
        }
    }
}

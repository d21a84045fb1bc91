//! The checks: all of the protocol as it is, and each safeguard taken out.

use std::{collections::BTreeSet, fmt::Write, time::Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::{
    AGREES, CONVERGES, KNOWN, NOT_FORGOTTEN, ONE_ACCOUNT, ONE_MAIL, ONE_WRITE, Protocol,
    protocol::{Fence, Rules},
};

/// More statements and faults than a test run has time for: `ROSTER_MODEL=5,3` checks that many instead.
const SIZE: &str = "ROSTER_MODEL";

/// Checks every state and says how many there were; fails with a short way to each broken property.
fn holds(rules: Rules, (statements, faults): (u8, u8)) {
    let started = Instant::now();
    let protocol = Protocol::new(rules, statements, faults);
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let mut broken = String::new();
    for (name, path) in checker.discoveries() {
        let (end, steps) = (*path.last_state(), path.into_actions());
        let _ = writeln!(broken, "not so: {name}\n{steps:?}\n{end:#?}");
    }
    assert!(broken.is_empty(), "{broken}");
    assert!(checker.is_done());
    println!(
        "{statements} statements, {faults} faults: {} states, the last one {} steps away, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
}

/// The property is broken with these rules; says by which steps.
fn breaks(property: &'static str, rules: Rules, (statements, faults): (u8, u8)) {
    let protocol = Protocol::new(rules, statements, faults);
    let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
    // One thread finds the shorter ways.
    let checker = protocol.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(property);
    let steps = path.map(|path| path.into_actions());
    assert!(steps.is_some(), "nothing breaks it: {property}");
    println!("{property}: broken by {:?}", steps.unwrap_or_default());
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_or_doubled_and_all_is_well_in_the_end() {
    let size = std::env::var(SIZE).ok().map(|size| {
        let (statements, faults) = size.split_once(',').expect(SIZE);
        (statements.parse().expect(SIZE), faults.parse().expect(SIZE))
    });
    match size {
        Some(size) => holds(Rules::REAL, size),
        None => {
            holds(Rules::REAL, (3, 2));
            holds(Rules::REAL, (2, 3));
        }
    }
}

#[test]
fn nothing_rests_on_auth0_refusing_a_second_account_with_the_same_address() {
    let rules = Rules {
        addresses_are_unique: false,
        ..Rules::REAL
    };
    holds(rules, (2, 2));
}

#[test]
fn without_a_fence_a_late_result_is_taken_for_news() {
    let rules = Rules {
        fence: Fence::Nothing,
        ..Rules::REAL
    };
    for property in [KNOWN, ONE_WRITE, CONVERGES] {
        breaks(property, rules, (3, 2));
    }
}

#[test]
fn a_fence_by_reactor_lets_a_late_result_of_its_own_through() {
    let rules = Rules {
        fence: Fence::Reactor,
        ..Rules::REAL
    };
    for property in [KNOWN, ONE_WRITE, CONVERGES] {
        breaks(property, rules, (3, 2));
    }
}

#[test]
fn without_a_generation_a_change_during_a_call_is_lost() {
    let rules = Rules {
        generation: false,
        ..Rules::REAL
    };
    for property in [NOT_FORGOTTEN, AGREES, CONVERGES] {
        breaks(property, rules, (3, 0));
    }
}

#[test]
fn without_a_look_after_a_lost_answer_the_mirror_is_wrong() {
    let rules = Rules {
        look: false,
        ..Rules::REAL
    };
    for property in [KNOWN, AGREES, CONVERGES] {
        breaks(property, rules, (3, 1));
    }
}

#[test]
fn without_a_mark_before_a_call_the_mirror_is_wrong_after_a_crash() {
    let rules = Rules {
        mark_first: false,
        ..Rules::REAL
    };
    for property in [KNOWN, AGREES, CONVERGES] {
        breaks(property, rules, (3, 1));
    }
}

#[test]
fn without_an_id_chosen_first_a_person_has_two_accounts() {
    let rules = Rules {
        id_first: false,
        addresses_are_unique: false,
        ..Rules::REAL
    };
    breaks(ONE_ACCOUNT, rules, (1, 1));
}

#[test]
fn without_the_ledger_written_first_a_mail_goes_out_twice() {
    let rules = Rules {
        ledger_first: false,
        ..Rules::REAL
    };
    breaks(ONE_MAIL, rules, (1, 1));
}

#[test]
fn a_call_applied_after_its_deadline_would_undo_what_came_later() {
    let rules = Rules {
        deadline_holds: false,
        ..Rules::REAL
    };
    for property in [KNOWN, AGREES, CONVERGES] {
        breaks(property, rules, (2, 1));
    }
}

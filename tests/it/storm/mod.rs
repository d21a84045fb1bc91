//! The storm: changes and faults all at once, made from a seed, and Auth0 equal to PostgreSQL at the end of it.
//!
//! Read on in `statements` (what the sessions say), `faults` (what goes wrong), `operator` (what people do beside it), `people` (who is
//! spared what), `history` (when it all happens), `play` and `quiet` (one storm, from beginning to end), `oracle` (what has to be true
//! then), `shrink` (a failure made small) and `sabotage` (the program without its safeguards does not get through).
//!
//! Promised: a seed always gives the same history; at least 200 statements that change rows, from three sessions; every fault of
//! [`faults::WORDS`] strikes in a run of 200 seeds. Not promised: that a seed ends the same way twice, since how the sessions, the
//! reactors and the faults interleave is left to the machine.
//!
//! `STORM_SEED` and `STORM_SEEDS` say where to begin and how many storms to play; without them it is 200 from the first one on.
//! With `STORM_ALL=1` they go on after one that ended badly.

mod faults;
mod history;
mod operator;
mod oracle;
mod people;
mod place;
mod play;
mod process;
mod quiet;
mod run;
mod sabotage;
mod session;
mod shrink;
mod statements;
mod way;

use self::{
    faults::{Counts, WORDS},
    history::{History, Mix},
};

/// So many storms make a run in which every fault strikes.
const RUN: u64 = 200;

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().expect("a number"),
        _ => otherwise,
    }
}

#[test]
fn whatever_happens_in_a_storm_auth0_equals_postgresql_after_it() {
    let (first, seeds) = (number("STORM_SEED", 1), number("STORM_SEEDS", RUN));
    let mix = Mix::default();
    let started = std::time::Instant::now();
    let outcomes = run::seeds(first..=first + seeds - 1, &mix, None, |seed, outcome| {
        if seeds < RUN {
            println!("seed {seed}: {}", told(&outcome.counts));
        }
        if !outcome.wrong.is_empty() {
            println!("seed {seed} ended badly: {}", outcome.wrong.join("\n"));
        }
        !outcome.wrong.is_empty() && number("STORM_ALL", 0) == 0
    });
    let all = Counts::default();
    for (_, outcome) in &outcomes {
        all.also(&outcome.counts);
    }
    println!(
        "{} seeds from {first} in {:?}: {}",
        outcomes.len(),
        started.elapsed(),
        told(&all)
    );
    if let Some((seed, outcome)) = outcomes
        .iter()
        .find(|(_, outcome)| !outcome.wrong.is_empty())
    {
        let history = History::of(*seed, &mix);
        let small = shrink::shrunk(&history, &mix);
        // What is wrong comes last: a log that was cut short still has it.
        panic!(
            "{}\nthis is the smallest history that ended badly: {:#?}\nit was made of seed {seed}, which ended so: {:#?}",
            small.history, small.wrong, outcome.wrong
        );
    }
    if seeds >= RUN {
        for word in WORDS.iter().chain(&["deleted"]) {
            assert!(all.of(word) > 0, "{word} never happened in {seeds} storms");
        }
    }
}

/// What happened, in numbers.
fn told(counts: &Counts) -> String {
    let per_change = counts.of("calls") as f64 / counts.of("changes").max(1) as f64;
    format!("{counts}, {per_change:.2} calls a changed row")
}

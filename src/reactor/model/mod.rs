//! A model of the protocol by which reactors share users, checked in every state that can be reached.
//!
//! Wanted: no change is lost, no second account, no second mail for an epoch, no write on top of one that is still under way; and
//! whatever went wrong, all is well once nothing goes wrong any more.
//!
//! Modelled, each as one indivisible step where the program has one transaction or one call: a person's statements, [`fold`], claim,
//! turn (record, plan, begin, release), Auth0 applying a call at any moment or never, its answer, its refusal, its loss; a worker that
//! dies between any two steps, a lease that ends while its worker lives, a claim that a crash of the database undoes; deadlines and
//! waits that end. [`protocol`] has the states and steps and is held to the program step by step by `tests/it/model.rs`, so what is
//! found here is found in the program, and a step that changes in the program has to change here.
//!
//! Left out, since it is told in stories: other users (what two share is addresses and the guard), other persons under a key (so nobody
//! returns and goes again between two folds) and takeovers, bans by others and deletions, the pace, pauses and modes, the sweep (here
//! nothing is left for it to find), staged invitations, and what no step could tell apart: a fold or a turn that is undone has not
//! happened yet. Nobody but the two workers changes Auth0. A call is over once its deadline has passed, since the program chooses it so;
//! what a later one could do is shown, and is why the sweep looks a second time. A second account with the address is taken for a dispute
//! wherever it is met, since it must never come to that.
//!
//! That it converges is told of every state that can be reached, whatever faults would still be allowed: from it, steps that happen by
//! themselves lead to the end (one such way is walked). Cycles are only those of waiting again for what has not come yet, so a run in
//! which everything that can happen for ever does happen some day gets there. The checker's own `eventually` is not used: it does not
//! follow ways that join.
//!
//! A counterexample is a short way there (a step or two at its end may be chance): the steps in order, then the state they lead to.
//! `Turn(0)` is a turn of the first worker, `Apply(1)` is Auth0 doing call number 1, which the last state before it describes.
//!
//! [`fold`]: crate::db::changes::fold

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use stateright::{Model, Property};

use self::protocol::{Rules, State, Step};

mod checks;
mod protocol;

const ONE_ACCOUNT: &str = "a person has at most one account";
const ONE_MAIL: &str = "an epoch has at most one mail";
const ONE_WRITE: &str = "at most one write is under way";
const KNOWN: &str = "what is recorded is so, unless a call is marked";
const NOT_FORGOTTEN: &str = "whoever is not due has nothing to do";
const AGREES: &str = "whoever is let go is in Auth0 as in the table";
const NO_DISPUTE: &str = "no person has to decide";
const CONVERGES: &str = "it converges once faults end";

/// Steps after which a calm run that has not ended is taken for one that never does. The longest needs some twenty.
const MOST_CALM_STEPS: usize = 100;

/// The protocol with these rules, and so many statements and faults.
struct Protocol {
    rules: Rules,
    statements: u8,
    faults: u8,
    /// States from which a calm run is known to converge.
    calm: Mutex<HashSet<State>>,
}

impl Protocol {
    fn new(rules: Rules, statements: u8, faults: u8) -> Self {
        Self {
            rules,
            statements,
            faults,
            calm: Mutex::default(),
        }
    }

    fn converges(&self, from: &State) -> bool {
        let (mut state, mut walked, mut steps) = (*from, Vec::new(), Vec::new());
        for _ in 0..MOST_CALM_STEPS {
            let mut calm = self.calm.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_converged() || calm.contains(&state) {
                calm.extend(walked);
                return true;
            }
            drop(calm);
            walked.push(state);
            steps.clear();
            state.steps(&self.rules, &mut steps);
            match state.calm_step(&steps) {
                Some(step) => state.take(step, &self.rules),
                None => return false,
            }
        }
        false
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.statements, self.faults)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        state.steps(&self.rules, steps);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        state.take(step, &self.rules);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_ACCOUNT, |_, state: &State| {
                state.tenant.iter().flatten().count() <= 1
            }),
            Property::always(ONE_MAIL, |_, state: &State| {
                state.mails.iter().all(|mails| *mails <= 1)
            }),
            Property::always(ONE_WRITE, |_, state: &State| state.writes() <= 1),
            Property::always(KNOWN, |_, state: &State| state.knows_what_is()),
            Property::always(NOT_FORGOTTEN, |_, state: &State| state.forgets_nobody()),
            Property::always(AGREES, |_, state: &State| state.agrees_if_let_go()),
            Property::always(NO_DISPUTE, |_, state: &State| {
                state.mirror.is_none_or(|mirror| !mirror.disputed)
            }),
            Property::always(CONVERGES, |protocol: &Self, state| {
                protocol.converges(state)
            }),
        ]
    }
}

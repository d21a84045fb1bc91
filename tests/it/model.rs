//! The model of the protocol (`src/reactor/model`) is held to the program: walks through the model are taken by a real database, the
//! program's own fold, claim, turn and calls, and the emulated tenant, and after each step all that the model knows is compared.
//!
//! Time stands still: whatever the program puts off is put off for a day, and a step of the model ends the wait.

#[path = "../../src/reactor/model/protocol/mod.rs"]
#[allow(dead_code, reason = "what only the checks beside the reactor need")]
mod protocol;
mod stage;

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    protocol::{Call, Rules, State, Step, Worker},
    stage::Stage,
};

/// Walks to choose from. So many more are taken on demand: `ROSTER_MODEL_WALKS=1000`.
const CANDIDATES: u64 = 500;
/// Of a walk, at most.
const STEPS: usize = 50;
/// The share of steps that happen by themselves, as long as there are others.
const CALM: f64 = 0.75;
/// So many accounts has a person in the model, one after the other.
const MOST_IDS: u8 = 3;
/// Where a walk begins: nobody is there, and much may happen.
const BEGINNING: State = State::new(20, 10);

/// Of what kind a step is: whose, and with which call or end of one.
fn kind(step: Step, before: &State) -> String {
    let about = |call: Option<Call>| match call {
        Some(Call { action, answer, .. }) => {
            let answer = answer.map_or(String::new(), |a| format!(" {}", word(&a)));
            format!("{}{answer}", word(&action))
        }
        None => String::new(),
    };
    let has_lease = |slot| {
        let lease = before.mirror.and_then(|m| m.lease);
        lease.is_some_and(|lease| lease.by == Some(slot))
    };
    match step {
        Step::Turn(slot) if !has_lease(slot) => "late turn".to_owned(),
        Step::Turn(slot) => match before.worker(slot) {
            Some(Worker::Calling { call, .. }) => {
                format!("turn after {}", about(before.call(call)))
            }
            _ => "turn".to_owned(),
        },
        Step::Crash(slot) => match before.worker(slot) {
            Some(Worker::Calling { call, .. }) => {
                let action = before.call(call).map(|call| word(&call.action));
                format!("crash with {}", action.unwrap_or_default())
            }
            _ => "crash".to_owned(),
        },
        Step::Apply(id) | Step::Refuse(id) | Step::Cut(id) | Step::Lose(id) => {
            let awaited = before.call(id).is_some_and(|call| call.awaited);
            let whose = if awaited { "" } else { " of nobody" };
            format!("{} {}{whose}", word(&step), about(before.call(id)))
        }
        Step::Vanish(id) | Step::NotMade(id) => {
            format!("{} {}", word(&step), about(before.call(id)))
        }
        _ => word(&step),
    }
}

/// The name of a variant.
fn word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_lowercase()
}

/// Steps, each with the state it leads to, and of what kinds they are.
struct Walk {
    seed: u64,
    steps: Vec<(Step, State)>,
    kinds: BTreeSet<String>,
}

/// A walk through the model, mostly of what happens by itself.
fn walk(seed: u64) -> Walk {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut state = BEGINNING;
    let mut walk = Walk {
        seed,
        steps: Vec::new(),
        kinds: BTreeSet::new(),
    };
    while walk.steps.len() < STEPS && state.ids < MOST_IDS {
        let mut steps = Vec::new();
        state.steps(&Rules::REAL, &mut steps);
        let is_calm = random.random_bool(CALM);
        if steps.iter().any(|step| step.is_calm(&state) == is_calm) {
            steps.retain(|step| step.is_calm(&state) == is_calm);
        }
        let step = steps[random.random_range(0..steps.len())];
        walk.kinds.insert(kind(step, &state));
        state.take(step, &Rules::REAL);
        walk.steps.push((step, state));
    }
    walk
}

/// Of many walks those that have the most kinds of steps that the ones before have not, until every kind was taken.
fn walks() -> Vec<Walk> {
    let mut candidates: Vec<Walk> = (0..CANDIDATES).map(walk).collect();
    let mut missing: BTreeSet<String> = candidates.iter().flat_map(|w| w.kinds.clone()).collect();
    let mut walks = Vec::new();
    while !missing.is_empty() {
        let gain = |walk: &Walk| walk.kinds.intersection(&missing).count();
        let best = (0..candidates.len()).max_by_key(|at| gain(&candidates[*at]));
        let walk = candidates.swap_remove(best.expect("a walk"));
        missing.retain(|kind| !walk.kinds.contains(kind));
        walks.push(walk);
    }
    walks
}

/// Its worker will be told nothing of what Auth0 did.
fn answer_is_lost(step: Step, after: &State, later: &[(Step, State)]) -> bool {
    let Step::Apply(id) = step else { return false };
    let awaits =
        |slot: &u8| matches!(after.worker(*slot), Some(Worker::Calling { call, .. }) if call == id);
    let Some(slot) = [0, 1].into_iter().find(awaits) else {
        return false;
    };
    later
        .iter()
        .map(|(step, _)| *step)
        .take_while(|step| ![Step::Turn(slot), Step::Crash(slot)].contains(step))
        .any(|step| step == Step::Lose(id))
}

/// Takes a walk with the program; it parts from the model nowhere.
async fn follow(walk: &Walk) {
    let mut stage = Stage::new().await;
    let mut before = BEGINNING;
    for (at, (step, after)) in walk.steps.iter().enumerate() {
        let lost = answer_is_lost(*step, after, &walk.steps[at + 1..]);
        stage.take(*step, &before, after, lost).await;
        let real = stage.state(after).await;
        assert_eq!(real, *after, "walk {}: {:?}", walk.seed, stage.steps);
        stage.compare_plan(after).await;
        before = *after;
    }
}

#[test]
fn the_walks_have_all_that_can_become_of_a_call() {
    let kinds: BTreeSet<String> = walks().into_iter().flat_map(|walk| walk.kinds).collect();
    for action in ["create", "update", "block", "unblock", "look", "invite"] {
        let said = match action {
            "look" => "looked",
            "invite" => "mailed",
            _ => "shown",
        };
        for end in [said, "lost", "refused", "notmade"] {
            let what = format!("turn after {action} {end}");
            assert!(kinds.contains(&what), "no walk has a {what}");
        }
        for what in ["crash with", "cut", "lose"] {
            let what = format!("{what} {action}");
            assert!(kinds.contains(&what), "no walk has a {what}");
        }
    }
    for what in ["late turn", "undo", "leaseends", "deadlinepasses"] {
        assert!(kinds.contains(what), "no walk has a {what}");
    }
}

#[tokio::test]
async fn the_program_takes_every_step_as_the_model_does() {
    let more = std::env::var("ROSTER_MODEL_WALKS").ok();
    let more = more.map_or(0, |more| more.parse().expect("a number of walks"));
    let chosen = walks();
    let steps: usize = chosen.iter().map(|walk| walk.steps.len()).sum();
    let kinds: BTreeSet<&String> = chosen.iter().flat_map(|walk| &walk.kinds).collect();
    println!(
        "{} walks, {steps} steps of {} kinds",
        chosen.len(),
        kinds.len()
    );
    for walk in &chosen {
        follow(walk).await;
    }
    for seed in CANDIDATES..CANDIDATES + more {
        follow(&walk(seed)).await;
    }
}

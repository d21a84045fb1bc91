//! A program without one of its safeguards does not get through the storm.
//!
//! Nothing in the program can be switched off. Each safeguard is taken out from outside: by a trigger on Roster's tables, by a view of the
//! planner without the clause in question, or by reactors that are told what they never would be.
//!
//! | without | how | what bites |
//! |---|---|---|
//! | fence | all reactors have one id and all claims too, and a lease that ends is kept, so that every late result counts as in time | a network that stands still for longer than a lease, and an outage of Auth0 that keeps what is left to do waiting when the late results come |
//! | generation | a trigger keeps `roster.mirror.generation` | a change that is folded while a call is under way |
//! | look after a lost answer | the planner's view takes no notice of a call in flight | answers lost after the change was applied, and rows that go back to what they were |
//! | id chosen first | a trigger forgets the id once a create's answer is lost | answers lost of creates |
//! | looking again after a wake | no series of looks, and an hour between two polls | commits that relied on somebody else's ring |

use std::time::Duration;

use super::{
    history::{History, Mix},
    play::Outcome,
    run,
    statements::Kind,
};

/// A safeguard that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    Fence,
    Generation,
    Look,
    ChosenId,
    Afterlooks,
}

/// Longer than a busy machine takes for an answer that no fault holds up.
const PATIENT: Duration = Duration::from_secs(10);

/// The planner, as it is installed.
const PLAN: &str = include_str!("../../../triggers/plan.sql");

impl Sabotage {
    /// What is done to the database.
    pub(super) fn sql(self) -> String {
        match self {
            // A second reactor of the same id could not even register.
            Self::Fence => "create function storm.twin() returns trigger language plpgsql as $$ \
                 begin if exists (select from roster.reactors where id = new.id) then return null; end if; return new; end $$; \
                 create trigger twin before insert on roster.reactors for each row execute function storm.twin(); \
                 create function storm.stay() returns trigger language plpgsql as $$ \
                 begin new.lease_by := old.lease_by; new.lease_until := now(); return new; end $$; \
                 create trigger stay before update on roster.mirror for each row \
                 when (old.lease_by is not null and new.lease_by is null) execute function storm.stay()"
                .to_owned(),
            Self::Generation => "create function storm.keep() returns trigger language plpgsql as $$ \
                 begin new.generation := old.generation; return new; end $$; \
                 create trigger keep before update on roster.mirror for each row execute function storm.keep()"
                .to_owned(),
            Self::Look => [
                ("when a.call_id is not null or a.state = 'missing' then 'look'", "when a.state = 'missing' then 'look'"),
                ("when a.call_id is not null and a.call_deadline > now() then 'a call is in flight'", "when false then ''"),
            ]
            .iter()
            .fold(PLAN.to_owned(), |plan, (clause, without)| {
                assert_eq!(plan.matches(clause).count(), 1, "{clause}");
                plan.replace(clause, without)
            }),
            Self::ChosenId => "create function storm.forget() returns trigger language plpgsql as $$ \
                 begin new.auth0_user_id := 'auth0|' || gen_random_uuid(); return new; end $$; \
                 create trigger forget before update on roster.accounts for each row \
                 when (old.state = 'chosen' and new.state = 'chosen' and old.call_id = new.call_id) execute function storm.forget()"
                .to_owned(),
            Self::Afterlooks => String::new(),
        }
    }

    /// What a storm is made of that this safeguard stands against.
    fn mix(self) -> Mix {
        let hot = &[
            (Kind::Toggle, 20),
            (Kind::Role, 5),
            (Kind::Insert, 2),
            (Kind::Delete, 1),
        ];
        let calm = Mix {
            kinds: hot,
            faults: &[],
            wild: 0,
            deeds: 0,
            sweeps: false,
            ..Mix::default()
        };
        match self {
            Self::Fence => Mix {
                reactors: (4, 5),
                kinds: &[(Kind::Flip, 1)],
                faults: &[("way frozen", 1), ("late", 9)],
                wild: 100,
                // What is still to be done waits while the late results come.
                outage: Some((Duration::from_millis(2_700), 3_000)),
                settled: true,
                lease: Duration::from_millis(1_000),
                ..calm
            },
            Self::Generation => Mix {
                call_timeout: PATIENT,
                lease: Duration::from_secs(60),
                faults: &[("late", 1)],
                wild: 100,
                settled: true,
                ..calm
            },
            Self::Look => Mix {
                faults: &[("cut after", 3), ("slow", 1)],
                wild: 12,
                ..calm
            },
            Self::ChosenId => Mix {
                faults: &[("cut after", 1)],
                wild: 6,
                ..calm
            },
            Self::Afterlooks => Mix {
                // Nor does anybody look since a lease ends, or since another reactor was at it just then.
                reactors: (1, 2),
                call_timeout: PATIENT,
                poll: Duration::from_secs(3600),
                // A look comes late on a busy machine, and is to come before the end of a commit that it does not see.
                commit_takes: Duration::from_millis(300),
                lease: Duration::from_secs(60),
                settled: true,
                bursts: true,
                kinds: &[(Kind::Role, 1), (Kind::Name, 1)],
                ..calm
            },
        }
    }
}

/// Storms until one of them does not end well: which one that was.
fn first_failure(
    sabotage: Option<Sabotage>,
    mix: &Mix,
    seeds: std::ops::RangeInclusive<u64>,
) -> Option<(u64, Outcome)> {
    run::seeds(seeds, mix, sabotage, |_, outcome| !outcome.wrong.is_empty())
        .into_iter()
        .find(|(_, outcome)| !outcome.wrong.is_empty())
}

/// Without the safeguard the storm fails within 200 seeds; with it the same storms end well.
fn is_missed(sabotage: Sabotage) {
    let mix = sabotage.mix();
    let Some((seed, outcome)) = first_failure(Some(sabotage), &mix, 1..=200) else {
        panic!("200 storms ended well without {sabotage:?}");
    };
    println!(
        "without {sabotage:?} seed {seed} ends badly: {}",
        outcome.wrong[0]
    );
    let healthy = first_failure(None, &mix, seed..=seed + 3);
    if let Some((seed, outcome)) = healthy {
        panic!(
            "with {sabotage:?} in place seed {seed} ends badly all the same: {:?}\n{}",
            outcome.wrong,
            History::of(seed, &mix)
        );
    }
}

#[test]
fn without_the_fence_a_storm_ends_badly() {
    is_missed(Sabotage::Fence);
}

#[test]
fn without_the_generation_a_storm_ends_badly() {
    is_missed(Sabotage::Generation);
}

#[test]
fn without_a_look_after_a_lost_answer_a_storm_ends_badly() {
    is_missed(Sabotage::Look);
}

#[test]
fn without_the_id_chosen_first_a_storm_ends_badly() {
    is_missed(Sabotage::ChosenId);
}

#[test]
fn without_looking_again_after_a_wake_a_storm_ends_badly() {
    is_missed(Sabotage::Afterlooks);
}

//! The program on stage: it takes the model's steps, and is read (`reading`) as a state of the model.

use std::time::Instant;

use roster::{
    db::{
        begin::Begun,
        changes,
        done::Done,
        mirror::{self, Claim, Terms},
        plan,
    },
    reactor::apply,
};
use serde_json::{Value, json};
use uuid::Uuid;

mod reading;

use super::protocol::{CallId, Slot, State, Step, Worker};
use crate::support::world::World;

const ADA: &str = "ada@example.test";
/// Whatever is put off is put off for long.
const STAND_STILL: &str = "
    create function public.stand_still() returns trigger language plpgsql as $$ begin
        if tg_table_name = 'mirror' then
            if new.next_attempt_at > now() then new.next_attempt_at := now() + interval '1 day'; end if;
            if new.lease_until > now() then new.lease_until := now() + interval '1 day'; end if;
        elsif new.call_deadline > now() then
            new.call_deadline := now() + interval '1 day';
        end if;
        return new;
    end $$;
    create trigger stand_still before insert or update on roster.mirror for each row execute function public.stand_still();
    create trigger stand_still before insert or update on roster.accounts for each row execute function public.stand_still()";
/// A world with Ada, who may come and go, and somebody who stays, so that the table is never empty.
pub(super) struct Stage {
    world: World,
    terms: [Terms; 2],
    claims: [Option<Claim>; 2],
    calls: [Option<Made>; 4],
    /// For whoever has to find out where the two parted.
    pub(super) steps: Vec<Step>,
}

/// A call that was begun, and what its worker was told.
struct Made {
    begun: Begun,
    done: Option<Done>,
    will_be_lost: bool,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let world = World::new().await;
        world
            .run("insert into users (id, email) values (2, 'stays@example.test')")
            .await;
        world.settle().await;
        world.run(STAND_STILL).await;
        let terms = [0, 1].map(|_| Terms {
            reactor: Uuid::new_v4(),
            ..world.reactor.terms.clone()
        });
        Self {
            world,
            terms,
            claims: [None, None],
            calls: [None, None, None, None],
            steps: Vec::new(),
        }
    }

    /// Takes the step that leads the model from one state to another.
    pub(super) async fn take(&mut self, step: Step, before: &State, after: &State, lost: bool) {
        self.steps.push(step);
        match step {
            Step::Insert => {
                let insert =
                    format!("insert into users (id, email, role) values (1, '{ADA}', 'Artist')");
                self.world.run(&insert).await;
            }
            Step::Update => {
                self.world
                    .run("update users set role = case role when 'Editor' then 'Artist' else 'Editor' end where id = 1")
                    .await;
            }
            Step::Delete => self.world.run("delete from users where id = 1").await,
            Step::Invite => self.world.run("select roster.invite('1')").await,
            Step::Fold => {
                let folded = changes::fold(&self.world.reactor.pool)
                    .await
                    .expect("a fold");
                assert!(folded.changes > 0);
            }
            Step::Claim(slot) => {
                let mut claims = self.claim(slot).await;
                assert_eq!(claims.len(), 1);
                self.claims[usize::from(slot)] = claims.pop();
            }
            Step::Turn(slot) => self.turn(slot, before, after).await,
            Step::Apply(id) => {
                let kind = lost.then_some(("cut_after", json!({})));
                self.make(id, kind).await;
                if let Some(made) = &mut self.calls[usize::from(id)] {
                    made.will_be_lost = lost;
                }
            }
            Step::Refuse(id) => {
                self.make(id, Some(("status", json!({"status": 403}))))
                    .await
            }
            Step::Cut(id) => self.make(id, Some(("cut_before", json!({})))).await,
            // Of one that is under way still, the worker learns no more than of one that is cut.
            Step::Lose(id) if before.call(id).is_some_and(|c| c.answer.is_none()) => {
                self.make(id, Some(("cut_before", json!({})))).await;
            }
            Step::Lose(_) | Step::Vanish(_) => {}
            Step::NotMade(id) => {
                let made = self.calls[usize::from(id)].as_mut().expect("a call");
                made.done = Some(apply::not_made(made.begun.clone()));
            }
            Step::Crash(slot) => {
                self.claims[usize::from(slot)] = None;
                self.terms[usize::from(slot)].reactor = Uuid::new_v4();
            }
            Step::Undo(_) => {
                self.of_ada("mirror set lease_by = null, lease_until = null")
                    .await
            }
            Step::LeaseEnds => {
                self.of_ada("mirror set lease_until = now() - interval '1 s'")
                    .await
            }
            Step::RetryComes => {
                self.of_ada("mirror set next_attempt_at = now() - interval '1 s'")
                    .await
            }
            Step::DeadlinePasses => {
                let passes = "accounts set call_deadline = now() - interval '1 s'";
                self.of_ada(passes).await;
            }
            Step::MinutePasses => {
                let passes = "invitations set changed_at = changed_at - interval '2 minutes'";
                self.of_ada(passes).await;
            }
        }
        for (made, call) in self.calls.iter_mut().zip(&after.calls) {
            if call.is_none() {
                *made = None;
            }
        }
        let m = after.mirror.unwrap_or_default();
        if !m.due || m.waits || m.lease.is_some_and(|lease| !lease.ended) {
            assert_eq!(self.claim(0).await, [], "nobody is to be claimed");
        }
    }

    async fn of_ada(&self, set: &str) {
        let update = format!("update roster.{set} where user_key = '1'");
        let update = match set.contains("call_deadline") {
            true => format!("{update} and call_id is not null"),
            false => update,
        };
        self.world.run(&update).await;
    }

    async fn claim(&self, slot: Slot) -> Vec<Claim> {
        let terms = &self.terms[usize::from(slot)];
        mirror::claim(&self.world.reactor.pool, terms, 1, &[])
            .await
            .expect("claims")
    }

    async fn turn(&mut self, slot: Slot, before: &State, after: &State) {
        let at = usize::from(slot);
        let done: Vec<Done> = match before.worker(slot) {
            Some(Worker::Calling { call, .. }) => {
                let made = self.calls[usize::from(call)].as_ref().expect("a call");
                vec![made.done.clone().expect("an answer")]
            }
            _ => Vec::new(),
        };
        let claim = self.claims[at].clone().expect("a claim");
        let (pool, terms) = (&self.world.reactor.pool, &self.terms[at]);
        let begun = mirror::turn(pool, terms, &[claim], &done, true)
            .await
            .expect("a turn")
            .begun;
        match (begun.into_iter().next(), after.worker(slot)) {
            (Some(begun), Some(Worker::Calling { call, .. })) => {
                self.calls[usize::from(call)] = Some(Made {
                    begun,
                    done: None,
                    will_be_lost: false,
                });
            }
            (None, None) => self.claims[at] = None,
            (begun, worker) => panic!(
                "the program began {begun:?}, the model {worker:?}, plan {:?} after {:?}",
                self.world.plan().await,
                self.steps
            ),
        }
    }

    /// Makes the call. Only who awaits it is told what came of it.
    async fn make(&mut self, id: CallId, fault: Option<(&str, Value)>) {
        let made = self.calls[usize::from(id)].as_mut().expect("a call");
        let route = match made.begun.row.action {
            plan::Action::Look => "GET /api/v2/users/{id}",
            plan::Action::Create => "POST /api/v2/users",
            plan::Action::Invite => "POST /dbconnections/change_password",
            _ => "PATCH /api/v2/users/{id}",
        };
        if let Some((kind, more)) = fault {
            self.world.tenant.fault(route, kind, 1, more).await;
        }
        // However long the walk took to come here: time stands still.
        made.begun.at = Instant::now();
        let done = apply::apply(&self.world.reactor.client, made.begun.clone()).await;
        assert!(self.world.tenant.has_struck().await);
        made.done.get_or_insert(done);
    }

    /// The plan is the model's: the same actions, and as many of them now. Whose lease it is, is seen through.
    pub(super) async fn compare_plan(&self, model: &State) {
        if model.mirror.is_none() {
            return;
        }
        self.world
            .run("select set_config('roster.reactor', coalesce((select lease_by::text from roster.mirror where user_key = '1'), ''), false)")
            .await;
        let real = self
            .world
            .texts("select action || ' ' || state from roster.plan where user_key = '1' order by action = 'invite'")
            .await;
        let plan = model.plan();
        let modelled: Vec<String> = plan
            .iter()
            .map(|(action, standby)| format!("{} {standby:?}", super::word(action)).to_lowercase())
            .collect();
        let real: Vec<String> = real
            .into_iter()
            .map(|row| {
                row.replace("parked", "person")
                    .replace("disputed", "person")
            })
            .collect();
        assert_eq!(real, modelled, "the plan after {:?}", self.steps);
    }
}

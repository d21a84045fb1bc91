//! Database, tenant and the workers' memory, read as a state of the model.

use roster::db::{
    begin::Begun,
    done::{Done, Effect, Failure, Observed},
    plan,
};
use uuid::Uuid;

use super::{
    super::protocol::{
        Account, Action, Answer, Call, CallId, Lease, Letter, Mark, Mirror, Standing, State, User,
        Worker,
    },
    ADA, Made, Stage,
};
use crate::support::world::text;

const STATE: &str = "
    select (select role = 'Editor' from users where id = 1) as row,
        exists (select from roster.changes where folded_at is null) as news,
        m.user_key is not null as known, m.due, m.generation, coalesce(m.next_attempt_at > now(), false) as waits,
        m.lease_by, m.claim_id, m.lease_until <= now() as lease_ended, m.look_wanted, m.conflict,
        m.disputed is not null as disputed, m.invite_epoch,
        a.auth0_user_id, a.state, coalesce(a.app_metadata ->> 'role' = 'Editor', false) as role, a.blocked, a.blocked_by_us,
        a.call_id, a.call_action = 'block' as blocks, a.call_deadline <= now() as passed,
        array(select auth0_user_id from roster.accounts where user_key = '1' order by created_at) as ids
    from (select) one
    left join roster.mirror m on m.user_key = '1'
    left join roster.accounts a on a.user_key = '1' and a.state <> 'gone'";

impl Stage {
    /// What there is, as a state of the model. How far a call has come on its way only the model knows, and how much may still happen.
    pub(in super::super) async fn state(&self, model: &State) -> State {
        let row = self.world.sql.query_one(STATE, &[]).await.expect(STATE);
        let ids: Vec<String> = row.get("ids");
        let number = |id: &str| {
            let at = ids
                .iter()
                .position(|known| known == id)
                .expect("an id of ours");
            u8::try_from(at).expect("few ids")
        };
        let mut real = State::new(model.left.statements, model.left.faults);
        real.ids = u8::try_from(ids.len()).expect("few ids");
        (real.row, real.news) = (row.get("row"), row.get("news"));
        real.mirror = row.get::<_, bool>("known").then(|| {
            let by: Option<Uuid> = row.get("lease_by");
            let claim: Option<Uuid> = row.get("claim_id");
            let holder = (0u8..).zip(&self.claims).find(|(slot, held)| {
                by == Some(self.terms[usize::from(*slot)].reactor)
                    && held.as_ref().map(|held| held.id) == claim
            });
            let lease = by.map(|_| Lease {
                by: holder.map(|(slot, _)| slot),
                ended: row.get("lease_ended"),
            });
            Mirror {
                due: row.get("due"),
                waits: row.get("waits"),
                // Nothing is left of one that ended and is nobody's.
                lease: lease.filter(|lease| lease.by.is_some() || !lease.ended),
                look_wanted: row.get("look_wanted"),
                conflict: row.get("conflict"),
                disputed: row.get("disputed"),
                epoch: u8::try_from(row.get::<_, i32>("invite_epoch")).expect("few epochs"),
            }
        });
        real.account = row
            .get::<_, Option<String>>("auth0_user_id")
            .map(|id| Account {
                id: number(&id),
                standing: match row.get("state") {
                    "chosen" => Standing::Chosen,
                    "linked" => Standing::Linked,
                    _ => Standing::Missing,
                },
                observed: User {
                    role: row.get("role"),
                    blocked: row.get("blocked"),
                },
                blocked_by_us: row.get("blocked_by_us"),
                mark: row.get::<_, Option<Uuid>>("call_id").map(|call| Mark {
                    call: self.call_with(call),
                    blocks: row.get("blocks"),
                    passed: row.get("passed"),
                }),
            });
        let generation: Option<i64> = row.get("generation");
        for (slot, worker) in real.workers.iter_mut().enumerate() {
            *worker = self.claims[slot]
                .as_ref()
                .map(|_| match model.workers[slot] {
                    Some(Worker::Calling { call, .. }) => Worker::Calling {
                        call,
                        fresh: self.calls[usize::from(call)].as_ref().is_some_and(|made| {
                            made.begun.alone && Some(made.begun.generation) == generation
                        }),
                    },
                    _ => Worker::Claimed,
                });
        }
        for (id, call) in real.calls.iter_mut().enumerate() {
            if let (Some(made), Some(on_its_way)) = (&self.calls[id], model.calls[id]) {
                let account = made.begun.row.auth0_user_id.as_deref().expect("an id");
                *call = Some(Call {
                    action: action(&made.begun, on_its_way.action),
                    account: number(account),
                    answer: match on_its_way.answer {
                        // Lost already, as the model will say only later.
                        Some(answer) if made.will_be_lost && answer != Answer::Lost => Some(answer),
                        _ if !on_its_way.awaited => None,
                        _ => made.done.as_ref().and_then(told_by),
                    },
                    ..on_its_way
                });
            }
        }
        self.read_tenant(&mut real, &ids).await;
        real.ledger = self.ledger().await;
        let mails = self.world.tenant.mailed().await;
        let hers = mails.iter().filter(|to| *to == ADA).count();
        assert_eq!(hers, usize::from(model.mails[0] + model.mails[1]), "mails");
        State {
            mails: model.mails,
            returned: model.returned,
            ..real
        }
    }

    async fn read_tenant(&self, real: &mut State, ids: &[String]) {
        for user in self.world.tenant.list("users").await {
            let id = text(&user["user_id"]);
            match ids.iter().position(|known| *known == id) {
                Some(at) => {
                    real.tenant[at] = Some(User {
                        role: user["app_metadata"]["role"] == "Editor",
                        blocked: user["blocked"] == true,
                    });
                }
                None => assert_eq!(user["email"], "stays@example.test"),
            }
        }
    }

    async fn ledger(&self) -> [Option<Letter>; 2] {
        let letters = "select epoch, state, changed_at < now() - interval '1 minute' from roster.invitations where user_key = '1'";
        let mut ledger = [None; 2];
        for row in self.world.sql.query(letters, &[]).await.expect(letters) {
            let epoch = usize::try_from(row.get::<_, i32>(0)).expect("an epoch");
            ledger[epoch - 1] = Some(match row.get(1) {
                "sending" => Letter::Sending { old: row.get(2) },
                "sent" => Letter::Sent,
                other => {
                    assert_eq!(other, "unknown");
                    Letter::Unknown
                }
            });
        }
        ledger
    }

    fn call_with(&self, id: Uuid) -> Option<CallId> {
        let is_it = |made: &Option<Made>| made.as_ref().is_some_and(|m| m.begun.call_id == id);
        let at = self.calls.iter().position(is_it)?;
        u8::try_from(at).ok()
    }
}

/// What a begun call does, in the model's words; which epoch a mail is of only the model knows.
fn action(begun: &Begun, modelled: Action) -> Action {
    let role = begun.row.changes["app_metadata.role"]["to"] == "Editor";
    match begun.row.action {
        plan::Action::Look => Action::Look {
            live: begun.live,
            conflict: begun.conflict,
        },
        plan::Action::Block => Action::Block,
        plan::Action::Create => Action::Create(role),
        plan::Action::Update => Action::Update(role),
        plan::Action::Unblock => match begun.row.changes.get("app_metadata.role") {
            Some(_) => Action::Unblock(role),
            // The role stays.
            None => modelled,
        },
        plan::Action::Invite => modelled,
        other => panic!("the model has no {other:?}"),
    }
}

/// What a worker was told, in the model's words.
fn told_by(done: &Done) -> Option<Answer> {
    let user = |seen: &Observed| User {
        role: seen
            .app_metadata
            .get("role")
            .is_some_and(|role| role == "Editor"),
        blocked: seen.blocked,
    };
    Some(match &done.effect {
        Effect::Observed(seen) => Answer::Shown(user(seen)),
        Effect::Looked(found) => match &found.own {
            Some(seen) => Answer::Looked(Ok(user(seen))),
            None => Answer::Looked(Err(found.dispute.is_some())),
        },
        Effect::Mailed => Answer::Mailed,
        Effect::Missing => Answer::NotThere,
        Effect::NotMade => Answer::NotMade,
        Effect::Failed(Failure { code, .. }) if code == "user_exists" => Answer::Exists,
        Effect::Failed(Failure {
            perhaps_applied: true,
            ..
        }) => Answer::Lost,
        Effect::Failed(_) if done.status.is_none() => Answer::Lost,
        Effect::Failed(_) => Answer::Refused,
        Effect::BlockedAlready(_) | Effect::Deleted => return None,
    })
}

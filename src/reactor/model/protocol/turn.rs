//! A turn: record what the last call came to, plan, begin the next call or let the user go. See `db::mirror::turn`, and the view
//! `roster.plan`.

use super::{
    Account, Action, Answer, Call, Fence, Lease, Letter, Mark, Mirror, Rules, Slot, Standing,
    State, User, Worker,
};

/// `roster.plan.state`, as far as it is met here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standby {
    Due,
    Waiting,
    /// Parked or disputed: a person has to do something.
    Person,
}

/// How a user is let go.
enum Over {
    /// Until something changes.
    Settled,
    /// Due again, at once.
    Due,
    /// Due again, later.
    Later,
}

impl State {
    pub(super) fn turn(&mut self, slot: Slot, rules: &Rules) {
        let Some(worker) = self.workers[usize::from(slot)].take() else {
            return;
        };
        let ended = match worker {
            Worker::Claimed => None,
            Worker::Calling { call, fresh } => {
                let ended = self.calls[usize::from(call)];
                ended.map(|ended| (call, ended, fresh || !rules.generation))
            }
        };
        if self.is_fenced_off(slot, rules) {
            if let Some((id, ..)) = ended {
                self.forget(id);
            }
            return;
        }
        let mut over = None;
        if let Some((id, call, fresh)) = ended {
            let before = self.account.map(|account| account.observed);
            self.record(id, call, rules);
            self.forget(id);
            over = match (call.answer, call.action, before) {
                (Some(Answer::NotMade), ..) => Some(Over::Due),
                (Some(Answer::Shown(now)), Action::Update(to), Some(before))
                    if fresh && now.role == to && now.blocked == before.blocked =>
                {
                    Some(Over::Settled)
                }
                _ => None,
            };
        }
        if !rules.look
            && let Some(account) = &mut self.account
        {
            account.mark = None;
        }
        let rows = self.plan();
        let next = rows.iter().find(|row| row.1 == Standby::Due);
        let over = match (over, next) {
            (Some(over), _) => over,
            (None, Some((action, _))) => return self.begin(slot, *action, rows.len() == 1, rules),
            (None, None) if rows.iter().any(|row| row.1 == Standby::Waiting) => Over::Later,
            (None, None) => Over::Settled,
        };
        self.release(&over);
    }

    fn is_fenced_off(&self, slot: Slot, rules: &Rules) -> bool {
        let holder = self.mirror.and_then(|m| m.lease).and_then(|l| l.by);
        match rules.fence {
            Fence::Claim => holder != Some(slot),
            Fence::Reactor => holder.is_none(),
            Fence::Nothing => self.mirror.is_none(),
        }
    }

    /// Nobody awaits the call any more; what may yet be applied stays known.
    pub(super) fn forget(&mut self, id: u8) {
        let call = &mut self.calls[usize::from(id)];
        if let Some(open) = call {
            (open.awaited, open.answer) = (false, None);
            if !open.under_way || open.action.is_look() {
                *call = None;
                if let Some(mark) = self.account.as_mut().and_then(|a| a.mark.as_mut())
                    && mark.call == Some(id)
                {
                    mark.call = None;
                }
            }
        }
    }

    fn record(&mut self, id: u8, call: Call, rules: &Rules) {
        let (Some(m), Some(answer)) = (&mut self.mirror, call.answer) else {
            return;
        };
        // The account the call was for, if it still is the user's; without ids chosen first it is new.
        if !rules.id_first && matches!(call.action, Action::Create(_)) && self.account.is_none() {
            self.account = Some(Account::chosen(call.account));
        }
        let account = self.account.as_mut().filter(|a| a.id == call.account);
        match (answer, call.action) {
            (Answer::Shown(user), action) => {
                if let Some(account) = account {
                    account.observe(user);
                }
                if matches!(action, Action::Create(_)) {
                    m.epoch = m.epoch.max(1);
                }
                (m.waits, m.look_wanted, m.conflict) = (false, false, false);
            }
            (Answer::Looked(Ok(user)), _) => {
                if let Some(account) = account {
                    account.observe(user);
                    m.epoch = m.epoch.max(1);
                }
                (m.waits, m.look_wanted, m.conflict, m.disputed) = (false, false, false, false);
            }
            (Answer::Looked(Err(other)), Action::Look { live, conflict }) => {
                if account.is_some() {
                    let id = call.account;
                    self.account = self.row.map(|_| Account::chosen(id));
                }
                let disputed = live && other;
                let unexplained = live && conflict && !other;
                (m.look_wanted, m.conflict) = (disputed, conflict && disputed);
                (m.disputed, m.waits) = (disputed, unexplained);
            }
            (Answer::Looked(Err(_)), _) => {}
            (Answer::Mailed, _) => {
                self.letter(call.action, Some(Letter::Sent), rules);
                let Some(m) = &mut self.mirror else { return };
                (m.waits, m.look_wanted, m.conflict) = (false, false, false);
            }
            (Answer::NotThere, _) => {
                if let Some(account) = account {
                    (account.standing, account.mark) = (Standing::Missing, None);
                }
                m.waits = false;
            }
            (Answer::Exists, _) => {
                end_mark(account, id);
                (m.look_wanted, m.conflict, m.waits) = (true, true, false);
            }
            (Answer::Refused, action) => {
                m.waits = true;
                end_mark(account, id);
                self.letter(action, None, rules);
            }
            (Answer::Lost, action) => {
                m.waits = true;
                if let Some(mark) = account.and_then(|a| a.mark.as_mut())
                    && mark.call == Some(id)
                {
                    mark.passed = false;
                }
                self.letter(action, Some(Letter::Unknown), rules);
            }
            (Answer::NotMade, action) => {
                end_mark(account, id);
                self.letter(action, None, rules);
            }
        }
    }

    /// Writes down in the ledger what came of a mail: of the epoch that is wanted by now, and only over one that is being sent.
    fn letter(&mut self, action: Action, letter: Option<Letter>, rules: &Rules) {
        let (Action::Invite { .. }, Some(m)) = (action, self.mirror) else {
            return;
        };
        let entry = &mut self.ledger[usize::from(m.epoch) - 1];
        let is_new = entry.is_none() && letter.is_some() && !rules.ledger_first;
        if matches!(entry, Some(Letter::Sending { .. })) || is_new {
            *entry = letter;
        }
    }

    /// What is to be done, in the order it is done; [`Standby`] says whether now.
    pub(crate) fn plan(&self) -> Vec<(Action, Standby)> {
        let Some(m) = self.mirror else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        let look = Action::Look {
            live: self.row.is_some(),
            conflict: m.conflict,
        };
        let action = match (self.account, self.row) {
            (None, None) => None,
            (None, Some(role)) if !m.look_wanted => Some(Action::Create(role)),
            (None, Some(_)) => Some(look),
            (Some(account), row) => {
                let seen = account.observed;
                match (account.mark, account.standing, row) {
                    (Some(_), ..) | (None, Standing::Missing, _) => Some(look),
                    (None, Standing::Chosen, None) => None,
                    (None, Standing::Chosen, Some(_)) if m.look_wanted => Some(look),
                    (None, Standing::Chosen, Some(role)) => Some(Action::Create(role)),
                    (None, Standing::Linked, None) => (!seen.blocked).then_some(Action::Block),
                    (None, Standing::Linked, Some(role)) => {
                        match (seen.blocked && account.blocked_by_us, seen.role == role) {
                            (true, _) => Some(Action::Unblock(role)),
                            (false, false) => Some(Action::Update(role)),
                            (false, true) => None,
                        }
                    }
                }
            }
        };
        let is_open = |account: &Account| account.mark.is_some_and(|mark| !mark.passed);
        if let Some(action) = action {
            rows.push((
                action,
                match action {
                    Action::Block => Standby::Due,
                    _ if m.disputed => Standby::Person,
                    _ if self.account.as_ref().is_some_and(is_open) => Standby::Waiting,
                    _ => Standby::Due,
                },
            ));
        }
        if let (Some(account), Some(_), 1..) = (self.account, self.row, m.epoch)
            && account.standing == Standing::Linked
            && account.mark.is_none()
            && !account.observed.blocked
        {
            let standby = match self.ledger[usize::from(m.epoch) - 1] {
                Some(Letter::Sent) => None,
                Some(Letter::Unknown | Letter::Sending { old: true }) => Some(Standby::Person),
                _ if m.disputed => Some(Standby::Person),
                Some(Letter::Sending { old: false }) => Some(Standby::Waiting),
                None => Some(Standby::Due),
            };
            rows.extend(standby.map(|s| (Action::Invite { epoch: m.epoch }, s)));
        }
        for row in rows
            .iter_mut()
            .filter(|row| row.1 == Standby::Due && m.waits)
        {
            row.1 = Standby::Waiting;
        }
        rows
    }

    fn begin(&mut self, slot: Slot, action: Action, is_all: bool, rules: &Rules) {
        let free = self.calls.iter().position(Option::is_none);
        let id = free.expect("a turn is taken only with a call to spare");
        let call_id = u8::try_from(id).expect("few calls");
        if let Action::Create(_) = action
            && self.account.is_none()
        {
            let chosen = self.ids.min(2);
            self.ids = chosen + 1;
            if rules.id_first {
                self.account = Some(Account::chosen(chosen));
            }
        }
        let account = self.account.map_or(self.ids.saturating_sub(1), |a| a.id);
        if let Action::Invite { epoch } = action
            && rules.ledger_first
        {
            self.ledger[usize::from(epoch) - 1] = Some(Letter::Sending { old: false });
        }
        if let Some(account) = &mut self.account
            && action.writes()
            && rules.mark_first
        {
            account.mark = Some(Mark {
                call: Some(call_id),
                blocks: action == Action::Block,
                passed: false,
            });
        }
        self.calls[id] = Some(Call {
            action,
            account,
            under_way: true,
            awaited: true,
            answer: None,
        });
        self.workers[usize::from(slot)] = Some(Worker::Calling {
            call: call_id,
            fresh: is_all,
        });
        // A lease that might end before the call does lasts again from now.
        if let Some(Mirror {
            lease: Some(Lease { ended, .. }),
            ..
        }) = &mut self.mirror
        {
            *ended = false;
        }
    }

    fn release(&mut self, over: &Over) {
        if let Some(m) = &mut self.mirror {
            m.lease = None;
            (m.due, m.waits) = match over {
                Over::Settled => (false, false),
                Over::Due => (true, m.waits),
                Over::Later => (true, true),
            };
        }
    }
}

fn end_mark(account: Option<&mut Account>, id: u8) {
    if let Some(account) = account
        && account.mark.is_some_and(|mark| mark.call == Some(id))
    {
        account.mark = None;
    }
}

impl Account {
    fn chosen(id: u8) -> Self {
        Self {
            id,
            standing: Standing::Chosen,
            observed: User::default(),
            blocked_by_us: false,
            mark: None,
        }
    }

    /// It is as shown; its call, whichever it was, is over.
    fn observe(&mut self, user: User) {
        let blocks = self.mark.is_some_and(|mark| mark.blocks);
        self.blocked_by_us = user.blocked && (blocks || self.blocked_by_us);
        (self.standing, self.observed, self.mark) = (Standing::Linked, user, None);
    }
}

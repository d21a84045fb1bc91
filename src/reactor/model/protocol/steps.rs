//! The steps: which of them can be taken, and what they do.

use super::{
    Action, Answer, Call, CallId, Fence, Lease, Left, Letter, Mirror, Rules, Slot, State, User,
    Worker,
};

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    // A person's statement commits.
    Insert,
    Update,
    Delete,
    /// `roster.invite()`.
    Invite,
    // The reactors.
    Fold,
    Claim(Slot),
    Turn(Slot),
    // Auth0 and the network.
    Apply(CallId),
    /// 429, or not even sent.
    Refuse(CallId),
    /// The request is lost, and with it the answer.
    Cut(CallId),
    /// The answer is lost, or the worker waits no longer; the request may still be under way.
    Lose(CallId),
    /// A request that nobody awaits never arrives.
    Vanish(CallId),
    /// It waited too long for its turn in the reactor.
    NotMade(CallId),
    // Misfortune.
    /// The worker is gone with all it knew.
    Crash(Slot),
    /// The database crashes before the claim is on its disk.
    Undo(Slot),
    // Time.
    LeaseEnds,
    RetryComes,
    DeadlinePasses,
    /// A mail is being asked for since more than a minute.
    MinutePasses,
}

impl Step {
    /// It is no fault and no statement: it happens by itself, sooner or later.
    pub(crate) fn is_calm(self, before: &State) -> bool {
        let lives = |m: Mirror| m.lease.is_some_and(|lease| lease.by.is_some());
        match self {
            Self::LeaseEnds => !before.mirror.is_some_and(lives),
            Self::Fold | Self::Claim(_) | Self::Turn(_) | Self::Apply(_) | Self::Vanish(_) => true,
            Self::RetryComes | Self::DeadlinePasses | Self::MinutePasses => true,
            _ => false,
        }
    }

    fn is_statement(self) -> bool {
        matches!(
            self,
            Self::Insert | Self::Update | Self::Delete | Self::Invite
        )
    }
}

impl State {
    /// All that can happen next.
    pub(crate) fn steps(&self, rules: &Rules, steps: &mut Vec<Step>) {
        use Step as S;
        let can = |step: &Step| self.can(*step, rules);
        let anybody = [S::Insert, S::Update, S::Delete, S::Invite, S::Fold];
        steps.extend(anybody.into_iter().filter(can));
        for slot in 0..2 {
            let worker = [S::Turn(slot), S::Crash(slot), S::Undo(slot), S::Claim(slot)];
            steps.extend(worker.into_iter().filter(can));
        }
        for id in (0..4).filter(|id| self.call(*id).is_some()) {
            let ends = [S::Apply(id), S::Refuse(id), S::Cut(id), S::Lose(id)];
            let not_at_all = [S::Vanish(id), S::NotMade(id)];
            steps.extend(ends.into_iter().chain(not_at_all).filter(can));
        }
        let time = [
            S::LeaseEnds,
            S::DeadlinePasses,
            S::MinutePasses,
            S::RetryComes,
        ];
        steps.extend(time.into_iter().filter(can));
    }

    /// Of these steps one that happens by itself; a wait is over last.
    pub(crate) fn calm_step(&self, steps: &[Step]) -> Option<Step> {
        let calm = |step: &&Step| step.is_calm(self) && !matches!(step, Step::Vanish(_));
        steps.iter().find(calm).copied()
    }

    /// Whether the step can be taken now.
    pub(crate) fn can(&self, step: Step, rules: &Rules) -> bool {
        let Left { statements, faults } = self.left;
        let m = self.mirror.unwrap_or_default();
        let awaited = |id| self.call(id).filter(|c| c.awaited && c.answer.is_none());
        (match step {
            Step::Insert => self.row.is_none(),
            Step::Update => self.row.is_some(),
            // Who returned and went again between two folds is another person to fold.
            Step::Delete => self.row.is_some() && !self.returned,
            // It asks for another mail where the one before was at least asked for.
            Step::Invite => m.epoch == 1 && self.ledger[0].is_some() && self.row.is_some(),
            Step::Fold => self.news,
            // Of two who are free it does not matter which.
            Step::Claim(slot) => {
                m.due
                    && !m.waits
                    && m.lease.is_none_or(|lease| lease.ended)
                    && self.workers.iter().position(Option::is_none) == Some(usize::from(slot))
            }
            Step::Turn(slot) => match self.worker(slot) {
                None => false,
                Some(Worker::Claimed) => self.calls.contains(&None),
                Some(Worker::Calling { call, .. }) => {
                    self.call(call).is_some_and(|c| c.answer.is_some())
                        && self.calls.contains(&None)
                }
            },
            Step::Apply(id) => self.call(id).is_some_and(|c| c.under_way),
            Step::Refuse(id) | Step::Cut(id) | Step::NotMade(id) => {
                awaited(id).is_some_and(|c| c.under_way)
            }
            Step::Lose(id) => self.call(id).is_some_and(|c| c.awaited && c.can_be_lost()),
            Step::Vanish(id) => self.call(id).is_some_and(|c| !c.awaited),
            Step::Crash(slot) => self.worker(slot).is_some(),
            Step::Undo(slot) => {
                let mine = Lease {
                    by: Some(slot),
                    ended: false,
                };
                self.worker(slot) == Some(Worker::Claimed) && m.lease == Some(mine)
            }
            Step::LeaseEnds => m.lease.is_some_and(|lease| !lease.ended),
            Step::RetryComes => m.waits,
            Step::DeadlinePasses => self.account.and_then(|a| a.mark).is_some_and(|mark| {
                let call = mark.call.and_then(|id| self.call(id));
                let may_come = rules.deadline_holds && call.is_some_and(|c| c.under_way);
                !mark.passed && !may_come
            }),
            Step::MinutePasses => self.ledger.contains(&Some(Letter::Sending { old: false })),
        }) && (faults > 0 || step.is_calm(self) || step.is_statement())
            && (statements > 0 || !step.is_statement())
    }

    /// Takes a step that [`State::can`] be taken.
    pub(crate) fn take(&mut self, step: Step, rules: &Rules) {
        if step.is_statement() {
            self.left.statements -= 1;
        } else if !step.is_calm(self) {
            self.left.faults -= 1;
        }
        match step {
            Step::Insert => {
                (self.row, self.news) = (Some(false), true);
                self.returned = self.mirror.is_some();
            }
            Step::Update => (self.row, self.news) = (self.row.map(|role| !role), true),
            Step::Delete => (self.row, self.news) = (None, true),
            Step::Invite => {
                self.news = true;
                if let Some(m) = &mut self.mirror {
                    m.epoch += 1;
                }
            }
            Step::Fold => self.fold(),
            Step::Claim(slot) => {
                self.workers[usize::from(slot)] = Some(Worker::Claimed);
                self.lease(Some(Lease {
                    by: Some(slot),
                    ended: false,
                }));
            }
            Step::Turn(slot) => self.turn(slot, rules),
            Step::Apply(id) => self.apply(id, rules),
            Step::Refuse(id) => self.end(id, Answer::Refused, false),
            Step::Cut(id) => self.end(id, Answer::Lost, false),
            Step::NotMade(id) => self.end(id, Answer::NotMade, false),
            Step::Lose(id) => {
                let under_way = self.call(id).is_some_and(|c| c.under_way);
                self.end(id, Answer::Lost, under_way);
            }
            Step::Vanish(id) => {
                if let Some(call) = &mut self.calls[usize::from(id)] {
                    call.under_way = false;
                }
                self.forget(id);
            }
            Step::Crash(slot) => match rules.fence {
                Fence::Reactor => (0..2).for_each(|slot| self.crash(slot)),
                _ => self.crash(slot),
            },
            Step::Undo(_) => self.lease(None),
            Step::LeaseEnds => {
                let lease = self.mirror.and_then(|m| m.lease);
                // Of one that is no more nothing is left.
                self.lease(
                    lease
                        .filter(|l| l.by.is_some())
                        .map(|l| Lease { ended: true, ..l }),
                );
            }
            Step::RetryComes => {
                if let Some(m) = &mut self.mirror {
                    m.waits = false;
                }
            }
            Step::DeadlinePasses => {
                if let Some(mark) = self.account.as_mut().and_then(|a| a.mark.as_mut()) {
                    mark.passed = true;
                }
            }
            Step::MinutePasses => {
                for letter in self.ledger.iter_mut().flatten() {
                    if let Letter::Sending { old } = letter {
                        *old = true;
                    }
                }
            }
        }
    }

    pub(crate) fn worker(&self, slot: Slot) -> Option<Worker> {
        self.workers[usize::from(slot)]
    }

    pub(crate) fn call(&self, id: CallId) -> Option<Call> {
        self.calls[usize::from(id)]
    }

    fn lease(&mut self, lease: Option<Lease>) {
        if let Some(m) = &mut self.mirror {
            m.lease = lease;
        }
    }

    /// See `triggers/fold.sql`. A key without row and without mirror concerns nobody.
    fn fold(&mut self) {
        (self.news, self.returned) = (false, false);
        if self.mirror.is_none() && self.row.is_none() {
            return;
        }
        let m = self.mirror.get_or_insert_default();
        (m.due, m.waits, m.conflict, m.disputed) = (true, false, false, false);
        for worker in self.workers.iter_mut().flatten() {
            if let Worker::Calling { fresh, .. } = worker {
                *fresh = false;
            }
        }
    }

    /// Auth0 does what a call asks for.
    fn apply(&mut self, id: CallId, rules: &Rules) {
        let Some(call) = self.call(id) else { return };
        let other = (0u8..)
            .zip(&self.tenant)
            .any(|(id, user)| id != call.account && user.is_some());
        let account = &mut self.tenant[usize::from(call.account)];
        let answer = match (call.action, account.as_mut()) {
            (Action::Look { .. }, user) => Answer::Looked(user.copied().ok_or(other)),
            (Action::Invite { epoch }, _) => {
                self.mails[usize::from(epoch) - 1] += 1;
                Answer::Mailed
            }
            (Action::Create(_), Some(_)) => Answer::Exists,
            (Action::Create(_), None) if other && rules.addresses_are_unique => Answer::Exists,
            (Action::Create(role), None) => Answer::Shown(*account.insert(User {
                role,
                blocked: false,
            })),
            (_, None) => Answer::NotThere,
            (action, Some(user)) => {
                match action {
                    Action::Block => user.blocked = true,
                    Action::Unblock(role) => {
                        *user = User {
                            role,
                            blocked: false,
                        }
                    }
                    Action::Update(role) => user.role = role,
                    _ => {}
                }
                Answer::Shown(*user)
            }
        };
        self.end(id, answer, false);
    }

    /// The worker is told this, unless it was told something before or does not wait.
    fn end(&mut self, id: CallId, answer: Answer, under_way: bool) {
        if let Some(call) = &mut self.calls[usize::from(id)] {
            call.under_way = under_way;
            if !call.awaited {
                self.forget(id);
            } else if call.answer.is_none() || answer == Answer::Lost {
                call.answer = Some(answer);
            }
        }
    }

    fn crash(&mut self, slot: Slot) {
        if let Some(Worker::Calling { call, .. }) = self.workers[usize::from(slot)].take() {
            self.forget(call);
        }
        if let Some(m) = &mut self.mirror
            && let Some(lease) = m.lease.filter(|lease| lease.by == Some(slot))
        {
            m.lease = (!lease.ended).then_some(Lease { by: None, ..lease });
        }
    }
}

impl Call {
    /// Its answer, or the wait for it, can be lost.
    fn can_be_lost(&self) -> bool {
        self.under_way && self.answer.is_none()
            || matches!(
                self.answer,
                Some(Answer::Shown(_) | Answer::Looked(_) | Answer::Mailed | Answer::Exists)
            )
    }
}

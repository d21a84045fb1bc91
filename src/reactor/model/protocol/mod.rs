//! The protocol as a machine of states and steps: what a person, the database, two workers, the network and Auth0 can do next, and what
//! comes of it. No I/O, no clock; a wait ends by a step of its own.
//!
//! One user of one key. Each step is what the program does in one transaction or one call, so nothing can come in between.

mod steps;
mod turn;

pub(crate) use self::steps::Step;

/// Which of the two workers. Each stands for a reactor of its own, unless [`Fence::Reactor`] says that both are one's.
pub(crate) type Slot = u8;
/// Which call of those that are known of; its id.
pub(crate) type CallId = u8;

/// What protects the protocol, each of which can be taken out, and what Auth0 is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whose results are recorded.
    pub(crate) fence: Fence,
    /// Who was named by a change during a call is planned again.
    pub(crate) generation: bool,
    /// A call whose end is not known is looked at.
    pub(crate) look: bool,
    /// The id of an account is stored before it is made.
    pub(crate) id_first: bool,
    /// A call is marked as in flight before it is made.
    pub(crate) mark_first: bool,
    /// The ledger's row is written before the mail is asked for.
    pub(crate) ledger_first: bool,
    /// After its deadline a call is surely over.
    pub(crate) deadline_holds: bool,
    /// Auth0 refuses a second account with the same address.
    pub(crate) addresses_are_unique: bool,
}

impl Rules {
    /// As the program has them.
    pub(crate) const REAL: Self = Self {
        fence: Fence::Claim,
        generation: true,
        look: true,
        id_first: true,
        mark_first: true,
        ledger_first: true,
        deadline_holds: true,
        addresses_are_unique: true,
    };
}

/// Whose results are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Of the claim that holds the lease.
    Claim,
    /// Of any claim of the reactor that holds the lease; both workers are of one reactor.
    Reactor,
    /// Anybody's.
    Nothing,
}

/// Everything there is: the database, the workers' memory, the network, Auth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The user's row, with its role.
    pub(crate) row: Option<Role>,
    /// `roster.changes` holds something that is not folded.
    pub(crate) news: bool,
    /// Among it is the return of a user who was known.
    pub(crate) returned: bool,
    pub(crate) mirror: Option<Mirror>,
    pub(crate) account: Option<Account>,
    /// `roster.invitations`, an epoch each.
    pub(crate) ledger: [Option<Letter>; 2],
    pub(crate) workers: [Option<Worker>; 2],
    /// Calls that are awaited or may yet be applied.
    pub(crate) calls: [Option<Call>; 4],
    /// Auth0's accounts, by id.
    pub(crate) tenant: [Option<User>; 3],
    /// Ids chosen so far.
    pub(crate) ids: u8,
    /// Mails that went out, by epoch.
    pub(crate) mails: [u8; 2],
    pub(crate) left: Left,
}

/// What may still happen, so that there is an end to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) statements: u8,
    pub(crate) faults: u8,
}

/// One of two roles, so that a change can be taken back.
pub(crate) type Role = bool;

/// `roster.mirror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Mirror {
    pub(crate) due: bool,
    /// `next_attempt_at` is still to come.
    pub(crate) waits: bool,
    pub(crate) lease: Option<Lease>,
    pub(crate) look_wanted: bool,
    pub(crate) conflict: bool,
    pub(crate) disputed: bool,
    /// `invite_epoch`.
    pub(crate) epoch: u8,
}

/// `lease_by` and `lease_until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    /// `None`: a worker that is no more.
    pub(crate) by: Option<Slot>,
    pub(crate) ended: bool,
}

/// `roster.accounts`, the one that is not gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) id: u8,
    pub(crate) standing: Standing,
    /// As Auth0 last showed it.
    pub(crate) observed: User,
    pub(crate) blocked_by_us: bool,
    pub(crate) mark: Option<Mark>,
}

/// `accounts.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    Chosen,
    Linked,
    Missing,
}

/// `call_id`, `call_action` and `call_deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    /// `None`: nobody awaits it, and it is not under way.
    pub(crate) call: Option<CallId>,
    pub(crate) blocks: bool,
    /// The deadline is over.
    pub(crate) passed: bool,
}

/// `invitations.state`; staged ones wait for a person and are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Letter {
    Sending {
        /// For longer than a minute.
        old: bool,
    },
    Sent,
    Unknown,
}

/// A user at work in a reactor's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Claimed,
    Calling {
        call: CallId,
        /// It was all there was to do, and nothing was folded since: the generation is the same.
        fresh: bool,
    },
}

/// A call to Auth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) action: Action,
    pub(crate) account: u8,
    /// It may yet be applied.
    pub(crate) under_way: bool,
    /// A worker awaits it.
    pub(crate) awaited: bool,
    /// What the worker is told.
    pub(crate) answer: Option<Answer>,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Look {
        /// The row is there; for a removed user nothing is looked for by address.
        live: bool,
        conflict: bool,
    },
    Block,
    Unblock(Role),
    Create(Role),
    Update(Role),
    Invite {
        epoch: u8,
    },
}

/// What a call came to, as its worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// The account after a write.
    Shown(User),
    /// The account by its id, or whether another one has the address.
    Looked(Result<User, bool>),
    Mailed,
    /// 409.
    Exists,
    /// 404.
    NotThere,
    /// Surely not applied; tried again later.
    Refused,
    /// No answer, or one that leaves it open.
    Lost,
    /// It did not get its turn in time.
    NotMade,
}

/// An account in Auth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct User {
    pub(crate) role: Role,
    pub(crate) blocked: bool,
}

impl Action {
    pub(crate) fn is_look(self) -> bool {
        matches!(self, Self::Look { .. })
    }

    /// It changes an account; a mail does not.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Look { .. } | Self::Invite { .. })
    }
}

impl State {
    /// An empty table, an empty tenant.
    pub(crate) const fn new(statements: u8, faults: u8) -> Self {
        Self {
            row: None,
            news: false,
            returned: false,
            mirror: None,
            account: None,
            ledger: [None; 2],
            workers: [None; 2],
            calls: [None; 4],
            tenant: [None; 3],
            ids: 0,
            mails: [0; 2],
            left: Left { statements, faults },
        }
    }

    /// Auth0 has what the row wants, and nobody has anything left to do.
    pub(crate) fn is_converged(&self) -> bool {
        !self.news
            && self.workers == [None; 2]
            && self.calls == [None; 4]
            && self.mirror.is_none_or(|m| !m.due && m.lease.is_none())
            && self.agrees()
    }
}

/// What must never be otherwise.
impl State {
    /// Writes that may yet be applied.
    pub(crate) fn writes(&self) -> usize {
        let calls = self.calls.iter().flatten();
        calls.filter(|c| c.under_way && c.action.writes()).count()
    }

    /// Unless a call is marked, Auth0 has what was recorded, and nothing is under way that could change it.
    pub(crate) fn knows_what_is(&self) -> bool {
        let Some(account) = self.account.filter(|a| a.mark.is_none()) else {
            return true;
        };
        let there = self.tenant[usize::from(account.id)];
        let known = match account.standing {
            Standing::Linked => Some(account.observed),
            Standing::Chosen => None,
            Standing::Missing => return true,
        };
        self.writes() == 0 && there == known
    }

    /// Auth0 has what the row wants of whoever is let go.
    pub(crate) fn agrees_if_let_go(&self) -> bool {
        self.news || self.mirror.is_some_and(|m| m.due) || self.agrees()
    }

    fn agrees(&self) -> bool {
        let live = self.tenant.iter().flatten().filter(|user| !user.blocked);
        live.map(|user| user.role).eq(self.row)
    }

    /// Whoever is not due has nothing to do, now or later, but what waits for a person.
    pub(crate) fn forgets_nobody(&self) -> bool {
        match self.mirror {
            _ if self.news => true,
            None => self.row.is_none(),
            Some(m) => m.due || self.plan().iter().all(|row| row.1 == turn::Standby::Person),
        }
    }
}

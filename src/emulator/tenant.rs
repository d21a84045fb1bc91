//! The state of one emulated tenant. Pure: nothing here knows HTTP.
//!
//! Each kind of thing has a room and a lock of its own, held as shortly as can be and never across another lock or an
//! await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::{SignedDuration, Timestamp};

use super::{
    blocks::BruteForce,
    clock::Clock,
    directory::Directory,
    errors::ApiError,
    faults::Faults,
    grants::Grants,
    jobs::Jobs,
    journal::{Event, Journal},
    keys::Keys,
    limits::{Class, Limiter, Verdict},
    mailbox::{Mail, MailKind, Mailbox},
    management::VerifiedTokens,
    options::{Options, Plan},
    passwords::{Password, is_strong},
    profile::User,
    rbac::Rbac,
    requests::RequestLog,
    rules::lift_block,
    sessions::Sessions,
    tickets::{Ticket, TicketKind, Tickets},
};

/// How long a mailed link is good for: five days, Auth0's default for tickets.
pub(super) const TICKET: SignedDuration = SignedDuration::from_secs(432_000);

/// One tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    /// Where clients reach it, without a trailing slash.
    pub(super) base_url: String,
    initial: Options,
    options: RwLock<Arc<Options>>,
    pub(super) clock: Clock,
    pub(super) directory: RwLock<Directory>,
    pub(super) mailbox: Mutex<Mailbox>,
    pub(super) grants: Mutex<Grants>,
    pub(super) tickets: Mutex<Tickets>,
    pub(super) jobs: Jobs,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) rbac: Mutex<Rbac>,
    pub(super) brute_force: Mutex<BruteForce>,
    pub(super) journal: Mutex<Journal>,
    pub(super) keys: RwLock<Keys>,
    pub(super) verified: VerifiedTokens,
    limiter: Mutex<Limiter>,
    pub(super) faults: Faults,
    pub(super) requests: RequestLog,
}

impl Tenant {
    pub(super) fn new(base_url: String, options: Options, keys: Keys) -> Self {
        let mut directory = Directory::default();
        directory.set_options(&options);
        Self {
            base_url,
            requests: RequestLog::new(options.keep_requests),
            initial: options.clone(),
            options: RwLock::new(Arc::new(options)),
            clock: Clock::default(),
            directory: RwLock::new(directory),
            mailbox: Mutex::default(),
            grants: Mutex::default(),
            tickets: Mutex::default(),
            jobs: Jobs::default(),
            sessions: Mutex::default(),
            rbac: Mutex::default(),
            brute_force: Mutex::default(),
            journal: Mutex::default(),
            keys: RwLock::new(keys),
            verified: VerifiedTokens::default(),
            limiter: Mutex::default(),
            faults: Faults::default(),
        }
    }

    /// The `iss` of its tokens: the address with a trailing slash.
    pub(super) fn issuer(&self) -> String {
        format!("{}/", self.base_url)
    }

    /// The audience of the Management API, slash included.
    pub(super) fn management_audience(&self) -> String {
        format!("{}/api/v2/", self.base_url)
    }

    pub(super) fn options(&self) -> Arc<Options> {
        self.options.read_guard().clone()
    }

    /// New options, with full buckets.
    pub(super) fn set_options(&self, options: Options) {
        self.requests.set_keep(options.keep_requests);
        self.directory.write_guard().set_options(&options);
        *self.options.write_guard() = Arc::new(options);
        self.limiter.guard().reset();
    }

    /// As at the start, but for the keys, so that who has cached them need not know.
    pub(super) fn reset(&self) {
        *self.directory.write_guard() = Directory::default();
        *self.mailbox.guard() = Mailbox::default();
        *self.grants.guard() = Grants::default();
        *self.tickets.guard() = Tickets::default();
        self.jobs.clear();
        *self.sessions.guard() = Sessions::default();
        *self.rbac.guard() = Rbac::default();
        *self.brute_force.guard() = BruteForce::default();
        *self.journal.guard() = Journal::default();
        self.faults.clear();
        self.requests.clear();
        self.clock.reset();
        self.set_options(self.initial.clone());
    }

    /// Counts a call against the plan's limits.
    pub(super) fn admit(&self, class: Class, subject: &str) -> Verdict {
        let (plan, class) = {
            let options = self.options.read_guard();
            (options.plan, class.counted_as(&options.answers))
        };
        if plan == Plan::Unlimited {
            return Verdict::Unlimited;
        }
        let now = self.clock.now();
        self.limiter.guard().take(plan, class, subject, now)
    }

    /// Mails a link to the user's address, if there is one.
    pub(super) fn mail(&self, kind: MailKind, user: &User) {
        let Some(to) = user.email.clone() else { return };
        let (ticket, page) = match kind {
            MailKind::VerifyEmail => (TicketKind::Verification, "email-verification"),
            MailKind::ChangePassword => (TicketKind::Password, "reset-password"),
            // That one goes to the tenant's owners and has no link.
            MailKind::ImportCompleted => return,
        };
        let now = self.clock.now();
        let value = self.issue_ticket(Ticket {
            kind: ticket,
            user_id: user.user_id.clone(),
            expires_at: now.saturating_add(TICKET).unwrap_or(jiff::Timestamp::MAX),
            mailed: true,
            verifies: true,
            redirect: None,
        });
        self.mailbox.guard().deliver(Mail {
            kind,
            to,
            user_id: Some(user.user_id.clone()),
            link: Some(format!("{}/u/{page}?ticket={value}", self.base_url)),
            sent_at: now,
        });
    }

    /// Hands out a ticket, which may cancel earlier ones.
    pub(super) fn issue_ticket(&self, ticket: Ticket) -> String {
        let cancels_all = self.options().answers.ticket_cancels_earlier;
        let now = self.clock.now();
        self.tickets.guard().issue(ticket, cancels_all, now)
    }

    /// Whom a ticket is for, while it is good.
    pub(super) fn ticket_holder(&self, value: &str, kind: TicketKind) -> Option<Arc<User>> {
        let now = self.clock.now();
        let user_id = self.tickets.guard().get(value, kind, now)?.user_id.clone();
        self.directory.read_guard().get(&user_id).cloned()
    }

    /// Sets a password by a ticket; what is left is where it leads. None: the ticket is not good.
    ///
    /// # Errors
    /// The password is too weak; the ticket stays good.
    pub(super) fn set_password(
        &self,
        ticket: &str,
        password: &str,
    ) -> Result<Option<Ticket>, ApiError> {
        if !is_strong(password) {
            return Err(ApiError::weak_password());
        }
        let now = self.clock.now();
        let Some(ticket) = self
            .tickets
            .guard()
            .spend(ticket, TicketKind::Password, now)
        else {
            return Ok(None);
        };
        let lifts_block = self.options().answers.reset_lifts_block;
        let mut directory = self.directory.write_guard();
        let user = directory.update(&ticket.user_id, now, |user| {
            user.password = Some(Password::new(password));
            user.last_password_reset = Some(now);
            user.email_verified |= ticket.verifies;
            if lifts_block {
                lift_block(user);
            }
        });
        drop(directory);
        let Some(user) = user else { return Ok(None) };
        self.end_sessions(&user.user_id);
        self.brute_force.guard().lift(&user.user_id);
        self.note(Event::PasswordChanged, &user, None);
        Ok(Some(ticket))
    }

    /// Marks the e-mail verified by a ticket, if it is good; what is left is where it leads.
    pub(super) fn verify_email(&self, ticket: &str) -> Option<Ticket> {
        let now = self.clock.now();
        let ticket = self
            .tickets
            .guard()
            .spend(ticket, TicketKind::Verification, now)?;
        let user = self
            .directory
            .write_guard()
            .update(&ticket.user_id, now, |user| user.email_verified = true)?;
        self.note(Event::EmailVerified, &user, None);
        Some(ticket)
    }

    /// Removes a user and all that was handed out for them; whether there was one.
    pub(super) fn delete_user(&self, user_id: &str) -> bool {
        let now = self.clock.now();
        let deleted = self.directory.write_guard().delete(user_id, now);
        if deleted {
            self.forget(user_id);
        }
        deleted
    }

    /// Forgets all that was handed out for a user who is gone, or was linked away.
    pub(super) fn forget(&self, user_id: &str) {
        self.grants.guard().forget(user_id);
        self.tickets.guard().forget(user_id);
        self.sessions.guard().forget(user_id);
        self.rbac.guard().forget(user_id);
        self.brute_force.guard().lift(user_id);
    }

    /// Ends a user's sessions at once, as a block and a new password do. Refresh tokens stay.
    pub(super) fn end_sessions(&self, user_id: &str) {
        let now = self.clock.now();
        let mut sessions = self.sessions.guard();
        sessions.end(now, |session| session.user_id == user_id);
    }

    /// When what is ended now through the Management API has ended.
    pub(super) fn revocation_time(&self) -> Timestamp {
        let delay = SignedDuration::from_millis(self.options().revocation_delay_ms.into());
        let now = self.clock.now();
        now.saturating_add(delay).unwrap_or(Timestamp::MAX)
    }

    /// Users with this address, username or telephone number.
    pub(super) fn identified(&self, identifier: &str) -> Vec<Arc<User>> {
        let is_meant = |user: &&Arc<User>| {
            [&user.email, &user.username, &user.phone_number]
                .into_iter()
                .any(|known| known.as_deref() == Some(identifier))
        };
        let directory = self.directory.read_guard();
        directory.iter().filter(is_meant).cloned().collect()
    }

    /// Writes down what happened to a user.
    pub(super) fn note(&self, event: Event, user: &User, client_id: Option<&str>) {
        let now = self.clock.now();
        self.journal.guard().note(event, user, client_id, now);
    }
}

/// Locks that outlive a panic elsewhere: every change under them is complete or not begun.
pub(super) trait Guard<T> {
    fn guard(&self) -> MutexGuard<'_, T>;
}

impl<T> Guard<T> for Mutex<T> {
    fn guard(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`Guard`], for locks that many may read.
pub(super) trait SharedGuard<T> {
    fn read_guard(&self) -> RwLockReadGuard<'_, T>;
    fn write_guard(&self) -> RwLockWriteGuard<'_, T>;
}

impl<T> SharedGuard<T> for RwLock<T> {
    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        self.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        self.write().unwrap_or_else(PoisonError::into_inner)
    }
}

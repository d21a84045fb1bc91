//! The state of one emulated tenant. Pure: nothing here knows HTTP.
//!
//! Each kind of thing has a room and a lock of its own, held as shortly as can be and never across another lock or an
//! await. What is to come (jobs, sessions, roles) gets a field here and a file beside this one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::SignedDuration;

use super::{
    clock::Clock,
    directory::Directory,
    errors::ApiError,
    faults::Faults,
    grants::{Grants, Ticket, TicketKind},
    keys::Keys,
    limits::{Class, Limiter, Verdict},
    mailbox::{Mail, MailKind, Mailbox},
    management::VerifiedTokens,
    options::{Options, Plan},
    passwords::{Password, is_strong},
    profile::User,
    requests::RequestLog,
    rules::lift_block,
};

/// How long a mailed link is good for: five days, Auth0's default for tickets.
const TICKET: SignedDuration = SignedDuration::from_secs(432_000);

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
        self.faults.clear();
        self.requests.clear();
        self.clock.reset();
        self.set_options(self.initial.clone());
    }

    /// Counts a call against the plan's limits.
    pub(super) fn admit(&self, class: Class, subject: &str) -> Verdict {
        let plan = self.options.read_guard().plan;
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
        };
        let value = self.issue_ticket(ticket, &user.user_id);
        self.mailbox.guard().deliver(Mail {
            kind,
            to,
            user_id: user.user_id.clone(),
            link: format!("{}/u/{page}?ticket={value}", self.base_url),
            sent_at: self.clock.now(),
        });
    }

    pub(super) fn issue_ticket(&self, kind: TicketKind, user_id: &str) -> String {
        let expires_at = self
            .clock
            .now()
            .saturating_add(TICKET)
            .unwrap_or(jiff::Timestamp::MAX);
        self.grants.guard().issue_ticket(Ticket {
            kind,
            user_id: user_id.to_owned(),
            expires_at,
        })
    }

    /// Whom a ticket is for, while it is good.
    pub(super) fn ticket_holder(&self, value: &str, kind: TicketKind) -> Option<Arc<User>> {
        let user_id = {
            let grants = self.grants.guard();
            grants
                .ticket(value, kind, self.clock.now())?
                .user_id
                .clone()
        };
        self.directory.read_guard().get(&user_id).cloned()
    }

    /// Sets a password through a mailed link, which proves that the address is the user's.
    ///
    /// # Errors
    /// The password is too weak; the ticket stays good.
    pub(super) fn set_password(
        &self,
        ticket: &str,
        user_id: &str,
        password: &str,
    ) -> Result<(), ApiError> {
        if !is_strong(password) {
            return Err(ApiError::weak_password());
        }
        self.grants.guard().spend_ticket(ticket);
        let lifts_block = self.options().answers.reset_lifts_block;
        let now = self.clock.now();
        self.directory.write_guard().update(user_id, now, |user| {
            user.password = Some(Password::new(password));
            user.last_password_reset = Some(now);
            user.email_verified = true;
            if lifts_block {
                lift_block(user);
            }
        });
        Ok(())
    }

    /// Marks the e-mail verified through a mailed link; whether the link was good.
    pub(super) fn verify_email(&self, ticket: &str) -> bool {
        let Some(user) = self.ticket_holder(ticket, TicketKind::Verification) else {
            return false;
        };
        self.grants.guard().spend_ticket(ticket);
        let now = self.clock.now();
        self.directory
            .write_guard()
            .update(&user.user_id, now, |user| user.email_verified = true);
        true
    }

    /// Removes a user and all that was handed out for them; whether there was one.
    pub(super) fn delete_user(&self, user_id: &str) -> bool {
        let now = self.clock.now();
        let deleted = self.directory.write_guard().delete(user_id, now);
        if deleted {
            self.grants.guard().forget(user_id);
        }
        deleted
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

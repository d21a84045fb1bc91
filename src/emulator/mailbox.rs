//! The mails the tenant would have sent. Nothing leaves the machine; tests and the demo read them here.

use jiff::Timestamp;
use serde::Serialize;

use super::clock::serialize_iso;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MailKind {
    /// "Verify your e-mail": the link marks the address verified.
    VerifyEmail,
    /// "Change your password", which is also how people are invited: the link leads to a form.
    ChangePassword,
    /// "Your import has finished", to the owners of the tenant.
    ImportCompleted,
}

/// One mail.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mail {
    pub(super) kind: MailKind,
    pub(super) to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    #[serde(serialize_with = "serialize_iso")]
    pub(super) sent_at: Timestamp,
}

/// All mails since the last reset, oldest first, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mails: std::collections::VecDeque<Mail>,
}

/// More mails than any test sends; the oldest go first.
const KEEP: usize = 200_000;

impl Mailbox {
    pub(super) fn deliver(&mut self, mail: Mail) {
        if self.mails.len() == KEEP {
            self.mails.pop_front();
        }
        self.mails.push_back(mail);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mail> {
        self.mails.iter()
    }
}

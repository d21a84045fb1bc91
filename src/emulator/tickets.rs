//! The tickets handed out: what mailed links and those of the Management API let their holder do, once.
//!
//! A ticket is a credential: who has it needs no password. Only the newest mailed link of a kind works (docs page
//! `password-change`); whether that goes for tickets of the Management API too is undocumented, so the issuer says.

use std::collections::HashMap;

use jiff::Timestamp;

use super::grants::secret;

/// What a ticket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TicketKind {
    /// Lets its holder set a password.
    Password,
    /// Marks the e-mail verified.
    Verification,
}

/// One ticket.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) kind: TicketKind,
    pub(super) user_id: String,
    pub(super) expires_at: Timestamp,
    /// It was sent to the user's address, so that its use proves the address.
    pub(super) mailed: bool,
    /// Its use marks the e-mail verified.
    pub(super) verifies: bool,
    /// Where its use leads in the end, if not to a page of the tenant.
    pub(super) redirect: Option<Redirect>,
}

/// Where a ticket leads after its use.
#[derive(Debug, Clone)]
pub(super) struct Redirect {
    pub(super) url: url::Url,
    /// Whether the address is told to what is there.
    pub(super) tells_email: bool,
}

/// More tickets than any test leaves unused with one user; past it the oldest go.
const MAX_UNUSED: usize = 100;

/// All tickets that were not used yet.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    tickets: HashMap<String, Ticket>,
    /// The values of each user's tickets of a kind, oldest first.
    values: HashMap<(TicketKind, String), Vec<String>>,
}

impl Tickets {
    /// Hands a ticket out. It cancels the user's earlier ones of its kind: all with `cancels_all`, else a mailed one
    /// cancels mailed ones.
    pub(super) fn issue(&mut self, ticket: Ticket, cancels_all: bool, now: Timestamp) -> String {
        let values = self
            .values
            .entry((ticket.kind, ticket.user_id.clone()))
            .or_default();
        values.retain(|value| {
            let stays = self.tickets.get(value).is_some_and(|old| {
                now < old.expires_at && !cancels_all && !(ticket.mailed && old.mailed)
            });
            if !stays {
                self.tickets.remove(value);
            }
            stays
        });
        if values.len() == MAX_UNUSED {
            self.tickets.remove(&values.remove(0));
        }
        let value = secret();
        values.push(value.clone());
        self.tickets.insert(value.clone(), ticket);
        value
    }

    /// The ticket, while it is good.
    pub(super) fn get(&self, value: &str, kind: TicketKind, now: Timestamp) -> Option<&Ticket> {
        self.tickets
            .get(value)
            .filter(|ticket| ticket.kind == kind && now < ticket.expires_at)
    }

    /// The ticket, if it is good, which it is no longer.
    pub(super) fn spend(
        &mut self,
        value: &str,
        kind: TicketKind,
        now: Timestamp,
    ) -> Option<Ticket> {
        self.get(value, kind, now)?;
        let ticket = self.tickets.remove(value)?;
        let key = (kind, ticket.user_id.clone());
        if let Some(values) = self.values.get_mut(&key) {
            values.retain(|other| other != value);
            if values.is_empty() {
                self.values.remove(&key);
            }
        }
        Some(ticket)
    }

    /// Cancels all tickets of a user who is gone.
    pub(super) fn forget(&mut self, user_id: &str) {
        for kind in [TicketKind::Password, TicketKind::Verification] {
            let values = self.values.remove(&(kind, user_id.to_owned()));
            for value in values.into_iter().flatten() {
                self.tickets.remove(&value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ticket(mailed: bool) -> Ticket {
        Ticket {
            kind: TicketKind::Password,
            user_id: "auth0|ann".into(),
            expires_at: at(10),
            mailed,
            verifies: mailed,
            redirect: None,
        }
    }

    #[test]
    fn a_mailed_link_cancels_mailed_ones_and_a_ticket_none_unless_all_are_to_go() {
        for (second_is_mailed, cancels_all, first_is_good) in [
            (true, false, false),
            (false, false, true),
            (false, true, false),
        ] {
            let mut tickets = Tickets::default();
            let first = tickets.issue(ticket(true), cancels_all, at(0));
            let second = tickets.issue(ticket(second_is_mailed), cancels_all, at(0));
            let good = |value: &str| tickets.get(value, TicketKind::Password, at(9)).is_some();
            assert_eq!(good(&first), first_is_good);
            assert!(good(&second));
        }
    }

    #[test]
    fn a_ticket_is_spent_once_for_what_it_is_and_before_it_expires() {
        let mut tickets = Tickets::default();
        let value = tickets.issue(ticket(false), false, at(0));
        assert!(
            tickets
                .spend(&value, TicketKind::Verification, at(0))
                .is_none()
        );
        assert!(
            tickets
                .spend(&value, TicketKind::Password, at(10))
                .is_none()
        );
        assert!(tickets.spend(&value, TicketKind::Password, at(9)).is_some());
        assert!(tickets.spend(&value, TicketKind::Password, at(9)).is_none());
    }

    #[test]
    fn a_user_who_is_gone_or_had_too_many_leaves_nothing() {
        let mut tickets = Tickets::default();
        let first = tickets.issue(ticket(false), false, at(0));
        for _ in 0..MAX_UNUSED {
            tickets.issue(ticket(false), false, at(0));
        }
        assert!(tickets.get(&first, TicketKind::Password, at(0)).is_none());
        assert_eq!(tickets.tickets.len(), MAX_UNUSED);
        tickets.forget("auth0|ann");
        assert!(tickets.tickets.is_empty() && tickets.values.is_empty());
    }
}

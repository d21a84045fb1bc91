//! The buttons of one user, and what they are called in SQL and on the command line.

use maud::{Markup, html};

use super::super::{
    page::{operands, user_path},
    users::inputs,
    visit::Visit,
};
use crate::db::console::{Account, Desired, Whole, edit::Fields, press::Press};

/// What an operator may have Roster do about a user.
pub(super) fn presses(user: &Whole, key: &str) -> Vec<Press> {
    let mut presses = vec![Press::Sync(key.to_owned())];
    if user.desired.is_some() {
        presses.push(Press::Invite(key.to_owned()));
        presses.push(Press::Link {
            key: key.to_owned(),
            account: "auth0|…".to_owned(),
        });
    }
    let unlink = |account: &Account| Press::Unlink(account.auth0_user_id.clone());
    presses.extend(user.accounts.iter().map(unlink));
    presses
}

/// The same on the command line.
pub(super) fn lines(key: &str) -> [String; 3] {
    ["explain", "history", "sync"].map(|command| format!("roster {command} {}", operands([key])))
}

/// What the form says as long as nobody has typed anything.
pub(super) fn as_entered(user: &Desired, own: Option<Vec<String>>) -> Fields {
    Fields {
        email: user.email.clone().unwrap_or_default(),
        name: user.name.clone().unwrap_or_default(),
        role: user.role.clone().unwrap_or_default(),
        own,
    }
}

/// What may be done about Auth0.
pub(super) fn auth0(visit: &Visit, user: &Whole, key: &str) -> Markup {
    let is_disputed = user.sync.as_deref() == Some("disputed");
    html! {
        h2 { "Auth0" }
        (button(visit, key, "sync", None, "Sync now", ""))
        @if user.desired.is_some() {
            @let staged = user.invitations.first().is_some_and(|mail| mail["state"] == "staged");
            (button(visit, key, "invite", None, if staged { "Send the invitation" } else { "Invite again" }, ""))
        }
        @if visit.writes() {
            details open[is_disputed] {
                summary { @if is_disputed { "Settle the dispute" } @else { "Link another account" } }
                @if is_disputed {
                    p { "Roster does not know which account in Auth0 is this user's, and touches none until you say which." }
                }
                form method="post" action={ (user_path(key)) "/link" } {
                    (visit.csrf())
                    label { "Auth0 id of this user's account" input type="text" name="account" required maxlength="255" placeholder="auth0|…" autocomplete="off"; }
                    button { "Link" }
                }
                @for account in &user.accounts {
                    form method="post" action={ (user_path(key)) "/unlink" } {
                        (visit.csrf())
                        input type="hidden" name="account" value=(account.auth0_user_id);
                        p {
                            button.danger { "Unlink" } " " code { (account.auth0_user_id) }
                            ": it is nobody's then, and stays as it is."
                        }
                    }
                }
            }
        } @else if is_disputed { p.note { "To settle the dispute takes roster:write too." } }
    }
}

/// What may be done with the row.
pub(super) fn row(
    visit: &Visit,
    user: &Desired,
    own: Option<&Vec<String>>,
    roles: &[String],
) -> Markup {
    let (key, version) = (&user.user_key, user.version.as_str());
    html! {
        h2 { "Change" }
        @if user.blocked { (button(visit, key, "unblock", Some(version), "Unblock", "")) }
        @else { (button(visit, key, "block", Some(version), "Block", "danger")) }
        form method="post" action={ (user_path(key)) "/edit" } {
            (visit.csrf())
            input type="hidden" name="version" value=(version);
            (inputs(&as_entered(user, own.cloned()), roles))
            button { "Save" }
        }
        form method="post" action={ (user_path(key)) "/delete" } {
            (visit.csrf())
            input type="hidden" name="version" value=(version);
            fieldset {
                legend { "Delete" }
                label { input type="checkbox" name="sure" value="yes" required; " Remove this row; the account in Auth0 is blocked" }
                button.danger { "Delete" }
            }
        }
    }
}

fn button(
    visit: &Visit,
    key: &str,
    action: &str,
    version: Option<&str>,
    label: &str,
    class: &str,
) -> Markup {
    html! {
        form.inline method="post" action={ (user_path(key)) "/" (action) } {
            (visit.csrf())
            @if let Some(version) = version { input type="hidden" name="version" value=(version); }
            button class=(class) { (label) }
        }
    }
}

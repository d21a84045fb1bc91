//! What is to be seen of one user: both sides and the plan, what they may do and why, the mails, and what happened.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::{ago, ago_of, fields};
use crate::db::{
    console::{Account, Desired, Whole},
    plan::PlanRow,
};

/// Characters of a name that Auth0 keeps; the plan compares no more.
const NAME: usize = 150;

/// The row, each account and the plan, line by line.
pub(super) fn sides(user: &Whole) -> Markup {
    let yes = |blocked: bool| if blocked { "yes" } else { "no" }.to_owned();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    type Row<'a> = (
        &'static str,
        fn(&Desired) -> String,
        Box<dyn Fn(&Account) -> String + 'a>,
    );
    let rows: [Row<'_>; 5] = [
        (
            "E-mail",
            |d| d.email.clone().unwrap_or_default(),
            Box::new(move |a| text(&a.email)),
        ),
        (
            "Name",
            |d| d.name.clone().unwrap_or_default(),
            Box::new(move |a| text(&a.name)),
        ),
        (
            "Role",
            |d| d.role.clone().unwrap_or_default(),
            Box::new(move |a| text(&a.role)),
        ),
        (
            "Permissions",
            |d| d.permissions.join(", "),
            Box::new(|a| a.permissions.join(", ")),
        ),
        (
            "Blocked",
            |d| if d.blocked { "yes" } else { "no" }.to_owned(),
            Box::new(move |a| yes(a.blocked)),
        ),
    ];
    html! {
        div.scroll tabindex="0" role="region" aria-label="Both sides" {
            table {
                thead { tr {
                    th scope="col" { "Field" }
                    th scope="col" { "SQL now" }
                    @for account in &user.accounts {
                        th scope="col" {
                            "Auth0 last seen" br; code { (account.auth0_user_id) } " (" (account.origin) ", " (account.state) ")"
                            @if let Some(at) = account.observed_at { br; (ago(at)) }
                        }
                    }
                } }
                tbody {
                    @for (label, desired, seen) in rows {
                        @let here = user.desired.as_ref().map(desired);
                        tr {
                            th scope="row" { (label) }
                            td { bdi { (here.as_deref().unwrap_or("(no row)")) } }
                            @for account in &user.accounts {
                                @let there = seen(account);
                                @let differs = account.observed_at.is_some() && here.as_ref().is_some_and(|here| as_auth0(label, here) != there);
                                td.differs[differs] { bdi { (there) } @if differs { " (differs)" } }
                            }
                        }
                    }
                }
            }
        }
        @if user.accounts.is_empty() { p { "No account in Auth0 yet." } }
        h2 { "Plan" }
        @if user.plan.is_empty() { p { "Nothing is to be done." } }
        ul { @for row in &user.plan { (planned(row)) } }
    }
}

fn planned(row: &PlanRow) -> Markup {
    html! {
        li {
            strong { (row.action.as_str()) } " is " (row.state)
            @if let Some(reason) = &row.reason { ": " (reason) }
            (fields(&row.changes))
        }
    }
}

/// How far the last sync has got.
pub(super) fn steps(user: &Whole) -> Markup {
    let asked = |event: &&Value| word(event, "what").starts_with("resync");
    let Some(at) = user.timeline.iter().position(|event| asked(&event)) else {
        return html! {};
    };
    let waits = word(&user.timeline[at], "outcome") == "not taken over yet";
    html! {
        h2 { "Sync" }
        ol {
            li { "Asked for" @if let Some(at) = ago_of(&user.timeline[at]["at"]) { ", " (at) } }
            @if waits { li { "Waits for a reactor to take it over" } }
            @else {
                li { "Taken over" }
                @for event in user.timeline[..at].iter().rev() { li { (word(event, "what")) " " bdi { (word(event, "detail")) } ": " (word(event, "outcome")) } }
                @if user.plan.is_empty() { li { strong { "Done: Auth0 has what the row says" } } }
                @for row in &user.plan { li { "Next: " (row.action.as_str()) ", " (row.state) } }
            }
        }
    }
}

/// What Auth0 is to have of a field.
fn as_auth0(label: &str, here: &str) -> String {
    match label {
        "Name" => here.chars().take(NAME).collect(),
        _ => here.to_owned(),
    }
}

/// What the user may do, and why.
pub(super) fn permissions(user: &Whole) -> Markup {
    let Some(desired) = &user.desired else {
        return html! {};
    };
    let why = |permission: &String| {
        let of_role = user.of_role.contains(permission);
        let own = user
            .own
            .as_ref()
            .is_some_and(|own| own.contains(permission));
        match (of_role, own) {
            (true, true) => "by the role, and the user's own",
            (true, false) => "by the role",
            (false, true) => "the user's own",
            (false, false) => "by roster.desired_users",
        }
    };
    html! {
        h2 { "May do" }
        @if desired.permissions.is_empty() { p { "Nothing: neither the role nor the user has a permission." } }
        ul { @for permission in &desired.permissions { li { code { (permission) } " " (why(permission)) } } }
    }
}

/// The mails that invited the user, or are to.
pub(super) fn mails(invitations: &[Value]) -> Markup {
    let told = |state: &str| match state {
        "staged" => "waits for somebody to send it",
        "sending" => "is on its way",
        "sent" => "was sent",
        _ => "may have been sent: Auth0's answer was lost, so it is not sent again by itself",
    };
    html! {
        h2 { "Mails" }
        @if invitations.is_empty() { p { "No invitation was sent." } }
        ul { @for mail in invitations {
            li {
                "An invitation" @if let Some(email) = mail["email"].as_str() { " to " bdi { (email) } }
                " " (told(mail["state"].as_str().unwrap_or_default()))
                @if let Some(at) = ago_of(&mail["changed_at"]) { ", " (at) }
            }
        } }
    }
}

pub(super) fn timeline(events: &[Value]) -> Markup {
    html! {
        h2 { "What happened" }
        @if events.is_empty() { p { "Nothing is recorded." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="What happened" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "By" } th scope="col" { "Detail" } th scope="col" { "Outcome" } } }
                    tbody { @for event in events { tr {
                        td { @if let Some(at) = ago_of(&event["at"]) { (at) } }
                        td { (word(event, "what")) }
                        td { bdi { (word(event, "by")) } " " bdi { (word(event, "tool")) } }
                        td { bdi { (word(event, "detail")) } }
                        td { (word(event, "outcome")) }
                    } } }
                }
            }
        }
    }
}

fn word<'e>(event: &'e Value, name: &str) -> &'e str {
    event[name].as_str().unwrap_or_default()
}

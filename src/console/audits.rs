//! How audits stand, and the button that asks for one. A reactor makes them; the console reads what it notes down of its way.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    page::{ago, ago_of},
    visit::Visit,
};
use crate::db::console::drift::Audits;

/// Where audits stand, in sentences, with what can be done.
pub(super) fn standing(visit: &Visit, audits: &Audits) -> Markup {
    html! {
        section aria-label="Audit" {
            @if let Some(running) = &audits.running { (under_way(running)) }
            @else if let Some(at) = audits.asked_at { (waiting(audits, at)) }
            @else if visit.operates() {
                form.inline method="post" action="/console/drift" {
                    (visit.csrf())
                    button name="verdict" value="audit" { "Run an audit" }
                }
                span.note { "Everybody is compared with what Auth0 really has. It is only read." }
            }
            @match &audits.ended {
                Some(audit) => (ended(audit)),
                None => p { "No audit has ended yet." }
            }
        }
    }
}

fn waiting(audits: &Audits, at: jiff::Timestamp) -> Markup {
    html! {
        p role="status" {
            "An audit was asked for " (ago(at)) ". "
            @if !audits.has_reactor { "No reactor is running: the next one begins it, once " code { "roster run" } " does." }
            @else if audits.is_paused { "Roster is paused: it begins once the pause ends." }
            @else { "A reactor begins it within ten seconds. " a href="/console/drift" { "Look again" } }
        }
    }
}

fn number(audit: &Value, name: &str) -> i64 {
    audit[name].as_i64().unwrap_or_default()
}

fn under_way(audit: &Value) -> Markup {
    let (done, of) = (number(audit, "step_done"), audit["step_of"].as_i64());
    html! {
        p role="status" {
            "An audit runs"
            @if let Some(at) = ago_of(&audit["started_at"]) { ", begun " (at) }
            ": "
            @match audit["step"].as_str() {
                Some("export") => "Auth0 exports its users",
                Some("load") => "the export is read",
                Some("compare") => "everybody is compared",
                Some("look") => { "accounts are looked at one by one" }
                _ => "it begins",
            }
            @if let Some(of) = of {
                ", " (done) " of " (of) " "
                progress aria-label="Audit" value=(done) max=(of) {}
            }
            ". " a href="/console/drift" { "Look again" }
        }
    }
}

fn ended(audit: &Value) -> Markup {
    let at = ago_of(&audit["finished_at"]);
    html! {
        @if audit["state"] == "failed" {
            p.notice.bad {
                "The last audit failed" @if let Some(at) = at { " " (at) }
                ": " code { (audit["error_code"].as_str().unwrap_or_default()) } ", " bdi { (audit["error_detail"].as_str().unwrap_or_default()) }
                ". What the one before found stands."
            }
        } @else {
            p {
                "The last audit ended" @if let Some(at) = at { " " (at) } ". "
                @match audit["source"].as_str() {
                    Some("accounts") => { "It read the " (number(audit, "accounts_seen")) " linked accounts one by one, since there are no exports here: others were not seen. " }
                    _ => { "It saw " (number(audit, "accounts_seen")) " accounts in the export. " }
                }
                (number(audit, "found")) " differed."
                @if number(audit, "unconfirmed") > 0 { " " (number(audit, "unconfirmed")) " more seemed to and were not looked at: settle these and audit again." }
                @if number(audit, "on_their_way") > 0 { " " (number(audit, "on_their_way")) " were not judged, since Roster was at work with them." }
            }
        }
    }
}

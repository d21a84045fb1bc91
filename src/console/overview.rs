//! How things stand, in a sentence, and what to do about it.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console,
    page::{Failure, ago_of, framed, sql},
    visit::Visit,
};
use crate::db::{console, pool::QUICK};

pub(super) async fn show(console: &Console, visit: &Visit) -> Result<Response<String>, Failure> {
    let (status, shown) = console
        .pool
        .soon(QUICK, async |session| console::overview(session).await)
        .await?;
    let held = number(&status, "held");
    let body = html! {
        p.lead { (sentence(&status)) }
        @if held > 0 {
            p.notice.bad role="status" {
                strong { (held) " removals wait for a person." }
                " Auth0 still lets them in, applications that ask Roster do not. "
                a href="/console/held" { "Judge them" } "."
            }
        }
        (facts(&status))
        (sql(&[shown], &["roster status".to_owned()]))
    };
    Ok(framed(visit, StatusCode::OK, "Overview", &body))
}

fn number(status: &Value, name: &str) -> i64 {
    status[name].as_i64().unwrap_or_default()
}

/// What somebody wants to know who looks for a second.
fn sentence(status: &Value) -> Markup {
    let [pending, failing, parked, disputed, held, drift] =
        ["pending", "failing", "parked", "disputed", "held", "drift"].map(|n| number(status, n));
    let paused = !status["paused_at"].is_null();
    let mode = status["mode"].as_str().unwrap_or("observe");
    html! {
        @if number(status, "reactors") == 0 {
            "No reactor is running: nothing reaches Auth0 until " code { "roster run" } " does."
        } @else if paused {
            "Paused: nothing is sent to Auth0, and " (pending) " users wait."
        } @else if mode == "observe" {
            "Roster only observes: it writes nothing to Auth0 until somebody chooses a mode with " code { "roster mode enforce" } "."
        } @else if failing + parked + disputed + held > 0 {
            "Not in sync: " (failing) " failing, " (parked) " parked, " (disputed) " disputed, " (held) " held; "
            (pending) " pending."
        } @else if pending > 0 {
            "Catching up: " (pending) " users are on their way to Auth0"
            @if let Some(since) = ago_of(&status["oldest_pending_since"]) { ", the oldest since " (since) }
            "."
        } @else if drift > 0 {
            "In sync as far as Roster knows; the last audit found " (drift) " differences in Auth0."
        } @else {
            "In sync: Auth0 has what the table says."
        }
    }
}

fn facts(status: &Value) -> Markup {
    let word = |name: &str| status[name].as_str().unwrap_or("—").to_owned();
    let time = |name: &str| ago_of(&status[name]).unwrap_or_else(|| html! { "never" });
    html! {
        dl {
            dt { "Mode" } dd {
                (word("mode"))
                @if let Some(reason) = status["pause_reason"].as_str() { ", paused: " bdi { (reason) } }
            }
            dt { "Pending" } dd { a href="/console/users?state=pending" { (number(status, "pending")) }
                @if let Some(since) = ago_of(&status["oldest_pending_since"]) { ", the oldest since " (since) }
            }
            dt { "Time left" } dd {
                (word("eta"))
                @if let Some(from) = status["eta_from"].as_str() { ", by " (from) }
            }
            dt { "Failing" } dd { a href="/console/users?state=failing" { (number(status, "failing") + number(status, "parked")) } }
            dt { "Disputed" } dd { a href="/console/users?state=disputed" { (number(status, "disputed")) } }
            dt { "Drift" } dd { a href="/console/users?state=drift" { (number(status, "drift")) } }
            dt { "Last sweep" } dd { (time("last_sweep_at")) }
            dt { "Last audit" } dd { (time("last_audit_at")) }
        }
    }
}

//! How things stand, in a sentence, and what to do about it.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, ago_of, framed, refusal, see_other, sql, sql_of, users},
    visit::Visit,
};
use crate::db::{
    console::{
        self,
        press::{self, Press},
    },
    pool::QUICK,
};

const MODES: [(&str, &str); 3] = [
    (
        "observe",
        "reads Auth0 and shows what would be done; writes nothing to it",
    ),
    (
        "additive",
        "creates and changes; neither blocks nor deletes",
    ),
    ("enforce", "does everything"),
];

pub(super) async fn show(console: &Console, visit: &Visit) -> Result<Response<String>, Failure> {
    shown(console, visit, StatusCode::OK, None).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    at: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let (status, shown) = console
        .pool
        .soon(QUICK, async |session| console::overview(session).await)
        .await?;
    let held = number(&status, "held");
    let presses = [
        Press::Mode("observe".to_owned()),
        Press::Pause("…".to_owned()),
        Press::Resume,
    ];
    let lines = ["mode observe", "pause '…'", "resume"].map(|line| format!("roster {line}"));
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was done: " (why) } }
        div #standing data-live {
            p.lead { (sentence(&status)) }
            @if held > 0 {
                p.notice.bad {
                    strong { @if held == 1 { "1 removal waits for a person." } @else { (held) " removals wait for a person." } }
                    " Auth0 still lets them in, applications that ask Roster do not. "
                    a href="/console/held" { "Judge them" } "."
                }
            }
            (facts(&status))
        }
        @if visit.operates() { (switches(visit, &status)) }
        (sql(&[shown], &["roster status".to_owned()]))
        @if visit.operates() {
            (sql_of("The SQL of the buttons", &presses.map(|press| press.statement()), &lines))
        }
    };
    Ok(framed(visit, at, "Overview", &body))
}

/// Does what a button says.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_operate()?;
    let text = |name: &str| request.field(name).trim().to_owned();
    let press = match request.field("do") {
        "mode" => Press::Mode(text("mode")),
        "pause" => Press::Pause(text("reason")),
        "resume" => Press::Resume,
        _ => return Err(Failure::NotFound),
    };
    let why = match press::press(&console.pool, &visit.author, &press).await {
        Ok(_) => return Ok(see_other("/console")),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => refusal(&error),
    };
    shown(console, visit, StatusCode::UNPROCESSABLE_ENTITY, Some(&why)).await
}

/// The mode and the pause.
fn switches(visit: &Visit, status: &Value) -> Markup {
    let mode = status["mode"].as_str().unwrap_or("observe");
    html! {
        h2 { "Control" }
        form method="post" action="/console/overview" {
            (visit.csrf())
            fieldset {
                legend { "Mode" }
                @for (word, means) in MODES {
                    label { input type="radio" name="mode" value=(word) checked[word == mode] required; " " strong { (word) } ": " (means) }
                }
                button name="do" value="mode" { "Choose" }
            }
        }
        form method="post" action="/console/overview" {
            (visit.csrf())
            @if status["paused_at"].is_null() {
                label { "Pause all calls to Auth0, because" input type="text" name="reason" required maxlength="500" autocomplete="off"; }
                button name="do" value="pause" { "Pause" }
            } @else {
                button name="do" value="resume" { "Resume" }
            }
        }
    }
}

fn number(status: &Value, name: &str) -> i64 {
    status[name].as_i64().unwrap_or_default()
}

/// What somebody wants to know who looks for a second.
fn sentence(status: &Value) -> Markup {
    let [unfolded, pending, failing, parked, disputed, held, drift] = [
        "unfolded", "pending", "failing", "parked", "disputed", "held", "drift",
    ]
    .map(|n| number(status, n));
    let counted = [
        (failing, "failing"),
        (parked, "parked"),
        (disputed, "disputed"),
        (held, "held"),
        (pending, "pending"),
    ];
    let amiss: Vec<String> = (counted.iter().filter(|(number, _)| *number > 0))
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let paused = !status["paused_at"].is_null();
    let mode = status["mode"].as_str().unwrap_or("observe");
    html! {
        @if number(status, "reactors") == 0 {
            "No reactor is running: nothing reaches Auth0 until " code { "roster run" } " does."
        } @else if paused {
            "Paused: nothing is sent to Auth0; " (users(pending)) " to be looked at."
        } @else if mode == "observe" {
            "Roster only observes: it writes nothing to Auth0 until somebody chooses a mode with " code { "roster mode enforce" } "."
        } @else if failing + parked + disputed + held > 0 {
            "Not in sync: " (amiss.join(", ")) "."
        } @else if unfolded > 0 {
            "Catching up: what was just changed is not taken over by a reactor yet."
        } @else if pending > 0 {
            "Catching up: " (users(pending)) " still on the way to Auth0"
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
                @if number(status, "pending") == 0 { "nothing to do" } @else { (whole_seconds(&word("eta"))) }
                @if let Some(from) = status["eta_from"].as_str() { ", by " (from) }
            }
            @for class in status["budget"].as_array().into_iter().flatten() { (budget(class)) }
            dt { "Failing" } dd { a href="/console/users?state=failing" { (number(status, "failing") + number(status, "parked")) } }
            dt { "Disputed" } dd { a href="/console/users?state=disputed" { (number(status, "disputed")) } }
            dt { "Drift" } dd { a href="/console/users?state=drift" { (number(status, "drift")) } }
            dt { "Last sweep" } dd { (time("last_sweep_at")) }
            dt { "Last audit" } dd { (time("last_audit_at")) }
        }
    }
}

/// What is left of Auth0's limit for a kind of call.
fn budget(class: &Value) -> Markup {
    let words = class["class"]
        .as_str()
        .unwrap_or_default()
        .replace('_', " ");
    let tokens = |name: &str| class[name].as_f64().map(f64::floor);
    html! {
        dt { "Budget, " (words) }
        dd {
            @match (tokens("remaining"), tokens("limit")) {
                (Some(left), Some(limit)) => { (left) " of " (limit) " calls left" }
                _ => { "not known yet" }
            }
            @if let Some(pace) = class["per_second"].as_f64() { ", " (format!("{pace:.1}")) " a second in the long run" }
        }
    }
}

/// An interval without what is less than a second.
fn whole_seconds(interval: &str) -> &str {
    interval
        .split_once('.')
        .map_or(interval, |(whole, _)| whole)
}

//! What is wrong, grouped by cause, with what to do about it.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, ago_of, framed, see_other, shell_word, sql, user_path, users},
    visit::Visit,
};
use crate::db::{console::problems, pool::QUICK};

/// Kinds of which the reactor tries each user again by itself, or once the row changes: a button has it do so now.
const RETRIED: [&str; 2] = ["failing", "parked"];

pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    let (found, statement) = console
        .pool
        .soon(QUICK, async |session| problems::problems(session).await)
        .await?;
    let codes: Vec<&str> = found
        .iter()
        .filter(|one| is_retried(one))
        .map(code)
        .collect();
    let mut shown = vec![statement];
    shown.extend(codes.iter().map(|code| problems::retry_shown(code)));
    let mut lines = vec!["roster status".to_owned()];
    lines.extend((codes.iter()).map(|code| format!("roster sync --failed={}", shell_word(code))));
    let retried = request.asked("retried").parse::<u32>();
    let body = html! {
        @if let Ok(number) = retried {
            p.notice.good role="status" { "Asked for: " (users(number.into())) ", tried again now. What fails again is shown here again." }
        }
        div #problems data-live {
            @if found.is_empty() {
                p { "Nothing is wrong, as far as Roster knows. What somebody changed in Auth0 itself is found by an audit: " a href="/console/drift" { "Drift" } "." }
            }
            @for problem in &found { (one(visit, problem)) }
        }
        (sql(&shown, &lines))
    };
    Ok(framed(visit, StatusCode::OK, "Problems", &body))
}

fn word<'v>(problem: &'v Value, name: &str) -> &'v str {
    problem[name].as_str().unwrap_or_default()
}

fn code(problem: &Value) -> &str {
    word(problem, "code")
}

fn is_retried(problem: &Value) -> bool {
    RETRIED.contains(&word(problem, "problem"))
}

fn one(visit: &Visit, problem: &Value) -> Markup {
    let kind = word(problem, "problem");
    let examples = problem["examples"].as_array();
    let examples = examples.into_iter().flatten().filter_map(Value::as_str);
    html! {
        section.problem {
            h2 { (kind) " " code { (code(problem)) } }
            p {
                @if let Some(number) = problem["users"].as_i64() { strong { (number) " concerned" } }
                @if let Some(at) = ago_of(&problem["last_at"]) { ", last " (at) }
            }
            p { (word(problem, "advice")) }
            @match kind {
                // Its examples may be accounts that no user has.
                "drift" => p { a.button href={ "/console/drift?kind=" (code(problem).replace('_', "+")) } { "Judge them" } },
                "audit failed" => p { a.button href="/console/drift" { "See the audits" } },
                _ => @if problem["examples"].is_array() {
                    p { "Such as " @for key in examples { a href=(user_path(key)) { bdi { (key) } } " " } }
                },
            }
            @if kind == "disputed" { p { a href="/console/users?state=disputed" { "All of them" } } }
            @if is_retried(problem) {
                p { a href="/console/users?state=failing" { "All that fail or are parked" } }
                @if visit.operates() {
                    form.inline method="post" action="/console/problems" {
                        (visit.csrf())
                        button name="code" value=(code(problem)) { "Try again now" }
                    }
                }
            }
        }
    }
}

/// Tries a group again.
pub(super) async fn retry(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_operate()?;
    let code = request.field("code");
    if code.is_empty() {
        return Err(Failure::NotFound);
    }
    let number = problems::retry(&console.pool, &visit.author, code).await?;
    Ok(see_other(&format!("/console/problems?retried={number}")))
}

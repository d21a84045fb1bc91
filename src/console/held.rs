//! Removals that wait for a person: let them go ahead, or keep the accounts.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, ago_of, framed, refusal, see_other, sql, user_path},
    visit::Visit,
};
use crate::db::{
    console::{self, edit, held_shown},
    pool::QUICK,
};

/// Lines that are shown; all of them are judged at once below.
const MOST: i64 = 50;

pub(super) async fn show(console: &Console, visit: &Visit) -> Result<Response<String>, Failure> {
    shown(console, visit, StatusCode::OK, None).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let (number, held) = console
        .pool
        .soon(QUICK, async |session| console::held(session, MOST).await)
        .await?;
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was done: " (why) } }
        p { "Applications that ask Roster let none of these in any more; Auth0 still does, until somebody says that it was meant." }
        div #held data-live {
            @if held.is_empty() { p { "No removal is held." } }
            @else {
                p { strong { (number) " are held." } @if number > held.len() { " The first " (held.len()) " are shown." } }
                div.scroll tabindex="0" role="region" aria-label="Held removals" {
                    table {
                        thead { tr { th scope="col" { "User" } th scope="col" { "What" } th scope="col" { "Since" } th scope="col" { "Judge" } } }
                        tbody { @for one in &held { (line(visit, one)) } }
                    }
                }
                @if visit.operates() {
                    form method="post" action="/console/held" {
                        (visit.csrf())
                        input type="hidden" name="which" value="all";
                        fieldset {
                            legend { "All " (number) }
                            label { "Type their number to confirm" input type="text" inputmode="numeric" name="number" required autocomplete="off"; }
                            button.danger name="verdict" value="release" { "Release all" } " "
                            button name="verdict" value="discard" { "Keep all" }
                        }
                    }
                }
            }
        }
        (sql(&held_shown(), &["", " --release all", " --discard all"].map(|what| format!("roster held{what}"))))
    };
    Ok(framed(visit, status, "Held removals", &body))
}

fn line(visit: &Visit, one: &Value) -> Markup {
    let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let key = word("user_key");
    html! {
        tr {
            td { a href=(user_path(&key)) { bdi { (one["email"].as_str().unwrap_or(&key)) } } }
            td { (word("action")) ": " (word("reason")) }
            td { @if let Some(since) = ago_of(&one["since"]) { (since) } }
            td { @if visit.operates() {
                form.inline method="post" action="/console/held" {
                    (visit.csrf())
                    input type="hidden" name="which" value=(key);
                    button.danger name="verdict" value="release" { "Release" } " "
                    button name="verdict" value="discard" { "Keep" }
                }
            } }
        }
    }
}

/// Releases or keeps one, or all that were seen.
pub(super) async fn judge(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_operate()?;
    let release = match request.field("verdict") {
        "release" => true,
        "discard" => false,
        _ => return Err(Failure::NotFound),
    };
    let which = request.field("which");
    // Of all, only as many as somebody has seen.
    let number = (which == "all").then(|| request.field("number").trim().to_owned());
    let judged = edit::judge_held(
        &console.pool,
        &visit.author,
        which,
        release,
        number.as_deref(),
    );
    let (status, why) = match judged.await {
        Ok(true) => return Ok(see_other("/console/held")),
        Ok(false) => (
            StatusCode::CONFLICT,
            "that is not how many are held now.".to_owned(),
        ),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, refusal(&error)),
    };
    shown(console, visit, status, Some(&why)).await
}

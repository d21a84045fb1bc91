//! Changes, transaction by transaction: who, with what tool, whom it concerned, and what became of it.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, address, ago_of, framed, next_page, sql, user_path},
    visit::Visit,
};
use crate::db::{past, pool::QUICK};

/// Transactions on a page.
const PAGE: usize = 50;
/// Users of one transaction on its page.
const USERS: usize = 100;
/// Of a transaction of more users only its own page tells what became of each.
const FEW: i64 = 20;
/// Users that a line names.
const NAMED: usize = 3;

pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    let before = request.asked("before").parse().ok();
    let shown = past::transactions(before, PAGE);
    let (mut changes, told) = console
        .pool
        .soon(QUICK, async |session| {
            let changes = past::transactions(before, PAGE + 1)
                .objects(session)
                .await?;
            let few: Vec<u64> = changes
                .iter()
                .take(PAGE)
                .filter(|change| (1..=FEW).contains(&named(change)))
                .filter_map(txid)
                .collect();
            let told = past::of_transactions(&few, FEW as usize)
                .objects(session)
                .await?;
            Ok((changes, told))
        })
        .await?;
    let is_last = changes.len() <= PAGE;
    changes.truncate(PAGE);
    let mut users: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for user in &told {
        users
            .entry(txid(user).unwrap_or_default())
            .or_default()
            .push(user);
    }
    let next = changes.last().filter(|_| !is_last).and_then(txid);
    let body = html! {
        div #list data-live {
            @if changes.is_empty() {
                @if before.is_some() { p { "Nothing older is kept. " a href="/console/changes" { "Show the newest" } } }
                @else { p { "Nothing has changed yet. What is written to a watched table, here or with any SQL tool, shows up at once; " a href="/console/users" { "change a user" } "." } }
            } @else {
                p.note { "By transaction, newest first, kept for " code { "history.keep" } "." }
                div.scroll tabindex="0" role="region" aria-label="Changes" {
                    table {
                        thead { tr { @for head in ["When", "Who", "What", "Whom", "What became of it"] { th scope="col" { (head) } } } }
                        tbody { @for change in &changes {
                            (line(change, txid(change).and_then(|txid| users.get(&txid)).map_or(&[][..], Vec::as_slice)))
                        } }
                    }
                }
            }
        }
        @if let Some(next) = next { (next_page(&format!("/console/changes?before={next}"))) }
        (sql(&[shown], &["roster history".to_owned()]))
    };
    Ok(framed(visit, StatusCode::OK, "Changes", &body))
}

fn txid(row: &Value) -> Option<u64> {
    row["txid"].as_str()?.parse().ok()
}

fn word<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or_default()
}

/// How many keys its statements named; one that several named counts as often.
fn named(change: &Value) -> i64 {
    change["user_keys"].as_i64().unwrap_or_default()
}

fn line(change: &Value, users: &[&Value]) -> Markup {
    let path = format!("/console/change/{}", word(change, "txid"));
    html! {
        tr {
            td { a href=(path) { @if let Some(at) = ago_of(&change["changed_at"]) { (at) } } }
            td { (who(change)) }
            td {
                (word(change, "did"))
                @if let Some(reason) = change["reason"].as_str() { br; span.note { bdi { (reason) } } }
            }
            td {
                @for user in users.iter().take(NAMED) { (person(user)) " " }
                @if users.len() > NAMED { "and " (users.len() - NAMED) " more" }
                @if users.is_empty() { (whom(change)) }
            }
            td { (became(change, users)) }
        }
    }
}

fn who(change: &Value) -> Markup {
    html! {
        @match change["actor"].as_str() {
            Some(actor) => { bdi { (actor) } " by " bdi { (word(change, "changed_by")) } }
            None => bdi { (word(change, "changed_by")) }
        }
        @if !word(change, "application_name").is_empty() { ", with " bdi { (word(change, "application_name")) } }
    }
}

fn whom(change: &Value) -> Markup {
    html! {
        @if change["concerns_everybody"] == true { "everybody, as far as the statement told" }
        @else if named(change) == 0 { "nobody by name" }
        @else { (named(change)) " users" }
    }
}

fn person(user: &Value) -> Markup {
    let key = word(user, "user_key");
    html! { a href=(user_path(key)) { bdi { (user["email"].as_str().unwrap_or(key)) } } }
}

/// Whether Roster knows of it, and how many of its users are where.
fn became(change: &Value, users: &[&Value]) -> Markup {
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for user in users {
        *outcomes.entry(word(user, "outcome")).or_default() += 1;
    }
    html! {
        @if change["folded_at"].is_null() { "not taken over yet" }
        @else if outcomes.is_empty() {
            @if named(change) > 0 { "taken over: " a href={ "/console/change/" (word(change, "txid")) } { "see user by user" } }
            @else { "taken over" }
        }
        @for (n, (outcome, number)) in outcomes.iter().enumerate() {
            @if n > 0 || change["folded_at"].is_null() { ", " }
            @if users.len() > 1 { (number) " " }
            (outcome)
        }
    }
}

/// One transaction, user by user.
pub(super) async fn one(
    console: &Console,
    visit: &Visit,
    request: &Request,
    txid: &str,
) -> Result<Response<String>, Failure> {
    let Ok(number) = txid.parse::<u64>() else {
        return Err(Failure::NotFound);
    };
    let after = request.asked("after");
    let statements = [
        past::transaction(number),
        past::of_transaction(number, after, USERS),
    ];
    let (change, mut users) = console
        .pool
        .soon(QUICK, async |session| {
            let change = statements[0].objects(session).await?;
            let users = past::of_transaction(number, after, USERS + 1)
                .objects(session)
                .await?;
            Ok((change, users))
        })
        .await?;
    let Some(change) = change.first() else {
        return Err(Failure::NotFound);
    };
    let is_last = users.len() <= USERS;
    users.truncate(USERS);
    let next = users.last().filter(|_| !is_last).map(|last| {
        let path = format!("/console/change/{number}");
        address(&path, &[("after", word(last, "user_key"))])
    });
    let body = html! {
        dl {
            dt { "When" } dd { @if let Some(at) = ago_of(&change["changed_at"]) { (at) } }
            dt { "Who" } dd { (who(change)) @if let Some(from) = change["client_addr"].as_str() { ", from " (from) } }
            dt { "What" } dd { (word(change, "did")) ", " (change["statements"]) " statements" }
            @if let Some(reason) = change["reason"].as_str() { dt { "Why" } dd { bdi { (reason) } } }
            dt { "Whom" } dd { (whom(change)) }
            dt { "Taken over" } dd { @match ago_of(&change["folded_at"]) { Some(at) => (at), None => "not yet" } }
        }
        h2 { "What Auth0 was told" }
        @if users.is_empty() {
            p {
                @if !after.is_empty() { "There are no further users." }
                @else if change["concerns_everybody"] == true { "No statement could name its users, so everybody was compared; each user's own page tells what came of it." }
                @else { "It concerned no user." }
            }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="What Auth0 was told" {
                table {
                    thead { tr { @for head in ["User", "What", "Detail", "Outcome", "When"] { th scope="col" { (head) } } } }
                    tbody { @for user in &users { tr {
                        td { (person(user)) }
                        td { (word(user, "action")) }
                        td { bdi { (word(user, "detail")) } }
                        td { (word(user, "outcome")) }
                        td { @if let Some(at) = ago_of(&user["told_at"]) { (at) ", " (word(user, "after")) " after the change" } }
                    } } }
                }
            }
        }
        @if let Some(next) = next { (next_page(&next)) }
        (sql(&statements, &[format!("roster history --transaction {number}")]))
    };
    let title = format!("Transaction {number}");
    Ok(framed(visit, StatusCode::OK, &title, &body))
}

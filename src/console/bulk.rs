//! One edit of many users: ticked in the list, or all that it shows; said once more with their number before anything is written.

use maud::{Markup, html};
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, framed, operands, refusal, see_other, sql, user_path},
    users::address,
    visit::Visit,
};
use crate::db::console::{
    Filter,
    bulk::{self, Bulk, Meant, Outcome, Which},
};

/// Addresses that are shown before it is done.
const MOST: usize = 50;

/// What can be done with many, in words.
const ACTIONS: [(&str, &str, &str); 5] = [
    ("block", "Block", "roster:write"),
    ("unblock", "Unblock", "roster:write"),
    ("role", "Give this role", "roster:write"),
    ("delete", "Delete", "roster:write"),
    ("sync", "Sync now", "roster:operate"),
];

/// The buttons below the list; its ticks belong to them.
pub(super) fn buttons(visit: &Visit, search: &str, word: &str) -> Markup {
    let may = |permission: &str| match permission {
        "roster:write" => visit.writes(),
        _ => visit.operates(),
    };
    html! {
        @if visit.writes() || visit.operates() {
            form #bulk method="post" action="/console/users/bulk" {
                (visit.csrf())
                input type="hidden" name="q" value=(search);
                input type="hidden" name="state" value=(word);
                fieldset {
                    legend { "With those that are ticked" }
                    label { input type="checkbox" name="all" value="yes"; " Or with all that match, on all pages" }
                    @if visit.writes() { label { "Role" input type="text" name="role" maxlength="255" autocomplete="off"; } }
                    @for (action, words, permission) in ACTIONS {
                        @if may(permission) { button name="do" value=(action) class=[(action == "delete").then_some("danger")] { (words) } " " }
                    }
                    p.note { "Nothing is done before you have seen whom it concerns." }
                }
            }
        }
    }
}

/// The tick of one line.
pub(super) fn tick(key: &str, email: &str) -> Markup {
    html! { input type="checkbox" name="key" value=(key) form="bulk" aria-label={ "Tick " (email) }; }
}

/// What a form asks for.
struct Asked {
    which: Which,
    bulk: Bulk,
    words: String,
}

fn asked(visit: &Visit, request: &Request) -> Result<Result<Asked, &'static str>, Failure> {
    let action = request.field("do");
    let found = ACTIONS.iter().find(|(word, ..)| *word == action);
    let (_, words, permission) = found.ok_or(Failure::NotFound)?;
    match *permission {
        "roster:write" => visit.may_write()?,
        _ => visit.may_operate()?,
    }
    let role = request.field("role").trim().to_owned();
    let bulk = match action {
        "block" => Bulk::Block(true),
        "unblock" => Bulk::Block(false),
        "delete" => Bulk::Delete,
        "sync" => Bulk::Sync,
        _ if role.is_empty() => return Ok(Err("write which role.")),
        _ => Bulk::Role(role.clone()),
    };
    let keys = || {
        let keys = request.form.iter().filter(|(name, _)| name == "key");
        keys.map(|(_, key)| key.clone()).collect::<Vec<_>>()
    };
    let which = match request.field("all") {
        "yes" => {
            let asked = request.field("state");
            let filter = Filter::ALL.into_iter().find(|(word, _)| *word == asked);
            let filter = filter.map_or(Filter::Everybody, |(_, filter)| filter);
            Which::All(request.field("q").trim().to_owned(), filter)
        }
        _ => Which::Keys(keys()),
    };
    if matches!(&which, Which::Keys(keys) if keys.is_empty()) {
        return Ok(Err("tick somebody first."));
    }
    let words = match &bulk {
        Bulk::Role(role) => format!("Give the role {role}"),
        _ => (*words).to_owned(),
    };
    Ok(Ok(Asked { which, bulk, words }))
}

/// Shows whom it concerns; does it once their number is typed.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let asked = match asked(visit, request)? {
        Ok(asked) => asked,
        Err(why) => {
            let body = html! {
                p.notice.bad role="alert" { "Nothing was done: " (why) }
                p { a.button href=(list(request)) { "Back to the list" } }
            };
            return Ok(framed(visit, unprocessable, "Many users", &body));
        }
    };
    let typed = request.field("number").trim();
    if typed.is_empty() {
        return confirm(console, visit, request, &asked, StatusCode::OK, None).await;
    }
    let number = typed.parse().unwrap_or(usize::MAX);
    let done = bulk::apply(
        &console.pool,
        &visit.author,
        &asked.which,
        &asked.bulk,
        number,
    )
    .await;
    let (status, why) = match done {
        Ok(Outcome::Done(number)) => {
            let mut to = list(request);
            to.push_str(&format!("&done={number}"));
            return Ok(see_other(&to));
        }
        Ok(Outcome::Number(number)) => (StatusCode::CONFLICT, format!("they are {number} now.")),
        Ok(Outcome::Yourself) => (
            StatusCode::FORBIDDEN,
            "you are one of them. Nobody removes himself, blocks himself or gives up his own rights here.".to_owned(),
        ),
        Ok(Outcome::LastAdmin) => (
            StatusCode::FORBIDDEN,
            "the last user with roster:write is among them. Give it to somebody else first.".to_owned(),
        ),
        Ok(Outcome::Unable(why)) => (unprocessable, why.to_owned()),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => (unprocessable, refusal(&error)),
    };
    confirm(console, visit, request, &asked, status, Some(&why)).await
}

/// How `roster` does it, for so few that one would type them; edits are SQL.
fn line(bulk: &Bulk, number: usize, some: &[(String, Option<String>)]) -> Vec<String> {
    if !matches!(bulk, Bulk::Sync) || number > some.len() {
        return Vec::new();
    }
    let whom = some.iter().map(|(key, _)| key.as_str());
    vec![format!("roster sync {}", operands(whom))]
}

fn list(request: &Request) -> String {
    address(&[("q", request.field("q")), ("state", request.field("state"))])
}

async fn confirm(
    console: &Console,
    visit: &Visit,
    request: &Request,
    asked: &Asked,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let Meant {
        number,
        some,
        statement,
    } = bulk::meant(&console.pool, &asked.which, &asked.bulk, MOST).await?;
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was done: " (why) } }
        p.lead { (asked.words) ": " strong { (number) " users" } "." }
        ul { @for (key, email) in &some { li { a href=(user_path(key)) { bdi { (email.as_deref().unwrap_or(key)) } } } } }
        @if number > some.len() { p { "And " (number - some.len()) " more." } }
        form method="post" action="/console/users/bulk" {
            (visit.csrf())
            @for (name, value) in &request.form {
                @if ["q", "state", "all", "role", "do", "key"].contains(&name.as_str()) { input type="hidden" name=(name) value=(value); }
            }
            label { "Type their number to confirm" input type="text" inputmode="numeric" name="number" required autocomplete="off"; }
            button.danger { (asked.words) }
        }
        p { a href=(list(request)) { "Back to the list" } }
        (sql(statement.as_slice(), &line(&asked.bulk, number, &some)))
    };
    Ok(framed(visit, status, "Many users", &body))
}

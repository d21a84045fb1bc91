//! One user: what the row says, what Auth0 showed last and what is to be done about it, side by side; what happened; and the buttons.

mod buttons;
mod view;

use maud::{Markup, html};
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, framed, not_done, see_other, sent, sql, sql_of, state, user_path},
    users::fields,
    visit::Visit,
};
use crate::db::{
    DbError,
    console::{
        self, Desired, Whole,
        edit::{self, Edit, Outcome},
        press::{self, Press},
    },
    pool::QUICK,
    statement::Statement,
};

/// What a button did, in the address of the page that follows.
const DONE: [(&str, &str); 9] = [
    ("added", "Added. The account in Auth0 follows."),
    ("changed", "Changed. Auth0 follows."),
    (
        "blocked",
        "Blocked: no application that asks Roster lets this user in any more. Auth0 follows.",
    ),
    ("unblocked", "Unblocked. Auth0 follows."),
    (
        "deleted",
        "Deleted: the row is gone, and the account in Auth0 is blocked next.",
    ),
    (
        "asked",
        "Roster looks at Auth0 again and mends what differs.",
    ),
    ("invited", "Asked for: the invitation goes out once."),
    (
        "linked",
        "Linked. Roster looks at the account before it writes anything.",
    ),
    (
        "unlinked",
        "Unlinked: what becomes of this user in Auth0 is for somebody to say.",
    ),
];

pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
    key: &str,
) -> Result<Response<String>, Failure> {
    let done = DONE.iter().find(|(word, _)| *word == request.asked("done"));
    let notice = match done {
        Some((_, text)) => html! { p.notice.good role="status" { (text) } },
        None => html! {},
    };
    let steps = request.asked("done") == "asked";
    shown(console, visit, key, StatusCode::OK, &notice, steps).await
}

/// Does what a button says.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
    key: &str,
    action: &str,
) -> Result<Response<String>, Failure> {
    let account = || request.field("account").trim().to_owned();
    let pressed = match action {
        "sync" => Some((Press::Sync(key.to_owned()), "asked")),
        "invite" => Some((Press::Invite(key.to_owned()), "invited")),
        "link" => {
            let (key, account) = (key.to_owned(), account());
            Some((Press::Link { key, account }, "linked"))
        }
        "unlink" => Some((Press::Unlink(account()), "unlinked")),
        _ => None,
    };
    if let Some((press, done)) = pressed {
        visit.may_operate()?;
        // Whose account it is decides who may come in as whom.
        if matches!(press, Press::Link { .. } | Press::Unlink(_)) {
            visit.may_write()?;
        }
        let said = press::press(&console.pool, &visit.author, &press).await;
        let outcome = said.map(|_| Outcome::Done(key.to_owned()));
        return ended(console, visit, request, key, outcome, done).await;
    }
    let (edit, done) = match action {
        "edit" => match fields(request) {
            Ok(fields) => (Edit::Change(fields), "changed"),
            Err(why) => {
                visit.may_write()?;
                return refused(console, visit, key, StatusCode::UNPROCESSABLE_ENTITY, why).await;
            }
        },
        "block" => (Edit::Block(true), "blocked"),
        "unblock" => (Edit::Block(false), "unblocked"),
        "delete" => (Edit::Delete, "deleted"),
        _ => return Err(Failure::NotFound),
    };
    visit.may_write()?;
    if matches!(edit, Edit::Delete) && request.field("sure") != "yes" {
        let why = "tick the box that says so.";
        return refused(console, visit, key, StatusCode::UNPROCESSABLE_ENTITY, why).await;
    }
    let version = request.field("version");
    let outcome = edit::apply(&console.pool, &visit.author, key, version, &edit).await;
    ended(console, visit, request, key, outcome, done).await
}

async fn ended(
    console: &Console,
    visit: &Visit,
    request: &Request,
    key: &str,
    outcome: Result<Outcome, DbError>,
    done: &str,
) -> Result<Response<String>, Failure> {
    if matches!(outcome, Ok(Outcome::Changed(_))) {
        let notice = html! {
            div.notice.bad role="alert" {
                p { strong { "Somebody else changed this user while you looked. Nothing of yours was written." } " What you see is how it is now." }
                (sent(&request.form))
            }
        };
        return shown(console, visit, key, StatusCode::CONFLICT, &notice, false).await;
    }
    let Some((status, why)) = not_done(outcome, "")? else {
        return Ok(see_other(&format!("{}?done={done}", user_path(key))));
    };
    refused(console, visit, key, status, &why).await
}

async fn refused(
    console: &Console,
    visit: &Visit,
    key: &str,
    status: StatusCode,
    why: &str,
) -> Result<Response<String>, Failure> {
    let notice = html! { p.notice.bad role="alert" { "Nothing was written: " (why) } };
    shown(console, visit, key, status, &notice, false).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    key: &str,
    status: StatusCode,
    notice: &Markup,
    steps: bool,
) -> Result<Response<String>, Failure> {
    let found = console.pool.soon(QUICK, async |session| {
        let whole = console::whole(session, key).await?;
        Ok((whole, console::roles(session).await?))
    });
    let (Some(user), roles) = found.await? else {
        return Err(Failure::NotFound);
    };
    let title = user
        .desired
        .as_ref()
        .and_then(|desired| desired.email.clone());
    let title = title.unwrap_or_else(|| format!("User {key}"));
    let mut typed = match &user.desired {
        Some(desired) if visit.writes() => edits(console, desired, user.own.clone()).await?,
        _ => Vec::new(),
    };
    if visit.operates() {
        let presses = buttons::presses(&user, key);
        typed.extend(presses.iter().map(Press::statement));
    }
    let body = html! {
        (notice)
        @if steps { div #steps data-live { (view::steps(&user)) } }
        div #standing data-live { (standing(&user)) (view::sides(&user)) }
        div #may data-live { (view::permissions(&user)) }
        @if visit.operates() { (buttons::auth0(visit, &user, key)) }
        @if let Some(desired) = user.desired.as_ref().filter(|_| visit.writes()) {
            (buttons::row(visit, desired, user.own.as_ref(), &roles))
        }
        div #history data-live { (view::mails(&user.invitations)) (view::timeline(&user.timeline)) }
        (sql(&user.statements, &buttons::lines(key)))
        @if !typed.is_empty() {
            (sql_of("The SQL of the buttons", &typed, &[]))
        }
    };
    Ok(framed(visit, status, &title, &body))
}

fn standing(user: &Whole) -> Markup {
    html! {
        p {
            (state(user.sync.as_deref().unwrap_or_default()))
            @if user.desired.as_ref().is_some_and(|desired| desired.blocked) { " " (state("blocked")) }
            @if let Some(todo) = &user.what_to_do { " · to do: " (todo) }
        }
    }
}

/// What the buttons of the row would do, with the values that are there now.
async fn edits(
    console: &Console,
    user: &Desired,
    own: Option<Vec<String>>,
) -> Result<Vec<Statement>, DbError> {
    let edits = [
        Edit::Change(buttons::as_entered(user, own)),
        Edit::Block(!user.blocked),
        Edit::Delete,
    ];
    edit::shown(&console.pool, &user.user_key, &edits).await
}

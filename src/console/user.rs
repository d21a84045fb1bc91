//! One user: what the row says, what Auth0 showed last and what is to be done about it, side by side; what happened; and the buttons.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{
        Failure, LAST_ADMIN, YOURSELF, ago, ago_of, fields as fields_of, framed, refusal,
        see_other, shell_word, sql, sql_of, state, user_path,
    },
    users::{fields, inputs},
    visit::Visit,
};
use crate::db::{
    DbError,
    console::{
        self, Account, Desired, Whole,
        edit::{self, Edit, Fields, Outcome},
    },
    plan::PlanRow,
    pool::QUICK,
    statement::Statement,
};

/// What a button did, in the address of the page that follows.
const DONE: [(&str, &str); 6] = [
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
    shown(console, visit, key, StatusCode::OK, &notice).await
}

/// Does what a button says.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
    key: &str,
    action: &str,
) -> Result<Response<String>, Failure> {
    let (edit, done) = match action {
        "sync" => {
            visit.may_operate()?;
            let asked = edit::resync(&console.pool, &visit.author, key).await;
            return ended(console, visit, request, key, asked, "asked").await;
        }
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
    let (status, why) = match outcome {
        Ok(Outcome::Done(_)) => {
            return Ok(see_other(&format!("{}?done={done}", user_path(key))));
        }
        Ok(Outcome::Changed(_)) => {
            let notice = html! {
                div.notice.bad role="alert" {
                    p { strong { "Somebody else changed this user while you looked. Nothing of yours was written." } " What you see is how it is now." }
                    (entered(request))
                }
            };
            return shown(console, visit, key, StatusCode::CONFLICT, &notice).await;
        }
        Ok(Outcome::Yourself) => (StatusCode::FORBIDDEN, YOURSELF.to_owned()),
        Ok(Outcome::LastAdmin) => (StatusCode::FORBIDDEN, LAST_ADMIN.to_owned()),
        Ok(Outcome::Unable(why)) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) if error.is_held_up() => (
            StatusCode::CONFLICT,
            "somebody else holds this row; try again.".to_owned(),
        ),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, refusal(&error)),
    };
    refused(console, visit, key, status, &why).await
}

/// What its author has typed, so that it is not lost with the form.
fn entered(request: &Request) -> Markup {
    let names = [
        ("email", "E-mail"),
        ("name", "Name"),
        ("role", "Role"),
        ("own", "Own permissions"),
    ];
    let typed = names.map(|(name, label)| (label, request.field(name)));
    html! {
        @if typed.iter().any(|(_, value)| !value.is_empty()) {
            p { "You had entered:" }
            dl { @for (label, value) in typed { dt { (label) } dd { bdi { (value) } } } }
        }
    }
}

async fn refused(
    console: &Console,
    visit: &Visit,
    key: &str,
    status: StatusCode,
    why: &str,
) -> Result<Response<String>, Failure> {
    let notice = html! { p.notice.bad role="alert" { "Nothing was written: " (why) } };
    shown(console, visit, key, status, &notice).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    key: &str,
    status: StatusCode,
    notice: &Markup,
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
    let typed = match &user.desired {
        Some(desired) if visit.writes() => actions(console, desired, user.own.clone()).await?,
        _ => Vec::new(),
    };
    let body = html! {
        (notice)
        p {
            (state(user.sync.as_deref().unwrap_or_default()))
            @if user.desired.as_ref().is_some_and(|desired| desired.blocked) { " " (state("blocked")) }
            @if let Some(todo) = &user.what_to_do { " · to do: " (todo) }
        }
        (sides(&user))
        (permissions(&user))
        @if let Some(desired) = &user.desired { (buttons(visit, desired, user.own.as_ref(), &roles)) }
        @else if visit.operates() { h2 { "Change" } (button(visit, key, "sync", "", "Sync now", "")) }
        (timeline(&user.timeline))
        (sql(&user.statements, &commands(key)))
        @if !typed.is_empty() {
            (sql_of("The SQL of the buttons", &typed, &[]))
        }
    };
    Ok(framed(visit, status, &title, &body))
}

/// The same on the command line.
fn commands(key: &str) -> [String; 3] {
    ["explain", "history", "sync"].map(|command| format!("roster {command} {}", shell_word(key)))
}

/// What the buttons would do, with the values that are there now.
async fn actions(
    console: &Console,
    user: &Desired,
    own: Option<Vec<String>>,
) -> Result<Vec<Statement>, DbError> {
    let edits = [
        Edit::Change(as_entered(user, own)),
        Edit::Block(!user.blocked),
        Edit::Delete,
    ];
    edit::shown(&console.pool, &user.user_key, &edits).await
}

fn as_entered(user: &Desired, own: Option<Vec<String>>) -> Fields {
    Fields {
        email: user.email.clone().unwrap_or_default(),
        name: user.name.clone().unwrap_or_default(),
        role: user.role.clone().unwrap_or_default(),
        own,
    }
}

/// The row, each account and the plan, line by line.
fn sides(user: &Whole) -> Markup {
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
                    th scope="col" { "" }
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
                                @let differs = account.observed_at.is_some() && here.as_ref().is_some_and(|here| *here != there);
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
            (fields_of(&row.changes))
        }
    }
}

/// What the user may do, and why.
fn permissions(user: &Whole) -> Markup {
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

fn buttons(visit: &Visit, user: &Desired, own: Option<&Vec<String>>, roles: &[String]) -> Markup {
    let (key, version) = (&user.user_key, user.version.as_str());
    html! {
        h2 { "Change" }
        @if visit.operates() { (button(visit, key, "sync", version, "Sync now", "")) }
        @if visit.writes() {
            @if user.blocked { (button(visit, key, "unblock", version, "Unblock", "")) }
            @else { (button(visit, key, "block", version, "Block", "danger")) }
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
}

fn button(
    visit: &Visit,
    key: &str,
    action: &str,
    version: &str,
    label: &str,
    class: &str,
) -> Markup {
    html! {
        form.inline method="post" action={ (user_path(key)) "/" (action) } {
            (visit.csrf())
            input type="hidden" name="version" value=(version);
            button class=(class) { (label) }
        }
    }
}

fn timeline(events: &[Value]) -> Markup {
    let word = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
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

//! The list of users, and a new one. The address of the list is all of its state.

use maud::{Markup, html};
use url::form_urlencoded;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request, bulk,
    page::{Failure, ago, framed, refusal, see_other, sql, state, user_path},
    visit::Visit,
};
use crate::db::{
    console::{
        self, After, Filter, Listed, Page,
        edit::{self, Fields, Outcome},
    },
    pool::QUICK,
};

/// Characters of a search that are looked at: no address is longer.
const LONGEST: usize = 320;
/// Permissions of a user's own, at most.
const MOST_PERMISSIONS: usize = 500;

pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    let search: String = request.asked("q").trim().chars().take(LONGEST).collect();
    let asked = request.asked("state");
    let (word, filter) = Filter::ALL
        .into_iter()
        .find(|(word, _)| *word == asked)
        .unwrap_or(Filter::ALL[0]);
    let after = Some(request.asked("after_key"))
        .filter(|key| !key.is_empty())
        .map(|key| After {
            email: request.asked("after").to_owned(),
            user_key: key.to_owned(),
        });
    let page = console
        .pool
        .soon(QUICK, async |session| {
            console::page(session, &search, filter, after.as_ref()).await
        })
        .await?;
    let body = html! {
        form method="get" action="/console/users" role="search" {
            label { "Address begins with" input type="search" name="q" value=(search); }
            @if filter != Filter::Everybody { input type="hidden" name="state" value=(word); }
            button { "Search" }
        }
        (chips(&search, word))
        @if let Ok(done) = request.asked("done").parse::<u64>() {
            p.notice.good role="status" { "Done, for " (done) " users. Auth0 follows." }
        }
        div #list data-live { (list(visit, &page, &search, word, after.is_some())) }
        @if !page.users.is_empty() { (bulk::buttons(visit, &search, word)) }
        (sql(std::slice::from_ref(&page.statement), &[]))
    };
    Ok(framed(visit, StatusCode::OK, "Users", &body))
}

pub(super) fn address(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new("/console/users?".to_owned())
        .extend_pairs(given)
        .finish()
}

fn chips(search: &str, current: &str) -> Markup {
    html! {
        ul.chips aria-label="Which users" {
            @for (word, _) in Filter::ALL {
                li { a href=(address(&[("q", search), ("state", word)])) aria-current=[(word == current).then_some("true")] { (word) } }
            }
        }
    }
}

fn list(visit: &Visit, page: &Page, search: &str, word: &str, is_further: bool) -> Markup {
    let ticks = visit.writes() || visit.operates();
    html! {
        @if page.users.is_empty() {
            p {
                @if is_further { "There are no further ones. " }
                @else if search.is_empty() && word == "all" {
                    "Nobody is in the table yet. " a href="/console/new-user" { "Add somebody" } ", or import a file with " code { "roster import" } "."
                } @else { "Nobody is like that. " }
                @if !search.is_empty() || word != "all" || is_further { a href="/console/users" { "Show everybody" } }
            }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Users" {
                table {
                    thead { tr { @if ticks { th.tick scope="col" { "Tick" } } th scope="col" { "Address" } th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Auth0" } } }
                    tbody { @for user in &page.users { (line(user, ticks)) } }
                }
            }
        }
        @if let Some(next) = &page.next {
            p { a.button rel="next" href=(address(&[("q", search), ("state", word), ("after", &next.email), ("after_key", &next.user_key)])) { "Next page" } }
        }
    }
}

fn line(user: &Listed, ticks: bool) -> Markup {
    let email = user.email.as_deref().unwrap_or("(no address)");
    html! {
        tr {
            @if ticks { td.tick { (bulk::tick(&user.user_key, email)) } }
            td { a href=(user_path(&user.user_key)) { bdi { (email) } } }
            td { bdi { (user.name.as_deref().unwrap_or_default()) } }
            td { bdi { (user.role.as_deref().unwrap_or_default()) } }
            td {
                (state(&user.sync))
                @if user.blocked { " " (state("blocked")) }
                @if let Some(since) = user.pending_since { " since " (ago(since)) }
            }
        }
    }
}

/// The form for somebody new.
pub(super) async fn new(console: &Console, visit: &Visit) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    form(console, visit, StatusCode::OK, None, &Fields::default()).await
}

async fn form(
    console: &Console,
    visit: &Visit,
    status: StatusCode,
    refused: Option<&str>,
    entered: &Fields,
) -> Result<Response<String>, Failure> {
    let roles = console
        .pool
        .soon(QUICK, async |session| console::roles(session).await)
        .await?;
    let insert = match entered.email.is_empty() {
        true => edit::create_shown(&console.pool, &an_example()).await?,
        false => edit::create_shown(&console.pool, entered).await?,
    };
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nobody was added: " (why) } }
        p { "Roster makes the account in Auth0 and has Auth0 mail an invitation, once the row is there." }
        form method="post" action="/console/new-user" {
            (visit.csrf())
            (inputs(entered, &roles))
            button { "Add" }
        }
        (sql(insert.as_slice(), &["roster import people.csv".to_owned()]))
    };
    Ok(framed(visit, status, "New user", &body))
}

/// For the statement of a form that is empty.
fn an_example() -> Fields {
    let dots = || "…".to_owned();
    Fields {
        email: dots(),
        name: dots(),
        role: dots(),
        own: None,
    }
}

/// The fields that both forms have. An input's own kind would refuse what the table takes, so that address is text.
pub(super) fn inputs(entered: &Fields, roles: &[String]) -> Markup {
    let own = entered.own.as_ref().map(|own| own.join("\n"));
    html! {
        label { "E-mail" input type="text" inputmode="email" name="email" value=(entered.email) required maxlength="320" autocomplete="off"; }
        label { "Name" input type="text" name="name" value=(entered.name) maxlength="1000" autocomplete="off"; }
        label { "Role" input type="text" name="role" value=(entered.role) list="roles" maxlength="255" autocomplete="off"; }
        datalist id="roles" { @for role in roles { option value=(role) {} } }
        @if let Some(own) = own {
            label { "Permissions beyond the role, one a line" textarea name="own" rows="4" { (own) } }
        }
    }
}

/// What a form says of a user.
///
/// # Errors
/// Why nobody can be like that.
pub(super) fn fields(request: &Request) -> Result<Fields, &'static str> {
    let field = |name: &str| request.field(name).trim().to_owned();
    let own = request.form.iter().find(|(name, _)| name == "own");
    let own: Option<Vec<String>> = own.map(|(_, text)| {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    });
    let fields = Fields {
        email: field("email"),
        name: field("name"),
        role: field("role"),
        own,
    };
    if fields.email.is_empty() {
        return Err("an e-mail address is needed.");
    }
    if fields
        .own
        .as_ref()
        .is_some_and(|own| own.len() > MOST_PERMISSIONS)
    {
        return Err("that is more than 500 permissions of one user's own: make it a role.");
    }
    Ok(fields)
}

pub(super) async fn create(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let entered = match fields(request) {
        Ok(entered) => entered,
        Err(why) => {
            return form(console, visit, unprocessable, Some(why), &Fields::default()).await;
        }
    };
    let created = edit::create(&console.pool, &visit.author, &entered).await;
    let why = match created {
        Ok(Outcome::Done(key)) => {
            return Ok(see_other(&format!("{}?done=added", user_path(&key))));
        }
        Ok(Outcome::Unable(why)) => why.to_owned(),
        Ok(_) => return Err(Failure::NotFound),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => refusal(&error),
    };
    form(console, visit, unprocessable, Some(&why), &entered).await
}

//! Roles and permissions: who may what, ticked in a matrix, looked at once more with how many users it touches, and saved as one.

use std::collections::BTreeSet;

use maud::{Markup, html};
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{self, Failure, framed, not_done, see_other, sql},
    visit::Visit,
};
use crate::db::{
    console::roles::{self, After, Change, Matrix},
    pool::QUICK,
};

/// Characters of a role or a permission.
const LONGEST: usize = 255;
/// Changes that are saved at a time.
const MOST: usize = 500;
pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    shown(console, visit, request, StatusCode::OK, None).await
}

fn after(request: &Request) -> After {
    let [role, permission] =
        ["role_after", "permission_after"].map(|name| request.asked(name).to_owned());
    After { role, permission }
}

fn address(role: &str, permission: &str) -> String {
    let pairs = [("role_after", role), ("permission_after", permission)];
    page::address("/console/roles", &pairs)
}

async fn shown(
    console: &Console,
    visit: &Visit,
    request: &Request,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let after = after(request);
    let matrix = console
        .pool
        .soon(QUICK, async |session| roles::matrix(session, &after).await)
        .await?;
    let body = html! {
        @if request.asked("done") == "saved" { p.notice.good role="status" { "Saved. Applications that ask Roster go by it at once; Auth0 follows." } }
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was written: " (why) } }
        @match &matrix {
            None => p { "There are no tables " code { "public.roles" } " and " code { "public.role_permissions" } " here: what users may do is as the view " code { "roster.desired_users" } " says it, which is yours to define in SQL." }
            Some(matrix) => (form(visit, matrix, &after))
        }
        @if let Some(matrix) = &matrix { (sql(&matrix.statements, &[])) }
    };
    Ok(framed(visit, status, "Roles and permissions", &body))
}

fn form(visit: &Visit, matrix: &Matrix, after: &After) -> Markup {
    html! {
        p { "What users may do is what their role may, and what is their own besides; the latter is on each user's page." }
        form method="post" action=(address(&after.role, &after.permission)) {
            (visit.csrf())
            @if matrix.permissions.is_empty() || matrix.roles.is_empty() {
                p { @if after.role.is_empty() && after.permission.is_empty() { "No role has a permission yet." } @else { "There is nothing further." } }
            } @else { (cells(visit, matrix)) }
            @if visit.writes() {
                fieldset {
                    legend { "Give what is not in the table yet" }
                    label { "Role" input type="text" name="role" list="roles" maxlength=(LONGEST) autocomplete="off"; }
                    datalist id="roles" { @for (role, _) in &matrix.roles { option value=(role) {} } }
                    label { "Permission" input type="text" name="permission" maxlength=(LONGEST) autocomplete="off"; }
                }
                button name="step" value="look" { "See what changes" }
            }
        }
        (further(matrix, after))
    }
}

fn cells(visit: &Visit, matrix: &Matrix) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Who may what" {
            table {
                thead { tr {
                    th scope="col" { "May" }
                    @for (role, description) in &matrix.roles {
                        th scope="col" { bdi { (role) } @if let Some(said) = description { br; span.note { bdi { (said) } } } }
                    }
                } }
                tbody { @for permission in &matrix.permissions { tr {
                    th scope="row" { bdi { (permission) } }
                    @for (role, _) in &matrix.roles { td { (cell(visit, matrix, role, permission)) } }
                } } }
            }
        }
    }
}

fn pair(role: &str, permission: &str) -> String {
    serde_json::json!([role, permission]).to_string()
}

/// What was there when it was shown goes along, so that what somebody else changes meanwhile is not taken for a wish.
fn cell(visit: &Visit, matrix: &Matrix, role: &str, permission: &str) -> Markup {
    let has = matrix
        .grants
        .contains(&(role.to_owned(), permission.to_owned()));
    let value = pair(role, permission);
    html! {
        @if visit.writes() {
            input type="checkbox" name="has" value=(value) checked[has] aria-label={ (role) ": " (permission) };
            @if has { input type="hidden" name="had" value=(value); }
        } @else if has { "yes" } @else { "no" }
    }
}

fn further(matrix: &Matrix, after: &After) -> Markup {
    let role = matrix.roles.last().filter(|_| matrix.more_roles);
    let permission = matrix
        .permissions
        .last()
        .filter(|_| matrix.more_permissions);
    html! {
        p {
            @if let Some((role, _)) = role { a.button href=(address(role, &after.permission)) { "Further roles" } " " }
            @if let Some(permission) = permission { a.button href=(address(&after.role, permission)) { "Further permissions" } " " }
            @if !after.role.is_empty() || !after.permission.is_empty() { a.button href="/console/roles" { "From the beginning" } }
        }
    }
}

/// The pairs that a form has under this name.
fn pairs(request: &Request, name: &str) -> Result<BTreeSet<(String, String)>, Failure> {
    let given = request.form.iter().filter(|(key, _)| key == name);
    given
        .map(|(_, value)| serde_json::from_str(value).map_err(|_| Failure::NotFound))
        .collect()
}

/// What somebody wants otherwise than it was when they saw it.
fn wanted(request: &Request) -> Result<Vec<Change>, Failure> {
    let (had, mut has) = (pairs(request, "had")?, pairs(request, "has")?);
    let [role, permission] =
        ["role", "permission"].map(|name| request.field(name).trim().to_owned());
    if !role.is_empty()
        && !permission.is_empty()
        && !had.contains(&(role.clone(), permission.clone()))
    {
        has.insert((role, permission));
    }
    let change = |given| {
        move |(role, permission): &(String, String)| Change {
            role: role.clone(),
            permission: permission.clone(),
            given,
        }
    };
    let taken = had.difference(&has).map(change(false));
    let given = has.difference(&had).map(change(true));
    Ok(taken.chain(given).collect())
}

/// Why these cannot be saved, whoever wants them.
fn fault(request: &Request, changes: &[Change]) -> Option<&'static str> {
    // Within the JSON of a tick it can stand escaped.
    let too_long =
        |text: &String| text.is_empty() || text.chars().count() > LONGEST || text.contains('\0');
    if request.field("role").trim().is_empty() != request.field("permission").trim().is_empty() {
        Some("to give something takes a role and a permission.")
    } else if changes.is_empty() {
        Some("nothing is ticked otherwise than before.")
    } else if changes.len() > MOST {
        Some("that is more than 500 changes: save some of them first.")
    } else if changes
        .iter()
        .any(|change| too_long(&change.role) || too_long(&change.permission))
    {
        Some("a role or a permission has 1 to 255 characters.")
    } else {
        None
    }
}

/// Shows what would change, or saves what was shown.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    let changes = wanted(request)?;
    if let Some(why) = fault(request, &changes) {
        return shown(
            console,
            visit,
            request,
            StatusCode::UNPROCESSABLE_ENTITY,
            Some(why),
        )
        .await;
    }
    if request.field("step") != "save" {
        return look(console, visit, &changes).await;
    }
    let saved = roles::save(&console.pool, &visit.author, &changes).await;
    let changed =
        "somebody else changed some of it while you looked. What you see is how it is now.";
    let Some((status, why)) = not_done(saved, changed)? else {
        return Ok(see_other("/console/roles?done=saved"));
    };
    shown(console, visit, request, status, Some(&why)).await
}

async fn look(
    console: &Console,
    visit: &Visit,
    changes: &[Change],
) -> Result<Response<String>, Failure> {
    let touched = console
        .pool
        .soon(QUICK, async |session| {
            roles::touched(session, changes).await
        })
        .await?;
    let number = |role: &str| {
        touched
            .iter()
            .find(|(name, _)| name == role)
            .map_or(0, |(_, number)| *number)
    };
    let all: i64 = touched.iter().map(|(_, number)| number).sum();
    let body = html! {
        p.lead { @match all { 0 => "No user has these roles yet.", 1 => "One user is touched.", _ => { (all) " users are touched." } } }
        div.scroll tabindex="0" role="region" aria-label="What changes" {
            table {
                thead { tr { @for head in ["Role", "What changes", "Users"] { th scope="col" { (head) } } } }
                tbody { @for change in changes { tr {
                    td { bdi { (change.role) } }
                    td { @if change.given { "gets " } @else { "loses " } code { bdi { (change.permission) } } }
                    td { (number(&change.role)) }
                } } }
            }
        }
        p.note { "Applications that ask Roster go by it from the moment it is saved. Auth0 is told of each user that differs then, at its pace." }
        form method="post" action="/console/roles" {
            (visit.csrf())
            @for change in changes {
                input type="hidden" name=(if change.given { "has" } else { "had" }) value=(pair(&change.role, &change.permission));
            }
            button.danger name="step" value="save" { "Save all of it" } " "
            a.button href="/console/roles" { "Leave it" }
        }
        (sql(&roles::statements(changes), &[]))
    };
    Ok(framed(visit, StatusCode::OK, "Look at it once more", &body))
}

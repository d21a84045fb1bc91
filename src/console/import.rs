//! Import: a file is uploaded, tried line by line, looked at, and written as one, with how far that is.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request,
    page::{Failure, ago_of, framed, next_page, operands, refusal, see_other, sql, state, users},
    upload,
    visit::Visit,
};
use crate::{
    db::{
        console::imports::{self, Reading, Step},
        control,
        import::{Error, Verdict},
        pool::QUICK,
    },
    import::Options,
};

/// Lines on a page.
const LINES: usize = 100;
/// Imports that are listed.
const LAST: usize = 20;
/// Characters of a file's name.
const LONGEST: usize = 200;

/// The form, and what was imported before.
pub(super) async fn show(console: &Console, visit: &Visit) -> Result<Response<String>, Failure> {
    shown(console, visit, StatusCode::OK, None).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let last = imports::last(LAST);
    let found = console
        .pool
        .soon(QUICK, async |session| last.objects(session).await)
        .await?;
    let mut statements = vec![last];
    statements.extend(imports::shown("people.csv"));
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was read: " (why) } }
        @if visit.writes() { (form(visit)) }
        @else { p.note { "To import a file takes roster:write." } }
        h2 { "Imports so far" }
        @if found.is_empty() { p { "None." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Imports so far" {
                table {
                    thead { tr { @for head in ["File", "When", "How it stands", "New", "Changed", "Same", "Bad"] { th scope="col" { (head) } } } }
                    tbody { @for one in &found { (line(one)) } }
                }
            }
        }
        (sql(&statements, &["roster import --dry-run people.csv".to_owned(), "roster import people.csv".to_owned()]))
    };
    Ok(framed(visit, status, "Import", &body))
}

fn form(visit: &Visit) -> Markup {
    html! {
        p {
            "A CSV file whose first line names columns of the users table, such as " code { "email,name,role" } ". A line means the row with its address, "
            "an empty cell changes nothing, and nobody is removed. Each line is tried first, and you see what it would do before anything is written."
        }
        form method="post" action="/console/import" enctype="multipart/form-data" {
            (visit.csrf())
            label { "File, at most " (upload::MAX >> 20) " MiB" input type="file" name="file" accept=".csv,text/csv" required; }
            details {
                summary { "Its columns have other names" }
                label { "HEADER=COLUMN, one a line" textarea name="map" rows="3" {} }
                label { "Columns to leave out, one a line" textarea name="ignore" rows="3" {} }
            }
            button { "Upload and try it" }
        }
        p.note { "Larger files: " code { "roster import" } "." }
    }
}

fn word<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or_default()
}

fn path(one: &Value) -> String {
    format!("/console/import/{}", word(one, "id"))
}

/// How it stands, in a word.
fn stands(one: &Value) -> &'static str {
    match (one["applied_at"].is_null(), word(one, "step")) {
        (false, _) => "written",
        (true, _) if one["is_stale"] == true => "broken off",
        (true, "checking") => "being tried",
        (true, "checked") => "tried",
        (true, "applying") => "being written",
        (true, "failed") => "failed",
        (true, _) => "read",
    }
}

fn line(one: &Value) -> Markup {
    html! {
        tr {
            td { a href=(path(one)) { bdi { (one["source"].as_str().unwrap_or("(psql)")) } } }
            td { @if let Some(at) = ago_of(&one["begun_at"]) { (at) } }
            td { (stands(one)) }
            @for verdict in ["new", "changed", "same", "bad"] { td { @if let Some(number) = one[verdict].as_i64() { (number) } } }
        }
    }
}

fn each_line(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn reading(request: &Request, name: &str) -> Result<Reading, &'static str> {
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    let pairs = each_line(request.field("map")).map(|line| {
        let (header, column) = line
            .rsplit_once('=')
            .ok_or("a name of a column is HEADER=COLUMN, such as E-Mail=email.")?;
        Ok((header.trim().to_owned(), column.trim().to_owned()))
    });
    Ok(Reading {
        source: if name.is_empty() {
            "a file".to_owned()
        } else {
            name
        },
        columns: pairs.collect::<Result<BTreeMap<_, _>, &str>>()?,
        options: Options {
            delimiter: None,
            ignore: each_line(request.field("ignore"))
                .map(str::to_owned)
                .collect(),
        },
    })
}

/// Reads what was uploaded, and has it tried.
pub(super) async fn read(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let Some(file) = request.file.as_ref().filter(|file| !file.bytes.is_empty()) else {
        return shown(
            console,
            visit,
            unprocessable,
            Some("choose a file that is not empty."),
        )
        .await;
    };
    let reading = match reading(request, &file.name) {
        Ok(reading) => reading,
        Err(why) => return shown(console, visit, unprocessable, Some(why)).await,
    };
    let why = match imports::read(&console.pool, &visit.author, &file.bytes, &reading).await {
        Ok(id) => {
            begin(console, visit, id, Step::Check).await?;
            return Ok(see_other(&format!("/console/import/{id}")));
        }
        Err(Error::Database(error)) if error.is_unreachable() => return Err(error.into()),
        Err(Error::Database(error)) => refusal(&error),
        Err(Error::File(error)) => format!("{error}."),
    };
    shown(console, visit, unprocessable, Some(&why)).await
}

/// Goes on without the browser; whether nobody else is at it.
async fn begin(console: &Console, visit: &Visit, id: Uuid, step: Step) -> Result<bool, Failure> {
    let is_free = imports::claim(&console.pool, id, step).await?;
    if is_free {
        let (pool, author) = (console.pool.clone(), visit.author.clone());
        tokio::spawn(async move { imports::work(&pool, &author, id, step).await });
    }
    Ok(is_free)
}

/// Tries an import again, or writes it.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
    id: &str,
) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    let id: Uuid = id.parse().map_err(|_| Failure::NotFound)?;
    let step = match request.field("step") {
        "check" => Step::Check,
        "apply" => Step::Apply { skip_bad: false },
        "apply_good" => Step::Apply { skip_bad: true },
        _ => return Err(Failure::NotFound),
    };
    match begin(console, visit, id, step).await? {
        true => Ok(see_other(&format!("/console/import/{id}"))),
        false => {
            let why = "this or another import is being worked at, or it was written already, or its lines are gone: they are kept for a day.";
            import(console, visit, request, id, StatusCode::CONFLICT, Some(why)).await
        }
    }
}

/// One import, with the verdict of each line.
pub(super) async fn one(
    console: &Console,
    visit: &Visit,
    request: &Request,
    id: &str,
) -> Result<Response<String>, Failure> {
    let id = id.parse().map_err(|_| Failure::NotFound)?;
    import(console, visit, request, id, StatusCode::OK, None).await
}

async fn import(
    console: &Console,
    visit: &Visit,
    request: &Request,
    id: Uuid,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let only_bad = request.asked("only") == "bad";
    let after = request.asked("after").parse().unwrap_or(0);
    let found = console.pool.soon(QUICK, async |session| {
        let Some(one) = imports::one(session, id).await? else {
            return Ok(None);
        };
        let calls = one["new"].as_i64().unwrap_or(0) + one["changed"].as_i64().unwrap_or(0);
        let takes = imports::time_at_auth0(session, calls).await?;
        let status = match one["applied_at"].is_null() {
            true => Value::Null,
            false => control::status(session).await?,
        };
        Ok(Some((one, takes, status)))
    });
    let (one, takes, overall) = found.await?.ok_or(Failure::NotFound)?;
    let mut lines = imports::lines(&console.pool, id, only_bad, after, LINES + 1).await?;
    let is_last = lines.len() <= LINES;
    lines.truncate(LINES);
    let only = if only_bad { "only=bad&" } else { "" };
    let next = lines
        .last()
        .filter(|_| !is_last)
        .map(|last| format!("/console/import/{id}?{only}after={}", last.line));
    let source = one["source"].as_str().unwrap_or("people.csv");
    let body = html! {
        @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was done: " (why) } }
        div #standing data-live { (standing(visit, &one, takes.as_deref(), &overall)) }
        div #lines data-live {
            (list(&one, &lines, only_bad, after > 0))
            @if let Some(next) = &next { (next_page(next)) }
        }
        (sql(&imports::shown(source), &[
            format!("roster import --dry-run {}", operands([source])),
            format!("roster import {}", operands([source])),
        ]))
    };
    Ok(framed(visit, status, &format!("Import of {source}"), &body))
}

fn standing(visit: &Visit, one: &Value, takes: Option<&str>, overall: &Value) -> Markup {
    let (done, of) = (
        one["step_done"].as_i64().unwrap_or(0),
        one["step_of"].as_i64(),
    );
    let stands = stands(one);
    html! {
        p.lead role="status" {
            (stands)
            @if let (Some(of), "being tried" | "being written") = (of, stands) {
                ": " (done) " of " (of) " batches " progress aria-label=(stands) value=(done) max=(of) {}
            }
            @if let Some(at) = ago_of(&one["applied_at"]) { " " (at) }
            "."
            @if stands == "tried" { " Nothing is written yet." }
        }
        @match stands {
            "being tried" | "being written" => p { "It goes on without this page. " a href=(path(one)) { "Look again" } },
            "failed" => { p.notice.bad { "Nothing was written: " bdi { (word(one, "error")) } } (again(visit, one)) }
            "broken off" => { p.notice.bad { "The server that was at it has ended. Nothing was written." } (again(visit, one)) }
            "tried" => { (numbers(one)) (apply(visit, one, takes)) }
            "written" => { (numbers(one)) (follows(one, overall)) }
            _ => (again(visit, one)),
        }
    }
}

fn numbers(one: &Value) -> Markup {
    html! { dl { @for verdict in ["new", "changed", "same", "bad"] { dt { (verdict) } dd { (one[verdict].as_i64().unwrap_or(0)) } } } }
}

fn button(visit: &Visit, one: &Value, step: &str, label: &str, class: &str) -> Markup {
    html! {
        @if visit.writes() {
            form.inline method="post" action=(path(one)) {
                (visit.csrf())
                button class=(class) name="step" value=(step) { (label) }
            }
        }
    }
}

fn again(visit: &Visit, one: &Value) -> Markup {
    button(visit, one, "check", "Try it again", "")
}

fn apply(visit: &Visit, one: &Value, takes: Option<&str>) -> Markup {
    let number = |verdict: &str| one[verdict].as_i64().unwrap_or(0);
    let (calls, bad) = (number("new") + number("changed"), number("bad"));
    html! {
        @if calls == 0 { p { "There is nothing to write." } }
        @else {
            p {
                "Written, the rows count at once for applications that ask Roster. Auth0 follows with up to " (calls) " calls"
                @if let Some(takes) = takes { ", which take up to " (takes) " at what Auth0 allows" }
                ". Invitations of more than 200 new rows wait until somebody releases them."
            }
            @if bad == 0 { (button(visit, one, "apply", &format!("Write {calls} rows"), "danger")) }
            @else { (button(visit, one, "apply_good", &format!("Leave the {bad} bad lines out and write {calls} rows"), "danger")) }
        }
        (again(visit, one))
    }
}

fn follows(one: &Value, overall: &Value) -> Markup {
    html! {
        p {
            @match overall["pending"].as_i64() {
                _ if overall["unfolded"] != 0 => "It waits to be taken over by a reactor.",
                Some(0) => "Nobody is on the way to Auth0 any more.",
                Some(pending) => {
                    (users(pending)) ", these and others, still on the way to Auth0"
                    @if let Some(eta) = overall["eta"].as_str() { ", for about " (eta) }
                    ". "
                }
                None => {}
            }
            " " a href={ "/console/change/" (word(one, "applied_txid")) } { "What became of each" }
        }
    }
}

fn list(one: &Value, lines: &[Verdict], only_bad: bool, is_further: bool) -> Markup {
    let at = path(one);
    let is_judged = ["tried", "written"].contains(&stands(one));
    html! {
        h2 { "Lines" }
        ul.chips aria-label="Which lines" {
            li { a href=(at) aria-current=[(!only_bad).then_some("true")] { "all" } }
            li { a href={ (at) "?only=bad" } aria-current=[only_bad.then_some("true")] { "bad" } }
        }
        @if lines.is_empty() {
            p { @if is_further { "There are no further lines." } @else if only_bad { "No line is bad." } @else { "No lines are kept any more: what was written is in the table." } }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Lines" {
                table {
                    thead { tr { @for head in ["Line", "Verdict", "What it says"] { th scope="col" { (head) } } } }
                    tbody { @for line in lines { tr {
                        td { (line.line) }
                        td {
                            @if is_judged || line.verdict == "bad" { (state(&line.verdict)) } @else { "not tried yet" }
                            @if let Some(why) = &line.why { br; bdi { (why) } }
                        }
                        td { @for (name, cell) in &line.cells { bdi { (name) } ": " bdi { (cell.as_str().unwrap_or_default()) } " " } }
                    } } }
                }
            }
        }
    }
}

//! Drift: what Auth0 really had otherwise at the last audit, each finding to be reverted, adopted or ignored.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::{Response, StatusCode};

use super::{
    Console, Request, audits,
    page::{
        self, Failure, ago_of, fields, framed, next_page, not_done, refusal, see_other, shell_word,
        sql, user_path,
    },
    visit::Visit,
};
use crate::db::{
    console::drift::{self, Adoption, Audits, Page, Verdict},
    pool::QUICK,
    statement::Statement,
};

/// The kinds that the plan can mend by itself, as `roster.is_revertible` says it.
const REVERTIBLE: [&str; 4] = ["missing", "changed", "blocked mismatch", "linked away"];
/// What a button did, in the address of the page that follows.
const DONE: [(&str, &str); 4] = [
    ("audit", "Asked for."),
    (
        "revert",
        "Given to the plan: Auth0 is looked at again, and what differs then is mended through the guards.",
    ),
    (
        "ignore",
        "Left as it is: it is not shown again until it changes.",
    ),
    ("adopt", "Adopted: the rows say now what Auth0 has."),
];

pub(super) async fn show(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    let done = DONE.iter().find(|(word, _)| *word == request.asked("done"));
    let notice = match done {
        Some((_, text)) => html! { p.notice.good role="status" { (text) } },
        None => html! {},
    };
    shown(console, visit, request, StatusCode::OK, &notice).await
}

async fn shown(
    console: &Console,
    visit: &Visit,
    request: &Request,
    status: StatusCode,
    notice: &Markup,
) -> Result<Response<String>, Failure> {
    let kind = request.asked("kind");
    let after = request.asked("after").parse().unwrap_or(0);
    let (audits, page) = console
        .pool
        .soon(QUICK, async |session| {
            let audits = drift::audits(session).await?;
            Ok((audits, drift::page(session, kind, after).await?))
        })
        .await?;
    let body = html! {
        (notice)
        div #audit data-live { (audits::standing(visit, &audits)) }
        h2 { "What differs" }
        div #found data-live {
            (chips(&page.kinds, kind))
            (list(visit, &page, &audits, kind, after > 0))
            @if let Some(next) = page.next { (next_page(&address(&[("kind", kind), ("after", &next.to_string())]))) }
            @if visit.operates() { (all_of_them(visit, &page.kinds, kind)) }
        }
        (sql(&statements(&page), &lines("#id")))
    };
    Ok(framed(visit, status, "Drift", &body))
}

fn address(pairs: &[(&str, &str)]) -> String {
    page::address("/console/drift", pairs)
}

fn statements(page: &Page) -> Vec<Statement> {
    let mut shown = vec![
        page.statement.clone(),
        drift::audits_shown(),
        drift::ask_shown(),
    ];
    shown.extend(drift::judge_shown("#id"));
    shown
}

fn lines(which: &str) -> [String; 4] {
    let which = shell_word(which);
    [
        "roster audit".to_owned(),
        format!("roster audit --revert {which}"),
        format!("roster audit --adopt {which}"),
        format!("roster audit --ignore {which}"),
    ]
}

fn chips(kinds: &[(String, i64)], current: &str) -> Markup {
    html! {
        @if !kinds.is_empty() {
            ul.chips aria-label="Which differences" {
                li { a href="/console/drift" aria-current=[current.is_empty().then_some("true")] { "all" } }
                @for (kind, number) in kinds {
                    li { a href=(address(&[("kind", kind)])) aria-current=[(kind == current).then_some("true")] { (kind) " " (number) } }
                }
            }
        }
    }
}

fn list(visit: &Visit, page: &Page, audits: &Audits, kind: &str, is_further: bool) -> Markup {
    html! {
        @if !page.found.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="What differs" {
                table {
                    thead { tr { @for head in ["Finding", "User", "Auth0 → row", "Judge"] { th scope="col" { (head) } } } }
                    tbody { @for finding in &page.found { (line(visit, finding)) } }
                }
            }
        } @else if is_further || !kind.is_empty() {
            p { "There is nothing further of that. " a href="/console/drift" { "Show all" } }
        } @else if audits.ended.as_ref().is_some_and(|audit| audit["state"] == "finished") {
            p { "Nothing, or nothing that nobody has judged yet." }
        } @else {
            p { "That is not known: no audit has been finished. Run one." }
        }
    }
}

fn word<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or_default()
}

fn line(visit: &Visit, finding: &Value) -> Markup {
    let id = &finding["id"];
    html! {
        tr {
            td { (word(finding, "kind")) br; a href={ "/console/drift/" (id) } { "#" (id) } }
            td { (whose(finding)) }
            td { (differs(finding)) }
            td { (verdicts(visit, finding)) }
        }
    }
}

fn whose(finding: &Value) -> Markup {
    let account = finding["auth0_user_id"].as_str();
    html! {
        @match finding["user_key"].as_str() {
            Some(key) => a href=(user_path(key)) { bdi { (finding["email"].as_str().unwrap_or(key)) } },
            None => { bdi { (word(finding, "email")) } " (no row)" }
        }
        br; @match account { Some(account) => code { (account) }, None => "no account" }
    }
}

fn differs(finding: &Value) -> Markup {
    html! {
        (fields(&finding["changes"]))
        @if let Some(detail) = finding["detail"].as_str() { p { bdi { (detail) } } }
        @if let Some(planned) = finding["planned"].as_str() { p.note { "The plan said: " (planned) } }
    }
}

fn verdicts(visit: &Visit, finding: &Value) -> Markup {
    let which = format!("#{}", finding["id"]);
    html! {
        @if visit.operates() {
            form.inline method="post" action="/console/drift" {
                (visit.csrf())
                input type="hidden" name="which" value=(which);
                @if REVERTIBLE.contains(&word(finding, "kind")) { button name="verdict" value="revert" { "Revert" } " " }
                button name="verdict" value="ignore" { "Ignore" }
            }
        }
        a href={ "/console/drift/" (finding["id"]) } { "Adopt…" }
    }
}

/// Of a kind, or of all, as many as somebody has seen.
fn all_of_them(visit: &Visit, kinds: &[(String, i64)], kind: &str) -> Markup {
    let of_it = kinds
        .iter()
        .filter(|(one, _)| kind.is_empty() || one == kind);
    let number: i64 = of_it.clone().map(|(_, number)| number).sum();
    let any = of_it
        .into_iter()
        .any(|(one, _)| REVERTIBLE.contains(&one.as_str()));
    let which = if kind.is_empty() { "all" } else { kind };
    html! {
        @if number > 1 {
            form method="post" action=(address(&[("kind", kind)])) {
                (visit.csrf())
                input type="hidden" name="which" value=(which);
                fieldset {
                    legend { "All " (number) @if !kind.is_empty() { " of the kind " (kind) } }
                    label { "Type their number to confirm" input type="text" inputmode="numeric" name="number" required autocomplete="off"; }
                    @if any { button name="verdict" value="revert" { "Revert what can be" } " " }
                    button name="verdict" value="ignore" { "Ignore all" }
                }
            }
        }
    }
}

/// Asks for an audit, or judges findings.
pub(super) async fn act(
    console: &Console,
    visit: &Visit,
    request: &Request,
) -> Result<Response<String>, Failure> {
    visit.may_operate()?;
    let word = request.field("verdict");
    let verdict = match word {
        "audit" => {
            drift::ask(&console.pool, &visit.author).await?;
            return Ok(see_other("/console/drift?done=audit"));
        }
        "revert" => Verdict::Revert,
        "ignore" => Verdict::Ignore,
        _ => return Err(Failure::NotFound),
    };
    let which = request.field("which");
    // Of many, only as many as somebody has seen.
    let number = (!which.starts_with('#')).then(|| request.field("number").trim());
    let judged = drift::judge(&console.pool, &visit.author, which, verdict, number);
    let (status, why) = match judged.await {
        Ok(Some(_)) => return Ok(see_other(&address(&[("done", word)]))),
        Ok(None) => (
            StatusCode::CONFLICT,
            "that is not how many there are now.".to_owned(),
        ),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, refusal(&error)),
    };
    let notice = html! { p.notice.bad role="alert" { "Nothing was done: " (why) } };
    shown(console, visit, request, status, &notice).await
}

fn number(id: &str) -> Result<i64, Failure> {
    id.parse().map_err(|_| Failure::NotFound)
}

/// One finding, and what adopting it would run.
pub(super) async fn one(
    console: &Console,
    visit: &Visit,
    id: &str,
) -> Result<Response<String>, Failure> {
    finding(console, visit, number(id)?, StatusCode::OK, None).await
}

async fn finding(
    console: &Console,
    visit: &Visit,
    id: i64,
    status: StatusCode,
    refused: Option<&str>,
) -> Result<Response<String>, Failure> {
    let adoption = console
        .pool
        .soon(QUICK, async |session| drift::adoption(session, id).await)
        .await?;
    let notice = html! { @if let Some(why) = refused { p.notice.bad role="alert" { "Nothing was written: " (why) } } };
    let title = format!("Finding #{id}");
    let Some(adoption) = adoption else {
        let body = html! { (notice) p { "It is judged, or a newer audit has taken its place. " a href="/console/drift" { "What differs now" } } };
        return Ok(framed(
            visit,
            StatusCode::NOT_FOUND.max(status),
            &title,
            &body,
        ));
    };
    let finding = &adoption.finding;
    let which = format!("#{id}");
    let body = html! {
        (notice)
        p.lead { (word(finding, "kind")) @if let Some(at) = ago_of(&finding["found_at"]) { ", found " (at) } }
        p { (whose(finding)) }
        (differs(finding))
        @if visit.operates() { (verdicts(visit, finding)) }
        (adopting(visit, id, &adoption))
        (sql(&drift::judge_shown(&which), &lines(&which)[1..]))
    };
    Ok(framed(visit, status, &title, &body))
}

fn adopting(visit: &Visit, id: i64, adoption: &Adoption) -> Markup {
    html! {
        h2 { "Adopt" }
        p { "So that the rows say what Auth0 has:" }
        pre { code { (adoption.text()) } }
        @if !adoption.is_possible() { p { "Nothing of it can be run by itself: it is a person's to settle, as it says." } }
        @else if visit.writes() && visit.operates() {
            form method="post" action={ "/console/drift/" (id) } {
                (visit.csrf())
                input type="hidden" name="seen" value=(adoption.text());
                button.danger { "Run these" }
            }
        } @else { p.note { "To run them takes roster:write and roster:operate." } }
    }
}

/// Runs what was seen.
pub(super) async fn adopt(
    console: &Console,
    visit: &Visit,
    request: &Request,
    id: &str,
) -> Result<Response<String>, Failure> {
    visit.may_write()?;
    visit.may_operate()?;
    let id = number(id)?;
    let seen = request.field("seen");
    let adopted = drift::adopt(&console.pool, &visit.author, id, seen).await;
    let Some((status, why)) = not_done(adopted, "it is not what you saw any more.")? else {
        return Ok(see_other(&address(&[("done", "adopt")])));
    };
    finding(console, visit, id, status, Some(&why)).await
}

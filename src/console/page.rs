//! What all pages share: the frame, the headers, and how times, states, statements and failures are shown.

use jiff::{SpanRound, Timestamp, Unit};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;
use warp::http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::visit::{Visit, csrf};
use crate::db::{DbError, console::edit::Outcome, statement::Statement};

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("script.js");

/// Everything is our own, and nothing is inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const YOURSELF: &str = "that is you. Nobody removes himself, blocks himself or gives up his own rights here: ask another administrator.";
const LAST_ADMIN: &str = "this is the last user with roster:write. Give it to somebody else first.";

/// What leads everywhere; the last one to who may write.
const PAGES: [(&str, &str); 9] = [
    ("/console", "Overview"),
    ("/console/users", "Users"),
    ("/console/changes", "Changes"),
    ("/console/problems", "Problems"),
    ("/console/drift", "Drift"),
    ("/console/held", "Held"),
    ("/console/roles", "Roles"),
    ("/console/import", "Import"),
    ("/console/new-user", "New user"),
];

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Failure {
    NotFound,
    /// The request is not from one of our forms.
    Forged,
    /// Whoever logged in is nobody here; with the token of their session, to log out.
    Outside(String, String),
    /// The permission that is missing.
    Lacks(&'static str),
    Unreachable,
    TooSlow,
    Database(DbError),
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match error.is_unreachable() {
            true => Self::Unreachable,
            false => Self::Database(error),
        }
    }
}

impl Failure {
    pub(super) fn response(&self, visit: Option<&Visit>) -> Response<String> {
        self.after(visit, &[])
    }

    /// As [`Failure::response`], after a form that said this.
    pub(super) fn after(
        &self,
        visit: Option<&Visit>,
        form: &[(String, String)],
    ) -> Response<String> {
        let (status, title, body) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Not found",
                html! { p { "There is nothing at this address." } },
            ),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "Refused",
                html! { p role="alert" { "This did not come from a form of your session. Nothing was written: open the page again and repeat it." } },
            ),
            Self::Outside(why, token) => (
                StatusCode::FORBIDDEN,
                "You are not let in",
                html! {
                    p role="alert" { "Auth0 knows you, but Roster does not let you in: " (why) "." }
                    form method="post" action="/console/logout" { (csrf(token)) button { "Log out" } }
                },
            ),
            Self::Lacks(permission) => (
                StatusCode::FORBIDDEN,
                "You may not do that",
                html! {
                    p role="alert" { "It takes the permission " code { (permission) } ", which your user does not have. Nothing was written." }
                    @if let Some(visit) = visit.filter(|visit| !visit.reads()) {
                        form method="post" action="/console/logout" { (visit.csrf()) button { "Log out" } }
                    }
                },
            ),
            Self::Unreachable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database cannot be reached",
                html! { p role="alert" { "Nothing is lost. Whether the last thing you sent was written is shown once it is there again: look before you repeat it." } (sent(form)) },
            ),
            Self::TooSlow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "That took too long",
                html! { p role="alert" { "It was given up. Whether it was written is shown when you look again." } (sent(form)) },
            ),
            Self::Database(error) => {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "a page of the console could not be made"
                );
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The database refuses",
                    html! { p role="alert" { (refusal(error)) } },
                )
            }
        };
        match visit.filter(|visit| visit.reads()) {
            Some(visit) => framed(visit, status, title, &body),
            None => outside(status, title, &body),
        }
    }
}

/// What somebody had typed, so that it is not lost with the form.
pub(super) fn sent(form: &[(String, String)]) -> Markup {
    let names = [
        ("email", "E-mail"),
        ("name", "Name"),
        ("role", "Role"),
        ("own", "Own permissions"),
        ("reason", "Reason"),
    ];
    let typed = names.map(|(name, label)| (label, super::value(form, name)));
    html! {
        @if typed.iter().any(|(_, value)| !value.is_empty()) {
            p { "You had entered:" }
            dl { @for (label, value) in typed { @if !value.is_empty() { dt { (label) } dd { bdi { (value) } } } } }
        }
    }
}

/// What the server says, for whoever may see its rows.
pub(super) fn refusal(error: &DbError) -> String {
    match error.server() {
        None => error.to_string(),
        Some(said) => [Some(said.message()), said.detail(), said.hint()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(". "),
    }
}

/// Why something was not written, with the status that says so; none: it was. `changed` is said where it is not what somebody saw.
pub(super) fn not_done(
    outcome: Result<Outcome, DbError>,
    changed: &str,
) -> Result<Option<(StatusCode, String)>, Failure> {
    let (status, why) = match outcome {
        Ok(Outcome::Done(_)) => return Ok(None),
        Ok(Outcome::Changed(_)) => (StatusCode::CONFLICT, changed.to_owned()),
        Ok(Outcome::Yourself) => (StatusCode::FORBIDDEN, YOURSELF.to_owned()),
        Ok(Outcome::LastAdmin) => (StatusCode::FORBIDDEN, LAST_ADMIN.to_owned()),
        Ok(Outcome::Unable(why)) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()),
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) if error.is_held_up() => (
            StatusCode::CONFLICT,
            "somebody else is writing to it; try again.".to_owned(),
        ),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, refusal(&error)),
    };
    Ok(Some((status, why)))
}

/// A page for somebody who is in.
pub(super) fn framed(
    visit: &Visit,
    status: StatusCode,
    title: &str,
    body: &Markup,
) -> Response<String> {
    let top = html! {
        nav aria-label="Console" {
            @for (path, words) in PAGES {
                @if words != "New user" || visit.writes() {
                    @let here = title.split_once(' ').map_or(title, |(first, _)| first);
                    a href=(path) aria-current=[(words == title || words == here).then_some("page")] { (words) }
                }
            }
        }
        form.who method="post" action="/console/logout" {
            (visit.csrf())
            span { bdi { (visit.name) } }
            button { "Log out" }
        }
    };
    whole(status, title, &top, body)
}

/// A page for whoever is not.
pub(super) fn outside(status: StatusCode, title: &str, body: &Markup) -> Response<String> {
    whole(status, title, &html! {}, body)
}

/// Only a sentence.
pub(super) fn say(status: StatusCode, text: &str) -> Response<String> {
    let body = html! { p role="alert" { (text) } p { a href="/console" { "To the console" } } };
    outside(status, "Roster", &body)
}

fn whole(status: StatusCode, title: &str, top: &Markup, body: &Markup) -> Response<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Roster" }
                link rel="stylesheet" href="/console/style.css";
                script src="/console/script.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header { strong { "Roster" } (top) }
                main #main { h1 { bdi { (title) } } (body) }
            }
        }
    };
    answer(status, "text/html; charset=utf-8", page.into_string())
}

/// A file of ours.
pub(super) fn asset(kind: &'static str, text: &str) -> Response<String> {
    answer(StatusCode::OK, kind, text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(secured());
    response
}

/// What each answer says of itself to browsers.
pub(super) fn secured() -> [(HeaderName, HeaderValue); 6] {
    [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: browsers would leave the origin out of our own forms too.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// After a POST: the page to look at next.
pub(super) fn see_other(to: &str) -> Response<String> {
    redirect(StatusCode::SEE_OTHER, to)
}

/// To another place.
pub(super) fn found(to: &str) -> Response<String> {
    redirect(StatusCode::FOUND, to)
}

fn redirect(status: StatusCode, to: &str) -> Response<String> {
    let mut response = answer(status, "text/plain; charset=utf-8", String::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

pub(super) fn with_cookie(mut response: Response<String>, cookie: HeaderValue) -> Response<String> {
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Where a user is shown.
pub(super) fn user_path(key: &str) -> String {
    format!(
        "/console/user/{}",
        utf8_percent_encode(key, NON_ALPHANUMERIC)
    )
}

/// How long ago, with the time itself for who points at it.
pub(super) fn ago(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (span(at)) " ago" } }
}

/// As [`ago`], of a time in JSON as PostgreSQL writes it.
pub(super) fn ago_of(at: &serde_json::Value) -> Option<Markup> {
    at.as_str()?.parse().ok().map(ago)
}

fn span(at: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(at).as_secs().max(0);
    let span = jiff::Span::new().seconds(seconds.min(1_000_000_000));
    let largest = match seconds {
        0..60 => Unit::Second,
        60..3600 => Unit::Minute,
        3600..86400 => Unit::Hour,
        _ => Unit::Day,
    };
    let round = SpanRound::new().largest(largest).smallest(largest);
    let whole = span.round(round.mode(jiff::RoundMode::Trunc).days_are_24_hours());
    whole.map_or_else(|_| format!("{seconds} s"), |whole| format!("{whole:#}"))
}

/// A state by word and by sign, so that colour is not what tells.
pub(super) fn state(word: &str) -> Markup {
    let (sign, class) = match word {
        "synced" => ("✓", "good"),
        "pending" | "not seen yet" => ("…", "wait"),
        "failing" | "parked" | "disputed" | "held" | "bad" => ("!", "bad"),
        "new" => ("+", "good"),
        "changed" => ("≠", "wait"),
        "same" => ("=", "off"),
        "blocked" | "removed" => ("⊘", "off"),
        _ => ("·", "off"),
    };
    html! { span class={ "state " (class) } { span aria-hidden="true" { (sign) " " } (word) } }
}

/// Fields that differ, each from what to what, as plans and findings have them.
pub(super) fn fields(changes: &serde_json::Value) -> Markup {
    let fields = changes.as_object().into_iter().flatten();
    html! {
        @if changes.as_object().is_some_and(|changes| !changes.is_empty()) {
            ul { @for (field, change) in fields {
                li { bdi { (field) } " from " bdi { (change["from"]) } " to " bdi { (change["to"]) } }
            } }
        }
    }
}

/// The SQL behind a page, and what else does the same.
pub(super) fn sql(statements: &[Statement], lines: &[String]) -> Markup {
    sql_of("Show the SQL", statements, lines)
}

/// As [`sql`], of something else than the page.
pub(super) fn sql_of(what: &str, statements: &[Statement], lines: &[String]) -> Markup {
    let text: Vec<String> = statements.iter().map(Statement::shown).collect();
    html! {
        details.sql {
            summary { (what) }
            pre { code { (text.join("\n\n")) } }
            @if !lines.is_empty() {
                p { "On the command line:" }
                pre { code { (lines.join("\n")) } }
            }
        }
    }
}

/// An address with what is not empty of these.
pub(super) fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}

/// How many, in words.
pub(super) fn users(number: i64) -> String {
    match number {
        1 => "one user".to_owned(),
        more => format!("{more} users"),
    }
}

/// To where a list goes on.
pub(super) fn next_page(to: &str) -> Markup {
    html! { p { a.button rel="next" href=(to) { "Next page" } } }
}

/// A text as a shell takes it for one word, whatever is in it.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Texts as the last words of a line of `roster`, none of which it takes for an option.
pub(super) fn operands<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<&str> = texts.into_iter().collect();
    let end = texts
        .iter()
        .any(|text| text.starts_with('-'))
        .then_some("--");
    let words = texts.iter().map(|text| shell_word(text));
    let all: Vec<String> = end.map(str::to_owned).into_iter().chain(words).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_into_a_shell_is_one_word() {
        let table = [
            ("17", "17"),
            ("a@example.com", "a@example.com"),
            ("", "''"),
            ("auth0|1", "'auth0|1'"),
            ("x; rm -rf ~", "'x; rm -rf ~'"),
            ("it's", "'it'\\''s'"),
        ];
        for (text, word) in table {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn nobody_is_taken_for_an_option() {
        assert_eq!(operands(["1", "auth0|1"]), "1 'auth0|1'");
        assert_eq!(operands(["1", "-2"]), "-- 1 -2");
    }
}

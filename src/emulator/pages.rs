//! The few pages people see: login, new password, and a sentence. Plain forms, no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;background:#f4f4f6;color:#222;margin:0}\
main{max-width:22rem;margin:8vh auto;background:#fff;padding:2rem;border-radius:.5rem;box-shadow:0 1px 4px #0002}\
h1{font-size:1.3rem;margin-top:0}label{display:block;margin:.8rem 0}\
input[type=email],input[type=password],input[type=text]{width:100%;box-sizing:border-box;padding:.5rem;font:inherit}\
button{width:100%;padding:.6rem;font:inherit;border:0;border-radius:.3rem;background:#2b4acb;color:#fff}\
form.other button{background:#fff;color:#222;border:1px solid #999}hr{margin:1.5rem 0;border:0;border-top:1px solid #ddd}\
.error{color:#a40000}.note{color:#666;font-size:.85rem}";

/// The login page of one transaction, `state`.
pub(super) fn login(status: StatusCode, state: &str, email: &str, error: Option<&str>) -> Response {
    page(
        status,
        "Log in",
        html! {
            @if let Some(error) = error { p.error role="alert" { (error) } }
            form method="post" action="/u/login" {
                input type="hidden" name="state" value=(state);
                label { "E-mail" input type="email" name="email" value=(email) required autofocus autocomplete="username"; }
                label { "Password" input type="password" name="password" required autocomplete="current-password"; }
                button { "Continue" }
            }
            hr;
            form.other method="post" action="/u/login/google" {
                input type="hidden" name="state" value=(state);
                label { "Google account" input type="email" name="email" required; }
                label {
                    input type="checkbox" name="email_verified" value="true" checked;
                    " Google has verified this address"
                }
                button { "Continue with Google" }
            }
        },
    )
}

/// The form behind the link of a password mail. It posts to its own address, which holds the ticket.
pub(super) fn reset_password(email: &str, error: Option<&str>) -> Response {
    let status = match error {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    page(
        status,
        "Choose a password",
        html! {
            p { "For " strong { (email) } }
            @if let Some(error) = error { p.error role="alert" { (error) } }
            form method="post" {
                label { "New password" input type="password" name="password" required autofocus autocomplete="new-password"; }
                label { "Once more" input type="password" name="re-enter-password" required autocomplete="new-password"; }
                button { "Set the password" }
            }
        },
    )
}

/// A page that only says something.
pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, title, html! { p { (text) } })
}

fn page(status: StatusCode, title: &str, body: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    (body)
                    p.note { "Auth0 emulator of Roster. Nothing typed here leaves this machine." }
                }
            }
        }
    };
    let mut response =
        warp::reply::with_status(warp::reply::html(page.into_string()), status).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        // No `form-action`: browsers apply it to redirects too, and a login ends at the application.
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

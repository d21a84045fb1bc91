//! The application's page: log in, see what the application learns, ask again after a change in SQL.
//!
//! It keeps whoever logged in under a random session number in the page's address, in memory only.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, html};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use warp::{
    Filter, Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use crate::http;

use super::application::{Application, Begun, Tokens};

type Parameters = HashMap<String, String>;

struct Web {
    application: Application,
    begun: Mutex<HashMap<String, Begun>>,
    sessions: Mutex<HashMap<String, Tokens>>,
}

/// Serves the page until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    application: Application,
    stop: CancellationToken,
) {
    let web = Arc::new(Web {
        application,
        begun: Mutex::default(),
        sessions: Mutex::default(),
    });
    let routes = warp::get()
        .and(warp::path::tail())
        .and(warp::query::<Parameters>())
        .then(move |path: warp::path::Tail, query: Parameters| {
            let web = web.clone();
            async move { answer(&web, path.as_str(), query).await }
        })
        .recover(async |_| Ok::<_, Infallible>(StatusCode::NOT_FOUND.into_response()))
        .unify();
    http::serve(
        listener,
        http::warp_service(routes),
        http::Limits::default(),
        stop,
    )
    .await;
}

async fn answer(web: &Web, path: &str, query: Parameters) -> Response {
    let answered = match path {
        "" => Ok(page(
            html! { p { "Nobody is logged in." } (button("/login", "Log in")) },
        )),
        "login" => web.log_in(),
        "callback" => web.come_back(&query).await,
        "me" => {
            web.me(query.get("session").map_or("", String::as_str))
                .await
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    answered.unwrap_or_else(|error| {
        page(html! { p { (format!("{error:#}")) } (button("/", "Start again")) })
    })
}

impl Web {
    fn log_in(&self) -> Result<Response> {
        let begun = self.application.begin()?;
        let to = redirect(begun.url.as_str());
        guard(&self.begun).insert(begun.state.clone(), begun);
        to
    }

    async fn come_back(&self, query: &Parameters) -> Result<Response> {
        let state = query.get("state").map_or("", String::as_str);
        let begun = guard(&self.begun)
            .remove(state)
            .context("that log-in has ended")?;
        match self.application.end(&begun, query).await? {
            Ok(tokens) => {
                let session = Uuid::new_v4().to_string();
                guard(&self.sessions).insert(session.clone(), tokens);
                redirect(&format!("/me?session={session}"))
            }
            Err(refusal) => Ok(page(html! {
                p { "Auth0 refused the log-in: " b { (refusal) } "." }
                (button("/login", "Log in"))
            })),
        }
    }

    async fn me(&self, session: &str) -> Result<Response> {
        let tokens = guard(&self.sessions).get(session).cloned();
        let tokens = tokens.context("that session has ended")?;
        let answer = self.application.me(&tokens.access_token, None).await?;
        let body = serde_json::to_string_pretty(&answer.body)?;
        Ok(page(html! {
            p { "Roster says of the token that this log-in ended in:" }
            p { code { "GET " (self.application.me_url()) } " → " b { (answer.status) } }
            pre { (body) }
            p { "Change the row in SQL, then:" }
            (button(&format!("/me?session={session}"), "Ask again"))
            p { a href="/" { "Log out" } }
        }))
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn redirect(to: &str) -> Result<Response> {
    let mut response = StatusCode::FOUND.into_response();
    response
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(to)?);
    Ok(response)
}

fn button(to: &str, label: &str) -> Markup {
    html! { p { a.button href=(to) { (label) } } }
}

fn page(body: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "An application" }
                style {
                    "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:8vh auto;padding:0 1rem}"
                    "pre{background:#f4f4f6;padding:1rem;overflow:auto}"
                    ".button{display:inline-block;padding:.5rem 1rem;border-radius:.3rem;background:#2b4acb;color:#fff;text-decoration:none}"
                }
            }
            body { h1 { "An application" } (body) }
        }
    };
    let mut response = warp::reply::html(page.into_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The session stands in the address.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"),
    );
    response
}

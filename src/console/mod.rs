//! The console: users in a browser, for people who have never seen psql.
//!
//! ```text
//!  browser ─► session (signed cookie) ─► person (Postgres: roster:read, roster:write, roster:operate) ─► page
//!                                                                                  └─ POST ─► db::console::edit ─► the users table
//! ```
//!
//! It is only another SQL client: it writes rows, triggers and the reactor do the rest, and each page shows the SQL behind it.
//!
//! Promises: who may do what is asked of Postgres at each request; what changes anything is a POST from one of our own pages, by its `Origin`,
//! by a token of the session in the form, and by a cookie that other sites cannot have sent; pages hold no inline script or style, load nothing
//! from elsewhere, and are kept nowhere. Everything works without the script.
//!
//! It does not call Auth0's Management API, and logs neither addresses nor tokens.

mod audits;
mod bulk;
mod changes;
mod drift;
mod held;
mod import;
mod live;
mod login;
mod overview;
mod page;
mod problems;
mod roles;
mod session;
mod upload;
mod user;
mod users;
mod visit;

use std::{sync::Arc, time::Duration};

use maud::html;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::{Url, form_urlencoded};
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::{HeaderMap, Method, Response, StatusCode, header},
};

pub use self::login::SettingsError;
use self::{
    login::{BreakGlass, Login, Opened},
    page::{Failure, say, see_other, with_cookie},
    session::{Cookies, Session, Who},
    visit::Visit,
};
use crate::{authz::Authz, config, db::pool::Pool, http::read_within};

/// Bytes of a form: names, addresses and a list of permissions.
const MAX_FORM: usize = 64 * 1024;
/// Bytes of a longer one that are read and thrown away, and how long a form may take to arrive.
const BEYOND: usize = 1 << 20;
const FORM_TAKES: Duration = Duration::from_secs(5);
const TOO_LONG: &str = "That is too long, or took too long to arrive. Nothing was read. Files of more than 8 MiB are for roster import.";
/// From the end of a request to its answer, a wait for a locked row and for Auth0 included.
const DEADLINE: Duration = Duration::from_secs(15);

/// The console of one server.
pub struct Console {
    authz: Arc<Authz>,
    pool: Pool,
    /// As browsers write it.
    origin: String,
    cookies: Cookies,
    login: Option<Login>,
    break_glass: Option<BreakGlass>,
    streams: live::Streams,
}

/// What a browser asks.
struct Request {
    method: Method,
    /// Below `/console`.
    path: String,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    file: Option<upload::File>,
}

impl Request {
    /// What the address says, or nothing.
    fn asked(&self, name: &str) -> &str {
        value(&self.query, name)
    }

    /// What the form says, or nothing.
    fn field(&self, name: &str) -> &str {
        value(&self.form, name)
    }

    fn has_nul(&self) -> bool {
        let said = self.query.iter().chain(&self.form);
        self.path.contains("%00") || said.into_iter().any(|(_, value)| value.contains('\0'))
    }
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> &'p str {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

impl Console {
    /// Prepares the console of a server that browsers reach at `url`. Nothing is asked yet. Pages that are looked at live end with `stop`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        settings: &config::Console,
        url: &Url,
        authz: Arc<Authz>,
        pool: Pool,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, SettingsError> {
        let login = match &settings.login {
            None => None,
            Some(login) => {
                let callback = url.join("/console/callback");
                let callback = callback.map_err(SettingsError::Url)?;
                Some(Login::new(login, authz.issuer(), callback)?)
            }
        };
        Ok(Arc::new(Self {
            cookies: Cookies::new(
                settings.session_key.as_ref(),
                settings.break_glass_sha256,
                url.scheme() == "https",
                settings.session,
            ),
            origin: url.origin().ascii_serialization(),
            break_glass: settings.break_glass_sha256.map(BreakGlass::new),
            login,
            authz,
            pool,
            streams: live::Streams::new(stop),
        }))
    }

    /// Everything below `/console`.
    pub fn routes(self: &Arc<Self>) -> BoxedFilter<(warp::reply::Response,)> {
        let console = self.clone();
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        warp::path("console")
            .and(warp::path::tail())
            .and(warp::method())
            .and(warp::header::headers_cloned())
            .and(query)
            .and(warp::body::stream())
            .then(
                move |path: warp::path::Tail,
                      method: Method,
                      headers: HeaderMap,
                      query: String,
                      stream| {
                    let console = console.clone();
                    async move {
                        let path = path.as_str().trim_end_matches('/').to_owned();
                        let length = headers.get(header::CONTENT_LENGTH).cloned();
                        let (limit, beyond, takes) = match path == "import"
                            && method == Method::POST
                            && console.may_upload(&headers).await
                        {
                            true => (upload::MAX, upload::BEYOND, upload::TAKES),
                            false => (MAX_FORM, BEYOND, FORM_TAKES),
                        };
                        let body = read_within(length, stream, limit, beyond, takes).await;
                        let Ok(body) = body else {
                            return say(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG).into_response();
                        };
                        let Some((form, file)) = upload::form(&headers, body).await else {
                            return say(StatusCode::BAD_REQUEST, "That is no form.")
                                .into_response();
                        };
                        let request = Request {
                            method,
                            path,
                            headers,
                            query: pairs(query.as_bytes()),
                            form,
                            file,
                        };
                        if live::is_asked(&request) {
                            return live::stream(console, request);
                        }
                        console.in_time(&request).await.into_response()
                    }
                },
            )
            .boxed()
    }

    /// Whether more than a form is read from this browser.
    async fn may_upload(&self, headers: &HeaderMap) -> bool {
        let session = self
            .cookies
            .session(headers)
            .filter(|_| self.is_ours(headers));
        let Some(session) = session else {
            return false;
        };
        let visit = timeout(DEADLINE, Visit::of(self, session)).await;
        visit.is_ok_and(|visit| visit.is_ok_and(|visit| visit.reads() && visit.writes()))
    }

    async fn in_time(&self, request: &Request) -> Response<String> {
        match timeout(DEADLINE, self.answer(request)).await {
            Ok(response) => response,
            Err(_) => Failure::TooSlow.after(None, &request.form),
        }
    }

    async fn answer(&self, request: &Request) -> Response<String> {
        let reads = [Method::GET, Method::HEAD].contains(&request.method);
        if !reads && request.method != Method::POST {
            return say(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST.");
        }
        if !reads && !self.is_ours(&request.headers) {
            return Failure::Forged.response(None);
        }
        match (reads, request.path.as_str()) {
            (true, "style.css") => return page::asset("text/css; charset=utf-8", page::STYLE),
            (true, "script.js") => {
                return page::asset("text/javascript; charset=utf-8", page::SCRIPT);
            }
            (true, "login") => return self.log_in(request),
            (true, "callback") => return self.come_back(request).await,
            (true, "break-glass") => return self.break_glass_page(StatusCode::OK, None),
            (false, "break-glass") => return self.break_in(request).await,
            _ => {}
        }
        let Some(session) = self.cookies.session(&request.headers) else {
            return match reads {
                true => self.welcome(request),
                false => say(
                    StatusCode::FORBIDDEN,
                    "Your session has ended: log in again. Nothing was written.",
                ),
            };
        };
        if !reads && !session.wrote(request.field("csrf")) {
            return Failure::Forged.response(None);
        }
        if (reads, request.path.as_str()) == (false, "logout") {
            return with_cookie(see_other("/console"), self.cookies.end_session());
        }
        let visit = match Visit::of(self, session).await {
            Ok(visit) => visit,
            Err(failure) => return failure.after(None, &request.form),
        };
        let answered = match reads {
            // PostgreSQL has no text with it.
            _ if request.has_nul() => Err(Failure::NotFound),
            true => self.show(&visit, request).await,
            false => self.act(&visit, request).await,
        };
        answered.unwrap_or_else(|failure| failure.after(Some(&visit), &request.form))
    }

    async fn show(&self, visit: &Visit, request: &Request) -> Result<Response<String>, Failure> {
        visit.may_read()?;
        match request.path.as_str() {
            "" => overview::show(self, visit).await,
            "changes" => changes::show(self, visit, request).await,
            "drift" => drift::show(self, visit, request).await,
            "roles" => roles::show(self, visit, request).await,
            "import" => import::show(self, visit).await,
            "held" => held::show(self, visit).await,
            "problems" => problems::show(self, visit, request).await,
            "users" => users::show(self, visit, request).await,
            "new-user" => users::new(self, visit).await,
            path => match path.split_once('/') {
                Some((_, named)) if named.contains('/') => Err(Failure::NotFound),
                Some(("user", key)) => user::show(self, visit, request, &decoded(key)).await,
                Some(("drift", id)) => drift::one(self, visit, id).await,
                Some(("import", id)) => import::one(self, visit, request, id).await,
                Some(("change", txid)) => changes::one(self, visit, request, txid).await,
                _ => Err(Failure::NotFound),
            },
        }
    }

    async fn act(&self, visit: &Visit, request: &Request) -> Result<Response<String>, Failure> {
        visit.may_read()?;
        match request.path.as_str() {
            "new-user" => return users::create(self, visit, request).await,
            "held" => return held::judge(self, visit, request).await,
            "drift" => return drift::act(self, visit, request).await,
            "roles" => return roles::act(self, visit, request).await,
            "import" => return import::read(self, visit, request).await,
            "overview" => return overview::act(self, visit, request).await,
            "problems" => return problems::retry(self, visit, request).await,
            "users/bulk" => return bulk::act(self, visit, request).await,
            _ => {}
        }
        match request.path.split_once('/') {
            Some(("drift", id)) => return drift::adopt(self, visit, request, id).await,
            Some(("import", id)) => return import::act(self, visit, request, id).await,
            _ => {}
        }
        let named = request.path.strip_prefix("user/");
        match named.and_then(|named| named.split_once('/')) {
            Some((key, action)) => user::act(self, visit, request, &decoded(key), action).await,
            None => Err(Failure::NotFound),
        }
    }

    /// Whether it comes from one of our own pages. Browsers say so with each POST.
    fn is_ours(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN);
        origin.is_some_and(|origin| origin.as_bytes() == self.origin.as_bytes())
    }

    /// For whoever is not logged in.
    fn welcome(&self, request: &Request) -> Response<String> {
        let (status, back) = match request.path.as_str() {
            "" => (StatusCode::OK, "/console".to_owned()),
            path => (StatusCode::FORBIDDEN, format!("/console/{path}")),
        };
        let to = form_urlencoded::Serializer::new(format!("{}/console/login?", self.origin))
            .append_pair("back", &back)
            .finish();
        let body = html! {
            @if self.login.is_some() { p { a.button href=(to) { "Log in with Auth0" } } }
            @if self.break_glass.is_some() {
                p.note { "Is Auth0 what is broken? " a href="/console/break-glass" { "Break-glass token" } }
            }
        };
        page::outside(status, "Roster", &body)
    }

    fn log_in(&self, request: &Request) -> Response<String> {
        let Some(login) = &self.login else {
            return Failure::NotFound.response(None);
        };
        // One of our pages, never another site's.
        let back = request.asked("back");
        let is_page = back == "/console" || back.starts_with("/console/") && !back.contains('\\');
        let back = if is_page { back } else { "/console" };
        let (url, begun) = login.begin(back.to_owned());
        with_cookie(page::found(url.as_str()), self.cookies.keep_begun(&begun))
    }

    async fn come_back(&self, request: &Request) -> Response<String> {
        let Some(login) = &self.login else {
            return Failure::NotFound.response(None);
        };
        let begun = self.cookies.begun(&request.headers);
        let ended = login.end(&self.authz, begun.as_ref(), &request.query);
        let response = match ended.await {
            Ok(who) => {
                let session = Session::new(who, self.cookies.lasts());
                let back = begun.map_or_else(|| "/console".to_owned(), |begun| begun.back);
                with_cookie(see_other(&back), self.cookies.keep_session(&session))
            }
            Err(error) => {
                let body = html! {
                    p role="alert" { (error) "." }
                    p { a.button href="/console" { "Start again" } }
                };
                page::outside(StatusCode::FORBIDDEN, "Not logged in", &body)
            }
        };
        with_cookie(response, self.cookies.end_begun())
    }

    fn break_glass_page(&self, status: StatusCode, wrong: Option<&str>) -> Response<String> {
        if self.break_glass.is_none() {
            return Failure::NotFound.response(None);
        }
        let body = html! {
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            form method="post" action="/console/break-glass" {
                label { "Break-glass token" input type="password" name="token" required autocomplete="off"; }
                button { "Enter" }
            }
            p.note { "It may do everything, and each change says that it was used." }
        };
        page::outside(status, "Break glass", &body)
    }

    async fn break_in(&self, request: &Request) -> Response<String> {
        let Some(glass) = &self.break_glass else {
            return Failure::NotFound.response(None);
        };
        match glass.opens(request.field("token")).await {
            Opened::Yes => {
                tracing::warn!("the console was entered with the break-glass token");
                let session = Session::new(Who::BreakGlass, self.cookies.lasts());
                with_cookie(see_other("/console"), self.cookies.keep_session(&session))
            }
            Opened::No => {
                tracing::warn!("a wrong break-glass token was tried at the console");
                self.break_glass_page(StatusCode::FORBIDDEN, Some("That is not the token."))
            }
            Opened::Busy => self.break_glass_page(
                StatusCode::TOO_MANY_REQUESTS,
                Some("Another token is being looked at: try again in a second."),
            ),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

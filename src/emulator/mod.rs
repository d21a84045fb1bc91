//! A stateful Auth0 for tests and the demo.
//!
//! It has users who can be created, read, changed, imported, exported and deleted through the Management API, tokens for
//! machines and for people, tickets, a login page, a mailbox, signing keys that rotate, rate limits by plan, and faults on
//! demand. It is strict: what Auth0 would refuse, it refuses, so that a client that works here has a fair chance to work
//! there. The facts come from Auth0's documentation, its published schema and recorded answers; where those leave two
//! answers open, [`Options`] choose.
//!
//! * Promised: a change is seen by every request that begins after its answer; an answer that was cut `after` has been
//!   applied, one cut `before` has not; the control face never counts, never fails and never waits for a limit.
//! * Not done: login sessions are listed and ended, but not remembered by the browser; nothing is stored on disk.
//!   It listens for tests: whoever reaches it may do everything through `/_emulator/`.
//!
//! It knows nothing of Roster's own client and shares no types with it; HTTP is all that joins them.
//!
//! Read `tenant.rs` (what there is), then `directory.rs` and `rules.rs` (users), then `front.rs` (how a request goes through)
//! and `api.rs` (the table of calls beyond users).

use std::{convert::Infallible, sync::Arc};

use hyper::{Request, body::Incoming, service::service_fn};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::{Filter, Rejection, Reply, filters::BoxedFilter, http::StatusCode, reply::Response};

use self::{errors::ApiError, keys::Keys, tenant::Tenant};
use crate::http::{self, first_of};

mod options;

mod clock;
mod directory;
mod grants;
mod journal;
mod keys;
mod lateness;
mod limits;
mod linked;
mod mailbox;
mod passwords;
mod plans;
mod profile;
mod rbac;
mod rules;
mod sessions;
mod tenant;
mod tickets;
mod validate;

mod errors;
mod faults;
mod front;
mod requests;
mod watch;

mod jobs;
mod management;
mod parameters;

mod lucene;
mod pattern;
mod search;
mod searchable;
mod ticket_requests;
mod users;
mod verify;

mod api;
mod blocks;
mod connections;
mod identities;
mod journal_calls;
mod members;
mod roles;
mod session_calls;

mod action;
mod login;
mod mailed;
mod mint;
mod pages;
mod tokens;
mod userinfo;

mod control;
mod control_tokens;
mod control_users;

pub use self::options::{
    Answers, AppClient, BadOptions, ExportFile, JobOptions, LinkedAway, MachineClient,
    MissingFeature, Options, Plan, SHIPPED_ACTION,
};
pub use self::watch::{Exchange, Watch};

/// Why the emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener has no address.
    #[error("the emulator's listening address could not be read")]
    Address(#[source] std::io::Error),
    /// No keys, no tokens.
    #[error("the emulator's signing keys could not be made")]
    Keys,
    /// `base_url` is not an http(s) URL without a path.
    #[error("the emulator's base_url is not an http(s) URL without a path")]
    BaseUrl,
    /// Options no tenant can have.
    #[error("the emulator's options are not a tenant's")]
    Options(#[from] BadOptions),
}

/// Serves one emulated tenant on `listener` until `stop` is cancelled and open requests have ended.
///
/// # Errors
/// [`Error`], before anything is served.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    stop: CancellationToken,
) -> Result<(), Error> {
    serve_to(listener, options, stop, None).await
}

/// As [`serve`], and shows `watch` every exchange but those of the control face.
///
/// # Errors
/// As [`serve`].
pub async fn serve_watched(
    listener: TcpListener,
    options: Options,
    stop: CancellationToken,
    watch: Watch,
) -> Result<(), Error> {
    serve_to(listener, options, stop, Some(watch)).await
}

async fn serve_to(
    listener: TcpListener,
    options: Options,
    stop: CancellationToken,
    watch: Option<Watch>,
) -> Result<(), Error> {
    options.check()?;
    let base_url = base_url(&listener, &options)?;
    let keys = tokio::task::spawn_blocking(Keys::generate)
        .await
        .map_err(|_| Error::Keys)?
        .map_err(|_| Error::Keys)?;
    let tenant = Arc::new(Tenant::new(base_url, options, keys));
    let routes = routes(&tenant);
    let service = service_fn(move |request: Request<Incoming>| {
        front::answer(tenant.clone(), routes.clone(), watch.clone(), request)
    });
    http::serve(listener, service, http::Limits::default(), stop).await;
    Ok(())
}

fn base_url(listener: &TcpListener, options: &Options) -> Result<String, Error> {
    let Some(given) = &options.base_url else {
        let address = listener.local_addr().map_err(Error::Address)?;
        return Ok(format!("http://{address}"));
    };
    let url = url::Url::parse(given).map_err(|_| Error::BaseUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || url.query().is_some() {
        return Err(Error::BaseUrl);
    }
    Ok(given.trim_end_matches('/').to_owned())
}

fn routes(tenant: &Arc<Tenant>) -> BoxedFilter<(Response,)> {
    // A single-page application asks for its tokens from its own origin.
    let cors = warp::cors()
        .allow_any_origin()
        .allow_methods(["GET", "POST"])
        .allow_headers(["authorization", "content-type", "auth0-client"]);
    let for_browsers = first_of([
        tokens::routes(tenant),
        login::routes(tenant),
        userinfo::routes(tenant),
    ])
    .with(cors)
    .map(Reply::into_response)
    .boxed();
    first_of([
        users::routes(tenant),
        for_browsers,
        api::routes(tenant),
        ticket_requests::routes(tenant),
        jobs::routes(tenant),
        mailed::routes(tenant),
        control::routes(tenant),
    ])
    .recover(refused)
    .unify()
    .boxed()
}

/// What no route took.
async fn refused(rejection: Rejection) -> Result<Response, Infallible> {
    let error = if rejection.is_not_found()
        || rejection.find::<warp::reject::MethodNotAllowed>().is_some()
    {
        ApiError::new(StatusCode::NOT_FOUND, None, "Not Found")
    } else {
        ApiError::bad_request("invalid_query_string", "The request could not be read")
    };
    Ok(error.into_response())
}

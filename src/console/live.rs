//! Pages that stay true while they are looked at: a page asked for as `text/event-stream` is sent again each time it has changed.
//!
//! Promises: whoever looks is judged anew at each look, as at each request; a look costs a tenth of the time at most, however slow the
//! database is; so many streams run at once and no more ([`MOST`]); all end when the server stops, or when nobody reads them.
//!
//! The script puts the parts that may change (`data-live`) in place, but for one with a form in it: what somebody is about to send stays
//! what they saw, and they are told that it is another by now.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::stream;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use warp::{
    Reply,
    http::{Method, StatusCode, header},
    sse::{self, Event},
};

use super::{
    Console, Request,
    page::{say, secured},
};

/// Streams at once, of all who look.
const MOST: usize = 32;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A look is followed by so many times its own length of rest.
const REST: u32 = 9;

/// The streams of one server.
pub(super) struct Streams {
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Streams {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST)),
            stop,
        }
    }
}

/// Whether a browser asks for a page and its changes.
pub(super) fn is_asked(request: &Request) -> bool {
    let accept = request.headers.get(header::ACCEPT);
    request.method == Method::GET
        && accept.is_some_and(|accept| accept.as_bytes() == b"text/event-stream")
}

/// The page, and the page again each time it has changed.
pub(super) fn stream(console: Arc<Console>, request: Request) -> warp::reply::Response {
    if console.cookies.session(&request.headers).is_none() {
        return say(StatusCode::FORBIDDEN, "Your session has ended.").into_response();
    }
    let Ok(place) = console.streams.room.clone().try_acquire_owned() else {
        return say(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many pages are looked at live.",
        )
        .into_response();
    };
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let stop = console.streams.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tell.closed() => {}
            () = look(&console, &request, &tell) => {}
        }
    });
    let events = stream::unfold(told, async |mut told: mpsc::Receiver<Event>| {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(event), told))
    });
    let mut response = sse::reply(sse::keep_alive().stream(events)).into_response();
    for (name, value) in secured() {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Looks until there is no page any more, such as for somebody who lost the right to see it.
async fn look(console: &Console, request: &Request, tell: &mpsc::Sender<Event>) {
    let mut before = None;
    loop {
        let begun = Instant::now();
        let page = console.in_time(request).await;
        let is_lost = page.status() == StatusCode::SERVICE_UNAVAILABLE;
        if !is_lost && page.status() != StatusCode::OK {
            return;
        }
        let now = timeless(page.body());
        if before.as_ref() != Some(&now) {
            let name = if is_lost { "lost" } else { "page" };
            let event = Event::default().event(name).data(page.into_body());
            if tell.send(event).await.is_err() {
                return;
            }
            before = Some(now);
        }
        sleep(rest_after(begun.elapsed())).await;
    }
}

/// How long nobody looks after a look of this length.
fn rest_after(look: Duration) -> Duration {
    EVERY.max(look * REST)
}

/// A page but for how long ago things are, which changes by itself.
fn timeless(page: &str) -> String {
    let mut pieces = page.split("<time ");
    let mut rest = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (time, after) = piece.split_once("</time>").unwrap_or((piece, ""));
        let (at, _) = time.split_once('>').unwrap_or((time, ""));
        rest.extend([at, after]);
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{rest_after, timeless};

    #[test]
    fn a_look_takes_a_tenth_of_the_time_at_most() {
        for ms in [0, 1, 40, 111, 112, 2_000, 60_000] {
            let look = Duration::from_millis(ms);
            let rest = rest_after(look);
            assert!(look * 10 <= look + rest, "{look:?}, then {rest:?}");
            assert!(rest >= Duration::from_secs(1), "{look:?}, then {rest:?}");
        }
    }

    #[test]
    fn a_page_has_not_changed_because_time_goes_by() {
        let page = |ago| {
            format!(
                "<p><time datetime=\"2026\">{ago}</time> x <time datetime=\"1\">{ago}</time>.</p>"
            )
        };
        assert_eq!(
            timeless(&page("1 second ago")),
            timeless(&page("2 seconds ago"))
        );
        assert_ne!(
            timeless(&page("a")),
            timeless(&page("a").replace("2026", "2027"))
        );
        assert_eq!(timeless("<p>none</p>"), "<p>none</p>");
    }
}

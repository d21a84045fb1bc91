//! Serving HTTP/1 with limits: one accept loop for every face Roster shows.
//!
//! warp's own server builds connections without a timer, so a client that never ends its headers holds its socket for
//! ever. This loop serves any hyper service (a warp filter through [`warp_service`]) with a header timeout, a bounded
//! read buffer, a bounded number of connections, and a drain that ends. It speaks HTTP/1 only.

mod body;

pub use body::{BodyError, MAX_BODY, body};

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Body, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp::{Filter, filters::BoxedFilter};

use crate::progress::{self, Part, Progress};

/// What one listening socket grants its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a connection (or the end of the last answer) to the end of the request's headers.
    pub header_timeout: Duration,
    /// Bytes hyper may buffer for one connection; the request line and headers must fit.
    pub max_buffer: usize,
    /// Connections served at a time; further ones wait in the listen backlog.
    pub max_connections: usize,
    /// How long open requests may take to finish once a stop is asked for.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            max_buffer: 32 * 1024,
            max_connections: 4096,
            drain: Duration::from_secs(10),
        }
    }
}

/// Turns a warp filter (rejections already recovered) into a service for [`serve`].
pub fn warp_service<F, R>(
    filter: F,
) -> impl Service<
    Request<Incoming>,
    Response = Response<
        impl Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send,
    R: warp::Reply,
{
    TowerToHyperService::new(warp::service(filter))
}

/// The first of these routes that takes a request answers it. Name those first that are asked most: each costs all who come after it.
///
/// Boxed, so that each is a type of its own no longer: with nested `or`s of bare filters the compiler proves at each level anew that all
/// the futures within may be sent between threads, and a build takes minutes.
pub fn first_of<R>(
    routes: impl IntoIterator<Item = BoxedFilter<(R,)>, IntoIter: DoubleEndedIterator>,
) -> BoxedFilter<(R,)>
where
    R: Send + 'static,
{
    routes
        .into_iter()
        .rev()
        .reduce(|after, before| before.or(after).unify().boxed())
        .expect("there is a route at least")
}

/// Accepts and serves until `stop` is cancelled, then lets open requests finish for at most [`Limits::drain`].
///
/// A service that returns an error has its connection closed without an answer.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let part = Progress::default().part("server", Duration::MAX);
    serve_watched(listener, service, limits, part, stop).await;
}

/// As [`serve`], telling `part` that it gets on: with each connection that is accepted, and each second.
pub async fn serve_watched<S, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    part: Part,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let mut idle = tokio::time::interval(progress::TICK);
    loop {
        part.step();
        let next = async {
            let permit = room.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let accepted = listener.accept().await;
            accepted.map(|(socket, _)| (socket, permit))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next => accepted,
            // All places taken, or nobody there: both are well.
            _ = idle.tick() => continue,
        };
        let (socket, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: give connections a moment to end instead of spinning.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small and written at once; Nagle would only delay them.
        let _ = socket.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.max_buffer)
            .serve_connection(TokioIo::new(socket), service.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let _permit = permit;
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop((listener, part));
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("some connections did not end in time and were dropped");
    }
}

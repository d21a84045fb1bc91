//! Serving HTTP/1 with limits: one accept loop for every face Roster shows.
//!
//! warp's own server builds connections without a timer, so a client that never ends its headers holds its socket for
//! ever. This loop serves any hyper service (a warp filter through [`warp_service`]), over TLS where [`Tls`] is given.
//! Each step of a connection has a limit: the handshake, the headers, the wait for the next request, what is buffered,
//! a client that does not read its answer; and [`body`] for the request's body. So each place that a connection takes
//! is free again after a time that no client can stretch without asking well-formed questions. It speaks HTTP/1 only.
//!
//! Once all places are taken, further connections wait in the listen backlog, whose length the system bounds.

mod body;
mod tls;

use std::{convert::Infallible, io, pin::Pin, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Body, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use warp::{Filter, filters::BoxedFilter};

use crate::progress::{self, Part, Progress};

pub use self::{
    body::{BodyError, MAX_BODY, Unread, body, read_within},
    tls::{Tls, TlsError},
};

/// What one listening socket grants its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the TLS handshake; and from the first byte of a connection (or the end of the last answer) to the end of the
    /// request's headers, so that it bounds idle connections too.
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread that no longer fits the socket's buffers.
    pub write_timeout: Duration,
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
            write_timeout: Duration::from_secs(10),
            max_buffer: 32 * 1024,
            max_connections: 4096,
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// As many connections as the process may have open files, at most the default, after asking the system for as many
    /// files as it grants. Some are left for the database, the keys and the log.
    pub fn within_open_files() -> Self {
        const ELSE: u64 = 128;
        let mut limits = Self::default();
        let wanted = limits.max_connections as u64 + ELSE;
        match raise_open_files() {
            Ok(granted) if granted < wanted => {
                let left = granted.saturating_sub(ELSE).max(granted / 2);
                limits.max_connections = usize::try_from(left).unwrap_or(limits.max_connections);
                tracing::warn!(
                    files = granted,
                    connections = limits.max_connections,
                    "the system lets this process open few files (ulimit -n), so it serves fewer connections at a time"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the limit of open files could not be read"
            ),
        }
        limits
    }
}

/// Raises the limit of open files to what the system grants without further rights, and tells it.
///
/// # Errors
/// What the system says.
pub fn raise_open_files() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A warp filter as a service for [`serve`]. It is of one type whatever the filter, so that a connection is compiled once and
/// not for each tree of filters; that costs one allocation a request.
#[derive(Clone)]
pub struct WarpService(Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>);

type Answering = Pin<Box<dyn Future<Output = Result<warp::reply::Response, Infallible>> + Send>>;

impl Service<Request<Incoming>> for WarpService {
    type Response = warp::reply::Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        (self.0)(request)
    }
}

/// Turns a warp filter (rejections already recovered) into a service for [`serve`].
pub fn warp_service<F, R>(filter: F) -> WarpService
where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send,
    R: warp::Reply + 'static,
{
    let service = TowerToHyperService::new(warp::service(filter));
    WarpService(Arc::new(move |request| Box::pin(service.call(request))))
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
    serve_watched(listener, None, service, limits, part, stop).await;
}

/// As [`serve`], over TLS if that is given, telling `part` that it gets on: with each connection that is accepted, and
/// each second.
pub async fn serve_watched<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
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
    let (connections, dropped) = (TaskTracker::new(), CancellationToken::new());
    let mut idle = tokio::time::interval(progress::TICK);
    let mut pause = PAUSE.0;
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
            Err(error) if is_of_one_client(&error) => continue,
            Err(error) => {
                // Out of file descriptors, mostly: give connections a moment to end instead of spinning.
                tracing::warn!(error = %error, "a connection could not be accepted");
                stop.run_until_cancelled(sleep(pause)).await;
                pause = (pause * 2).min(PAUSE.1);
                continue;
            }
        };
        pause = PAUSE.0;
        let connection = Connection {
            tls: tls.clone(),
            limits: limits.clone(),
            stop: stop.clone(),
        };
        let (service, dropped) = (service.clone(), dropped.clone());
        connections.spawn(async move {
            let _permit = permit;
            let served = connection.serve(socket, service);
            dropped.run_until_cancelled(served).await;
        });
    }
    drop((listener, part));
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!("some connections did not end in time and were dropped");
        dropped.cancel();
        connections.wait().await;
    }
}

/// Waits after a connection could not be accepted: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The client was gone before it was accepted; the next one is as good as ever.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// What one accepted socket is served with.
struct Connection {
    tls: Option<Tls>,
    limits: Limits,
    stop: CancellationToken,
}

impl Connection {
    /// From the first byte to the last. Whatever goes wrong is the client's and ends the connection.
    async fn serve<S, B>(self, socket: TcpStream, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Answers are small and written at once; Nagle would only delay them.
        let _ = socket.set_nodelay(true);
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(self.limits.write_timeout));
        let socket = Box::pin(socket);
        let socket = match &self.tls {
            None => Either::Left(socket),
            Some(tls) => {
                let handshake = timeout(self.limits.header_timeout, tls.accept(socket));
                match self.stop.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(socket))) => Either::Right(socket),
                    _ => return,
                }
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(self.limits.max_buffer)
            .serve_connection(TokioIo::new(socket), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

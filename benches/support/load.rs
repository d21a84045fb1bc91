//! Requests over connections that stay open, each with the next of many tokens, and how long each answer took.
//!
//! Two kinds of load. Closed: every connection asks again as soon as it is answered, which finds the rate a server reaches.
//! Open: requests are due at a fixed rate whether or not the server keeps up, and each is timed from when it was *due*, so
//! that a server which stalls is charged for all who waited, not only for those it was talking to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
};

const ME: &str = "/v1/me";

/// One connection that stays open.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: HeaderValue::from_str(&address.to_string())?,
        })
    }

    /// `GET` of a path, answer read to its end.
    pub(crate) async fn get(
        &mut self,
        path: &'static str,
        token: Option<&HeaderValue>,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(HOST, self.host.clone());
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// The user's answer, for a token that must be accepted.
    async fn must_know(&mut self, token: &HeaderValue) -> Result<Bytes> {
        let (status, body) = self.get(ME, Some(token)).await?;
        ensure!(status == StatusCode::OK, "answered with {status}");
        Ok(body)
    }

    /// The answer to a token, read as JSON; null where it is none.
    pub(crate) async fn me(&mut self, token: &HeaderValue) -> Result<(StatusCode, Value)> {
        let (status, body) = self.get(ME, Some(token)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// What was asked for how long, and each answer's time in milliseconds.
pub(crate) struct Answered {
    pub(crate) milliseconds: Vec<f64>,
    pub(crate) took: Duration,
}

/// Values for `Authorization`, in turn.
#[derive(Clone)]
pub(crate) struct Tokens {
    values: Arc<[HeaderValue]>,
    next: Arc<AtomicUsize>,
    /// How often one is handed out.
    turns: usize,
}

impl Tokens {
    pub(crate) fn new(tokens: impl IntoIterator<Item = String>) -> Result<Self> {
        let value = |token| HeaderValue::from_str(&format!("Bearer {token}"));
        let values: Result<Arc<[HeaderValue]>, _> = tokens.into_iter().map(value).collect();
        Ok(Self {
            values: values?,
            next: Arc::default(),
            turns: usize::MAX,
        })
    }

    /// The same from the beginning, each handed out once and no more.
    pub(crate) fn once(&self) -> Self {
        Self {
            values: self.values.clone(),
            next: Arc::default(),
            turns: self.values.len(),
        }
    }

    pub(crate) fn all(&self) -> &[HeaderValue] {
        &self.values
    }

    fn next(&self) -> Option<&HeaderValue> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (next < self.turns).then(|| &self.values[next % self.values.len()])
    }
}

/// As many requests as `connections` get answered within `time`, or as there are tokens for.
///
/// # Errors
/// One of them was not answered with 200.
pub(crate) async fn closed(
    address: SocketAddr,
    tokens: &Tokens,
    connections: usize,
    time: Duration,
) -> Result<Answered> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let tokens = tokens.clone();
        tasks.spawn(async move {
            let mut milliseconds = Vec::new();
            while begin.elapsed() < time
                && let Some(token) = tokens.next()
            {
                let asked = Instant::now();
                connection.must_know(token).await?;
                milliseconds.push(super::figures::ms(asked.elapsed()));
            }
            anyhow::Ok(milliseconds)
        });
    }
    gather(tasks, begin).await
}

/// `rate` requests a second for `time`, over at most `connections`; timed from when each was due.
///
/// # Errors
/// One of them was not answered with 200.
pub(crate) async fn open(
    address: SocketAddr,
    tokens: &Tokens,
    connections: usize,
    rate: u32,
    time: Duration,
) -> Result<Answered> {
    let (sender, due) = mpsc::unbounded_channel();
    let due = Arc::new(Mutex::new(due));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (tokens, due) = (tokens.clone(), due.clone());
        tasks.spawn(async move {
            let mut milliseconds = Vec::new();
            while let Some(asked) = { due.lock().await.recv().await } {
                let token = tokens.next().context("a token is left")?;
                connection.must_know(token).await?;
                let asked: Instant = asked;
                milliseconds.push(super::figures::ms(asked.elapsed()));
            }
            anyhow::Ok(milliseconds)
        });
    }
    // A thread of its own: the runtime's timer has a grain of a millisecond.
    let pace = tokio::task::spawn_blocking(move || {
        let requests = (f64::from(rate) * time.as_secs_f64()) as u32;
        for number in 0..requests {
            let due = begin + Duration::from_secs(1) * number / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                break;
            }
        }
    });
    let answered = gather(tasks, begin).await;
    pace.await.context("the pace")?;
    answered
}

async fn gather(mut tasks: JoinSet<Result<Vec<f64>>>, begin: Instant) -> Result<Answered> {
    let mut milliseconds = Vec::new();
    while let Some(task) = tasks.join_next().await {
        milliseconds.extend(task??);
    }
    Ok(Answered {
        milliseconds,
        took: begin.elapsed(),
    })
}

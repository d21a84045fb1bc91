//! The network between one reactor and PostgreSQL: it passes bytes on, stands still, or ends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use roster::db::connect::Endpoint;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::AbortHandle,
};

/// What the network does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// Nothing passes, and nobody is told.
    Frozen,
    /// Every connection ends, and new ones do at once.
    Cut,
}

/// Listens until it is dropped.
pub(super) struct Way {
    url: url::Url,
    flow: watch::Sender<Flow>,
    connections: Arc<AtomicU64>,
    listening: AbortHandle,
}

impl Way {
    /// A way to the database of this connection string.
    pub(super) async fn to(url: &str) -> Self {
        let target: url::Url = url.parse().expect("an URL");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mut url = target.clone();
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let (flow, flows) = watch::channel(Flow::Open);
        let connections = Arc::new(AtomicU64::new(0));
        let open = connections.clone();
        let listening = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                if *flows.borrow() == Flow::Cut {
                    continue;
                }
                let (target, flows, open) = (target.clone(), flows.clone(), open.clone());
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::Relaxed);
                    let _ = pass(from, &target, flows).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            url,
            flow,
            connections,
            listening: listening.abort_handle(),
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(self.url.as_str()).expect("the same connection string on another port")
    }

    /// From now on the network does this; gives how many connections it concerns.
    pub(super) fn set(&self, flow: Flow) -> u64 {
        self.flow.send_replace(flow);
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(
    from: TcpStream,
    target: &url::Url,
    flows: watch::Receiver<Flow>,
) -> std::io::Result<()> {
    let (reads, writes) = from.into_split();
    let host = percent_encoding::percent_decode_str(target.host_str().unwrap_or_default())
        .decode_utf8_lossy()
        .into_owned();
    let port = target.port().unwrap_or(5432);
    if host.starts_with('/') {
        let socket = UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await?;
        let (answers, questions) = socket.into_split();
        both(reads, questions, answers, writes, flows).await
    } else {
        let socket = TcpStream::connect((host, port)).await?;
        let (answers, questions) = socket.into_split();
        both(reads, questions, answers, writes, flows).await
    }
}

async fn both(
    reads: impl AsyncRead + Unpin,
    questions: impl AsyncWrite + Unpin,
    answers: impl AsyncRead + Unpin,
    writes: impl AsyncWrite + Unpin,
    flows: watch::Receiver<Flow>,
) -> std::io::Result<()> {
    let mut ends = flows.clone();
    tokio::select! {
        _ = ends.wait_for(|flow| *flow == Flow::Cut) => Ok(()),
        ended = one(reads, questions, flows.clone()) => ended,
        ended = one(answers, writes, flows) => ended,
    }
}

async fn one(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flows: watch::Receiver<Flow>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let number = from.read(&mut bytes).await?;
        if number == 0 {
            return Ok(());
        }
        if flows.wait_for(|flow| *flow != Flow::Frozen).await.is_err() {
            return Ok(());
        }
        to.write_all(&bytes[..number]).await?;
    }
}

//! A way to PostgreSQL that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use roster::db::connect::Endpoint;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use super::Database;

/// Passes TCP connections on to a database until it is cut; serves until it is dropped with the test's runtime.
pub(crate) struct Proxy {
    port: u16,
    url: url::Url,
    open: Arc<AtomicBool>,
    cuts: broadcast::Sender<()>,
}

impl Proxy {
    pub(crate) async fn to(database: &Database) -> Self {
        let url: url::Url = database.tcp_url().parse().expect("an URL");
        let target = (
            url.host_str().expect("a host").to_owned(),
            url.port().unwrap_or(5432),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let open = Arc::new(AtomicBool::new(true));
        let (cuts, _) = broadcast::channel(1);
        let (is_open, cut) = (open.clone(), cuts.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                // Closed at once while the way is cut.
                if is_open.load(Ordering::Relaxed) {
                    let (target, mut cut) = (target.clone(), cut.subscribe());
                    tokio::spawn(async move {
                        let mut to = TcpStream::connect(target).await?;
                        tokio::select! {
                            _ = cut.recv() => Ok(()),
                            ended = copy_bidirectional(&mut from, &mut to) => ended.map(drop),
                        }
                    });
                }
            }
        });
        Self {
            port,
            url,
            open,
            cuts,
        }
    }

    /// The database by way of this proxy.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url()).expect("the same connection string on another port")
    }

    /// Its connection string.
    pub(crate) fn url(&self) -> String {
        let mut url = self.url.clone();
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.port)).expect("a port");
        url.into()
    }

    /// Every connection ends, and new ones are closed.
    pub(crate) fn cut(&self) {
        self.open.store(false, Ordering::Relaxed);
        // Nobody connected is nobody to be cut off.
        let _ = self.cuts.send(());
    }

    pub(crate) fn restore(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

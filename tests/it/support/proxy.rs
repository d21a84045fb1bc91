//! A way to PostgreSQL that can be cut, or go silent.

use std::io;

use roster::db::connect::Endpoint;
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::Database;

/// Passes TCP connections on to a database until it is cut; serves until it is dropped with the test's runtime.
pub(crate) struct Proxy {
    port: u16,
    url: url::Url,
    state: watch::Sender<State>,
}

/// How things stand, and how often each fault has struck: one that is over at once has struck all the same.
#[derive(Debug, Clone, Copy)]
struct State {
    way: Way,
    cuts: u32,
    silences: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Closed at once.
    Cut,
    /// Accepted, read, and neither passed on nor answered.
    Silent,
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
        let (state, states) = watch::channel(State {
            way: Way::Open,
            cuts: 0,
            silences: 0,
        });
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass_on(from, target.clone(), states.clone()));
            }
        });
        Self { port, url, state }
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
        self.state.send_modify(|state| {
            state.way = Way::Cut;
            state.cuts += 1;
        });
    }

    /// Whatever is said on any connection, old or new, is lost, and nobody hears of it: a peer that is gone without a word.
    pub(crate) fn go_silent(&self) {
        self.state.send_modify(|state| {
            state.way = Way::Silent;
            state.silences += 1;
        });
    }

    /// New connections are passed on again. Those that fell silent stay so.
    pub(crate) fn restore(&self) {
        self.state.send_modify(|state| state.way = Way::Open);
    }
}

async fn pass_on(
    mut from: TcpStream,
    target: (String, u16),
    mut states: watch::Receiver<State>,
) -> io::Result<()> {
    let then = *states.borrow_and_update();
    let mut to = match then.way {
        Way::Cut => return Ok(()),
        Way::Silent => None,
        Way::Open => {
            let mut to = TcpStream::connect(target).await?;
            let struck =
                states.wait_for(|now| now.cuts > then.cuts || now.silences > then.silences);
            tokio::select! {
                struck = struck => match struck {
                    Ok(now) if now.cuts == then.cuts => {}
                    _ => return Ok(()),
                },
                ended = copy_bidirectional(&mut from, &mut to) => return ended.map(drop),
            }
            Some(to)
        }
    };
    let (mut heard, mut answered) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            // Also when one side gives up, the other is not told.
            read = from.read(&mut heard) => if read? == 0 { return std::future::pending().await },
            read = async {
                match &mut to {
                    Some(to) => to.read(&mut answered).await,
                    None => std::future::pending().await,
                }
            } => if read? == 0 { to = None },
        }
    }
}

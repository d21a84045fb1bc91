//! A way to PostgreSQL that can be cut, go silent, or lose notifications.

use std::io;

use bytes::{Buf, BytesMut};
use roster::db::connect::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
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
    /// Everything is passed on but notifications.
    deaf: bool,
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
            deaf: false,
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

    /// Nobody hears a notification any more; everything else goes on.
    pub(crate) fn deafen(&self) {
        self.state.send_modify(|state| state.deaf = true);
    }

    /// Notifications are passed on again.
    pub(crate) fn hear(&self) {
        self.state.send_modify(|state| state.deaf = false);
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
            let deaf = states.clone();
            let (mut asks, mut is_told) = from.split();
            let (mut tells, mut is_asked) = to.split();
            let struck =
                states.wait_for(|now| now.cuts > then.cuts || now.silences > then.silences);
            tokio::select! {
                struck = struck => match struck {
                    Ok(now) if now.cuts == then.cuts => {}
                    _ => return Ok(()),
                },
                ended = copy(&mut asks, &mut is_asked) => return ended.map(drop),
                ended = tell(&mut tells, &mut is_told, &deaf) => return ended,
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

/// Passes on what a server tells, message by message, but for notifications that nobody is to hear.
async fn tell(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    states: &watch::Receiver<State>,
) -> io::Result<()> {
    let mut told = BytesMut::new();
    // Whether it speaks TLS, in one byte, before the first message.
    let mut begun = false;
    loop {
        let length = match told.first() {
            Some(b'N') if !begun => Some(1),
            Some(_) if told.len() >= 5 => {
                begun = true;
                let length = (&told[1..5]).get_u32() as usize + 1;
                Some(length).filter(|length| told.len() >= *length)
            }
            _ => None,
        };
        let Some(length) = length else {
            if from.read_buf(&mut told).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let message = told.split_to(length);
        if message[0] != b'A' || !states.borrow().deaf {
            to.write_all(&message).await?;
        }
    }
}

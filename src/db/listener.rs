//! LISTEN: a connection of its own that says "look" when somebody rings, and says so too whenever it may have missed a ring.
//!
//! Wanted: a change is looked at within milliseconds of its commit; a lost connection, a deaf pooler or a failover never
//! hides one for longer than the poll interval.
//!
//! Design: listen, *then* look, then wait. After every connect the first event is [`Heard::Listening`], which means "look at
//! everything that is there", so nothing rung before it matters. Notifications carry no data; two that wait are one.
//!
//! Known races, and why they are none or accepted:
//! * A ring between the look and the wait: LISTEN stands before the look, so it is queued.
//! * A peer that is gone without a word: TCP keep-alives (idle 15 s), and a query each [`HEARTBEAT`], with a deadline.
//! * A server that accepts no writes any more, while a session with it goes on: the same query asks, and another is looked for.
//! * A transaction pooler that accepts LISTEN and delivers nothing: a notification with a nonce is sent round at connect and
//!   each hour; if it does not come back, [`Heard::Probed`] says so. Polling carries on. Another session rings it, since a pooler
//!   passes on what a session is told while it is being answered, such as its own notification.
//! * A ringer that dies after others relied on it (see `triggers/bell.sql`): accepted, bounded by the poll interval.

use std::{future::poll_fn, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval_at, timeout},
};
use tokio_postgres::{AsyncMessage, Client, Notification, SimpleQueryMessage};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::connect::{ConnectError, Endpoint};
use crate::{progress::Part, telemetry::with_causes};

/// How often an idle connection has to prove that somebody is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longer than any step takes: an attempt to connect ends within [`Endpoint::deadline`], everything else within half of this.
pub const LONGEST_STEP: Duration = Duration::from_secs(60);
/// How long the proof, or the probe's way round, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a probe goes round, after the one at connect.
const PROBE: Duration = Duration::from_secs(60 * 60);

/// What the reactor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// LISTEN stands (again): look at everything.
    Listening,
    /// Somebody rang: look.
    Rang,
    /// Our own test notification came back, or did not.
    Probed {
        /// It came back.
        came_back: bool,
    },
    /// The connection is lost; only polling finds changes until [`Heard::Listening`].
    Lost,
}

/// Listens until `stop`, reconnecting with backoff; tells what it hears through `heard`.
///
/// A full channel is no loss for [`Heard::Rang`]: whoever is behind will look anyway.
pub async fn listen(
    endpoint: Endpoint,
    heard: mpsc::Sender<Heard>,
    part: Part,
    stop: CancellationToken,
) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
        .without_max_times();
    let mut delays = backoff.build();
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = listen_once(&endpoint, &heard, &part, || delays = backoff.build()) => ended,
        };
        part.step();
        if heard.send(Heard::Lost).await.is_err() {
            return;
        }
        let delay = delays.next().unwrap_or(Duration::from_secs(10));
        match ended {
            Ok(()) => tracing::warn!(
                retry_ms = delay.as_millis(),
                "the listening connection ended"
            ),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), retry_ms = delay.as_millis(), "the listening connection failed");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// A session that listens, and what it hears. Both end with the value.
pub(crate) struct Ears {
    client: Client,
    pub(crate) rung: mpsc::Receiver<Notification>,
    _driver: AbortOnDropHandle<()>,
}

/// Connects, and has `listen` (statements) stand before it returns.
pub(crate) async fn ears(endpoint: &Endpoint, listen: &str) -> Result<Ears, Ended> {
    let (client, mut connection) = endpoint.connect().await?;
    // The connection is driven by a task of its own: it answers the client's queries as well as forwarding what is rung.
    let (rings, rung) = mpsc::channel::<Notification>(64);
    let driver = tokio::spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(ring))) => {
                    // A full channel means that a look is due anyway.
                    let _ = rings.try_send(ring);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(error = %error, "the listening connection failed");
                    return;
                }
                None => return,
            }
        }
    });
    let _driver = AbortOnDropHandle::new(driver);
    // None of our settings: this session asks for nothing, and behind a pooler they would be somebody else's.
    within(client.batch_execute(listen)).await?;
    Ok(Ears {
        client,
        rung,
        _driver,
    })
}

/// How long a notification takes that is rung at `rings` and heard at `listens`.
///
/// # Errors
/// [`Ended::Deaf`]: it does not come, within five seconds.
pub async fn round_trip(listens: &Endpoint, rings: &Endpoint) -> Result<Duration, Ended> {
    let mut ears = ears(listens, "listen roster_probe").await?;
    let nonce = Uuid::new_v4();
    let rang = Instant::now();
    ring_probe(rings.clone(), nonce).await?;
    let heard = async {
        while let Some(ring) = ears.rung.recv().await {
            if ring.payload() == nonce.to_string() {
                return Ok(rang.elapsed());
            }
        }
        Err(Ended::Silent)
    };
    timeout(PATIENCE, heard).await.map_err(|_| Ended::Deaf)?
}

/// Why a connection that is told of changes ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("connecting failed")]
    Connect(#[from] ConnectError),
    #[error("the server refused a statement")]
    Sql(#[from] tokio_postgres::Error),
    #[error("the server did not answer in {PATIENCE:?}")]
    Silent,
    #[error("the server accepts no writes any more, so nobody rings there")]
    ReadOnly,
    #[error("the server is another one than before")]
    AnotherServer,
    #[error("the server accepts LISTEN and delivers nothing")]
    Deaf,
}

async fn listen_once(
    endpoint: &Endpoint,
    heard: &mpsc::Sender<Heard>,
    part: &Part,
    mut connected: impl FnMut(),
) -> Result<(), Ended> {
    let Ears {
        client,
        mut rung,
        _driver,
    } = ears(endpoint, "listen roster; listen roster_probe").await?;
    connected();
    let _ = heard.send(Heard::Listening).await;

    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let mut probe = tokio::time::interval(PROBE);
    let mut nonce = None;
    let mut ringing = JoinSet::new();
    let mut deaf_at: Option<Instant> = None;
    loop {
        part.step();
        tokio::select! {
            ring = rung.recv() => match ring {
                None => return Ok(()),
                Some(ring) if ring.channel() == "roster_probe" => {
                    if nonce.is_some_and(|sent: Uuid| ring.payload() == sent.to_string()) {
                        (nonce, deaf_at) = (None, None);
                        let _ = heard.send(Heard::Probed { came_back: true }).await;
                    }
                }
                Some(_) => {
                    let _ = heard.try_send(Heard::Rang);
                }
            },
            _ = heartbeat.tick() => {
                if within(is_read_only(&client)).await? {
                    return Err(Ended::ReadOnly);
                }
            }
            _ = probe.tick() => {
                let sent = Uuid::new_v4();
                (nonce, deaf_at) = (Some(sent), None);
                ringing.spawn(ring_probe(endpoint.clone(), sent));
            }
            Some(rang) = ringing.join_next() => match rang {
                Ok(Ok(())) => deaf_at = nonce.map(|_| Instant::now() + PATIENCE),
                // No session was to be had; that says nothing of this one.
                _ => nonce = None,
            },
            () = tokio::time::sleep_until(deaf_at.unwrap_or_else(Instant::now)), if deaf_at.is_some() => {
                (nonce, deaf_at) = (None, None);
                let _ = heard.send(Heard::Probed { came_back: false }).await;
            }
        }
    }
}

/// A simple query, so that nothing of it stays behind at a pooler.
async fn ring_probe(endpoint: Endpoint, nonce: Uuid) -> Result<(), Ended> {
    let session = endpoint.session().await?;
    let ring = format!("select pg_notify('roster_probe', '{nonce}')");
    within(session.batch_execute(&ring)).await
}

/// Whether it is a standby by now, or a former primary that was closed for a switch-over: elsewhere is another.
async fn is_read_only(session: &Client) -> Result<bool, tokio_postgres::Error> {
    let said = session.simple_query("show transaction_read_only").await?;
    Ok(said
        .iter()
        .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("on"))))
}

async fn within<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Ended> {
    match timeout(PATIENCE, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Ended::Silent),
    }
}

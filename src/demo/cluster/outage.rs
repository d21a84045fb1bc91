//! Outages on purpose: a private server that stops as a real one may, and comes back with its port and its data.
//!
//! For tests and benches. None of this blocks a thread of the runtime: whoever is connected goes on while the server is away.

use std::{process::Child, time::Duration};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};

use super::{Cluster, Launched, POLL, START_LIMIT, launch, pid_of};

/// How a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are told and ended, what is committed is written: `pg_ctl stop -m fast`.
    Fast,
    /// At once, as in a crash; the next start recovers: `pg_ctl stop -m immediate`.
    Immediate,
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Self::Fast => Signal::SIGINT,
            Self::Immediate => Signal::SIGQUIT,
        }
    }
}

/// How long a stop may take. A fast one ends with a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(60);

impl Cluster {
    /// Stops the server; nothing happens if it is halted already.
    ///
    /// # Errors
    /// If it has not ended after a minute.
    pub async fn halt(&mut self, how: Stop) -> Result<()> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        kill(pid_of(server), how.signal())?;
        if !ended(server, STOP_LIMIT).await? {
            bail!("the private PostgreSQL did not stop within {STOP_LIMIT:?}");
        }
        self.server = None;
        Ok(())
    }

    /// Starts it again after [`Cluster::halt`], on the same port with the same data.
    ///
    /// # Errors
    /// With the server's log; also if somebody else has taken the port for too long.
    pub async fn resume(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while self.server.is_none() {
            let (command, dir) = (self.command(), self.dir.path().to_owned());
            let launched = tokio::task::spawn_blocking(move || launch(command, &dir));
            match launched.await.context("the start was broken off")?? {
                Launched::Running(server) => self.server = Some(server),
                // Somebody's outgoing connection, most likely, which is soon gone.
                Launched::PortTaken if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                Launched::PortTaken => bail!("port {} is somebody else's by now", self.port),
            }
        }
        Ok(())
    }

    /// [`Cluster::halt`] and [`Cluster::resume`].
    ///
    /// # Errors
    /// Theirs.
    pub async fn restart(&mut self, how: Stop) -> Result<()> {
        self.halt(how).await?;
        self.resume().await
    }
}

/// Whether a child ends within `limit`.
async fn ended(child: &mut Child, limit: Duration) -> Result<bool> {
    let deadline = tokio::time::Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

//! Everything at once on one machine, for trying Roster without an Auth0 account or a database.
//!
//! ```text
//! cluster (PostgreSQL) ─► tenant (emulated Auth0) ─► service (reactor, server) ─► web (a page to log in)
//!                                                                                   └─► people and guide, or tour
//! ```
//!
//! Promises: it never meets a real database or tenant, since it reads no configuration but its own; when it ends, by
//! itself, by Ctrl-C or by an error, whatever it started has ended and nothing of it is left on disk. The tour's
//! verdict is what was observed from outside: by SQL, at the emulator and over HTTP.
//!
//! [`tour`] is the script of the tour, [`guide`] what is printed otherwise.

mod application;
pub mod cluster;
mod guide;
mod people;
mod person;
mod stage;
mod tenant;
mod tour;
mod web;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::{emulator, telemetry};

use cluster::Cluster;
use stage::Stage;

/// What a person asks the demo for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Walk through create, update and delete, then end.
    pub tour: bool,
    /// Print JSON: one line with every URL once all is ready; on a tour one line a step, and one with the verdict.
    pub json: bool,
}

/// What a demo is set up with. A person gets the default; tests have theirs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `enforce`; in `observe` nothing is written to Auth0, and a tour fails.
    pub mode: String,
    /// How long a step of the tour waits for what it is to see.
    pub patience: Duration,
    /// The emulated tenant.
    pub tenant: emulator::Options,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: "enforce".to_owned(),
            patience: Duration::from_secs(15),
            tenant: emulator::Options::default(),
        }
    }
}

/// How a demo ended that did not fail to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop, which is how a demo without a tour ends.
    Stopped,
    /// A tour was told to stop before its end.
    Interrupted,
    /// The tour is over.
    Toured(Verdict),
}

/// The steps of a tour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Steps that held.
    pub held: u32,
    /// Steps that did not. What would have followed on one was not tried.
    pub failed: u32,
}

impl Outcome {
    /// Whether it did what was asked: a tour has to hold to its end.
    pub fn held(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Interrupted => false,
            Self::Toured(verdict) => verdict.failed == 0,
        }
    }
}

/// Runs the demo on stdout until `stop`, or to the end of the tour. Logs go to stderr, warnings only unless
/// `RUST_LOG` says otherwise.
///
/// # Errors
/// If a part does not start; the text says what to do. Nothing is left behind then either.
pub async fn run(options: Options, stop: CancellationToken) -> Result<Outcome> {
    // A program that logs already keeps its own way.
    let _ = telemetry::start(&stage::config(&Default::default())?.log);
    perform(options, Setup::default(), &mut io::stdout(), stop).await
}

/// As [`run`], with another setup and another place for the output.
///
/// # Errors
/// As [`run`], and if `out` does not take what is written.
pub async fn perform(
    options: Options,
    setup: Setup,
    out: &mut (dyn Write + Send),
    stop: CancellationToken,
) -> Result<Outcome> {
    let cluster = Cluster::start(cluster::Options::default())
        .await
        .context("the demo needs a private PostgreSQL")?;
    let mut stage = Stage::new(&cluster);
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(match options.tour {
            true => Outcome::Interrupted,
            false => Outcome::Stopped,
        }),
        ended = play(options, &setup, &mut stage, out) => ended,
    };
    stage.strike().await;
    cluster.stop().await;
    ended
}

/// Starts everything, then shows it. Never ends by itself without a tour, unless something breaks.
async fn play(
    options: Options,
    setup: &Setup,
    stage: &mut Stage<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Outcome> {
    let set = stage.build(setup).await?;
    if options.tour {
        return tour::walk(&set, setup.patience, options.json, out)
            .await
            .map(Outcome::Toured);
    }
    let welcome = people::welcome(&set, setup.patience).await?;
    guide::show(&set, &welcome, options.json, out)?;
    stage.broken().await
}

//! The command line: the tree of commands, and how each one's end becomes an exit code.
//!
//! Data go to stdout, logs and errors to stderr. Whatever a command shows or does, a view or a function of the schema
//! `roster` shows or does too; the commands only call them.

mod audit;
mod bar;
mod doctor;
mod drift;
mod failure;
mod import;
mod init;
mod install;
mod look;
mod output;
mod past;
mod press;
mod run;
mod token;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, db::connect::SESSION_SETTINGS, service::Ways, telemetry};

/// Keeps a PostgreSQL users table the source of truth for who may log in through Auth0 and what they may do.
#[derive(Debug, Parser)]
#[command(
    name = "roster",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done or in sync, 1 error, 2 differences exist, 3 removals are held, 4 configuration or usage,\n\
                  5 database or Auth0 unreachable.\n\nStart with `roster demo`: it needs no Auth0 account and leaves nothing behind."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// A TOML file with settings; the environment wins over it, the embedded defaults lose to it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything at once on this machine: a private PostgreSQL, an Auth0 emulator, reactor, server, sample people
    #[command(after_help = "Ctrl-C stops everything the demo started and leaves nothing behind.")]
    Demo {
        /// Walk through create, update and delete by itself, and exit 0 only if each step held
        #[arg(long)]
        tour: bool,
    },
    /// Look at an existing users table and propose how to map it, as SQL with five users as it would show them
    #[command(
        after_help = "It writes nothing without --apply. Next: roster migrate, if you wrote the view yourself; roster run, which observes only."
    )]
    Init(init::Args),
    /// Install or upgrade schema and triggers; safe to repeat
    #[command(
        after_help = "Reads DATABASE_URL. Exit code 4 if the users table needs a view that you write first."
    )]
    Migrate {
        /// Print what would be run instead of running it
        #[arg(long)]
        print_sql: bool,
        /// Also build, CONCURRENTLY, the indexes that an adopted users table lacks
        #[arg(long, conflicts_with = "print_sql")]
        apply: bool,
    },
    /// Mirror changes to Auth0 and answer authorization look-ups, until stopped
    #[command(
        after_help = "A new installation observes only: nothing is written to Auth0 until `roster mode enforce`.\n\
                      SIGTERM and Ctrl-C stop it in order: calls under way end and are recorded, no lease is left."
    )]
    Run {
        /// Run only one of the two
        #[arg(long, value_name = "PART")]
        only: Option<Only>,
    },
    /// Look at everything an installation stands on, and say what to do about what is not as it should be
    #[command(
        after_help = "It changes nothing. Exit code 0: fine, or warnings only; 1: something does not work; 5: the database or Auth0 cannot be reached."
    )]
    Doctor,
    /// How things stand: mode, backlog, held removals, problems
    Status {
        /// Show it again every two seconds until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// What would be done, for everybody or for some
    #[command(
        after_help = "WHO is an e-mail address, a user key or an Auth0 user id. Exit code 0: nothing to do; 2: something; 3: removals are held."
    )]
    Plan {
        /// E-mail address, user key or Auth0 user id
        who: Vec<String>,
    },
    /// Choose how far Roster may go
    Mode {
        /// observe: write nothing to Auth0; additive: neither block nor delete; enforce: everything
        mode: Mode,
    },
    /// Stop all calls to Auth0, between two calls (what was begun goes out within 10 s); capture and authorization go on
    Pause {
        /// Why, for those who wonder later
        #[arg(default_value = "paused from the command line")]
        reason: String,
    },
    /// End a pause
    Resume,
    /// The sync button: look at users again, now
    #[command(
        after_help = "Exit code with --wait: 0 in sync, 2 not yet or failed, 3 removals are held."
    )]
    Sync {
        /// E-mail address, user key or Auth0 user id
        #[arg(required_unless_present_any = ["all", "failed"])]
        who: Vec<String>,
        /// Everybody
        #[arg(long, conflicts_with = "who")]
        all: bool,
        /// Whatever failed, or what failed with this code of roster.problems
        #[arg(long, value_name = "CODE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["who", "all"])]
        failed: Option<Option<String>>,
        /// Wait until it has reached Auth0, at most so many seconds
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
        wait: Option<f64>,
    },
    /// Removals that wait for a person: list, release or discard them
    #[command(
        after_help = "ID is an e-mail address, a user key or an Auth0 user id. Exit code 3 while something is held."
    )]
    Held {
        /// Let these removals go ahead
        #[arg(long, value_name = "ID|all", conflicts_with = "discard")]
        release: Option<String>,
        /// Keep these accounts until their rows change again
        #[arg(long, value_name = "ID|all")]
        discard: Option<String>,
    },
    /// Why a user is as it is: row, permissions, Auth0, last attempts, plan, and the next step; or why a token is refused
    #[command(
        after_help = "With --token: no network, no database. Exit code 0: nothing fails; 1: a check fails; what could not be checked is told."
    )]
    Explain {
        /// E-mail address, user key or Auth0 user id
        #[arg(required_unless_present = "token")]
        who: Vec<String>,
        /// Which check of this access token fails; - reads it from stdin, where no list of processes shows it
        #[arg(long, value_name = "JWT", conflicts_with_all = ["who", "permission"])]
        token: Option<String>,
        /// The issuer's keys, saved from its jwks.json; without them the signature is not checked
        #[arg(long, value_name = "FILE", requires = "token", conflicts_with_all = ["who", "permission"])]
        jwks: Option<PathBuf>,
        /// Say why this permission is granted or denied, and which grant is missing
        #[arg(long, value_name = "PERMISSION")]
        permission: Option<String>,
    },
    /// Who changed whom, with what tool and why, and what Auth0 was told
    #[command(
        after_help = "Without WHO: the newest transactions. Kept for history.keep; times are the database's."
    )]
    History {
        /// E-mail address, user key or Auth0 user id
        who: Option<String>,
        /// What Auth0 was told because of this transaction, user by user
        #[arg(long, value_name = "TXID", conflicts_with = "who")]
        transaction: Option<u64>,
        /// Removals: committed, blocked in Auth0, and when the last token can have expired
        #[arg(long, conflicts_with_all = ["who", "transaction"])]
        removals: bool,
        /// Rows at most, the newest ones
        #[arg(long, value_name = "ROWS", default_value = "50", value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Compare with what Auth0 really has, by an export of the tenant, and say what is to become of what differs
    #[command(
        after_help = "WHICH is all, #id, a kind such as changed, an e-mail address, a user key or an Auth0 user id, of roster.drift.\n\
                      Exit code 0: no differences; 2: there are some. Auth0 is only read: --repair and --revert have users looked at again,\n\
                      and the plan with its guards mends them."
    )]
    Audit(audit::Options),
    /// Users from a CSV file into the users table: all of them, or none
    #[command(
        after_help = "The header names the table's columns; a line means the row with its address. An empty cell changes nothing.\n\
                      An import that was broken off has written nothing: repeat it. Exit code 2: --dry-run found something to write, or bad lines\n\
                      were skipped; 1: bad lines, so nothing was written."
    )]
    Import(import::Args),
    /// The Auth0 emulator alone
    Emulator {
        /// Where to listen
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000")]
        listen: SocketAddr,
        /// A JSON file with options of the tenant, such as its plan; GET /_emulator/options shows all of them
        #[arg(long, value_name = "FILE")]
        options: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    /// The mirror to Auth0
    Reactor,
    /// Authorization look-ups
    Server,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Read and show; write nothing to Auth0
    Observe,
    /// Create and update; neither block nor delete
    Additive,
    /// Everything
    Enforce,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Additive => "additive",
            Self::Enforce => "enforce",
        }
    }
}

/// How a command ended, where it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done, or in sync.
    Done = 0,
    /// What was looked at is wrong.
    Failed = 1,
    /// Differences exist.
    Differences = 2,
    /// Removals are held.
    Held = 3,
    /// Something has to be configured or written first.
    Configuration = 4,
    /// The database or Auth0 cannot be reached.
    Unreachable = 5,
}

/// Whether a command line would be understood; runs nothing.
///
/// # Errors
/// What clap says of it.
pub fn check<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<(), clap::Error> {
    Cli::try_parse_from(words).map(drop)
}

/// Runs the command that the command line names.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are answers, anything else is wrong usage.
            return if error.use_stderr() {
                failure::configuration()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(cli).await {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => failure::report(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Common { config, json } = cli.common;
    // It has a configuration of its own, so that it never meets a real tenant or database.
    if let Command::Demo { tour } = cli.command {
        return run::demo(tour, json).await;
    }
    let config = Config::load(config.as_deref())?;
    telemetry::start(&config.log)?;
    match cli.command {
        Command::Demo { .. } => unreachable!("answered above"),
        Command::Migrate { print_sql, apply } => {
            install::migrate(&config, print_sql, apply, json).await
        }
        Command::Run { only } => run::run(&config, only).await,
        Command::Emulator { listen, options } => {
            run::emulator(listen, options.as_deref(), json).await
        }
        Command::Audit(options) => audit::audit(&config, options, json).await,
        Command::Init(args) => init::init(&config, &args, json).await,
        Command::Doctor => doctor::doctor(&config, json).await,
        Command::Status { watch } => look::status(&config, watch, json).await,
        Command::Plan { who } => look::plan(&config, &who, json).await,
        Command::Held {
            release: None,
            discard: None,
        } => look::held(&config, json).await,
        Command::Held { release, discard } => press::held(&config, release, discard, json).await,
        Command::Explain {
            token: Some(token),
            jwks,
            ..
        } => token::token(&config, &token, jwks.as_deref(), json),
        Command::Explain {
            who, permission, ..
        } => past::explain(&config, &who, permission.as_deref(), json).await,
        Command::History {
            who,
            transaction,
            removals,
            limit,
        } => {
            let which = match (who, transaction, removals) {
                (Some(who), _, _) => past::History::User(who),
                (_, Some(txid), _) => past::History::Transaction(txid),
                (_, _, true) => past::History::Removals,
                _ => past::History::Transactions,
            };
            past::history(&config, which, limit, json).await
        }
        Command::Import(args) => import::import(&config, args, json).await,
        Command::Mode { mode } => press::mode(&config, mode, json).await,
        Command::Pause { reason } => press::pause(&config, &reason).await,
        Command::Resume => press::resume(&config).await,
        Command::Sync {
            who,
            all,
            failed,
            wait,
        } => press::sync(&config, &who, all, failed.as_ref(), wait, json).await,
    }
}

/// A session with the configured database, where Roster is installed.
async fn session(config: &Config) -> anyhow::Result<Client> {
    // Direct, since waiting for what one wrote takes a server of one's own.
    let direct = Ways::of(config)?.listen;
    let client = direct.named("roster cli").session().await?;
    client.batch_execute(SESSION_SETTINGS).await?;
    if !crate::db::migrate::is_installed(&client).await? {
        return Err(crate::service::ServiceError::NotInstalled.into());
    }
    Ok(client)
}

/// Cancelled by Ctrl-C or SIGTERM. Who asks a second time does not want to wait: the process ends at once, as in a crash.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        let mut asked = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        asked().await;
        stopped.cancel();
        asked().await;
        tracing::warn!("asked to stop a second time: not waiting for what is under way");
        std::process::exit(1);
    });
    Ok(stop)
}

//! A private PostgreSQL, made in a temporary directory and gone without a trace afterwards.
//!
//! Promises:
//! * It harms nothing: own directory, own free port on 127.0.0.1, a random password there; without a password only
//!   through the socket in its directory, which nobody else may enter. As root it runs under an unprivileged user.
//! * It leaves nothing: [`Cluster::stop`] and `Drop` end the server and remove the directory, and when our process dies
//!   in any other way, SIGKILL included, a small shell does the same (`cluster/watchdog.rs`).
//! * No wait is without a limit, and a server that does not come up shows its own log.
//!
//! It is not meant for data that somebody wants to keep.

mod account;
mod binaries;
mod outage;
mod standby;
mod watchdog;

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

pub use binaries::Binaries;
pub use outage::Stop;

use account::Account;
use watchdog::Watchdog;

/// A fast machine needs less than a second for each; a busy one in CI has needed ten.
const INITDB_LIMIT: Duration = Duration::from_secs(120);
const START_LIMIT: Duration = Duration::from_secs(60);
/// Sessions are cut at once by a fast stop; what takes longer is the last checkpoint.
const FAST_STOP_LIMIT: Duration = Duration::from_secs(10);
const IMMEDIATE_STOP_LIMIT: Duration = Duration::from_secs(5);
/// Somebody may take the free port between our look and the server's start.
const PORT_TRIES: usize = 5;
const POLL: Duration = Duration::from_millis(10);
/// The superuser's name, whoever the operating system's user is.
const SUPERUSER: &str = "postgres";

/// What a private server is for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether committed rows survive a crash of the machine. Tests do without and are faster.
    pub durable: bool,
    /// Further lines for `postgresql.conf`, such as `("max_prepared_transactions", "10")`.
    pub settings: Vec<(String, String)>,
    /// Further variables in the server's environment, such as `TZ`.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// Adds or overrides one server setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running private server. Dropping it ends the server and removes its data.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order; `Drop` has stopped the server before.
    /// None while it is halted.
    server: Option<Child>,
    port: u16,
    password: String,
    binaries: Binaries,
    account: Account,
    environment: Vec<(String, String)>,
    dir: TempDir,
    _watchdog: Watchdog,
}

impl Cluster {
    /// Makes and starts a server; takes one to two seconds.
    ///
    /// # Errors
    /// When no PostgreSQL is installed (the text says which command installs it), or with the server's log.
    pub async fn start(options: Options) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    /// As [`Cluster::start`], for callers without a runtime.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_blocking(options: &Options) -> Result<Self> {
        let binaries = Binaries::find()?;
        let account = Account::choose()?;
        let dir = directory(&account)?;
        // From here on even our sudden death leaves nothing behind.
        let watchdog = Watchdog::start(dir.path())?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        initdb(&binaries, &account, dir.path(), &password)?;
        configure(dir.path(), options)?;
        let mut cluster = Self {
            server: None,
            port: 0,
            password,
            binaries,
            account,
            environment: options.environment.clone(),
            dir,
            _watchdog: watchdog,
        };
        cluster.launch_somewhere()?;
        Ok(cluster)
    }

    /// On the first free port that nobody takes before the server does.
    fn launch_somewhere(&mut self) -> Result<()> {
        for _ in 0..PORT_TRIES {
            self.port = free_port()?;
            if let Launched::Running(server) = launch(self.command(), self.dir.path())? {
                self.server = Some(server);
                return Ok(());
            }
        }
        bail!("no free port was found for a private PostgreSQL in {PORT_TRIES} tries")
    }

    /// What starts the server.
    fn command(&self) -> Command {
        let dir = self.dir.path();
        let mut command = self.account.command(&self.binaries.postgres(), dir);
        command
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-p", &self.port.to_string()])
            .envs(self.environment.iter().cloned());
        command
    }

    /// The connection string for a database over TCP, with the password: for people, programs and proxies.
    pub fn url(&self, dbname: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{dbname}")
    }

    /// The connection string through the private socket: no password to negotiate, so it connects faster.
    pub fn socket_url(&self, dbname: &str) -> String {
        let socket = self.dir.path().to_string_lossy().replace('/', "%2F");
        format!("postgres://{SUPERUSER}@{socket}:{}/{dbname}", self.port)
    }

    /// The directory that holds everything of the server and that ends with it. Only its user and root may enter.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.binaries.version
    }

    /// The server's process id, for tests that stop and continue it; none while it is halted.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Ends the server in an orderly way (within 15 s, the last of it by force) and removes its data.
    pub async fn stop(self) {
        // `Drop` does it, off the runtime's threads.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    fn stop_server(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let steps = [
            (Signal::SIGINT, FAST_STOP_LIMIT),
            (Signal::SIGQUIT, IMMEDIATE_STOP_LIMIT),
            (Signal::SIGKILL, IMMEDIATE_STOP_LIMIT),
        ];
        for (signal, limit) in steps {
            // Our own child that was not waited for yet: the number cannot belong to anybody else.
            if matches!(server.try_wait(), Ok(None)) {
                let _ = kill(pid_of(&server), signal);
                let _ = wait_for(&mut server, limit);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_server();
    }
}

/// A directory nobody else may enter, with a path short enough for a Unix socket in it (107 bytes, 103 on macOS).
fn directory(account: &Account) -> Result<TempDir> {
    let usual = std::env::temp_dir();
    // Root's own TMPDIR may be closed to the user that the server runs as.
    let base = if account.is_other() || usual.as_os_str().len() > 60 {
        PathBuf::from("/tmp")
    } else {
        usual
    };
    let dir = tempfile::Builder::new()
        .prefix("roster-pg-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(&base)
        .with_context(|| format!("could not make a directory in {}", base.display()))?;
    account.own(dir.path())?;
    Ok(dir)
}

fn initdb(binaries: &Binaries, account: &Account, dir: &Path, password: &str) -> Result<()> {
    let password_file = dir.join("password");
    fs::write(&password_file, password)?;
    account.own(&password_file)?;
    let log = dir.join("initdb.log");
    let mut child = account
        .command(&binaries.initdb(), dir)
        .arg("--pgdata")
        .arg(dir.join("data"))
        .arg("--pwfile")
        .arg(&password_file)
        .args([
            "--username",
            SUPERUSER,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ])
        .args(["--encoding=UTF8", "--no-locale", "--no-sync"])
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()
        .with_context(|| format!("could not run {}", binaries.initdb().display()))?;
    let ended = wait_for(&mut child, INITDB_LIMIT)?;
    fs::remove_file(&password_file)?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("initdb ended with {status}:\n{}", tail(&log)),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            bail!(
                "initdb was not done after {INITDB_LIMIT:?}:\n{}",
                tail(&log)
            )
        }
    }
}

/// What a new server is set to.
fn configure(dir: &Path, options: &Options) -> Result<()> {
    let socket = dir.to_string_lossy();
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", &socket),
        ("unix_socket_permissions", "0700"),
        ("logging_collector", "off"),
    ];
    if !options.durable {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            settings.push((name, "off"));
        }
    }
    let further = options.settings.iter();
    settings.extend(further.map(|(name, value)| (name.as_str(), value.as_str())));
    append_settings(&dir.join("data"), settings)
}

/// Appends to `postgresql.conf`, where the last of equal settings counts.
fn append_settings<'a>(
    data: &Path,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    let text: String = settings
        .into_iter()
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
        .collect();
    let path = data.join("postgresql.conf");
    let mut conf = fs::read_to_string(&path)?;
    conf.push_str(&text);
    // Written in place: the file stays the server's own.
    fs::write(&path, conf).context("could not write postgresql.conf")
}

fn free_port() -> Result<u16> {
    let probe =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(probe.local_addr()?.port())
}

enum Launched {
    Running(Child),
    PortTaken,
}

fn launch(mut command: Command, dir: &Path) -> Result<Launched> {
    let log = dir.join("server.log");
    let mut server = command
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;

    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = server.try_wait()? {
            let said = tail(&log);
            if said.contains("could not create any TCP/IP sockets")
                || said.contains("already in use")
            {
                return Ok(Launched::PortTaken);
            }
            bail!("the private PostgreSQL ended with {status}:\n{said}");
        }
        if is_ready(dir) {
            return Ok(Launched::Running(server));
        }
        std::thread::sleep(POLL);
    }
    let _ = kill(pid_of(&server), Signal::SIGQUIT);
    if wait_for(&mut server, IMMEDIATE_STOP_LIMIT)?.is_none() {
        let _ = server.kill();
        let _ = server.wait();
    }
    bail!(
        "the private PostgreSQL was not ready after {START_LIMIT:?}:\n{}",
        tail(&log)
    )
}

/// The eighth line of the pid file is the server's state; `pg_ctl --wait` reads it too.
fn is_ready(dir: &Path) -> bool {
    fs::read_to_string(dir.join("data/postmaster.pid")).is_ok_and(|text| {
        text.lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready")
    })
}

/// Waits for a child without blocking for ever; `None` when the limit was reached.
fn wait_for(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The end of a log file, for an error message.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

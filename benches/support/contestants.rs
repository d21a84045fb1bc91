//! The servers that are measured side by side, each in one process, on one database and one issuer's keys.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use roster::authz::Settings;

use super::{
    load::Connection,
    packages::{self, Runtime},
    processes::Process,
};

/// A cold start of any of them, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions to PostgreSQL of each, which is what Roster opens unless told otherwise.
const POOL_SIZE: &str = "10";

/// What every server is told.
pub(crate) struct Surroundings {
    pub(crate) database_url: String,
    pub(crate) issuer: Settings,
}

/// A server that listens.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Contestant {
    /// Starts it with its port and waits until it answers anything.
    async fn start(
        name: &'static str,
        command: impl FnOnce(SocketAddr) -> Command,
    ) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Process::spawn(command(free).stdout(Stdio::null()))?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Ok(mut connection) = Connection::open(free).await
                && connection.get("/v1/me", None).await.is_ok()
            {
                return Ok(Self {
                    name,
                    address: free,
                    process,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{name} does not answer")
    }
}

impl Surroundings {
    /// What is usual for Node.js and Python: Express with Auth0's middleware, Fastify with jose, FastAPI with PyJWT.
    pub(crate) async fn peers(&self) -> Result<Vec<Contestant>> {
        let runtime = Runtime::locked(&folder("runtime.txt")).await?;
        let mut peers = Vec::new();
        for (name, place) in [("Express", "express"), ("Fastify", "fastify")] {
            let node = runtime.install(&folder(place)).await?;
            let start = |address| {
                let mut command = Command::new(&node.program);
                command
                    .arg(folder(place).join("server.js"))
                    .env("NODE_ENV", "production")
                    .env("NODE_PATH", &node.modules);
                self.tell(command, address)
            };
            peers.push(Contestant::start(name, start).await?);
        }
        let python = packages::python(&folder("fastapi/requirements.txt")).await?;
        let start = |address| {
            let mut command = Command::new(&python);
            command.arg("-B").arg(folder("fastapi/server.py"));
            self.tell(command, address)
        };
        peers.push(Contestant::start("FastAPI", start).await?);
        Ok(peers)
    }

    /// Roster's authorization server alone, asking PostgreSQL for each answer.
    pub(crate) async fn reading_through(&self, name: &'static str) -> Result<Contestant> {
        self.roster(name, "read_through").await
    }

    /// Roster's authorization server alone, once so many users are in its memory.
    pub(crate) async fn in_memory(&self, name: &'static str, users: u32) -> Result<Contestant> {
        let server = self.roster(name, "memory").await?;
        let mut connection = Connection::open(server.address).await?;
        let line = format!("roster_authz_users_in_memory {users}\n");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let (_, metrics) = connection.get("/metrics", None).await?;
            if String::from_utf8_lossy(&metrics).contains(&line) {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{name} does not hold {users} users")
    }

    async fn roster(&self, name: &'static str, directory: &str) -> Result<Contestant> {
        let start = |address: SocketAddr| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
            command
                .args(["run", "--only", "server"])
                .env("DATABASE_URL", &self.database_url)
                .env("ROSTER__DATABASE__POOL_SIZE", POOL_SIZE)
                .env("ROSTER__AUTHZ__ISSUER", &self.issuer.issuer)
                .env("ROSTER__AUTHZ__JWKS_URL", self.issuer.jwks_url.as_str())
                .env("ROSTER__AUTHZ__AUDIENCE", self.issuer.audiences.join(","))
                .env("ROSTER__HTTP__LISTEN", address.to_string())
                .env("ROSTER__AUTHZ__DIRECTORY", directory)
                .env("RUST_LOG", "error");
            command
        };
        Contestant::start(name, start).await
    }

    /// This bench itself, started again as the server that [`constant`] is.
    pub(crate) async fn constant(&self, name: &'static str, answer: &str) -> Result<Contestant> {
        let program = std::env::current_exe().context("this program")?;
        let start = |address: SocketAddr| {
            let mut command = Command::new(program);
            command.args(["constant", &address.to_string(), answer]);
            command
        };
        Contestant::start(name, start).await
    }

    fn tell(&self, mut command: Command, address: SocketAddr) -> Command {
        command
            .env("ISSUER", &self.issuer.issuer)
            .env("JWKS_URL", self.issuer.jwks_url.as_str())
            .env("AUDIENCE", self.issuer.audiences.join(","))
            .env("DATABASE_URL", &self.database_url)
            .env("POOL_SIZE", POOL_SIZE)
            .env("FIND", folder("find.sql"))
            .env("PORT", address.port().to_string());
        command
    }
}

fn folder(path: &str) -> PathBuf {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    peers.join(path)
}

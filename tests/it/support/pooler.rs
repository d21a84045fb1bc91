//! A real PgBouncer before a database, in transaction mode: whoever is not in a transaction has no server of their own.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    process::{Child, Command, Stdio},
};

use nix::unistd::{User, geteuid};
use roster::db::connect::Endpoint;
use tempfile::TempDir;

use super::{Database, world::eventually};

/// A pooler that ends with the value.
pub(crate) struct Pooler {
    process: Child,
    url: String,
    _dir: TempDir,
}

impl Pooler {
    /// As [`Pooler::with`], as an operator would have it.
    pub(crate) async fn before(database: &Database) -> Self {
        Self::with(database, "").await
    }

    /// With further lines in its `[pgbouncer]` section. It is installed by `deploy/install-tools.sh --tests`.
    pub(crate) async fn with(database: &Database, further: &str) -> Self {
        let target: url::Url = database.tcp_url().parse().expect("an URL");
        let dir = tempfile::tempdir().expect("a directory");
        let port = {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            probe.local_addr().expect("an address").port()
        };
        let file = dir.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host={} port={} user={} password={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 10\n{further}\n",
            target.host_str().expect("a host"),
            target.port().unwrap_or(5432),
            target.username(),
            target.password().unwrap_or_default(),
        );
        fs::write(&file, settings).expect("its settings");

        let mut command = Command::new("pgbouncer");
        // It refuses to run as root.
        if geteuid().is_root() {
            let nobody = User::from_name("nobody")
                .ok()
                .flatten()
                .expect("a user without rights");
            let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
            for path in [dir.path(), &file] {
                chown(path, Some(uid), Some(gid)).expect("handed over");
            }
            command.uid(uid).gid(gid);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let process = command
            .arg(&file)
            .env("PATH", format!("{path}:/usr/sbin"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer, which deploy/install-tools.sh --tests installs");
        let pooler = Self {
            process,
            url: format!("postgres://anybody@127.0.0.1:{port}/{}", database.name()),
            _dir: dir,
        };
        eventually("the pooler answers", async || {
            pooler.endpoint().session().await.is_ok()
        })
        .await;
        pooler
    }

    /// The database by way of the pooler.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The database by way of the pooler.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(self.url()).expect("a connection string")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

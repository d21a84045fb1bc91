//! A proxy as a process of its own, with the configuration that Roster ships.

use std::{
    fmt,
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::world::PATIENCE;

pub(super) const KINDS: [Kind; 3] = [Kind::Nginx, Kind::Caddy, Kind::Haproxy];

/// Another program may take a port between our looking for it and the proxy's listening.
const TRIES: usize = 5;

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Nginx,
    Caddy,
    Haproxy,
}

/// A proxy that ends with the value.
pub(super) struct Proxy {
    kind: Kind,
    pub(super) port: u16,
    process: Child,
    dir: TempDir,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl Proxy {
    /// Asks `roster` and stands before `application`, both host and port.
    pub(super) async fn start(kind: Kind, roster: &str, application: &str) -> Self {
        for _ in 0..TRIES {
            let mut proxy = Self::spawn(kind, roster, application);
            if proxy.listens().await {
                return proxy;
            }
            eprintln!("{proxy} did not start: {}", proxy.log());
        }
        panic!("{kind:?} does not start");
    }

    fn spawn(kind: Kind, roster: &str, application: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            probe.local_addr().expect("an address").port()
        };
        let placed = |name: &str| {
            let mut text = shipped(name);
            let own = format!(":{port}");
            for (from, to) in [
                ("127.0.0.1:8080", roster),
                ("127.0.0.1:3000", application),
                (":8000", &own),
            ] {
                assert!(text.contains(from), "{name} names {from}");
                text = text.replace(from, to);
            }
            text
        };
        let mut command = match kind {
            Kind::Nginx => nginx(dir.path(), &placed("nginx.conf")),
            Kind::Caddy => caddy(dir.path(), &placed("Caddyfile")),
            Kind::Haproxy => haproxy(dir.path(), &placed("haproxy.cfg")),
        };
        let log = File::create(dir.path().join("log")).expect("a log");
        let path = std::env::var("PATH").unwrap_or_default();
        let process = command
            // Where Debian keeps them, beyond an ordinary user's path.
            .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{kind:?}, which deploy/install-tools.sh --tests installs: {error}")
            });
        Self {
            kind,
            port,
            process,
            dir,
        }
    }

    /// Whether it listens, once that is known.
    async fn listens(&mut self) -> bool {
        let ends = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < ends {
            if self.process.try_wait().expect("a child").is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        false
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A configuration as the repository has it.
pub(super) fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxies");
    fs::read_to_string(folder.join(name)).expect(name)
}

/// One process, so that its end is the end. What is shipped belongs into the http context of the distribution's own file.
fn nginx(dir: &Path, shipped: &str) -> Command {
    let around = "daemon off; master_process off; pid pid; error_log stderr;\nevents {}\n\
        http {\n    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n    \
        uwsgi_temp_path uwsgi; scgi_temp_path scgi; include roster.conf;\n}\n";
    fs::write(dir.join("roster.conf"), shipped).expect("a configuration");
    fs::write(dir.join("nginx.conf"), around).expect("a configuration");
    let mut command = Command::new("nginx");
    // The trailing slash is what makes it a prefix.
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
    command.arg(format!("{}/", dir.display()));
    command
}

/// Without the administration port, and with nothing kept at home.
fn caddy(dir: &Path, shipped: &str) -> Command {
    let around = "{\n\tadmin off\n\tauto_https off\n}\nimport shipped\n";
    fs::write(dir.join("shipped"), shipped).expect("a configuration");
    fs::write(dir.join("Caddyfile"), around).expect("a configuration");
    let mut command = Command::new("caddy");
    command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, dir);
    }
    command
}

fn haproxy(dir: &Path, shipped_text: &str) -> Command {
    let script = "/etc/haproxy/roster.lua";
    assert!(shipped_text.contains(script));
    fs::write(dir.join("roster.lua"), shipped("roster.lua")).expect("a script");
    let placed = shipped_text.replace(script, "roster.lua");
    fs::write(dir.join("haproxy.cfg"), placed).expect("a configuration");
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", "haproxy.cfg"]);
    command
}

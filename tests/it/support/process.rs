//! The binary as a process of its own, on a story's database and tenant.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;

use super::{Database, world::World};

/// How long a story waits for an end. Only a failing one waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with these words on its command line.
pub(crate) fn roster(database: &Database, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command
        .args(words.split_whitespace())
        .env_clear()
        .env("DATABASE_URL", database.url())
        // Nobody's .env is read.
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs a program to its end: exit code (-1: a signal ended it), stdout, stderr.
pub(crate) async fn output(mut command: Command) -> (i32, String, String) {
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = run.expect("a thread").expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// The same, knowing the world's tenant.
pub(crate) fn with_tenant(mut command: Command, world: &World) -> Command {
    let options = roster::emulator::Options::default();
    command
        .env("ROSTER__AUTH0__BASE_URL", &world.tenant.url)
        .env("AUTH0_MGMT_CLIENT_ID", options.m2m.client_id)
        .env(
            "AUTH0_MGMT_CLIENT_SECRET",
            options.m2m.client_secret.expose_secret(),
        )
        .env("ROSTER__AUTHZ__AUDIENCE", options.audiences.join(","))
        .env("ROSTER__HTTP__LISTEN", "127.0.0.1:0");
    command
}

/// A `roster` that goes on; it ends with the test, however that ends.
pub(crate) struct Going(Child);

impl Going {
    /// Its log is kept until it is asked for.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        Self::of(command)
    }

    /// It logs where the test does.
    pub(crate) fn of(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn();
        Self(child.expect("the binary runs"))
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("a pipe")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, signal).expect("a signal");
    }

    /// Its exit code, once it has ended by itself; none if a signal ended it.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let ends = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code().filter(|_| status.signal().is_none());
            }
            assert!(tokio::time::Instant::now() < ends, "it did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything it logged; it has ended.
    pub(crate) fn log(&mut self) -> String {
        let mut log = String::new();
        let stderr = self.0.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut log).expect("UTF-8");
        log
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

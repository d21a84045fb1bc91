//! `roster run` as a process of its own, for stories about what only a process has: a clock, an exit code.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};

use roster::emulator;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{
    Database,
    world::{Tenant, eventually},
};

/// A reactor and a server that end with the value.
pub(crate) struct Program {
    process: Child,
    dir: TempDir,
}

impl Program {
    /// `roster run` on this tenant and database, with further variables in its environment.
    pub(crate) fn run(tenant: &Tenant, database: &Database, further: &[(String, String)]) -> Self {
        let options = emulator::Options::default();
        let dir = tempfile::tempdir().expect("a directory");
        let log = File::create(dir.path().join("log")).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_roster"))
            .arg("run")
            // Outside the repository, so that nobody's `.env` takes part.
            .current_dir(dir.path())
            .env("DATABASE_URL", database.url())
            .env("ROSTER__AUTH0__BASE_URL", &tenant.url)
            .env("AUTH0_MGMT_CLIENT_ID", &options.m2m.client_id)
            .env(
                "AUTH0_MGMT_CLIENT_SECRET",
                options.m2m.client_secret.expose_secret(),
            )
            .env("ROSTER__AUTHZ__AUDIENCE", options.audiences.join(","))
            .env("ROSTER__INVITATION__CLIENT_ID", &options.app.client_id)
            .env("ROSTER__HTTP__LISTEN", "127.0.0.1:0")
            .envs(further.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the roster binary");
        Self { process, dir }
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has logged this.
    pub(crate) async fn says(&self, what: &str) {
        eventually(what, async || self.log().contains(what)).await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

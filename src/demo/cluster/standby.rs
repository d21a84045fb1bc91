//! A second server that follows the first by streaming replication, and takes over.
//!
//! For tests and benches of a failover. Replication is asynchronous unless the primary's `synchronous_standby_names` says
//! otherwise; the standby is called `standby` there.

use std::{
    fs::{self, File},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Cluster, POLL, append_settings, directory, tail, wait_for, watchdog::Watchdog};
use crate::db::connect::Endpoint;

/// What the standby calls itself at the primary.
const NAME: &str = "standby";
/// A copy of an empty server takes a second; a busy machine needs longer.
const COPY_LIMIT: Duration = Duration::from_secs(120);
/// For the standby to become a primary.
const PROMOTE_LIMIT: Duration = Duration::from_secs(60);

impl Cluster {
    /// A standby of this server, on a port and in a directory of its own, streaming once this returns.
    ///
    /// # Errors
    /// With the log of what failed; if it does not come to stream within a minute.
    pub async fn standby(&self) -> Result<Self> {
        let (binaries, account) = (self.binaries.clone(), self.account.clone());
        let (password, environment) = (self.password.clone(), self.environment.clone());
        let primary = self.conninfo();
        let standby = tokio::task::spawn_blocking(move || {
            let dir = directory(&account)?;
            let watchdog = Watchdog::start(dir.path())?;
            let mut standby = Self {
                server: None,
                port: 0,
                password,
                binaries,
                account,
                environment,
                dir,
                _watchdog: watchdog,
            };
            standby.copy(&primary)?;
            standby.follow(&primary)?;
            standby.launch_somewhere()?;
            Ok::<_, anyhow::Error>(standby)
        })
        .await??;
        let primary = Endpoint::parse(&self.socket_url("postgres"))?
            .session()
            .await?;
        let streams = format!(
            "select exists (select from pg_stat_replication where application_name = '{NAME}' and state = 'streaming')"
        );
        until(&primary, &streams, COPY_LIMIT)
            .await
            .context("the standby does not stream")?;
        Ok(standby)
    }

    /// Makes a primary of a standby.
    ///
    /// # Errors
    /// If it is none, or has not become one after a minute.
    pub async fn promote(&self) -> Result<()> {
        let session = Endpoint::parse(&self.socket_url("postgres"))?
            .session()
            .await?;
        session
            .execute("select pg_promote(wait => false)", &[])
            .await?;
        until(&session, "select not pg_is_in_recovery()", PROMOTE_LIMIT).await
    }

    /// Has a halted server follow `primary` from its next start on, as a former primary that was not ahead of it.
    ///
    /// # Errors
    /// If its directory cannot be written to.
    pub fn follow(&self, primary: &str) -> Result<()> {
        let data = self.dir.path().join("data");
        let signal = data.join("standby.signal");
        fs::write(&signal, "")?;
        self.account.own(&signal)?;
        let settings = [
            ("primary_conninfo", primary),
            (
                "unix_socket_directories",
                &self.dir.path().to_string_lossy(),
            ),
            ("recovery_target_timeline", "latest"),
        ];
        append_settings(&data, settings)
    }

    /// How a standby reaches this server: libpq's keys and values, through the private socket.
    pub fn conninfo(&self) -> String {
        let (dir, port) = (self.dir.path().display(), self.port);
        format!(
            "host={dir} port={port} user={} application_name={NAME}",
            super::SUPERUSER
        )
    }

    fn copy(&self, primary: &str) -> Result<()> {
        let log = self.dir.path().join("basebackup.log");
        let program = self.binaries.pg_basebackup();
        let mut child = self
            .account
            .command(&program, self.dir.path())
            .arg("--pgdata")
            .arg(self.dir.path().join("data"))
            .args(["--dbname", primary])
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"])
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("could not run {}", program.display()))?;
        match wait_for(&mut child, COPY_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("pg_basebackup ended with {status}:\n{}", tail(&log)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                bail!(
                    "pg_basebackup was not done after {COPY_LIMIT:?}:\n{}",
                    tail(&log)
                )
            }
        }
    }
}

/// Waits until a query says true.
async fn until(session: &tokio_postgres::Client, query: &str, limit: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + limit;
    while !session.query_one(query, &[]).await?.get::<_, bool>(0) {
        if tokio::time::Instant::now() >= deadline {
            bail!("not so after {limit:?}: {query}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

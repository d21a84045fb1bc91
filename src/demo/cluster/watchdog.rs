//! Nothing is left behind, however our process ends.
//!
//! A shell waits for the end of its input, whose other end only we hold. That works for a panic in a test, a static that
//! is never dropped, and SIGKILL. `PR_SET_PDEATHSIG` would not do: it follows the *thread* that started the server, is
//! there on Linux only and cannot remove a directory.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::wait_for;

/// Ends the server and removes its directory when our process is gone.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Watchdog {
    /// `$1` is the directory. The pid file is the server's own: it is there while a server is.
    const SCRIPT: &str = r#"
        trap '' HUP INT TERM QUIT
        read -r _
        if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
            kill -QUIT "$pid" 2>/dev/null
        fi
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            rm -rf "$1" 2>/dev/null
            sleep 0.1
            [ -e "$1" ] || exit 0
        done
    "#;

    pub(super) fn start(dir: &Path) -> Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", Self::SCRIPT, "roster-watchdog"])
            .arg(dir)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start /bin/sh")?;
        let input = shell.stdin.take();
        Ok(Self { shell, input })
    }
}

impl Drop for Watchdog {
    /// The directory is gone by now, so the shell has little to do.
    fn drop(&mut self) {
        drop(self.input.take());
        if !matches!(
            wait_for(&mut self.shell, Duration::from_secs(2)),
            Ok(Some(_))
        ) {
            let _ = self.shell.kill();
            let _ = self.shell.wait();
        }
    }
}

//! Whom the private server runs as: PostgreSQL refuses root.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};

/// The unprivileged user that PostgreSQL insists on, if we are root.
#[derive(Debug, Clone)]
pub(super) struct Account(Option<User>);

impl Account {
    pub(super) fn choose() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self(Some(user)));
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as"
        )
    }

    /// Whether the server runs under another user than we do.
    pub(super) fn is_other(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn own(&self, path: &Path) -> Result<()> {
        if let Some(user) = &self.0 {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("could not give {} to {}", path.display(), user.name))?;
        }
        Ok(())
    }

    /// A command under this account, out of reach of the terminal's Ctrl-C and of the caller's `PG…` variables.
    pub(super) fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(dir)
            .process_group(0)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C");
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

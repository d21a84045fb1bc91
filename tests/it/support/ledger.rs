//! The tests that there are, for ledgers that name tests.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// The tests of this program, and those of the library by their source.
pub(crate) struct Tests(BTreeSet<String>);

impl Tests {
    pub(crate) fn listed() -> Self {
        let listed = Command::new(std::env::current_exe().expect("this program"))
            .args(["--list", "--format", "terse"])
            .output()
            .expect("a list of tests");
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        let tests = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Self(tests.map(str::to_owned).collect())
    }

    /// Whether there is this test: `emulator::users::…` here, `roster::auth0::…` in the library.
    pub(crate) fn has(&self, test: &str) -> bool {
        match test.strip_prefix("roster::") {
            Some(path) => is_in_the_library(path),
            None => self.0.contains(test),
        }
    }
}

/// Whether the library's source has this test; its own test program is not asked, since it may not have been built.
fn is_in_the_library(path: &str) -> bool {
    let (module, test) = path.rsplit_once("::").expect("a path");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = module.replace("::", "/");
    let within = file.strip_suffix("/tests").unwrap_or(&file);
    [format!("{file}.rs"), format!("{within}.rs")]
        .iter()
        .filter_map(|file| fs::read_to_string(source.join(file)).ok())
        .any(|text| {
            let mut lines = text.lines().map(str::trim_start);
            lines.any(|line| {
                let line = line.strip_prefix("async ").unwrap_or(line);
                line.starts_with(&format!("fn {test}("))
            })
        })
}

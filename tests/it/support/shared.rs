//! What is kept beside the repository and not part of it: Auth0's schema, its recorded answers, the contract.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::Once,
};

/// The text of a file that is shared, such as `auth0/contract.md`; none where it is not at hand.
///
/// `ROSTER_SHARED` names the folder, `../shared` is tried without it.
pub(crate) fn shared(path: &str) -> Option<String> {
    let text = fs::read_to_string(folder().join(path)).ok();
    if text.is_none() {
        say_it_is_absent();
    }
    text
}

/// The names of the files that end with `ending` in a shared folder, in order; none where the folder is not at hand.
pub(crate) fn listed(path: &str, ending: &str) -> Option<Vec<String>> {
    let entries = fs::read_dir(folder().join(path)).ok()?;
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .map(|name| name.expect("a name in UTF-8"))
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .collect();
    names.sort();
    Some(names)
}

/// Says once what is therefore not tried, and past the test program's capture, or nobody would know.
fn say_it_is_absent() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let _ = writeln!(
            io::stderr(),
            "skipped: nothing is held to Auth0's schema, recorded answers and contract, which are not at {} (ROSTER_SHARED)",
            folder().display()
        );
    });
}

fn folder() -> PathBuf {
    std::env::var_os("ROSTER_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"))
}

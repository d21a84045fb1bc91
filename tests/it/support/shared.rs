//! What is kept beside the repository and not part of it: Auth0's schema, its recorded answers, the contract.

use std::{fs, path::PathBuf};

/// The text of a file that is shared, such as `auth0/contract.md`; none where it is not at hand.
///
/// `ROSTER_SHARED` names the folder, `../shared` is tried without it.
pub(crate) fn shared(path: &str) -> Option<String> {
    fs::read_to_string(folder().join(path)).ok()
}

fn folder() -> PathBuf {
    std::env::var_os("ROSTER_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"))
}

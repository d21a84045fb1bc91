//! The walls between rooms, as `src/lib.rs` names them: who must not know whom.

use std::{fs, path::Path};

/// Every Rust file below a folder of `src`, or the file itself, with its text.
fn room(name: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    let mut files = Vec::new();
    let mut open = vec![path];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            files.push((path.display().to_string(), text));
        }
    }
    assert!(!files.is_empty(), "there is no room {name}");
    files
}

#[test]
fn no_room_knows_a_room_it_must_not_know() {
    for (name, strangers) in [
        (
            "emulator",
            &["crate::auth0", "auth0::", "crate::db", "crate::reactor"][..],
        ),
        (
            "auth0",
            &["crate::db", "tokio_postgres", "deadpool", "crate::emulator"][..],
        ),
        (
            "db",
            &[
                "crate::auth0",
                "crate::authz",
                "crate::console",
                "reqwest",
                "warp::",
                "hyper::",
            ][..],
        ),
        (
            "authz",
            &["crate::auth0", "crate::reactor", "tokio_postgres"][..],
        ),
        (
            "reactor",
            &[
                "tokio_postgres",
                "reqwest",
                "crate::authz",
                "crate::emulator",
            ][..],
        ),
        (
            "console",
            &[
                "tokio_postgres",
                "deadpool",
                "crate::auth0",
                "crate::reactor",
                "crate::emulator",
            ][..],
        ),
        (
            "reactor/outcome.rs",
            &["async ", "Instant", "Timestamp"][..],
        ),
        ("user.rs", &["crate::"][..]),
    ] {
        for (file, text) in room(name) {
            for stranger in strangers {
                let met = text
                    .lines()
                    .find(|line| line.contains(stranger) && !line.trim_start().starts_with("//"));
                assert_eq!(met, None, "{file} knows {stranger}");
            }
        }
    }
}

#[test]
fn sql_stands_in_its_rooms_alone() {
    for name in [
        "reactor",
        "auth0",
        "authz",
        "config.rs",
        "cli",
        "console",
        "demo",
        "service.rs",
        "http.rs",
    ] {
        for (file, text) in room(name) {
            for words in [
                "select * from",
                "insert into",
                "update roster.",
                "delete from",
                "from roster.",
            ] {
                let met = text
                    .lines()
                    .find(|line| line.contains(words) && !line.trim_start().starts_with("//"));
                assert_eq!(met, None, "{file} speaks SQL");
            }
        }
    }
}

//! The stories of the authorization server once more, with every look-up asked of the database.

use std::process::Command;

use crate::support::authz::{DIRECTORY, READ_THROUGH};

#[test]
fn every_story_holds_where_each_look_up_asks_the_database() {
    let stories = Command::new(std::env::current_exe().expect("this program"))
        .args(["--test-threads=2", "--color=never", "authz::"])
        // These are about memory, or this one.
        .args(["--skip", "authz::memory::", "--skip", "authz::faults::"])
        .args(["--skip", "authz::differently::", "--skip", "authz::modes::"])
        // And these take as long as they take, wherever the answers are from.
        .args(["--skip", "authz::described::"])
        .env(DIRECTORY, READ_THROUGH)
        .output()
        .expect("the stories run");
    let told = String::from_utf8_lossy(&stories.stdout);
    assert!(stories.status.success(), "{told}");
    let held = told.lines().filter(|line| line.ends_with("... ok"));
    assert!(held.count() > 15, "{told}");
}

//! The reactor's stories once more, on a tenant that gives the other answer wherever Auth0 documents none.

use std::process::Command;

use crate::support::world::{ANSWERS, OTHER};

/// The modules whose stories have a tenant.
const STORIES: &[&str] = &[
    "adoption::",
    "audit::",
    "between::",
    "blocks::",
    "control::",
    "faults::",
    "first_load::",
    "guard::",
    "invitations::",
    "mirror::",
    "persons::",
    "rights::",
    "wake::",
];

#[test]
fn every_story_of_the_reactor_holds_under_the_other_answers_too() {
    let stories = Command::new(std::env::current_exe().expect("this program"))
        .args(["--test-threads=2", "--color=never"])
        .args(STORIES)
        // Modules of others have the same names within theirs.
        .args(["--skip", "emulator::"])
        .env(ANSWERS, OTHER)
        .output()
        .expect("the stories run");
    let told = String::from_utf8_lossy(&stories.stdout);
    assert!(stories.status.success(), "{told}");
    for module in STORIES {
        let held = told
            .lines()
            .filter(|line| line.starts_with(&format!("test {module}")) && line.ends_with("ok"))
            .count();
        assert!(held > 0, "no story of {module} was told: {told}");
    }
}

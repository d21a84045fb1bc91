//! The surface in SQL, by a tool that is not psql: each statement committed by itself, prepared, on a session that stays open.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use crate::support::{packages, world::World};

#[tokio::test]
async fn a_tool_that_commits_each_statement_has_the_whole_surface() {
    let world = World::new().await;
    let running = world.start(|_| {});
    let python = packages::python(&packages::client("sql/requirements.txt")).await;
    let mut tool = Command::new(python.expect("Python and its packages"));
    tool.arg("-Bsu")
        .arg(packages::client("sql/autocommit.py"))
        .env("DATABASE_URL", world.database.url())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), tool.output())
        .await
        .expect("a tool that ends")
        .expect("a tool that runs");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output.status.success() && told.contains("\nRan 6 tests in "),
        "{told}"
    );
    running.stop().await;
    let ada = world.tenant.account("ada@example.com").await;
    assert_eq!(ada["name"], "Ada L.");
    // Blocked and unblocked within one pause.
    assert_ne!(ada["blocked"], true);
    assert_eq!(world.tenant.list("users").await.len(), 11);
}

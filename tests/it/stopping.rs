//! The real process under a supervisor: when it says that it is ready and alive, and how it ends.

use std::{path::Path, process::Command};

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixDatagram;

use crate::support::{
    process::{Going, roster, with_tenant},
    proxy::Proxy,
    world::{World, eventually},
};

const ADA: &str = "ada@example.test";
const CREATE: &str = "POST /api/v2/users";
const IN_FLIGHT: &str = "select bool_or(call_action = 'create') from roster.accounts";

const LISTENS: &str = "select exists (select from pg_stat_activity where application_name = 'roster listener' and datname = current_database())";

/// What a supervisor hears.
struct Supervisor {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        Self { socket, dir }
    }

    /// Supervises what the command starts, with a watchdog of 600 ms.
    fn supervise(&self, command: &mut Command) {
        command
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"))
            .env("WATCHDOG_USEC", "600000");
    }

    /// The next word; empty if there is none now.
    fn try_hear(&self) -> String {
        let mut word = [0; 256];
        let length = self.socket.try_recv(&mut word).unwrap_or_default();
        String::from_utf8_lossy(&word[..length]).into_owned()
    }

    async fn hears(&self, expected: &str) {
        eventually(expected, async || self.try_hear().trim() == expected).await;
    }
}

fn reactor(world: &World) -> Command {
    with_tenant(roster(&world.database, "run --only reactor"), world)
}

/// A reactor whose call for Ada has reached the tenant, which takes so long for it.
async fn with_a_call_under_way(world: &World, delay_ms: u32) -> Going {
    let slow = json!({ "delay_ms": delay_ms });
    world.tenant.fault(CREATE, "delay", 1, slow).await;
    world.add(&[ADA]).await;
    let going = Going::start(reactor(world));
    eventually("the call arrives", async || world.tenant.has_struck().await).await;
    going
}

#[tokio::test]
async fn a_supervisor_hears_when_it_is_ready_that_it_is_alive_and_that_it_stops() {
    let (world, supervisor) = (World::new().await, Supervisor::new());
    let mut command = with_tenant(roster(&world.database, "run"), &world);
    supervisor.supervise(&mut command);
    world.run("begin; lock table roster.settings").await;
    let mut going = Going::start(command);
    // It cannot even say who it is.
    let waits = "select exists (select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database()))";
    world.until(waits).await;
    assert_eq!(supervisor.try_hear(), "", "it is not ready yet");
    world.run("commit").await;
    supervisor.hears("READY=1").await;
    assert!(world.says(LISTENS).await);
    for _ in 0..3 {
        supervisor.hears("WATCHDOG=1").await;
    }
    going.signal(Signal::SIGTERM);
    supervisor.hears("STOPPING=1").await;
    assert_eq!(going.end().await, Some(0));
}

#[tokio::test]
async fn a_stop_waits_for_a_slow_call_and_records_it() {
    let world = World::new().await;
    let mut going = with_a_call_under_way(&world, 1500).await;
    going.signal(Signal::SIGTERM);
    assert_eq!(going.end().await, Some(0));
    let recorded = "select state = 'linked' and call_id is null from roster.accounts";
    assert!(world.says(recorded).await);
    assert!(
        world
            .says("select lease_by is null and due from roster.mirror")
            .await
    );
    assert!(world.says("select bool_and(stopped_at is not null) from roster.reactors where last_listen_at is not null").await);
}

#[tokio::test]
async fn a_stop_while_auth0_hangs_ends_and_leaves_the_call_to_be_looked_at() {
    let world = World::new().await;
    let mut going = with_a_call_under_way(&world, 60_000).await;
    going.signal(Signal::SIGTERM);
    assert_eq!(going.end().await, Some(0));
    assert!(world.says(IN_FLIGHT).await);
    assert!(
        world
            .says("select lease_by is null from roster.mirror")
            .await
    );
    world.time_passes().await;
    world.settle().await;
    assert_eq!(world.tenant.calls("GET", "/api/v2/users/").await, 1);
    assert_eq!(world.tenant.list("users").await.len(), 1);
}

#[tokio::test]
async fn a_stop_while_the_database_is_away_ends() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let mut command = reactor(&world);
    command.env("DATABASE_URL", proxy.url());
    let mut going = Going::start(command);
    world
        .until("select bool_or(last_listen_at is not null) from roster.reactors")
        .await;
    proxy.cut();
    going.signal(Signal::SIGTERM);
    assert_eq!(going.end().await, Some(0));
    let log = going.log();
    assert!(log.contains("stopped without the database"), "{log}");
}

#[tokio::test]
async fn who_asks_twice_does_not_wait_and_the_call_stays_marked() {
    let world = World::new().await;
    let mut going = with_a_call_under_way(&world, 60_000).await;
    going.signal(Signal::SIGTERM);
    // Two at once could be seen as one: the first is obeyed once nobody listens any more.
    let obeyed = LISTENS.replace("select exists", "select not exists");
    world.until(&obeyed).await;
    going.signal(Signal::SIGTERM);
    assert_eq!(going.end().await, Some(1));
    assert!(world.says(IN_FLIGHT).await);
}

#[test]
fn systemd_understands_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/roster.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let here = unit.replace("/usr/local/bin/roster", env!("CARGO_BIN_EXE_roster"));
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("roster.service");
    std::fs::write(&file, here).expect("a file");
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    match verify {
        Ok(verified) => {
            let said = String::from_utf8_lossy(&verified.stderr);
            assert!(verified.status.success(), "{said}");
            assert!(!said.contains("roster.service"), "{said}");
        }
        Err(_) => println!("skipped: there is no systemd-analyze here"),
    }
}

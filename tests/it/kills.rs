//! Three reactors in processes of their own, killed at random moments while people are changed: afterwards everything is as the rows say,
//! and nothing was done twice. `ROSTER_TEST_SEED` repeats a run's changes and kills, as far as three processes can be repeated.

use std::{collections::HashMap, time::Duration};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{
    process::{Going, roster, with_tenant},
    world::{World, text},
};

const CHANGES: usize = 300;
const KILLS: usize = 8;
/// Calls to Auth0 that one reactor has under way at a time, at most.
const WORKERS: usize = 4;
/// How long the quiet afterwards may take; only a failing run takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn reactor(world: &World) -> Going {
    let mut command = with_tenant(roster(&world.database, "run --only reactor"), world);
    command
        .env("ROSTER__REACTOR__WORKERS", WORKERS.to_string())
        .env("ROSTER__GUARD__REMOVALS_MIN", "1000")
        .env("ROSTER__INVITATION__PER_MINUTE", "1000")
        .env("RUST_LOG", "off");
    Going::of(command)
}

/// The next change: mostly of somebody, sometimes of nobody.
fn change(random: &mut StdRng, number: usize) -> String {
    let id = random.random_range(1..=number / 3 + 1);
    match random.random_range(0..10) {
        0..=3 => format!(
            "insert into users (email, name) values ('person-{number}@example.test', 'P{number}')"
        ),
        4..=5 => format!("update users set role = 'Role {number}' where id = {id}"),
        6 => format!("update users set email = 'moved-{number}@example.test' where id = {id}"),
        7..=8 => format!("update users set blocked = not blocked where id = {id}"),
        _ => format!("delete from users where id = {id}"),
    }
}

/// Waits until nothing is left to do, as if the time went by for which calls of the dead are waited for.
async fn quiet(world: &World) {
    let ends = tokio::time::Instant::now() + PATIENCE;
    let done = "select not exists (select from roster.changes where folded_at is null) \
        and not exists (select from roster.mirror where due) and not exists (select from roster.plan where state in ('due', 'waiting'))";
    while !world.says(done).await {
        assert!(
            tokio::time::Instant::now() < ends,
            "{:?}",
            world.plan().await
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Whoever lives holds a lease, by which its own calls are protected.
        world
            .run(
                "update roster.accounts set call_deadline = now() where call_id is not null; \
                 update roster.invitations set changed_at = now() - interval '2 min' where state = 'sending' \
                    and user_key not in (select user_key from roster.leases)",
            )
            .await;
    }
}

#[tokio::test]
async fn three_reactors_killed_at_random_do_everything_once() {
    let seed = std::env::var("ROSTER_TEST_SEED").ok();
    let seed: u64 = seed.map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    println!("ROSTER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    // So long that a kill mostly finds calls under way.
    world
        .tenant
        .control("faults", json!({"kind": "delay", "delay_ms": 40}))
        .await;
    let mut reactors: Vec<Going> = (0..3).map(|_| reactor(&world)).collect();
    for number in 1..=CHANGES {
        world.run(&change(&mut random, number)).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        if number % (CHANGES / KILLS) == 0 {
            let victim = random.random_range(0..reactors.len());
            reactors[victim].signal(Signal::SIGKILL);
            assert_eq!(reactors[victim].end().await, None);
            reactors[victim] = reactor(&world);
        }
    }
    quiet(&world).await;
    world.tenant.mend().await;
    everything_is_as_the_rows_say(&world).await;
    nobody_was_mailed_twice(&world).await;
    let workers = "select distinct reactor::text from roster.attempts where action <> 'rekey'";
    let workers = world.texts(workers).await.len();
    assert!(workers > 3, "{workers} reactors worked");
}

async fn everything_is_as_the_rows_say(world: &World) {
    let users = world.tenant.list("users").await;
    let mut accounts: HashMap<String, Value> = HashMap::new();
    for user in users {
        let twice = accounts.insert(text(&user["email"]), user);
        assert!(twice.is_none(), "{twice:?}");
    }
    let rows = "select jsonb_build_object('email', lower(email), 'name', name, 'role', role, 'blocked', blocked)::text from users";
    for row in world.texts(rows).await {
        let row: Value = serde_json::from_str(&row).expect("JSON");
        let account = accounts.remove(row["email"].as_str().expect("an address"));
        let blocked = row["blocked"] == true;
        // Who was blocked from the beginning has no account.
        let Some(account) = account else {
            assert!(blocked, "{row}");
            continue;
        };
        assert_eq!(account["blocked"] == true, blocked, "{row} {account}");
        assert_eq!(account["name"], row["name"]);
        if !blocked {
            assert_eq!(account["app_metadata"]["role"], row["role"], "{account}");
        }
    }
    for (email, account) in accounts {
        assert_eq!(account["blocked"], true, "{email} is of nobody");
    }
}

async fn nobody_was_mailed_twice(world: &World) {
    // An address may change between; the account is the person.
    let ledger = world
        .texts("select auth0_user_id || ' ' || state from roster.invitations")
        .await;
    let mails = world.tenant.mailed().await;
    let sent = ledger.iter().filter(|row| row.ends_with(" sent")).count();
    let unknown = ledger.len() - sent;
    assert!(
        sent <= mails.len() && mails.len() <= sent + unknown,
        "{} mails: {sent} sent, {unknown} unknown",
        mails.len()
    );
    assert!(
        unknown <= KILLS * WORKERS,
        "{unknown} were under way at a kill"
    );
    let mut once = mails.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), mails.len(), "{mails:?}");
}

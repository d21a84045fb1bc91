//! Lanes and pace: what goes first when Auth0 is slower than the changes, what is left to others, and how long it takes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use roster::{
    auth0::Patch,
    db::mirror::{self, Claim},
};
use serde_json::{Value, json};

use crate::support::{
    sql::Sql,
    world::{World, eventually},
};

/// Users 1 to `number`, who are mirrored, on a tenant with this plan.
async fn mirrored(number: usize, plan: &str) -> World {
    let world = World::new().await;
    world
        .run(&format!(
            "insert into users (email, name, auth0_user_id) \
                select format('user-%s@example.test', i), 'User', 'auth0|' || md5(i::text) from generate_series(1, {number}) i; \
             insert into roster.mirror (user_key, email, due, due_since) select user_key, email, false, null from roster.desired_users; \
             insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, email_verified, name, app_metadata, observed_at) \
                select auth0_user_id, user_key, 1, 'made', 'linked', email, false, name, \
                    roster.owned_app_metadata(app_metadata, role, permissions), now() from roster.desired_users; \
             update roster.changes set folded_at = now()"
        ))
        .await;
    let accounts = "select jsonb_build_object('user_id', auth0_user_id, 'email', email, 'name', name, 'app_metadata', app_metadata)::text from roster.accounts";
    let accounts: Vec<Value> = world
        .texts(accounts)
        .await
        .iter()
        .map(|account| serde_json::from_str(account).expect("JSON"))
        .collect();
    world.tenant.control("users", accounts.into()).await;
    world
        .tenant
        .control("options", json!({ "plan": plan }))
        .await;
    assert_eq!(world.plan().await, Vec::<String>::new());
    world
}

async fn claimed(world: &World, limit: usize) -> Vec<Claim> {
    mirror::claim(&world.reactor.pool, &world.reactor.terms, limit, &[])
        .await
        .expect("claims")
}

/// How many claims there are of each lane.
async fn by_lane(world: &World, claims: &[Claim]) -> BTreeMap<String, usize> {
    let lanes = world
        .texts("select user_key || ' ' || lane from roster.mirror")
        .await;
    let lanes: BTreeMap<&str, &str> = lanes.iter().filter_map(|row| row.split_once(' ')).collect();
    let mut number = BTreeMap::new();
    for claim in claims {
        *number
            .entry(lanes[claim.user_key.as_str()].to_owned())
            .or_default() += 1;
    }
    number
}

/// So many users are due in each of these lanes.
async fn waiting(lanes: &[(&str, usize)]) -> World {
    let world = World::new().await;
    for (lane, number) in lanes {
        world
            .run(&format!(
                "insert into roster.mirror (user_key, lane) select '{lane}' || i, '{lane}' from generate_series(1, {number}) i"
            ))
            .await;
    }
    world
}

#[tokio::test]
async fn a_removal_passes_two_thousand_updates_that_wait_for_two_calls_a_second() {
    let world = mirrored(2000, "free").await;
    world.run("update users set role = 'Admin'").await;
    let running = world.start(|_| {});
    eventually("some updates", async || {
        world.tenant.patches().await.len() >= 3
    })
    .await;
    world.run("delete from users where id = 2000").await;
    let before = world.tenant.patches().await.len();
    let blocks = async || {
        let patches = world.tenant.patches().await;
        patches.iter().position(|patch| patch["blocked"] == true)
    };
    eventually("the block", async || blocks().await.is_some()).await;
    let passed = blocks().await.expect("a block").saturating_sub(before);
    // Two a second for three seconds, and the two that may come at once.
    assert!(passed <= 8, "{passed} calls went before it");
    running.stop().await;
}

#[tokio::test]
async fn removals_take_every_place_and_leave_the_rest_to_the_others() {
    let world = waiting(&[
        ("removal", 5),
        ("creation", 50),
        ("update", 50),
        ("bulk", 50),
    ])
    .await;
    let first = by_lane(&world, &claimed(&world, 4).await).await;
    assert_eq!(first, BTreeMap::from([("removal".to_owned(), 4)]));
    let next = by_lane(&world, &claimed(&world, 11).await).await;
    assert_eq!(next["removal"], 1);
    assert_eq!(next.values().sum::<usize>(), 11);
}

#[tokio::test]
async fn no_lane_starves_whoever_else_waits() {
    let world = waiting(&[("creation", 300), ("update", 300), ("bulk", 300)]).await;
    // One place at a time, as a small tenant grants them; that bulk gets none of 210 comes once in 10¹⁴ times.
    let mut claims = Vec::new();
    for _ in 0..210 {
        claims.extend(claimed(&world, 1).await);
    }
    let shares = by_lane(&world, &claims).await;
    assert_eq!(shares.values().sum::<usize>(), 210);
    assert!(
        shares.contains_key("bulk") && shares.contains_key("update"),
        "{shares:?}"
    );
    assert!(shares["creation"] > shares["bulk"], "{shares:?}");
    // Many places at a time are shared in the same way.
    let shares = by_lane(&world, &claimed(&world, 210).await).await;
    assert!(
        shares.contains_key("bulk") && shares.contains_key("update"),
        "{shares:?}"
    );
}

#[tokio::test]
async fn in_a_lane_the_longest_waiting_comes_first_and_a_lane_alone_gets_every_place() {
    let world = waiting(&[("bulk", 40)]).await;
    world
        .run("update roster.mirror set due_since = now() - make_interval(secs => substr(user_key, 5)::int)")
        .await;
    let mut keys: Vec<String> = claimed(&world, 10)
        .await
        .into_iter()
        .map(|claim| claim.user_key)
        .collect();
    keys.sort();
    let mut oldest: Vec<String> = (31..=40).map(|i| format!("bulk{i}")).collect();
    oldest.sort();
    assert_eq!(keys, oldest);
}

#[tokio::test]
async fn others_of_the_tenant_are_not_refused_while_a_share_is_left_to_them() {
    let mut world = mirrored(40, "essentials").await;
    world.reactor = world.another_with(|client| client.budget_share = 0.5).await;
    world.run("update users set role = 'Admin'").await;
    let running = world.start(|_| {});
    eventually("Roster's part of the burst", async || {
        world.tenant.patches().await.len() >= 10
    })
    .await;
    let theirs = Patch {
        name: Some(Some("Theirs".to_owned())),
        ..Patch::default()
    };
    for _ in 0..8 {
        let patch = theirs.clone();
        world
            .tenant
            .somebody_patches("user-1@example.test", patch)
            .await;
    }
    world
        .until("select not bool_or(due) from roster.mirror")
        .await;
    running.stop().await;
    let requests = world.tenant.list("requests").await;
    let refused = requests.iter().filter(|r| r["status"] == 429).count();
    assert_eq!(refused, 0, "of {}", requests.len());
}

#[tokio::test]
async fn a_storm_of_refusals_makes_all_workers_wait_and_passes() {
    let world = mirrored(40, "unlimited").await;
    let route = "PATCH /api/v2/users/{id}";
    // Once many calls are under way at a time, the next eight are refused.
    let slow = json!({"delay_ms": 20});
    world.tenant.fault(route, "delay", 20, slow).await;
    let refusal = json!({"status": 429, "headers": {"retry-after": "1"}});
    world.tenant.fault(route, "status", 8, refusal).await;
    world.run("update users set role = 'Admin'").await;
    let running = world.start(|_| {});
    world
        .until("select bool_and(app_metadata ->> 'role' = 'Admin') from roster.accounts")
        .await;
    running.stop().await;
    let patches = world.tenant.requests("PATCH", "/api/v2/users/").await;
    assert_eq!(patches.len(), 40 + 8, "each once more for each refusal");
    let at: Vec<Timestamp> = patches
        .iter()
        .map(|request| {
            request["at"]
                .as_str()
                .and_then(|at| at.parse().ok())
                .expect("a time")
        })
        .collect();
    let pause = at.windows(2).map(|two| two[1].duration_since(two[0])).max();
    // As told, by everybody; whole milliseconds and the way take a little of it.
    assert!(pause.expect("requests").as_millis() >= 900, "{pause:?}");
}

#[tokio::test]
async fn who_waits_for_the_pace_of_mails_is_left_alone_until_a_place_can_be_free() {
    let mut world = World::new().await;
    world.reactor.terms.invitations_per_minute = 2;
    world.add_many(30).await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await.len(), 2);
    let patient = "select count(*) = 28 and bool_and(m.next_attempt_at >= i.free_at) and max(m.next_attempt_at) > i.free_at + interval '5 minutes' \
        from roster.mirror m, (select min(changed_at) + interval '1 minute' as free_at from roster.invitations) i where m.due group by i.free_at";
    assert!(world.says(patient).await);
    world.reactor.terms.invitations_per_minute = 1000;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await.len(), 30);
}

#[tokio::test]
async fn the_time_left_follows_the_slower_of_the_pace_achieved_and_the_limit() {
    let sql = Sql::observing().await;
    for (pending, done, seconds, per_second, expected) in [
        ("0", "0", "60", "null", "00:00:00"),
        ("600", "120", "60", "null", "00:05:00"),
        ("600", "120", "60", "1", "00:10:00"),
        ("600", "60", "60", "3", "00:10:00"),
        ("600", "0", "60", "2", "00:05:00"),
        ("600", "0", "null", "2", "00:05:00"),
        ("600", "0", "60", "null", "-"),
    ] {
        let left = format!("select roster.time_left({pending}, {done}, {seconds}, {per_second})");
        assert_eq!(sql.row(&left).await, expected, "{left}");
    }
}

#[tokio::test]
async fn status_tells_how_many_wait_in_each_lane() {
    let world = mirrored(210, "unlimited").await;
    world
        .run("delete from users where id = 1; update users set role = 'Admin' where id = 2; update users set role = 'Editor' where id > 2")
        .await;
    world.add(&["new@example.test"]).await;
    world.fold().await;
    let told = "select pending_by_lane::text || ' ' || pending from roster.status";
    assert_eq!(
        world.texts(told).await,
        [r#"{"bulk": 208, "update": 1, "removal": 1, "creation": 1} 211"#]
    );
}

#[tokio::test]
async fn status_tells_the_time_left_and_what_it_is_judged_by() {
    let sql = Sql::enforcing().await;
    sql.run("insert into roster.mirror (user_key) select i::text from generate_series(1, 300) i")
        .await;
    let told = "select eta, eta_from from roster.status";
    assert_eq!(sql.row(told).await, "- -");
    sql.run("insert into roster.reactors (id, host, pid, version, budget) values (gen_random_uuid(), 'here', 1, '0', \
        '[{\"class\": \"write_users\", \"limit\": 20, \"remaining\": 3, \"per_second\": 2.5}]')").await;
    assert_eq!(
        sql.row(told).await,
        "00:02:00 Auth0's limit: 2.50 calls a second are Roster's"
    );
    sql.run(
        "insert into roster.attempts (user_key, action, code, started_at, duration_ms) \
        select i::text, 'update', 'ok', now() - interval '30 s', 1 from generate_series(1, 15) i",
    )
    .await;
    let told = sql.row("select eta between interval '10 min' and interval '12 min', eta_from from roster.status").await;
    assert!(
        told.starts_with("t the pace of the last 3") && told.ends_with(" s: 15 users"),
        "{told}"
    );
    sql.run("select roster.pause('a look')").await;
    assert_eq!(
        sql.row("select eta, eta_from from roster.status").await,
        "- -"
    );
}

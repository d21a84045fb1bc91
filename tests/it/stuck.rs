//! What waits for a person is told by cause, user by user, as long as it waits; and read a page at a time.

use crate::support::{
    sql::{SETTLE, Sql, rows},
    world::World,
};

async fn with_users(number: usize) -> World {
    let world = World::new().await;
    world.add_many(number).await;
    world.settle().await;
    world
}

/// `user action state code` of what is told.
async fn told(world: &World) -> Vec<String> {
    rows(
        &world.sql,
        "select user_key, action, state, code from roster.stuck order by 1, 2, auth0_user_id",
    )
    .await
}

async fn stands(world: &World) -> Vec<String> {
    rows(
        &world.sql,
        "select user_key, sync, last_error, what_to_do from roster.user_sync where what_to_do is not null",
    )
    .await
}

#[tokio::test]
async fn what_the_reactor_may_not_decide_is_told_until_its_cause_is_gone() {
    let world = with_users(4).await;
    world
        .run(
            "drop index users_email_without_case;
            insert into users (email) values ('no address'), ('USER-1@example.test');
            update users set auth0_user_id = 'auth0|other' where id = 2;
            alter table users disable trigger roster_update;
            update users set email = 'other@example.test' where id = 3;
            alter table users enable always trigger roster_update",
        )
        .await;
    world.settle().await;
    assert_eq!(
        told(&world).await,
        [
            "2 link disputed auth0_user_id_disputed",
            "5 create parked email_invalid",
            "6 create disputed email_collides"
        ]
    );
    // Nothing told of it, so it is found when everybody is looked at.
    world.sweep().await;
    assert_eq!(
        told(&world).await[1],
        "3 update disputed address_changed_unseen"
    );
    assert_eq!(
        rows(
            &world.sql,
            "select problem, code, users, examples, last_at is not null from roster.problems order by 1"
        )
        .await,
        [
            "address changed unseen address_changed_unseen 1 {3} t",
            "id changed by hand auth0_user_id_disputed 1 {2} t",
            "row not acceptable email_invalid 1 {5} t",
            "same address email_collides 1 {6} t"
        ]
    );
    let link = "decide with roster.link(who, auth0_user_id)";
    assert_eq!(
        stands(&world).await,
        [
            format!("2 disputed auth0_user_id_disputed {link}"),
            format!("3 disputed address_changed_unseen {link}"),
            "5 parked email_invalid correct the row".to_owned(),
            "6 disputed email_collides give one of the rows with this address another one"
                .to_owned(),
        ]
    );
    assert_eq!(
        rows(
            &world.sql,
            "select parked, disputed, failing from roster.status"
        )
        .await,
        ["1 3 0"]
    );
    world
        .run(
            "update users set auth0_user_id = (select auth0_user_id from roster.accounts where user_key = '2') where id = 2;
            select roster.link('3', (select auth0_user_id from roster.accounts where user_key = '3'));
            update users set email = 'user-5@example.test' where id = 5;
            delete from users where id = 6",
        )
        .await;
    world.settle_in_time().await;
    assert_eq!(told(&world).await, [""; 0]);
    assert_eq!(world.problems().await, [""; 0]);
    let synced = "select string_agg(sync, ' ' order by user_key) from roster.user_sync";
    assert_eq!(
        world.texts(synced).await,
        ["synced synced synced synced synced removed"]
    );
}

#[tokio::test]
async fn what_is_told_wrongly_or_not_at_all_is_mended_when_everybody_is_looked_at() {
    let world = with_users(3).await;
    world.run("truncate users cascade").await;
    world.settle().await;
    let held = ["1 block held -", "2 block held -", "3 block held -"];
    assert_eq!(told(&world).await, held);
    world
        .run(
            "delete from roster.stuck where user_key = '1';
            update roster.stuck set state = 'parked', code = 'email_invalid' where user_key = '2';
            insert into roster.stuck (user_key, action, state) values ('3', 'update', 'disputed')",
        )
        .await;
    world.sweep().await;
    assert_eq!(told(&world).await, held);
    let looks = "select count(*)::text from roster.mirror where due";
    assert_eq!(world.texts("select roster.sweep()::text").await, ["0"]);
    assert_eq!(world.texts(looks).await, ["0"]);
}

#[tokio::test]
async fn a_held_removal_is_told_as_long_as_it_waits_for_a_person() {
    let world = with_users(4).await;
    world
        .run("update users set blocked = true where id = 1; delete from users where id > 1")
        .await;
    // Nobody has looked yet: it is planned, and not told.
    let planned = "select count(*)::text from roster.plan where state = 'held'";
    world.fold().await;
    assert_eq!(
        world.texts(planned).await,
        ["0"],
        "four removals are routine"
    );
    world
        .run("update roster.settings set guard_removals_min = 2")
        .await;
    assert_eq!(world.texts(planned).await, ["4"]);
    assert_eq!(told(&world).await, [""; 0]);
    world.settle().await;
    let decide = "decide with roster.release_held(who) or roster.discard_held(who)";
    assert_eq!(
        stands(&world).await,
        [
            format!("1 held - {decide}"),
            format!("2 removed - {decide}"),
            format!("3 removed - {decide}"),
            format!("4 removed - {decide}")
        ]
    );
    assert_eq!(
        world.texts("select held::text from roster.status").await,
        ["4"]
    );
    let held = "select user_key, action, removed_by, since is not null from roster.held order by 1";
    assert_eq!(
        rows(&world.sql, held).await,
        [
            "1 block - t",
            "2 block delete t",
            "3 block delete t",
            "4 block delete t"
        ]
    );
    world
        .run("select roster.release_held('2'); select roster.discard_held('3'); update users set blocked = false where id = 1")
        .await;
    assert_eq!(
        rows(&world.sql, held).await,
        ["1 block - t", "4 block delete t"],
        "who was judged is told at once, who changed when that is taken over"
    );
    world.fold().await;
    assert_eq!(rows(&world.sql, held).await, ["4 block delete t"]);
    world
        .run("select roster.unlink(auth0_user_id) from roster.accounts where user_key = '4'")
        .await;
    assert_eq!(rows(&world.sql, held).await, [""; 0]);
}

#[tokio::test]
async fn users_are_read_in_pages_by_key_removed_ones_among_them() {
    let world = with_users(40).await;
    world.run("delete from users where id % 7 = 3").await;
    world.settle().await;
    // Not taken over yet: it is removed all the same.
    world.run("delete from users where id = 20").await;
    let whole = world
        .texts("select user_key || ' ' || sync from roster.user_sync order by 1")
        .await;
    assert_eq!(whole.len(), 40);
    assert_eq!(
        whole.iter().filter(|one| one.ends_with(" removed")).count(),
        7
    );
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = world
            .texts(&format!(
                "select user_key || ' ' || sync from roster.user_sync where user_key > '{after}' order by user_key limit 9"
            ))
            .await;
        let Some(last) = page.last() else { break };
        after = last.split(' ').next().unwrap_or_default().to_owned();
        pages.extend(page);
    }
    assert_eq!(pages, whole);
}

#[tokio::test]
async fn who_comes_under_the_key_of_a_held_one_does_not_hide_the_removal() {
    let world = with_users(2).await;
    world
        .run("update roster.settings set guard_protected = '{user-1@example.test}'; delete from users where id = 1")
        .await;
    world.settle().await;
    world
        .run("insert into users (id, email, name) values (1, 'anna@example.test', 'Anna')")
        .await;
    world.settle_in_time().await;
    let written = "select count(*)::text from users where auth0_user_id is not null";
    assert_eq!(
        world.texts(written).await,
        ["2"],
        "the new id is in the row"
    );
    world.fold().await;
    assert_eq!(told(&world).await, ["1 block held -"]);
}

#[tokio::test]
async fn what_a_takeover_ended_is_told_no_more_and_nothing_twice() {
    let world = with_users(2).await;
    world
        .run(
            "update roster.settings set guard_protected = '{user-1@example.test}';
            select roster.pause('why')",
        )
        .await;
    for statement in [
        "delete from users where id = 2",
        "delete from users where id = 1",
        "insert into users (id, email, name, auth0_user_id)
            select 1, a.email, 'Ines', a.auth0_user_id from roster.accounts a where a.user_key = '2'",
        "select roster.resume()",
    ] {
        world.run(statement).await;
    }
    world.settle_in_time().await;
    assert_eq!(told(&world).await, ["1 block held -"]);
    let again = "insert into roster.stuck select * from roster.stuck";
    world.run(again).await;
    world.sweep().await;
    assert_eq!(told(&world).await, ["1 block held -"]);
}

#[tokio::test]
async fn a_pause_hides_nothing_that_waits_for_a_person() {
    let world = with_users(3).await;
    world
        .run("update roster.settings set guard_protected = '{user-1@example.test}'; select roster.pause('why')")
        .await;
    world
        .run("delete from users where id = 1; update users set email = 'nonsense' where id = 2")
        .await;
    world.fold().await;
    let both = ["1 block held -", "2 update parked email_invalid"];
    assert_eq!(told(&world).await, both);
    world
        .run("insert into users (id, email, name) values (1, 'user-1@example.test', 'User')")
        .await;
    world.fold().await;
    assert_eq!(told(&world).await, both[1..]);
    // What nothing told of is found by the sweep.
    world
        .run("alter table users disable trigger roster_delete; delete from users where id = 1; alter table users enable always trigger roster_delete")
        .await;
    world.sweep().await;
    assert_eq!(told(&world).await, both);
}

#[tokio::test]
async fn an_account_that_is_forgotten_takes_its_own_note_and_stays_forgotten() {
    let world = with_users(2).await;
    world
        .run(
            "update roster.settings set guard_protected = '{user-1@example.test}';
            insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, observed_at)
                values ('google-oauth2|1', '1', 1, 'further', 'linked', 'user-1@example.test', now());
            delete from users where id = 1",
        )
        .await;
    world.settle().await;
    assert_eq!(told(&world).await, ["1 block held -", "1 block held -"]);
    world.run("select roster.unlink('google-oauth2|1')").await;
    assert_eq!(told(&world).await, ["1 block held -"]);
    world
        .run("select roster.unlink(auth0_user_id) from roster.accounts where user_key = '2'")
        .await;
    world
        .run("select roster.resync('2'); update users set name = 'Ben' where id = 2")
        .await;
    world.settle_in_time().await;
    let linked = "select count(*)::text from roster.accounts where user_key = '2'";
    assert_eq!(world.texts(linked).await, ["0"]);
    assert_eq!(
        world.problems().await,
        ["disputed unlinked"],
        "until a person links one"
    );
}

#[tokio::test]
async fn of_two_with_one_address_the_other_goes_on_once_it_is_free() {
    let world = with_users(1).await;
    world
        .run(
            "drop index users_email_without_case;
            insert into users (email, name) values ('USER-1@example.test', 'x'), ('two@example.test', 'x'), ('TWO@example.test', 'x')",
        )
        .await;
    world.settle().await;
    assert_eq!(told(&world).await.len(), 3);
    world
        .run("update users set email = 'one@example.test' where id = 1; delete from users where id = 4")
        .await;
    world.settle_in_time().await;
    assert_eq!(told(&world).await, [""; 0]);
    for email in [
        "one@example.test",
        "user-1@example.test",
        "two@example.test",
    ] {
        assert!(world.tenant.user(email).await.is_some(), "{email}");
    }
    // For who is blocked none is made, so that nothing collides.
    for statement in [
        "insert into users (email, blocked) values ('out@example.test', true)",
        "update users set email = 'TWO@example.test' where email = 'out@example.test'",
    ] {
        world.run(statement).await;
        world.settle().await;
    }
    assert_eq!(stands(&world).await, [""; 0]);
    assert_eq!(told(&world).await, [""; 0]);
}

/// Tables that a statement reads from one end to the other.
async fn read_whole(sql: &Sql, query: &str) -> Vec<String> {
    let explain = format!("explain (analyze, costs off, timing off, summary off) {query}");
    let lines = sql.rows(&explain).await;
    assert!(!lines.is_empty(), "{query}");
    let large = ["users", "accounts", "mirror", "changes"];
    let whole = |line: &String| {
        line.contains("Seq Scan on")
            && !line.contains("never executed")
            && large
                .iter()
                .any(|table| line.contains(&format!("Scan on {table}")))
    };
    lines.into_iter().filter(whole).collect()
}

#[tokio::test]
async fn a_page_reads_no_large_table_whole() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) select n || '@example.test', 'x' from generate_series(1, 20000) n")
        .await;
    sql.run(SETTLE).await;
    sql.run(
        "delete from users where id % 500 = 1; select roster.fold(); update roster.mirror set due = false;
        insert into roster.changes (op, relation, of_users, user_keys, folded_at)
            select 'update', 'public.users', true, array[n::text], now() from generate_series(1, 20000) n;
        analyze public.users; analyze roster.accounts; analyze roster.mirror; analyze roster.changes; set jit = off",
    )
    .await;
    for query in [
        "select * from roster.user_sync where user_key > '3' order by user_key limit 50",
        "select * from roster.user_sync where user_key = '77'",
        "select * from roster.user_sync where email = '77@example.test'",
        "select * from roster.problems",
        "select * from roster.held order by since, user_key limit 50",
        "select * from roster.status",
        "select * from roster.changes_of('77')",
    ] {
        assert_eq!(read_whole(&sql, query).await, [""; 0], "{query}");
    }
    assert_ne!(
        read_whole(&sql, "select * from roster.desired_users").await,
        [""; 0]
    );
}

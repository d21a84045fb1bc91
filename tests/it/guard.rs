//! Removal is the dangerous direction: more of it than a routine day's worth waits for a person.

use roster::db::reactors::Settings;

use crate::support::{
    Database,
    sql::{SETTLE, Sql, rows},
    world::World,
};

/// So many users with accounts.
async fn with_users(number: usize, change: impl FnOnce(&mut Settings)) -> World {
    let world = World::with(change).await;
    world.add_many(number).await;
    world.settle().await;
    assert_eq!(world.tenant.list("users").await.len(), number);
    world
}

async fn blocked(world: &World) -> usize {
    let users = world.tenant.list("users").await;
    users.iter().filter(|user| user["blocked"] == true).count()
}

async fn held(world: &World) -> String {
    world
        .texts("select count(*)::text from roster.held")
        .await
        .remove(0)
}

#[tokio::test]
async fn twenty_deletions_pass() {
    let world = with_users(40, |_| {}).await;
    world.run("delete from users where id <= 20").await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 20);
    // One by one they count together within the window.
    world.run("delete from users where id = 21").await;
    world.settle_in_time().await;
    assert_eq!(blocked(&world).await, 20);
    assert_eq!(held(&world).await, "1");
}

#[tokio::test]
async fn thirty_deletions_are_held_until_a_person_releases_them() {
    let world = with_users(40, |_| {}).await;
    world.run("delete from users where id <= 30").await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(blocked(&world).await, 0);
    assert_eq!(held(&world).await, "30");
    // Work for the others goes on meanwhile.
    world
        .run("update users set role = 'Admin' where id = 40")
        .await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("user-40@example.test").await["app_metadata"]["role"],
        "Admin"
    );
    world.run("select roster.release_held('all')").await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 30);
    assert_eq!(held(&world).await, "0");
}

#[tokio::test]
async fn a_person_who_returns_leaves_the_held_by_itself() {
    let world = with_users(40, |_| {}).await;
    world.run("delete from users where id <= 30").await;
    world.settle().await;
    world.add(&["user-1@example.test"]).await;
    world.settle().await;
    assert_eq!(held(&world).await, "29");
    world.run("select roster.release_held('all')").await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 29);
    assert_eq!(world.tenant.list("users").await.len(), 40);
}

#[tokio::test]
async fn discarded_removals_keep_the_accounts_until_the_rows_change_again() {
    let world = with_users(40, |_| {}).await;
    world.run("delete from users where id <= 30").await;
    world.settle().await;
    world.run("select roster.discard_held('all')").await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(blocked(&world).await, 0);
    let kept = "select count(*)::text from roster.plan where state = 'kept'";
    assert_eq!(world.texts(kept).await, ["30"]);
    // The row of one of them comes, and goes again: that is news, and one removal is routine.
    world.add(&["user-1@example.test"]).await;
    world.settle().await;
    world
        .run("delete from users where email = 'user-1@example.test'")
        .await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 1);
    assert_eq!(
        world.tenant.account("user-1@example.test").await["blocked"],
        true
    );
}

#[tokio::test]
async fn blocking_many_by_the_column_or_the_scope_is_held_as_well() {
    let world = with_users(40, |_| {}).await;
    world
        .run("update users set blocked = true where id <= 30")
        .await;
    world.settle_in_time().await;
    assert_eq!(
        (blocked(&world).await, held(&world).await),
        (0, "30".into())
    );
    world
        .run("update users set blocked = false where id <= 30")
        .await;
    world.settle().await;
    assert_eq!(held(&world).await, "0");
}

#[tokio::test]
async fn truncate_and_an_emptied_table_are_held_whatever_their_number() {
    for statement in ["truncate users cascade", "delete from users"] {
        let world = with_users(3, |_| {}).await;
        world.run(statement).await;
        world.settle_in_time().await;
        world.sweep().await;
        assert_eq!(blocked(&world).await, 0, "{statement}");
        assert_eq!(held(&world).await, "3", "{statement}");
        world.run("select roster.release_held('all')").await;
        world.settle().await;
        assert_eq!(blocked(&world).await, 3, "{statement}");
    }
}

#[tokio::test]
async fn a_table_filled_again_after_truncate_blocks_nobody() {
    let world = with_users(3, |_| {}).await;
    world.run("truncate users restart identity cascade").await;
    world.settle().await;
    world.add_many(3).await;
    world.settle_in_time().await;
    assert_eq!(blocked(&world).await, 0);
    assert_eq!(held(&world).await, "0");
    assert_eq!(world.tenant.list("users").await.len(), 3);
    assert_eq!(world.tenant.list("mail").await.len(), 3);
}

#[tokio::test]
async fn a_truncate_holds_before_it_is_folded_too() {
    let world = with_users(5, |_| {}).await;
    world
        .run("truncate users cascade; insert into users (email) values ('new@example.test')")
        .await;
    let states = "select distinct state from roster.plan where action = 'block'";
    assert_eq!(world.texts(states).await, ["held"]);
    world.settle().await;
    assert_eq!(world.texts(states).await, ["held"]);
    assert_eq!(blocked(&world).await, 0);
}

#[tokio::test]
async fn removals_under_way_count_although_the_rows_came_back() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) select format('user-%s@example.test', i) from generate_series(1, 9) i")
        .await;
    sql.run(SETTLE).await;
    sql.run("update roster.settings set guard_removals_min = 2, guard_removals_share = 0")
        .await;
    sql.run("delete from users where id < 3; select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 block due", "2 block due"]);
    sql.run("update roster.accounts set call_id = gen_random_uuid(), call_action = 'block', call_deadline = now() + interval '1 min' where user_key < '3'")
        .await;
    sql.run("insert into users (id, email) select i, format('user-%s@example.test', i) from generate_series(1, 2) i")
        .await;
    sql.run("delete from users where id = 3; select roster.fold()")
        .await;
    assert_eq!(
        sql.plan().await,
        ["1 look waiting", "2 look waiting", "3 block held"]
    );
}

#[tokio::test]
async fn protected_users_are_held_one_by_one() {
    let protect =
        |settings: &mut Settings| settings.guard_protected = vec!["user-1@example.test".into()];
    let world = with_users(5, protect).await;
    world.run("delete from users where id <= 2").await;
    world.settle_in_time().await;
    assert_eq!((blocked(&world).await, held(&world).await), (1, "1".into()));
    world
        .run("select roster.release_held('user-1@example.test')")
        .await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 2);
}

#[tokio::test]
async fn the_last_administrators_are_held() {
    let guard = |settings: &mut Settings| {
        settings.guard_min_admins = 2;
        settings.guard_admin_role = Some("Admin".into());
    };
    let world = with_users(5, guard).await;
    world
        .run("update users set role = 'Admin' where id <= 3")
        .await;
    world.settle().await;
    world.run("delete from users where id = 1").await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 1, "two remain");
    world.run("delete from users where id = 2").await;
    world.settle_in_time().await;
    assert_eq!((blocked(&world).await, held(&world).await), (1, "1".into()));
}

#[tokio::test]
async fn a_protected_user_held_does_not_hold_a_single_firing() {
    let protect =
        |settings: &mut Settings| settings.guard_protected = vec!["user-1@example.test".into()];
    let world = with_users(5, protect).await;
    world.run("delete from users where id = 1").await;
    world.settle().await;
    world.run("delete from users where id = 5").await;
    world.settle().await;
    assert_eq!(
        world.tenant.account("user-5@example.test").await["blocked"],
        true
    );
}

#[tokio::test]
async fn a_copied_database_observes_and_the_original_goes_on() {
    let World {
        database: original,
        tenant,
        sql,
        reactor,
    } = with_users(3, |_| {}).await;
    // Nobody may be connected while a database is copied.
    drop((sql, reactor));
    let copy = Database::copy_of(&original).await;
    let world = World::installed(copy, |settings| settings.tenant = tenant.url.clone()).await;
    world
        .run("delete from users where id = 1; update users set role = 'Admin' where id = 2")
        .await;
    world.add(&["ada@example.test"]).await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.writes().await, 0);
    let mode = "select mode from roster.settings";
    assert_eq!(world.texts(mode).await, ["observe"]);
    assert_eq!(rows(&original.client().await, mode).await, ["enforce"]);
}

#[tokio::test]
async fn a_mirror_of_another_database_or_tenant_observes_until_somebody_chooses() {
    let mode = "select mode || ' ' || (mode_chosen_at is not null)::text from roster.settings";
    let world = World::new().await;
    world.another().await;
    assert_eq!(world.texts(mode).await, ["enforce true"], "a restart");

    world
        .run("update roster.settings set database_identity = 'the one this was dumped from'")
        .await;
    world.another().await;
    assert_eq!(world.texts(mode).await, ["observe false"]);

    world.enforce().await;
    let mut elsewhere = world.another().await;
    assert_eq!(world.texts(mode).await, ["enforce true"]);
    elsewhere.settings.tenant = "https://another.example".to_owned();
    elsewhere.terms.reactor = uuid::Uuid::new_v4();
    elsewhere.register().await.expect("a registered reactor");
    assert_eq!(world.texts(mode).await, ["observe false"]);
    world.add(&["ada@example.test"]).await;
    world.settle().await;
    assert_eq!(world.tenant.writes().await, 0);
}

/// Users whom a table beside blocks, which names none of them.
async fn in_departments(number: usize, change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new().await;
    change(&mut world);
    let create = "create table depts (name text primary key, blocked boolean not null default false); insert into depts values ('Artist');";
    world.run(create).await;
    let view = world
        .texts("select pg_get_viewdef('roster.desired_users')")
        .await
        .remove(0);
    let by_dept = "(u.blocked or exists (select from public.depts x where x.name = u.role::text and x.blocked)) as blocked";
    let mapped = view.replacen("u.blocked", by_dept, 1);
    assert_ne!(mapped, view);
    world
        .run(&format!("create or replace view roster.desired_users as {mapped}; select roster.watch('public.depts')"))
        .await;
    world.settle().await;
    world.add_many(number).await;
    world.settle().await;
    world
}

#[tokio::test]
async fn a_verdict_is_of_one_removal_and_not_of_the_next() {
    let world = in_departments(30, |_| {}).await;
    let block = "update depts set blocked = true";
    let unblock = "update depts set blocked = false";
    world.run(block).await;
    world.settle_in_time().await;
    assert_eq!(
        (blocked(&world).await, held(&world).await),
        (0, "30".into())
    );
    world.run("select roster.release_held('all')").await;
    world.settle_in_time().await;
    assert_eq!(blocked(&world).await, 30);
    world.run(unblock).await;
    world.settle_in_time().await;
    assert_eq!(blocked(&world).await, 0);
    // Done again by mistake.
    world
        .run("update roster.accounts set removed_at = null")
        .await;
    world.run(block).await;
    world.settle_in_time().await;
    assert_eq!(
        (blocked(&world).await, held(&world).await),
        (0, "30".into())
    );
    // Kept, and taken back; then one of them is to be out after all.
    world.run("select roster.discard_held('all')").await;
    world.settle_in_time().await;
    world.run(unblock).await;
    world.settle_in_time().await;
    world
        .run("insert into depts values ('Editor'); update users set role = 'Editor' where id > 1")
        .await;
    world.settle_in_time().await;
    world
        .run("update depts set blocked = true where name = 'Artist'")
        .await;
    world.settle_in_time().await;
    assert_eq!((blocked(&world).await, held(&world).await), (1, "0".into()));
}

#[tokio::test]
async fn a_block_waits_for_no_mail() {
    let world = in_departments(6, |world| world.reactor.terms.invitations_per_minute = 1).await;
    let waiting =
        "select count(*)::text from roster.plan where action = 'invite' and state = 'waiting'";
    assert_eq!(world.texts(waiting).await, ["5"]);
    world.run("update depts set blocked = true").await;
    world.settle().await;
    assert_eq!(blocked(&world).await, 6);
}

#[tokio::test]
async fn another_configuration_of_the_guard_counts_from_the_start_of_the_reactor() {
    let mut world = with_users(2, |settings| {
        settings.guard_protected = vec!["user-1@example.test".to_owned()];
    })
    .await;
    world.run("delete from users where id = 1").await;
    world.settle().await;
    assert_eq!(held(&world).await, "1");
    let told = "select count(*)::text from roster.changes where op = 'settings'";
    world.reactor.terms.reactor = uuid::Uuid::new_v4();
    world.reactor.register().await.expect("a reactor like it");
    assert_eq!(world.texts(told).await, ["0"]);
    world.reactor.settings.guard_protected.clear();
    world.reactor.terms.reactor = uuid::Uuid::new_v4();
    world.reactor.register().await.expect("another reactor");
    assert_eq!(world.texts(told).await, ["1"]);
    let early = world.sql.execute("select roster.release_held('1')", &[]);
    let early = early.await.expect_err("held no more");
    let early = early.as_db_error().expect("what the function says");
    assert_eq!(
        (early.code().code(), early.hint()),
        ("RO005", Some("select roster.resync('1');"))
    );
    world.settle().await;
    assert_eq!((blocked(&world).await, held(&world).await), (1, "0".into()));
}

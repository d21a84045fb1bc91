//! The change triggers are put out of action behind our back: the sweep finds what they missed, and a person is told how to mend it.

use crate::support::world::World;

const ADA: &str = "ada@example.test";

#[tokio::test]
async fn whatever_was_done_to_the_triggers_is_told_with_what_mends_it() {
    for harm in [
        "alter table users disable trigger roster_update",
        "alter table users disable trigger all",
        // Enabled again, but not always: a restore in replica mode would slip past.
        "alter table users disable trigger roster_update; alter table users enable trigger roster_update",
        "drop trigger roster_update on users",
        "drop function roster.capture_update() cascade",
        "select roster.detach()",
    ] {
        let world = World::new().await;
        world.add(&[ADA]).await;
        world.settle().await;
        let capture = "select proname from pg_proc where oid = (select tgfoid from pg_trigger where tgname = 'roster_update' and tgrelid = 'users'::regclass)";
        let capture = world.texts(capture).await.remove(0);
        world.run(&harm.replace("capture_update", &capture)).await;
        assert_eq!(
            world
                .texts("select capture_off::text from roster.status")
                .await,
            match harm {
                "select roster.detach()" =>
                    ["{public.role_permissions,public.user_permissions,public.users}"],
                _ => ["{public.users}"],
            },
            "{harm}"
        );
        let advice = "select advice from roster.problems where code = 'public.users'";
        assert!(
            world.texts(advice).await[0].contains("select roster.attach();"),
            "{harm}"
        );

        // What nobody saw is found by the sweep all the same.
        world.run("set session_replication_role = replica; update users set role = 'Admin'; reset session_replication_role").await;
        world.sweep().await;
        let ada = world.tenant.account(ADA).await;
        assert_eq!(ada["app_metadata"]["role"], "Admin", "{harm}");

        world.run("select roster.attach()").await;
        assert_eq!(world.problems().await, Vec::<String>::new(), "{harm}");
        assert!(
            world
                .says("select capture_off = '{}' from roster.status")
                .await
        );
        world.settle().await;
        world.run("update users set role = 'Editor'").await;
        world.settle().await;
        let ada = world.tenant.account(ADA).await;
        assert_eq!(ada["app_metadata"]["role"], "Editor", "{harm}");
    }
}

#[tokio::test]
async fn replica_mode_slips_past_no_trigger() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    world
        .run("set session_replication_role = replica; update users set role = 'Admin'")
        .await;
    world.settle().await;
    let ada = world.tenant.account(ADA).await;
    assert_eq!(ada["app_metadata"]["role"], "Admin");
}

#[tokio::test]
async fn two_who_take_the_triggers_off_at_a_time_wait_for_each_other() {
    let world = World::new().await;
    let other = world.database.client().await;
    world.run("begin; select roster.detach()").await;
    let detach = tokio::spawn(async move { other.batch_execute("select roster.detach()").await });
    world
        .until("select exists (select from pg_locks where not granted and relation = 'users'::regclass)")
        .await;
    world.run("select roster.attach(); commit").await;
    detach.await.expect("an answer").expect("no error");
    let off = "select cardinality(capture_off)::text from roster.status";
    assert_eq!(world.texts(off).await, ["3"]);
}

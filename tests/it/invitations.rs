//! Invitations: at most one mail for each user and epoch, at a pace, and none because of a bulk load or a lost ledger.

use serde_json::json;

use crate::support::{
    somebody::{chooses_a_password, links, logs_in},
    world::World,
};

const ADA: &str = "ada@example.test";
const WRONG: &str = "aad@example.test";
const INVITE: &str = "POST /dbconnections/change_password";
const CORRECT: &str = "update users set email = 'ada@example.test'";
const STATES: &str = "select epoch || ' ' || state from roster.invitations order by epoch";

/// Ada was invited, at an address that is not hers.
async fn invited_at_a_wrong_address() -> World {
    let world = World::new().await;
    world.add(&[WRONG]).await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, [WRONG]);
    world
}

#[tokio::test]
async fn an_address_corrected_before_the_first_log_in_is_invited_anew_and_the_old_link_is_useless()
{
    let world = invited_at_a_wrong_address().await;
    world.run(CORRECT).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, [WRONG, ADA]);
    assert_eq!(world.texts(STATES).await, ["1 sent", "2 sent"]);
    let (old, new) = (
        links(&world.tenant, WRONG).await.remove(0),
        links(&world.tenant, ADA).await.remove(0),
    );
    assert!(!chooses_a_password(&world.tenant, &old).await);
    assert!(chooses_a_password(&world.tenant, &new).await);
    assert!(logs_in(&world.tenant, ADA).await);
    // Whatever changes now, that was the last mail.
    world.run("update users set role = 'Admin'").await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.mailed().await.len(), 2);
}

#[tokio::test]
async fn whoever_has_logged_in_is_not_invited_because_the_address_changes() {
    let world = invited_at_a_wrong_address().await;
    let link = links(&world.tenant, WRONG).await.remove(0);
    assert!(chooses_a_password(&world.tenant, &link).await);
    assert!(logs_in(&world.tenant, WRONG).await);
    world.run(CORRECT).await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.account(ADA).await["email_verified"], false);
    assert_eq!(world.tenant.mailed().await, [WRONG]);
}

#[tokio::test]
async fn an_address_corrected_while_the_mail_waits_gets_the_only_mail() {
    let mut world = World::new().await;
    world.reactor.terms.invitations_per_minute = 0;
    world.add(&[WRONG]).await;
    world.settle().await;
    world.run(CORRECT).await;
    world.settle().await;
    world.reactor.terms.invitations_per_minute = 30;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, [ADA]);
    assert_eq!(world.texts(STATES).await, ["1 sent"]);
}

#[tokio::test]
async fn an_unknown_invitation_to_a_wrong_address_gives_way_to_one_to_the_right_address() {
    let world = World::new().await;
    world.tenant.fault(INVITE, "cut_after", 1, json!({})).await;
    world.add(&[WRONG]).await;
    world.settle_in_time().await;
    assert_eq!(world.plan().await, ["1 invite parked"]);
    world.run(CORRECT).await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, [WRONG, ADA]);
    assert_eq!(world.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_corrected_address_of_somebody_staged_is_still_staged() {
    let world = World::new().await;
    let bulk = "insert into users (email) select format('u-%s@example.test', i) from generate_series(1, 201) i";
    world.run(bulk).await;
    world.settle().await;
    world
        .run("update users set email = 'ada@example.test' where id = 1")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    world.run("select roster.invite('1')").await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await, [ADA]);
}

#[tokio::test]
async fn a_bulk_load_makes_accounts_and_mails_nobody_until_a_person_says_so() {
    let world = World::new().await;
    // Also where somebody of them is changed before anybody looked.
    world
        .run(
            "insert into users (email) select format('u-%s@example.test', i) from generate_series(1, 201) i; \
             update users set role = 'Admin' where id = 7",
        )
        .await;
    world.settle_in_time().await;
    world.sweep().await;
    assert_eq!(world.tenant.list("users").await.len(), 201);
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    assert_eq!(
        world
            .texts("select invitations_staged::text from roster.status")
            .await,
        ["201"]
    );
    // One by one they are mailed at once, as before.
    world.add(&[ADA]).await;
    world.settle().await;
    assert_eq!(world.tenant.mailed().await, [ADA]);
    world
        .run("select roster.invite(user_key) from roster.invitations where state = 'staged'")
        .await;
    world.settle_in_time().await;
    let mut mailed = world.tenant.mailed().await;
    mailed.sort();
    mailed.dedup();
    assert_eq!(mailed.len(), 202, "each of them");
    assert_eq!(world.tenant.mailed().await.len(), 202, "and once");
}

#[tokio::test]
async fn a_bulk_load_is_one_also_row_by_row_and_in_several_folds() {
    let world = World::new().await;
    world
        .run("do $$ begin for i in 1..201 loop insert into users (email) values (format('u-%s@example.test', i)); end loop; end $$")
        .await;
    world
        .run("select roster.fold(100); select roster.fold(100); select roster.fold(100)")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 201);
    assert_eq!(world.tenant.mailed().await, Vec::<String>::new());
    // Many in their own transactions are people who joined.
    for i in 202..=402 {
        world.add(&[&format!("u-{i}@example.test")]).await;
    }
    world.settle_in_time().await;
    assert_eq!(world.tenant.mailed().await.len(), 201);
}

#[tokio::test]
async fn another_person_whom_a_bulk_load_brings_under_a_used_key_is_staged_too() {
    let world = World::new().await;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world.run("delete from users where id = 1").await;
    world.settle().await;
    world
        .run("insert into users (id, email) select case when i = 0 then 1 else 1000 + i end, format('u-%s@example.test', i) from generate_series(0, 200) i")
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 203);
    assert_eq!(
        world.tenant.mailed().await.len(),
        2,
        "the two of the beginning"
    );
}

#[tokio::test]
async fn mails_go_out_at_their_pace() {
    let mut world = World::new().await;
    world.reactor.terms.invitations_per_minute = 3;
    world.add_many(7).await;
    for mailed in [3, 6, 7] {
        world.settle_in_time().await;
        assert_eq!(world.tenant.mailed().await.len(), mailed);
        // A minute goes by.
        world
            .run("update roster.invitations set changed_at = changed_at - interval '1 minute'")
            .await;
    }
}

#[tokio::test]
async fn who_was_not_invited_before_another_key_took_the_account_over_is_invited_then() {
    let mut world = World::new().await;
    world.reactor.terms.invitations_per_minute = 0;
    world.add(&[ADA, "keep@example.test"]).await;
    world.settle().await;
    world.run("delete from users where id = 1").await;
    // Her key means somebody else by now, so what was remembered of it is his.
    world
        .run("insert into users (id, email) values (1, 'eve@example.test'), (11, 'ada@example.test')")
        .await;
    world.settle().await;
    world.reactor.terms.invitations_per_minute = 30;
    world.settle_in_time().await;
    let mut mailed = world.tenant.mailed().await;
    mailed.sort();
    assert_eq!(mailed, [ADA, "eve@example.test", "keep@example.test"]);
    assert_eq!(world.tenant.list("users").await.len(), 3);
}

#[tokio::test]
async fn a_lost_ledger_mails_nobody_again() {
    let world = World::new().await;
    world.add(&[ADA, "bob@example.test"]).await;
    world.settle().await;
    let link = links(&world.tenant, "bob@example.test").await.remove(0);
    assert!(chooses_a_password(&world.tenant, &link).await);
    let before = world.tenant.account(ADA).await["user_id"].clone();
    // A schema made anew beside a table whose ids were not written back, as after a restored backup.
    world
        .run(
            "truncate roster.mirror, roster.accounts, roster.invitations, roster.changes; \
             select roster.detach(); update users set auth0_user_id = null; select roster.attach()",
        )
        .await;
    world.sweep().await;
    world.settle_in_time().await;
    assert_eq!(
        world.tenant.mailed().await.len(),
        2,
        "those of the beginning"
    );
    assert_eq!(world.tenant.list("users").await.len(), 2);
    assert_eq!(
        world
            .texts("select auth0_user_id from users order by id")
            .await[0],
        before
    );
    // Ada's may have gone out; Bob has used his.
    assert_eq!(
        world
            .texts("select user_key || ' ' || state from roster.invitations order by 1")
            .await,
        ["1 unknown", "2 sent"]
    );
    // It is Roster's own account still: only such a one is ever deleted.
    assert_eq!(
        world
            .texts("select distinct origin from roster.accounts")
            .await,
        ["made"]
    );
}

#[tokio::test]
async fn a_ledger_that_a_failover_lost_mails_nobody_again() {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    // The standby that took over never saw that an id was chosen, nor anything after it.
    world
        .run(
            "delete from roster.accounts; delete from roster.invitations; update roster.mirror set due = true, due_since = now(), invite_epoch = 0; \
             update roster.changes set folded_at = null",
        )
        .await;
    world.settle_in_time().await;
    assert_eq!(world.tenant.list("users").await.len(), 1);
    assert_eq!(world.tenant.mailed().await, [ADA]);
    assert_eq!(
        world.problems().await,
        ["invitation unknown invitation_unknown"]
    );
    assert_eq!(
        world
            .texts("select auth0_user_id from roster.accounts")
            .await,
        [world.tenant.account(ADA).await["user_id"]
            .as_str()
            .unwrap_or_default()]
    );
}

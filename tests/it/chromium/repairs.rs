//! What somebody does on a bad day: sees what happened, tries again what failed, and judges what Auth0 has otherwise.

use roster::audit::{Audit, schedule};
use tokio_util::sync::CancellationToken;

use super::ada;
use crate::console::drift::{audit, with_drift};

#[tokio::test]
async fn what_changed_is_seen_as_it_happens_and_what_became_of_each() {
    let (site, ada) = ada().await;
    ada.press("Changes").await;
    ada.sees("Pause · live").await;
    ada.run("window.isSame = true").await;
    site.world
        .run("set application_name = 'psql of Eve'; update users set name = 'Otto II' where id = 3")
        .await;
    ada.sees("with psql of Eve").await;
    ada.sees("not taken over yet").await;
    site.world.settle().await;
    ada.until("document.querySelector('tbody tr').innerText.includes('ok 200')")
        .await;
    assert_eq!(ada.run("return window.isSame").await, true);
    let first = "document.querySelector('tbody tr a').click()";
    ada.run(first).await;
    ada.sees("What Auth0 was told").await;
    ada.sees("name from \"Otto\" to \"Otto II\"").await;
    ada.press("otto@example.com").await;
    assert_eq!(ada.entered("Name").await, "Otto II");
}

#[tokio::test]
async fn what_failed_is_tried_again_by_its_cause() {
    let (site, ada) = ada().await;
    ada.press("Problems").await;
    ada.sees("Nothing is wrong").await;
    ada.sees("Pause · live").await;
    site.world
        .run("update roster.mirror set error_code = 'server_error', error_class = 'transient', error_at = now() where user_key in ('2', '3')")
        .await;
    ada.sees("2 concerned").await;
    ada.press("Try again now").await;
    ada.sees("Asked for: 2 users").await;
    site.world.settle().await;
    ada.press("Problems").await;
    ada.sees("Nothing is wrong").await;
}

#[tokio::test]
async fn an_audit_is_run_and_followed_and_each_finding_reverted_adopted_or_ignored() {
    let site = with_drift().await;
    let ada = super::Chromium::at(&site.url).await;
    ada.log_in("ada@example.com").await;
    ada.press("Drift").await;
    ada.sees("No audit has ended yet").await;
    ada.press("Run an audit").await;
    ada.sees("An audit was asked for").await;
    ada.sees("Pause · live").await;
    ada.run("window.isSame = true").await;
    let stop = CancellationToken::new();
    let pool = site.world.database.pool();
    let audit: Audit = audit(&site);
    let runs = tokio::spawn(schedule::run(audit, pool, None, stop.clone()));
    ada.sees("2 differed").await;
    ada.sees("Type their number to confirm").await;
    assert_eq!(ada.run("return window.isSame").await, true);
    stop.cancel();
    runs.await.expect("an orderly end");
    ada.press("changed 1").await;
    ada.sees("<i>Somebody</i>").await;
    ada.press("Adopt…").await;
    ada.sees("update public.users set name =").await;
    ada.press("Run these").await;
    ada.sees("Adopted: the rows say now what Auth0 has.").await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "<i>Somebody</i>"
    );
    // Somebody else is quicker: nothing that is about to be pressed changes under the hand.
    ada.sees("Pause · live").await;
    site.world.run("select roster.ignore_drift('all')").await;
    ada.sees("This has changed since it was loaded.").await;
    ada.press("Show it as it is now").await;
    ada.sees("nothing that nobody has judged yet").await;
}

#[tokio::test]
async fn a_ban_that_somebody_made_in_auth0_is_lifted_by_a_button() {
    let site = with_drift().await;
    let done = audit(&site).run(&(), &CancellationToken::new()).await;
    assert_eq!(done.expect("an audit").open, 2);
    let ada = super::Chromium::at(&site.url).await;
    ada.log_in("ada@example.com").await;
    ada.open("/console/drift?kind=changed").await;
    ada.press("Revert").await;
    ada.sees("Given to the plan").await;
    site.world.settle_in_time().await;
    let otto = site.world.tenant.account("otto@example.com").await;
    assert_eq!(otto["name"], "Otto");
    ada.open("/console/drift").await;
    ada.press("Ignore").await;
    ada.sees("Left as it is").await;
}

//! What Auth0 has otherwise is found by an audit that the console asks for, and judged there.

use std::time::Duration;

use roster::{
    audit::{Audit, schedule},
    auth0::Patch,
};
use tokio_util::sync::CancellationToken;

use super::Site;

/// Somebody renames Otto in Auth0 and bans Rita there, behind Roster's back.
pub(crate) async fn with_drift() -> Site {
    let site = Site::new().await;
    let renamed = Patch {
        name: Some(Some("<i>Somebody</i>".into())),
        ..Patch::default()
    };
    let banned = Patch {
        blocked: Some(true),
        ..Patch::default()
    };
    let tenant = &site.world.tenant;
    tenant.somebody_patches("otto@example.com", renamed).await;
    tenant.somebody_patches("rita@example.com", banned).await;
    let a_while = serde_json::json!({"advance_seconds": 10});
    tenant.control("clock", a_while).await;
    site
}

pub(crate) fn audit(site: &Site) -> Audit {
    let client = site.world.reactor.client.clone();
    let mut audit = Audit::new(site.world.database.endpoint(), client, 4);
    audit.poll = Duration::from_millis(5);
    audit
}

async fn audited() -> Site {
    let site = with_drift().await;
    let done = audit(&site).run(&(), &CancellationToken::new()).await;
    assert_eq!(done.expect("an audit").open, 2);
    site
}

#[tokio::test]
async fn an_audit_is_asked_for_run_by_a_reactor_and_its_findings_are_shown() {
    let site = with_drift().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/drift").await;
    assert!(
        page.says("No audit has ended yet") && page.says("Run an audit"),
        "{}",
        page.body
    );
    let ask = [("verdict", "audit")];
    assert_eq!(
        ada.post_from(&page, "/console/drift", &ask).await.status,
        303
    );
    let page = ada.get("/console/drift").await;
    assert!(page.says("An audit was asked for"), "{}", page.body);
    let told = "select actor from roster.changes where op = 'audit'";
    assert_eq!(site.one(told).await, "ada@example.com (user 1)");
    let stop = CancellationToken::new();
    let pool = site.world.database.pool();
    let runs = tokio::spawn(schedule::run(audit(&site), pool, None, stop.clone()));
    site.world
        .until("select exists (select from roster.audits where state = 'finished')")
        .await;
    stop.cancel();
    runs.await.expect("an orderly end");
    assert_eq!(
        site.one("select concat_ws(' ', step, step_done, step_of) from roster.audits")
            .await,
        "look 2 2"
    );
    let page = ada.get("/console/drift").await;
    assert!(
        page.says("accounts in the export") && page.says("2 differed"),
        "{}",
        page.body
    );
    assert!(
        page.says("&lt;i&gt;Somebody") && page.says("ban made elsewhere 1"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn where_an_audit_is_shows_while_it_runs() {
    let site = Site::new().await;
    site.world
        .run("insert into roster.audits (step, step_done, step_of) values ('look', 30, 120)")
        .await;
    let (mut rita, _) = site.log_in("rita@example.com").await;
    let page = rita.get("/console/drift").await;
    assert!(
        page.says("looked at one by one, 30 of 120") && page.says("<progress"),
        "{}",
        page.body
    );
    assert!(!page.says("Run an audit"));
}

#[tokio::test]
async fn a_finding_is_reverted_and_another_ignored_and_the_rest_stays_open() {
    let site = audited().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/drift?kind=changed").await;
    assert!(
        page.says("#") && !page.says("rita@example.com"),
        "{}",
        page.body
    );
    let id = site
        .one("select id::text from roster.drift where kind = 'changed'")
        .await;
    let which = format!("#{id}");
    let revert = [("which", which.as_str()), ("verdict", "revert")];
    assert_eq!(
        ada.post_from(&page, "/console/drift", &revert).await.status,
        303
    );
    site.world.settle_in_time().await;
    assert_eq!(
        site.world.tenant.account("otto@example.com").await["name"],
        "Otto"
    );
    let all = |number| [("which", "all"), ("verdict", "ignore"), ("number", number)];
    let unsure = ada.post_from(&page, "/console/drift", &all("7")).await;
    assert_eq!((unsure.status, unsure.says("not how many")), (409, true));
    assert_eq!(
        ada.post_from(&page, "/console/drift", &all("1"))
            .await
            .status,
        303
    );
    let page = ada.get("/console/drift").await;
    assert!(page.says("nobody has judged yet"), "{}", page.body);
    let (mut rita, page) = site.log_in("rita@example.com").await;
    let refused = rita.post_from(&page, "/console/drift", &revert).await;
    assert_eq!(
        (refused.status, refused.says("roster:operate")),
        (403, true)
    );
}

#[tokio::test]
async fn adopting_runs_the_statements_that_were_seen_and_no_others() {
    let site = audited().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    site.world.settle_in_time().await;
    let id = site
        .one("select id::text from roster.drift where kind = 'changed'")
        .await;
    let path = format!("/console/drift/{id}");
    let page = ada.get(&path).await;
    assert!(
        page.says("update public.users set name =") && page.says("Run these"),
        "{}",
        page.body
    );
    let forged = [("seen", "delete from users")];
    let refused = ada.post_from(&page, &path, &forged).await;
    assert_eq!(
        (refused.status, refused.says("not what you saw")),
        (409, true)
    );
    let seen = site
        .one(&format!(
            "select string_agg(statement, chr(10)) from roster.adopt_drift('#{id}')"
        ))
        .await;
    let adopted = ada.post_from(&page, &path, &[("seen", &seen)]).await;
    assert_eq!(adopted.status, 303, "{}", adopted.body);
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "<i>Somebody</i>"
    );
    site.world.tenant.forget_requests().await;
    site.world.settle_in_time().await;
    assert_eq!(site.world.tenant.calls("PATCH", "/api/v2/users").await, 0);
    assert_eq!(ada.get(&path).await.status, 404);
}

#[tokio::test]
async fn nobody_blocks_themselves_by_adopting_a_ban() {
    let site = Site::new().await;
    let banned = Patch {
        blocked: Some(true),
        ..Patch::default()
    };
    site.world
        .tenant
        .somebody_patches("ada@example.com", banned)
        .await;
    let a_while = serde_json::json!({"advance_seconds": 10});
    site.world.tenant.control("clock", a_while).await;
    audit(&site)
        .run(&(), &CancellationToken::new())
        .await
        .expect("an audit");
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let id = site
        .one("select id::text from roster.drift where user_key = '1'")
        .await;
    let path = format!("/console/drift/{id}");
    let seen = format!("select string_agg(statement, chr(10)) from roster.adopt_drift('#{id}')");
    let seen = site.one(&seen).await;
    let refused = ada.post(&path, &path, &[("seen", &seen)]).await;
    assert_eq!(
        (refused.status, refused.says("that is you")),
        (403, true),
        "{}",
        refused.body
    );
    assert_eq!(
        site.one("select blocked::text from users where id = 1")
            .await,
        "false"
    );
}

#[tokio::test]
async fn a_text_of_several_lines_is_adopted_whatever_a_browser_makes_of_their_ends() {
    let site = Site::new().await;
    let renamed = Patch {
        name: Some(Some("Some\r\nbody".into())),
        ..Patch::default()
    };
    let tenant = &site.world.tenant;
    tenant.somebody_patches("otto@example.com", renamed).await;
    let a_while = serde_json::json!({"advance_seconds": 10});
    tenant.control("clock", a_while).await;
    let done = audit(&site).run(&(), &CancellationToken::new()).await;
    assert_eq!(done.expect("an audit").open, 1);
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let id = site.one("select id::text from roster.drift").await;
    let seen = format!("select string_agg(statement, chr(10)) from roster.adopt_drift('#{id}')");
    let seen = site
        .one(&seen)
        .await
        .replace("\r\n", "\n")
        .replace('\n', "\r\n");
    let path = format!("/console/drift/{id}");
    let adopted = ada.post(&path, &path, &[("seen", &seen)]).await;
    assert_eq!(adopted.status, 303, "{}", adopted.body);
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Some\r\nbody"
    );
}

#[tokio::test]
async fn what_no_row_says_is_not_said_to_be_adopted() {
    let site = Site::new().await;
    site.world
        .run(
            "insert into role_permissions values ('Artist', 'read:songs');
             insert into roster.audits (state, finished_at) values ('finished', now());
             insert into roster.drift_found (audit, kind, user_key, changes)
             select max(a.id), 'changed', '3', '{\"app_metadata.permissions\": {\"from\": [], \"to\": [\"read:songs\"]}}'
             from roster.audits a",
        )
        .await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let id = site.one("select id::text from roster.drift").await;
    let seen = format!("select statement from roster.adopt_drift('#{id}')");
    let seen = site.one(&seen).await;
    let path = format!("/console/drift/{id}");
    let refused = ada.post(&path, &path, &[("seen", &seen)]).await;
    assert_eq!(
        (refused.status, refused.says("given by the role")),
        (422, true),
        "{}",
        refused.body
    );
    assert_eq!(
        site.one("select count(*)::text from roster.drift").await,
        "1"
    );
}

//! Buttons that have Roster do something: each is a function of the schema, pressed by somebody who may.

use super::Site;

#[tokio::test]
async fn a_mode_is_chosen_and_a_pause_begun_and_ended_by_somebody() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let standing = "select mode || ' ' || coalesce(pause_reason, '-') from roster.settings";
    for (form, then) in [
        ([("do", "mode"), ("mode", "additive")], "additive -"),
        (
            [("do", "pause"), ("reason", "a migration")],
            "additive a migration",
        ),
        ([("do", "resume"), ("reason", "")], "additive -"),
    ] {
        let pressed = ada.post("/console", "/console/overview", &form).await;
        assert_eq!(
            (pressed.status, site.one(standing).await.as_str()),
            (303, then)
        );
    }
    let refused = ada
        .post(
            "/console",
            "/console/overview",
            &[("do", "mode"), ("mode", "wild")],
        )
        .await;
    assert_eq!(
        (refused.status, refused.says("there is no mode")),
        (422, true),
        "{}",
        refused.body
    );
    let told = "select string_agg(op || ' ' || actor, ', ' order by id) from roster.changes where actor is not null";
    let ada = "ada@example.com (user 1)";
    assert_eq!(
        site.one(told).await,
        format!("set_mode {ada}, pause {ada}, resume {ada}")
    );
}

#[tokio::test]
async fn an_invitation_is_sent_again_once_for_each_time_it_is_asked_for() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/user/3").await;
    assert!(
        page.says("was sent") && page.says("Invite again"),
        "{}",
        page.body
    );
    assert!(
        page.says("select roster.invite(&#39;3&#39;);") || page.says("select roster.invite('3');")
    );
    let pressed = ada
        .post("/console/user/3", "/console/user/3/invite", &[])
        .await;
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    site.world.settle().await;
    let mailed = site.world.tenant.mailed().await;
    assert_eq!(
        mailed.iter().filter(|to| *to == "otto@example.com").count(),
        2
    );
}

#[tokio::test]
async fn a_dispute_is_settled_by_who_says_which_account_it_is() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let id = site
        .one("select auth0_user_id from roster.accounts where user_key = '3'")
        .await;
    let account = [("account", id.as_str())];
    let pressed = ada
        .post("/console/user/3", "/console/user/3/unlink", &account)
        .await;
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    let page = ada.get("/console/user/3").await;
    assert!(page.says("Settle the dispute"), "{}", page.body);
    // An account is one user's: whose it is says the refusal.
    let other = site
        .one("select auth0_user_id from roster.accounts where user_key = '2'")
        .await;
    let refused = ada
        .post(
            "/console/user/3",
            "/console/user/3/link",
            &[("account", other.as_str())],
        )
        .await;
    assert_eq!(
        (refused.status, refused.says("is linked to user 2")),
        (422, true),
        "{}",
        refused.body
    );
    let pressed = ada
        .post("/console/user/3", "/console/user/3/link", &account)
        .await;
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    site.world.settle().await;
    assert_eq!(
        site.one("select sync from roster.user_sync where user_key = '3'")
            .await,
        "synced"
    );
}

#[tokio::test]
async fn who_may_only_look_presses_nothing() {
    let site = Site::new().await;
    let (mut rita, page) = site.log_in("rita@example.com").await;
    assert!(!page.says("name=\"mode\""));
    for (path, form) in [
        ("/console/overview", [("do", "mode"), ("mode", "observe")]),
        ("/console/user/3/invite", [("account", ""), ("", "")]),
        ("/console/user/3/link", [("account", "auth0|x"), ("", "")]),
        ("/console/user/3/unlink", [("account", "auth0|x"), ("", "")]),
    ] {
        let refused = rita.post("/console", path, &form).await;
        assert_eq!(
            (refused.status, refused.says("roster:operate")),
            (403, true),
            "{path}"
        );
    }
}

#[tokio::test]
async fn whose_an_account_is_says_only_who_may_also_change_users() {
    let site = Site::new().await;
    site.world
        .run("insert into role_permissions values ('Operator', 'roster:read'), ('Operator', 'roster:operate');
              update users set role = 'Operator' where id = 2")
        .await;
    site.world.settle().await;
    let (mut rita, _) = site.log_in("rita@example.com").await;
    let page = rita.get("/console/user/1").await;
    assert!(page.says("Sync now") && !page.says("Link another account"));
    for (action, account) in [("link", "google-oauth2|7"), ("unlink", "auth0|1")] {
        let path = format!("/console/user/1/{action}");
        let refused = rita
            .post("/console/user/1", &path, &[("account", account)])
            .await;
        assert_eq!(
            (refused.status, refused.says("roster:write")),
            (403, true),
            "{path}"
        );
    }
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let odd = [("account", "not an id/../x")];
    let refused = ada
        .post("/console/user/3", "/console/user/3/link", &odd)
        .await;
    assert_eq!(
        (refused.status, refused.says("is no Auth0 user id")),
        (422, true),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn what_no_text_can_hold_is_nowhere() {
    let site = Site::new().await;
    let (mut ada, page) = site.log_in("ada@example.com").await;
    for path in [
        "/console/users?q=%00",
        "/console/users?after=%00&after_key=%00",
        "/console/user/%00",
        "/console/roles?role_after=%00",
    ] {
        assert_eq!(ada.get(path).await.status, 404, "{path}");
    }
    let form = [("key", "3\0"), ("do", "block")];
    let posted = ada.post_from(&page, "/console/users/bulk", &form).await;
    assert_eq!(posted.status, 404);
}

//! What is wrong is told by cause, and tried again by cause.

use super::Site;

#[tokio::test]
async fn what_fails_is_grouped_with_advice_and_one_group_is_tried_again() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/problems").await;
    assert!(page.says("Nothing is wrong"), "{}", page.body);
    site.world
        .run("insert into users (email, name) values ('no address', 'Nobody')")
        .await;
    site.world.settle().await;
    site.world
        .run(
            "update roster.mirror set error_code = 'server_error', error_class = 'transient', error_at = now() where user_key in ('1', '2');
             update roster.mirror set error_code = 'bad_request', error_class = 'data', error_at = now() where user_key = '3'",
        )
        .await;
    let page = ada.get("/console/problems").await;
    for told in [
        "failing <code>server_error",
        "2 concerned",
        "parked <code>bad_request",
        "Correct the row",
        "row not acceptable <code>email_invalid",
        "/console/user/4",
        "roster sync --failed=server_error",
        "select roster.retry_failed(&#39;bad_request&#39;)",
    ] {
        let told_else = told.replace("&#39;", "'");
        assert!(
            page.says(told) || page.says(&told_else),
            "{told}: {}",
            page.body
        );
    }
    let form = [("code", "server_error")];
    let retried = ada.post_from(&page, "/console/problems", &form).await;
    assert_eq!(retried.status, 303, "{}", retried.body);
    assert!(
        ada.get(&retried.location())
            .await
            .says("2 users, tried again now")
    );
    let told = "select (select string_agg(k, ' ' order by k) from unnest(user_keys) k) || ' ' || actor from roster.changes where op = 'retry_failed'";
    assert_eq!(site.one(told).await, "1 2 ada@example.com (user 1)");
}

#[tokio::test]
async fn who_may_only_look_tries_nothing_again() {
    let site = Site::new().await;
    site.world
        .run("update roster.mirror set error_code = 'server_error', error_class = 'transient'")
        .await;
    let (mut rita, _) = site.log_in("rita@example.com").await;
    let page = rita.get("/console/problems").await;
    assert!(page.says("server_error") && !page.says("Try again now"));
    let form = [("code", "server_error")];
    let refused = rita.post_from(&page, "/console/problems", &form).await;
    assert_eq!(
        (refused.status, refused.says("roster:operate")),
        (403, true)
    );
}

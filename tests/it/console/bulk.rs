//! Many users at once: ticked, or all that match, and only as many as somebody has typed.

use super::{Browser, GLASS, Site};

const PATH: &str = "/console/users/bulk";

#[tokio::test]
async fn ticked_users_are_blocked_by_one_statement_once_their_number_is_typed() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = |number| {
        [
            ("key", "2"),
            ("key", "3"),
            ("do", "block"),
            ("number", number),
        ]
    };
    let page = ada.post("/console/users", PATH, &form("")).await;
    assert!(
        page.says("2 users") && page.says("otto@example.com") && page.says("update public.users"),
        "{}",
        page.body
    );
    let unsure = ada.post("/console/users", PATH, &form("3")).await;
    assert_eq!((unsure.status, unsure.says("they are 2 now")), (409, true));
    let blocked = "select string_agg(id::text, ',' order by id) from users where blocked";
    assert_eq!(site.one(blocked).await, "");
    let done = ada.post("/console/users", PATH, &form("2")).await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(site.one(blocked).await, "2,3");
    let told = "select string_agg(op || user_keys::text || actor, ' ') from roster.changes where actor is not null";
    assert_eq!(site.one(told).await, "update{2,3}ada@example.com (user 1)");
    assert!(ada.get(&done.location()).await.says("Done, for 2 users."));
}

#[tokio::test]
async fn all_that_match_are_changed_and_nobody_else() {
    let site = Site::new().await;
    site.world.add_many(120).await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = |number| {
        [
            ("all", "yes"),
            ("q", "USER-1"),
            ("state", "all"),
            ("do", "role"),
            ("role", "Reader"),
            ("number", number),
        ]
    };
    let page = ada.post("/console/users", PATH, &form("")).await;
    assert!(page.says("32 users"), "{}", page.body);
    let done = ada.post("/console/users", PATH, &form("32")).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let readers = "select count(*)::text from users where role = 'Reader' and email like 'user-1%'";
    assert_eq!(site.one(readers).await, "32");
    let readers = "select count(*)::text from users where role = 'Reader'";
    assert_eq!(site.one(readers).await, "33");
}

#[tokio::test]
async fn nobody_is_among_those_who_are_removed_and_one_who_may_write_stays() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = |what| [("all", "yes"), ("q", ""), ("do", what), ("number", "3")];
    let role = [
        ("key", "1"),
        ("do", "role"),
        ("role", "Reader"),
        ("number", "1"),
    ];
    for form in [&form("block")[..], &form("delete"), &role] {
        let refused = ada.post("/console/users", PATH, form).await;
        assert_eq!(
            (refused.status, refused.says("you are one of them")),
            (403, true),
            "{}",
            refused.body
        );
    }
    let mut glass = Browser::new(&site.url);
    glass
        .post_just("/console/break-glass", &[("token", GLASS)])
        .await;
    let refused = glass.post("/console/users", PATH, &form("delete")).await;
    assert_eq!(
        (refused.status, refused.says("last user with roster:write")),
        (403, true)
    );
    let there = "select count(*)::text from users where not blocked";
    assert_eq!(site.one(there).await, "3");
}

#[tokio::test]
async fn many_users_take_the_same_permissions_as_one() {
    let site = Site::new().await;
    let (mut rita, page) = site.log_in("rita@example.com").await;
    assert!(!page.says("name=\"key\""));
    for (what, permission) in [
        ("block", "roster:write"),
        ("delete", "roster:write"),
        ("sync", "roster:operate"),
    ] {
        let form = [("key", "3"), ("do", what), ("number", "1")];
        let refused = rita.post("/console", PATH, &form).await;
        assert_eq!(
            (refused.status, refused.says(permission)),
            (403, true),
            "{what}"
        );
    }
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let nobody = ada.post("/console/users", PATH, &[("do", "block")]).await;
    assert_eq!(
        (nobody.status, nobody.says("tick somebody first")),
        (422, true)
    );
    let form = [("key", "3"), ("do", "sync"), ("number", "1")];
    assert_eq!(ada.post("/console/users", PATH, &form).await.status, 303);
    let asked = "select string_agg(user_keys::text, ' ') from roster.changes where op = 'resync'";
    assert_eq!(site.one(asked).await, "{3}");
}

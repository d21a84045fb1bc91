//! Who may what is changed as one, after a look at whom it touches.

use super::Site;

const SEES: &str = "select string_agg(role || ' ' || permission, ', ' order by role, permission) from role_permissions where permission not like 'roster:%'";

async fn with_songs() -> Site {
    let site = Site::new().await;
    site.world
        .run("insert into role_permissions values ('Artist', 'songs:read'), ('Artist', 'songs:sell')")
        .await;
    site.world.settle().await;
    site
}

#[tokio::test]
async fn a_change_tells_how_many_users_it_touches_and_is_saved_as_one() {
    let site = with_songs().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/roles").await;
    assert!(page.says("Artist: songs:sell"), "{}", page.body);
    let form = [
        ("had", r#"["Artist","songs:read"]"#),
        ("had", r#"["Artist","songs:sell"]"#),
        ("has", r#"["Artist","songs:read"]"#),
        ("has", r#"["Reader","songs:read"]"#),
        ("role", "Editor"),
        ("permission", "songs:edit"),
        ("step", "look"),
    ];
    let look = ada.post_from(&page, "/console/roles", &form).await;
    assert!(
        look.says("2 users are touched")
            && look.says("loses <code>")
            && look.says("delete from public.role_permissions"),
        "{}",
        look.body
    );
    assert_eq!(site.one(SEES).await, "Artist songs:read, Artist songs:sell");
    let form = [
        ("had", r#"["Artist","songs:sell"]"#),
        ("has", r#"["Reader","songs:read"]"#),
        ("has", r#"["Editor","songs:edit"]"#),
        ("step", "save"),
    ];
    let saved = ada.post_from(&look, "/console/roles", &form).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    assert_eq!(
        site.one(SEES).await,
        "Artist songs:read, Editor songs:edit, Reader songs:read"
    );
    let told = "select count(distinct txid)::text || ' ' || max(actor) from roster.changes where relation = 'public.role_permissions' and actor is not null";
    assert_eq!(site.one(told).await, "1 ada@example.com (user 1)");
    site.world.settle().await;
    let otto = site.world.tenant.account("otto@example.com").await;
    assert_eq!(
        otto["app_metadata"]["permissions"],
        serde_json::json!(["songs:read"])
    );
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_told_and_nothing_is_written() {
    let site = with_songs().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/roles").await;
    site.world
        .run("delete from role_permissions where permission = 'songs:sell'")
        .await;
    let form = [
        ("had", r#"["Artist","songs:sell"]"#),
        ("has", r#"["Reader","songs:read"]"#),
        ("step", "save"),
    ];
    let refused = ada.post_from(&page, "/console/roles", &form).await;
    assert_eq!(
        (refused.status, refused.says("somebody else changed")),
        (409, true)
    );
    assert_eq!(site.one(SEES).await, "Artist songs:read");
}

#[tokio::test]
async fn nobody_takes_their_own_rights_from_a_role_and_the_last_who_may_write_stays() {
    let site = with_songs().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let take = [("had", r#"["Admin","roster:write"]"#), ("step", "save")];
    let refused = ada.post("/console/roles", "/console/roles", &take).await;
    assert_eq!((refused.status, refused.says("that is you")), (403, true));
    let mut glass = super::Browser::new(&site.url);
    glass
        .post_just("/console/break-glass", &[("token", super::GLASS)])
        .await;
    // Who may change users and not see them can do neither.
    for right in [r#"["Admin","roster:write"]"#, r#"["Admin","roster:read"]"#] {
        let take = [("had", right), ("step", "save")];
        let refused = glass.post("/console/roles", "/console/roles", &take).await;
        assert_eq!(
            (refused.status, refused.says("last user with roster:write")),
            (403, true),
            "{right}"
        );
    }
    let (mut rita, _) = site.log_in("rita@example.com").await;
    let page = rita.get("/console/roles").await;
    assert!(page.status == 200 && !page.says("checkbox") && page.says("songs:sell"));
    let refused = rita.post_from(&page, "/console/roles", &take).await;
    assert_eq!((refused.status, refused.says("roster:write")), (403, true));
}

#[tokio::test]
async fn a_large_matrix_is_shown_in_parts_that_fit_a_page() {
    let site = Site::new().await;
    site.world
        .run("insert into role_permissions select format('role %s', lpad(r::text, 2, '0')), format('do:%s', lpad(p::text, 3, '0')) from generate_series(1, 20) r, generate_series(1, 150) p")
        .await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let first = ada.get("/console/roles").await;
    assert!(first.body.len() < 60_000, "{} bytes", first.body.len());
    assert!(first.says("Further roles") && first.says("Further permissions"));
    let last = ada
        .get("/console/roles?role_after=role+18&permission_after=do%3A149")
        .await;
    assert!(
        last.says("role 20: do:150") && !last.says("role 18: ") && !last.says("Further roles"),
        "{}",
        last.body
    );
}

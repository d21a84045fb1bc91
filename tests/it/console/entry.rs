//! Who gets in, how, and what is refused at the door.

use super::{Browser, GLASS, Site};

#[tokio::test]
async fn who_logs_in_with_auth0_is_let_in_by_the_permissions_of_the_row() {
    let site = Site::new().await;
    let (mut ada, page) = site.log_in("ada@example.com").await;
    assert_eq!(
        (page.status, page.says("<h1><bdi>Overview")),
        (200, true),
        "{}",
        page.body
    );
    assert!(page.says("ada@example.com") && page.says("select * from roster.status;"));
    let (_, otto) = site.log_in("otto@example.com").await;
    assert_eq!(
        (otto.status, otto.says("roster:read")),
        (403, true),
        "{}",
        otto.body
    );
    let (_, nobody) = site.log_in("nobody@example.com").await;
    assert_eq!(
        (nobody.status, nobody.says("belongs to no user")),
        (403, true)
    );
    // It is asked at each request: no cookie outlives the right.
    site.world
        .run("update users set blocked = true where email = 'ada@example.com'")
        .await;
    let page = ada.get("/console/users").await;
    assert_eq!((page.status, page.says("rita@")), (403, false));
}

#[tokio::test]
async fn without_a_session_there_is_only_the_door() {
    let site = Site::new().await;
    let mut stranger = Browser::new(&site.url);
    for path in [
        "/console",
        "/console/users",
        "/console/user/1",
        "/console/new-user",
    ] {
        let page = stranger.get(path).await;
        assert_eq!(
            (page.status, page.says("Log in with Auth0")),
            (if path == "/console" { 200 } else { 403 }, true),
            "{path}"
        );
        assert!(!page.says("example.com"), "{path}");
    }
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let mut forged = ada.cookies.clone();
    forged
        .values_mut()
        .for_each(|value| *value = value.replace("ada%40", "eve%40").replace("ada@", "eve@"));
    assert_ne!(forged, ada.cookies);
    ada.cookies = forged;
    assert!(ada.get("/console").await.says("Log in with Auth0"));
    // Everything else on the socket is as it was.
    assert_eq!(stranger.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_log_in_ends_only_in_the_browser_that_began_it() {
    let site = Site::new().await;
    let mut ada = Browser::new(&site.url);
    let back = ada.callback("ada@example.com").await;
    let mut other = Browser::new(&site.url);
    let page = other.get(&back).await;
    assert_eq!(
        (page.status, page.says("another browser")),
        (403, true),
        "{}",
        page.body
    );
    other.callback("otto@example.com").await;
    assert_eq!(other.get(&back).await.status, 403);
    assert_eq!(ada.get(&back).await.status, 303);
    // A code is good once.
    assert_eq!(ada.get(&back).await.status, 403);
}

#[tokio::test]
async fn a_log_in_leads_back_to_one_of_our_pages_and_to_no_other_site() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    ada.cookies.clear();
    let door = ada.get("/console/user/2").await;
    assert!(door.says("back=%2Fconsole%2Fuser%2F2"), "{}", door.body);
    for evil in [
        "//evil.example",
        "https://evil.example/console/",
        "/console/%5C..%5Cevil",
        "/consolevil",
    ] {
        let begun = ada.get(&format!("/console/login?back={evil}")).await;
        assert_eq!(begun.status, 302);
        assert!(!ada.cookies["roster_login"].contains("evil"), "{evil}");
    }
}

#[tokio::test]
async fn the_break_glass_token_opens_the_console_without_auth0() {
    let site = Site::new().await;
    let mut browser = Browser::new(&site.url);
    let wrong = browser
        .post_just("/console/break-glass", &[("token", "guess")])
        .await;
    assert_eq!((wrong.status, browser.cookies.is_empty()), (403, true));
    let right = browser
        .post_just("/console/break-glass", &[("token", GLASS)])
        .await;
    assert_eq!(right.status, 303);
    let done = browser
        .post("/console/user/3", "/console/user/3/block", &[])
        .await;
    assert_eq!(done.status, 303);
    let who = "select actor from roster.changes where actor is not null";
    assert_eq!(site.one(who).await, "break-glass token");
}

#[tokio::test]
async fn what_did_not_come_from_our_own_form_is_refused() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/user/3").await;
    let (csrf, version) = (page.hidden("csrf"), page.hidden("version"));
    let path = "/console/user/3/block";
    let form = |csrf| [("csrf", csrf), ("version", version.clone())];
    for origin in [None, Some("null"), Some("https://evil.example")] {
        ada.origin = origin.map(str::to_owned);
        let form = form(csrf.clone());
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(ada.post_just(path, &form).await.status, 403, "{origin:?}");
    }
    ada.origin = Some(site.url.clone());
    let (_, other) = site.log_in("ada@example.com").await;
    for token in [String::new(), other.hidden("csrf")] {
        let form = form(token);
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(ada.post_just(path, &form).await.status, 403);
    }
    // Nor does a link do anything.
    assert_eq!(ada.get(path).await.status, 404);
    assert_eq!(
        site.one("select blocked::text from users where id = 3")
            .await,
        "false"
    );
}

#[tokio::test]
async fn every_page_forbids_what_is_inline_or_from_elsewhere_and_is_kept_nowhere() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    for path in [
        "/console",
        "/console/users",
        "/console/user/1",
        "/console/new-user",
        "/console/style.css",
        "/console/nothing",
    ] {
        let page = ada.get(path).await;
        let policy = page.headers["content-security-policy"]
            .to_str()
            .expect("a text");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        for inline in [
            "style=", "<style", "onclick", "<script>", "http://", "https://",
        ] {
            assert!(!page.says(inline), "{path} has {inline}");
        }
        assert!(
            page.body.len() < 60_000,
            "{path}: {} bytes",
            page.body.len()
        );
    }
    let out = ada.post("/console", "/console/logout", &[]).await;
    assert_eq!(out.status, 303);
    assert_eq!(ada.get("/console/users").await.status, 403);
}

//! A file is uploaded, tried, looked at line by line, and written as one.

use super::{Browser, Page, Site};
use crate::support::world::eventually;

const PEOPLE: &str = "E-Mail;name;role;phone\r\nADA@example.com;Ada L.;;1\r\nnew@example.com;<b>New</b>;Artist;2\r\nno address;Eve;;3\r\n";
const FIELDS: [(&str, &str); 2] = [("map", "E-Mail=email"), ("ignore", "phone")];

/// Uploads a file, and waits until it is tried.
async fn tried(browser: &mut Browser, file: &str) -> (String, Page) {
    let page = browser.get("/console/import").await;
    let uploaded = browser
        .upload(&page, "/console/import", file, &FIELDS)
        .await;
    assert_eq!(uploaded.status, 303, "{}", uploaded.body);
    let path = uploaded.location();
    let page = browser.settled(&path).await;
    (path, page)
}

impl Browser {
    /// The page of an import that nobody is at any more.
    async fn settled(&mut self, path: &str) -> Page {
        let this = tokio::sync::Mutex::new(self);
        eventually("an import that has ended", async || {
            !this.lock().await.get(path).await.says("Look again")
        })
        .await;
        this.into_inner().get(path).await
    }
}

#[tokio::test]
async fn a_file_is_tried_line_by_line_and_written_without_its_bad_lines() {
    let site = Site::new().await;
    site.world
        .run(r#"update roster.reactors set budget = '[{"class": "write_users", "per_second": 0.5}]'"#)
        .await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let (path, page) = tried(&mut ada, PEOPLE).await;
    assert!(
        page.says("up to 2 calls, which take up to 00:00:04"),
        "{}",
        page.body
    );
    for told in [
        "&lt;b&gt;New",
        "this is no address",
        "<dt>new</dt><dd>1</dd>",
        "<dt>changed</dt><dd>1</dd>",
        "Leave the 1 bad lines out",
    ] {
        assert!(page.says(told), "{told}: {}", page.body);
    }
    assert!(
        page.says("roster import --dry-run people.csv") && page.says("\\copy roster.import from")
    );
    assert_eq!(site.one("select count(*)::text from users").await, "3");
    assert_eq!(site.one("select name from users where id = 1").await, "Ada");
    let bad = ada.get(&format!("{path}?only=bad")).await;
    assert!(
        bad.says("no address") && !bad.says("new@example.com"),
        "{}",
        bad.body
    );
    let written = ada.post_from(&page, &path, &[("step", "apply_good")]).await;
    assert_eq!(written.status, 303, "{}", written.body);
    let page = ada.settled(&path).await;
    assert!(
        page.says("written") && page.says("What became of each"),
        "{}",
        page.body
    );
    let rows = "select string_agg(name, ', ' order by id) from users where id in (1, (select max(id) from users))";
    assert_eq!(site.one(rows).await, "Ada L., <b>New</b>");
    let told =
        "select distinct actor || ' ' || reason from roster.changes where reason like 'import of%'";
    assert_eq!(
        site.one(told).await,
        "ada@example.com (user 1) import of people.csv"
    );
    site.world.settle().await;
    assert!(site.world.tenant.user("new@example.com").await.is_some());
    // Once is enough.
    let again = ada.post_from(&page, &path, &[("step", "apply_good")]).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn what_is_no_file_of_users_is_refused_with_what_to_do() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/import").await;
    for (file, told) in [
        ("", "choose a file"),
        ("PK\u{3}\u{4}....", "CSV UTF-8"),
        ("email,nonsense\na@example.com,1\n", "nonsense"),
        ("name\nAda\n", "no column for the address"),
    ] {
        let refused = ada.upload(&page, "/console/import", file, &[]).await;
        assert_eq!(
            (refused.status, refused.says(told)),
            (422, true),
            "{told}: {}",
            refused.body
        );
    }
    let huge = "x".repeat((8 << 20) + 1);
    let refused = ada.upload(&page, "/console/import", &huge, &[]).await;
    assert_eq!(refused.status, 413);
    assert_eq!(
        site.one("select count(*)::text from roster.imports").await,
        "0"
    );
}

#[tokio::test]
async fn a_file_that_takes_its_authors_rights_is_written_by_nobody() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let (path, page) = tried(
        &mut ada,
        "email,role\nada@example.com,Reader\nrita@example.com,Artist\n",
    )
    .await;
    assert_eq!(
        ada.post_from(&page, &path, &[("step", "apply")])
            .await
            .status,
        303
    );
    let page = ada.settled(&path).await;
    assert!(page.says("take your own rights"), "{}", page.body);
    assert_eq!(
        site.one("select string_agg(role, ' ' order by id) from users")
            .await,
        "Admin Reader Artist"
    );
}

#[tokio::test]
async fn a_large_upload_is_read_only_from_who_may_write() {
    let site = Site::new().await;
    let (mut rita, page) = site.log_in("rita@example.com").await;
    assert!(rita.get("/console/import").await.says("takes roster:write"));
    let refused = rita
        .upload(&page, "/console/import", "email\na@example.com\n", &[])
        .await;
    assert_eq!(refused.status, 403);
    let large = "x".repeat(100 * 1024);
    let refused = rita.upload(&page, "/console/import", &large, &[]).await;
    assert_eq!(refused.status, 413);
    let mut stranger = Browser::new(&site.url);
    let refused = stranger.upload(&page, "/console/import", &large, &[]).await;
    assert_eq!(refused.status, 413);
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let page = ada.get("/console/import").await;
    ada.origin = Some("https://elsewhere.example".to_owned());
    let forged = ada
        .upload(&page, "/console/import", "email\na@example.com\n", &[])
        .await;
    assert_eq!(forged.status, 403);
    assert_eq!(
        site.one("select count(*)::text from roster.imports").await,
        "0"
    );
}

#[tokio::test]
async fn an_import_whose_server_has_ended_is_tried_again() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let (path, _) = tried(&mut ada, "email\nnew@example.com\n").await;
    site.world
        .run("update roster.imports set step = 'applying', step_at = now() - interval '1 minute'")
        .await;
    let page = ada.get(&path).await;
    assert!(
        page.says("broken off") && page.says("Try it again"),
        "{}",
        page.body
    );
    assert_eq!(
        ada.post_from(&page, &path, &[("step", "apply")])
            .await
            .status,
        409
    );
    assert_eq!(
        ada.post_from(&page, &path, &[("step", "check")])
            .await
            .status,
        303
    );
    assert!(ada.settled(&path).await.says("Write 1 rows"));
    // One at a time, since each takes a session.
    site.world
        .run("insert into roster.imports (into_table, columns, step, step_at) values ('users', '{}', 'applying', now())")
        .await;
    let page = ada.get(&path).await;
    let refused = ada.post_from(&page, &path, &[("step", "apply")]).await;
    assert_eq!(
        (refused.status, refused.says("another import")),
        (409, true)
    );
}

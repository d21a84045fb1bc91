//! What pages show for psql and for the command line is what these take.

use super::Site;

/// The lines of each block of code on a page, as somebody would copy them.
fn blocks(body: &str) -> Vec<String> {
    let blocks = body.split("<pre><code>").skip(1);
    let text = blocks.map(|block| block.split("</code>").next().unwrap_or_default());
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    text.map(|text| {
        plain
            .iter()
            .fold(text.to_owned(), |text, (html, c)| text.replace(html, c))
    })
    .collect()
}

/// As a shell splits it, with no more than quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("a word").push(c),
        }
    }
    words
}

#[tokio::test]
async fn every_line_that_a_page_shows_is_understood_by_psql_and_by_roster() {
    let site = Site::new().await;
    site.world
        .run(
            "update roster.mirror set error_code = 'server_error', error_class = 'transient' where user_key = '1';
             insert into roster.audits (state, finished_at) values ('finished', now());
             insert into roster.drift_found (audit, kind, user_key, changes) select max(id), 'changed', '3', '{\"name\": {\"from\": \"it''s\"}}' from roster.audits",
        )
        .await;
    let odd =
        "insert into users (id, email) overriding system value values (-1, 'odd@example.com')";
    site.world.run(odd).await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let txid = site.one("select max(txid)::text from roster.changes").await;
    let finding = site.one("select id::text from roster.drift").await;
    for path in [
        "/console".to_owned(),
        "/console/users?q=a&state=pending".to_owned(),
        "/console/user/3".to_owned(),
        "/console/user/-1".to_owned(),
        "/console/new-user".to_owned(),
        "/console/changes?before=999999999".to_owned(),
        format!("/console/change/{txid}"),
        "/console/problems".to_owned(),
        "/console/drift?kind=changed".to_owned(),
        format!("/console/drift/{finding}"),
        "/console/held".to_owned(),
        "/console/roles".to_owned(),
        "/console/import".to_owned(),
    ] {
        let page = ada.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        are_understood(&site, &path, &page.body).await;
    }
    for what in ["block", "unblock", "role", "delete", "sync"] {
        let form = [
            ("do", what),
            ("key", "3"),
            ("key", "-1"),
            ("role", "Reader"),
        ];
        let path = "/console/users/bulk";
        let page = ada.post("/console/users", path, &form).await;
        assert_eq!(page.says("roster sync -- -1 3"), what == "sync");
        are_understood(&site, what, &page.body).await;
    }
}

async fn are_understood(site: &Site, path: &str, body: &str) {
    let blocks = blocks(body);
    assert!(!blocks.is_empty(), "{path}");
    let lines = blocks.iter().filter(|block| block.starts_with("roster "));
    for line in lines.flat_map(|block| block.lines()) {
        let words = words(line);
        let understood = roster::cli::check(words.iter().map(String::as_str));
        assert!(understood.is_ok(), "{path}: {line}: {understood:?}");
    }
    let statements = blocks.iter().filter(|block| !block.starts_with("roster "));
    for statement in statements.flat_map(|block| block.split(";\n\n")) {
        let statement = statement.trim().trim_end_matches(';');
        if !statement.starts_with('\\') {
            let understood = site.world.sql.prepare(statement).await;
            assert!(understood.is_ok(), "{path}: {statement}: {understood:?}");
        }
    }
}

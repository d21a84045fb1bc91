//! Pages that are looked at live: who sees them, how many, and when they end.

use super::{Browser, Site};

/// Reads on until the stream has said that.
async fn says(stream: &mut reqwest::Response, what: &str) {
    let mut said = String::new();
    while !said.contains(what) {
        let piece = stream.chunk().await.expect("a stream");
        said += &String::from_utf8_lossy(&piece.expect("more of it"));
    }
}

#[tokio::test]
async fn a_page_is_sent_again_when_it_has_changed_until_its_reader_may_not_see_it() {
    let site = Site::new().await;
    let (ada, _) = site.log_in("ada@example.com").await;
    let mut stream = ada.look_at("/console/users").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    says(&mut stream, "<bdi>Otto</bdi>").await;
    site.world
        .run("update users set name = 'Otto II' where id = 3")
        .await;
    says(&mut stream, "<bdi>Otto II</bdi>").await;
    site.world
        .run("update users set blocked = true where id = 1")
        .await;
    while stream.chunk().await.expect("a stream").is_some() {}
    for stranger in [
        Browser::new(&site.url),
        site.log_in("otto@example.com").await.0,
    ] {
        let mut refused = stranger.look_at("/console/users").await;
        let body = refused
            .chunk()
            .await
            .expect("an answer")
            .unwrap_or_default();
        assert!(!String::from_utf8_lossy(&body).contains("rita@"));
    }
}

#[tokio::test]
async fn so_many_pages_are_looked_at_live_and_all_end_with_the_server() {
    let site = Site::new().await;
    let (ada, _) = site.log_in("ada@example.com").await;
    let mut streams = Vec::new();
    loop {
        let stream = ada.look_at("/console").await;
        if stream.status() == 503 {
            break;
        }
        streams.push(stream);
        assert!(streams.len() <= 64);
    }
    // Whoever goes leaves a place to another.
    drop(streams.pop());
    crate::support::world::eventually("a place", async || {
        ada.look_at("/console").await.status() == 200
    })
    .await;
    drop(site.stop);
    for mut stream in streams {
        while let Ok(Some(_)) = stream.chunk().await {}
    }
}

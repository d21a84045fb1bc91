//! Pages that stay true while somebody looks.

use super::{Chromium, ada};

impl Chromium {
    /// Hides the page, as when another tab is looked at, or shows it again.
    async fn hides(&self, hidden: bool) {
        self.run(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))"
        ))
        .await;
    }

    /// Waits until the server shows that on this page, to whoever loads it.
    async fn would_see(&self, what: &str) {
        let load = "((it) => { it.open('GET', location.href, false); it.send(); return it.responseText })(new XMLHttpRequest())";
        self.until(&format!("{load}.includes('{what}')")).await;
    }
}

#[tokio::test]
async fn rows_change_while_they_are_looked_at_and_not_while_they_are_paused_or_hidden() {
    let (site, ada) = ada().await;
    ada.press("Users").await;
    ada.run("window.isSame = true; document.querySelector('tbody a').focus()")
        .await;
    ada.sees("Pause · live").await;
    site.world.run("update users set name = 'Otto II' where id = 3; insert into users (email) values ('aa@example.com')").await;
    ada.sees("Otto II").await;
    ada.sees("aa@example.com").await;
    for (pause, name) in [(true, "Otto III"), (false, "Otto IV")] {
        if pause {
            ada.tick("Pause").await
        } else {
            ada.hides(true).await
        }
        ada.sees("Pause · paused").await;
        site.world
            .run(&format!("update users set name = '{name}' where id = 3"))
            .await;
        ada.would_see(name).await;
        assert!(!ada.text().await.contains(name));
        if pause {
            ada.tick("Pause").await
        } else {
            ada.hides(false).await
        }
        ada.sees(name).await;
    }
    assert_eq!(ada.run("return window.isSame").await, true);
}

#[tokio::test]
async fn the_steps_of_a_sync_are_seen_as_they_are_taken() {
    let (site, ada) = ada().await;
    ada.open("/console/user/3").await;
    ada.press("Sync now").await;
    ada.sees("Waits for a reactor to take it over").await;
    ada.run("window.isSame = true").await;
    site.world.settle().await;
    ada.sees("Done: Auth0 has what the row says").await;
    ada.sees("look").await;
    assert_eq!(ada.run("return window.isSame").await, true);
}

#[tokio::test]
async fn what_somebody_is_typing_stays_while_the_page_around_it_changes() {
    let (site, ada) = ada().await;
    ada.open("/console/user/3").await;
    ada.fill("Name", "Otto of Ada").await;
    ada.sees("Pause · live").await;
    site.world
        .run("update users set role = 'Reader' where id = 3")
        .await;
    ada.until("document.querySelector('#standing').innerText.includes('Reader')")
        .await;
    assert_eq!(ada.entered("Name").await, "Otto of Ada");
    ada.press("Save").await;
    ada.sees("Somebody else changed this user while you looked.")
        .await;
}

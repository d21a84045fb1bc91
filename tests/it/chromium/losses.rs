//! What is seen at the console when the database or Auth0 is gone, and afterwards.

use serde_json::json;

use super::{Chromium, Site, ada};
use crate::{
    console::GLASS,
    support::{proxy::Proxy, world::World},
};

#[tokio::test]
async fn a_lost_database_is_said_plainly_and_what_was_typed_can_be_sent_again() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.database).await;
    let site = Site::of(world, |_| proxy.endpoint().pool(4)).await;
    let ada = Chromium::at(&site.url).await;
    ada.log_in("ada@example.com").await;
    ada.open("/console/user/3").await;
    ada.fill("Name", "Otto II").await;
    proxy.cut();
    ada.press("Save").await;
    ada.sees("The database cannot be reached").await;
    ada.sees("Nothing is lost.").await;
    ada.sees("You had entered:").await;
    ada.sees("Otto II").await;
    proxy.restore();
    ada.open("/console/user/3").await;
    assert_eq!(ada.entered("Name").await, "Otto");
    ada.fill("Name", "Otto II").await;
    ada.press("Save").await;
    ada.sees("Changed. Auth0 follows.").await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto II"
    );
}

#[tokio::test]
async fn what_is_changed_while_auth0_is_gone_stands_in_the_table_and_reaches_it_later() {
    let (site, ada) = ada().await;
    site.world
        .tenant
        .fault(
            "PATCH /api/v2/users/{id}",
            "status",
            1,
            json!({"status": 503}),
        )
        .await;
    ada.open("/console/user/3").await;
    ada.fill("Name", "Otto II").await;
    ada.press("Save").await;
    ada.sees("Changed. Auth0 follows.").await;
    site.world.settle().await;
    ada.open("/console/user/3").await;
    ada.sees("failing").await;
    ada.sees("server_error").await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto II"
    );
    site.world.settle_in_time().await;
    ada.open("/console/user/3").await;
    ada.sees("synced").await;
    assert_eq!(
        site.world.tenant.account("otto@example.com").await["name"],
        "Otto II"
    );
}

#[tokio::test]
async fn who_cannot_log_in_because_auth0_is_gone_is_told_so_and_comes_in_with_the_break_glass_token()
 {
    let site = Site::new().await;
    let ada = Chromium::at(&site.url).await;
    site.world
        .tenant
        .fault("POST /oauth/token", "cut_before", 1, json!({}))
        .await;
    ada.open("/console").await;
    ada.press("Log in with Auth0").await;
    ada.fill("Google account", "ada@example.com").await;
    ada.press("Continue with Google").await;
    ada.sees("Auth0 could not be reached").await;
    ada.press("Start again").await;
    ada.press("Break-glass token").await;
    ada.fill("Break-glass token", "a guess").await;
    ada.press("Enter").await;
    ada.sees("That is not the token.").await;
    ada.fill("Break-glass token", GLASS).await;
    ada.press("Enter").await;
    ada.sees("Overview").await;
    ada.sees("break-glass token").await;
}

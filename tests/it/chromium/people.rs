//! What people do all day.

use super::{Chromium, Site, ada};

/// Names as hardly anybody has them.
fn hostile() -> [String; 3] {
    [
        "<script>document.title = 'taken'</script>".to_owned(),
        "\u{202e}\u{5d0}\u{5d9}\u{5de}\u{5d4}".to_owned(),
        "W".repeat(255),
    ]
}

#[tokio::test]
async fn a_user_is_found_changed_blocked_and_deleted_and_auth0_follows() {
    let (site, ada) = ada().await;
    ada.press("Users").await;
    ada.fill("Address begins with", "ot").await;
    ada.press("Search").await;
    ada.sees("otto@example.com").await;
    assert!(!ada.text().await.contains("rita@example.com"));
    ada.press("otto@example.com").await;
    ada.fill("Name", "Otto II").await;
    ada.fill("Role", "Reader").await;
    ada.press("Save").await;
    ada.sees("Changed. Auth0 follows.").await;
    ada.press("Block").await;
    ada.sees("no application that asks Roster lets this user in")
        .await;
    site.world.settle().await;
    let account = site.world.tenant.account("otto@example.com").await;
    assert_eq!(
        (&account["name"], &account["blocked"]),
        (&"Otto II".into(), &true.into())
    );
    ada.press("Unblock").await;
    ada.sees("Unblocked.").await;
    // The browser itself asks for the tick.
    ada.touch("Delete").await;
    assert!(
        ada.place()
            .await
            .starts_with("/console/user/3?done=unblocked")
    );
    ada.tick("Remove this row").await;
    ada.press("Delete").await;
    ada.sees("Deleted: the row is gone").await;
    let gone = "select count(*)::text from users where email = 'otto@example.com'";
    assert_eq!(site.one(gone).await, "0");
    ada.press("Log out").await;
    ada.sees("Log in with Auth0").await;
    ada.open("/console/users").await;
    ada.sees("Log in with Auth0").await;
}

#[tokio::test]
async fn whoever_has_a_hostile_name_is_a_user_like_others() {
    let (site, ada) = ada().await;
    for (number, name) in hostile().iter().enumerate() {
        ada.press("New user").await;
        ada.fill("E-mail", &format!("h{number}@example.com")).await;
        ada.fill("Name", name).await;
        ada.fill("Role", "Artist").await;
        ada.press("Add").await;
        ada.sees("Added.").await;
        assert_eq!(&ada.entered("Name").await, name);
        assert_eq!(
            ada.run("return document.title").await,
            format!("h{number}@example.com · Roster")
        );
    }
    ada.is_wide(375).await;
    ada.open("/console/users?q=h").await;
    let shown = ada.run("return [...document.querySelectorAll('tbody td:nth-child(3)')].map((td) => td.textContent)").await;
    assert_eq!(shown, serde_json::json!(hostile()));
    assert_eq!(ada.sideways().await, 0);
    site.world.settle().await;
    for (number, name) in hostile().iter().enumerate() {
        let account = site
            .world
            .tenant
            .account(&format!("h{number}@example.com"))
            .await;
        // As much as Auth0 takes.
        assert_eq!(account["name"], name.chars().take(150).collect::<String>());
        ada.open(&format!("/console/user/{}", number + 4)).await;
        assert!(!ada.text().await.contains("(differs)"));
    }
}

#[tokio::test]
async fn of_two_who_change_a_user_at_once_the_second_is_told_and_overwrites_nothing() {
    let site = Site::new().await;
    site.world
        .run("update users set role = 'Admin' where id = 2")
        .await;
    let [ada, rita] = Chromium::some(&site.url).await;
    ada.log_in("ada@example.com").await;
    rita.log_in("rita@example.com").await;
    ada.open("/console/user/3").await;
    rita.open("/console/user/3").await;
    rita.fill("Name", "Otto of Rita").await;
    rita.press("Save").await;
    rita.sees("Changed. Auth0 follows.").await;
    ada.fill("Name", "Otto of Ada").await;
    ada.press("Save").await;
    ada.sees("Somebody else changed this user while you looked. Nothing of yours was written.")
        .await;
    ada.sees("Otto of Ada").await;
    assert_eq!(ada.entered("Name").await, "Otto of Rita");
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto of Rita"
    );
    ada.fill("Name", "Otto of both").await;
    ada.press("Save").await;
    ada.sees("Changed. Auth0 follows.").await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto of both"
    );
}

#[tokio::test]
async fn held_removals_are_kept_one_by_one_and_released_by_their_number() {
    let (site, ada) = ada().await;
    site.world.add_many(25).await;
    site.world.settle().await;
    site.world
        .run("delete from users where email like 'user-%'")
        .await;
    site.world.settle().await;
    ada.open("/console").await;
    ada.press("Judge them").await;
    ada.sees("25 are held.").await;
    ada.press("Keep").await;
    ada.sees("24 are held.").await;
    ada.fill("Type their number to confirm", "25").await;
    ada.press("Release all").await;
    ada.sees("that is not how many are held now").await;
    ada.fill("Type their number to confirm", "24").await;
    ada.press("Release all").await;
    ada.sees("No removal is held.").await;
    site.world.settle().await;
    let blocked = site.world.tenant.list("users").await;
    assert_eq!(
        blocked
            .iter()
            .filter(|user| user["blocked"] == true)
            .count(),
        24
    );
}

#[tokio::test]
async fn many_users_are_ticked_seen_once_more_and_blocked() {
    let (site, ada) = ada().await;
    ada.press("Users").await;
    ada.run("for (const box of document.querySelectorAll('[name=key]')) if (box.value !== '1') box.click()")
        .await;
    // A row that comes while somebody ticks takes no tick away.
    ada.sees("Pause · live").await;
    site.world
        .run("insert into users (email) values ('aa@example.com')")
        .await;
    ada.sees("aa@example.com").await;
    ada.press("Block").await;
    ada.sees("Block: 2 users.").await;
    ada.fill("Type their number to confirm", "2").await;
    ada.press("Block").await;
    ada.sees("Done, for 2 users.").await;
    let blocked = "select string_agg(id::text, ',' order by id) from users where blocked";
    assert_eq!(site.one(blocked).await, "2,3");
}

#[tokio::test]
async fn everything_goes_without_javascript() {
    let site = Site::new().await;
    let ada = Chromium::at(&site.url).await;
    ada.devtools(
        "Emulation.setScriptExecutionDisabled",
        serde_json::json!({"value": true}),
    )
    .await;
    ada.log_in("ada@example.com").await;
    ada.press("Users").await;
    ada.fill("Address begins with", "otto").await;
    ada.press("Search").await;
    ada.press("otto@example.com").await;
    ada.fill("Name", "Otto without").await;
    ada.press("Save").await;
    ada.sees("Changed. Auth0 follows.").await;
    ada.touch("Show the SQL").await;
    ada.sees("select * from roster.desired_users where user_key = '3';")
        .await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto without"
    );
}

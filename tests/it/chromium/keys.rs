//! The console without a mouse.

use super::ada;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SPACE: &str = " ";

/// What has the focus, by its words or its label, and whether that can be seen.
const FOCUS: &str = "const on = document.activeElement;
const seen = getComputedStyle(on);
const at = on.getBoundingClientRect();
const visible = seen.outlineStyle !== 'none' && parseFloat(seen.outlineWidth) >= 2 && at.width > 0 && at.left >= 0;
const name = on.getAttribute('aria-label') ?? (on.labels?.[0] ?? on).innerText.trim();
return (visible ? '' : 'unseen ') + name.split('\\n')[0];";

#[tokio::test]
async fn a_user_is_found_and_changed_by_keyboard_alone() {
    let (site, ada) = ada().await;
    ada.open("/console/users").await;
    ada.type_keys("/").await;
    ada.until("document.activeElement.type === 'search'").await;
    ada.type_keys("otto").await;
    ada.type_keys(ENTER).await;
    ada.until("document.querySelectorAll('tbody tr').length === 1")
        .await;
    for _ in 0..40 {
        if ada.run(FOCUS).await == "otto@example.com" {
            break;
        }
        ada.type_keys(TAB).await;
    }
    ada.type_keys(ENTER).await;
    ada.sees("May do").await;
    for _ in 0..40 {
        if ada.run(FOCUS).await == "Name" {
            break;
        }
        ada.type_keys(TAB).await;
    }
    // Who comes to a field by Tab has all of it selected.
    ada.type_keys("Otto by keys").await;
    ada.type_keys(ENTER).await;
    ada.sees("Changed. Auth0 follows.").await;
    assert_eq!(
        site.one("select name from users where id = 3").await,
        "Otto by keys"
    );
}

#[tokio::test]
async fn the_focus_is_seen_wherever_it_goes_in_the_order_of_the_page_and_the_first_stop_skips_to_the_content()
 {
    let (_site, ada) = ada().await;
    ada.open("/console/user/3").await;
    ada.sees("Pause · live").await;
    let mut stops = Vec::new();
    for _ in 0..40 {
        ada.type_keys(TAB).await;
        let stop = ada.run(FOCUS).await;
        let stop = stop.as_str().unwrap_or_default().to_owned();
        if stops.first() == Some(&stop)
            || stop.starts_with("unseen Skip")
            || ada
                .run("return document.activeElement === document.body")
                .await
                == true
        {
            break;
        }
        stops.push(stop);
    }
    assert_eq!(
        stops,
        [
            "Skip to the content",
            "Overview",
            "Users",
            "Changes",
            "Problems",
            "Drift",
            "Held",
            "Roles",
            "Import",
            "New user",
            "Log out",
            "Pause · live",
            "Both sides",
            "Sync now",
            "Invite again",
            "Link another account",
            "Block",
            "E-mail",
            "Name",
            "Role",
            "Permissions beyond the role, one a line",
            "Save",
            "Remove this row; the account in Auth0 is blocked",
            "Delete",
            "What happened",
            "Show the SQL",
            "The SQL of the buttons",
        ]
    );
    ada.open("/console/user/3").await;
    ada.type_keys(TAB).await;
    ada.type_keys(ENTER).await;
    ada.until("location.hash === '#main'").await;
    ada.type_keys(TAB).await;
    ada.sees("Pause · live").await;
    assert_eq!(ada.run(FOCUS).await, "Pause · live");
    ada.type_keys(SPACE).await;
    ada.sees("Pause · paused").await;
}

//! What concerns many users at once: roles, and files.

use std::io::Write;

use super::ada;

#[tokio::test]
async fn a_permission_is_given_and_another_taken_after_a_look_at_whom_that_touches() {
    let (site, ada) = ada().await;
    site.world
        .run("insert into role_permissions values ('Artist', 'songs:read'), ('Artist', 'songs:sell')")
        .await;
    ada.press("Roles").await;
    ada.tick_named("Artist: songs:sell").await;
    ada.tick_named("Reader: songs:read").await;
    ada.fill("Role", "Editor").await;
    ada.fill("Permission", "songs:edit").await;
    ada.press("See what changes").await;
    ada.sees("2 users are touched.").await;
    ada.sees("loses songs:sell").await;
    let grants = "select string_agg(role || ' ' || permission, ', ' order by role, permission) from role_permissions where permission like 'songs:%'";
    assert_eq!(
        site.one(grants).await,
        "Artist songs:read, Artist songs:sell"
    );
    ada.press("Save all of it").await;
    ada.sees("Saved. Applications that ask Roster go by it at once")
        .await;
    assert_eq!(
        site.one(grants).await,
        "Artist songs:read, Editor songs:edit, Reader songs:read"
    );
    site.world.settle().await;
    let rita = site.world.tenant.account("rita@example.com").await;
    let permissions = rita["app_metadata"]["permissions"].to_string();
    assert!(permissions.contains("songs:read"), "{permissions}");
}

#[tokio::test]
async fn a_file_is_uploaded_looked_at_line_by_line_written_and_followed_to_auth0() {
    let (site, ada) = ada().await;
    let mut file = tempfile::Builder::new()
        .suffix(".csv")
        .tempfile()
        .expect("a file");
    file.write_all(
        "E-Mail;name\r\nADA@example.com;Ada L.\r\nnew@example.com;<b>New</b>\r\nno address;Eve\r\n"
            .as_bytes(),
    )
    .expect("a file");
    ada.press("Import").await;
    ada.choose("File", file.path()).await;
    ada.touch("Its columns have other names").await;
    ada.fill("HEADER=COLUMN", "E-Mail=email").await;
    ada.press("Upload and try it").await;
    // As the page itself becomes, without being loaded again.
    ada.sees("Nothing is written yet.").await;
    ada.sees("<b>New</b>").await;
    ada.sees("this is no address").await;
    assert_eq!(site.one("select count(*)::text from users").await, "3");
    ada.press("bad").await;
    ada.until("document.querySelectorAll('tbody tr').length === 1")
        .await;
    ada.press("Leave the 1 bad lines out and write 2 rows")
        .await;
    ada.sees("It waits to be taken over by a reactor.").await;
    ada.run("window.isSame = true").await;
    site.world.fold().await;
    ada.sees("2 users, these and others, still on the way to Auth0")
        .await;
    site.world.settle().await;
    ada.sees("Nobody is on the way to Auth0 any more.").await;
    assert_eq!(ada.run("return window.isSame").await, true);
    assert!(site.world.tenant.user("new@example.com").await.is_some());
    ada.press("What became of each").await;
    ada.sees("new@example.com").await;
    ada.press("Import").await;
    let name = file.path().file_name().expect("a name").to_string_lossy();
    ada.sees(&name).await;
    ada.sees("written").await;
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_with_what_to_do() {
    let (site, ada) = ada().await;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"PK\x03\x04....").expect("a file");
    ada.press("Import").await;
    ada.choose("File", file.path()).await;
    ada.press("Upload and try it").await;
    ada.sees("CSV UTF-8").await;
    assert_eq!(
        site.one("select count(*)::text from roster.imports").await,
        "0"
    );
}

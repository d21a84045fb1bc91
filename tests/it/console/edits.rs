//! What is done at the console is done to the table, by somebody, on what they have seen.

use super::Site;
use crate::support::{Database, world::World};

/// A name as nobody has it.
const HOSTILE: &str = "<script>alert(1)</script>'\"\u{202e}&\\";

#[tokio::test]
async fn a_user_is_made_changed_blocked_and_deleted_and_auth0_follows() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = [
        ("email", "new@example.com"),
        ("name", HOSTILE),
        ("role", "Artist"),
    ];
    let made = ada
        .post("/console/new-user", "/console/new-user", &form)
        .await;
    assert_eq!(made.status, 303, "{}", made.body);
    let page = ada.get(&made.location()).await;
    assert!(page.says("Added.") && page.says("&lt;script&gt;") && !page.says("<script>"));
    // Nor does it turn round what is shown for psql.
    assert!(page.says("\\u202e"), "{}", page.body);
    site.world.settle().await;
    assert_eq!(
        site.world.tenant.account("new@example.com").await["name"],
        HOSTILE
    );

    let user = made
        .location()
        .split('?')
        .next()
        .unwrap_or_default()
        .to_owned();
    let form = [
        ("email", "new@example.com"),
        ("name", "New"),
        ("role", "Reader"),
        ("own", "songs:read\r\nsongs:sell\r\n"),
    ];
    let changed = ada.post(&user, &format!("{user}/edit"), &form).await;
    assert_eq!(changed.status, 303, "{}", changed.body);
    let page = ada.get(&user).await;
    assert!(
        page.says("songs:sell</code> the user&#39;s own")
            || page.says("songs:sell</code> the user's own"),
        "{}",
        page.body
    );
    assert_eq!(
        ada.post(&user, &format!("{user}/block"), &[]).await.status,
        303
    );
    site.world.settle().await;
    let account = site.world.tenant.account("new@example.com").await;
    assert_eq!(
        (&account["name"], &account["blocked"]),
        (&"New".into(), &true.into())
    );
    assert_eq!(account["app_metadata"]["role"], "Reader");

    let unsure = ada.post(&user, &format!("{user}/delete"), &[]).await;
    assert_eq!(unsure.status, 422);
    let gone = ada
        .post(&user, &format!("{user}/delete"), &[("sure", "yes")])
        .await;
    assert_eq!(gone.status, 303);
    assert_eq!(
        site.one("select count(*)::text from users where email = 'new@example.com'")
            .await,
        "0"
    );
    // Who has a past is still shown.
    assert!(ada.get(&user).await.says("removed"));
}

#[tokio::test]
async fn history_names_who_acted_at_the_console() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    ada.post("/console/user/3", "/console/user/3/block", &[])
        .await;
    ada.post("/console/user/3", "/console/user/3/sync", &[])
        .await;
    let told = "select string_agg(op || ': ' || actor, ', ' order by id) from roster.changes where user_keys = '{3}' and actor is not null";
    assert_eq!(
        site.one(told).await,
        "update: ada@example.com (user 1), resync: ada@example.com (user 1)"
    );
    let page = ada.get("/console/user/3").await;
    assert!(page.says("ada@example.com (user 1) by "), "{}", page.body);
}

#[tokio::test]
async fn who_may_only_look_changes_nothing() {
    let site = Site::new().await;
    let (mut rita, page) = site.log_in("rita@example.com").await;
    assert!(page.status == 200 && !page.says("New user"));
    let user = rita.get("/console/user/3").await;
    assert!(!user.says("/block") && !user.says("/edit") && !user.says("/sync"));
    for (path, permission) in [
        ("/console/user/3/block", "roster:write"),
        ("/console/user/3/edit", "roster:write"),
        ("/console/user/3/delete", "roster:write"),
        ("/console/new-user", "roster:write"),
        ("/console/user/3/sync", "roster:operate"),
        ("/console/held", "roster:operate"),
    ] {
        let refused = rita
            .post(
                "/console",
                path,
                &[("email", "x@example.com"), ("sure", "yes")],
            )
            .await;
        assert_eq!(
            (refused.status, refused.says(permission)),
            (403, true),
            "{path}"
        );
    }
    assert_eq!(
        site.one("select count(*)::text from users where not blocked")
            .await,
        "3"
    );
}

#[tokio::test]
async fn somebody_else_who_changed_the_user_meanwhile_is_told_not_overwritten() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let seen = ada.get("/console/user/3").await;
    site.world
        .run("update users set role = 'Reader' where id = 3")
        .await;
    let form = [
        ("email", "otto@example.com"),
        ("name", "Otto II"),
        ("role", "Artist"),
    ];
    let told = ada.post_from(&seen, "/console/user/3/edit", &form).await;
    assert_eq!(
        (told.status, told.says("Otto II")),
        (409, true),
        "{}",
        told.body
    );
    assert_eq!(
        site.one("select role || ' ' || name from users where id = 3")
            .await,
        "Reader Otto"
    );
    // What it shows now can be changed.
    assert_eq!(
        ada.post_from(&told, "/console/user/3/edit", &form)
            .await
            .status,
        303
    );
    // An id that Roster writes back is no change of the user.
    let seen = ada.get("/console/user/3").await;
    site.world
        .run("update users set auth0_user_id = null where id = 3")
        .await;
    assert_eq!(
        ada.post_from(&seen, "/console/user/3/block", &[])
            .await
            .status,
        303
    );
}

#[tokio::test]
async fn nobody_takes_his_own_rights_and_the_last_who_may_write_stays() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let demote = [
        ("email", "ada@example.com"),
        ("name", "Ada"),
        ("role", "Reader"),
    ];
    for (path, form) in [
        ("edit", &demote[..]),
        ("block", &[]),
        ("delete", &[("sure", "yes")]),
    ] {
        let refused = ada
            .post("/console/user/1", &format!("/console/user/1/{path}"), form)
            .await;
        assert_eq!(
            (refused.status, refused.says("that is you")),
            (403, true),
            "{path}"
        );
    }
    let own = [
        ("email", "ada@example.com"),
        ("name", "Ada L."),
        ("role", "Admin"),
    ];
    assert_eq!(
        ada.post("/console/user/1", "/console/user/1/edit", &own)
            .await
            .status,
        303
    );

    let (mut glass, token) = (super::Browser::new(&site.url), [("token", super::GLASS)]);
    glass.post_just("/console/break-glass", &token).await;
    let last = glass
        .post("/console/user/1", "/console/user/1/block", &[])
        .await;
    assert_eq!(
        (last.status, last.says("last user with roster:write")),
        (403, true)
    );
    site.world
        .run("update users set role = 'Admin' where id = 2")
        .await;
    assert_eq!(
        glass
            .post("/console/user/1", "/console/user/1/block", &[])
            .await
            .status,
        303
    );
}

#[tokio::test]
async fn what_the_table_refuses_is_said_in_its_words() {
    let site = Site::new().await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = [
        ("email", "OTTO@example.com"),
        ("name", "Kept"),
        ("role", "Artist"),
    ];
    let refused = ada
        .post("/console/new-user", "/console/new-user", &form)
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.says("users_email_without_case") && refused.says("Kept"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn the_list_is_paged_by_address_and_searched_by_its_beginning() {
    let site = Site::new().await;
    site.world.add_many(120).await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let (mut next, mut met) = ("/console/users".to_owned(), Vec::new());
    loop {
        let page = ada.get(&next).await;
        met.extend(
            page.body
                .split("/console/user/")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap_or_default().to_owned()),
        );
        let Some((_, rest)) = page.body.split_once("rel=\"next\" href=\"") else {
            break;
        };
        next = rest
            .split('"')
            .next()
            .unwrap_or_default()
            .replace("&amp;", "&");
    }
    let all = site
        .world
        .texts("select id::text from users order by lower(email) collate \"C\"")
        .await;
    assert_eq!(met, all);
    let found = ada.get("/console/users?q=USER-11&state=pending").await;
    assert_eq!(found.body.matches("/console/user/").count(), 0);
    site.world.fold().await;
    let found = ada.get("/console/users?q=USER-11&state=pending").await;
    assert_eq!(
        found.body.matches("/console/user/").count(),
        11,
        "{}",
        found.body
    );
    for state in ["failing", "disputed", "held", "drift", "blocked"] {
        let page = ada.get(&format!("/console/users?state={state}")).await;
        assert_eq!(
            (page.status, page.says("Nobody is like that")),
            (200, true),
            "{state}"
        );
    }
}

#[tokio::test]
async fn held_removals_go_ahead_once_somebody_says_how_many_they_are() {
    let site = Site::new().await;
    let mut glass = super::Browser::new(&site.url);
    glass
        .post_just("/console/break-glass", &[("token", super::GLASS)])
        .await;
    site.world.run("truncate users cascade").await;
    site.world.settle().await;
    let page = glass.get("/console/held").await;
    assert!(
        page.says("3 are held.") && page.says("otto@example.com"),
        "{}",
        page.body
    );
    assert!(
        glass
            .get("/console")
            .await
            .says("3 removals wait for a person")
    );
    let judge = |number| [("which", "all"), ("verdict", "release"), ("number", number)];
    let unsure = glass.post_from(&page, "/console/held", &judge("2")).await;
    assert_eq!(unsure.status, 409);
    let keep = [("which", "3"), ("verdict", "discard")];
    assert_eq!(
        glass.post_from(&page, "/console/held", &keep).await.status,
        303
    );
    assert_eq!(
        glass
            .post_from(&page, "/console/held", &judge("2"))
            .await
            .status,
        303
    );
    site.world.settle().await;
    let blocked = async |email| site.world.tenant.account(email).await["blocked"] == true;
    assert!(blocked("ada@example.com").await && blocked("rita@example.com").await);
    assert!(!blocked("otto@example.com").await);
    assert!(glass.get("/console/held").await.says("No removal is held"));
}

#[tokio::test]
async fn columns_of_any_type_take_what_a_form_says() {
    let database = Database::empty().await;
    let mut client = database.client().await;
    let table = "create type rank as enum ('Admin', 'Reader', 'Artist');
        create table users (id serial primary key, auth0_user_id varchar(255) unique, email varchar(255) unique not null,
            name varchar(255), role rank not null default 'Artist', blocked boolean not null default false)";
    client.batch_execute(table).await.expect("a table");
    roster::db::migrate::migrate(&mut client, false)
        .await
        .expect("a migration");
    let world = World::installed(database, |_| {}).await;
    world.enforce().await;
    let site = Site::of(world, Database::pool).await;
    let (mut ada, _) = site.log_in("ada@example.com").await;
    let form = [
        ("email", "otto@example.com"),
        ("name", "Otto"),
        ("role", "Reader"),
    ];
    let changed = ada
        .post("/console/user/3", "/console/user/3/edit", &form)
        .await;
    assert_eq!(changed.status, 303, "{}", changed.body);
    let role = "select role::text from users where id = 3";
    assert_eq!(site.one(role).await, "Reader");
    let bulk = [
        ("key", "3"),
        ("do", "role"),
        ("role", "Artist"),
        ("number", "1"),
    ];
    let done = ada
        .post("/console/users", "/console/users/bulk", &bulk)
        .await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(site.one(role).await, "Artist");
    let wrong = [
        ("email", "otto@example.com"),
        ("name", "Otto"),
        ("role", "Nothing"),
    ];
    let refused = ada
        .post("/console/user/3", "/console/user/3/edit", &wrong)
        .await;
    assert_eq!(
        (refused.status, refused.says("invalid input value for enum")),
        (422, true),
        "{}",
        refused.body
    );
}

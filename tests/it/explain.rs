//! Why is this user as it is, and what now? `roster.explain` has a sentence for every state, and ends in the next step; history tells
//! who made it so.

use crate::support::{
    sql::{SETTLE, Sql},
    world::World,
};

/// The text about one user has each of these words.
async fn says(sql: &Sql, question: &str, words: &[&str]) {
    let text = sql.row(&format!("select roster.explain({question})")).await;
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

/// Ada and Bob as the reactor leaves them, in enforce.
async fn settled() -> Sql {
    let sql = Sql::enforcing().await;
    sql.run(
        "insert into role_permissions values ('Artist', 'read:songs'); \
         insert into users (id, email, name) values (1, 'ada@example.com', 'Ada'), (2, 'bob@example.com', 'Bob')",
    )
    .await;
    sql.run(SETTLE).await;
    sql
}

#[tokio::test]
async fn each_state_of_a_user_has_its_next_step() {
    let table = [
        ("", "Nothing: Auth0 agrees with the row."),
        (
            "update users set role = 'Editor' where id = 1; select roster.fold()",
            "No reactor is running. Start one: roster run",
        ),
        (
            "select roster.pause('lunch'); update users set role = 'Editor' where id = 1; select roster.fold()",
            "select roster.resume();",
        ),
        (
            "select roster.set_mode('additive'); delete from users where id = 1; select roster.fold()",
            "select roster.set_mode('enforce');",
        ),
        (
            "update roster.settings set guard_protected = '{1}'; delete from users where id = 1; select roster.fold()",
            "select roster.release_held('1');",
        ),
        (
            "update roster.settings set guard_protected = '{1}'; delete from users where id = 1; select roster.fold(); select roster.discard_held('1')",
            "kept this account until the row changes again",
        ),
        (
            "update roster.mirror set disputed = 'accounts_double', look_wanted = true where user_key = '1'",
            "select roster.link('1', 'auth0|…');",
        ),
        (
            "update users set email = 'no address' where id = 1; select roster.fold()",
            "Correct the row",
        ),
        (
            "update roster.accounts set call_id = gen_random_uuid(), call_action = 'update', call_deadline = now() + interval '1 hour' where user_key = '1'",
            "it goes on by itself",
        ),
        (
            "update roster.accounts set blocked = true where user_key = '1'",
            "Lift the ban in Auth0's dashboard, or block the row too.",
        ),
    ];
    for (statements, next) in table {
        let sql = settled().await;
        sql.run(statements).await;
        let step = format!("Next: {next}");
        let text = sql.row("select roster.explain('1')").await;
        assert!(
            text.lines()
                .any(|line| line.starts_with("Next: ") && line.contains(next)),
            "after {statements}, {step} is not in:\n{text}"
        );
    }
}

#[tokio::test]
async fn a_user_is_told_about_from_the_row_to_the_account() {
    let sql = settled().await;
    sql.run("set roster.reason = 'ticket 4711'; update users set role = 'Editor' where id = 1; reset roster.reason")
        .await;
    let known = [
        "User 1 <ada@example.com> is in roster.desired_users: role Editor, not blocked.",
        "Last change: update on public.users",
        "because: ticket 4711",
        "The reactor has not taken this change over yet.",
        "app_metadata.role from \"Artist\" to \"Editor\"",
    ];
    says(&sql, "'Ada@Example.com'", &known).await;
    sql.run("delete from users where id = 2; select roster.fold()")
        .await;
    let gone = [
        "has no row: it went by delete",
        "user_not_provisioned",
        "Planned: block",
    ];
    says(&sql, "'2'", &gone).await;
    let refusal = sql
        .refusal("select roster.explain('nobody@example.com')")
        .await;
    assert_eq!(refusal.code().code(), "RO003");
}

#[tokio::test]
async fn a_denied_permission_names_the_grant_that_would_allow_it() {
    let sql = settled().await;
    says(&sql, "'1', 'read:songs'", &["read:songs is allowed."]).await;
    let text = sql.row("select roster.explain('1', 'edit:songs')").await;
    let statement = text.split("Next: Grant it: ").nth(1).expect("the grant");
    let alone = statement.split_inclusive(';').next().expect("a statement");
    sql.run(alone).await;
    says(&sql, "'1', 'edit:songs'", &["edit:songs is allowed."]).await;
    sql.run("update users set blocked = true where id = 1")
        .await;
    let blocked = ["refused (user_blocked)", "Next: Unblock the row first"];
    says(&sql, "'1', 'edit:songs'", &blocked).await;
}

#[tokio::test]
async fn history_tells_who_changed_whom_and_what_auth0_was_told() {
    let world = World::new().await;
    world.add(&["ada@example.test", "bob@example.test"]).await;
    world.settle().await;
    world
        .run("set application_name = 'a tool'; begin; set local roster.reason = 'promoted'; update users set role = 'Editor'; commit")
        .await;
    world.settle().await;
    let one = "select concat_ws('|', application_name, did, user_keys, reason) from roster.transactions where reason = 'promoted'";
    assert_eq!(
        world.texts(one).await,
        ["a tool|update public.users|2|promoted"]
    );
    let told = "select concat_ws('|', h.email, h.action, h.outcome, h.detail, h.after between '0' and '5 min') \
        from roster.transactions t cross join roster.history_of_transaction(t.txid) h where t.reason = 'promoted'";
    let detail = "app_metadata.role from \"Artist\" to \"Editor\"";
    assert_eq!(
        world.texts(told).await,
        ["ada", "bob"].map(|who| format!("{who}@example.test|update|ok 200|{detail}|t"))
    );
    let of_ada = "select what from roster.history_of('ada@example.test') where what not like 'watch%' and what not like 'set_mode%'";
    assert_eq!(
        world.texts(of_ada).await,
        [
            "insert public.users",
            "create",
            "invite",
            "update public.users",
            "update public.users",
            "update"
        ]
    );
}

#[tokio::test]
async fn a_removal_says_when_it_was_committed_blocked_and_over() {
    let world = World::new().await;
    world
        .run("update roster.settings set token_lifetime = '2 hours'")
        .await;
    world.add(&["ada@example.test", "bob@example.test"]).await;
    world.settle().await;
    world
        .run("update users set blocked = true where id = 1; update roster.settings set guard_protected = '{2}'; delete from users where id = 2")
        .await;
    world.settle_in_time().await;
    let removals = "select concat_ws('|', user_key, because, denied_at = committed_at, exposure < '5 min', \
        last_token_expires_at - blocked_at) from roster.removals order by user_key";
    assert_eq!(
        world.texts(removals).await,
        [
            "1|the row is blocked|t|t|02:00:00",
            "2|this user is protected|t"
        ]
    );
}

#[tokio::test]
async fn who_is_to_be_out_and_is_not_blocked_yet_is_among_the_removals_whatever_holds_it_up() {
    let world = World::new().await;
    world.add(&["ada@example.test", "bob@example.test"]).await;
    world.settle().await;
    let removals = "select concat_ws('|', user_key, because, blocked_at is not null) from roster.removals order by 1";
    world
        .run("select roster.set_mode('additive'); delete from users where id = 1; update users set blocked = true where id = 2")
        .await;
    assert_eq!(
        world.texts(removals).await,
        [
            "1|the row is gone (not folded yet)|f",
            "2|the row is blocked|f"
        ]
    );
    world.settle().await;
    assert_eq!(
        world.texts(removals).await,
        ["1|the row is gone (delete)|f", "2|the row is blocked|f"]
    );
    world.enforce().await;
    assert_eq!(
        world.texts(removals).await,
        ["1|the row is gone (delete)|t", "2|the row is blocked|t"]
    );
    world
        .run("update users set blocked = false where id = 2; insert into users (id, email, name) values (1, 'ada@example.test', 'ada')")
        .await;
    world.settle().await;
    let back = "the row was gone or blocked, and is there again";
    assert_eq!(
        world.texts(removals).await,
        [format!("1|{back}|t"), format!("2|{back}|t")]
    );
}

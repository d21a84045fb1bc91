//! The buttons in SQL: what they do, what they say, and what they refuse and how.

use std::time::Duration;

use crate::support::sql::{SETTLE, Sql, refusal, rows, run};

async fn two_people() -> Sql {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email, name) values ('ada@example.test', 'Ada'), ('bob@example.test', 'Bob')")
        .await;
    sql.run(SETTLE).await;
    sql
}

/// The `RO…` code of a refusal, whose detail is there and whose hint is a statement that PostgreSQL can parse and resolve.
async fn refused(sql: &Sql, statement: &str) -> String {
    let refusal = sql.refusal(statement).await;
    assert!(refusal.detail().is_some(), "{statement}: {refusal:?}");
    let hint = refusal.hint().expect("a hint").to_owned();
    let session = sql.session().await;
    for part in hint
        .split_terminator(';')
        .filter(|part| part.trim() != "commit")
    {
        if let Err(error) = session.prepare(part).await {
            panic!("{statement}: the hint {part} is no statement: {error:?}");
        }
    }
    format!("{} {}", refusal.code().code(), refusal.message())
}

#[tokio::test]
async fn a_resync_looks_at_auth0_again_whoever_is_named_however() {
    for who in ["1", "Ada@Example.TEST", "auth0|1"] {
        let sql = two_people().await;
        assert_eq!(
            sql.row(&format!("select roster.resync('{who}')")).await,
            "1",
            "{who}"
        );
        sql.run("select roster.fold()").await;
        assert_eq!(sql.plan().await, ["1 look due"], "{who}");
        assert_eq!(
            sql.rows("select user_key, due from roster.mirror order by 1")
                .await,
            ["1 t", "2 f"]
        );
    }
}

#[tokio::test]
async fn somebody_who_was_removed_is_still_known() {
    let sql = two_people().await;
    sql.run("delete from users where id = 1; select roster.fold()")
        .await;
    assert_eq!(
        sql.row("select roster.resync('ada@example.test')").await,
        "1"
    );
    assert_eq!(
        refused(&sql, "select roster.resync('nobody@example.test')").await,
        "RO003 nobody is known as 'nobody@example.test'"
    );
}

#[tokio::test]
async fn a_resync_of_all_looks_at_everybody_and_a_retry_at_what_failed() {
    let sql = two_people().await;
    sql.run("alter table users disable trigger roster_update; update users set name = 'x'; select roster.resync_all()")
        .await;
    assert_eq!(
        sql.row("select folded, looked_at_everybody from roster.fold()")
            .await,
        "1 t"
    );
    assert_eq!(
        sql.row("select count(*) from roster.mirror where due")
            .await,
        "2"
    );
    sql.run("update roster.mirror set due = false; update roster.mirror set error_code = 'timeout', error_class = 'transient' where user_key = '2'")
        .await;
    assert_eq!(
        sql.row("select roster.retry_failed('rate_limited')").await,
        "0"
    );
    assert_eq!(sql.row("select roster.retry_failed('timeout')").await, "1");
    assert_eq!(sql.row("select roster.retry_failed()").await, "1");
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.rows("select user_key, due, error_code from roster.mirror order by 1")
            .await,
        ["1 f -", "2 t -"]
    );
    assert_eq!(sql.row("select roster.retry_failed()").await, "0");
}

#[tokio::test]
async fn a_pause_has_a_reason_and_a_resume_forgets_it() {
    let sql = two_people().await;
    sql.run("select roster.pause('the tenant moves'); update users set name = 'x' where id = 1; select roster.fold()")
        .await;
    assert_eq!(
        sql.row("select paused_at is not null, pause_reason from roster.status")
            .await,
        "t the tenant moves"
    );
    assert_eq!(sql.plan().await, ["1 update suppressed"]);
    assert_eq!(
        sql.row("select reason from roster.history where op = 'pause'")
            .await,
        "the tenant moves"
    );
    sql.run("select roster.resume()").await;
    assert_eq!(sql.plan().await, ["1 update due"]);
    assert_eq!(
        sql.row("select paused_at, pause_reason from roster.status")
            .await,
        "- -"
    );
}

#[tokio::test]
async fn the_mode_is_chosen_by_somebody_for_this_database() {
    let sql = Sql::observing().await;
    assert_eq!(
        sql.row("select mode, mode_was_chosen from roster.status")
            .await,
        "observe f"
    );
    sql.run("select roster.set_mode('additive')").await;
    assert_eq!(
        sql.row(
            "select mode, mode_chosen_by = session_user, database_identity = roster.this_database() from roster.settings"
        )
        .await,
        "additive t t"
    );
    assert_eq!(
        refused(&sql, "select roster.set_mode('enforced')").await,
        "RO004 there is no mode 'enforced'"
    );
    assert_eq!(
        refused(&sql, "select roster.set_mode(null)").await,
        "RO004 there is no mode NULL"
    );
}

#[tokio::test]
async fn only_what_is_held_can_be_released_or_discarded() {
    let sql = two_people().await;
    for button in ["release_held", "discard_held"] {
        assert_eq!(
            refused(&sql, &format!("select roster.{button}('ada@example.test')")).await,
            "RO005 no removal is held for 'ada@example.test'"
        );
        assert_eq!(
            refused(&sql, &format!("select roster.{button}('all')")).await,
            "RO005 no removal is held for 'all'"
        );
        assert_eq!(
            refused(&sql, &format!("select roster.{button}('nobody')")).await,
            "RO003 nobody is known as 'nobody'"
        );
    }
    sql.run("delete from users; select roster.fold()").await;
    assert_eq!(sql.row("select roster.release_held('all')").await, "2");
    assert_eq!(sql.plan().await, ["1 block due", "2 block due"]);
}

#[tokio::test]
async fn a_link_settles_a_dispute_and_the_account_linked_before_becomes_a_further_one() {
    let sql = two_people().await;
    sql.run("update users set auth0_user_id = 'auth0|other', name = 'x' where id = 1; select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 update disputed"]);
    sql.run("select roster.link('ada@example.test', 'auth0|other'); select roster.fold()")
        .await;
    assert_eq!(
        sql.rows("select auth0_user_id, user_key, origin, state, observed_at is null from roster.accounts order by 1")
            .await,
        [
            "auth0|1 1 further linked f",
            "auth0|2 2 made linked f",
            "auth0|other 1 adopted linked t"
        ]
    );
}

#[tokio::test]
async fn a_link_takes_neither_somebody_elses_account_nor_an_unclear_name() {
    let sql = two_people().await;
    assert_eq!(
        refused(&sql, "select roster.link('1', 'auth0|2')").await,
        "RO007 auth0|2 is linked to user 2"
    );
    sql.run("update roster.accounts set email = 'ada@example.test' where user_key = '2'")
        .await;
    assert_eq!(
        refused(&sql, "select roster.link('ada@example.test', 'auth0|3')").await,
        "RO006 'ada@example.test' means 2 users"
    );
    assert_eq!(
        refused(&sql, "select roster.link('nobody', 'auth0|3')").await,
        "RO003 nobody is known as 'nobody'"
    );
}

#[tokio::test]
async fn an_id_chosen_but_never_used_gives_way_to_a_link() {
    let sql = Sql::enforcing().await;
    sql.run("insert into users (email) values ('ada@example.test'); select roster.fold(); \
         insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state) values ('auth0|chosen', '1', 1, 'made', 'chosen'); \
         select roster.link('1', 'auth0|found')")
        .await;
    assert_eq!(
        sql.rows("select auth0_user_id, origin from roster.accounts")
            .await,
        ["auth0|found adopted"]
    );
    assert_eq!(sql.plan().await, ["1 look due"]);
}

#[tokio::test]
async fn an_unlinked_account_is_left_alone_until_somebody_decides() {
    let sql = two_people().await;
    sql.run("select roster.unlink('auth0|1'); select roster.fold(); delete from users where id = 2; select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 look disputed", "2 block due"]);
    assert_eq!(
        refused(&sql, "select roster.unlink('auth0|1')").await,
        "RO008 no user is linked to auth0|1"
    );
    sql.run("select roster.link('1', 'auth0|1'); select roster.fold()")
        .await;
    assert_eq!(sql.plan().await, ["1 look due", "2 block due"]);
}

#[tokio::test]
async fn who_has_the_key_now_is_not_disputed_by_an_account_of_who_had_it_or_by_a_further_one() {
    let sql = two_people().await;
    sql.run("delete from users where id = 1; select roster.fold()")
        .await;
    sql.run("insert into users (id, email) values (1, 'eve@example.test'); select roster.fold()")
        .await;
    sql.run(
        "insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state) \
         select 'google-oauth2|2', user_key, incarnation, 'further', 'linked' from roster.mirror where user_key = '2'; \
         select roster.unlink('auth0|1'), roster.unlink('google-oauth2|2'); select roster.fold()",
    )
    .await;
    let disputed = "select count(*) from roster.mirror where disputed is not null";
    assert_eq!(sql.row(disputed).await, "0");
}

#[tokio::test]
async fn of_two_who_link_one_account_at_a_time_the_second_is_refused() {
    let sql = two_people().await;
    let other = sql.session().await;
    sql.run("begin; select roster.link('1', 'auth0|x')").await;
    let link = "select roster.link('2', 'auth0|x')";
    let (second, ()) = tokio::join!(other.batch_execute(link), async {
        let waits = "select pg_stat_clear_snapshot(), count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock'";
        while !sql.row(waits).await.ends_with('t') {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        sql.run("commit").await;
    });
    let second = second.expect_err("it is another user's by now");
    assert_eq!(
        second.code().map(tokio_postgres::error::SqlState::code),
        Some("RO007")
    );
    let owner = "select user_key from roster.accounts where auth0_user_id = 'auth0|x'";
    assert_eq!(sql.row(owner).await, "1");
}

#[tokio::test]
async fn an_invitation_is_released_or_wanted_anew_and_never_doubled() {
    let sql = two_people().await;
    let invite = "select roster.invite('ada@example.test')";
    assert_eq!(sql.row(invite).await, "a new invitation goes out");
    assert_eq!(
        sql.row(invite).await,
        "an invitation is on its way already",
        "before it went out"
    );
    assert_eq!(sql.plan().await, ["1 invite due"]);
    sql.run("insert into roster.invitations values ('1', 1, 1, 'auth0|1', 'staged')")
        .await;
    assert_eq!(sql.plan().await, ["1 invite staged"]);
    assert_eq!(sql.row(invite).await, "the staged invitation is released");
    assert_eq!(sql.plan().await, ["1 invite due"]);
    sql.run("insert into roster.invitations values ('1', 1, 1, 'auth0|1', 'sent')")
        .await;
    assert_eq!(sql.plan().await, [""; 0]);
    assert_eq!(sql.row(invite).await, "a new invitation goes out");
    assert_eq!(
        sql.row("select invite_epoch from roster.mirror where user_key = '1'")
            .await,
        "2"
    );
}

#[tokio::test]
async fn a_further_account_is_followed_once() {
    let sql = two_people().await;
    let follow = "select roster.follow('1', 'google-oauth2|1', 'ada@example.test')";
    assert_eq!(sql.row(follow).await, "t");
    assert_eq!(sql.row(follow).await, "f");
    assert_eq!(
        sql.row("select roster.follow('99', 'google-oauth2|9', 'x@example.test')")
            .await,
        "f"
    );
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.rows("select auth0_user_id, action from roster.plan")
            .await,
        ["google-oauth2|1 look"]
    );
    assert_eq!(
        sql.row("select count(*) from roster.changes where op = 'follow'")
            .await,
        "1"
    );
}

#[tokio::test]
async fn an_operator_has_the_buttons_and_a_reader_has_not() {
    let sql = two_people().await;
    for (role, may) in [("roster_operator", true), ("roster_reader", false)] {
        let session = sql.session().await;
        run(&session, &format!("set role {role}")).await;
        rows(&session, "select * from roster.status").await;
        rows(&session, "select * from roster.plan").await;
        rows(&session, "select * from roster.wait('0')").await;
        for button in [
            "resync('1')",
            "resync_all()",
            "retry_failed()",
            "pause('x')",
            "resume()",
            "set_mode('enforce')",
            "invite('1')",
            "unlink('auth0|2')",
            "link('2', 'auth0|2')",
        ] {
            let statement = format!("select roster.{button}");
            if may {
                run(&session, &statement).await;
            } else {
                let no = refusal(&session, &statement).await;
                assert_eq!(no.code().code(), "42501", "{statement}");
            }
        }
    }
}

#[tokio::test]
async fn a_tables_shape_that_does_not_fit_is_refused_when_it_is_watched() {
    let sql = two_people().await;
    assert_eq!(
        refused(
            &sql,
            "select roster.watch('users', 'id', for_each => 'column')"
        )
        .await,
        "RO001 for_each is 'column'"
    );
    let refusal = sql
        .refusal("select roster.watch('users', 'id', array['mail'])")
        .await;
    assert_eq!(
        (refusal.code().code(), refusal.message()),
        ("RO002", "public.users has no column mail")
    );
}

#[tokio::test]
async fn waiting_returns_when_the_last_commit_has_converged() {
    let sql = two_people().await;
    sql.run("update users set name = 'x'").await;
    let reactor = sql.session().await;
    let (waited, ()) = tokio::join!(
        sql.row("select converged, users, held, failed from roster.wait('30 s')"),
        async {
            // Whether the wait has begun or not, it cannot end before this.
            tokio::time::sleep(Duration::from_millis(50)).await;
            run(&reactor, "select roster.fold()").await;
            run(&reactor, "update roster.accounts a set name = d.name from roster.desired_users d where d.user_key = a.user_key; \
                 update roster.mirror set due = false")
                .await;
        }
    );
    assert_eq!(waited, "t 2 0 0");
}

#[tokio::test]
async fn waiting_says_what_is_still_due_held_or_failed() {
    let sql = two_people().await;
    assert_eq!(
        sql.row("select converged, users from roster.wait('0')")
            .await,
        "t 2",
        "the insert is settled"
    );
    sql.run("update users set name = 'x'").await;
    sql.run("select roster.fold()").await;
    assert_eq!(
        sql.row("select converged, users from roster.wait('0')")
            .await,
        "f 2",
        "the update is folded, and due"
    );
    sql.run("truncate users cascade").await;
    let wait = "select converged, users, held, failed from roster.wait('0')";
    assert_eq!(sql.row(wait).await, "f 2 2 0", "not folded");
    sql.run("select roster.fold(); update roster.mirror set due = false")
        .await;
    assert_eq!(sql.row(wait).await, "f 2 2 0", "held");
    let idle = sql.session().await;
    assert_eq!(
        rows(&idle, wait).await,
        ["t 0 0 0"],
        "a session that changed nothing has nothing to wait for"
    );
}

#[tokio::test]
async fn waiting_inside_the_transaction_that_changed_something_is_refused() {
    let sql = two_people().await;
    sql.run("begin; update users set name = 'x'").await;
    assert_eq!(
        refused(&sql, "select roster.wait()").await,
        "RO010 this transaction has changes that are not committed"
    );
    sql.run("rollback; begin isolation level repeatable read")
        .await;
    assert!(
        refused(&sql, "select roster.wait()")
            .await
            .starts_with("RO009 ")
    );
}

#[tokio::test]
async fn a_revision_is_the_transaction_that_the_change_tells_of() {
    let sql = two_people().await;
    sql.run("begin; update users set name = 'x'").await;
    let revision = sql.row("select roster.revision()").await;
    sql.run("commit").await;
    assert_eq!(
        sql.row("select txid from roster.changes order by id desc limit 1")
            .await,
        revision
    );
}

#[tokio::test]
async fn a_log_in_does_not_settle_what_a_person_has_to() {
    let sql = two_people().await;
    sql.run("select roster.unlink('auth0|1')").await;
    assert_eq!(
        sql.row("select roster.follow('1', 'auth0|1', 'ada@example.test')")
            .await,
        "f"
    );
    sql.run("select roster.fold()").await;
    assert_eq!(sql.plan().await, ["1 look disputed"]);
}

#[tokio::test]
async fn what_cannot_be_an_auth0_id_is_linked_to_nobody() {
    let sql = two_people().await;
    for id in [
        "''",
        "'not an id/../x'",
        "'auth0|'",
        "'|1'",
        "'auth0|' || repeat('x', 300)",
        "null",
    ] {
        let told = refused(&sql, &format!("select roster.link('1', {id})")).await;
        assert!(told.starts_with("RO011 "), "{told}");
    }
}

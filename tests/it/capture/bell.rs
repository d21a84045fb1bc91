//! The bell: which commits ring, who waits for it, and what is found although nobody rang.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use roster::db::connect::Endpoint;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client};

use super::TWO_PEOPLE;
use crate::support::sql::{Sql, rows, run};

#[tokio::test]
async fn writers_at_any_isolation_level_never_fail_because_of_a_busy_reactor() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run(crate::support::sql::SETTLE).await;
    let reactor = sql.session().await;
    for level in ["read committed", "repeatable read", "serializable"] {
        for round in 0..10 {
            sql.run(&format!(
                "begin isolation level {level}; update users set name = '{level} {round}' where id = 1"
            ))
            .await;
            // Meanwhile the reactor does all it ever does to these tables.
            run(
                &reactor,
                "select roster.fold(); select roster.sweep(); update roster.mirror set generation = generation + 1, due = not due; \
                 update roster.accounts set observed_at = now()",
            )
            .await;
            sql.run("update users set role = role || 'x', name = 'again'; insert into user_permissions values (2, 'p'); delete from user_permissions; commit")
                .await;
        }
    }
    run(&reactor, "select roster.fold()").await;
    assert_eq!(sql.plan().await, ["1 update due", "2 update due"]);
}

/// What arrives on a session that listens, in order.
struct Bell {
    payloads: UnboundedReceiver<String>,
    // The session ends with its client.
    client: Client,
}

impl Bell {
    async fn listen(sql: &Sql) -> Self {
        let endpoint = Endpoint::parse(&sql.database().url()).expect("a test database");
        let (client, mut connection) = endpoint.connect().await.expect("a listening session");
        let (sender, payloads) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(note) = message {
                    let _ = sender.send(note.payload().to_owned());
                }
            }
        });
        run(&client, "listen roster").await;
        Self { payloads, client }
    }

    /// How often it rang up to now: a last notification of our own marks the end.
    async fn rings(&mut self) -> usize {
        run(&self.client, "select pg_notify('roster', 'end')").await;
        let mut rings = 0;
        loop {
            let payload = tokio::time::timeout(Duration::from_secs(30), self.payloads.recv())
                .await
                .expect("the mark arrives")
                .expect("the session stands");
            match payload.as_str() {
                "end" => return rings,
                _ => rings += 1,
            }
        }
    }
}

/// Takes the bell for all of the next minute, as if somebody were ringing in each of its moments.
const HOLD_THE_BELL: &str = "begin; select pg_advisory_xact_lock(1380930373, \
    ((extract(epoch from clock_timestamp()) * 50)::bigint + n & 2147483647)::integer) from generate_series(-50, 3000) n";

#[tokio::test]
async fn a_commit_rings_once_and_a_rollback_or_a_statement_without_change_does_not() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    sql.run("begin").await;
    sql.run(TWO_PEOPLE).await;
    sql.run("update users set name = 'x'").await;
    assert_eq!(bell.rings().await, 0, "not before the commit");
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    sql.run("update users set name = name; begin; delete from users; rollback")
        .await;
    assert_eq!(bell.rings().await, 0);
    sql.run("set roster.bell = off; update users set name = 'y'")
        .await;
    assert_eq!(bell.rings().await, 0);
}

#[tokio::test]
async fn immediate_constraints_ring_at_commit_all_the_same() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    sql.run("begin; set constraints all immediate").await;
    sql.run(TWO_PEOPLE).await;
    assert_eq!(bell.rings().await, 0);
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    sql.run("begin; set constraints all immediate; delete from users; rollback")
        .await;
    assert_eq!(bell.rings().await, 0);
}

#[tokio::test]
async fn what_a_ringer_silenced_before_it_rolled_back_is_found_by_the_poll() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    let ringer = sql.session().await;
    run(&ringer, HOLD_THE_BELL).await;
    sql.run(TWO_PEOPLE).await;
    run(&ringer, "rollback").await;
    assert_eq!(bell.rings().await, 0, "it relied on the other");
    assert_eq!(sql.row("select folded from roster.fold()").await, "1");
    assert_eq!(sql.plan().await, ["1 create due", "2 create due"]);
}

#[tokio::test]
async fn a_serializable_transaction_rings_without_asking() {
    let sql = Sql::enforcing().await;
    let mut bell = Bell::listen(&sql).await;
    let ringer = sql.session().await;
    run(&ringer, HOLD_THE_BELL).await;
    sql.run("begin isolation level serializable").await;
    sql.run(TWO_PEOPLE).await;
    sql.run("commit").await;
    assert_eq!(bell.rings().await, 1);
    run(&ringer, "rollback").await;
}

#[tokio::test]
async fn two_phase_commit_works_with_the_bell_off() {
    let sql = Sql::enforcing().await;
    let prepare = format!("prepare transaction '{}'", sql.database().name());
    sql.run("begin").await;
    sql.run(TWO_PEOPLE).await;
    assert_eq!(sql.refusal(&prepare).await.code().code(), "0A000");
    sql.run("rollback; begin; set local roster.bell = off")
        .await;
    sql.run(TWO_PEOPLE).await;
    sql.run(&prepare).await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "0");
    sql.run(&format!("commit prepared '{}'", sql.database().name()))
        .await;
    assert_eq!(sql.row("select folded from roster.fold()").await, "1");
}

#[tokio::test]
async fn a_control_function_rings_too() {
    let sql = Sql::enforcing().await;
    sql.run(TWO_PEOPLE).await;
    sql.run("select roster.fold()").await;
    let mut bell = Bell::listen(&sql).await;
    for (rung, button) in [
        "roster.resync('1')",
        "roster.resync_all()",
        "roster.pause('maintenance')",
        "roster.resume()",
        "roster.set_mode('additive')",
        "roster.invite('1')",
        "roster.follow('1', 'google-oauth2|1', 'ada@example.test')",
    ]
    .into_iter()
    .enumerate()
    {
        // One at a time, each in a moment of its own.
        tokio::time::sleep(Duration::from_millis(25)).await;
        sql.run(&format!("select {button}")).await;
        assert_eq!(bell.rings().await, 1, "{rung}: {button}");
    }
    assert_eq!(
        rows(
            sql.client(),
            "select count(*) from roster.history where relation is null"
        )
        .await,
        ["7"]
    );
}

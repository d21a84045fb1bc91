//! Creates that Auth0 may still apply after a look found nothing: looked at once more, by the sweep.

use super::three_people;
use crate::support::sql::Sql;

/// Accounts of Ada, whose row is gone, each with a create in doubt since so many minutes.
async fn in_doubt(accounts: &str) -> Sql {
    let sql = three_people().await;
    sql.run(&format!(
        "delete from users where id = 1; select roster.fold(); delete from roster.accounts where user_key = '1'; \
         update roster.mirror set due = false; \
         insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, doubted_at, doubted_action) \
         select a.id, '1', m.incarnation, 'made', a.state, 'ada@example.test', now() - a.minutes * interval '1 minute', \
             case when a.minutes is not null then 'create' end \
         from roster.mirror m cross join (values {accounts}) a (id, state, minutes) where m.user_key = '1'"
    ))
    .await;
    sql
}

const STATES: &str = "select string_agg(concat_ws(' ', auth0_user_id, state, case when doubted_at is not null then 'in doubt' end), ', ' \
     order by auth0_user_id) from roster.accounts where user_key = '1'";

async fn swept(sql: &Sql) -> String {
    sql.run("select roster.sweep()").await;
    sql.row(STATES).await
}

#[tokio::test]
async fn an_account_in_doubt_is_looked_for_whether_its_row_went_before_or_after_the_look() {
    for state in ["gone", "chosen"] {
        let sql = in_doubt(&format!("('auth0|a', '{state}', 2)")).await;
        assert_eq!(swept(&sql).await, "auth0|a missing");
        assert_eq!(sql.plan().await, ["1 look due"]);
    }
    let fresh = in_doubt("('auth0|a', 'gone', 0.5)").await;
    assert_eq!(swept(&fresh).await, "auth0|a gone in doubt");
}

#[tokio::test]
async fn of_two_in_doubt_one_is_looked_for_after_the_other() {
    let sql = in_doubt("('auth0|a', 'gone', 2), ('auth0|b', 'gone', 3)").await;
    assert_eq!(swept(&sql).await, "auth0|a gone in doubt, auth0|b missing");
    sql.run("update roster.accounts set state = 'gone' where auth0_user_id = 'auth0|b'; update roster.mirror set due = false")
        .await;
    assert_eq!(swept(&sql).await, "auth0|a missing, auth0|b gone");
}

#[tokio::test]
async fn who_has_another_account_by_now_is_looked_for_no_more() {
    let sql = in_doubt("('auth0|a', 'gone', 2), ('auth0|b', 'linked', null)").await;
    assert_eq!(swept(&sql).await, "auth0|a gone, auth0|b linked");
}

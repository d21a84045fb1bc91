//! What waits for a person, noted down: `roster.stuck`, which `roster.held`, `roster.problems` and the console read instead of planning
//! everybody.
//!
//! Which rows of a plan these are, `roster.is_stuck()` says (`triggers/stuck.sql`). A turn writes what it has read anyway; during a pause,
//! when there is none, fold and sweep do (`roster.note_stuck()`).

use deadpool_postgres::Transaction;

use super::{DbError, plan::PlanRow};

/// Of users whose plans were read to the end, notes what waits for a person instead of what was noted before: each with the rows that
/// are left. Mostly nothing is or was, which costs one look at an index. The caller holds the users' mirror rows.
pub(super) async fn note(
    tx: &Transaction<'_>,
    users: &[(&str, &[PlanRow])],
) -> Result<(), DbError> {
    if users.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = users.iter().map(|(key, _)| *key).collect();
    let forget = tx
        .prepare_cached("delete from roster.stuck where user_key = any($1)")
        .await?;
    tx.execute(&forget, &[&keys]).await?;
    let rows: Vec<&PlanRow> = users.iter().flat_map(|(_, rows)| *rows).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&PlanRow) -> Option<&str>| -> Vec<Option<&str>> {
        rows.iter().map(|row| of(row)).collect()
    };
    let note = tx
        .prepare_cached(
            "insert into roster.stuck (user_key, auth0_user_id, email, action, state, code, reason, since, removed_by) \
             select s.*, coalesce(m.removed_at, m.due_since), m.removed_by \
             from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
                s (user_key, auth0_user_id, email, action, state, code, reason) \
             join roster.mirror m on m.user_key = s.user_key \
             where roster.is_stuck(s.state, s.action)",
        )
        .await?;
    tx.execute(
        &note,
        &[
            &column(|row| Some(&row.user_key)),
            &column(|row| row.auth0_user_id.as_deref()),
            &column(|row| row.email.as_deref()),
            &column(|row| Some(row.action.as_str())),
            &column(|row| Some(&row.state)),
            &column(|row| row.code.as_deref()),
            &column(|row| row.reason.as_deref()),
        ],
    )
    .await?;
    Ok(())
}

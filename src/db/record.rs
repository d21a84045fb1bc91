//! Record: what calls came to, written down under their users' leases, a statement for all of a kind.

use std::collections::HashMap;

use deadpool_postgres::Transaction;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    DbError,
    done::{ADDRESS_TAKEN, Class, Done, Effect, Failure, Observed},
    findings::{self, MOST_UNEXPLAINED},
    mirror::{Held, Terms},
    plan::{Action, PlanRow},
};

/// Writes results down, one of each of the `users`, whose mirror rows the caller holds and whose leases it has checked. Gives, by user,
/// what was known before of the accounts that writes showed.
///
/// A key may have come to mean another person while the call was made, or the call was for an account of a former one: then its result
/// tells of the account, and nothing of what the person of now needs.
pub(super) async fn record(
    tx: &Transaction<'_>,
    terms: &Terms,
    users: &HashMap<String, Held>,
    done: &[&Done],
) -> Result<HashMap<String, Observed>, DbError> {
    attempts(tx, terms.reactor, done).await?;
    let (mut observed, mut created_for, mut well) = (Vec::new(), Vec::new(), Vec::new());
    let (mut deleted, mut not_applied, mut perhaps_applied) = (Vec::new(), Vec::new(), Vec::new());
    let mut not_ours = Vec::new();
    for &done in done {
        let key = done.user_key.as_str();
        let user = users[key];
        let is_of_now = user.is_meant_by(done);
        match &done.effect {
            Effect::Observed(account) => {
                observed.push((key, account));
                if done.action == Action::Create && is_of_now {
                    created_for.push(key);
                }
                well.push((key, is_of_now));
            }
            Effect::BlockedAlready(account) => {
                not_ours.push(done);
                observed.push((key, account));
                well.push((key, is_of_now));
            }
            Effect::Deleted => {
                deleted.push(done);
                well.push((key, is_of_now));
            }
            Effect::Mailed => {
                mail(tx, done, Some("sent")).await?;
                well.push((key, is_of_now));
            }
            Effect::Looked(found) => findings::looked(tx, done, found, is_of_now).await?,
            Effect::Missing => {
                missing(tx, done).await?;
                let failure = Failure {
                    class: Class::Conflict,
                    code: done.code().to_owned(),
                    retry_after: None,
                    perhaps_applied: false,
                };
                failed(tx, terms, done, &failure, user).await?;
            }
            Effect::Failed(failure) => {
                match (done.action, failure.perhaps_applied) {
                    // Whether the mail went out is not known: shown, not sent again.
                    (Action::Invite, true) => mail(tx, done, Some("unknown")).await?,
                    (Action::Invite, false) => mail(tx, done, None).await?,
                    (_, true) => perhaps_applied.push(done),
                    (_, false) => not_applied.push(done),
                }
                failed(tx, terms, done, failure, user).await?;
            }
            Effect::NotMade if done.action == Action::Invite => mail(tx, done, None).await?,
            Effect::NotMade => not_applied.push(done),
        }
    }
    end_calls(
        tx,
        "call_id = null, call_action = null, call_deadline = null",
        &not_ours,
    )
    .await?;
    let before = observe(tx, &observed, How::Answered).await?;
    created(tx, &created_for).await?;
    end_calls(
        tx,
        "state = 'gone', removed_at = now(), call_id = null, call_action = null, call_deadline = null",
        &deleted,
    )
    .await?;
    end_calls(
        tx,
        "call_id = null, call_action = null, call_deadline = null",
        &not_applied,
    )
    .await?;
    // The worker saw the call end, so it need not wait for the deadline; a moment for what is still under way.
    let moment = terms.lost_call_wait.as_millis();
    end_calls(
        tx,
        &format!("call_deadline = now() + interval '{moment} milliseconds'"),
        &perhaps_applied,
    )
    .await?;
    succeeded(tx, &well).await?;
    Ok(before)
}

/// Whose the account is, if it is nobody's any more: of two users of one turn whose rows both claim it, the first one has it by now.
const TAKEN: &str = "with taken as ( \
    select a.user_key, a.incarnation, a.origin = 'made' and not am.baseline as invites from roster.accounts a join roster.mirror am on am.user_key = a.user_key \
    where a.auth0_user_id = $2 and (a.incarnation <> am.incarnation \
        or not exists (select from roster.desired_users d where d.user_key = a.user_key)) \
        and not exists (select from roster.accounts o where o.user_key = a.user_key and o.incarnation = a.incarnation and o.call_id is not null))";

/// Takes the accounts of a key without row (or of a past person of this key) over to the user in `row`, if they are still to be had.
/// Where the account is a further one of the user in `row`, it is given to the live user who has its address now. False, and nothing
/// done, while somebody is at work with the user who had them: a call may have been begun for them since the plan was read.
pub(super) async fn rekey(
    tx: &Transaction<'_>,
    reactor: Uuid,
    row: &PlanRow,
) -> Result<bool, DbError> {
    let own = tx
        .prepare_cached(
            "select exists (select from roster.accounts where auth0_user_id = $2 and user_key = $1 and origin = 'further')",
        )
        .await?;
    let own = tx
        .query_one(&own, &[&row.user_key, &row.auth0_user_id])
        .await?;
    if own.get(0) {
        give(tx, reactor, row).await?;
        return Ok(true);
    }
    let former = tx
        .prepare_cached(
            "select from roster.accounts a join roster.mirror m on m.user_key = a.user_key where a.auth0_user_id = $1 for update of m skip locked",
        )
        .await?;
    if tx
        .query_opt(&former, &[&row.auth0_user_id])
        .await?
        .is_none()
    {
        return Ok(false);
    }
    let statement = tx
        .prepare_cached(
 &format!("{TAKEN}, \
             moved as ( \
                update roster.accounts a set user_key = m.user_key, incarnation = m.incarnation \
                from taken t, roster.mirror m \
                where a.user_key = t.user_key and a.incarnation = t.incarnation and m.user_key = $1 returning 1) \
             insert into roster.attempts (user_key, auth0_user_id, action, code, started_at, duration_ms, reactor) \
             select $1, $2, 'rekey', 'ok', clock_timestamp(), 0, $3 from moved limit 1"),
        )
        .await?;
    // Who was invited, or is about to be, is not invited again under another key: the ledger comes along with the account. One that Roster
    // made wants its invitation also where nothing stands in the ledger yet, and its key came to mean somebody else before it did.
    let ledger = tx
        .prepare_cached(
 &format!("{TAKEN}, \
             invited as ( \
                select greatest(max(i.epoch), max(om.invite_epoch), max(t.invites::integer), 0) as epoch \
                from taken t \
                left join roster.invitations i on i.user_key = t.user_key and i.incarnation = t.incarnation \
                left join roster.mirror om on om.user_key = t.user_key and om.incarnation = t.incarnation), \
             wanted as ( \
                update roster.mirror m set invite_epoch = v.epoch from invited v \
                where m.user_key = $1 and m.invite_epoch = 0 and v.epoch > 0 returning m.user_key, m.incarnation) \
             update roster.invitations i set user_key = w.user_key, incarnation = w.incarnation from taken t, wanted w \
             where i.user_key = t.user_key and i.incarnation = t.incarnation and not exists ( \
                select from roster.invitations own where own.user_key = w.user_key and own.incarnation = w.incarnation)"),
        )
        .await?;
    tx.execute(&ledger, &[&row.user_key, &row.auth0_user_id])
        .await?;
    // An id that was chosen for this user and never used gives way to the account that is there.
    tx.execute(
        "delete from roster.accounts a using roster.mirror m \
         where m.user_key = $1 and a.user_key = $1 and a.incarnation = m.incarnation and a.state = 'chosen' and a.call_id is null",
        &[&row.user_key],
    )
    .await?;
    tx.execute(&statement, &[&row.user_key, &row.auth0_user_id, &reactor])
        .await?;
    tx.execute(
        "update roster.mirror set look_wanted = false, baseline = false where user_key = $1",
        &[&row.user_key],
    )
    .await?;
    Ok(true)
}

/// The new user is told of it as of a log-in that was matched by its address.
async fn give(tx: &Transaction<'_>, reactor: Uuid, row: &PlanRow) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "with given as ( \
                update roster.accounts a set user_key = m.user_key, incarnation = m.incarnation \
                from roster.accounts o cross join lateral roster.account_claimant(o.auth0_user_id, o.email) c \
                join roster.mirror m on m.user_key = c.user_key \
                where o.auth0_user_id = $2 and a.auth0_user_id = o.auth0_user_id returning a.user_key), \
             told as ( \
                insert into roster.changes (op, user_keys, reason) select 'follow', array[g.user_key], $2 from given g) \
             insert into roster.attempts (user_key, auth0_user_id, action, code, started_at, duration_ms, reactor) \
             select $1, $2, 'rekey', 'ok', clock_timestamp(), 0, $3 from given",
        )
        .await?;
    tx.execute(&statement, &[&row.user_key, &row.auth0_user_id, &reactor])
        .await?;
    Ok(())
}

async fn attempts(tx: &Transaction<'_>, reactor: Uuid, done: &[&Done]) -> Result<(), DbError> {
    let made: Vec<&Done> = done
        .iter()
        .copied()
        .filter(|done| done.effect != Effect::NotMade)
        .collect();
    if made.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "insert into roster.attempts (user_key, auth0_user_id, action, changes, status, code, started_at, duration_ms, due_since, reactor) \
             select d.user_key, d.auth0_user_id, d.action, d.changes, d.status, d.code, clock_timestamp() - make_interval(secs => d.age), d.took, m.due_since, $9 \
             from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::integer[], $6::text[], $7::float8[], $8::integer[]) \
                d (user_key, auth0_user_id, action, changes, status, code, age, took) \
             left join roster.mirror m on m.user_key = d.user_key",
        )
        .await?;
    let keys = column(&made, |done| done.user_key.as_str());
    let accounts = column(&made, |done| done.auth0_user_id.as_deref());
    let actions = column(&made, |done| done.action.as_str());
    let changes = column(&made, |done| &done.changes);
    let statuses = column(&made, |done| done.status.map(i32::from));
    let codes = column(&made, |done| done.code());
    let ages = column(&made, |done| done.started.elapsed().as_secs_f64());
    let durations = column(&made, |done| {
        i32::try_from(done.duration.as_millis()).unwrap_or(i32::MAX)
    });
    tx.execute(
        &statement,
        &[
            &keys, &accounts, &actions, &changes, &statuses, &codes, &ages, &durations, &reactor,
        ],
    )
    .await?;
    Ok(())
}

/// What shows an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The answer to a write.
    Answered,
    /// A look. If a call was open, Auth0 may still apply it after that.
    Looked,
}

/// The accounts are as shown; their calls, whichever they were, are over. Of the metadata only the owned keys are kept: role
/// and permissions, what the view names, and what was kept before (so that a key the view no longer has is taken away). Gives
/// what was known of them before, by user, without those that are not known.
pub(super) async fn observe(
    tx: &Transaction<'_>,
    accounts: &[(&str, &Observed)],
    how: How,
) -> Result<HashMap<String, Observed>, DbError> {
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = tx
        .prepare_cached(
            "update roster.accounts a set state = 'linked', email = o.email, email_verified = o.email_verified, name = o.name, blocked = o.blocked, has_logged_in = o.has_logged_in, \
                blocked_by_us = case when not o.blocked then false when 'block' in (a.call_action, a.doubted_action) then true else a.blocked_by_us end, \
                removed_at = case when not o.blocked then null when 'block' in (a.call_action, a.doubted_action) and not a.blocked then now() else a.removed_at end, \
                removal_released = case when a.call_action = 'block' then m.removal_verdict is not distinct from 'released' else a.removal_released end, \
                app_metadata = roster.owned_part(o.app_metadata, array['role', 'permissions'], a.app_metadata, d.app_metadata), \
                user_metadata = roster.owned_part(o.user_metadata, '{}', a.user_metadata, d.user_metadata), \
                observed_at = now(), doubted_at = case when $10 and a.call_id is not null then now() else a.doubted_at end, \
                doubted_action = case when $10 and a.call_id is not null then a.call_action when a.doubted_at is not null then a.doubted_action end, \
                call_id = null, call_action = null, call_deadline = null \
             from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::boolean[], $7::jsonb[], $8::jsonb[], $9::boolean[]) \
                o (user_key, auth0_user_id, email, email_verified, name, blocked, app_metadata, user_metadata, has_logged_in) \
             join roster.mirror m on m.user_key = o.user_key \
             join roster.accounts b on b.auth0_user_id = o.auth0_user_id \
             left join roster.desired_users d on d.user_key = o.user_key \
             where a.auth0_user_id = o.auth0_user_id and a.user_key = o.user_key \
             returning a.user_key, b.auth0_user_id, b.email, coalesce(b.email_verified, false), b.name, b.blocked, b.app_metadata, b.user_metadata, b.has_logged_in",
        )
        .await?;
    let keys = column(accounts, |(key, _)| *key);
    let ids = column(accounts, |(_, seen)| seen.auth0_user_id.as_str());
    let emails = column(accounts, |(_, seen)| seen.email.as_deref());
    let verified = column(accounts, |(_, seen)| seen.email_verified);
    let names = column(accounts, |(_, seen)| seen.name.as_deref());
    let blocked = column(accounts, |(_, seen)| seen.blocked);
    let app_metadata = column(accounts, |(_, seen)| {
        Value::Object(seen.app_metadata.clone())
    });
    let user_metadata = column(accounts, |(_, seen)| {
        Value::Object(seen.user_metadata.clone())
    });
    let logged_in = column(accounts, |(_, seen)| seen.has_logged_in);
    let rows = tx
        .query(
            &statement,
            &[
                &keys,
                &ids,
                &emails,
                &verified,
                &names,
                &blocked,
                &app_metadata,
                &user_metadata,
                &logged_in,
                &(how == How::Looked),
            ],
        )
        .await?;
    let object = |value: Value| match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    Ok(rows
        .iter()
        .map(|row| {
            let before = Observed {
                auth0_user_id: row.get(1),
                email: row.get(2),
                email_verified: row.get(3),
                name: row.get(4),
                blocked: row.get(5),
                app_metadata: object(row.get(6)),
                user_metadata: object(row.get(7)),
                has_logged_in: row.get(8),
            };
            (row.get(0), before)
        })
        .collect())
}

/// Writes down on the accounts how their calls ended, if the calls are still theirs.
async fn end_calls(tx: &Transaction<'_>, set: &str, done: &[&Done]) -> Result<(), DbError> {
    if done.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(&format!(
            "update roster.accounts a set {set} from unnest($1::text[], $2::uuid[]) c (auth0_user_id, call_id) \
             where a.auth0_user_id = c.auth0_user_id and a.call_id = c.call_id"
        ))
        .await?;
    let ids = column(done, |done| done.auth0_user_id.as_deref());
    let calls = column(done, |done| done.call_id);
    tx.execute(&statement, &[&ids, &calls]).await?;
    Ok(())
}

/// A new account wants its first invitation; that of somebody who was there before Roster is staged.
pub(super) async fn created(tx: &Transaction<'_>, keys: &[&str]) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "with wanted as ( \
                update roster.mirror set invite_epoch = 1 where user_key = any($1) and invite_epoch = 0 returning user_key, incarnation, baseline) \
             insert into roster.invitations (user_key, incarnation, epoch, auth0_user_id, state) \
             select w.user_key, w.incarnation, 1, a.auth0_user_id, 'staged' from wanted w \
             join roster.accounts a on a.user_key = w.user_key and a.incarnation = w.incarnation and a.origin = 'made' and a.state = 'linked' \
             where w.baseline on conflict do nothing",
        )
        .await?;
    tx.execute(&statement, &[&keys]).await?;
    Ok(())
}

/// How the mail about this account went that was asked for last, unless another one is wanted by now. It may stand under another key than
/// the call was for: whoever takes an account over takes its ledger along.
async fn mail(tx: &Transaction<'_>, done: &Done, state: Option<&str>) -> Result<(), DbError> {
    const LAST: &str = "(i.user_key, i.incarnation, i.epoch) = ( \
        select l.user_key, l.incarnation, l.epoch from roster.invitations l \
        join roster.mirror m on m.user_key = l.user_key and m.incarnation = l.incarnation and m.invite_epoch = l.epoch \
        where l.auth0_user_id = $1 and l.state = 'sending')";
    match state {
        Some(state) => {
            let statement = tx
                .prepare_cached(&format!(
                    "update roster.invitations i set state = $2, changed_at = now() where {LAST}"
                ))
                .await?;
            tx.execute(&statement, &[&done.auth0_user_id, &state])
                .await?;
        }
        // Surely not sent: it may be tried again.
        None => {
            let statement = tx
                .prepare_cached(&format!("delete from roster.invitations i where {LAST}"))
                .await?;
            tx.execute(&statement, &[&done.auth0_user_id]).await?;
        }
    }
    Ok(())
}

/// Auth0 does not find the account.
async fn missing(tx: &Transaction<'_>, done: &Done) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.accounts set state = 'missing', call_id = null, call_action = null, call_deadline = null where auth0_user_id = $1",
        )
        .await?;
    tx.execute(&statement, &[&done.auth0_user_id]).await?;
    Ok(())
}

/// Each with whether it was done for the person the key means now.
async fn succeeded(tx: &Transaction<'_>, users: &[(&str, bool)]) -> Result<(), DbError> {
    if users.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "update roster.mirror m set attempts = 0, next_attempt_at = null, error_code = null, error_class = null, error_detail = null, \
                error_at = null, look_wanted = m.look_wanted and not u.is_of_now, conflict = m.conflict and not u.is_of_now \
             from unnest($1::text[], $2::boolean[]) u (user_key, is_of_now) \
             where m.user_key = u.user_key \
                and (m.attempts > 0 or m.error_code is not null or m.look_wanted or m.conflict or m.next_attempt_at is not null)",
        )
        .await?;
    let keys = column(users, |(key, _)| *key);
    let are_of_now = column(users, |(_, is_of_now)| *is_of_now);
    tx.execute(&statement, &[&keys, &are_of_now]).await?;
    Ok(())
}

/// Backoff with full jitter: up to 1, 2, 4 … 300 s, never earlier than told. A conflict is looked at at once; what Auth0 refuses
/// is parked, but for a removal. What was refused of a former person, or before a change that was folded since, parks nobody.
async fn failed(
    tx: &Transaction<'_>,
    terms: &Terms,
    done: &Done,
    failure: &Failure,
    user: Held,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.mirror m set attempts = m.attempts + 1, error_code = $2, error_class = f.class, error_detail = $4, error_at = now(), \
                look_wanted = m.look_wanted or $6, conflict = m.conflict or $6, \
                next_attempt_at = case when f.class = 'conflict' or f.class = 'data' and not $7 then null else now() + make_interval(secs => greatest($5::float8, \
                    case when f.class = 'config' then 30 else 0 end + $10::float8 * least(300, power(2, least(m.attempts, 10))))) end \
             from (select case when $8 and attempts >= $9 then 'data' else $3 end as class from roster.mirror where user_key = $1) f \
             where m.user_key = $1",
        )
        .await?;
    // Unlike a change that Auth0 refuses, a removal is never left until the row changes.
    let is_removal = matches!(done.action, Action::Block | Action::Delete);
    let is_of_now = user.is_meant_by(done);
    let exists_already =
        failure.class == Class::Conflict && done.action == Action::Create && is_of_now;
    let class = match failure.class {
        Class::Data if !is_of_now || !user.is_as_begun(done) => Class::Transient,
        class => class,
    };
    let retry_after = failure.retry_after.unwrap_or_default().as_secs_f64();
    tx.execute(
        &statement,
        &[
            &done.user_key,
            &failure.code,
            &class.as_str(),
            &done.detail,
            &retry_after,
            &exists_already,
            &is_removal,
            &(failure.code == ADDRESS_TAKEN),
            &MOST_UNEXPLAINED,
            &(terms.jitter)(),
        ],
    )
    .await?;
    Ok(())
}

/// One column of many rows, as a statement with `unnest()` takes them.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

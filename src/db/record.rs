//! Record: what a call came to, written down under the user's lease.

use std::time::Duration;

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    DbError,
    plan::{Action, PlanRow},
};

/// An account as Auth0 showed it.
#[derive(Clone, PartialEq, Serialize)]
pub struct Observed {
    /// With its provider's prefix.
    pub auth0_user_id: String,
    /// As shown.
    pub email: Option<String>,
    /// As shown.
    pub email_verified: bool,
    /// As shown.
    pub name: Option<String>,
    /// As shown; absent means false.
    pub blocked: bool,
    /// All of it; only the owned keys are kept.
    pub app_metadata: Map<String, Value>,
    /// All of it; only the owned keys are kept.
    pub user_metadata: Map<String, Value>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed")
            .field("auth0_user_id", &self.auth0_user_id)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// What a failure means for the next try. The words stand in `roster.mirror.error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait as told; everybody waits.
    Throttled,
    /// Try again with backoff.
    Transient,
    /// Parked until the row changes.
    Data,
    /// A person has to mend the tenant or the configuration; tried again now and then.
    Config,
    /// An account is there already; look.
    Conflict,
}

impl Class {
    /// The word in the database, in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Data => "data",
            Self::Config => "config",
            Self::Conflict => "conflict",
        }
    }
}

/// A call that did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub class: Class,
    /// Stable code.
    pub code: String,
    /// Not before this; else by backoff.
    pub retry_after: Option<Duration>,
    /// Whether Auth0 may have applied it all the same.
    pub perhaps_applied: bool,
}

/// What came of a look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The account that was looked for by its id.
    pub own: Option<Observed>,
    /// An account in the connection that becomes the user's.
    pub adopt: Option<Observed>,
    /// Log-ins elsewhere of the same, verified address.
    pub further: Vec<Observed>,
    /// Why a person has to decide.
    pub dispute: Option<&'static str>,
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Done; the account is now as shown.
    Observed(Observed),
    /// Deleted, or was not there to be deleted.
    Deleted,
    /// Looked.
    Looked(Findings),
    /// The mail was accepted.
    Mailed,
    /// Auth0 does not know the account.
    Missing,
    /// Not done.
    Failed(Failure),
}

/// A call that is over, as far as this worker knows.
#[derive(Debug, Clone)]
pub struct Done {
    /// Whom it was for.
    pub user_key: String,
    /// The account; absent for a look by address.
    pub auth0_user_id: Option<String>,
    /// Which begun call it was.
    pub call_id: Uuid,
    /// What it was to do.
    pub action: Action,
    /// Owned fields, old and new.
    pub changes: Value,
    /// What it came to.
    pub effect: Effect,
    /// HTTP status.
    pub status: Option<u16>,
    /// Auth0's own words, for the database only.
    pub detail: Option<String>,
    /// When the call began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
}

impl Done {
    /// `ok`, or the stable error code.
    pub fn code(&self) -> &str {
        match &self.effect {
            Effect::Failed(failure) => &failure.code,
            Effect::Missing => "account_missing",
            Effect::Looked(Findings {
                dispute: Some(code),
                ..
            }) => code,
            _ => "ok",
        }
    }
}

/// Writes one result down. The caller holds the user's mirror row and has checked the lease.
pub(super) async fn record(
    tx: &Transaction<'_>,
    reactor: Uuid,
    done: &Done,
) -> Result<(), DbError> {
    attempt(tx, reactor, done).await?;
    match &done.effect {
        Effect::Observed(observed) => {
            observe(tx, &done.user_key, observed).await?;
            if done.action == Action::Create {
                created(tx, &done.user_key).await?;
            }
            succeeded(tx, &done.user_key).await
        }
        Effect::Deleted => {
            let statement = tx
                .prepare_cached(
                    "update roster.accounts set state = 'gone', removed_at = now(), call_id = null, call_action = null, call_deadline = null \
                     where auth0_user_id = $1 and call_id = $2",
                )
                .await?;
            tx.execute(&statement, &[&done.auth0_user_id, &done.call_id])
                .await?;
            succeeded(tx, &done.user_key).await
        }
        Effect::Mailed => {
            mail(tx, done, Some("sent")).await?;
            succeeded(tx, &done.user_key).await
        }
        Effect::Looked(findings) => looked(tx, done, findings).await,
        Effect::Missing => {
            let statement = tx
                .prepare_cached(
                    "update roster.accounts set state = 'missing', call_id = null, call_action = null, call_deadline = null where auth0_user_id = $1",
                )
                .await?;
            tx.execute(&statement, &[&done.auth0_user_id]).await?;
            failed(
                tx,
                done,
                &Failure {
                    class: Class::Conflict,
                    code: "account_missing".to_owned(),
                    retry_after: None,
                    perhaps_applied: false,
                },
            )
            .await
        }
        Effect::Failed(failure) => {
            if done.action == Action::Invite {
                // Whether the mail went out is not known: shown, not sent again.
                mail(tx, done, failure.perhaps_applied.then_some("unknown")).await?;
            } else if failure.perhaps_applied {
                // The worker saw the call end, so it need not wait for the deadline; a moment for what is still under way.
                let statement = tx
                    .prepare_cached("update roster.accounts set call_deadline = now() + interval '1 second' where call_id = $1")
                    .await?;
                tx.execute(&statement, &[&done.call_id]).await?;
            } else {
                let statement = tx
                    .prepare_cached(
                        "update roster.accounts set call_id = null, call_action = null, call_deadline = null where call_id = $1",
                    )
                    .await?;
                tx.execute(&statement, &[&done.call_id]).await?;
            }
            failed(tx, done, failure).await
        }
    }
}

/// Takes the accounts of a key without row (or of a past person of this key) over to the user in `row`.
pub(super) async fn rekey(
    tx: &Transaction<'_>,
    reactor: Uuid,
    row: &PlanRow,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "with taken as ( \
                select a.user_key, a.incarnation from roster.accounts a where a.auth0_user_id = $2), \
             moved as ( \
                update roster.accounts a set user_key = m.user_key, incarnation = m.incarnation \
                from taken t, roster.mirror m \
                where a.user_key = t.user_key and a.incarnation = t.incarnation and m.user_key = $1 returning 1) \
             insert into roster.attempts (user_key, auth0_user_id, action, code, started_at, duration_ms, reactor) \
             select $1, $2, 'rekey', 'ok', clock_timestamp(), 0, $3 from moved limit 1",
        )
        .await?;
    // Who was invited, or is about to be, is not invited again under another key: the ledger comes along with the account.
    let ledger = tx
        .prepare_cached(
            "with taken as ( \
                select a.user_key, a.incarnation from roster.accounts a where a.auth0_user_id = $2), \
             invited as ( \
                select greatest(max(i.epoch), max(om.invite_epoch), 0) as epoch \
                from taken t \
                left join roster.invitations i on i.user_key = t.user_key and i.incarnation = t.incarnation \
                left join roster.mirror om on om.user_key = t.user_key and om.incarnation = t.incarnation), \
             wanted as ( \
                update roster.mirror m set invite_epoch = v.epoch from invited v \
                where m.user_key = $1 and m.invite_epoch = 0 and v.epoch > 0 returning m.user_key, m.incarnation) \
             update roster.invitations i set user_key = w.user_key, incarnation = w.incarnation from taken t, wanted w \
             where i.user_key = t.user_key and i.incarnation = t.incarnation and not exists ( \
                select from roster.invitations own where own.user_key = w.user_key and own.incarnation = w.incarnation)",
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
    Ok(())
}

async fn attempt(tx: &Transaction<'_>, reactor: Uuid, done: &Done) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "insert into roster.attempts (user_key, auth0_user_id, action, changes, status, code, started_at, duration_ms, reactor) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .await?;
    let duration = i32::try_from(done.duration.as_millis()).unwrap_or(i32::MAX);
    tx.execute(
        &statement,
        &[
            &done.user_key,
            &done.auth0_user_id,
            &done.action.as_str(),
            &done.changes,
            &done.status.map(i32::from),
            &done.code(),
            &done.started_at,
            &duration,
            &reactor,
        ],
    )
    .await?;
    Ok(())
}

/// The account is as shown; its call, whichever it was, is over. Of the metadata only the owned keys are kept: role and
/// permissions, what the view names, and what was kept before (so that a key the view no longer has is taken away).
async fn observe(
    tx: &Transaction<'_>,
    user_key: &str,
    observed: &Observed,
) -> Result<u64, DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.accounts a set state = 'linked', email = $3, email_verified = $4, name = $5, blocked = $6, \
                blocked_by_us = case when not $6 then false when a.call_action = 'block' then true else a.blocked_by_us end, \
                removed_at = case when not $6 then null when a.call_action = 'block' and not a.blocked then now() else a.removed_at end, \
                removal_released = case when a.call_action = 'block' then m.removal_verdict is not distinct from 'released' else a.removal_released end, \
                app_metadata = roster.owned_part($7, array['role', 'permissions'], a.app_metadata, d.app_metadata), \
                user_metadata = roster.owned_part($8, '{}', a.user_metadata, d.user_metadata), \
                observed_at = now(), call_id = null, call_action = null, call_deadline = null \
             from roster.mirror m left join roster.desired_users d on d.user_key = m.user_key \
             where a.auth0_user_id = $2 and a.user_key = $1 and m.user_key = $1",
        )
        .await?;
    Ok(tx
        .execute(
            &statement,
            &[
                &user_key,
                &observed.auth0_user_id,
                &observed.email,
                &observed.email_verified,
                &observed.name,
                &observed.blocked,
                &Value::Object(observed.app_metadata.clone()),
                &Value::Object(observed.user_metadata.clone()),
            ],
        )
        .await?)
}

/// A new account wants its first invitation; that of somebody who was there before Roster is staged.
async fn created(tx: &Transaction<'_>, user_key: &str) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "with wanted as ( \
                update roster.mirror set invite_epoch = 1 where user_key = $1 and invite_epoch = 0 returning user_key, incarnation, baseline) \
             insert into roster.invitations (user_key, incarnation, epoch, auth0_user_id, state) \
             select w.user_key, w.incarnation, 1, a.auth0_user_id, 'staged' from wanted w \
             join roster.accounts a on a.user_key = w.user_key and a.incarnation = w.incarnation and a.origin = 'made' and a.state = 'linked' \
             where w.baseline on conflict do nothing",
        )
        .await?;
    tx.execute(&statement, &[&user_key]).await?;
    Ok(())
}

async fn mail(tx: &Transaction<'_>, done: &Done, state: Option<&str>) -> Result<(), DbError> {
    match state {
        Some(state) => {
            let statement = tx
                .prepare_cached(
                    "update roster.invitations i set state = $2, changed_at = now() from roster.mirror m \
                     where m.user_key = $1 and i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch and i.state = 'sending'",
                )
                .await?;
            tx.execute(&statement, &[&done.user_key, &state]).await?;
        }
        // Surely not sent: it may be tried again.
        None => {
            let statement = tx
                .prepare_cached(
                    "delete from roster.invitations i using roster.mirror m \
                     where m.user_key = $1 and i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch and i.state = 'sending'",
                )
                .await?;
            tx.execute(&statement, &[&done.user_key]).await?;
        }
    }
    Ok(())
}

async fn looked(tx: &Transaction<'_>, done: &Done, found: &Findings) -> Result<(), DbError> {
    let mut dispute = found.dispute;
    if let Some(own) = &found.own {
        let known = observe(tx, &done.user_key, own).await? > 0;
        // It is there after all, and Roster made it: the create whose answer was lost had been applied.
        if known {
            let statement = tx
                .prepare_cached(
                    "select exists (select from roster.accounts a join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation \
                     where a.auth0_user_id = $1 and a.origin = 'made' and m.invite_epoch = 0)",
                )
                .await?;
            if tx
                .query_one(&statement, &[&own.auth0_user_id])
                .await?
                .get(0)
            {
                created(tx, &done.user_key).await?;
            }
        }
    } else if let Some(id) = &done.auth0_user_id {
        // Not there. One that we made is made again under its id while the row wants it; another is simply gone.
        let statement = tx
            .prepare_cached(
                "update roster.accounts a set call_id = null, call_action = null, call_deadline = null, \
                    state = case when a.origin = 'made' and a.incarnation = m.incarnation and d.user_key is not null then 'chosen' else 'gone' end, \
                    blocked = false, blocked_by_us = false, observed_at = null, app_metadata = '{}', user_metadata = '{}' \
                 from roster.mirror m left join roster.desired_users d on d.user_key = m.user_key \
                 where a.auth0_user_id = $1 and m.user_key = a.user_key and a.user_key = $2",
            )
            .await?;
        tx.execute(&statement, &[id, &done.user_key]).await?;
    }
    if let Some(adopted) = &found.adopt {
        // An id that was chosen and never used gives way.
        tx.execute(
            "delete from roster.accounts a using roster.mirror m where m.user_key = $1 and a.user_key = $1 \
             and a.incarnation = m.incarnation and a.state in ('chosen', 'missing') and a.origin <> 'further'",
            &[&done.user_key],
        )
        .await?;
        if !attach(tx, &done.user_key, adopted, "adopted").await? {
            dispute = Some("account_of_another_user");
        }
    }
    for further in &found.further {
        attach(tx, &done.user_key, further, "further").await?;
    }
    let statement = tx
        .prepare_cached(
            "update roster.mirror set look_wanted = $2::text is not null, conflict = conflict and $2::text is not null, disputed = $2, \
                error_code = $2, error_class = case when $2::text is not null then 'conflict' end, error_detail = null, \
                error_at = case when $2::text is not null then now() end, attempts = 0, next_attempt_at = null \
             where user_key = $1",
        )
        .await?;
    tx.execute(&statement, &[&done.user_key, &dispute]).await?;
    Ok(())
}

/// Links an account; false if it is another user's.
async fn attach(
    tx: &Transaction<'_>,
    user_key: &str,
    observed: &Observed,
    origin: &str,
) -> Result<bool, DbError> {
    let statement = tx
        .prepare_cached(
            "insert into roster.accounts as a (auth0_user_id, user_key, incarnation, origin, state) \
             select $2, m.user_key, m.incarnation, $3, 'linked' from roster.mirror m where m.user_key = $1 \
             on conflict (auth0_user_id) do update set state = 'linked', user_key = excluded.user_key, incarnation = excluded.incarnation, \
                origin = case when a.user_key = excluded.user_key then a.origin else excluded.origin end \
             where a.user_key = $1 or a.state = 'gone' returning 1",
        )
        .await?;
    let linked = tx
        .query_opt(&statement, &[&user_key, &observed.auth0_user_id, &origin])
        .await?
        .is_some();
    if linked {
        observe(tx, user_key, observed).await?;
    }
    Ok(linked)
}

async fn succeeded(tx: &Transaction<'_>, user_key: &str) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.mirror set attempts = 0, next_attempt_at = null, error_code = null, error_class = null, error_detail = null, \
                error_at = null, look_wanted = false, conflict = false \
             where user_key = $1 and (attempts > 0 or error_code is not null or look_wanted or conflict or next_attempt_at is not null)",
        )
        .await?;
    tx.execute(&statement, &[&user_key]).await?;
    Ok(())
}

/// Backoff with full jitter: up to 1, 2, 4 … 300 s, never earlier than told. A conflict is looked at at once; what Auth0 refuses
/// is parked, but for a removal.
async fn failed(tx: &Transaction<'_>, done: &Done, failure: &Failure) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.mirror set attempts = attempts + 1, error_code = $2, error_class = $3, error_detail = $4, error_at = now(), \
                look_wanted = look_wanted or $6, conflict = conflict or $6, \
                next_attempt_at = case when $3 = 'conflict' or $3 = 'data' and not $7 then null else now() + make_interval(secs => greatest($5::float8, \
                    case when $3 = 'config' then 30 else 0 end + random() * least(300, power(2, least(attempts, 10))))) end \
             where user_key = $1",
        )
        .await?;
    // Unlike a change that Auth0 refuses, a removal is never left until the row changes.
    let is_removal = matches!(done.action, Action::Block | Action::Delete);
    let exists_already = failure.class == Class::Conflict && done.action == Action::Create;
    let retry_after = failure.retry_after.unwrap_or_default().as_secs_f64();
    tx.execute(
        &statement,
        &[
            &done.user_key,
            &failure.code,
            &failure.class.as_str(),
            &done.detail,
            &retry_after,
            &exists_already,
            &is_removal,
        ],
    )
    .await?;
    Ok(())
}

//! Findings: what a look found, written down; who is whose is settled here.

use deadpool_postgres::Transaction;

use super::{
    DbError,
    done::{Done, Findings, Observed, UNEXPLAINED},
    record::{How, created, observe},
};

/// Failures after which what Auth0 does not explain, or an address that stays taken, is a person's to decide: some minutes with backoff.
pub(super) const MOST_UNEXPLAINED: i32 = 12;
/// Failures of an account that is there, after which it is tried again with backoff.
const MOST_AT_ONCE: i32 = 3;

/// The code of an account that Roster knows as another user's.
const ANOTHERS: &str = "account_of_another_user";

/// Writes down what a look found. The caller holds the user's mirror row. What was found for a person whom the key does not mean now is
/// linked to nobody, and leaves what is to be found out about the person of now.
pub(super) async fn looked(
    tx: &Transaction<'_>,
    done: &Done,
    found: &Findings,
    is_of_now: bool,
) -> Result<(), DbError> {
    let mut dispute = found.dispute;
    let mut in_the_way = found.in_the_way.as_deref();
    if let Some(primary) = &found.moved_into {
        if !moved(tx, done, primary).await? {
            dispute = Some(ANOTHERS);
        }
    } else if let Some(own) = &found.own {
        let known = !observe(tx, &[(&done.user_key, own)], How::Looked)
            .await?
            .is_empty();
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
                created(tx, &[&done.user_key]).await?;
            }
        }
    } else if let Some(id) = &done.auth0_user_id {
        // Not there. One that we made is made again under its id while the row wants it; another is simply gone, unless a create whose
        // answer was lost is still to be applied: the sweep has that looked at once more.
        let statement = tx
            .prepare_cached(
                "update roster.accounts a set call_id = null, call_action = null, call_deadline = null, \
                    state = case when a.origin = 'made' and a.incarnation = m.incarnation and d.user_key is not null then 'chosen' else 'gone' end, \
                    doubted_at = case when a.call_action = 'create' then now() end, doubted_action = case when a.call_action = 'create' then 'create' end, \
                    blocked = false, blocked_by_us = false, observed_at = null, app_metadata = '{}', user_metadata = '{}' \
                 from roster.mirror m left join roster.desired_users d on d.user_key = m.user_key \
                 where a.auth0_user_id = $1 and m.user_key = a.user_key and a.user_key = $2",
            )
            .await?;
        tx.execute(&statement, &[id, &done.user_key]).await?;
    }
    if !is_of_now {
        return settled(tx, done, found, None, false).await;
    }
    if let Some(adopted) = &found.adopt {
        // An id that was chosen and never used gives way.
        tx.execute(
            "delete from roster.accounts a using roster.mirror m where m.user_key = $1 and a.user_key = $1 \
             and a.incarnation = m.incarnation and a.state in ('chosen', 'missing') and a.origin <> 'further'",
            &[&done.user_key],
        )
        .await?;
        let origin = if found.made_before { "made" } else { "adopted" };
        if !attach(tx, &done.user_key, adopted, origin).await? {
            dispute = Some(ANOTHERS);
            in_the_way = Some(&adopted.auth0_user_id);
        } else if found.made_before {
            invited_before(tx, &done.user_key, adopted).await?;
        }
    }
    for further in &found.further {
        attach(tx, &done.user_key, further, "further").await?;
    }
    if found.unexplained && dispute.is_none() {
        return unexplained(tx, &done.user_key, UNEXPLAINED).await;
    }
    if let Some(id) = in_the_way
        && is_anothers(tx, &done.user_key, id).await?
    {
        return unexplained(tx, &done.user_key, ANOTHERS).await;
    }
    settled(tx, done, found, dispute, true).await
}

/// What is to be found out is found out, of the person of now; `dispute` says what is left to a person.
async fn settled(
    tx: &Transaction<'_>,
    done: &Done,
    found: &Findings,
    dispute: Option<&str>,
    is_of_now: bool,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.mirror set look_wanted = case when $5 then $2::text is not null else look_wanted end, \
                conflict = conflict and ($2::text is not null or not $5), disputed = case when $5 then $2 else disputed end, \
                error_code = $2, error_class = case when $2::text is not null then 'conflict' end, error_detail = null, \
                error_at = case when $2::text is not null then now() end, attempts = case when $3 then attempts else 0 end, \
                next_attempt_at = case when $3 and attempts > $4 then now() + make_interval(secs => random() * least(300, power(2, least(attempts, 10)))) end \
             where user_key = $1",
        )
        .await?;
    // It is there, and what was refused is tried again: at once, but not for ever where Auth0 contradicts itself.
    let is_there = found.own.is_some();
    tx.execute(
        &statement,
        &[
            &done.user_key,
            &dispute,
            &is_there,
            &MOST_AT_ONCE,
            &is_of_now,
        ],
    )
    .await?;
    Ok(())
}

/// Somebody linked the account into another one, which stands for it from now on: the same person's, with the same rights and blocks.
/// False if that one is another user's.
async fn moved(tx: &Transaction<'_>, done: &Done, primary: &Observed) -> Result<bool, DbError> {
    let statement = tx
        .prepare_cached(
            "with old as ( \
                update roster.accounts set state = 'gone', call_id = null, call_action = null, call_deadline = null \
                where auth0_user_id = $2 and user_key = $1 returning incarnation, origin) \
             insert into roster.accounts as a (auth0_user_id, user_key, incarnation, origin, state) \
             select $3, $1, old.incarnation, case old.origin when 'further' then 'further' else 'adopted' end, 'linked' from old \
             on conflict (auth0_user_id) do update \
             set state = 'linked', user_key = excluded.user_key, incarnation = excluded.incarnation, \
                origin = case when a.user_key = excluded.user_key and a.origin <> 'further' and a.state <> 'gone' then a.origin else excluded.origin end \
             where a.user_key = $1 or a.state = 'gone' returning 1",
        )
        .await?;
    let linked = tx
        .query_opt(
            &statement,
            &[&done.user_key, &done.auth0_user_id, &primary.auth0_user_id],
        )
        .await?
        .is_some();
    if linked {
        observe(tx, &[(&done.user_key, primary)], How::Looked).await?;
    }
    Ok(linked)
}

/// Whether the account is another user's, who as far as Roster knows has another address, or none yet if the answer to its create was
/// lost. Then that is known no longer: the account is looked at, and gives the address up if its user's row says so.
async fn is_anothers(tx: &Transaction<'_>, user_key: &str, id: &str) -> Result<bool, DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.accounts a set observed_at = case when a.call_id is not null then a.observed_at end \
             where a.auth0_user_id = $2 and a.user_key <> $1 and a.state <> 'gone' returning a.user_key",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&user_key, &id]).await? else {
        return Ok(false);
    };
    let owner: String = row.get(0);
    // Whoever holds that row is at work with the user; the next try asks again.
    let statement = tx
        .prepare_cached(
            "update roster.mirror m set due = true, due_since = coalesce(m.due_since, now()), generation = m.generation + 1 \
             where m.user_key in (select o.user_key from roster.mirror o where o.user_key = $1 for update skip locked)",
        )
        .await?;
    tx.execute(&statement, &[&owner]).await?;
    Ok(true)
}

/// Auth0 says that the account exists and shows nobody, or somebody else who is to have another address: the create is tried again with
/// backoff, and a person is asked in the end. Each round counts two failures, the refusal and this.
async fn unexplained(tx: &Transaction<'_>, user_key: &str, code: &str) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "update roster.mirror m set look_wanted = over, conflict = over, disputed = case when over then $2 end, \
                attempts = case when over then 0 else attempts + 1 end, error_code = $2, \
                error_class = case when over then 'conflict' else 'transient' end, error_detail = null, error_at = now(), \
                next_attempt_at = case when not over then now() + make_interval(secs => random() * least(300, power(2, least(attempts, 10)))) end \
             from (select attempts >= $3 as over from roster.mirror where user_key = $1) tried where m.user_key = $1",
        )
        .await?;
    tx.execute(&statement, &[&user_key, &code, &MOST_UNEXPLAINED])
        .await?;
    Ok(())
}

/// The ledger that told of this account's invitation is lost: it counts as sent to whoever has used the account, and else as unknown,
/// so that nobody is mailed twice.
async fn invited_before(
    tx: &Transaction<'_>,
    user_key: &str,
    account: &Observed,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "with wanted as (update roster.mirror set invite_epoch = 1 where user_key = $1 and invite_epoch = 0 returning user_key, incarnation) \
             insert into roster.invitations (user_key, incarnation, epoch, auth0_user_id, state, email) \
             select w.user_key, w.incarnation, 1, $2, case when $3 then 'sent' else 'unknown' end, lower($4) from wanted w on conflict do nothing",
        )
        .await?;
    let was_used = account.email_verified || account.has_logged_in;
    tx.execute(
        &statement,
        &[&user_key, &account.auth0_user_id, &was_used, &account.email],
    )
    .await?;
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
                origin = case when a.user_key = excluded.user_key and a.origin <> 'further' and a.state <> 'gone' then a.origin else excluded.origin end \
             where a.user_key = $1 or a.state = 'gone' returning 1",
        )
        .await?;
    let linked = tx
        .query_opt(&statement, &[&user_key, &observed.auth0_user_id, &origin])
        .await?
        .is_some();
    if linked {
        observe(tx, &[(user_key, observed)], How::Looked).await?;
    }
    Ok(linked)
}

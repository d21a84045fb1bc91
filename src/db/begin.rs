//! Begin: calls are marked as in flight before they are made, a statement for all of a kind, so that a crash leaves a trace of each.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use deadpool_postgres::Transaction;
use uuid::Uuid;

use super::{
    DbError,
    mirror::Terms,
    plan::{Action, PlanRow},
};

/// A call that is marked as in flight and is to be made now.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The planned row; `auth0_user_id` is set for everything but a look by address.
    pub row: PlanRow,
    /// Fences the record of this call.
    pub call_id: Uuid,
    /// Which person of the key it is for: of a key that was used again, perhaps a former one.
    pub incarnation: i32,
    /// Before it was marked; its deadline counts from the mark.
    pub at: Instant,
    /// By then it must be over, since others may look at the account what came of it.
    pub ends: Instant,
    /// Whether Auth0 had said that the account exists already.
    pub conflict: bool,
    /// Whether the user's row is there; a look for a removed user adopts nothing.
    pub live: bool,
    /// Whether the account is one Roster knows, as opposed to an id that the row claims.
    pub known: bool,
    /// The user's generation then: no change that was folded later is in it.
    pub generation: i64,
    /// Whether this row was all there was to do for the user.
    pub alone: bool,
}

/// A row of the plan to begin now.
pub(super) struct Next {
    pub(super) row: PlanRow,
    /// See [`Begun::generation`].
    pub(super) generation: i64,
    /// See [`Begun::alone`].
    pub(super) alone: bool,
}

/// What was begun, and whom to ask again a little later, since mails go out at a pace.
#[derive(Default)]
pub(super) struct Started {
    pub(super) begun: Vec<Begun>,
    /// With how long each is to wait.
    pub(super) later: Vec<(String, Duration)>,
}

/// Shortest and longest wait for a place in the ledger of invitations, in seconds.
const MAIL_PAUSE: f64 = 5.0;
const LONGEST_MAIL_PAUSE: f64 = 600.0;

/// Begins the call of each row, one of each user. The caller holds the users' mirror rows.
pub(super) async fn begin(
    tx: &Transaction<'_>,
    terms: &Terms,
    rows: Vec<Next>,
) -> Result<Started, DbError> {
    let mut started = Started::default();
    if rows.iter().any(|next| next.row.action == Action::Invite) {
        count_alone(tx).await?;
    }
    let (mut creates, mut looks, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut uninvited = Vec::new();
    for next in rows {
        match next.row.action {
            Action::Create => creates.push(Begun::new(next, terms)),
            // Reading changes nothing, so nothing has to be remembered of it.
            Action::Look => looks.push(Begun::new(next, terms)),
            Action::Invite => match invite(tx, terms, &next.row).await? {
                Some(incarnation) => started.begun.push(Begun {
                    incarnation,
                    ..Begun::new(next, terms)
                }),
                None => uninvited.push(next.row.user_key),
            },
            _ => others.push(Begun::new(next, terms)),
        }
    }
    started.later = wait_for_places(tx, terms, uninvited).await?;
    choose_ids(tx, terms, &mut creates).await?;
    let marked = mark(tx, terms, &others).await?;
    for call in others {
        match marked.get(&call.call_id) {
            Some(&incarnation) => started.begun.push(Begun {
                incarnation,
                ..call
            }),
            None => started.later.push((call.row.user_key, Duration::ZERO)),
        }
    }
    learn(tx, &mut looks).await?;
    started.begun.extend(creates);
    started.begun.extend(looks);
    Ok(started)
}

impl Begun {
    fn new(next: Next, terms: &Terms) -> Self {
        let at = Instant::now();
        Self {
            row: next.row,
            generation: next.generation,
            alone: next.alone,
            call_id: Uuid::new_v4(),
            incarnation: 0,
            at,
            ends: at + terms.call_deadline,
            conflict: false,
            live: true,
            known: true,
        }
    }
}

/// Ids are chosen before the first call, so that a create whose answer is lost is found by its id.
async fn choose_ids(
    tx: &Transaction<'_>,
    terms: &Terms,
    creates: &mut [Begun],
) -> Result<(), DbError> {
    if creates.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "insert into roster.accounts as a (auth0_user_id, user_key, incarnation, origin, state, email, call_id, call_action, call_deadline) \
             select coalesce((select k.auth0_user_id from roster.accounts k where k.auth0_user_id = c.auth0_user_id and k.user_key = c.user_key), \
                'auth0|' || gen_random_uuid()), m.user_key, m.incarnation, 'made', 'chosen', c.email, c.call_id, 'create', \
                clock_timestamp() + make_interval(secs => $5) \
             from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) c (user_key, auth0_user_id, email, call_id) \
             join roster.mirror m on m.user_key = c.user_key \
             on conflict (auth0_user_id) do update \
             set email = excluded.email, call_id = excluded.call_id, call_action = excluded.call_action, call_deadline = excluded.call_deadline \
             returning user_key, auth0_user_id, incarnation",
        )
        .await?;
    let keys: Vec<&str> = creates.iter().map(|c| c.row.user_key.as_str()).collect();
    let ids: Vec<Option<&str>> = creates
        .iter()
        .map(|c| c.row.auth0_user_id.as_deref())
        .collect();
    let emails: Vec<Option<String>> = creates
        .iter()
        .map(|c| c.row.email.as_deref().map(str::to_lowercase))
        .collect();
    let calls: Vec<Uuid> = creates.iter().map(|c| c.call_id).collect();
    let rows = tx
        .query(
            &statement,
            &[&keys, &ids, &emails, &calls, &deadline(terms)],
        )
        .await?;
    let mut chosen: HashMap<String, (String, i32)> = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    for create in creates {
        if let Some((id, incarnation)) = chosen.remove(&create.row.user_key) {
            create.row.auth0_user_id = Some(id);
            create.incarnation = incarnation;
        }
    }
    Ok(())
}

/// Nobody else counts invitations until this transaction ends, so that two at a time do not send twice as many.
async fn count_alone(tx: &Transaction<'_>) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached("select pg_advisory_xact_lock(1380930374, 2)")
        .await?;
    tx.execute(&statement, &[]).await?;
    Ok(())
}

/// Takes a place in the ledger of invitations, and says for which person; `None` if there is none now. A mail that is wanted although one
/// went out in this epoch (to an address that was corrected since) begins a new epoch.
async fn invite(
    tx: &Transaction<'_>,
    terms: &Terms,
    row: &PlanRow,
) -> Result<Option<i32>, DbError> {
    let statement = tx
        .prepare_cached(
            "with place as ( \
                select from (select count(*) as taken from roster.invitations i \
                    where i.state in ('sending', 'sent') and i.changed_at > now() - interval '1 minute') c where c.taken < $3), \
             corrected as ( \
                update roster.mirror m set invite_epoch = m.invite_epoch + 1 from place, roster.invitations i \
                where m.user_key = $1 and i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch \
                returning m.invite_epoch) \
             insert into roster.invitations (user_key, incarnation, epoch, auth0_user_id, state, email) \
             select m.user_key, m.incarnation, coalesce((select c.invite_epoch from corrected c), m.invite_epoch), $2, 'sending', lower($4) \
             from place, roster.mirror m where m.user_key = $1 \
             on conflict do nothing returning incarnation",
        )
        .await?;
    let per_minute = i64::from(terms.invitations_per_minute);
    let ledger = tx
        .query_opt(
            &statement,
            &[&row.user_key, &row.auth0_user_id, &per_minute, &row.email],
        )
        .await?;
    Ok(ledger.map(|row| row.get(0)))
}

/// When those are to ask again for whom there was no place in the ledger: not before the next one is free, and spread over the time that
/// all who wait take at the pace, so that what waiting costs does not grow with the number of those who wait.
async fn wait_for_places(
    tx: &Transaction<'_>,
    terms: &Terms,
    keys: Vec<String>,
) -> Result<Vec<(String, Duration)>, DbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let statement = tx
        .prepare_cached(
            "select coalesce(extract(epoch from min(i.changed_at) + interval '1 minute' - now()), 0)::float8, \
                (select count(*) from roster.mirror m \
                    left join roster.invitations own on own.user_key = m.user_key and own.incarnation = m.incarnation and own.epoch = m.invite_epoch \
                    where m.due and m.invite_epoch > 0 and own.state is null) \
             from roster.invitations i where i.state in ('sending', 'sent') and i.changed_at > now() - interval '1 minute'",
        )
        .await?;
    let row = tx.query_one(&statement, &[]).await?;
    let (free_in, waiting): (f64, i64) = (row.get(0), row.get(1));
    let take = waiting as f64 * 60.0 / f64::from(terms.invitations_per_minute.max(1));
    Ok(keys
        .into_iter()
        .map(|key| {
            let wait = free_in.max(MAIL_PAUSE) + rand::random::<f64>() * take;
            (key, Duration::from_secs_f64(wait.min(LONGEST_MAIL_PAUSE)))
        })
        .collect())
}

/// Gives the calls that are in flight now, each with the person it is for. One that is not was planned for an account that somebody took
/// over after the plan was read.
async fn mark(
    tx: &Transaction<'_>,
    terms: &Terms,
    calls: &[Begun],
) -> Result<HashMap<Uuid, i32>, DbError> {
    if calls.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = tx
        .prepare_cached(
            "update roster.accounts a set call_id = c.call_id, call_action = c.action, call_deadline = clock_timestamp() + make_interval(secs => $5) \
             from unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) c (auth0_user_id, call_id, action, user_key) \
             where a.auth0_user_id = c.auth0_user_id and a.user_key = c.user_key returning a.call_id, a.incarnation",
        )
        .await?;
    let ids: Vec<Option<&str>> = calls
        .iter()
        .map(|c| c.row.auth0_user_id.as_deref())
        .collect();
    let call_ids: Vec<Uuid> = calls.iter().map(|c| c.call_id).collect();
    let actions: Vec<&str> = calls.iter().map(|c| c.row.action.as_str()).collect();
    let keys: Vec<&str> = calls.iter().map(|c| c.row.user_key.as_str()).collect();
    let marked = tx
        .query(
            &statement,
            &[&ids, &call_ids, &actions, &keys, &deadline(terms)],
        )
        .await?;
    Ok(marked.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What a look has to know: had Auth0 said that the account exists, is the row there for this account, is the id ours, whom is it for.
async fn learn(tx: &Transaction<'_>, looks: &mut [Begun]) -> Result<(), DbError> {
    if looks.is_empty() {
        return Ok(());
    }
    let statement = tx
        .prepare_cached(
            "select m.user_key, m.conflict, exists (select from roster.desired_users d where d.user_key = m.user_key) \
                and not exists (select from roster.accounts a where a.auth0_user_id = l.auth0_user_id and a.incarnation <> m.incarnation), \
                exists (select from roster.accounts a where a.auth0_user_id = l.auth0_user_id and a.user_key = m.user_key), \
                coalesce((select a.incarnation from roster.accounts a where a.auth0_user_id = l.auth0_user_id and a.user_key = m.user_key), m.incarnation) \
             from unnest($1::text[], $2::text[]) l (user_key, auth0_user_id) join roster.mirror m on m.user_key = l.user_key",
        )
        .await?;
    let keys: Vec<&str> = looks.iter().map(|l| l.row.user_key.as_str()).collect();
    let ids: Vec<Option<&str>> = looks
        .iter()
        .map(|l| l.row.auth0_user_id.as_deref())
        .collect();
    let rows = tx.query(&statement, &[&keys, &ids]).await?;
    let mut facts: HashMap<&str, (bool, bool, bool, i32)> = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3), row.get(4))))
        .collect();
    for look in looks {
        if let Some(known) = facts.remove(look.row.user_key.as_str()) {
            (look.conflict, look.live, look.known, look.incarnation) = known;
        }
    }
    Ok(())
}

/// From the clock, not from when the transaction began: it may have waited for the row.
fn deadline(terms: &Terms) -> f64 {
    terms.call_deadline.as_secs_f64()
}

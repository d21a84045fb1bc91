//! What an audit keeps and compares: Auth0's accounts in temporary tables, compared with everybody in one statement, and its findings in
//! the schema's own tables, where they count only once it has finished.
//!
//! One audit at a time: an advisory lock of its session, which is its own and direct (no pooler). What ends with the session: the lock and
//! all that was read. An audit whose process died is told as failed by the next one.

mod drift;
mod load;

use std::{
    collections::HashSet,
    future::Future,
    io::{self, Write},
    time::Duration,
};

use futures_util::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::Client;

pub use self::{
    drift::{Drift, adopt, drift, ignore, revert, revert_all},
    load::{Loading, Seen},
};
use super::DbError;

/// What an audit's session sets: as all sessions of ours, but that it takes the time that a million users need, and that the server ends
/// what it is at once nobody waits for it any more.
const SETTINGS: &str = "\
    set jit = off; \
    set statement_timeout = '15min'; \
    set lock_timeout = '5s'; \
    set idle_in_transaction_session_timeout = '30s'; \
    set client_connection_check_interval = '5s'; \
    set work_mem = '32MB'; \
    set search_path = pg_catalog, pg_temp";
/// Longer than the server's own limit, which says what was slow.
const LIMIT: Duration = Duration::from_secs(16 * 60);
/// What the last word about a failed audit may take.
const LAST_WORD: Duration = Duration::from_secs(3);
/// Audits that are remembered.
const KEPT: i64 = 50;

const STAGE: &str = include_str!("stage.sql");
const FINDINGS: &str = include_str!("findings.sql");
const CLASSES: &str = include_str!("classes.sql");

/// An audit at work, in a session of its own.
#[derive(Debug)]
pub struct Book {
    client: Client,
    id: i64,
}

/// Somebody whose difference is to be confirmed.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// In the order in which they are looked at.
    pub place: i64,
    /// The user, if there is one.
    pub user_key: Option<String>,
    /// The account, if there is one.
    pub auth0_user_id: Option<String>,
    /// The address in Postgres, or else in Auth0.
    pub email: Option<String>,
}

/// How much of what there is an export shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Accounts in the export.
    pub seen: i64,
    /// Accounts that Roster linked.
    pub linked: i64,
    /// Those of them that are in the export.
    pub linked_seen: i64,
}

/// What an audit came to.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// Its number.
    pub id: i64,
    /// `export` or `accounts`.
    pub source: String,
    /// Accounts of the export; without one, those that were looked at.
    pub accounts_seen: i64,
    /// Accounts that Roster linked.
    pub accounts_linked: i64,
    /// Who seemed to differ and was to be confirmed.
    pub candidates: i64,
    /// Who of them was not looked at.
    pub unconfirmed: i64,
    /// Who Roster itself is about to change, or has changed since.
    pub on_their_way: i64,
    /// Differences that were confirmed.
    pub found: i64,
    /// Of these, without those that are ignored.
    pub open: i64,
}

/// Why the list of accounts is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The file.
    #[error("the list of accounts cannot be written")]
    File(#[from] io::Error),
}

impl Book {
    /// Begins an audit; `None` while another one is at it.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn open(client: Client) -> Result<Option<Self>, DbError> {
        let begun = async {
            client.batch_execute(SETTINGS).await?;
            let lock = "select pg_try_advisory_lock(1380930374, 3)";
            if !client.query_one(lock, &[]).await?.get::<_, bool>(0) {
                return Ok(None);
            }
            // Nobody else is at it, so whoever says so has died.
            client
                .execute(
                    "with died as (update roster.audits set state = 'failed', finished_at = now(), error_code = 'interrupted', \
                        error_detail = 'its process ended before it did' where state = 'running' returning id) \
                     delete from roster.drift_found where audit in (select id from died)",
                    &[],
                )
                .await?;
            let row = client
                .query_one("insert into roster.audits default values returning id", &[])
                .await?;
            client.batch_execute(STAGE).await?;
            Ok(Some(row.get(0)))
        };
        let id: Option<i64> = within(begun).await?;
        Ok(id.map(|id| Self { client, id }))
    }

    /// The tenant that this mirror belongs to; `None` before the first reactor.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn tenant(&self) -> Result<Option<String>, DbError> {
        let query = "select tenant from roster.settings";
        let row = within(async { Ok(self.client.query_one(query, &[]).await?) }).await?;
        Ok(row.get(0))
    }

    /// Notes where Auth0's accounts are read from: `export`, or `accounts` one by one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn reads(&self, source: &str) -> Result<(), DbError> {
        let update = "update roster.audits set source = $2, \
            accounts_linked = (select count(*) from roster.accounts where state = 'linked') where id = $1";
        within(async { Ok(self.client.execute(update, &[&self.id, &source]).await?) }).await?;
        Ok(())
    }

    /// Notes what it does now (`export`, `load`, `compare`, `look`), and how far that is, for whoever watches.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn at(&self, step: &str, far: Option<(i64, i64)>) -> Result<(), DbError> {
        let update =
            "update roster.audits set step = $2, step_done = $3, step_of = $4 where id = $1";
        let (done, of) = far.unzip();
        within(async {
            Ok(self
                .client
                .execute(update, &[&self.id, &step, &done, &of])
                .await?)
        })
        .await?;
        Ok(())
    }

    /// Begins to take over the accounts of an export, all of them anew.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn load(&self) -> Result<Loading<'_>, DbError> {
        within(async { Ok(self.client.batch_execute("truncate audit_seen").await?) }).await?;
        Ok(Loading::into(&self.client, "audit_seen"))
    }

    /// What of the linked accounts the export shows, once it is loaded.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn extent(&self) -> Result<Extent, DbError> {
        within(async {
            let prepare = "create index on audit_seen (auth0_user_id); create index on audit_seen (lower(email)); analyze audit_seen";
            self.client.batch_execute(prepare).await?;
            let row = self
                .client
                .query_one(
                    "with known as (select exists (select from audit_seen s where s.auth0_user_id = a.auth0_user_id) as seen \
                        from roster.accounts a where a.state = 'linked'), \
                     noted as (update roster.audits set accounts_seen = (select count(*) from audit_seen) where id = $1 returning accounts_seen) \
                     select (select accounts_seen from noted), count(*), count(*) filter (where seen) from known",
                    &[&self.id],
                )
                .await?;
            Ok(Extent {
                seen: row.get(0),
                linked: row.get(1),
                linked_seen: row.get(2),
            })
        })
        .await
    }

    /// Some linked accounts that the export does not show.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn some_absent(&self, number: i64) -> Result<Vec<String>, DbError> {
        let query = "select a.auth0_user_id from roster.accounts a where a.state = 'linked' \
            and not exists (select from audit_seen s where s.auth0_user_id = a.auth0_user_id) order by md5(a.auth0_user_id) limit $1";
        let rows = within(async { Ok(self.client.query(query, &[&number]).await?) }).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Compares the export with everybody, and keeps who seems to differ, the most urgent first. At most `limit` of them are to be
    /// confirmed; says how many those are.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn compare(&self, limit: i64) -> Result<i64, DbError> {
        let insert = format!(
            "with differs as materialized ( \
                select user_key, auth0_user_id, min(email) as email, min(rank) as rank from ({}) f group by user_key, auth0_user_id), \
             kept as (insert into audit_candidates (user_key, auth0_user_id, email) \
                select user_key, auth0_user_id, email from differs where rank < 9 order by rank, user_key, auth0_user_id limit $2 returning 1), \
             noted as (update roster.audits set candidates = d.all_of_them, unconfirmed = greatest(0, d.all_of_them - $2), on_their_way = d.on_their_way \
                from (select count(*) filter (where rank < 9) as all_of_them, count(*) filter (where rank = 9) as on_their_way from differs) d \
                where id = $3 returning 1) \
             select (select count(*) from kept), (select count(*) from noted)",
            findings("audit_seen", "roster.accounts", "roster.desired_users")
        );
        // Nobody is too new to be a candidate: each is looked at before it counts.
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&"infinity", &limit, &self.id];
        let row = within(async { Ok(self.client.query_one(&insert, &params).await?) }).await?;
        Ok(row.get(0))
    }

    /// Writes every account of the export and every user without one to `file`, as CSV with a header: `class` (`linked`, `matchable`,
    /// `disputed`, `only in Auth0`, `only in Postgres`), `user_key`, `auth0_user_id`, `email`, `detail`. Each part is written as it comes,
    /// so that memory stays flat.
    ///
    /// # Errors
    /// [`ListError`].
    pub async fn list(&self, file: &mut (dyn Write + Send)) -> Result<(), ListError> {
        let copy = format!("copy ({CLASSES}) to stdout (format csv, header)");
        let mut rows = within(async { Ok(Box::pin(self.client.copy_out(&copy).await?)) }).await?;
        while let Some(part) = within(async { Ok(rows.try_next().await?) }).await? {
            file.write_all(&part)?;
        }
        Ok(file.flush()?)
    }

    /// Without an export: everybody with an account, or who should have one, is to be looked at. Says how many those are.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn everybody(&self) -> Result<i64, DbError> {
        let insert = "with kept as ( \
                insert into audit_candidates (user_key, auth0_user_id, email) \
                select a.user_key, a.auth0_user_id, coalesce(d.email, a.email) \
                from roster.accounts a left join roster.desired_users d on d.user_key = a.user_key where a.state = 'linked' \
                union all \
                select d.user_key, null, d.email from roster.desired_users d where d.blocked is not true and not exists ( \
                    select from roster.accounts a where a.user_key = d.user_key and a.state = 'linked') \
                returning auth0_user_id), \
             noted as (update roster.audits set candidates = (select count(*) from kept), unconfirmed = 0, on_their_way = 0, \
                accounts_seen = (select count(auth0_user_id) from kept) where id = $1 returning candidates) \
             select candidates from noted";
        let row = within(async { Ok(self.client.query_one(insert, &[&self.id]).await?) }).await?;
        Ok(row.get(0))
    }

    /// The next candidates after this place.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn candidates(&self, after: i64, limit: i64) -> Result<Vec<Candidate>, DbError> {
        let query = "select place, user_key, auth0_user_id, email from audit_candidates where place > $1 order by place limit $2";
        let rows = within(async { Ok(self.client.query(query, &[&after, &limit]).await?) }).await?;
        let candidate = |row: &tokio_postgres::Row| Candidate {
            place: row.get(0),
            user_key: row.get(1),
            auth0_user_id: row.get(2),
            email: row.get(3),
        };
        Ok(rows.iter().map(candidate).collect())
    }

    /// The database's time, as [`Book::confirm`] takes it.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn now(&self) -> Result<String, DbError> {
        let query = "select clock_timestamp()::text";
        let row = within(async { Ok(self.client.query_one(query, &[]).await?) }).await?;
        Ok(row.get(0))
    }

    /// Compares what was just seen, since `asked_at`, of these candidates with what is desired now, and writes down what differs still.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn confirm(
        &self,
        asked_at: &str,
        looked_at: &[Candidate],
        seen: Vec<Seen>,
        unread: i64,
    ) -> Result<(), DbError> {
        let begin = "truncate audit_confirmed";
        within(async { Ok(self.client.batch_execute(begin).await?) }).await?;
        let mut loading = Loading::into(&self.client, "audit_confirmed");
        // Two users of one address are shown the same accounts.
        let mut known = HashSet::new();
        for account in seen {
            if known.insert(account.account.auth0_user_id.clone()) {
                loading.add(account).await?;
            }
        }
        loading.end().await?;
        let insert = format!(
            "with differs as materialized ({}), \
             kept as (insert into roster.drift_found (audit, kind, user_key, auth0_user_id, email, changes, detail) \
                select $4, kind, user_key, auth0_user_id, email, changes, detail from differs where kind is not null returning 1) \
             update roster.audits set unconfirmed = unconfirmed + $5, \
                on_their_way = on_their_way + (select count(*) from differs where kind is null) where id = $4",
            findings(
                "audit_confirmed",
                "(select * from roster.accounts where auth0_user_id = any ($2))",
                "(select * from roster.desired_users where user_key = any ($3))"
            )
        );
        let ids: Vec<&str> = looked_at
            .iter()
            .filter_map(|candidate| candidate.auth0_user_id.as_deref())
            .collect();
        let keys: Vec<&str> = looked_at
            .iter()
            .filter_map(|candidate| candidate.user_key.as_deref())
            .collect();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&asked_at, &ids, &keys, &self.id, &unread];
        within(async { Ok(self.client.execute(&insert, &params).await?) }).await?;
        Ok(())
    }

    /// The audit is done: what it found counts from now on. What a person had said to ignore stays ignored while it is the same.
    ///
    /// # Errors
    /// [`DbError`]; it has not finished then.
    pub async fn finish(&mut self) -> Result<Summary, DbError> {
        let ignored = "update roster.drift_found f set verdict = 'ignored', judged_at = o.judged_at, judged_by = o.judged_by \
            from roster.drift_found o \
            where f.audit = $1 and o.audit = (select max(id) from roster.audits where state = 'finished') and o.verdict = 'ignored' \
                and (o.kind, o.user_key, o.auth0_user_id, o.changes, o.detail) \
                    is not distinct from (f.kind, f.user_key, f.auth0_user_id, f.changes, f.detail)";
        let planned = "update roster.drift_found f set planned = p.said \
            from (select user_key, string_agg(distinct action || ' (' || state || ')', ', ') as said from roster.plan \
                where user_key = any (array(select user_key from roster.drift_found where audit = $1)) group by user_key) p \
            where f.audit = $1 and p.user_key = f.user_key";
        let summary = "update roster.audits a set state = 'finished', finished_at = now(), found = n.found \
            from (select count(*) as found, count(*) filter (where verdict is null) as open from roster.drift_found where audit = $1) n \
            where a.id = $1 \
            returning a.id, a.source, a.accounts_seen, a.accounts_linked, a.candidates, a.unconfirmed, a.on_their_way, n.found, n.open";
        let forget = "delete from roster.audits where id <= $1::bigint - $2::bigint and id <> (select max(id) from roster.audits where state = 'finished')";
        within(async {
            let tx = self.client.transaction().await?;
            tx.execute(ignored, &[&self.id]).await?;
            tx.execute(planned, &[&self.id]).await?;
            let row = tx.query_one(summary, &[&self.id]).await?;
            tx.execute(forget, &[&self.id, &KEPT]).await?;
            tx.commit().await?;
            Ok(Summary {
                id: row.get(0),
                source: row.get(1),
                accounts_seen: row.get(2),
                accounts_linked: row.get(3),
                candidates: row.get(4),
                unconfirmed: row.get(5),
                on_their_way: row.get(6),
                found: row.get(7),
                open: row.get(8),
            })
        })
        .await
    }

    /// The audit came to nothing, for this reason: what it found so far is thrown away, and the last one's findings stand.
    pub async fn fail(self, code: &str, detail: &str) {
        let fail = "with gone as (delete from roster.drift_found where audit = $1) \
            update roster.audits set state = 'failed', finished_at = now(), error_code = $2, error_detail = $3 where id = $1";
        let failed = async { self.client.execute(fail, &[&self.id, &code, &detail]).await };
        if !matches!(timeout(LAST_WORD, failed).await, Ok(Ok(_))) {
            tracing::debug!("that an audit failed is told by the next one");
        }
        self.close().await;
    }

    /// Lets the next audit begin at once, and not only when the server has seen this session end.
    pub async fn close(self) {
        let unlock = self
            .client
            .batch_execute("select pg_advisory_unlock(1380930374, 3)");
        if !matches!(timeout(LAST_WORD, unlock).await, Ok(Ok(()))) {
            tracing::debug!("the lock of an audit ends with its session");
        }
    }
}

/// Whether an audit is due: a person asked for one since the last was begun; or none was finished for so long, and none was begun for a
/// while either. Without `every` only a person asks for them.
///
/// # Errors
/// [`DbError`].
pub async fn is_due(
    pool: &super::pool::Pool,
    every: Option<Duration>,
    after_a_failure: Duration,
) -> Result<bool, DbError> {
    let query = "select s.paused_at is null and ( \
            coalesce(s.audit_asked_at > coalesce((select max(a.started_at) from roster.audits a), '-infinity'), false) \
            or $1::double precision is not null \
                and not exists (select from roster.audits where state = 'finished' and started_at > now() - make_interval(secs => $1)) \
                and not exists (select from roster.audits where started_at > now() - make_interval(secs => $2)) \
        ) from roster.settings s";
    pool.on(super::pool::QUICK, async |session| {
        let every = every.map(|every| every.as_secs_f64());
        let row = session
            .query_one(query, &[&every, &after_a_failure.as_secs_f64()])
            .await?;
        Ok(row.get(0))
    })
    .await
}

fn findings(seen: &str, accounts: &str, users: &str) -> String {
    FINDINGS
        .replace("{seen}", seen)
        .replace("{accounts}", accounts)
        .replace("{users}", users)
}

/// Nothing that is asked of the database goes on without a limit on our side.
async fn within<T>(work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    match timeout(LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(DbError::TimedOut { limit: LIMIT }),
    }
}

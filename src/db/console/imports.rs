//! Imports by the console: a file is read into `roster.import_lines`, tried, looked at by a person, and then written, each in a transaction
//! of its own. How far it is stands in `roster.imports`, so that any server can show it.
//!
//! Promises: a trial writes nothing but verdicts; what is written is written in one transaction, by the same functions as `roster import`
//! and psql; one server is at an import at a time. Whoever imports keeps their own rights, and somebody keeps `roster:write`.

use std::{collections::BTreeMap, time::Duration};

use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio::{sync::watch, time::sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    edit::{Author, Outcome, PATIENCE, TURN, named},
    guard::Before,
};
use crate::{
    db::{
        DbError,
        import::{Error, Import, Verdict, Verdicts},
        pool::{Pool, QUICK},
        statement::Statement,
    },
    import::{ImportError, Lines, Options},
};

/// For a trial or a writing: some hundred thousand lines.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Between two words about how far it is.
const TOLD_EACH: Duration = Duration::from_millis(500);

/// What is done with an import that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Each line is tried, and taken back.
    Check,
    /// Written; bad lines are left out where that was said.
    Apply { skip_bad: bool },
}

/// How a file is to be read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub source: String,
    /// What the table calls the file's columns.
    pub columns: BTreeMap<String, String>,
    pub options: Options,
}

/// Reads a file into the database; gives the import that it is.
///
/// # Errors
/// [`Error`]: it is no file of users, or does not fit the table.
pub async fn read(
    pool: &Pool,
    author: &Author,
    file: &[u8],
    reading: &Reading,
) -> Result<Uuid, Error> {
    // What is wrong with the file itself is found out before the database is asked for anything.
    for line in Lines::new(file, &reading.options)? {
        line?;
    }
    let read = pool.transaction(QUICK, async |tx| {
        named(tx, author).await?;
        let mut lines = Lines::new(file, &reading.options).map_err(once_more)?;
        let reason = reason(&reading.source);
        let columns = &reading.columns;
        let import = Import::read(tx, &reading.source, &reason, &mut lines, columns, |_| {});
        match import.await {
            Ok(import) => Ok(import.id()),
            Err(Error::Database(error)) => Err(error),
            Err(Error::File(error)) => Err(once_more(error)),
        }
    });
    Ok(read.await?)
}

fn reason(source: &str) -> String {
    format!("import of {source}")
}

/// It was read a moment ago.
fn once_more(error: ImportError) -> DbError {
    DbError::Unexpected {
        what: "a file that could be read cannot be read any more",
        value: error.to_string(),
    }
}

/// The last imports, newest first, as `roster.imports` has them.
pub fn last(limit: usize) -> Statement {
    Statement::new(
        format!("select * from roster.imports order by begun_at desc limit {limit}"),
        [],
    )
}

/// One import, as `roster.imports` has it; and whether whoever was at it has gone.
///
/// # Errors
/// [`DbError`].
pub async fn one(client: &Client, id: Uuid) -> Result<Option<Value>, DbError> {
    let id = id.to_string();
    let one = "select *, step in ('checking', 'applying') and step_at < now() - interval '30 seconds' as is_stale\n\
        from roster.imports where id = $1::text::uuid";
    let mut found = Statement::new(one, [Some(id.as_str())])
        .objects(client)
        .await?;
    Ok(found.pop())
}

/// The lines after this one, at most `limit`, of all or of the bad ones alone.
///
/// # Errors
/// [`DbError`].
pub async fn lines(
    pool: &Pool,
    id: Uuid,
    only_bad: bool,
    after: i32,
    limit: usize,
) -> Result<Vec<Verdict>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    pool.transaction(QUICK, async |tx| {
        Import::known(id).lines(tx, only_bad, after, limit).await
    })
    .await
}

/// How long so many calls take at what Auth0 allows in the long run; none: that is not known.
///
/// # Errors
/// [`DbError`].
pub async fn time_at_auth0(client: &Client, calls: i64) -> Result<Option<String>, DbError> {
    let query = "select roster.time_left($1, 0, 1, (
            select (b.class ->> 'per_second')::double precision
            from roster.reactors r cross join jsonb_array_elements(r.budget) b (class)
            where r.stopped_at is null and b.class ->> 'class' = 'write_users' order by r.heartbeat_at desc limit 1
        ))::interval(0)::text";
    Ok(client.query_one(query, &[&calls]).await?.get(0))
}

/// Takes an import for this step, if nobody is at it, nor at another: they would take all sessions of the console. Says whether it was free.
///
/// # Errors
/// [`DbError`].
pub async fn claim(pool: &Pool, id: Uuid, step: Step) -> Result<bool, DbError> {
    // What was begun and not gone on with for so long has lost its server.
    let take = "update roster.imports set step = $2, step_done = null, step_of = null, step_at = now(), error = null \
        where id = $1 and applied_at is null and (step is null or step not in ('checking', 'applying') or step_at < now() - interval '30 seconds') \
            and (step = 'checked' or $2 = 'checking') and exists (select from roster.import_lines l where l.import_id = $1) \
            and not exists (select from roster.imports o where o.id <> $1 and o.step in ('checking', 'applying') and o.step_at > now() - interval '30 seconds')";
    let word = match step {
        Step::Check => "checking",
        Step::Apply { .. } => "applying",
    };
    pool.on(QUICK, async |session| {
        Ok(session.execute(take, &[&id, &word]).await? == 1)
    })
    .await
}

/// Does the step that it was claimed for, and notes down how far it is and what became of it.
pub async fn work(pool: &Pool, author: &Author, id: Uuid, step: Step) {
    let (told, far) = watch::channel((0_usize, 0_usize));
    let telling = async {
        loop {
            sleep(TOLD_EACH).await;
            let (done, of) = *far.borrow();
            tell(pool, id, done, of).await;
        }
    };
    let told = |done, of| {
        told.send_replace((done, of));
    };
    let work = async {
        match step {
            Step::Check => check(pool, author, id, told).await,
            Step::Apply { skip_bad } => apply(pool, author, id, skip_bad, told).await,
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = telling => unreachable!("it never ends"),
    };
    let why = match ended {
        Ok(None) => return,
        Ok(Some(why)) => why,
        Err(error) => words(&error),
    };
    if fail(pool, id, &why).await.is_err() {
        tracing::debug!("that an import failed is told once nobody is heard of it any more");
    }
}

async fn tell(pool: &Pool, id: Uuid, done: usize, of: usize) {
    let number = |number| i32::try_from(number).unwrap_or(i32::MAX);
    let note = "update roster.imports set step_done = $2, step_of = nullif($3, 0), step_at = now() where id = $1 and applied_at is null";
    let noted = pool.on(QUICK, async |session| {
        Ok(session
            .execute(note, &[&id, &number(done), &number(of)])
            .await?)
    });
    if noted.await.is_err() {
        tracing::debug!("how far an import is could not be told");
    }
}

async fn fail(pool: &Pool, id: Uuid, why: &str) -> Result<(), DbError> {
    let note = "update roster.imports set step = 'failed', step_at = now(), error = $2 where id = $1 and applied_at is null";
    pool.on(QUICK, async |session| {
        session.execute(note, &[&id, &why]).await?;
        Ok(())
    })
    .await
}

/// As the server says it.
fn words(error: &DbError) -> String {
    match error.server() {
        None => error.to_string(),
        Some(said) => [Some(said.message()), said.detail()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(". "),
    }
}

type Ended = Result<Option<String>, DbError>;

async fn begun(tx: &Transaction<'_>, author: &Author, id: Uuid) -> Result<Import, DbError> {
    tx.batch_execute(PATIENCE).await?;
    named(tx, author).await?;
    let reason = "select set_config('roster.reason', 'import of ' || coalesce(source, ''), true) from roster.imports where id = $1";
    tx.execute(reason, &[&id]).await?;
    Import::again(tx, id).await
}

async fn check(pool: &Pool, author: &Author, id: Uuid, told: impl FnMut(usize, usize)) -> Ended {
    pool.transaction(LIMIT, async |tx| {
        let import = begun(tx, author, id).await?;
        tx.batch_execute("savepoint untouched").await?;
        import.write(tx, told).await?;
        import.as_if_committed(tx).await?;
        let verdicts = import.verdicts(tx).await?;
        let judged = "select array_agg(line), array_agg(verdict), array_agg(why) from roster.import_lines where import_id = $1";
        let row = tx.query_one(judged, &[&id]).await?;
        let lines: Vec<i32> = row.get(0);
        let words: Vec<Option<String>> = row.get(1);
        let whys: Vec<Option<String>> = row.get(2);
        tx.batch_execute("rollback to savepoint untouched").await?;
        let keep = "update roster.import_lines l set verdict = v.verdict, why = v.why \
            from unnest($2::int[], $3::text[], $4::text[]) v (line, verdict, why) where l.import_id = $1 and l.line = v.line";
        tx.execute(keep, &[&id, &lines, &words, &whys]).await?;
        let Verdicts { new, changed, same, bad } = verdicts;
        let numbers = [new, changed, same, bad].map(|number| i32::try_from(number).unwrap_or(i32::MAX));
        let note = "update roster.imports set step = 'checked', step_at = now(), new = $2, changed = $3, same = $4, bad = $5 where id = $1";
        tx.execute(note, &[&id, &numbers[0], &numbers[1], &numbers[2], &numbers[3]]).await?;
        Ok(None)
    })
    .await
}

async fn apply(
    pool: &Pool,
    author: &Author,
    id: Uuid,
    skip_bad: bool,
    told: impl FnMut(usize, usize),
) -> Ended {
    pool.transaction(LIMIT, async |tx| {
        let import = begun(tx, author, id).await?;
        let before = Before::of(tx, author, true).await?;
        tx.batch_execute("savepoint untouched").await?;
        import.write(tx, told).await?;
        // From here on no other edit, so that what is found now is so when it is committed.
        tx.execute(TURN, &[]).await?;
        if let Some(refusal) = before.refuses(tx, author).await? {
            tx.batch_execute("rollback to savepoint untouched").await?;
            return Ok(Some(match refusal {
                Outcome::Yourself => "the file would take your own rights from you".to_owned(),
                _ => "the file would leave nobody who may change users".to_owned(),
            }));
        }
        import.finish(tx, skip_bad).await?;
        let note = "update roster.imports set step = 'applied', step_at = now() where id = $1";
        tx.execute(note, &[&id]).await?;
        Ok(None)
    })
    .await
}

/// What one would type to do the same.
pub fn shown(source: &str) -> [Statement; 3] {
    let file = crate::db::statement::literal(source);
    [
        format!("\\copy roster.import from {file} with (format csv, header)"),
        "select * from roster.import_check()".to_owned(),
        "select * from roster.import_apply()".to_owned(),
    ]
    .map(|sql| Statement::new(sql, []))
}

//! Drift, for the console: what the last audit found, how the audit that was asked for gets on, and the verdicts, each for its author.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Client;

use crate::db::{
    DbError, audit,
    console::{
        desired,
        edit::{Author, Outcome, begin},
        guard::refused,
    },
    pool::{Pool, QUICK},
    statement::Statement,
};

/// Findings on a page.
pub const PAGE: usize = 50;

/// What is to become of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Revert,
    Ignore,
}

/// A page of findings.
#[derive(Debug)]
pub struct Page {
    /// Rows of `roster.drift`.
    pub found: Vec<Value>,
    /// Where the next page begins; none: this is the last.
    pub next: Option<i64>,
    /// How many there are of each kind.
    pub kinds: Vec<(String, i64)>,
    pub statement: Statement,
}

fn found(kind: &str, after: i64, limit: usize) -> Statement {
    let condition = match kind {
        "" => "",
        _ => " and kind = $1",
    };
    Statement::new(
        format!(
            "select * from roster.drift where id > {after}{condition} order by id limit {limit}"
        ),
        Some(kind).filter(|kind| !kind.is_empty()).map(Some),
    )
}

/// The findings after this one that nobody has judged, of one kind or (if that is empty) of all.
///
/// # Errors
/// [`DbError`].
pub async fn page(client: &Client, kind: &str, after: i64) -> Result<Page, DbError> {
    let mut rows = found(kind, after, PAGE + 1).objects(client).await?;
    let is_last = rows.len() <= PAGE;
    rows.truncate(PAGE);
    let kinds = "select kind, count(*) from roster.drift group by kind order by kind";
    let kinds = client.query(kinds, &[]).await?;
    Ok(Page {
        next: rows
            .last()
            .filter(|_| !is_last)
            .and_then(|row| row["id"].as_i64()),
        kinds: kinds.iter().map(|row| (row.get(0), row.get(1))).collect(),
        statement: found(kind, after, PAGE),
        found: rows,
    })
}

/// How audits stand.
#[derive(Debug)]
pub struct Audits {
    /// The one at work, as `roster.audits` has it.
    pub running: Option<Value>,
    /// The last that ended, well or not.
    pub ended: Option<Value>,
    /// When one was asked for that has not begun.
    pub asked_at: Option<Timestamp>,
    pub is_paused: bool,
    /// There is who would make it.
    pub has_reactor: bool,
}

const STANDING: &str = "
select case when s.audit_asked_at > coalesce((select max(a.started_at) from roster.audits a), '-infinity') then s.audit_asked_at end as asked_at,
    s.paused_at is not null as is_paused,
    exists (select from roster.reactors r where r.stopped_at is null and r.heartbeat_at >= now() - roster.heartbeat_patience()) as has_reactor
from roster.settings s";

/// What one would type to see audits.
pub fn audits_shown() -> Statement {
    Statement::new("select * from roster.audits order by id desc limit 2", [])
}

/// How audits stand.
///
/// # Errors
/// [`DbError`].
pub async fn audits(client: &Client) -> Result<Audits, DbError> {
    let mut last = audits_shown().objects(client).await?.into_iter();
    let standing = client.query_one(STANDING, &[]).await?;
    let newest = last.next();
    let (running, ended) = match newest {
        Some(audit) if audit["state"] == "running" => (Some(audit), last.next()),
        other => (None, other),
    };
    Ok(Audits {
        running,
        ended,
        asked_at: standing.get("asked_at"),
        is_paused: standing.get("is_paused"),
        has_reactor: standing.get("has_reactor"),
    })
}

/// Asks for an audit.
///
/// # Errors
/// [`DbError`].
pub async fn ask(pool: &Pool, author: &Author) -> Result<(), DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        tx.execute("select roster.audit()", &[]).await?;
        Ok(())
    })
    .await
}

/// Has findings reverted or ignored (`#id`, a kind, or `all`), if `number` is how many there are. Gives how many were; none: it is not.
///
/// # Errors
/// [`DbError`]; `RO020` where nothing is meant, `RO021` where nothing of it can be reverted.
pub async fn judge(
    pool: &Pool,
    author: &Author,
    which: &str,
    verdict: Verdict,
    number: Option<&str>,
) -> Result<Option<i32>, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        if let Some(number) = number {
            let count = "select count(*)::text = $1 from roster.find_drift($2)";
            if !tx
                .query_one(count, &[&number, &which])
                .await?
                .get::<_, bool>(0)
            {
                return Ok(None);
            }
        }
        let judged = match verdict {
            Verdict::Revert => audit::revert(tx.client(), which).await?,
            Verdict::Ignore => audit::ignore(tx.client(), which).await?,
        };
        Ok(Some(judged))
    })
    .await
}

/// One finding, with the statements that would let the rows say what Auth0 has.
#[derive(Debug)]
pub struct Adoption {
    /// The row of `roster.drift`.
    pub finding: Value,
    pub statements: Vec<String>,
}

impl Adoption {
    /// Those that do something; the others are words for a person.
    fn to_run(&self) -> impl Iterator<Item = &String> {
        self.statements
            .iter()
            .filter(|text| !text.starts_with("--"))
    }

    /// Whether there is anything to run.
    pub fn is_possible(&self) -> bool {
        self.to_run().next().is_some()
    }

    /// As one text, by which what was seen is known again.
    pub fn text(&self) -> String {
        self.statements.join("\n")
    }
}

/// How one finding would be adopted; none: it is not open any more.
///
/// # Errors
/// [`DbError`].
pub async fn adoption(client: &Client, id: i64) -> Result<Option<Adoption>, DbError> {
    let finding = Statement::new(format!("select * from roster.drift where id = {id}"), []);
    let Some(finding) = finding.objects(client).await?.pop() else {
        return Ok(None);
    };
    let statements = audit::adopt(client, &format!("#{id}")).await?;
    Ok(Some(Adoption {
        finding,
        statements,
    }))
}

/// Runs the statements of an adoption, if they are those that were seen, and has Auth0 looked at again. [`Outcome::Changed`]: they are
/// not, or it is not open any more.
///
/// # Errors
/// [`DbError`]: what the tables refuse, too.
pub async fn adopt(pool: &Pool, author: &Author, id: i64, seen: &str) -> Result<Outcome, DbError> {
    pool.transaction(QUICK, async |tx| {
        begin(tx, author).await?;
        let Some(adoption) = adoption(tx.client(), id).await? else {
            return Ok(Outcome::Changed(None));
        };
        let key = adoption.finding["user_key"].as_str().unwrap_or_default();
        let before = desired(tx.client(), key).await?;
        if lines_of(&adoption.text()) != lines_of(seen) {
            return Ok(Outcome::Changed(before));
        }
        if !adoption.is_possible() {
            return Ok(Outcome::Unable("there is nothing to run"));
        }
        tx.batch_execute("savepoint untouched").await?;
        let mut touched = 0;
        for statement in adoption.to_run() {
            touched += tx.execute(statement, &[]).await?;
        }
        if touched == 0 {
            return Ok(Outcome::Unable(
                "no row says it: what Auth0 lacks, or has, is given by the role. Change that, or revert.",
            ));
        }
        if let Some(before) = &before {
            let after = desired(tx.client(), key).await?;
            if let Some(refused) = refused(tx, author, before, after.as_ref()).await? {
                tx.batch_execute("rollback to savepoint untouched").await?;
                return Ok(refused);
            }
        }
        // What Auth0 has is looked at again, so that nothing is written that is there already.
        let settle = "select case when roster.is_revertible(kind) then roster.revert_drift('#' || id) else roster.ignore_drift('#' || id) end from roster.drift where id = $1";
        tx.query(settle, &[&id]).await?;
        Ok(Outcome::Done(key.to_owned()))
    })
    .await
}

/// With ends of lines as one character each, whichever a browser makes of them.
fn lines_of(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// What one would type to judge a finding.
pub fn judge_shown(which: &str) -> [Statement; 3] {
    [
        "select roster.revert_drift($1)",
        "select * from roster.adopt_drift($1)",
        "select roster.ignore_drift($1)",
    ]
    .map(|sql| Statement::new(sql, [Some(which)]))
}

/// What one would type to ask for an audit.
pub fn ask_shown() -> Statement {
    Statement::new("select roster.audit()", [])
}

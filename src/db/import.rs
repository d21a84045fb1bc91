//! A file of users on its way into the users table: `triggers/import.sql`, step by step, so that somebody can be told how far it is.

use std::{collections::BTreeMap, io::Read};

use futures_util::pin_mut;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{
    Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{Json, Type},
};
use uuid::Uuid;

use super::DbError;
use crate::import::{ImportError, Lines};

/// Lines that are written by one statement.
pub const BATCH: usize = 1_000;

/// Why a file did not get into the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] ImportError),
    #[error("the file could not be imported")]
    Database(#[from] DbError),
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// How many lines of each verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    pub new: i64,
    pub changed: i64,
    pub same: i64,
    pub bad: i64,
}

/// What became of a line.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub line: i32,
    pub verdict: String,
    pub why: Option<String>,
    pub cells: BTreeMap<String, Value>,
}

/// An import under way, in a transaction: until that is committed nothing is written.
pub struct Import {
    id: Uuid,
    /// First and last line of each batch.
    batches: Vec<(i32, i32)>,
}

impl Import {
    /// Copies the lines into the database; `told` hears how many bytes were read. `columns` says what the table calls the file's, `reason`
    /// what history is to say.
    ///
    /// # Errors
    /// [`Error`]; `RO030` and `RO031` where file and table do not fit.
    pub async fn read<R: Read>(
        transaction: &Transaction<'_>,
        source: &str,
        reason: &str,
        lines: &mut Lines<R>,
        columns: &BTreeMap<String, String>,
        mut told: impl FnMut(u64),
    ) -> Result<Self, Error> {
        transaction
            .execute("select set_config('roster.reason', $1, true)", &[&reason])
            .await?;
        let row = transaction
            .query_one(
                "select roster.import_begin($1, $2, $3)",
                &[&source, &lines.header(), &Json(columns)],
            )
            .await?;
        let id: Uuid = row.get(0);
        let copy =
            "copy roster.import_lines (import_id, line, cells, verdict, why) from stdin binary";
        let types = [Type::UUID, Type::INT4, Type::JSONB, Type::TEXT, Type::TEXT];
        let writer = BinaryCopyInWriter::new(transaction.copy_in(copy).await?, &types);
        pin_mut!(writer);
        let mut batches: Vec<(i32, i32)> = Vec::new();
        let mut number = 0;
        while let Some(line) = lines.next() {
            let line = line?;
            let at = i32::try_from(line.number).map_err(|_| ImportError::TooMany)?;
            let verdict = line.bad.as_ref().map(|_| "bad");
            writer
                .as_mut()
                .write(&[&id, &at, &Json(&line.cells), &verdict, &line.bad])
                .await?;
            match batches.last_mut() {
                Some(batch) if number % BATCH > 0 => batch.1 = at,
                _ => batches.push((at, at)),
            }
            number += 1;
            if number % BATCH == 0 {
                told(lines.bytes());
            }
        }
        writer.finish().await?;
        Ok(Self { id, batches })
    }

    /// Which one it is in `roster.imports`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// One that is there already, to look at its lines.
    pub fn known(id: Uuid) -> Self {
        let batches = Vec::new();
        Self { id, batches }
    }

    /// One whose lines were read in a transaction before.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn again(transaction: &Transaction<'_>, id: Uuid) -> Result<Self, DbError> {
        let batches = format!(
            "select min(n.line), max(n.line) from ( \
                 select l.line, (row_number() over (order by l.line) - 1) / {BATCH} as number from roster.import_lines l where l.import_id = $1 \
             ) n group by n.number order by n.number"
        );
        let batches = transaction.query(&batches, &[&id]).await?;
        let batches = batches.iter().map(|row| (row.get(0), row.get(1)));
        Ok(Self {
            id,
            batches: batches.collect(),
        })
    }

    /// Writes the lines to the users table and gives each its verdict; `told` hears how many batches of how many are through.
    ///
    /// # Errors
    /// [`DbError`]: what no line can be blamed for, such as a right that is missing.
    pub async fn write(
        &self,
        transaction: &Transaction<'_>,
        mut told: impl FnMut(usize, usize),
    ) -> Result<(), DbError> {
        transaction
            .execute("select roster.import_judge($1)", &[&self.id])
            .await?;
        let batch = transaction
            .prepare("select roster.import_batch($1, $2, $3)")
            .await?;
        for (number, (from, to)) in self.batches.iter().enumerate() {
            transaction.execute(&batch, &[&self.id, from, to]).await?;
            told(number + 1, self.batches.len());
        }
        Ok(())
    }

    /// Has the table say now what it would say at COMMIT only.
    ///
    /// # Errors
    /// [`DbError`]: a deferred constraint.
    pub async fn as_if_committed(&self, transaction: &Transaction<'_>) -> Result<(), DbError> {
        transaction
            .batch_execute("set constraints all immediate")
            .await?;
        Ok(())
    }

    /// How many lines have which verdict by now.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn verdicts(&self, transaction: &Transaction<'_>) -> Result<Verdicts, DbError> {
        let count = "select count(*) filter (where verdict = 'new') as new, count(*) filter (where verdict = 'changed') as changed, \
             count(*) filter (where verdict = 'same') as same, count(*) filter (where verdict = 'bad') as bad \
             from roster.import_lines where import_id = $1";
        let row = transaction.query_one(count, &[&self.id]).await?;
        Ok(Verdicts {
            new: row.get("new"),
            changed: row.get("changed"),
            same: row.get("same"),
            bad: row.get("bad"),
        })
    }

    /// The lines after line `after`, with their verdicts, in order: at most `limit`, of all or of the bad ones alone.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn lines(
        &self,
        transaction: &Transaction<'_>,
        only_bad: bool,
        after: i32,
        limit: i64,
    ) -> Result<Vec<Verdict>, DbError> {
        let select = "select line, coalesce(verdict, '') as verdict, why, cells from roster.import_lines \
             where import_id = $1 and line > $2 and (verdict = 'bad' or not $3) order by line limit $4";
        let rows = transaction
            .query(select, &[&self.id, &after, &only_bad, &limit])
            .await?;
        let verdict = |row: &tokio_postgres::Row| {
            let Json(cells) = row.get("cells");
            Verdict {
                line: row.get("line"),
                verdict: row.get("verdict"),
                why: row.get("why"),
                cells,
            }
        };
        Ok(rows.iter().map(verdict).collect())
    }

    /// Remembers what became of it; the caller commits.
    ///
    /// # Errors
    /// [`DbError`]; `RO032` where a line is bad and bad ones are not to be skipped.
    pub async fn finish(
        &self,
        transaction: &Transaction<'_>,
        skip_bad: bool,
    ) -> Result<(), DbError> {
        transaction
            .execute(
                "select * from roster.import_finish($1, $2)",
                &[&self.id, &skip_bad],
            )
            .await?;
        Ok(())
    }
}

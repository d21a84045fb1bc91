//! One SQL session of a storm: it says what is on its list, and tries again as an application would.

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::{Client, Error, error::SqlState};

use super::{
    faults::Counts,
    place::Stage,
    statements::{Kind, Tx},
};
use std::time::Duration;

/// An application gives up in the end.
const TRIES: usize = 8;

/// A session that lasts for a storm.
pub(super) struct Session<'a> {
    stage: &'a Stage<'a>,
    counts: &'a Counts,
    client: Client,
}

/// Something no session may be told, such as an error of the capture.
pub(super) type Unheard = String;

impl<'a> Session<'a> {
    pub(super) async fn open(stage: &'a Stage<'a>, counts: &'a Counts) -> Self {
        Self {
            stage,
            counts,
            client: stage.database.client().await,
        }
    }

    /// Each transaction when its time has come, or as soon after it as the one before has ended.
    pub(super) async fn run(&mut self, start: Instant, list: &[(Duration, &Tx)]) -> Vec<Unheard> {
        let mut unheard = Vec::new();
        for (at, tx) in list {
            sleep_until(start + *at).await;
            unheard.extend(self.say(tx).await.err());
        }
        unheard
    }

    /// Says it until it is done, or refused as a statement of this kind may be.
    pub(super) async fn say(&mut self, tx: &Tx) -> Result<(), Unheard> {
        for _ in 0..TRIES {
            let Err(error) = attempt(&self.client, tx).await else {
                self.counts.add("statements", tx.changes() as u64);
                match (tx.kind, tx.end) {
                    (Kind::Silent, _) => self.counts.add("bell lost", 1),
                    (Kind::Unseen | Kind::Detached, _) => self.counts.add("triggers off", 1),
                    _ => {}
                }
                return Ok(());
            };
            if tx.begin.is_some() && !self.client.is_closed() {
                let _ = self.client.batch_execute("rollback").await;
            }
            match error.code() {
                Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                    self.counts.add("tried again", 1);
                    sleep(Duration::from_millis(5)).await;
                }
                Some(&SqlState::UNIQUE_VIOLATION | &SqlState::FOREIGN_KEY_VIOLATION) => {
                    self.counts.add("refused", 1);
                    return Ok(());
                }
                _ if self.client.is_closed() => {
                    // Whether it was done nobody knows; the application goes on.
                    self.counts.add("broken off", 1);
                    self.client = self.stage.database.client().await;
                    return Ok(());
                }
                _ => return Err(format!("{:?} was answered with {error:?}", tx.statements)),
            }
        }
        self.counts.add("given up", 1);
        Ok(())
    }
}

async fn attempt(client: &Client, tx: &Tx) -> Result<(), Error> {
    if let Some(begin) = tx.begin {
        client.batch_execute(begin).await?;
    }
    for (number, statement) in tx.statements.iter().enumerate() {
        if number > 0 {
            sleep(Duration::from_millis(tx.think_ms)).await;
        }
        match statement.split_once(" from stdin\n") {
            Some((copy, rows)) => {
                let sink = client
                    .copy_in::<_, Bytes>(&format!("{copy} from stdin"))
                    .await?;
                pin_mut!(sink);
                sink.send(Bytes::from(rows.to_owned())).await?;
                sink.finish().await?;
            }
            None => client.batch_execute(statement).await?,
        }
    }
    match tx.begin {
        Some(_) => client.batch_execute(tx.end).await,
        None => Ok(()),
    }
}

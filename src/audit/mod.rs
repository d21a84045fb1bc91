//! Audit: what is desired, compared with what Auth0 really has.
//!
//! ```text
//! export job ► its file, streamed ► compare with everybody, in SQL ► look at each candidate by its id ► compare again ► roster.drift
//! ```
//!
//! The mirror knows what it was last shown, and not what others changed in Auth0 since. An export shows all of it, late by an unknown time;
//! so whatever seems to differ is looked at by its id before it is called drift, and compared with what is desired by then.
//!
//! Promised: an audit reads Auth0 and never writes to it; memory stays flat however many users there are; whatever goes wrong (an export
//! that is refused half-way, cut, empty, or short of most linked accounts) leaves what the last audit found as it was, and says so; calls
//! keep to the pace that all calls share, and after an export at most [`Audit::most`] accounts are looked at, the most urgent first.
//!
//! Tenants whose plan has no exports are audited account by account: only those that Roster linked, so that nothing extra is seen.
//!
//! It mends nothing: `roster.revert_drift()` has users looked at again, and the plan with its guards does the rest.

mod error;
mod export;
mod look;
pub mod schedule;

use std::{fs::File, io::BufWriter, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

pub use self::error::{AuditError, Means};
use self::look::Looked;
use crate::{
    auth0::{CallError, Client},
    db::{
        audit::{Book, Candidate, Summary},
        connect::Endpoint,
    },
};

/// Some 25 minutes on common plans.
const MOST_CANDIDATES: i64 = 10_000;
/// Candidates that are looked at and compared at a time.
const PAGE: i64 = 100;
/// Of the accounts that an incomplete export seems to lack, so many are looked at.
const SAMPLE: i64 = 10;
/// So many linked accounts may be missing before an export that shows less than half of them is doubted.
const FEW: i64 = 20;

/// An audit to be made.
#[derive(Clone)]
pub struct Audit {
    /// The database, directly: what is read stays with the session.
    pub endpoint: Endpoint,
    /// The tenant.
    pub client: Client,
    /// Looks under way at a time.
    pub looks: usize,
    /// How long to wait before a job is asked for again, at first.
    pub poll: Duration,
    /// Accounts that are looked at after an export; beyond that they are counted and left for the next audit.
    pub most: i64,
    /// Where every account is listed with its class, as [`Book::list`] says.
    pub list: Option<Arc<File>>,
}

/// What an audit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Auth0 writes the file.
    Export {
        /// How much of it, where Auth0 says so.
        percent: Option<u8>,
    },
    /// The file is read.
    Load {
        /// Users so far.
        users: u64,
        /// Bytes so far.
        received: u64,
        /// Bytes in all, where the host says so.
        length: Option<u64>,
    },
    /// There is no export, for this reason: accounts are read one by one.
    NoExport {
        /// Auth0's code.
        code: &'a str,
    },
    /// Everybody is compared.
    Compare,
    /// Users are looked at.
    Look {
        /// How many were.
        done: u64,
        /// How many are to be.
        of: u64,
    },
}

/// Who is told how an audit gets on.
pub trait Witness: Send + Sync {
    /// Now it is doing this.
    fn sees(&self, step: Step<'_>);
}

/// Nobody is told.
impl Witness for () {
    fn sees(&self, _: Step<'_>) {}
}

impl Audit {
    /// The usual way to audit this tenant.
    pub fn new(endpoint: Endpoint, client: Client, looks: usize) -> Self {
        Self {
            endpoint: endpoint.named("roster audit"),
            client,
            looks,
            poll: Duration::from_secs(1),
            most: MOST_CANDIDATES,
            list: None,
        }
    }

    /// Audits until it is done or `stop` says so.
    ///
    /// # Errors
    /// [`AuditError`]; what the last audit found stands then.
    pub async fn run(
        &self,
        witness: &dyn Witness,
        stop: &CancellationToken,
    ) -> Result<Summary, AuditError> {
        let session = self.endpoint.session().await?;
        let Some(mut book) = Book::open(session).await? else {
            return Err(AuditError::Another);
        };
        let audited = tokio::select! {
            audited = self.audit(&mut book, witness) => audited,
            () = stop.cancelled() => Err(AuditError::Stopped),
        };
        match audited {
            Ok(summary) => {
                book.close().await;
                Ok(summary)
            }
            Err(error) => {
                book.fail(error.code(), &error.detail()).await;
                Err(error)
            }
        }
    }

    async fn audit(&self, book: &mut Book, witness: &dyn Witness) -> Result<Summary, AuditError> {
        // Of another tenant everybody would seem to be missing.
        if let Some(theirs) = book.tenant().await?
            && theirs != self.client.tenant()
        {
            return Err(AuditError::AnotherTenant { theirs });
        }
        let of = match self.begin_export(witness).await? {
            Some(job) => {
                book.reads("export").await?;
                self.take_over(book, job, witness).await?;
                self.is_complete(book).await?;
                witness.sees(Step::Compare);
                book.at("compare", None).await?;
                if let Some(file) = &self.list {
                    book.list(&mut BufWriter::new(&**file)).await?;
                }
                book.compare(self.most).await?
            }
            None if self.list.is_some() => return Err(AuditError::NoList),
            None => {
                book.reads("accounts").await?;
                book.everybody().await?
            }
        };
        self.confirm(book, u64::try_from(of).unwrap_or(0), witness)
            .await?;
        Ok(book.finish().await?)
    }

    /// An export without anybody, or without most of whom Roster linked, is not believed: unless a look at some of them says the same.
    async fn is_complete(&self, book: &Book) -> Result<(), AuditError> {
        let extent = book.extent().await?;
        if extent.linked > 0 && extent.seen == 0 {
            return Err(AuditError::Empty {
                linked: extent.linked,
            });
        }
        let absent = extent.linked - extent.linked_seen;
        if absent <= FEW || extent.linked_seen >= absent {
            return Ok(());
        }
        let sample = book.some_absent(SAMPLE).await?;
        let mut there = 0;
        for id in &sample {
            let candidate = Candidate {
                place: 0,
                user_key: None,
                auth0_user_id: Some(id.clone()),
                email: None,
            };
            let looked = look::look(&self.client, &candidate).await?;
            there += usize::from(looked.is_some_and(|seen| seen.iter().any(|seen| seen.found)));
        }
        match there * 2 > sample.len() {
            true => Err(AuditError::Incomplete {
                shown: extent.linked_seen,
                linked: extent.linked,
            }),
            false => Ok(()),
        }
    }

    /// Looks at every candidate, some at a time, and has the database compare what was seen.
    async fn confirm(&self, book: &Book, of: u64, witness: &dyn Witness) -> Result<(), AuditError> {
        let (mut after, mut done) = (0, 0);
        loop {
            witness.sees(Step::Look { done, of });
            let far = i64::try_from(done).ok().zip(i64::try_from(of).ok());
            book.at("look", far).await?;
            let page = book.candidates(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.place;
            let asked_at = book.now().await?;
            let mut looks = stream::iter(page)
                .map(|candidate| self.look(candidate))
                .buffer_unordered(self.looks);
            let (mut looked_at, mut seen, mut unread) = (Vec::new(), Vec::new(), 0);
            while let Some((candidate, looked)) = looks.next().await {
                match looked? {
                    Some(accounts) => {
                        seen.extend(accounts);
                        looked_at.push(candidate);
                    }
                    None => unread += 1,
                }
                done += 1;
                witness.sees(Step::Look { done, of });
            }
            drop(looks);
            book.confirm(&asked_at, &looked_at, seen, unread).await?;
        }
    }

    async fn look(&self, candidate: Candidate) -> (Candidate, Result<Looked, CallError>) {
        let looked = look::look(&self.client, &candidate).await;
        (candidate, looked)
    }
}

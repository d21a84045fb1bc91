//! Getting an export: the job begun and waited for, its file read into the database as it comes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Audit, AuditError, Step, Witness,
    look::{persist, seen},
};
use crate::{
    auth0::{CallError, ExportError, ExportedUsers, Job, JobState, Link},
    db::audit::Book,
};

/// The longest wait between two looks at a job.
const LONGEST_POLL: Duration = Duration::from_secs(10);
/// How long Auth0 may take to write a file.
const JOB_TAKES: Duration = Duration::from_secs(2 * 3600);
/// How often a file is begun anew whose transfer broke off, and a link asked for anew that was too old.
const TRIES: u32 = 3;
/// How many users are read between two words about it.
const TOLD_EACH: u64 = 1_000;

impl Audit {
    /// Has Auth0 begin an export; `None` where it refuses, so that there is none on this plan.
    pub(super) async fn begin_export(
        &self,
        witness: &dyn Witness,
    ) -> Result<Option<Job>, AuditError> {
        match persist(|| self.client.begin_export()).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if is_refused(&error) => {
                witness.sees(Step::NoExport { code: error.code() });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the export and takes its users over.
    pub(super) async fn take_over(
        &self,
        book: &Book,
        job: Job,
        witness: &dyn Witness,
    ) -> Result<(), AuditError> {
        let mut link = self.wait_for(book, job.clone(), witness).await?;
        for tried in 1.. {
            let error = match self.load(book, &link, witness).await {
                Ok(()) => break,
                Err(AuditError::Export(error)) if tried < TRIES && may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            tracing::warn!(error = %error, "the file of the export is begun anew");
            // Each look at the job gives a link that is good for another minute.
            link = self.wait_for(book, job.clone(), witness).await?;
        }
        Ok(())
    }

    async fn wait_for(
        &self,
        book: &Book,
        mut job: Job,
        witness: &dyn Witness,
    ) -> Result<Link, AuditError> {
        let ends = Instant::now() + JOB_TAKES;
        let mut wait = self.poll;
        loop {
            job = persist(|| self.client.job(&job.id)).await?;
            match job.state {
                JobState::Completed(Some(link)) => return Ok(link),
                JobState::Completed(None) => return Err(AuditError::NoLink),
                JobState::Failed => {
                    return Err(AuditError::JobFailed { why: job.detail });
                }
                JobState::UnderWay if Instant::now() > ends => {
                    return Err(AuditError::JobTakesTooLong { limit: JOB_TAKES });
                }
                JobState::UnderWay => {
                    witness.sees(Step::Export {
                        percent: job.percent,
                    });
                    let percent = job.percent.map(|percent| (percent.into(), 100));
                    book.at("export", percent).await?;
                    sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_POLL);
                }
            }
        }
    }

    async fn load(
        &self,
        book: &Book,
        link: &Link,
        witness: &dyn Witness,
    ) -> Result<(), AuditError> {
        let mut file = self.client.exported(link).await?;
        book.at("load", None).await?;
        let mut loading = book.load().await?;
        let mut users = 0;
        let tell = |users, file: &ExportedUsers| {
            witness.sees(Step::Load {
                users,
                received: file.received(),
                length: file.length(),
            });
        };
        while let Some(user) = file.next().await? {
            loading.add(seen(&self.client, &user)).await?;
            users += 1;
            if users % TOLD_EACH == 0 {
                tell(users, &file);
            }
        }
        tell(users, &file);
        loading.end().await?;
        Ok(())
    }
}

/// Whether Auth0 has no export for us, as opposed to being unwell or not knowing us.
fn is_refused(error: &CallError) -> bool {
    match error {
        CallError::Refused {
            status, error_code, ..
        } => {
            (400..500).contains(status)
                && ![401, 408, 429].contains(status)
                && error_code.as_deref() != Some("insufficient_scope")
        }
        _ => false,
    }
}

fn may_pass(error: &ExportError) -> bool {
    match error {
        ExportError::Lost(_) => true,
        // Too old: links are good for a minute.
        ExportError::Refused { status } => *status == 403,
        ExportError::File(_) => false,
    }
}

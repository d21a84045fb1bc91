//! Export jobs: all users of the tenant in one file, begun by one call, asked for by another, read from a link.
//!
//! The link leads to another host, is good for a minute and opens the file for whoever has it: it is followed without our token, over
//! https alone (but for this machine), and shown to nobody. The file is read as it comes, a user at a time, so that a million of them
//! take no more memory than one (see [`lines`]). It may lag behind the tenant, for an unknown time: what it says is to be confirmed.
//!
//! Source: <https://auth0.com/docs/manage-users/user-migration/bulk-user-exports>.

mod import;
pub(super) mod lines;

use std::{fmt, time::Duration};

use reqwest::{Method, Response, StatusCode};
use tokio::time::{error::Elapsed, timeout};

use self::lines::Lines;
pub use self::{
    import::{ImportFile, Refusal},
    lines::FileError,
};
use super::{
    Client, User,
    call::Call,
    error::{CallError, Cause, Detail},
    limits::Class,
    wire,
};

/// How long the next piece of a file may take to come.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a whole file may take: what then is still to come, comes for ever.
const WHOLE: Duration = Duration::from_secs(2 * 3600);

/// A job as Auth0 last showed it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Auth0's name for it.
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// What an import came to, once it is done.
    pub summary: Option<Summary>,
    /// How much of it is done, where Auth0 says so.
    pub percent: Option<u8>,
    /// Auth0's own words about a failure; not for logs.
    pub detail: Detail,
}

/// What became of the records of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// All of them.
    pub total: u64,
    /// New users.
    pub inserted: u64,
    /// Not taken.
    pub failed: u64,
}

/// How far a job is.
#[derive(Debug, Clone)]
pub enum JobState {
    /// Not done yet, or in a state this program does not know.
    UnderWay,
    /// Done; an export has a link to its file, a new one each time it is asked for.
    Completed(Option<Link>),
    /// Ended without a result, perhaps without a reason.
    Failed,
}

/// The link to the file of an export. Who has it reads everybody.
#[derive(Clone)]
pub struct Link(reqwest::Url);

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link([redacted])")
    }
}

/// Why the file of an export could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The link was not accepted: too old, mostly.
    #[error("the link to the file of the export was answered with {status}")]
    Refused {
        /// Of the answer.
        status: u16,
    },
    /// No answer, or it broke off.
    #[error("the file of the export cannot be reached, or its transfer broke off")]
    Lost(#[source] Cause),
    /// It came as a whole, and is not what it should be.
    #[error("the file of the export cannot be used")]
    File(#[from] FileError),
}

/// The users of an export, one after the other as the file comes.
pub struct ExportedUsers {
    response: Response,
    lines: Lines,
    /// What came and is not unpacked yet.
    packed: bytes::Bytes,
    ended: bool,
    received: u64,
    length: Option<u64>,
}

impl Client {
    /// Begins an export of all users of all connections, with what Roster reads of them but for log-ins.
    pub async fn begin_export(&self) -> Result<Job, CallError> {
        let (other, path) = (Class::Other, "/api/v2/jobs/users-exports");
        let call = Call::on("begin an export", Method::POST, other, path);
        let call = self.write(call).with(&wire::UsersExport::default());
        job(&call, self.send(&call).await?)
    }

    /// The job as it is now.
    pub async fn job(&self, id: &str) -> Result<Job, CallError> {
        let call = Call::on_job("get job", Method::GET, Class::Other, id)?;
        job(&call, self.send(&call).await?)
    }

    /// Opens the file of an export.
    pub async fn exported(&self, link: &Link) -> Result<ExportedUsers, ExportError> {
        let request = self.caller.transport.elsewhere(link.0.clone());
        let sent = timeout(SILENCE, request.timeout(WHOLE).send()).await;
        let response = sent.map_err(lost)?.map_err(without_url)?;
        match response.status() {
            StatusCode::OK => Ok(ExportedUsers {
                length: response.content_length(),
                response,
                lines: Lines::default(),
                packed: bytes::Bytes::new(),
                ended: false,
                received: 0,
            }),
            status => Err(ExportError::Refused {
                status: status.as_u16(),
            }),
        }
    }
}

impl ExportedUsers {
    /// Packed bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packed bytes of the whole file, where its host says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next user; `None` once the file ended as it should. After an error it is of no more use.
    pub async fn next(&mut self) -> Result<Option<User>, ExportError> {
        loop {
            if let Some(user) = self.lines.next()? {
                return Ok(Some(user));
            }
            if self.ended {
                return Ok(None);
            }
            if self.packed.is_empty() {
                let chunk = timeout(SILENCE, self.response.chunk()).await;
                match chunk.map_err(lost)?.map_err(without_url)? {
                    Some(chunk) => {
                        self.received += chunk.len() as u64;
                        self.packed = chunk;
                    }
                    None => {
                        self.lines.end()?;
                        self.ended = true;
                    }
                }
            } else {
                // A little at a time: unpacked it may be a thousand times as much.
                let piece = self.packed.len().min(lines::PIECE);
                self.lines.feed(&self.packed.split_to(piece))?;
            }
        }
    }
}

fn job(call: &Call<'_>, answer: super::transport::Answer) -> Result<Job, CallError> {
    let shown: wire::JobAnswer = call.parse(answer)?;
    let state = match shown.status.as_str() {
        "completed" => JobState::Completed(shown.location.as_deref().and_then(link)),
        "failed" => JobState::Failed,
        _ => JobState::UnderWay,
    };
    Ok(Job {
        state,
        percent: shown.percent(),
        summary: shown.summary(),
        detail: Detail::new(shown.status_details.as_str()),
        id: shown.id,
    })
}

/// A link that may be followed: a file with everybody in it does not travel in the clear.
fn link(location: &str) -> Option<Link> {
    let url = reqwest::Url::parse(location).ok()?;
    let may_be_followed = match url.scheme() {
        "https" => true,
        "http" => super::transport::is_on_this_machine(&url),
        _ => false,
    };
    may_be_followed.then_some(Link(url))
}

fn lost(elapsed: Elapsed) -> ExportError {
    ExportError::Lost(elapsed.into())
}

fn without_url(error: reqwest::Error) -> ExportError {
    ExportError::Lost(error.without_url().into())
}

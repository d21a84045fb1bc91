//! The decision log: one JSON line a decision, for whoever has to show later who was let in, and who was not.
//!
//! Promises: every refusal has a line and a share of the rest; no line holds a token, a subject or an address ([`Shown`]); no request
//! waits for it. Lines go by way of a queue of [`QUEUE`] to a thread that writes: what no longer fits, or cannot be written, is lost and
//! counted. An orderly stop waits until what is queued is written, for [`FLUSH`] at most.
//!
//! A file that was moved away, as logrotate does, is opened anew within a second.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde::{Serialize, Serializer};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::config::DecisionSink;

/// Lines that may wait for the thread. A line has some 400 bytes.
const QUEUE: usize = 8192;
/// Lines that go out in one write.
const AT_ONCE: usize = 256;
/// What a stop waits at most.
const FLUSH: Duration = Duration::from_secs(2);
/// Between two looks at whether the file is still the one of that name.
const LOOK: Duration = Duration::from_secs(1);
/// Characters of a text that is shown.
const MOST: usize = 128;

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line<'a> {
    pub(super) time: Timestamp,
    #[serde(rename = "decision.id")]
    pub(super) decision_id: Uuid,
    /// Which one of a batch, from 0.
    #[serde(
        rename = "decision.evaluation",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) evaluation: Option<usize>,
    #[serde(rename = "request.id")]
    pub(super) request_id: Shown<'a>,
    pub(super) endpoint: &'static str,
    pub(super) decision: &'static str,
    pub(super) code: &'static str,
    pub(super) status: u16,
    #[serde(rename = "user.key", skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Shown<'a>>,
    /// The person who asks, where that is not the one it is about.
    #[serde(rename = "caller.key", skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<Shown<'a>>,
    /// The program that asks.
    #[serde(rename = "caller.program", skip_serializing_if = "Option::is_none")]
    pub(super) program: Option<Fingerprint>,
    /// Of the token's `sub`.
    #[serde(
        rename = "account.fingerprint",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) account: Option<Fingerprint>,
    #[serde(rename = "token.fingerprint", skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) required: Option<Vec<Shown<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<Vec<Shown<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<&'a str>,
    pub(super) duration_ms: f64,
}

/// A text that others have written: itself, or its fingerprint if it is long or could be an address or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Shown<'_> {
    fn is_plain(self) -> bool {
        // A token begins with the base64 of `{"`, and so does each part of one that names something.
        let hides = |text: &str| text.contains('@') || text.contains("%40") || text.contains("eyJ");
        self.0.len() <= MOST && !hides(self.0) && !self.0.contains(char::is_control)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            f.write_str(self.0)
        } else {
            Fingerprint::of(self.0).fmt(f)
        }
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first eight bytes of a text's SHA-256: tells one from another, and finds one that is known, without showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 8]);

impl Fingerprint {
    pub(super) fn of(text: &str) -> Self {
        Self::from_hash(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }

    /// Of the text whose SHA-256 this is.
    pub(super) fn from_hash(hash: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the log counts of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) written: Counter,
    pub(super) lost: Counter,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before it is written.
    Written(oneshot::Sender<()>),
}

/// The way into the log.
pub(super) struct DecisionLog {
    queue: SyncSender<Message>,
    /// The share of allows that have a line, of all that a `u32` may be.
    share: u64,
    kept: Kept,
}

impl DecisionLog {
    /// Opens it, if there is to be one. `sample` is the share of allows that is logged, from 0 to 1.
    ///
    /// # Errors
    /// If the file cannot be opened, or no thread be had.
    pub(super) fn open(sink: &DecisionSink, sample: f64, kept: Kept) -> io::Result<Option<Self>> {
        let Some(output) = Output::open(sink)? else {
            return Ok(None);
        };
        let (queue, messages) = sync_channel(QUEUE);
        let counted = kept.clone();
        thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || write(&messages, output, &counted))?;
        Ok(Some(Self {
            queue,
            share: (sample.clamp(0.0, 1.0) * (f64::from(u32::MAX) + 1.0)) as u64,
            kept,
        }))
    }

    /// Whether a request that may come to be allowed is to have a line then.
    pub(super) fn draws(&self) -> bool {
        self.share > 0 && u64::from(rand::random::<u32>()) < self.share
    }

    /// Leaves a line to the thread that writes, or counts it as lost.
    pub(super) fn write(&self, line: &Line<'_>) {
        let text = serde_json::to_vec(line).map(|mut text| {
            text.push(b'\n');
            text
        });
        let sent = text.is_ok_and(|text| self.queue.try_send(Message::Line(text)).is_ok());
        if !sent {
            self.kept.lost.inc();
        }
    }

    /// Waits until what was left to it is written, for [`FLUSH`] at most.
    pub(super) async fn flush(&self) {
        let flushed = async {
            let (written, is_written) = oneshot::channel();
            let mut message = Message::Written(written);
            while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
                message = back;
                sleep(Duration::from_millis(10)).await;
            }
            let _ = is_written.await;
        };
        if timeout(FLUSH, flushed).await.is_err() {
            tracing::warn!("the end of the decision log could not be written in time");
        }
    }
}

/// The thread: as many lines as wait go out in one write.
fn write(messages: &Receiver<Message>, mut output: Output, kept: &Kept) {
    let mut is_failing = false;
    while let Ok(first) = messages.recv() {
        let (mut text, mut lines, mut waiting) = (Vec::new(), 0, Vec::new());
        let more = messages.try_iter().take(AT_ONCE - 1);
        for message in std::iter::once(first).chain(more) {
            match message {
                Message::Line(line) => {
                    text.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Written(sender) => waiting.push(sender),
            }
        }
        match output.write(&text) {
            Ok(()) => {
                is_failing = false;
                kept.written.inc_by(lines);
            }
            Err(error) => {
                kept.lost.inc_by(lines);
                // Once, however many lines that concerns.
                if !is_failing {
                    tracing::error!(error = %error, "the decision log cannot be written");
                }
                is_failing = true;
            }
        }
        for sender in waiting {
            let _ = sender.send(());
        }
    }
}

/// What lines are written to.
enum Output {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        looked_at: Instant,
    },
}

impl Output {
    fn open(sink: &DecisionSink) -> io::Result<Option<Self>> {
        Ok(match sink {
            DecisionSink::Off => None,
            DecisionSink::Stdout => Some(Self::Stdout),
            DecisionSink::File(path) => Some(Self::File {
                path: path.clone(),
                file: append_to(path)?,
                looked_at: Instant::now(),
            }),
        })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Self::File {
                path,
                file,
                looked_at,
            } => {
                if looked_at.elapsed() >= LOOK {
                    *looked_at = Instant::now();
                    if !is_at(file, path) {
                        *file = append_to(path)?;
                    }
                }
                file.write_all(text)
            }
        }
    }
}

/// Readable by its group, for whoever collects logs.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(request_id: &str) -> Line<'_> {
        Line {
            time: Timestamp::UNIX_EPOCH,
            decision_id: Uuid::nil(),
            evaluation: None,
            request_id: Shown(request_id),
            endpoint: "/v1/check",
            decision: "deny",
            code: "insufficient_scope",
            status: 403,
            user: Some(Shown("7")),
            caller: None,
            program: None,
            account: None,
            token: None,
            required: Some(vec![Shown("art:read"), Shown("ada@example.com")]),
            missing: None,
            source: Some("memory"),
            revision: Some("7:7:"),
            duration_ms: 0.5,
        }
    }

    #[test]
    fn what_could_be_an_address_or_a_token_is_not_shown() {
        let long = "x".repeat(MOST + 1);
        for (text, is_plain) in [
            ("read:songs", true),
            ("Zo\u{eb}", true),
            ("ada@example.com", false),
            ("ada%40example.com", false),
            ("eyJhbGciOiJSUzI1NiJ9.x.y", false),
            ("Bearer eyJ", false),
            ("a\nb", false),
            (&long, false),
        ] {
            let shown = serde_json::to_value(Shown(text)).unwrap();
            assert_eq!(shown == json!(text), is_plain, "{text}");
            assert_eq!(shown.as_str().unwrap().starts_with("sha256:"), !is_plain);
        }
        // As `printf %s ada@example.com | sha256sum` begins.
        let known = serde_json::to_value(Fingerprint::of("ada@example.com")).unwrap();
        assert_eq!(known, "sha256:b5fc85e55755f9e0");
    }

    #[tokio::test]
    async fn a_line_is_one_object_and_a_file_that_was_moved_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions");
        let kept = Kept::default();
        let sink = DecisionSink::File(path.clone());
        let log = DecisionLog::open(&sink, 0.0, kept.clone())
            .unwrap()
            .unwrap();
        log.write(&line("r-1"));
        log.flush().await;
        let first: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(first["request.id"], "r-1");
        assert_eq!(first["required"][0], "art:read");
        assert_eq!(first.get("caller.key"), None);

        fs::rename(&path, dir.path().join("decisions.1")).unwrap();
        let is_anew = || fs::read_to_string(&path).is_ok_and(|text| text.ends_with("}\n"));
        while !is_anew() {
            log.write(&line("r-2"));
            log.flush().await;
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(kept.lost.get(), 0);
    }

    #[test]
    fn who_cannot_follow_loses_lines_and_counts_them() {
        let (queue, messages) = sync_channel(2);
        let kept = Kept::default();
        let log = DecisionLog {
            queue,
            share: 0,
            kept: kept.clone(),
        };
        // Nobody writes: were this to wait, it would wait for ever.
        for _ in 0..5 {
            log.write(&line("r"));
        }
        assert_eq!((kept.lost.get(), kept.written.get()), (3, 0));
        drop(log);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Output::File {
            path: PathBuf::from("/dev/full"),
            file: full,
            looked_at: Instant::now(),
        };
        write(&messages, output, &kept);
        assert_eq!((kept.lost.get(), kept.written.get()), (5, 0));
    }

    #[test]
    fn a_share_of_the_allows_is_drawn() {
        let draws = |sample| {
            let log = DecisionLog::open(&DecisionSink::Stdout, sample, Kept::default());
            let log = log.unwrap().unwrap();
            (0..10_000).filter(|_| log.draws()).count()
        };
        assert_eq!((draws(0.0), draws(1.0)), (0, 10_000));
        assert!((500..1500).contains(&draws(0.1)));
    }
}

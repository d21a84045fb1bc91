//! How the tenant's jobs go: how long they take and what goes wrong.

use serde::{Deserialize, Serialize};

/// How jobs go. Every field has a default; an unknown key is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobOptions {
    /// Milliseconds of the tenant's clock between the request and the work. 0: done before the next request is looked
    /// at, but for exports, whose file takes as long as it takes. Looked up anew each time, so that a job that was held
    /// back by a long one is let go by a short one.
    pub duration_ms: u64,
    /// Whether verification mails are not sent and their jobs end `failed` with no reason given (recorded so).
    pub verification_fails: bool,
    /// What is wrong with the files of exports.
    pub export_file: ExportFile,
}

/// What is wrong with the file of an export when it is downloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFile {
    /// Nothing.
    #[default]
    Whole,
    /// It ends in the middle: the compressed data are cut.
    Truncated,
    /// It is a good file with nobody in it.
    Empty,
}

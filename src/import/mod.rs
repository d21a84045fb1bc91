//! Reads a file of users: CSV as spreadsheets and databases write it, a line at a time.
//!
//! Promised: bounded memory, whatever the file; what is no such file at all is refused before anything is read into the database, with
//! what to do about it; a line that does not fit is a line with a reason, and the others go on. It judges the form alone: what a line means
//! is the database's to say (`triggers/import.sql`).

mod error;
mod reader;

pub use self::{
    error::ImportError,
    reader::{Line, Lines, MAX_BYTES, MAX_LINES, Options},
};

//! Why a file cannot be imported at all.

/// The file is none, as far as an import goes. Texts name the line, what is wrong and what to do; never a cell.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the file is empty: its first line has to name the columns, such as email,name,role")]
    Empty,
    #[error("this is {what}, no text: {remedy}")]
    NoText {
        what: &'static str,
        remedy: &'static str,
    },
    #[error("line 1 names column {number} with nothing: give it a name, or remove it")]
    Unnamed { number: usize },
    #[error("line 1 names {name:?} twice")]
    Twice { name: String },
    #[error("line 1 is not UTF-8: save the file as \"CSV UTF-8\"")]
    HeaderNotUtf8,
    #[error("the file has {columns} columns; {most} at most are read")]
    TooWide { columns: usize, most: usize },
    #[error("line {line} is longer than {} KiB: a quote that begins there probably does not end", super::reader::MAX_LINE >> 10)]
    TooLong { line: u64 },
    #[error("the file is larger than {} MiB: split it, and import the parts one after another", super::MAX_BYTES >> 20)]
    TooLarge,
    #[error(
        "the file has more than {} lines: split it, and import the parts one after another",
        super::MAX_LINES
    )]
    TooMany,
}

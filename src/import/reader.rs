//! Bytes to lines.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Chain, Cursor, Read},
};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::ImportError;

/// Of a file.
pub const MAX_BYTES: u64 = 256 << 20;
/// Of a file.
pub const MAX_LINES: usize = 1_000_000;
/// Bytes of a line.
pub(super) const MAX_LINE: usize = 64 << 10;
const MAX_COLUMNS: usize = 200;
/// Columns with names like this are the import's own, from a file of bad lines.
const OURS: &str = "roster_";

/// How the file is to be read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// None: whichever of comma, semicolon and tab the header has most of.
    pub delimiter: Option<u8>,
    /// Names in the header of columns to leave out.
    pub ignore: Vec<String>,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it begins; the header is 1.
    pub number: u64,
    /// By the names in the header, trimmed; empty ones are left out.
    pub cells: BTreeMap<String, String>,
    /// Why it cannot be one.
    pub bad: Option<String>,
}

/// What was looked at, the rest of the file, and a line's end in case it has none.
type Ended<R> = Chain<Chain<Cursor<Vec<u8>>, Capped<R>>, &'static [u8]>;

/// The lines of a file after its header.
pub struct Lines<R: Read> {
    reader: Reader<Ended<R>>,
    /// A name a column; none for those that are left out.
    names: Vec<Option<String>>,
    read: usize,
    done: bool,
}

impl<R: Read> Lines<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ImportError`]: this is no file of users.
    pub fn new(input: R, options: &Options) -> Result<Self, ImportError> {
        let mut input = Capped {
            input,
            left: MAX_BYTES,
        };
        let mut start = Vec::new();
        let looked = Read::by_ref(&mut input).take(MAX_LINE as u64);
        { looked }.read_to_end(&mut start).map_err(refused)?;
        is_text(&start)?;
        let mark = if start.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        let first = start[mark..].split(|byte| *byte == b'\n').next();
        let delimiter = options
            .delimiter
            .unwrap_or_else(|| delimiter(first.unwrap_or_default()));
        let mut start = Cursor::new(start);
        start.set_position(mark as u64);
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            // A carriage return before it is trimmed off; left to the crate it would put line numbers out.
            .terminator(Terminator::Any(b'\n'))
            .flexible(true)
            .has_headers(false)
            .from_reader(start.chain(input).chain(&b"\n"[..]));
        let mut header = ByteRecord::new();
        if !reader.read_byte_record(&mut header).map_err(wrong)? {
            return Err(ImportError::Empty);
        }
        Ok(Self {
            names: names(&header, options)?,
            reader,
            read: 0,
            done: false,
        })
    }

    /// The names in the header, without those that are left out.
    pub fn header(&self) -> Vec<&str> {
        self.names.iter().flatten().map(String::as_str).collect()
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    /// Where the record that was just read begins. The crate's own word for that counts the blank lines before it.
    fn number(&self, record: &ByteRecord) -> u64 {
        let breaks = record.as_slice().iter().filter(|byte| **byte == b'\n');
        self.reader.position().line() - 1 - breaks.count() as u64
    }

    fn line(&self, record: &ByteRecord) -> Line {
        let number = self.number(record);
        let mut cells = BTreeMap::new();
        let mut bad = (record.len() != self.names.len()).then(|| {
            format!(
                "it has {} cells, the header {}",
                record.len(),
                self.names.len()
            )
        });
        for (name, cell) in self.names.iter().zip(record) {
            let Some(name) = name else {
                continue;
            };
            if std::str::from_utf8(cell).is_err() {
                bad = Some(format!(
                    "{name} is not UTF-8: save the file as \"CSV UTF-8\""
                ));
            } else if cell.contains(&0) {
                bad = Some(format!("{name} has a zero byte in it"));
            } else if cell.contains(&b'\n') {
                bad = Some(format!(
                    "{name} has a line break in it: a quote that does not end?"
                ));
            }
            // PostgreSQL keeps no zero bytes.
            let text = String::from_utf8_lossy(cell).replace('\0', "");
            let text = text.trim();
            if !text.is_empty() {
                cells.insert(name.clone(), text.to_owned());
            }
        }
        Line { number, cells, bad }
    }

    fn next_line(&mut self) -> Result<Option<Line>, ImportError> {
        let mut record = ByteRecord::new();
        loop {
            if !self.reader.read_byte_record(&mut record).map_err(wrong)? {
                return Ok(None);
            }
            if record.as_slice().len() > MAX_LINE {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(ImportError::TooLong { line });
            }
            // Spreadsheets leave lines of nothing at the end.
            if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            self.read += 1;
            if self.read > MAX_LINES {
                return Err(ImportError::TooMany);
            }
            return Ok(Some(self.line(&record)));
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Result<Line, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let line = self.next_line().transpose();
        self.done = !matches!(line, Some(Ok(_)));
        line
    }
}

/// What people take for CSV, by how it begins.
fn is_text(start: &[u8]) -> Result<(), ImportError> {
    const CSV: &str = "save it as \"CSV UTF-8\"";
    let known: [(&[u8], &str, &str); 6] = [
        (b"PK\x03\x04", "a workbook or an archive", CSV),
        (b"\xd0\xcf\x11\xe0", "an old workbook", CSV),
        (b"\xff\xfe", "UTF-16", CSV),
        (b"\xfe\xff", "UTF-16", CSV),
        (b"\x1f\x8b", "compressed", "unpack it: gunzip FILE"),
        (b"%PDF", "a PDF", CSV),
    ];
    for (magic, what, remedy) in known {
        if start.starts_with(magic) {
            return Err(ImportError::NoText { what, remedy });
        }
    }
    if start.is_empty() {
        return Err(ImportError::Empty);
    }
    match start.iter().take(512).any(|byte| *byte == 0) {
        true => Err(ImportError::NoText {
            what: "a binary file",
            remedy: CSV,
        }),
        false => Ok(()),
    }
}

fn delimiter(header: &[u8]) -> u8 {
    let count = |wanted: &u8| header.iter().filter(|byte| *byte == wanted).count();
    // The first of several that are as many.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',')
}

fn names(header: &ByteRecord, options: &Options) -> Result<Vec<Option<String>>, ImportError> {
    if header.iter().all(|cell| cell.trim_ascii().is_empty()) {
        return Err(ImportError::Empty);
    }
    if header.len() > MAX_COLUMNS {
        return Err(ImportError::TooWide {
            columns: header.len(),
            most: MAX_COLUMNS,
        });
    }
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for (place, cell) in header.iter().enumerate() {
        let name = std::str::from_utf8(cell).map_err(|_| ImportError::HeaderNotUtf8)?;
        let name = name.trim();
        let number = place + 1;
        if name.is_empty() {
            return Err(ImportError::Unnamed { number });
        }
        if !seen.insert(name.to_lowercase()) {
            return Err(ImportError::Twice { name: name.into() });
        }
        let is_ignored = options
            .ignore
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name));
        names.push((!is_ignored && !name.starts_with(OURS)).then(|| name.to_owned()));
    }
    Ok(names)
}

/// Refuses to go on past [`MAX_BYTES`].
struct Capped<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

fn refused(error: io::Error) -> ImportError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => ImportError::TooLarge,
        _ => ImportError::Read(error),
    }
}

fn wrong(error: csv::Error) -> ImportError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => refused(error),
        // Neither text nor a number of cells is asked of the crate.
        other => ImportError::Read(io::Error::other(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<Line>, ImportError> {
        Lines::new(text, &Options::default())?.collect()
    }

    fn cells(line: &Line) -> Vec<(&str, &str)> {
        let pairs = line.cells.iter();
        pairs.map(|(name, cell)| (&**name, &**cell)).collect()
    }

    #[test]
    fn comma_semicolon_and_tab_are_told_from_the_header_and_a_byte_order_mark_is_no_name() {
        for text in [
            "email,name\na@x.test,Ada\n",
            "\u{feff}email;name\r\na@x.test;Ada\r\n",
            "email\tname\na@x.test\tAda",
            "\u{feff}\"email\",\"name\"\n\"a@x.test\", Ada \n\n,\n",
        ] {
            let lines = lines(text.as_bytes()).unwrap();
            assert_eq!(lines.len(), 1, "{text}");
            assert_eq!(lines[0].number, 2);
            assert_eq!(cells(&lines[0]), [("email", "a@x.test"), ("name", "Ada")]);
            assert_eq!(lines[0].bad, None);
        }
    }

    #[test]
    fn a_line_is_numbered_as_an_editor_numbers_it() {
        for text in [
            "email\n\na@x.test\nb@x.test\n",
            "email\r\n\r\na@x.test\r\nb@x.test",
        ] {
            let lines = lines(text.as_bytes()).unwrap();
            let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
            assert_eq!(numbers, [3, 4], "{text:?}");
        }
    }

    #[test]
    fn a_line_that_does_not_fit_has_a_reason_and_the_others_go_on() {
        let text = b"email,name\na@x.test\nb@x.test,\xff\nc@x.test,Cleo\n\"d@x.test\",\"two\nlines\"\ne@x.test,Eve";
        let lines = lines(text).unwrap();
        let told: Vec<(u64, bool)> = lines.iter().map(|l| (l.number, l.bad.is_some())).collect();
        assert_eq!(
            told,
            [(2, true), (3, true), (4, false), (5, true), (7, false)]
        );
        assert_eq!(
            lines[0].bad.as_deref(),
            Some("it has 1 cells, the header 2")
        );
    }

    #[test]
    fn empty_cells_and_columns_to_ignore_are_left_out() {
        let options = Options {
            ignore: vec!["Phone".into()],
            ..Options::default()
        };
        let text = "roster_line,roster_why,email,phone,role\n7,it has no address,a@x.test,1234,\n";
        let lines = Lines::new(text.as_bytes(), &options).unwrap();
        assert_eq!(lines.header(), ["email", "role"]);
        let all: Vec<Line> = lines.map(Result::unwrap).collect();
        assert_eq!(cells(&all[0]), [("email", "a@x.test")]);
    }

    #[test]
    fn what_is_no_such_file_is_refused_and_said_what_to_do() {
        let wide = "x,".repeat(300);
        let long = format!("email\n\"{}", "a\n".repeat(MAX_LINE));
        let table: [(&[u8], &str); 10] = [
            (b"", "the file is empty"),
            (b"\n\n", "the file is empty"),
            (b"PK\x03\x04....", "CSV UTF-8"),
            (b"\xff\xfee\0m\0", "UTF-16"),
            (b"\x1f\x8b\x08", "gunzip"),
            (b"email\0,name\n", "binary"),
            (b"email,,name\n", "column 2"),
            (b"email,Email\n", "twice"),
            (wide.as_bytes(), "columns"),
            (long.as_bytes(), "line 2 is longer than 64 KiB"),
        ];
        for (text, told) in table {
            let error = lines(text).expect_err(told);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn a_file_without_end_ends() {
        let mut endless = Capped {
            input: io::repeat(b'a'),
            left: 10_000,
        };
        let error = io::copy(&mut endless, &mut io::sink()).expect_err("an end");
        assert!(matches!(refused(error), ImportError::TooLarge));
    }
}

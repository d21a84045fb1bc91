//! The lines of an exported file: gzip in, a user at a time out. No I/O.
//!
//! Promised: a file that was cut anywhere, is no gzip file, or has a line that is no user, ends in an error; memory holds a line, and
//! what a piece of [`PIECE`] packed bytes unpacks to.

use std::io::Write;

use flate2::write::MultiGzDecoder;

use crate::auth0::{User, call::Misread, wire};

/// How much is unpacked at a time. Deflate makes a thousandfold of it at most, so this is 4 MB.
pub(super) const PIECE: usize = 4096;
/// Longest line: a profile may have a megabyte, and JSON may spell a character with six.
const LONGEST: usize = 8 * 1024 * 1024;

/// What is wrong with an exported file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not gzip, or damaged.
    #[error("it cannot be unpacked")]
    Damaged(#[source] std::io::Error),
    /// The end is missing.
    #[error("its end is missing after {users} users")]
    Cut {
        /// How many were whole.
        users: u64,
    },
    /// A line is no user.
    #[error("line {number} is no user")]
    Line {
        /// From 1 on.
        number: u64,
        /// Where it could not be read.
        #[source]
        source: Misread,
    },
    /// A line does not end.
    #[error("line {number} is longer than {LONGEST} bytes")]
    TooLong {
        /// From 1 on.
        number: u64,
    },
}

/// The lines that have come so far and were not asked for yet.
pub(super) struct Lines {
    unpacker: MultiGzDecoder<Vec<u8>>,
    /// Where the next line begins in what is unpacked.
    next: usize,
    number: u64,
    users: u64,
    ended: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            unpacker: MultiGzDecoder::new(Vec::new()),
            next: 0,
            number: 0,
            users: 0,
            ended: false,
        }
    }
}

impl Lines {
    /// Takes the next packed bytes, at most [`PIECE`] of them.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.unpacker.get_mut().drain(..self.next);
        self.next = 0;
        self.unpacker.write_all(piece).map_err(FileError::Damaged)?;
        // Some of it may be with the unpacker still.
        self.unpacker.flush().map_err(FileError::Damaged)
    }

    /// That was all there is.
    pub(super) fn end(&mut self) -> Result<(), FileError> {
        // The checksum and the length stand at the very end.
        let whole = self.unpacker.try_finish();
        whole.map_err(|_| FileError::Cut { users: self.users })?;
        self.ended = true;
        Ok(())
    }

    /// The next user who has come as a whole.
    pub(super) fn next(&mut self) -> Result<Option<User>, FileError> {
        loop {
            let rest = &self.unpacker.get_ref()[self.next..];
            let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..end], end + 1),
                None if rest.len() > LONGEST => {
                    return Err(FileError::TooLong {
                        number: self.number + 1,
                    });
                }
                // The last line need not end in a line feed; whether it is whole, its JSON tells.
                None if self.ended && !rest.is_empty() => (rest, rest.len()),
                None => return Ok(None),
            };
            self.number += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                self.next += length;
                continue;
            }
            let user = serde_json::from_slice::<wire::UserAnswer>(line);
            let user = user.map_err(|error| FileError::Line {
                number: self.number,
                source: error.into(),
            })?;
            self.next += length;
            self.users += 1;
            return Ok(Some(user.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    /// The ids of the users of a file that comes in pieces of so many bytes.
    fn read(file: &[u8], piece: usize) -> Result<Vec<String>, FileError> {
        let (mut lines, mut ids) = (Lines::default(), Vec::new());
        let mut take = |lines: &mut Lines| {
            while let Some(user) = lines.next()? {
                ids.push(user.id.0);
            }
            Ok::<_, FileError>(())
        };
        for piece in file.chunks(piece) {
            lines.feed(piece)?;
            take(&mut lines)?;
        }
        lines.end()?;
        take(&mut lines)?;
        Ok(ids)
    }

    fn three() -> String {
        (1..=3)
            .map(|n| format!("{{\"user_id\":\"auth0|{n}\",\"connection\":\"people\"}}\n"))
            .collect()
    }

    #[test]
    fn users_are_read_whatever_the_pieces_they_come_in() {
        let file = packed(&three());
        for piece in [1, 2, 7, 64, PIECE] {
            let ids = read(&file, piece).unwrap();
            assert_eq!(ids, ["auth0|1", "auth0|2", "auth0|3"], "{piece}");
        }
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_refused() {
        let file = packed(&three());
        for length in 0..file.len() {
            let cut = read(&file[..length], 16);
            assert!(cut.is_err(), "{length} of {} bytes: {cut:?}", file.len());
        }
    }

    #[test]
    fn half_a_line_in_a_whole_file_is_refused() {
        let text = three();
        let half = packed(&text[..text.len() - 10]);
        let cut = read(&half, PIECE);
        assert!(
            matches!(cut, Err(FileError::Line { number: 3, .. })),
            "{cut:?}"
        );
        let no_line_feed = packed(text.trim_end());
        assert_eq!(read(&no_line_feed, PIECE).unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_gzip_file_or_was_damaged_is_refused() {
        let plain = read(three().as_bytes(), PIECE);
        assert!(matches!(plain, Err(FileError::Damaged(_))), "{plain:?}");
        let mut file = packed(&three().repeat(50));
        let middle = file.len() / 2;
        file[middle] ^= 0x55;
        assert!(read(&file, PIECE).is_err());
        let mut longer = packed(&three());
        longer.extend(b"more");
        assert!(read(&longer, PIECE).is_err());
    }

    #[test]
    fn a_file_of_several_members_is_one_file() {
        let file = [packed(&three()), packed(&three())].concat();
        assert_eq!(read(&file, 11).unwrap().len(), 6);
    }

    #[test]
    fn an_empty_file_has_nobody_and_blank_lines_are_nobody() {
        assert_eq!(read(&packed(""), PIECE).unwrap().len(), 0);
        assert_eq!(read(&packed("\n \r\n"), PIECE).unwrap().len(), 0);
    }

    #[test]
    fn a_line_that_is_no_user_is_named_by_its_number_and_not_repeated() {
        for line in ["7", "{}", "{\"user_id\":1}", "{\"user_id\":\"ann@a.test\""] {
            let file = packed(&format!("{}{line}\n", three()));
            let error = read(&file, PIECE).unwrap_err();
            assert_eq!(error.to_string(), "line 4 is no user");
            assert!(!format!("{error:?}").contains("ann@"), "{error:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let file = packed(&"x".repeat(LONGEST + PIECE * 1100));
        let error = read(&file, PIECE).unwrap_err();
        assert!(
            matches!(error, FileError::TooLong { number: 1 }),
            "{error:?}"
        );
    }
}

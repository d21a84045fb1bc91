//! Which transactions a state of the database has seen: `pg_snapshot`, told apart without asking the server.

use std::{fmt, sync::Arc};

use super::Revision;

/// A `pg_snapshot`. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    text: Arc<str>,
    xmin: u64,
    xmax: u64,
    /// Below `xmax` and still open, in order.
    open: Arc<[u64]>,
}

impl Snapshot {
    /// Reads `xmin:xmax:open,open`. None for what PostgreSQL would not have written.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax, open) = (parts.next()?, parts.next()?, parts.next()?);
        let (xmin, xmax) = (xmin.parse().ok()?, xmax.parse().ok()?);
        let open: Vec<u64> = match open {
            "" => Vec::new(),
            list => list
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?,
        };
        let in_order = open.is_sorted_by(|a, b| a < b)
            && open.iter().all(|id| (xmin..xmax).contains(id))
            && xmin <= xmax
            && parts.next().is_none();
        in_order.then(|| Self {
            text: text.into(),
            xmin,
            xmax,
            open: open.into(),
        })
    }

    /// As PostgreSQL wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first transaction that had not begun.
    pub(super) fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions that had begun and not ended.
    pub(super) fn open(&self) -> &[u64] {
        &self.open
    }

    /// Whether what `transaction` did can be seen, if it was committed.
    fn sees(&self, transaction: u64) -> bool {
        transaction < self.xmin
            || transaction < self.xmax && self.open.binary_search(&transaction).is_err()
    }

    /// Whether everything that `revision` names can be seen. One that PostgreSQL would not know is never reached.
    pub fn reaches(&self, revision: &Revision) -> bool {
        match revision {
            Revision::Transaction(id) => self.sees(*id),
            Revision::Snapshot(then) if **then == *self.text => true,
            Revision::Snapshot(then) => Self::parse(then).is_some_and(|then| {
                then.xmax <= self.xmax && !self.open.iter().any(|open| then.sees(*open))
            }),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reaches_what_it_sees() {
        let now = Snapshot::parse("10:20:10,15").expect("a snapshot");
        let then = |text: &str| Revision::Snapshot(text.to_owned());
        let table = [
            (Revision::Transaction(9), true),
            (Revision::Transaction(10), false),
            (Revision::Transaction(11), true),
            (Revision::Transaction(15), false),
            (Revision::Transaction(19), true),
            (Revision::Transaction(20), false),
            (then("10:20:10,15"), true),
            (then("8:8:"), true),
            (then("10:12:10"), true),
            // 10 had ended then.
            (then("11:12:11"), false),
            (then("10:21:10,15"), false),
            (then("10:20:10"), false),
            (then("20:10:"), false),
            (then("10:20:25"), false),
        ];
        for (revision, expected) in table {
            assert_eq!(now.reaches(&revision), expected, "{revision:?}");
        }
    }

    #[test]
    fn what_postgres_would_not_write_is_no_snapshot() {
        for text in [
            "", "1", "1:2", "2:1:", "1:9:5,3", "1:9:3,3", "1:9:9", "1:9:x", "1:9:2:",
        ] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
        assert!(Snapshot::parse("1:1:").is_some());
    }
}

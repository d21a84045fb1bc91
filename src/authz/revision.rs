//! `X-Roster-At-Least`: a caller who has just written says from which state on it wants its answer.

use warp::http::HeaderMap;

use super::rejection::Refusal;
use crate::db::directory::Revision;

/// Characters of a revision: a snapshot lists the transactions open at the time.
const MAX_REVISION: usize = 4096;

/// The revision a request asks for: the text of `roster.revision()`, or the `revision` of an earlier answer.
///
/// # Errors
/// [`Refusal::RevisionUnknown`] for anything else; [`Refusal::InvalidRequest`] for two of them.
pub(super) fn at_least(headers: &HeaderMap) -> Result<Option<Revision>, Refusal> {
    let mut sent = headers.get_all("x-roster-at-least").iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(Refusal::InvalidRequest(
            "there is more than one X-Roster-At-Least header",
        ));
    }
    value
        .to_str()
        .ok()
        .filter(|text| text.len() <= MAX_REVISION)
        .and_then(parse)
        .map(Some)
        .ok_or(Refusal::RevisionUnknown)
}

fn parse(text: &str) -> Option<Revision> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_digits(text) {
        return text.parse().ok().map(Revision::Transaction);
    }
    let [xmin, xmax, open] = text.split(':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_snapshot =
        is_digits(xmin) && is_digits(xmax) && (open.is_empty() || open.split(',').all(is_digits));
    is_snapshot.then(|| Revision::Snapshot(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_transaction_or_a_snapshot() {
        let snapshot = |text: &str| Some(Revision::Snapshot(text.to_owned()));
        let table = [
            ("795", Some(Revision::Transaction(795))),
            ("795:795:", snapshot("795:795:")),
            ("795:799:795,797", snapshot("795:799:795,797")),
            ("", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("795:799", None),
            ("795:799:795,", None),
            ("a:b:", None),
            ("795:799:; select 1", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

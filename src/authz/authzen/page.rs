//! Paging of searches. A token tells the last thing that was looked at and which search it is of; it is opaque to clients and
//! secret to nobody: made up, it leads only to what its maker may search anyway.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::request::Page;

/// Results of a page unless the caller says otherwise.
const USUAL: usize = 100;
/// The most results of a page, whatever the caller says.
const MOST: usize = 1000;
/// Bytes of the search's digest in a token.
const DIGEST: usize = 16;

/// Where a page begins, how long it may be, and which search it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authz) struct Place {
    search: [u8; DIGEST],
    /// Empty at the beginning.
    pub(in crate::authz) after: String,
    pub(in crate::authz) limit: usize,
}

impl Place {
    /// Reads what the caller sent; `search` is everything else that was asked.
    pub(in crate::authz) fn new(
        page: Option<&Page>,
        search: &impl Serialize,
    ) -> Result<Self, &'static str> {
        let text = serde_json::to_vec(search).expect("maps with text keys always serialize");
        let hash = digest::digest(&digest::SHA256, &text);
        let mut search = [0; DIGEST];
        search.copy_from_slice(&hash.as_ref()[..DIGEST]);
        let token = page.and_then(|page| page.token.as_deref()).unwrap_or("");
        let limit = page.and_then(|page| page.limit).map_or(USUAL, |limit| {
            usize::try_from(limit.get()).unwrap_or(MOST).min(MOST)
        });
        let after = if token.is_empty() {
            Some(String::new())
        } else {
            read(token, &search)
        };
        Ok(Self {
            search,
            after: after.ok_or("`page.token` is of another search, or none of ours")?,
            limit,
        })
    }

    /// The token of the page after the one that ends with `last`.
    pub(in crate::authz) fn next(&self, last: &str) -> String {
        let bytes: Vec<u8> = self.search.iter().copied().chain(last.bytes()).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// This page out of all results, which are sorted, and the token for the next.
    pub(in crate::authz) fn of(&self, all: Vec<String>) -> (Vec<String>, String) {
        let mut rest = all.into_iter().filter(|result| *result > self.after);
        let page: Vec<String> = rest.by_ref().take(self.limit).collect();
        let next = match (rest.next(), page.last()) {
            (Some(_), Some(last)) => self.next(last),
            _ => String::new(),
        };
        (page, next)
    }
}

fn read(token: &str, search: &[u8; DIGEST]) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let after = bytes.strip_prefix(search)?.to_vec();
    // PostgreSQL's text knows no NUL.
    let after = String::from_utf8(after).ok()?;
    (!after.is_empty() && !after.contains('\0')).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: &str, limit: u64) -> Page {
        Page {
            token: Some(token.to_owned()),
            limit: limit.try_into().ok(),
        }
    }

    #[test]
    fn a_token_leads_on_in_its_own_search_only() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let first = Place::new(Some(&page("", 2)), &"search").unwrap();
        let (results, next) = first.of(all.clone());
        assert_eq!(results, ["a", "b"]);
        let second = Place::new(Some(&page(&next, 2)), &"search").unwrap();
        assert_eq!(second.of(all), (vec!["c".to_owned()], String::new()));
        assert!(Place::new(Some(&page(&next, 2)), &"another").is_err());
    }

    #[test]
    fn a_token_that_was_made_up_is_refused() {
        let of_search = Place::new(None, &"search").unwrap();
        let nul = of_search.next("a\0b");
        let nothing = of_search.next("");
        let bytes = URL_SAFE_NO_PAD.encode([&of_search.search[..], &[0xff]].concat());
        for token in ["x", "!", "alsehrq3495u8", &nul, &nothing, &bytes] {
            assert!(
                Place::new(Some(&page(token, 1)), &"search").is_err(),
                "{token}"
            );
        }
    }

    #[test]
    fn a_page_has_an_end_whatever_is_asked() {
        assert_eq!(Place::new(None, &1).unwrap().limit, USUAL);
        assert_eq!(
            Place::new(Some(&page("", u64::MAX)), &1).unwrap().limit,
            MOST
        );
        assert_eq!(Place::new(Some(&page("", 1)), &1).unwrap().limit, 1);
    }
}

//! The ledger of the authorization server's traps: each that is written down has its tests, or a reason why it has none.
//!
//! The traps are kept beside the repository (`shared.rs`), the ledger in `tests/data/traps.toml`. Promised: no trap is left
//! out, no entry is about one that is no more, and every test that is named is there.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::support::{ledger::Tests, shared::shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    trap: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    tests: Vec<String>,
    not_applicable: Option<String>,
}

fn ledger() -> Vec<Entry> {
    let ledger: Ledger = toml::from_str(include_str!("../../data/traps.toml")).expect("a ledger");
    ledger.trap
}

/// The names of the traps: the number and title of each row of the list, and the first cell of each row of what was
/// measured.
fn traps(document: &str) -> Vec<String> {
    let (_, list) = document.split_once("\n## B. ").expect("the list");
    let (list, _) = list.split_once("\n### C").expect("an end of it");
    let plain = |cell: &str| cell.replace('`', "").trim().to_owned();
    let rows = list
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|');
            (
                plain(cells.next().unwrap_or_default()),
                plain(cells.next().unwrap_or_default()),
            )
        });
    rows.filter(|(first, _)| !first.starts_with("---") && first != "#" && first != "token")
        .map(
            |(first, title)| match first.starts_with(|c: char| c.is_ascii_digit()) {
                true => format!("{} {title}", first.split(' ').next().unwrap_or_default()),
                false => first,
            },
        )
        .collect()
}

#[test]
fn every_trap_is_in_the_ledger_and_nothing_else() {
    let Some(document) = shared("authz.md") else {
        println!("skipped: the list of traps is not at hand");
        return;
    };
    let traps = traps(&document);
    let known: BTreeSet<&String> = traps.iter().collect();
    assert_eq!(known.len(), traps.len(), "two traps have one name");
    let ledger = ledger();
    let listed: BTreeSet<&String> = ledger.iter().map(|entry| &entry.name).collect();
    let missing: Vec<_> = known.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&known).collect();
    assert!(missing.is_empty(), "not in the ledger: {missing:#?}");
    assert!(gone.is_empty(), "no trap of the list: {gone:#?}");
}

#[test]
fn every_trap_names_tests_that_are_there_or_a_reason() {
    let here = Tests::listed();
    for entry in ledger() {
        let reason = entry.not_applicable.is_some_and(|why| !why.is_empty());
        assert!(reason || !entry.tests.is_empty(), "{}", entry.name);
        for test in &entry.tests {
            assert!(here.has(test), "{}: there is no test {test}", entry.name);
        }
    }
}

#[test]
fn a_numbered_row_is_a_trap_by_its_title_and_a_measured_one_by_its_token() {
    let document = "
## A. Before
| 1 A | not one | x |

## B. Security traps

| # | trap | what happens |
|---|---|---|
| 1 A | confusion / `none` | - |
| 27 B | slow loris | - |

| token | left | right |
|---|---|---|
| no aud / `aud: 7` | accepted | refused |

### C.5 After
| 2 A | not one | x |
";
    let expected = ["1 confusion / none", "27 slow loris", "no aud / aud: 7"];
    assert_eq!(traps(document), expected);
}

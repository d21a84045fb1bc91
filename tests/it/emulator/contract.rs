//! The ledger of Auth0's contract: every fact that is written down has its tests, or a reason why it has none.
//!
//! The facts are kept beside the repository (`shared.rs`), the ledger in `tests/data/contract.toml`. Promised: no fact is
//! left out, no entry is about a fact that is no more, and every test that is named is there. Not promised: that a test
//! named for a fact is a good one; that is for readers.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::support::{ledger::Tests, shared::shared};

/// How many words name a fact, after its section.
const WORDS: usize = 5;
/// Sections after this one tell of other tools and of open points.
const LAST_SECTION: u32 = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    fact: Vec<Entry>,
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
    let text = include_str!("../../data/contract.toml");
    let ledger: Ledger = toml::from_str(text).expect("a ledger");
    ledger.fact
}

/// The names of the facts: rows of tables, points of lists and paragraphs, each under its section's number.
fn facts(contract: &str) -> Vec<String> {
    let lines: Vec<&str> = contract.lines().collect();
    let (mut facts, mut section, mut goes_on) = (Vec::<(String, String)>::new(), None, false);
    for (number, line) in lines.iter().enumerate() {
        if line.starts_with('#') {
            section = line.split(' ').nth(1).and_then(section_of);
            goes_on = false;
            continue;
        }
        let Some(section) = &section else { continue };
        let next = lines.get(number + 1).copied().unwrap_or_default();
        if line.starts_with('|') {
            goes_on = false;
            if !is_rule(line) && !is_rule(next) {
                facts.push((section.clone(), (*line).to_owned()));
            }
        } else if line.trim().is_empty() {
            goes_on = false;
        } else if goes_on && !line.starts_with("* ") {
            let (_, fact) = facts.last_mut().expect("a fact that goes on");
            fact.push(' ');
            fact.push_str(line);
        } else {
            facts.push((section.clone(), (*line).to_owned()));
            goes_on = true;
        }
    }
    let named = facts.iter().map(|(section, fact)| name(section, fact));
    named.collect()
}

/// `2.4` of `2.4`, `3` of `3.`; none of a title's word or of a later section.
fn section_of(word: &str) -> Option<String> {
    let section = word.trim_end_matches('.');
    let first = section.split('.').next()?.parse::<u32>().ok()?;
    (first <= LAST_SECTION).then(|| section.to_owned())
}

/// The line between a table's head and its rows.
fn is_rule(line: &str) -> bool {
    line.starts_with('|') && line.chars().all(|c| matches!(c, '|' | '-' | ' '))
}

fn name(section: &str, fact: &str) -> String {
    let words = fact
        .split(|c: char| c.is_whitespace() || c == '|')
        .map(|word| {
            let kept = |c: &char| c.is_alphanumeric() || "_-./".contains(*c);
            word.chars().filter(kept).collect::<String>()
        })
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(WORDS);
    let words: Vec<String> = words.collect();
    format!("{section} {}", words.join(" "))
}

#[test]
fn every_fact_of_the_contract_is_in_the_ledger_and_nothing_else() {
    let Some(contract) = shared("auth0/contract.md") else {
        println!("skipped: the contract is not at hand");
        return;
    };
    let facts = facts(&contract);
    let known: BTreeSet<&String> = facts.iter().collect();
    assert_eq!(known.len(), facts.len(), "two facts have one name");
    let ledger = ledger();
    let listed: BTreeSet<&String> = ledger.iter().map(|entry| &entry.name).collect();
    let missing: Vec<_> = known.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&known).collect();
    assert!(missing.is_empty(), "not in the ledger: {missing:#?}");
    assert!(gone.is_empty(), "no fact of the contract: {gone:#?}");
}

#[test]
fn every_entry_of_the_ledger_names_tests_that_are_there_or_a_reason() {
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
fn a_row_a_point_and_a_paragraph_are_facts_and_a_head_is_not() {
    let contract = "\
# Title
Not yet.

## 1. First

Above
the table.

| call | answer |
|---|---|
| `GET /x` | **200** |

* A point that
  goes on.
* Another.

## 9. Last
* Too late.
";
    assert_eq!(
        facts(contract),
        [
            "1 Above the table.",
            "1 GET /x 200",
            "1 A point that goes on.",
            "1 Another.",
        ]
    );
}

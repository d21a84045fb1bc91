//! What the benches share: a private PostgreSQL that flushes its commits, the release binary's processes beside it, what
//! they cost, and how figures are printed.
//!
//! Promised: everything runs on this machine and is gone afterwards; rounds are alike and variants take turns, so that a
//! noisy minute strikes all of them; a bench fails if its work was not done right, never because it was slow. Not promised:
//! that two machines, or two noisy minutes, give the same figures; compare ratios.
#![allow(
    dead_code,
    reason = "each bench is a program of its own and uses a part of this"
)]

pub(crate) mod contestants;
pub(crate) mod database;
pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod processes;

#[path = "../../tests/it/support/issuer.rs"]
pub(crate) mod issuer;
#[path = "../../tests/it/support/packages.rs"]
pub(crate) mod packages;

/// How often each variant is measured; `ROUNDS=1` is enough to see whether a bench runs.
pub(crate) fn rounds() -> usize {
    std::env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .filter(|rounds| *rounds > 0)
        .unwrap_or(5)
}

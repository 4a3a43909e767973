//! Deciding and applying, seen from outside: submissions, the whole transition table, successors, and stories of any length.
//!
//! The registry is the invented province of `tests/fixtures/registry`; here every role of a dossier is held by a party of
//! its own, so that nothing passes because one party happens to hold two.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests themselves")]

mod books;
mod can_i;
mod entries;
mod stories;
mod submissions;
mod support;
mod table;

//! The sandbox as a developer meets it: the built binary, every command run as it is printed, and what shows then.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../support/output.rs"]
mod output;

mod ends;
mod scenarios;
mod support;
mod webhook;

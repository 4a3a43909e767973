//! Certificates on disk and on the wire: what loads, and who gets in.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod files;
mod handshake;
mod joining;
#[path = "../../../tests/support/output.rs"]
mod output;
mod support;
mod trust;

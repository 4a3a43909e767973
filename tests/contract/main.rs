//! What the bus promises on the wire, over mutual TLS against a real gateway.
//!
//! - [`table`]: every act × status × role of the domain's one table, every requirement left out, every guard violated.
//! - [`input`]: what bad input gets.
//! - [`access`]: who is not let in.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod input;
mod table;

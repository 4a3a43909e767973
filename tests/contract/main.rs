//! What the bus promises on the wire, over mutual TLS against a real gateway.
//!
//! - [`table`]: every act × status × role of the domain's one table, every requirement left out, every guard violated.
//! - [`input`]: what bad input gets.
//! - [`access`]: who is not let in.
//! - [`queries`]: a data service that its owner's own software answers.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod input;
mod queries;
mod table;

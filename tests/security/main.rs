//! The bus as those see it who have no business there.
//!
//! - [`matrix`]: every RPC × everybody who might call it; [`rows`] is the table, one row per RPC.
//! - [`joining`]: the listener for those who have no certificate yet.
//! - [`tls_scan`]: what a scanner from elsewhere finds.
//! - [`client`]: a client that shows whatever certificate it is given, or none.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/python.rs"]
mod environment;
#[path = "../support/mod.rs"]
mod support;

mod client;
mod joining;
mod matrix;
mod rows;
mod things;
mod tls_scan;

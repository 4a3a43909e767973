//! The bus over real sockets with mutual TLS, certificates minted by the test, and the invented province as its registry.
//!
//! One story per test; `world` holds the gateway, its CA and the systems that call it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod admission;
mod archiving;
mod auditing;
mod authority;
mod certificates;
mod delivery;
mod disk;
mod documents;
mod erasing;
mod formats;
mod identity;
mod issuing;
mod joining;
mod lockout;
mod metrics;
mod numbers;
mod operations;
#[path = "../../../tests/support/output.rs"]
mod output;
mod queries;
mod wire;
mod world;

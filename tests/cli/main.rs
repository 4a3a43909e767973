//! The command line as its users meet it: the real binary, real files, a real gateway over mutual TLS.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod access;
mod archive;
mod audit;
mod certs;
mod examples;
mod explain;
mod gateway;
mod join;
mod meet;
mod national;
mod offline;
mod population;
mod query;
mod rehearse;
mod support;
mod webhook;

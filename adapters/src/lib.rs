//! The agency side of the bus: one adapter for desks and authorities alike.
//!
//! Nothing is answered to the agency's own system, and nothing acknowledged to the gateway, before it is on this machine's
//! disk; and what was answered is carried on until the other side has it.
//!
//! | module | owns |
//! |---|---|
//! | [`link`] | the way to the gateway: mutual TLS, signing, receipts; used by the command line too |
//! | `spool` | the durable queue both ways, and documents on their way |
//! | `forward`, `receive`, `handover` | the three loops: calls out, deliveries in, deliveries and outcomes on to the agency |
//! | `offline` | the desk without a line: the registry's copy, numbers leased ahead, deciding here |
//! | [`identity`] | the own certificate: joining, renewing, reloading |
//! | `office` | what the agency's own system can have done here, whichever way in it comes by |
//! | [`webhook`] | one way out: signed CloudEvents over HTTP, and what became of the last ones |
//! | `connector` | answering questions to the owner's data services over its own HTTP |
//! | `rest` | one way in: the local HTTP interface |
//! | [`access`] | who may call that interface, and for whom |
//! | `request` | a request as agencies write it down that cannot call REST |
//! | `folder` | another way in and out: a watched folder of JSON files with their documents |
//! | [`json`], `problem` | what that system reads and writes; the command line's `--json` writes the same |
//! | [`config`], [`adapter`] | the configuration, and putting everything together |
//! | [`mod@reference`] | every event, status and reason in words, for `lgsp explain` and `docs/reference` |
//! | [`telemetry`] | what is measured, for Prometheus |
//! | `acting` | the parties acted for, and those that the gateway does not let us act for |
//! | [`tables`] | another way in and out: tables in the agency's own PostgreSQL |
//! | `papers` | documents that a delivery names, fetched to lie beside it |
//! | `trouble` | what is the matter with a folder or a database that the agency keeps |
//! | `lanes`, `pump`, `backoff` | work in order per dossier, tried again until it is done |

pub mod access;
mod acting;
pub mod adapter;
mod backoff;
pub mod config;
mod connector;
mod digest;
mod folder;
mod forward;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handover;
pub mod identity;
pub mod json;
mod lanes;
pub mod link;
mod office;
mod offline;
mod papers;
pub mod population;
mod private_file;
mod problem;
mod pump;
mod receive;
pub mod reference;
mod request;
mod rest;
mod spool;
pub mod tables;
pub mod telemetry;
pub mod trace;
mod trouble;
pub mod webhook;

pub use adapter::{Ready, RunError, run};
pub use backoff::Backoff;
pub use config::Config;
pub use rest::description;
pub use spool::{OpenError as SpoolOpenError, RecordError as SpoolRecordError, SpoolKeyError};

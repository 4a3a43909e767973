//! The bus: admit, route, deliver, trace, prove.
//!
//! A reader can follow one dossier downwards: [`api`] takes the call off the wire and parses it, [`engine`] decides it
//! with the domain and commits it, [`store`] makes it durable, and the engine's inboxes deliver it until the parties
//! have it. [`config`] is what an operator writes, [`app`] puts the parts together and owns the order of start and stop.
//! [`tls`] has the certificates in force. [`backup`] copies what all of it has on disk, and makes a gateway of a copy. [`archive`] is the form of the files that closed
//! dossiers are moved to. [`telemetry`] measures.

pub mod api;
pub mod app;
pub mod archive;
pub mod backup;
pub mod config;
pub mod engine;
pub mod store;
pub mod telemetry;
pub mod tls;

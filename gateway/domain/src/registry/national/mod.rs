//! The national procedure catalogue (*Cơ sở dữ liệu quốc gia về thủ tục hành chính*), and how the province's own follows it.
//!
//! - `wire`: an entry as the national database publishes it, and a snapshot of all of them.
//! - `reading`: an entry as a [`Procedure`](super::Procedure), or why it cannot be one.
//! - `overlay`: what the province adds: which procedures it follows, its own durations, compulsory components, competent agencies.
//! - `plan`: what following a snapshot would change. It changes nothing itself, and what it cannot read it lists and leaves out.
//! - `routes`: the competent agencies that the overlay names, a part of the plan, carried into the text of `routes.toml`.
//! - `written`: a plan carried into the text of `procedures.toml`, beside comments and entries that stay as they are.
//!
//! A version that dossiers were pinned to is never rewritten: it gets a last day, and what follows is a version of its own.

mod overlay;
mod plan;
mod reading;
mod routes;
mod wire;
mod written;

pub use overlay::{Local, OVERLAY, Overlay};
pub use plan::{Catalogue, CatalogueChange, CatalogueChangeKind, Plan};
pub use reading::LeftOut;
pub use routes::RouteChange;
pub use wire::{Basis, Component, Detail, Fee, Field, Listed, Method, National, Outcome, Snapshot, Time};
pub use written::NotWritten;

#[cfg(test)]
mod tests;

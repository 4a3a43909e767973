//! What this system is known by on the bus: how it comes by it, keeps it in force, and gets another when that is lost.
//!
//! The private key is made on this machine and never leaves it. What is in force is one set of files that belong together;
//! nothing takes its place before it is whole.

mod folder;
mod join;
mod keeper;
mod leaf;
mod loading;
mod profile;
mod renewal;
mod trust;

pub use folder::{Draft, Folder, Set};
pub use join::{JoinError, Joined, join};
pub(crate) use keeper::{Keeper, Known};
pub(crate) use leaf::Leaf;
pub(crate) use loading::Source;
pub use profile::{RenewError, Renewed, renew};

//! What this system is known by on the bus: how it comes by it, keeps it in force, and gets another when that is lost.

mod folder;

pub use folder::{Draft, Folder, Set};

//! A query's request and reply as data: what a service declares them to be, and what of a reply may be told.
//!
//! - [`schema`]: the part of JSON Schema a service is declared in; its leaves are the fields that grants name.
//! - [`cut()`]: a reply without what may not be told; the very same bytes when all of it may.
//! - `json`: reading a document without changing one byte of what is kept.
//!
//! A *field* is the path of a leaf, `residence.commune_code`; lists are transparent: `children.name` is the name of every child.

mod cut;
mod json;
pub mod schema;

pub use cut::cut;
pub use json::NotJson;
pub use schema::{Schema, SchemaFault};

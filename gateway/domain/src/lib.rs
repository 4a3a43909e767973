//! What the law and the registry say about a dossier, as pure functions: no IO, no clock, no async.
//!
//! - [`registry`]: parties, units, procedures, routes, grants and calendars, declared in files, dated, validated whole.
//! - [`routing`]: which authority is competent, and why.
//! - [`calendar`], [`deadline`]: working time, due dates and the clock of one dossier.
//! - [`dossier`]: how a dossier stands; [`event`]: what was admitted about it.
//! - [`transition`]: the one table of statuses, acts and roles; [`roles`]: which roles a party holds in a dossier.
//! - [`can_i`]: whether somebody may do something, by what, or what is missing and whom to ask.
//! - [`numbering`]: numbers of dossier codes, per authority and day, never twice.
//! - [`person_name`]: when two spellings of a name are one name.
//! - [`query`]: what a data service's requests and replies look like, and cutting a reply to what may be told.
//! - [`decide`]: runs once, at admission, and turns a submission or an entry into an [`event::Event`] or a refusal.
//! - [`apply`]: all that rebuild, replicas and fsck ever run; it looks nothing up and computes nothing.

pub mod apply;
pub mod calendar;
pub mod can_i;
pub mod deadline;
pub mod decide;
pub mod dossier;
pub mod event;
pub mod numbering;
pub mod person_name;
pub mod query;
pub mod registry;
pub mod roles;
pub mod routing;
pub mod transition;

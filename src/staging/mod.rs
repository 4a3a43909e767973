//! What the demo and the sandbox are staged with: [`processes`] that never outlive us, clients for JSON over [`http`] and [`https`], the
//! registry of [`hue`], and [`certificates`] made on the spot. What is played on this stage is each one's own.

pub(crate) mod certificates;
pub(crate) mod http;
pub(crate) mod https;
pub(crate) mod hue;
pub(crate) mod processes;

//! An adapter between a gateway that misbehaves and an agency's own system, over real sockets with mutual TLS.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test binary has no readers of its interface")]

mod access;
mod calls;
mod deliveries;
mod disk;
mod folder;
mod held_up;
mod identity;
mod interface;
mod link;
mod metrics;
mod offline;
mod restored;
mod stream;
mod support;
mod tables;
mod uploads;
mod webhooks;

//! Counterparts to rehearse with: national systems as their connectors meet them, before anybody is let near the real ones.
//!
//! A counterpart runs in a process of its own (`lgsp rehearse`), speaks the real wire shapes over real HTTP and TLS, misbehaves by a script, and
//! at the end says whether what it saw is ready for the real one. It shares no code with the connectors: a misunderstanding
//! must not be on both sides.
//!
//! | module | owns |
//! |---|---|
//! | [`server`] | TLS, connections, and the certificate made on the spot |
//! | [`behaviour`] | the script: what it does to the requests, phase by phase |
//! | [`rehearsal`] | one run: script, checks and what became of them; the border that a counterpart is written to |
//! | [`population`] | the national population database, with its invented citizens |
//! | [`procedures`] | the national procedure database |
//! | [`report`] | the verdict, for people and for programs |
//! | [`portal`] | the national public service portal |
//!
//! To add a counterpart: implement [`rehearsal::Counterpart`] in a module of its own, name its checks, and give it a subcommand in
//! `src/rehearse.rs`.

pub mod behaviour;
pub mod population;
pub mod portal;
pub mod procedures;
pub mod rehearsal;
pub mod report;
pub mod server;

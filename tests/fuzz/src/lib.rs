//! Every parser of bytes from outside, as functions of bytes.
//!
//! A target calls the library's own entry point, so that what is fuzzed is what is served. It breaks when the parser panics,
//! hangs or eats memory, and when what was accepted does not keep its promise: to print as it was read, to be written so that
//! it can be read again, to differ in nothing from itself.
//!
//! Outside is also what is read back from a disk or a backup: nobody vouches for its bytes any more. Keys and persons in the corpus
//! were made up for it.

mod stored;
mod told;
mod written;

/// A parser and what must hold of whatever it accepts.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names it and the folder of its corpus.
    pub name: &'static str,
    /// Breaks by a panic.
    pub run: fn(&[u8]),
}

/// Every target there is.
pub const TARGETS: &[Target] = &[
    Target { name: "certificate", run: told::certificate },
    Target { name: "signing-request", run: told::signing_request },
    Target { name: "join-token", run: told::join_token },
    Target { name: "bundle", run: written::bundle },
    Target { name: "pem", run: told::pem },
    Target { name: "names", run: told::names },
    Target { name: "submission", run: told::submission },
    Target { name: "entry", run: told::entry },
    Target { name: "calls", run: told::calls },
    Target { name: "answers", run: told::answers },
    Target { name: "reply", run: told::reply },
    Target { name: "rest", run: told::rest },
    Target { name: "population", run: told::population },
    Target { name: "folder-request", run: told::folder_request },
    Target { name: "registry", run: written::registry },
    Target { name: "schema", run: written::schema },
    Target { name: "gateway-config", run: written::gateway_config },
    Target { name: "adapter-config", run: written::adapter_config },
    Target { name: "record", run: stored::record },
    Target { name: "index-snapshot", run: stored::index_snapshot },
    Target { name: "spool-record", run: stored::spool_record },
    Target { name: "journal", run: stored::journal },
    Target { name: "key-ring", run: stored::key_ring },
    Target { name: "archive", run: stored::archive },
    Target { name: "manifest", run: stored::manifest },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

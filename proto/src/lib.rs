//! The language of the bus.
//!
//! - [`v1`]: the messages and services of `lgsp.v1`, generated from `proto/lgsp/v1/*.proto`.
//! - [`store_v1`], [`spool_v1`]: the stored formats of the gateway's journal and of an adapter's spool.
//! - [`types`]: the validated types both sides parse into. A value of one of them is well formed by construction.
//! - [`reason`]: every reason for which the bus refuses something, each with its status code and its words.
//! - [`page`]: what the reference adds to a reason: how one comes to it, whether the same may be sent again, which facts it carries.
//! - [`explain`]: the command that explains a refusal.
//! - [`refusal`]: a refusal in full, and its way into a `google.rpc.Status` and back.
//!
//! No IO, no clock.

pub mod explain;
mod masked;
pub mod page;
#[cfg_attr(not(test), expect(dead_code, reason = "the build reads it, and a test"))]
mod private;
pub mod reason;
pub mod refusal;
pub mod types;

pub use reason::Reason;
pub use refusal::{FieldViolation, Refusal};

/// Generated from the `.proto` files; nested as their packages are, because the generated code refers to itself so.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code, documented in the .proto files")]
mod generated {
    pub mod v1 {
        tonic::include_proto!("lgsp.v1");
    }
    pub mod store {
        pub mod v1 {
            tonic::include_proto!("lgsp.store.v1");
        }
    }
    pub mod spool {
        pub mod v1 {
            tonic::include_proto!("lgsp.spool.v1");
        }
    }
}

pub use generated::{spool::v1 as spool_v1, store::v1 as store_v1, v1};

/// The serialized `FileDescriptorSet` of everything above, for reflection and for tests that walk the services.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lgsp.bin"));

/// The domain of every [`tonic_types::ErrorInfo`] that this bus attaches.
pub const ERROR_DOMAIN: &str = "lgsp.v1";

/// The detail of a refusal that says how long to wait, in milliseconds. On the wire it is a [`tonic_types::RetryInfo`] too.
pub const RETRY_AFTER_MS: &str = "retry_after_ms";

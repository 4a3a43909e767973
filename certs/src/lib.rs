//! Who is who on the bus, and how that is proved.
//!
//! - [`identity`]: the names a certificate carries (SPIFFE id, digest).
//! - [`ca`]: a development CA that issues certificates to systems and servers.
//! - [`tls`]: certificate files in, TLS 1.3 configurations with mutual authentication out.
//! - [`verify`]: [`VerifiedLeaf`], the peer's certificate once a handshake has proved it.
//! - [`sign`]: signatures over message bodies, one tag per purpose.
//!
//! A certificate names a *system*; what a system may do is the registry's business and unknown here. Nothing in this
//! package reads the clock (time is an argument), talks to the network, or touches a process-wide default.

pub mod ca;
mod facts;
mod files;
pub mod identity;
mod pem;
pub mod sign;
pub mod tls;
pub mod verify;
mod x509;

pub use ca::{CaError, CertificateAuthority, Issued};
pub use facts::CertificateFacts;
pub use identity::{CertificateDigest, SpiffeId, SystemName, TrustDomain};
pub use sign::{BadSignature, Purpose, SigningKey, VerifyingKey};
pub use tls::{Credentials, TlsFiles, Usage, server_name};
pub use verify::{Identity, VerifiedLeaf};
pub use x509::Malformed;

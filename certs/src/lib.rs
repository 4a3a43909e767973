//! Who is who on the bus, and how that is proved.
//!
//! - [`identity`]: the names a certificate carries (SPIFFE id, digest).
//! - [`keys`], [`request`]: private keys, and the requests by which others ask to have theirs certified.
//! - [`ca`]: a root and issuing CAs in folders, their certificates and revocation lists.
//! - [`CertificateFacts`]: what a certificate says about itself, unverified, for lists.
//! - [`tls`]: certificate files in, TLS 1.3 configurations with mutual authentication out.
//! - [`trust`]: several bundles of roots, and for whom each may vouch.
//! - [`joining`]: the first connection of a system that has a join token and nothing else.
//! - [`reload`]: whether files have changed.
//! - [`verify`]: [`VerifiedLeaf`], the peer's certificate once a handshake has proved it.
//! - [`sign`]: signatures over message bodies, one tag per purpose.
//!
//! A certificate names a *system*; what a system may do is the registry's business and unknown here. Nothing in this
//! package reads the clock (time is an argument), talks to the network, or touches a process-wide default.

pub mod ca;
mod ends;
mod facts;
mod files;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hex;
pub mod identity;
pub mod joining;
pub mod keys;
mod lists;
mod pem;
pub mod reload;
pub mod request;
pub mod sign;
pub mod tls;
pub mod trust;
pub mod verify;
mod x509;

pub use ca::{CaError, CertificateAuthority, Certified, Issued, RootAuthority, renew_from};
pub use ends::Ends;
pub use facts::CertificateFacts;
pub use identity::{CertificateDigest, SpiffeId, SystemName, TrustDomain};
pub use joining::joining_config;
pub use keys::PrivateKey;
pub use request::{BadRequest, SigningRequest};
pub use sign::{BadSignature, Purpose, SigningKey, VerifyingKey};
pub use tls::{Credentials, TlsFiles, Usage, server_name};
pub use trust::{Bundle, NotBacked, NotVouched, SystemPattern, Trust, Vouch};
pub use verify::{Identity, VerifiedLeaf};
pub use x509::Malformed;

//! What stands in a certificate, as a function of bytes: what a fuzzer may try without a handshake.

use rustls_pki_types::CertificateDer;

use crate::verify::VerifiedLeaf;

/// Reads a certificate as that of a peer is read, and gives nothing out: a [`VerifiedLeaf`] is had from a handshake only.
pub fn leaf(der: &[u8]) {
    drop(VerifiedLeaf::read(&[CertificateDer::from(der)]));
}

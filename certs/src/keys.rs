//! Private keys: made where they are used, written once, never shown.
//!
//! A [`PrivateKey`] only makes requests and gets into files. What it signs afterwards it signs as a
//! [`SigningKey`](crate::SigningKey) (messages) or inside rustls (handshakes); as a CA's it stays inside [`crate::ca`].

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

use crate::files::{SECRET, write_new};
use crate::identity::sha256;
use crate::pem;
use crate::sign::KeyError;

/// An ECDSA P-256 private key.
///
/// It cannot be copied or printed. The library that holds it (aws-lc) wipes its memory when it is dropped, and so does
/// every buffer of this package it passes through; what the allocator or the kernel copied before is out of reach.
pub struct PrivateKey(CaKey);

/// No key could be made or used: the machine gave no memory or no randomness. Nothing was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the machine gave no memory or no randomness for a key")]
pub struct NoKey;

impl PrivateKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the machine has no memory or no randomness left.
    pub fn generate() -> Result<Self, NoKey> {
        CaKey::generate().map(Self)
    }

    /// Reads the first private key of a PEM text, PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// When there is none, or it is not ECDSA P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        CaKey::from_pem(pem).map(Self)
    }

    /// The key as PKCS#8 PEM, wiped when dropped.
    ///
    /// # Errors
    /// When the machine has no memory left.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, NoKey> {
        self.0.to_pem()
    }

    /// Writes the key to a new file that only its owner can read (mode 0600, from its first moment on; a file system
    /// without modes shows what its mount says).
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file of that name: it is untouched. After any error nothing is at `path` that
    /// was not there before.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let pem = self.to_pem().map_err(io::Error::other)?;
        write_new(path, pem.as_bytes(), SECRET)
    }

    /// A certificate request for this key: PKCS #10 (RFC 2986), DER. It names nobody: who asks is known by the token or
    /// the certificate it comes with.
    ///
    /// # Errors
    /// When the machine has no memory or no randomness left.
    pub fn signing_request(&self) -> Result<Vec<u8>, NoKey> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0).map_err(|_| NoKey)?.der().to_vec())
    }

    /// SHA-256 of the public half (`SubjectPublicKeyInfo`, DER): the same in every certificate of this key.
    pub fn key_sha256(&self) -> [u8; 32] {
        sha256(&rcgen::PublicKeyData::subject_public_key_info(&self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// The same key as the certificate library wants it: one that signs any bytes, so it does not leave this package.
///
/// Apart from [`crate::SigningKey`] on purpose: that one signs nothing without a purpose's tag, this one must.
pub(crate) struct CaKey(EcdsaKeyPair);

impl CaKey {
    pub(crate) fn generate() -> Result<Self, NoKey> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self).map_err(|_| NoKey)
    }

    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoKey)?;
        let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_der());
        der.zeroize();
        key.map(Self).map_err(|_| KeyError::NotP256)
    }

    pub(crate) fn to_pem(&self) -> Result<Zeroizing<String>, NoKey> {
        // The document wipes itself when dropped.
        let document = self.0.to_pkcs8v1().map_err(|_| NoKey)?;
        Ok(pem::encode("PRIVATE KEY", document.as_ref()))
    }

    /// The public half as an uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl rcgen::PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_reads_back_from_its_file_which_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("key.pem"), PrivateKey::generate().unwrap());
        key.write_to(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PrivateKey::from_pem(&std::fs::read(&path).unwrap()).unwrap().key_sha256(), key.key_sha256());
        assert_eq!(key.write_to(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", PrivateKey::generate().unwrap()), "PrivateKey(..)");
    }

    #[test]
    fn text_without_a_p256_key_is_refused() {
        assert_eq!(PrivateKey::from_pem(b"hello").unwrap_err(), KeyError::NoKey);
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(PrivateKey::from_pem(p384.serialize_pem().as_bytes()).unwrap_err(), KeyError::NotP256);
    }
}

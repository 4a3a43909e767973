//! Signatures over message bodies: ECDSA P-256 with SHA-256, in ASN.1 DER, by the key of a system's certificate.
//!
//! What is signed is `lgsp.v1.<purpose>`, a line feed, and the bytes. The tag keeps a signature given for one purpose
//! from passing for another, and from ever being mistaken for what the same key signs elsewhere: a TLS 1.3 handshake
//! begins with 64 spaces (RFC 8446 §4.4.3), a certificate request with an ASN.1 sequence.

use std::fmt;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroize;

use crate::x509;

/// What a signature is for. A closed list: each purpose has its own tag, so none can stand in for another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// A dossier that is handed in.
    Submission,
    /// An event about a dossier.
    Entry,
    /// A document's manifest.
    Document,
    /// A version of the registry.
    Registry,
    /// The gateway's receipt for what it admitted.
    Receipt,
    /// The gateway's word for what a data service answered.
    QueryAnswer,
}

/// A system's private key. It cannot be copied or printed, and is wiped when dropped.
pub struct SigningKey(EcdsaKeyPair);

/// A system's public key, parsed once and cheap to use for every message of a connection.
#[derive(Clone)]
pub struct VerifyingKey(ParsedPublicKey);

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No `PRIVATE KEY` or `EC PRIVATE KEY` block; an encrypted one does not count.
    #[error("there is no unencrypted PEM private key")]
    NoKey,
    /// Some other kind of key, or damaged.
    #[error("the key is not an intact ECDSA P-256 key")]
    NotP256,
    /// The certificate that should hold it cannot be read.
    #[error(transparent)]
    Certificate(#[from] x509::Malformed),
}

/// The signature was not made by this key, for this purpose, over these bytes. Which of the three is unknowable.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

impl Purpose {
    /// Every purpose there is.
    pub const ALL: [Self; 6] =
        [Self::Submission, Self::Entry, Self::Document, Self::Registry, Self::Receipt, Self::QueryAnswer];

    /// The word that goes into the signed tag. Part of the format: it never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Entry => "entry",
            Self::Document => "document",
            Self::Registry => "registry",
            Self::Receipt => "receipt",
            Self::QueryAnswer => "query-answer",
        }
    }
}

impl SigningKey {
    /// Reads the first private key of a PEM text, PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// When there is none, or it is not ECDSA P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoKey)?;
        let parsed = Self::from_der(&key);
        key.zeroize();
        parsed
    }

    pub(crate) fn from_der(key: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der())
            .map(Self)
            .map_err(|_| KeyError::NotP256)
    }

    /// Signs `bytes` for `purpose`; the answer is ECDSA-Sig-Value in DER, at most 72 bytes.
    ///
    /// # Panics
    /// When the machine has no memory or no randomness left; with a key that was accepted nothing else fails.
    pub fn sign(&self, purpose: Purpose, bytes: &[u8]) -> Vec<u8> {
        let signature = self.0.sign_digest(&tagged_digest(purpose, bytes));
        signature.expect("an accepted P-256 key signs any SHA-256 digest").as_ref().to_vec()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0.public_key().as_ref());
        VerifyingKey(parsed.expect("the public half of an accepted P-256 key is one"))
    }
}

impl VerifyingKey {
    /// Reads a public key in its `SubjectPublicKeyInfo` DER form.
    ///
    /// # Errors
    /// When it is not ECDSA P-256 with its point uncompressed: a key has one spelling, and so one hash to be revoked by.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        x509::p256_point(der).ok_or(KeyError::NotP256)?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der).map(Self).map_err(|_| KeyError::NotP256)
    }

    /// Reads the public key of a certificate, to check a signature that was stored beside it.
    ///
    /// This says nothing about who holds the key: only a [`VerifiedLeaf`](crate::VerifiedLeaf) does.
    ///
    /// # Errors
    /// When the certificate cannot be read, or its key is not ECDSA P-256.
    pub fn from_certificate(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(x509::parse(der)?.public_key().raw)
    }

    /// Checks that `signature` was made with the matching private key, for `purpose`, over `bytes`.
    ///
    /// # Errors
    /// [`BadSignature`] otherwise, also when `signature` is not a signature at all.
    pub fn verify(&self, purpose: Purpose, bytes: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.0.verify_digest_sig(&tagged_digest(purpose, bytes), signature).map_err(|_| BadSignature)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(..)")
    }
}

/// Hashes the tag and the bytes one after the other, so that a large body is not copied to be signed.
fn tagged_digest(purpose: Purpose, bytes: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"lgsp.v1.");
    context.update(purpose.as_str().as_bytes());
    context.update(b"\n");
    context.update(bytes);
    context.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pem(label: &str, der: &[u8]) -> zeroize::Zeroizing<String> {
        crate::pem::encode(label, der)
    }

    fn key() -> SigningKey {
        SigningKey(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    #[test]
    fn a_signature_holds_for_its_purpose_only() {
        let key = key();
        for made_for in Purpose::ALL {
            let signature = key.sign(made_for, b"body");
            for checked_for in Purpose::ALL {
                let verdict = key.verifying_key().verify(checked_for, b"body", &signature);
                assert_eq!(verdict.is_ok(), made_for == checked_for, "{made_for} as {checked_for}");
            }
        }
    }

    #[test]
    fn a_signature_of_another_key_is_refused() {
        let signature = key().sign(Purpose::Entry, b"body");
        assert_eq!(key().verifying_key().verify(Purpose::Entry, b"body", &signature), Err(BadSignature));
    }

    /// The format is a promise to every other stack: what is signed, in which words, with which line feed.
    #[test]
    fn what_is_signed_is_the_tag_a_line_feed_and_the_bytes() {
        let key = key();
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.0.public_key().as_ref()).unwrap();
        for (purpose, message) in [
            (Purpose::Submission, "lgsp.v1.submission\nbody"),
            (Purpose::Entry, "lgsp.v1.entry\nbody"),
            (Purpose::Document, "lgsp.v1.document\nbody"),
            (Purpose::Registry, "lgsp.v1.registry\nbody"),
            (Purpose::Receipt, "lgsp.v1.receipt\nbody"),
        ] {
            public.verify_sig(message.as_bytes(), &key.sign(purpose, b"body")).unwrap();
        }
    }

    #[test]
    fn bytes_that_are_no_signature_are_refused() {
        let key = key().verifying_key();
        for junk in [&b""[..], b"\x30\x00", &[0x30; 72], &[0; 64]] {
            assert_eq!(key.verify(Purpose::Entry, b"body", junk), Err(BadSignature));
        }
    }

    #[test]
    fn a_key_is_read_from_pkcs_8_and_from_sec_1() {
        use aws_lc_rs::encoding::AsDer;
        let key = key();
        let pkcs8 = pem("PRIVATE KEY", key.0.to_pkcs8v1().unwrap().as_ref());
        let sec1 = pem("EC PRIVATE KEY", key.0.private_key().as_der().unwrap().as_ref());
        for text in [pkcs8, sec1] {
            let read = SigningKey::from_pem(text.as_bytes()).unwrap();
            let signature = read.sign(Purpose::Receipt, b"body");
            assert_eq!(key.verifying_key().verify(Purpose::Receipt, b"body", &signature), Ok(()));
        }
    }

    #[test]
    fn a_key_that_is_not_p_256_is_refused() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(SigningKey::from_pem(p384.serialize_pem().as_bytes()).unwrap_err(), KeyError::NotP256);
        assert_eq!(SigningKey::from_pem(b"hello").unwrap_err(), KeyError::NoKey);
        let encrypted = pem("ENCRYPTED PRIVATE KEY", b"sealed");
        assert_eq!(SigningKey::from_pem(encrypted.as_bytes()).unwrap_err(), KeyError::NoKey);
        let spki = rcgen::PublicKeyData::subject_public_key_info(&p384);
        assert_eq!(VerifyingKey::from_spki(&spki).unwrap_err(), KeyError::NotP256);
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key()), "SigningKey(..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_changed_bit_breaks_the_signature(
            body in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let key = key();
            let signature = key.sign(Purpose::Submission, &body);
            prop_assert!(key.verifying_key().verify(Purpose::Submission, &body, &signature).is_ok());
            let mut changed = body.clone();
            changed[at.index(body.len())] ^= 1_u8 << bit;
            prop_assert!(key.verifying_key().verify(Purpose::Submission, &changed, &signature).is_err());
        }
    }
}

//! Certificate requests from outside: PKCS #10 (RFC 2986), of which only the key counts.
//!
//! A [`SigningRequest`] is the proof that whoever made it holds the private key. Names and attributes in it are not
//! even looked at: who the key is certified for is decided by the token or the certificate the request came with.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::identity::sha256;
use crate::x509;

/// A P-256 key whose holder asks for a certificate. The request's own signature was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningRequest {
    spki: Box<[u8]>,
}

/// Why bytes are not a [`SigningRequest`]. Nothing of them was kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadRequest {
    /// More bytes than a request for one key can need.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// Not one PKCS #10 request in DER, or more than one.
    #[error("is not a PKCS #10 certificate request in DER")]
    Malformed,
    /// Another kind of key, or another spelling of the same: the bus knows keys by the hash of their one spelling.
    #[error("is not for an ECDSA P-256 key in its uncompressed form")]
    NotP256,
    /// Signed by another key than the one in it, or in another way than ECDSA with SHA-256.
    #[error("is not signed by its own key with ECDSA and SHA-256")]
    Signature,
}

impl BadRequest {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Self::TooLong { limit } => format!("dài quá {limit} byte"),
            Self::Malformed => "không phải yêu cầu cấp chứng thư PKCS #10 dạng DER".to_owned(),
            Self::NotP256 => "không dùng khoá ECDSA P-256 dạng không nén".to_owned(),
            Self::Signature => "không được ký bằng chính khoá của nó theo ECDSA và SHA-256".to_owned(),
        }
    }
}

impl SigningRequest {
    /// The most bytes looked at. A request of this package has about 200; other makers' names and attributes fit too, but
    /// nobody can keep the parser busy.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Reads a request and verifies its signature.
    ///
    /// # Errors
    /// Says which rule it broke. Never panics, whatever the bytes.
    pub fn parse(der: &[u8]) -> Result<Self, BadRequest> {
        if der.len() > Self::MAX_BYTES {
            return Err(BadRequest::TooLong { limit: Self::MAX_BYTES });
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(BadRequest::Malformed);
        };
        let info = &request.certification_request_info;
        let spki = info.subject_pki.raw;
        let point = x509::p256_point(spki).ok_or(BadRequest::NotP256)?;
        if request.signature_algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256 {
            return Err(BadRequest::Signature);
        }
        // The parser is generous about what stands around the signed part; in DER there is one spelling of it.
        if der != wrapped(info.raw, &request.signature_value.data) {
            return Err(BadRequest::Malformed);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| BadRequest::Signature)?;
        Ok(Self { spki: spki.into() })
    }

    /// The key as `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of [`spki`](Self::spki).
    pub fn key_sha256(&self) -> [u8; 32] {
        sha256(&self.spki)
    }
}

impl rcgen::PublicKeyData for SigningRequest {
    fn der_bytes(&self) -> &[u8] {
        x509::p256_point(&self.spki).expect("parsing refused any other")
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The signed part with its signature, ECDSA with SHA-256, as a request (RFC 2986 §4.2).
fn wrapped(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    /// ecdsa-with-SHA256, without parameters (RFC 5758 §3.2).
    const ALGORITHM: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    // No bit of the last byte is unused.
    let signature = tagged(0x03, &[&[0], signature].concat());
    tagged(0x30, &[signed, ALGORITHM, &signature].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match length {
        [] => vec![tag, 0],
        [short @ ..0x80] => vec![tag, *short],
        // As many bytes as it takes; a request has at most two.
        long => [&[tag, 0x80 | long.len() as u8], long].concat(),
    };
    [&head, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::PrivateKey;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    fn foreign(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["gateway.hue.test".to_owned()]).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_request_of_ours_says_its_key() {
        let key = PrivateKey::generate().unwrap();
        let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
        assert_eq!(request.key_sha256(), key.key_sha256());
        assert_eq!(rcgen::PublicKeyData::subject_public_key_info(&request), request.spki());
    }

    #[test]
    fn a_request_of_another_maker_with_names_in_it_is_read_for_its_key_only() {
        assert!(SigningRequest::parse(&foreign(&rcgen::PKCS_ECDSA_P256_SHA256)).is_ok());
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        assert_eq!(SigningRequest::parse(&foreign(&rcgen::PKCS_ECDSA_P384_SHA384)), Err(BadRequest::NotP256));
        assert_eq!(SigningRequest::parse(&foreign(&rcgen::PKCS_ED25519)), Err(BadRequest::NotP256));
    }

    #[test]
    fn a_request_with_somebody_elses_key_is_refused() {
        let (mine, theirs) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let mut request = mine.signing_request().unwrap();
        let (own, other) = (SigningRequest::parse(&request).unwrap(), theirs.signing_request().unwrap());
        let at = request.windows(own.spki().len()).position(|window| window == own.spki()).unwrap();
        request[at..at + own.spki().len()].copy_from_slice(SigningRequest::parse(&other).unwrap().spki());
        assert_eq!(SigningRequest::parse(&request), Err(BadRequest::Signature));
    }

    #[test]
    fn what_is_longer_or_shorter_than_one_request_is_refused() {
        let request = PrivateKey::generate().unwrap().signing_request().unwrap();
        assert_eq!(SigningRequest::parse(&[&request[..], b"x"].concat()), Err(BadRequest::Malformed));
        assert_eq!(SigningRequest::parse(&request[..request.len() - 1]), Err(BadRequest::Malformed));
        assert_eq!(SigningRequest::parse(b""), Err(BadRequest::Malformed));
        let long = vec![0x30; SigningRequest::MAX_BYTES + 1];
        assert_eq!(SigningRequest::parse(&long), Err(BadRequest::TooLong { limit: SigningRequest::MAX_BYTES }));
    }

    /// What a proxy or a careless copy could change without breaking the signature.
    #[test]
    fn what_stands_around_the_signed_part_has_one_spelling() {
        let request = PrivateKey::generate().unwrap().signing_request().unwrap();
        for at in (0..request.len()).filter(|at| !(3..100).contains(at)) {
            for with in 1..=255 {
                let mut changed = request.clone();
                changed[at] ^= with;
                assert!(SigningRequest::parse(&changed).is_err(), "byte {at}, {with:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(SigningRequest::parse(&bytes).is_err());
        }

        #[test]
        fn no_changed_byte_of_a_request_passes(at in any::<proptest::sample::Index>(), with in 1..=255_u8) {
            let mut request = PrivateKey::generate().unwrap().signing_request().unwrap();
            let at = at.index(request.len());
            request[at] ^= with;
            prop_assert!(SigningRequest::parse(&request).is_err());
        }
    }
}

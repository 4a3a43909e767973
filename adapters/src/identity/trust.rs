//! Whom to trust, as a gateway names it.

use lgsp_proto::v1::TrustResponse;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::folder::Set;
use super::leaf::Leaf;
use crate::digest::sha256;

/// The most roots, and the most lists, that are taken: a bus has a few, and more would be an attack on the disk.
const MAX_ITEMS: usize = 100;

/// Roots and revocation lists. They are taken as a whole or not at all, and there is always a root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trust {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) revocation_lists: Vec<CertificateRevocationListDer<'static>>,
}

/// Why an answer is not taken. What was trusted before still is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadTrust {
    #[error("it names no roots")]
    NoRoots,
    #[error("it names more than {MAX_ITEMS} roots or lists")]
    TooMany,
    #[error("a root is no certificate")]
    BadRoot,
}

impl Trust {
    /// What a set trusts.
    pub(crate) fn of(set: &Set) -> Self {
        Self { roots: set.roots.clone(), revocation_lists: set.revocation_lists.clone() }
    }

    /// # Errors
    /// When it holds no roots, or something else than them.
    pub(crate) fn read(answer: &TrustResponse) -> Result<Self, BadTrust> {
        if answer.roots.is_empty() {
            return Err(BadTrust::NoRoots);
        }
        if answer.roots.len() > MAX_ITEMS || answer.revocation_lists.len() > MAX_ITEMS {
            return Err(BadTrust::TooMany);
        }
        if answer.roots.iter().any(|der| Leaf::read(der).is_none()) {
            return Err(BadTrust::BadRoot);
        }
        Ok(Self {
            roots: answer.roots.iter().map(|der| der.to_vec().into()).collect(),
            revocation_lists: answer.revocation_lists.iter().map(|der| der.to_vec().into()).collect(),
        })
    }

    /// As `TrustResponse.sha256`: over both, in their order, each after its length.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        let roots = self.roots.iter().map(AsRef::<[u8]>::as_ref);
        for der in roots.chain(self.revocation_lists.iter().map(AsRef::as_ref)) {
            bytes.extend_from_slice(&(der.len() as u64).to_be_bytes());
            bytes.extend_from_slice(der);
        }
        sha256(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_usable_roots_is_not_taken() {
        let with = |roots: &[&'static [u8]]| TrustResponse {
            roots: roots.iter().map(|root| bytes::Bytes::from_static(root)).collect(),
            ..TrustResponse::default()
        };
        assert_eq!(Trust::read(&with(&[])), Err(BadTrust::NoRoots));
        assert_eq!(Trust::read(&with(&[b"root"])), Err(BadTrust::BadRoot));
        assert_eq!(Trust::read(&with(&[b"root".as_slice(); MAX_ITEMS + 1])), Err(BadTrust::TooMany));
    }

    #[test]
    fn the_digest_tells_where_one_ends_and_the_next_begins() {
        let trust = |roots: &[&'static [u8]], lists: &[&'static [u8]]| Trust {
            roots: roots.iter().map(|der| (*der).into()).collect(),
            revocation_lists: lists.iter().map(|der| (*der).into()).collect(),
        };
        let digests = [trust(&[b"ab"], &[]), trust(&[b"a", b"b"], &[]), trust(&[b"b", b"a"], &[])].map(|t| t.sha256());
        assert!(digests[0] != digests[1] && digests[1] != digests[2]);
        let vector = sha256(b"\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x02bc");
        assert_eq!(trust(&[b"a"], &[b"bc"]).sha256(), vector);
    }
}

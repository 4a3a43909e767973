//! Sealing: what is in the journal and in documents can be read only with the dossier's own data key, and no more once that
//! key is destroyed.
//!
//! The hierarchy is node key → (HKDF) → one key per block of data keys → data key → content. Sealing is AES-256-GCM with
//! random nonces (NIST SP 800-38D) from aws-lc-rs; [`stream`] seals files in chunks. Nothing here logs, and no `Debug` output
//! shows a key.

mod node_key;
mod ring;
pub mod stream;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use thiserror::Error;
use zeroize::Zeroizing;

pub use node_key::{NodeKey, NodeKeyError};
pub use ring::{KEYS_PER_BLOCK, KeyError, KeyId, KeyRing, KeyRingError};

/// How many bytes [`DataKey::seal`] adds: the nonce and the tag.
pub const SEAL_OVERHEAD: usize = NONCE_LEN + MAX_TAG_LEN;

/// The bytes are not what was sealed with this key and this associated data. Nothing about the content is revealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the sealed bytes do not belong to this key and context")]
pub struct NotAuthentic;

/// The key that seals the content of one dossier. Wiped from memory when dropped.
pub struct DataKey {
    secret: Zeroizing<[u8; 32]>,
    cipher: LessSafeKey,
}

impl DataKey {
    pub(crate) fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        let cipher = cipher(&secret);
        Self { secret, cipher }
    }

    /// Seals `plain`, bound to `aad`: nonce, ciphertext, tag.
    ///
    /// The nonce is random, so one key should seal at most 2³² times; a dossier has a few hundred events.
    ///
    /// # Panics
    /// If `plain` is longer than the 64 GiB that AES-GCM takes.
    #[must_use]
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + SEAL_OVERHEAD);
        sealed.extend_from_slice(&random::<NONCE_LEN>());
        sealed.extend_from_slice(plain);
        let (nonce, content) = sealed.split_at_mut(NONCE_LEN);
        let tag = self
            .cipher
            .seal_in_place_separate_tag(take_nonce(nonce), Aad::from(aad), content)
            .expect("no record is as long as AES-GCM's limit");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`DataKey::seal`] sealed with the same key and `aad`.
    ///
    /// # Errors
    /// [`NotAuthentic`]: other bytes, another key or another context. They are not told apart.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        if sealed.len() < SEAL_OVERHEAD {
            return Err(NotAuthentic);
        }
        let (nonce, content) = sealed.split_at(NONCE_LEN);
        let mut content = content.to_vec();
        let plain =
            self.cipher.open_in_place(take_nonce(nonce), Aad::from(aad), &mut content).map_err(|_| NotAuthentic)?.len();
        content.truncate(plain);
        Ok(content)
    }

    fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

fn cipher(secret: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).expect("an AES-256 key has 32 bytes"))
}

fn take_nonce(bytes: &[u8]) -> Nonce {
    Nonce::try_assume_unique_for_key(bytes).expect("the slice was cut to the nonce's length")
}

/// Random bytes from the cryptographic generator.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("a generator that was seeded once does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_context_open_what_was_sealed() {
        let (key, other) = (DataKey::new(Zeroizing::new([7; 32])), DataKey::new(Zeroizing::new([8; 32])));
        let sealed = key.seal(b"H57.1-250714-0001", b"content");
        assert_eq!(sealed.len(), 7 + SEAL_OVERHEAD);
        assert_eq!(key.open(b"H57.1-250714-0001", &sealed).unwrap(), b"content");
        assert_eq!(key.open(b"H57.1-250714-0002", &sealed), Err(NotAuthentic));
        assert_eq!(other.open(b"H57.1-250714-0001", &sealed), Err(NotAuthentic));
        for length in 0..sealed.len() {
            assert_eq!(key.open(b"H57.1-250714-0001", &sealed[..length]), Err(NotAuthentic));
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key.open(b"H57.1-250714-0001", &flipped), Err(NotAuthentic), "byte {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let key = DataKey::new(Zeroizing::new([7; 32]));
        assert_ne!(key.seal(b"", b"same"), key.seal(b"", b"same"));
    }

    #[test]
    fn aes_256_gcm_is_what_the_standard_says() {
        // Test case 14 of the GCM specification (McGrew and Viega): zero key, zero nonce, one zero block.
        let mut sealed = vec![0; NONCE_LEN];
        sealed.extend_from_slice(&[
            0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18,
        ]);
        sealed.extend_from_slice(&[
            0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19,
        ]);
        assert_eq!(DataKey::new(Zeroizing::new([0; 32])).open(b"", &sealed).unwrap(), [0; 16]);
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{:?}", DataKey::new(Zeroizing::new([7; 32]))), "DataKey(..)");
    }
}

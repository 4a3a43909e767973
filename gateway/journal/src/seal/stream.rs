//! Sealing a file in chunks of 64 KiB, so that a document passes at constant memory and can go on at a chunk's border.
//!
//! This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: *Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance*, CRYPTO 2015): the nonce of a chunk is 7 random bytes, its number, and whether it is the last.
//! So chunks cannot be reordered, dropped, doubled, or cut off at the end. Each file has a key of its own, derived from the
//! data key, the header and the caller's context.
//!
//! The cipher under it is AES-256-GCM-SIV (RFC 8452), not plain GCM, because going on after a crash may seal a chunk's number
//! a second time, and a caller may then send other bytes. With SIV that tells an observer of the disk at most whether
//! they were the same.
//!
//! ```text
//! file     header, chunk 0, chunk 1, …
//! header   0 magic "LGSPDOC1"   8 salt [32]   40 nonce prefix [7]   47 zero                            48 bytes
//! chunk    ciphertext of 64 KiB (the last one: of what is left), tag [16]
//! nonce    0 prefix [7]   7 chunk number u32, big-endian   11 last: 1, else 0
//! ```

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use thiserror::Error;

use super::node_key::expand;
use super::{DataKey, random};

/// The content of every chunk but the last.
pub const CHUNK: usize = 64 << 10;

/// A sealed chunk: content and tag.
pub const SEALED_CHUNK: usize = CHUNK + MAX_TAG_LEN;

/// The length of a [`Header`].
pub const HEADER: usize = 48;

/// The last byte is the version.
const MAGIC: [u8; 8] = *b"LGSPDOC1";

/// How long a file with `plain` bytes of content is when sealed.
#[must_use]
pub fn sealed_length(plain: u64) -> u64 {
    // An empty file has one chunk, which is empty: that it is empty is sealed too.
    let chunks = plain.div_ceil(CHUNK as u64).max(1);
    HEADER as u64 + plain + chunks * MAX_TAG_LEN as u64
}

/// Where chunk `number` begins in the sealed file.
#[must_use]
pub fn chunk_offset(number: u32) -> u64 {
    HEADER as u64 + u64::from(number) * SEALED_CHUNK as u64
}

/// Why a chunk was not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StreamError {
    /// The chunk is not what was sealed at this place of this file in this context: changed, moved, cut off or added.
    #[error("the sealed chunk does not belong here")]
    NotAuthentic,
    /// Every chunk but the last has exactly [`CHUNK`] bytes; the last has no more, and has none only in an empty file.
    #[error("a chunk has the wrong length")]
    ChunkLength,
    /// The file has a form this program does not know.
    #[error("the sealed file was written by a later version")]
    Later,
    /// The file has more chunks than can be numbered (256 TiB).
    #[error("the file has too many chunks")]
    TooLong,
}

/// The head of a sealed file; made anew for each.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Header([u8; HEADER]);

impl Header {
    /// A fresh header. Two files never share one.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..47].copy_from_slice(&random::<39>());
        Self(bytes)
    }

    /// Reads the header of a sealed file.
    ///
    /// # Errors
    /// `Later` if a later version wrote it, `NotAuthentic` if it is none. (A changed header is noticed at the first chunk.)
    pub fn parse(bytes: &[u8]) -> Result<Self, StreamError> {
        let bytes: [u8; HEADER] = bytes.try_into().map_err(|_| StreamError::NotAuthentic)?;
        if bytes[..7] == MAGIC[..7] && (MAGIC[7] + 1..=b'9').contains(&bytes[7]) {
            return Err(StreamError::Later);
        }
        if bytes[..8] != MAGIC || bytes[47] != 0 {
            return Err(StreamError::NotAuthentic);
        }
        Ok(Self(bytes))
    }

    /// The bytes that begin the sealed file.
    #[must_use]
    pub fn bytes(&self) -> &[u8; HEADER] {
        &self.0
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Header(..)")
    }
}

/// Seals a file, chunk by chunk.
#[derive(Debug)]
pub struct ChunkSealer(Chunks);

impl ChunkSealer {
    /// Begins a file. `aad` is the context the file belongs to, such as the dossier's code and the document's digest.
    #[must_use]
    pub fn new(key: &DataKey, aad: &[u8], header: &Header) -> Self {
        Self::resume(key, aad, header, 0)
    }

    /// Goes on with a file that has `sealed` whole chunks; what lies behind them has to be cut off first.
    #[must_use]
    pub fn resume(key: &DataKey, aad: &[u8], header: &Header, sealed: u32) -> Self {
        Self(Chunks::new(key, aad, header, sealed))
    }

    /// Seals the next chunk, of exactly [`CHUNK`] bytes, which is not the last.
    ///
    /// # Errors
    /// `ChunkLength`, `TooLong`; the sealer has not moved.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, StreamError> {
        if plain.len() != CHUNK {
            return Err(StreamError::ChunkLength);
        }
        self.0.seal(plain, false)
    }

    /// Seals the last chunk: what is left, up to [`CHUNK`] bytes, and at least one unless the file is empty.
    ///
    /// # Errors
    /// `ChunkLength`, `TooLong`.
    pub fn seal_last(mut self, plain: &[u8]) -> Result<Vec<u8>, StreamError> {
        self.0.check_last(plain.len())?;
        self.0.seal(plain, true)
    }
}

/// Opens a sealed file, chunk by chunk, from the beginning or from any chunk on.
///
/// Whoever reads a whole file has read it only when [`ChunkOpener::open_last`] has answered: before that it may have been cut
/// short.
#[derive(Debug)]
pub struct ChunkOpener(Chunks);

impl ChunkOpener {
    /// Begins with the first chunk.
    #[must_use]
    pub fn new(key: &DataKey, aad: &[u8], header: &Header) -> Self {
        Self::at(key, aad, header, 0)
    }

    /// Begins with chunk `number`.
    #[must_use]
    pub fn at(key: &DataKey, aad: &[u8], header: &Header, number: u32) -> Self {
        Self(Chunks::new(key, aad, header, number))
    }

    /// Opens the next chunk, which is not the last, of exactly [`SEALED_CHUNK`] bytes.
    ///
    /// # Errors
    /// `NotAuthentic`, `ChunkLength`, `TooLong`; the opener has not moved.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, StreamError> {
        if sealed.len() != SEALED_CHUNK {
            return Err(StreamError::ChunkLength);
        }
        self.0.open(sealed, false)
    }

    /// Opens the last chunk. If it answers, nothing is missing behind it.
    ///
    /// # Errors
    /// `NotAuthentic`, `ChunkLength`, `TooLong`.
    pub fn open_last(mut self, sealed: &[u8]) -> Result<Vec<u8>, StreamError> {
        self.0.check_last(sealed.len().checked_sub(MAX_TAG_LEN).ok_or(StreamError::ChunkLength)?)?;
        self.0.open(sealed, true)
    }
}

/// The cipher of one file and the number of its next chunk; `None` when the numbers are used up.
struct Chunks {
    cipher: LessSafeKey,
    prefix: [u8; 7],
    next: Option<u32>,
}

impl Chunks {
    fn new(key: &DataKey, aad: &[u8], header: &Header, next: u32) -> Self {
        let mut prefix = [0; 7];
        prefix.copy_from_slice(&header.0[40..47]);
        let secret = expand(&header.0[8..40], key.secret(), &[b"lgsp document stream v1", &header.0, aad]);
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*secret).expect("an AES-256 key has 32 bytes");
        Self { cipher: LessSafeKey::new(key), prefix, next: Some(next) }
    }

    fn check_last(&self, length: usize) -> Result<(), StreamError> {
        let fits = length <= CHUNK && (length > 0 || self.next == Some(0));
        if fits { Ok(()) } else { Err(StreamError::ChunkLength) }
    }

    fn seal(&mut self, plain: &[u8], last: bool) -> Result<Vec<u8>, StreamError> {
        let nonce = self.nonce(last)?;
        let mut chunk = Vec::with_capacity(plain.len() + MAX_TAG_LEN);
        chunk.extend_from_slice(plain);
        self.cipher
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk)
            .expect("a chunk is shorter than the cipher's limit");
        self.advance();
        Ok(chunk)
    }

    fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>, StreamError> {
        let nonce = self.nonce(last)?;
        let mut chunk = sealed.to_vec();
        let plain =
            self.cipher.open_in_place(nonce, Aad::empty(), &mut chunk).map_err(|_| StreamError::NotAuthentic)?.len();
        chunk.truncate(plain);
        self.advance();
        Ok(chunk)
    }

    fn nonce(&self, last: bool) -> Result<Nonce, StreamError> {
        let number = self.next.ok_or(StreamError::TooLong)?;
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.prefix);
        nonce[7..11].copy_from_slice(&number.to_be_bytes());
        nonce[11] = u8::from(last);
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn advance(&mut self) {
        self.next = self.next.and_then(|next| next.checked_add(1));
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    const AAD: &[u8] = b"context";

    fn key() -> DataKey {
        DataKey::new(Zeroizing::new([7; 32]))
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    fn seal_file(plain: &[u8]) -> Vec<u8> {
        let header = Header::generate();
        let mut sealer = ChunkSealer::new(&key(), AAD, &header);
        let mut file = header.bytes().to_vec();
        let mut chunks = plain.chunks(CHUNK).peekable();
        while let Some(chunk) = chunks.next_if(|chunk| chunk.len() == CHUNK)
            && chunks.peek().is_some()
        {
            file.extend(sealer.seal(chunk).unwrap());
        }
        let rest = (file.len() - HEADER) / SEALED_CHUNK * CHUNK;
        file.extend(sealer.seal_last(&plain[rest..]).unwrap());
        file
    }

    fn open_file(file: &[u8], aad: &[u8]) -> Result<Vec<u8>, StreamError> {
        let (header, body) = file.split_at_checked(HEADER).ok_or(StreamError::NotAuthentic)?;
        let mut opener = ChunkOpener::new(&key(), aad, &Header::parse(header)?);
        let mut plain = Vec::new();
        let mut body = body;
        while body.len() > SEALED_CHUNK {
            let (chunk, rest) = body.split_at(SEALED_CHUNK);
            plain.extend(opener.open(chunk)?);
            body = rest;
        }
        plain.extend(opener.open_last(body)?);
        Ok(plain)
    }

    #[test]
    fn every_length_comes_back_and_is_as_long_as_foretold() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17] {
            let file = seal_file(&content(length));
            assert_eq!(file.len() as u64, sealed_length(length as u64), "{length}");
            assert_eq!(open_file(&file, AAD).unwrap(), content(length), "{length}");
            assert!(open_file(&file, b"other context").is_err());
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let file = seal_file(&content(2 * CHUNK + 40));
        let borders = [HEADER, HEADER + SEALED_CHUNK, HEADER + 2 * SEALED_CHUNK];
        for length in borders.into_iter().chain([0, 10, HEADER + 1, HEADER + SEALED_CHUNK + 16, file.len() - 1]) {
            assert!(open_file(&file[..length], AAD).is_err(), "{length}");
        }
    }

    #[test]
    fn a_file_with_chunks_added_doubled_swapped_or_from_elsewhere_is_refused() {
        let plain = content(3 * CHUNK);
        let file = seal_file(&plain);
        let other = seal_file(&plain);
        let chunk = |file: &[u8], number: u32| file[chunk_offset(number) as usize..][..SEALED_CHUNK].to_vec();
        let built = |chunks: &[&[u8]]| [&file[..HEADER], &chunks.concat()].concat();
        let [a, b, c] = &[0, 1, 2].map(|number| chunk(&file, number));
        assert_eq!(open_file(&built(&[a, b, c]), AAD).unwrap(), plain);
        for (what, wrong) in [
            ("swapped", built(&[b, a, c])),
            ("doubled", built(&[a, a, b, c])),
            ("dropped", built(&[a, c])),
            ("cut at a border", built(&[a, b])),
            ("extended", built(&[a, b, c, c])),
            ("extended by bytes", built(&[a, b, c, &[0; 20]])),
            ("from another file", built(&[a, &chunk(&other, 1), c])),
        ] {
            assert_eq!(open_file(&wrong, AAD), Err(StreamError::NotAuthentic), "{what}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let file = seal_file(&content(CHUNK + 5));
        for at in (0..HEADER + 20).chain(chunk_offset(1) as usize - 20..file.len()) {
            let mut flipped = file.clone();
            flipped[at] ^= 4;
            assert!(open_file(&flipped, AAD).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sealing_and_reading_go_on_at_a_chunk_border() {
        let plain = content(2 * CHUNK + 9);
        let header = Header::generate();
        let mut sealer = ChunkSealer::new(&key(), AAD, &header);
        let first = sealer.seal(&plain[..CHUNK]).unwrap();
        let mut resumed = ChunkSealer::resume(&key(), AAD, &Header::parse(header.bytes()).unwrap(), 1);
        let second = resumed.seal(&plain[CHUNK..2 * CHUNK]).unwrap();
        assert_eq!(sealer.seal(&plain[CHUNK..2 * CHUNK]).unwrap(), second, "the same bytes as without a break");
        let last = resumed.seal_last(&plain[2 * CHUNK..]).unwrap();
        let file = [header.bytes().to_vec(), first, second, last.clone()].concat();
        assert_eq!(open_file(&file, AAD).unwrap(), plain);
        assert_eq!(file[chunk_offset(2) as usize..], last);
        assert_eq!(ChunkOpener::at(&key(), AAD, &header, 2).open_last(&last).unwrap(), plain[2 * CHUNK..]);
    }

    #[test]
    fn chunks_of_the_wrong_length_and_numbers_used_up_are_refused() {
        let header = Header::generate();
        let mut sealer = ChunkSealer::new(&key(), AAD, &header);
        assert_eq!(sealer.seal(&content(CHUNK - 1)), Err(StreamError::ChunkLength));
        sealer.seal(&content(CHUNK)).unwrap();
        assert_eq!(sealer.seal_last(&[]), Err(StreamError::ChunkLength));
        let mut at_the_end = ChunkSealer::resume(&key(), AAD, &header, u32::MAX);
        at_the_end.seal(&content(CHUNK)).unwrap();
        assert_eq!(at_the_end.seal(&content(CHUNK)), Err(StreamError::TooLong));
    }
}

//! The key ring: data keys by number, made ahead in blocks, each destroyed by itself.
//!
//! A block is made, synced and named before any key of it is handed out, so what a key has sealed can always be opened, and
//! handing one out costs no sync. Every process hands out keys from blocks it has made itself: an id is never given twice,
//! whatever became of the process before. The price is the unused rest of its last block, at most 60 KiB for each start that
//! needed a new key at all; a block is made when the first key is asked for, not at the start.
//!
//! ```text
//! NNNNNNNN.keys   0 magic "LGSPKEYS"   8 version u32   12 slots u32   16 block u64   24 nonce [12]   36 tag [16]   52 zero
//!                64 slot = nonce [12], wrapped key [32], tag [16]; 1,024 of them                       61,504 bytes
//! ```
//!
//! A destroyed slot is not merely empty: it holds zeros where the key was, and a tag that only the node's key can make. So a
//! zeroed sector is told from a destroyed key.
//!
//! Destroying rewrites the block as a new file. The old bytes stay in the disk's free space and in older backups, still wrapped
//! by the node key; who must exclude that too keeps blocks on an encrypted volume and lets backups expire.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{Aad, LessSafeKey};
use aws_lc_rs::hmac;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{DataKey, NodeKey, cipher, random, take_nonce};
use crate::files::{Files, TEMPORARY, publish, read_whole};
use crate::frame::{u32_at, u64_at};

/// How many keys a block holds: enough that two syncs serve a thousand dossiers, few enough that destroying one key rewrites
/// 60 KiB.
pub const KEYS_PER_BLOCK: u64 = 1_024;

/// How many blocks are kept in memory: 4 MB, the keys of 65,000 dossiers.
const CACHED_BLOCKS: usize = 64;

const MAGIC: [u8; 8] = *b"LGSPKEYS";
const VERSION: u32 = 1;
const HEAD: usize = 64;
const NONCE: usize = 12;
const KEY: usize = 32;
const TAG: usize = 16;
const SLOT: usize = NONCE + KEY + TAG;
const BLOCK: usize = HEAD + KEYS_PER_BLOCK as usize * SLOT;

/// The number of a data key. Never given twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u64);

impl KeyId {
    fn block(self) -> u64 {
        self.0 / KEYS_PER_BLOCK
    }

    fn slot(self) -> usize {
        (self.0 % KEYS_PER_BLOCK) as usize
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The key was destroyed on purpose. What it sealed is gone.
    #[error("key {id} was destroyed")]
    Destroyed {
        /// The key asked for.
        id: KeyId,
    },
    /// There is no such key, and there never was.
    #[error("there is no key {id}")]
    Unknown {
        /// The key asked for.
        id: KeyId,
    },
    /// The key's bytes are not what was written. A backup of its block brings it back.
    #[error("key {id} is damaged")]
    Damaged {
        /// The key asked for.
        id: KeyId,
    },
    /// The block could not be read or written.
    #[error("the key ring could not be read or written")]
    Io(#[from] io::Error),
}

/// Why a key ring does not open.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// The newest block was not made with this node key (or its head is damaged). Nothing sealed could be opened.
    #[error("key block {block} was not made with this node key, or is damaged")]
    WrongNodeKey {
        /// The block's number.
        block: u64,
    },
    /// The newest block has a form this program does not know.
    #[error("key block {block} was written by a later version (form {version})")]
    Version {
        /// The block's number.
        block: u64,
        /// The version it names.
        version: u32,
    },
    /// The folder could not be read.
    #[error("the key ring could not be read")]
    Io(#[from] io::Error),
}

/// Hands out, finds and destroys data keys. Shared between threads by reference.
pub struct KeyRing {
    files: Arc<dyn Files>,
    root: NodeKey,
    /// The number of the next block. Who holds it may write blocks.
    writing: Mutex<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The block keys are handed out from, and the next slot in it.
    current: Option<(Arc<Block>, usize)>,
    /// The block after that, if it has been made already.
    spare: Option<Arc<Block>>,
    /// Blocks as they are on disk, the least recently used first.
    cache: VecDeque<Arc<Block>>,
    /// Blocks that were written anew. Who read one before the last of them must not remember it: a key may be gone since.
    rewritten: u64,
}

impl KeyRing {
    /// Opens the key ring in `files`, which is a folder of its own. Nothing is written, except that leftovers are removed.
    ///
    /// # Errors
    /// See [`KeyRingError`].
    pub fn open(files: Arc<dyn Files>, node: &NodeKey) -> Result<Self, KeyRingError> {
        let root = NodeKey::from_bytes(node.derive("key ring"));
        let mut newest = None;
        for name in files.list()? {
            if name.strip_suffix(TEMPORARY).is_some_and(|name| parse_name(name).is_some()) {
                files.remove(&name)?;
            }
            newest = newest.max(parse_name(&name));
        }
        if let Some(block) = newest {
            let bytes = read_whole(&*files, &block_name(block), BLOCK as u64)?;
            // Looked at before the node key, which cannot be tried on a form that is not known.
            if let Some(version) = Block::later_version(&bytes) {
                return Err(KeyRingError::Version { block, version });
            }
            Block::parse(&root, block, bytes).ok_or(KeyRingError::WrongNodeKey { block })?;
        }
        // Counting from 1 leaves the ids below 1,024 unused, zero among them.
        let writing = Mutex::new(newest.map_or(1, |newest| newest + 1));
        Ok(Self { files, root, writing, state: Mutex::default() })
    }

    /// Hands out a key that was never handed out before, and that can be found again by its id after any crash.
    ///
    /// Once in 1,024 times it has to make a block, with two syncs, unless [`KeyRing::prepare`] has done so.
    ///
    /// # Errors
    /// A block had to be made and could not be. No key was handed out.
    pub fn next(&self) -> io::Result<(KeyId, DataKey)> {
        loop {
            if let Some(handed_out) = self.take() {
                return Ok(handed_out);
            }
            self.prepare()?;
        }
    }

    /// Makes the next block of keys if fewer than half a block are left. To be called off the hot path, now and then.
    ///
    /// # Errors
    /// The block could not be made. What there is can still be handed out.
    pub fn prepare(&self) -> io::Result<()> {
        let mut next_block = lock(&self.writing);
        {
            let state = lock(&self.state);
            let enough = |(_, slot): &(Arc<Block>, usize)| *slot <= KEYS_PER_BLOCK as usize / 2;
            if state.spare.is_some() || state.current.as_ref().is_some_and(enough) {
                return Ok(());
            }
        }
        let number = *next_block;
        // Also if making it fails: the file may be there.
        *next_block += 1;
        let block = Arc::new(Block::make(&self.root, number));
        publish(&*self.files, &block_name(number), [&block.bytes[..]])?;
        let mut state = lock(&self.state);
        state.remember(Arc::clone(&block));
        match &state.current {
            Some((current, slot)) if *slot < current.slots() => state.spare = Some(block),
            _ => state.current = Some((block, 0)),
        }
        Ok(())
    }

    /// Finds a key by its id.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn get(&self, id: KeyId) -> Result<DataKey, KeyError> {
        let block = self.block(id)?;
        match block.key(id.slot()) {
            Slot::Key(secret) => Ok(DataKey::new(secret)),
            Slot::Destroyed => Err(KeyError::Destroyed { id }),
            Slot::Damaged => Err(KeyError::Damaged { id }),
        }
    }

    /// A keyed hash (HMAC-SHA256) of `text` for one purpose: equal for equal texts, and of use to nobody without the node's key. It
    /// is for telling equal things apart from others where the things themselves must not be told.
    #[must_use]
    pub fn keyed_hash(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.root.derive(&format!("keyed hash: {purpose}")));
        hmac::sign(&key, text).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Destroys a key: everything it sealed, wherever it lies, can no longer be opened. Destroying it again changes nothing.
    ///
    /// When this returns `Ok` the key stays destroyed after any crash. (A [`DataKey`] in someone's hands works until dropped.)
    ///
    /// # Errors
    /// `Unknown` for a key that does not exist; `Io`, after which the key may or may not be destroyed: call again.
    pub fn destroy(&self, id: KeyId) -> Result<(), KeyError> {
        let _writing = lock(&self.writing);
        // Never from memory: what is written back is what is on disk, without the one key.
        let block = self.read(id)?;
        if let Slot::Destroyed = block.key(id.slot()) {
            // Perhaps by a call that failed, or a process that was killed, before the last step.
            return Ok(self.files.sync_dir()?);
        }
        let block = Arc::new(block.without(id.slot()));
        let published = publish(&*self.files, &block_name(block.number), [&block.bytes[..]]);
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        // Also after a failure: the block may be in force already, so the next `get` reads what is on disk, whatever that is.
        state.rewritten += 1;
        state.cache.retain(|cached| cached.number != block.number);
        published?;
        for held in [state.spare.as_mut(), state.current.as_mut().map(|(current, _)| current)].into_iter().flatten() {
            if held.number == block.number {
                *held = Arc::clone(&block);
            }
        }
        state.remember(block);
        Ok(())
    }

    fn take(&self) -> Option<(KeyId, DataKey)> {
        let mut state = lock(&self.state);
        loop {
            let (block, slot) = state.current.as_mut()?;
            if *slot == block.slots() {
                state.current = state.spare.take().map(|block| (block, 0));
                continue;
            }
            let id = KeyId(block.number * KEYS_PER_BLOCK + *slot as u64);
            let key = block.key(*slot);
            *slot += 1;
            // A key destroyed before it was handed out is passed over.
            if let Slot::Key(secret) = key {
                return Some((id, DataKey::new(secret)));
            }
        }
    }

    fn block(&self, id: KeyId) -> Result<Arc<Block>, KeyError> {
        let rewritten = {
            let mut state = lock(&self.state);
            if let Some(block) = state.recall(id.block()) {
                return Ok(block);
            }
            state.rewritten
        };
        let block = Arc::new(self.read(id)?);
        let mut state = lock(&self.state);
        // Otherwise this may be the block from before, with a key that was destroyed while we read.
        if state.rewritten == rewritten {
            state.remember(Arc::clone(&block));
        }
        Ok(block)
    }

    /// The block of `id` as it is on disk.
    fn read(&self, id: KeyId) -> Result<Block, KeyError> {
        let number = id.block();
        let bytes = match read_whole(&*self.files, &block_name(number), BLOCK as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyError::Unknown { id }),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(KeyError::Damaged { id }),
            Err(error) => return Err(error.into()),
        };
        Block::parse(&self.root, number, bytes).ok_or(KeyError::Damaged { id })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

impl State {
    fn recall(&mut self, number: u64) -> Option<Arc<Block>> {
        let at = self.cache.iter().position(|block| block.number == number)?;
        let block = self.cache.remove(at)?;
        self.cache.push_back(Arc::clone(&block));
        Some(block)
    }

    fn remember(&mut self, block: Arc<Block>) {
        self.cache.retain(|cached| cached.number != block.number);
        if self.cache.len() == CACHED_BLOCKS {
            self.cache.pop_front();
        }
        self.cache.push_back(block);
    }
}

/// A block as it is on disk, keys wrapped, and the key that unwraps them.
struct Block {
    number: u64,
    bytes: Vec<u8>,
    cipher: Arc<LessSafeKey>,
}

enum Slot {
    Key(Zeroizing<[u8; KEY]>),
    Destroyed,
    Damaged,
}

/// What a sealed part of a block is, bound into its tag with the block's number and its slot.
#[derive(Clone, Copy)]
enum Part {
    Head = 0,
    Key = 1,
    Destroyed = 2,
}

impl Block {
    /// Makes a block of fresh keys.
    fn make(root: &NodeKey, number: u64) -> Self {
        let mut block = Self { number, bytes: vec![0; BLOCK], cipher: block_cipher(root, number) };
        block.bytes[0..8].copy_from_slice(&MAGIC);
        block.bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block.bytes[12..16].copy_from_slice(&(KEYS_PER_BLOCK as u32).to_le_bytes());
        block.bytes[16..24].copy_from_slice(&number.to_le_bytes());
        let (nonce, tag) = block.seal(Part::Head, 0, &mut []);
        block.bytes[24..36].copy_from_slice(&nonce);
        block.bytes[36..52].copy_from_slice(&tag);
        for slot in 0..block.slots() {
            let mut secret = Zeroizing::new(random::<KEY>());
            let (nonce, tag) = block.seal(Part::Key, slot, &mut *secret);
            block.set(slot, &nonce, &secret, &tag);
        }
        block
    }

    /// The version of a block that is of none this program knows.
    fn later_version(bytes: &[u8]) -> Option<u32> {
        let is_block = bytes.len() >= HEAD && bytes[0..8] == MAGIC;
        is_block.then(|| u32_at(bytes, 8)).filter(|version| *version > VERSION)
    }

    /// Reads a block, or says that it is none of this ring.
    fn parse(root: &NodeKey, number: u64, bytes: Vec<u8>) -> Option<Self> {
        let known = bytes.len() == BLOCK
            && bytes[0..8] == MAGIC
            && u32_at(&bytes, 8) == VERSION
            && u64::from(u32_at(&bytes, 12)) == KEYS_PER_BLOCK
            && u64_at(&bytes, 16) == number;
        if !known {
            return None;
        }
        let block = Self { number, bytes, cipher: block_cipher(root, number) };
        block.open(Part::Head, 0, &block.bytes[24..36], &mut block.bytes[36..52].to_vec())?;
        Some(block)
    }

    fn slots(&self) -> usize {
        KEYS_PER_BLOCK as usize
    }

    fn key(&self, slot: usize) -> Slot {
        let bytes = &self.bytes[HEAD + slot * SLOT..][..SLOT];
        let (nonce, wrapped) = bytes.split_at(NONCE);
        let mut opened = Zeroizing::new(wrapped.to_vec());
        if let Some(secret) = self.open(Part::Key, slot, nonce, &mut opened) {
            let mut key = Zeroizing::new([0; KEY]);
            key.copy_from_slice(secret);
            return Slot::Key(key);
        }
        let (zeros, tag) = wrapped.split_at(KEY);
        let destroyed =
            zeros.iter().all(|byte| *byte == 0) && self.open(Part::Destroyed, slot, nonce, &mut tag.to_vec()).is_some();
        if destroyed { Slot::Destroyed } else { Slot::Damaged }
    }

    /// The block with one key destroyed.
    fn without(&self, slot: usize) -> Self {
        let mut block = Self { number: self.number, bytes: self.bytes.clone(), cipher: Arc::clone(&self.cipher) };
        let (nonce, tag) = block.seal(Part::Destroyed, slot, &mut []);
        block.set(slot, &nonce, &[0; KEY], &tag);
        block
    }

    fn set(&mut self, slot: usize, nonce: &[u8], wrapped: &[u8; KEY], tag: &[u8]) {
        let bytes = &mut self.bytes[HEAD + slot * SLOT..][..SLOT];
        bytes[..NONCE].copy_from_slice(nonce);
        bytes[NONCE..NONCE + KEY].copy_from_slice(wrapped);
        bytes[NONCE + KEY..].copy_from_slice(tag);
    }

    fn seal(&self, part: Part, slot: usize, content: &mut [u8]) -> ([u8; NONCE], [u8; TAG]) {
        let nonce = random::<NONCE>();
        let sealed = self
            .cipher
            .seal_in_place_separate_tag(take_nonce(&nonce), Aad::from(self.context(part, slot)), content)
            .expect("a key is shorter than AES-GCM's limit");
        let mut tag = [0; TAG];
        tag.copy_from_slice(sealed.as_ref());
        (nonce, tag)
    }

    fn open<'a>(&self, part: Part, slot: usize, nonce: &[u8], sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        self.cipher
            .open_in_place(take_nonce(nonce), Aad::from(self.context(part, slot)), sealed)
            .ok()
            .map(|opened| &*opened)
    }

    fn context(&self, part: Part, slot: usize) -> [u8; 17] {
        let mut context = [0; 17];
        context[0] = part as u8;
        context[1..9].copy_from_slice(&self.number.to_le_bytes());
        context[9..17].copy_from_slice(&(slot as u64).to_le_bytes());
        context
    }
}

/// A key for each block, so that no wrapping key ever meets more than a few thousand random nonces.
fn block_cipher(root: &NodeKey, number: u64) -> Arc<LessSafeKey> {
    Arc::new(cipher(&root.derive(&format!("block {number}"))))
}

fn block_name(number: u64) -> String {
    format!("{number:08}.keys")
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".keys")?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::files::{AppendFile, ReadFile};
    use crate::testing::{Disk, Fault};

    fn node() -> NodeKey {
        NodeKey::from_bytes(Zeroizing::new([3; 32]))
    }

    fn ring(disk: &Disk) -> KeyRing {
        KeyRing::open(disk.files(), &node()).unwrap()
    }

    #[test]
    fn ids_are_never_given_twice_and_keys_are_found_again() {
        let mut disk = Disk::new();
        let mut ids = HashSet::new();
        let mut sealed = Vec::new();
        for life in 0..3 {
            let ring = ring(&disk);
            for _ in 0..KEYS_PER_BLOCK + 5 {
                let (id, key) = ring.next().unwrap();
                assert!(ids.insert(id), "{id} twice");
                sealed.push((id, key.seal(b"", &id.0.to_le_bytes())));
            }
            disk = if life == 0 { disk.killed() } else { disk.power_cut_dropping_all() };
        }
        let ring = ring(&disk);
        for (id, sealed) in sealed {
            assert_eq!(ring.get(id).unwrap().open(b"", &sealed).unwrap(), id.0.to_le_bytes());
        }
        assert_eq!(disk.names().len(), 6, "two blocks a life, and none for opening");
    }

    #[test]
    fn handing_out_syncs_only_once_a_block_and_not_at_all_if_prepared() {
        let disk = Disk::new();
        let ring = ring(&disk);
        ring.next().unwrap();
        let operations = disk.operations();
        for _ in 1..KEYS_PER_BLOCK {
            ring.next().unwrap();
        }
        assert_eq!(disk.operations(), operations);
        ring.prepare().unwrap();
        for _ in 0..=KEYS_PER_BLOCK / 2 {
            ring.next().unwrap();
        }
        ring.prepare().unwrap();
        ring.prepare().unwrap();
        let prepared = disk.operations();
        assert_eq!(disk.names().len(), 3);
        for _ in 0..KEYS_PER_BLOCK {
            ring.next().unwrap();
        }
        assert_eq!(disk.operations(), prepared);
    }

    #[test]
    fn no_crash_takes_a_key_that_was_handed_out() {
        let disk = Disk::new();
        let ring_before = ring(&disk);
        let (id, key) = ring_before.next().unwrap();
        let sealed = key.seal(b"", b"content");
        for crashed in disk.power_cuts() {
            assert_eq!(ring(&crashed).get(id).unwrap().open(b"", &sealed).unwrap(), b"content");
        }
        for operations in 0..disk.operations() {
            for crashed in disk.killed_after(operations).power_cuts() {
                ring(&crashed).next().unwrap();
            }
        }
    }

    #[test]
    fn a_destroyed_key_stays_destroyed_and_its_neighbours_live() {
        let disk = Disk::new();
        let before = ring(&disk);
        let [(first, _), (second, _), (third, kept)] = [(); 3].map(|()| before.next().unwrap());
        let sealed = kept.seal(b"", b"kept");
        let made = disk.killed();
        let after = ring(&made);
        after.destroy(second).unwrap();
        assert!(matches!(after.get(second), Err(KeyError::Destroyed { id }) if id == second));
        let destroyed = made.operations();
        after.destroy(second).unwrap();
        for operations in 0..=made.operations() {
            for crashed in made.killed_after(operations).power_cuts() {
                let ring = ring(&crashed);
                match ring.get(second) {
                    Ok(_) => assert!(operations < destroyed, "it came back"),
                    Err(KeyError::Destroyed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                ring.get(first).unwrap();
                assert_eq!(ring.get(third).unwrap().open(b"", &sealed).unwrap(), b"kept");
            }
        }
    }

    #[test]
    fn destroying_again_after_a_failure_makes_it_last() {
        let disk = Disk::new();
        let before = ring(&disk);
        let (id, _) = before.next().unwrap();
        // Removing nothing, a destruction takes five operations: create, append, sync, rename, sync of the folder.
        for failing in 0..5 {
            let disk = disk.killed();
            let ring_now = ring(&disk);
            disk.fail_after(failing, Fault::Full);
            assert!(ring_now.destroy(id).is_err(), "operation {failing}");
            ring_now.destroy(id).unwrap();
            let cut = disk.power_cut_dropping_all();
            assert!(matches!(ring(&cut).get(id), Err(KeyError::Destroyed { .. })), "after failure {failing}");
        }
    }

    /// A disk on which something happens right after a file was opened for reading.
    struct Meanwhile {
        disk: Disk,
        happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl Files for Meanwhile {
        fn list(&self) -> io::Result<Vec<String>> {
            self.disk.list()
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
            self.disk.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
            let file = self.disk.open(name)?;
            let happens = lock(&self.happens).take();
            if let Some(happens) = happens {
                happens();
            }
            Ok(file)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }

        fn sync_dir(&self) -> io::Result<()> {
            self.disk.sync_dir()
        }
    }

    #[test]
    fn who_read_a_block_before_a_key_of_it_was_destroyed_does_not_bring_the_key_back() {
        // Also if the destruction fails once the block has its name: it is in force, only not yet for certain.
        for fails_at in [None, Some(4)] {
            let disk = Disk::new();
            let before = ring(&disk);
            let [(first, _), (second, _), (third, _)] = [(); 3].map(|()| before.next().unwrap());
            let files = Arc::new(Meanwhile { disk: disk.clone(), happens: Mutex::default() });
            let after = Arc::new(KeyRing::open(files.clone(), &node()).unwrap());
            let destroying = Arc::clone(&after);
            let failing = disk.clone();
            *lock(&files.happens) = Some(Box::new(move || {
                if let Some(operation) = fails_at {
                    failing.fail_after(operation, Fault::Error);
                }
                assert_eq!(destroying.destroy(first).is_err(), fails_at.is_some());
            }));
            after.get(third).unwrap();
            assert!(lock(&files.happens).is_none(), "it was destroyed while the block was read");
            assert!(matches!(after.get(first), Err(KeyError::Destroyed { .. })), "read as it was before");
            after.destroy(second).unwrap();
            for ring in [&*after, &ring(&disk)] {
                assert!(
                    matches!(ring.get(first), Err(KeyError::Destroyed { .. })),
                    "the next destruction wrote it back"
                );
                assert!(matches!(ring.get(second), Err(KeyError::Destroyed { .. })));
                ring.get(third).unwrap();
            }
        }
    }

    #[test]
    fn a_block_is_destroyed_from_as_it_lies_on_the_disk() {
        // Whatever is held in memory, e.g. a block that a failed destruction has left, is not what is written back.
        let disk = Disk::new();
        let [held, other] = [ring(&disk), ring(&disk)];
        let [(first, _), (second, _)] = [(); 2].map(|()| held.next().unwrap());
        other.destroy(first).unwrap();
        held.destroy(second).unwrap();
        assert!(matches!(ring(&disk).get(first), Err(KeyError::Destroyed { .. })));
        assert!(matches!(held.get(first), Err(KeyError::Destroyed { .. })));
    }

    #[test]
    fn a_key_destroyed_before_it_was_handed_out_is_passed_over() {
        let ring = ring(&Disk::new());
        let (id, _) = ring.next().unwrap();
        ring.destroy(KeyId(id.0 + 1)).unwrap();
        assert_eq!(ring.next().unwrap().0, KeyId(id.0 + 2));
    }

    #[test]
    fn damage_is_told_from_destruction_and_from_what_never_was() {
        let disk = Disk::new();
        let before = ring(&disk);
        let (id, _) = before.next().unwrap();
        let (next, _) = before.next().unwrap();
        let name = block_name(id.block());
        disk.tamper(&name, |bytes| bytes[HEAD..HEAD + SLOT].fill(0));
        let after = ring(&disk);
        assert!(matches!(after.get(id), Err(KeyError::Damaged { .. })), "zeros are no destruction");
        after.get(next).unwrap();
        assert!(matches!(after.get(KeyId(id.0 + 50 * KEYS_PER_BLOCK)), Err(KeyError::Unknown { .. })));
        // A slot moved to another place does not pass for the key that was there.
        disk.tamper(&name, |bytes| bytes.copy_within(HEAD + SLOT..HEAD + 2 * SLOT, HEAD));
        assert!(matches!(ring(&disk).get(id), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn another_node_key_is_refused_at_once() {
        let disk = Disk::new();
        ring(&disk).next().unwrap();
        let other = NodeKey::from_bytes(Zeroizing::new([4; 32]));
        assert!(matches!(KeyRing::open(disk.files(), &other), Err(KeyRingError::WrongNodeKey { block: 1 })));
    }

    #[test]
    fn a_block_of_a_later_version_is_told_from_a_damaged_one() {
        let disk = Disk::new();
        ring(&disk).next().unwrap();
        disk.tamper(&block_name(1), |bytes| bytes[8] = 2);
        let error = KeyRing::open(disk.files(), &node()).unwrap_err();
        assert!(matches!(error, KeyRingError::Version { block: 1, version: 2 }));
        assert!(error.to_string().contains("written by a later version"), "{error}");
        disk.tamper(&block_name(1), |bytes| bytes[8] = 0);
        assert!(matches!(KeyRing::open(disk.files(), &node()), Err(KeyRingError::WrongNodeKey { .. })));
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_the_least_used() {
        let root = node();
        let mut state = State::default();
        let block = |number| Arc::new(Block { number, bytes: Vec::new(), cipher: block_cipher(&root, number) });
        for number in 0..CACHED_BLOCKS as u64 {
            state.remember(block(number));
        }
        state.recall(0).unwrap();
        state.remember(block(1_000));
        assert_eq!(state.cache.len(), CACHED_BLOCKS);
        assert!(state.recall(0).is_some() && state.recall(1).is_none());
    }
}

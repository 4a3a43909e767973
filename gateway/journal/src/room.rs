//! How much room a disk has left, and acting before there is none.
//!
//! A write that finds the disk full is a failed write: the journal is poisoned until it is opened again. So whoever writes asks
//! here first, and stops taking things in while there is still room. Two levels: below `min_free` nothing new is begun; what
//! only ends things (an acknowledgement, a note that something was handed over) goes on until a quarter of that is left. With
//! some room more than `min_free` it ends by itself, because nothing has failed.
//!
//! Opening a journal writes too, a little, and others fill disks as well. So a file of zeros is kept in reserve, and given up when the
//! folder is opened on a disk that is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was seen is taken for true. Asking costs the system a microsecond; a disk fills by megabytes in this time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most that is kept in reserve: more than the longest unfinished tail that opening copies, and what an index writes when it
/// is opened.
const RESERVE_BYTES: u64 = 16 << 20;

/// The name of the reserve.
const RESERVE: &str = "reserve";

/// There is too little room to begin something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the disk is nearly full: {free_bytes} bytes are free, {needed_bytes} must be")]
pub struct Shortage {
    /// What is free, for an ordinary user.
    pub free_bytes: u64,
    /// What must be free before anything is begun again.
    pub needed_bytes: u64,
}

/// The room in one folder's file system.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    min_free: u64,
    /// Kept in reserve; 0 for none.
    reserve: u64,
    looked: Mutex<Looked>,
}

#[derive(Debug, Default)]
struct Looked {
    at: Option<Instant>,
    free: u64,
    is_low: bool,
    /// Whether the reserve is in place.
    reserved: bool,
}

impl Room {
    /// Watches the file system of `folder`, of which `min_free` bytes shall stay free; 0 watches nothing.
    pub fn watch(folder: impl Into<PathBuf>, min_free: u64) -> Self {
        Self { folder: folder.into(), min_free, reserve: 0, looked: Mutex::default() }
    }

    /// As [`Room::watch`], with a reserve, which is given up here and now if the disk is full. To be called before anything in the
    /// folder is opened.
    ///
    /// # Errors
    /// The reserve is there and cannot be removed. Opening may yet succeed without.
    pub fn reserve(folder: impl Into<PathBuf>, min_free: u64) -> io::Result<Self> {
        let mut room = Self::watch(folder, min_free);
        room.reserve = RESERVE_BYTES.min(min_free / 4);
        give_up(&room)?;
        Ok(room)
    }

    /// Asks whether something new may be begun.
    ///
    /// # Errors
    /// The disk is nearly full. It may be asked again at any time.
    pub fn for_more(&self) -> Result<(), Shortage> {
        let looked = self.look();
        if looked.1 { Err(self.shortage(looked.0)) } else { Ok(()) }
    }

    /// Asks whether something may be written that only ends what was begun.
    ///
    /// # Errors
    /// The disk is as good as full.
    pub fn for_the_end(&self) -> Result<(), Shortage> {
        let (free, is_low) = self.look();
        if is_low && free < self.min_free / 4 { Err(self.shortage(free)) } else { Ok(()) }
    }

    fn shortage(&self, free_bytes: u64) -> Shortage {
        Shortage { free_bytes, needed_bytes: self.enough() }
    }

    /// Somewhat more than the least, so that it does not go to and fro.
    fn enough(&self) -> u64 {
        self.min_free.saturating_add(self.min_free / 8)
    }

    fn look(&self) -> (u64, bool) {
        if self.min_free == 0 {
            return (u64::MAX, false);
        }
        // Nothing panics while it holds the lock.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            looked.at = Some(Instant::now());
            // A file system that does not say how full it is cannot be watched; writing to it says the rest.
            looked.free = free_bytes(&self.folder).unwrap_or(u64::MAX);
            looked.is_low = looked.free < if looked.is_low { self.enough() } else { self.min_free };
            if !looked.is_low && !looked.reserved && self.reserve > 0 {
                // Without it the next opening may need an operator; nothing else does.
                looked.reserved = set_aside(&self.folder.join(RESERVE), self.reserve).is_ok();
            }
        }
        (looked.free, looked.is_low)
    }
}

/// Gives the reserve up if the disk has less room than that; whether it did.
fn give_up(room: &Room) -> io::Result<bool> {
    let file = room.folder.join(RESERVE);
    let is_full = file.exists() && free_bytes(&room.folder).is_ok_and(|free| free < room.reserve);
    if is_full {
        fs::remove_file(file)?;
    }
    Ok(is_full)
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Makes a file of `bytes` that really takes that much of the disk.
fn set_aside(path: &Path, bytes: u64) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() >= bytes) {
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let allocated = match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // Not every file system can promise room without writing.
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&mut file, bytes),
        other => other.map_err(io::Error::from),
    };
    allocated.inspect_err(|_| drop(fs::remove_file(path)))
}

fn write_zeros(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        file.write_all(&zeros[..now as usize])?;
        left -= now;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forgets what was seen, as time does.
    fn later(room: &Room) {
        room.looked.lock().unwrap().at = None;
    }

    fn room(folder: &Path, min_free: u64) -> Room {
        Room::watch(folder, min_free)
    }

    #[test]
    fn below_the_mark_nothing_is_begun_and_what_was_begun_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap();
        let enough = room(folder.path(), free / 2);
        assert_eq!((enough.for_more(), enough.for_the_end()), (Ok(()), Ok(())));
        let low = room(folder.path(), free * 2);
        let shortage = low.for_more().unwrap_err();
        assert_eq!(shortage.needed_bytes, free * 2 + free / 4);
        assert!(shortage.free_bytes < free * 2);
        assert_eq!(low.for_the_end(), Ok(()));
        let full = room(folder.path(), free * 8);
        assert!(full.for_more().is_err() && full.for_the_end().is_err());
        assert_eq!(room(folder.path(), 0).for_more(), Ok(()));
    }

    #[test]
    fn it_ends_by_itself_with_room_to_spare_and_not_at_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap();
        let mut room = room(folder.path(), free * 2);
        assert!(room.for_more().is_err());
        // Just above the mark is not enough, once it was below.
        room.min_free = free - free / 16;
        later(&room);
        assert!(room.for_more().is_err());
        room.min_free = free / 2;
        later(&room);
        assert_eq!(room.for_more(), Ok(()));
    }

    #[test]
    fn what_was_seen_holds_for_a_moment_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut room = room(folder.path(), 1);
        assert_eq!(room.for_more(), Ok(()));
        room.min_free = u64::MAX / 2;
        assert_eq!(room.for_more(), Ok(()));
        later(&room);
        assert!(room.for_more().is_err());
    }

    #[test]
    fn the_reserve_is_set_aside_while_there_is_room_and_given_up_on_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = folder.path().join(RESERVE);
        let room = Room::reserve(folder.path(), 4096 * 4).unwrap();
        assert!(!reserve.exists());
        room.for_more().unwrap();
        assert_eq!(fs::metadata(&reserve).unwrap().len(), 4096);
        let _ = Room::reserve(folder.path(), 4096 * 4).unwrap();
        assert!(reserve.exists(), "there is room");
        // As on a disk with less room than the reserve has.
        let mut short = Room::watch(folder.path(), 1);
        short.reserve = u64::MAX;
        assert!(give_up(&short).unwrap());
        assert!(!reserve.exists());
    }
}

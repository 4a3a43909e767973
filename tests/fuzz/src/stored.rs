//! What is read back from disks, backups and archives.

use std::io;

use lgsp_gateway::archive::Archive;
use lgsp_journal::files::ReadFile;
use lgsp_journal::seal::{KeyRing, NodeKey};
use lgsp_journal::testing::Disk;
use lgsp_journal::{Options, Position};

/// A record of the gateway's journal, whose check sums hold.
pub(crate) fn record(bytes: &[u8]) {
    lgsp_gateway::store::fuzz::record(bytes);
}

/// The entries of a snapshot of the gateway's index, whose check sum holds.
pub(crate) fn index_snapshot(bytes: &[u8]) {
    lgsp_gateway::store::fuzz::index_snapshot(bytes);
}

/// A record of an adapter's spool that opened with its key.
pub(crate) fn spool_record(bytes: &[u8]) {
    lgsp_adapters::fuzz::spool_record(bytes);
}

/// A journal of one segment: looked at, then opened and read as far as it goes.
pub(crate) fn journal(bytes: &[u8]) {
    let disk = disk_with("0000000001.seg", bytes);
    let _ = lgsp_journal::verify(&*disk.files(), &mut |_| {});
    if let Ok(opened) = lgsp_journal::open(disk.files(), Options::default()) {
        for record in opened.reader.replay(Position(0)) {
            if record.is_err() {
                break;
            }
        }
    }
}

/// A block of sealed keys.
pub(crate) fn key_ring(bytes: &[u8]) {
    let disk = disk_with("00000001.keys", bytes);
    let _ = KeyRing::open(disk.files(), &NodeKey::from_bytes([7; 32].into()));
}

/// An archive file.
pub(crate) fn archive(bytes: &[u8]) {
    if let Ok(archive) = Archive::read(Box::new(Bytes(bytes.to_vec()))) {
        let _ = archive.verify();
    }
}

/// A backup's manifest.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    lgsp_gateway::backup::fuzz_manifest(text);
}

fn disk_with(name: &str, bytes: &[u8]) -> Disk {
    let disk = Disk::new();
    drop(disk.files().create(name).expect("an empty disk has room"));
    disk.tamper(name, |content| content.extend_from_slice(bytes));
    disk
}

/// A file that is in memory.
struct Bytes(Vec<u8>);

impl ReadFile for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let read = buffer.len().min(self.0.len() - from);
        buffer[..read].copy_from_slice(&self.0[from..from + read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

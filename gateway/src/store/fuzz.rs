//! What is read back of the journal, as a function of bytes: what a fuzzer may try without a folder.

use lgsp_proto::store_v1::Record;
use prost::Message as _;

use super::codec::Fact;
use super::snapshot;

/// Walks the entries of a snapshot of the index whose check sum holds.
pub fn index_snapshot(bytes: &[u8]) {
    for entry in snapshot::fuzz::of_entries(bytes.to_vec()).entries() {
        let Ok((key, value)) = entry else { return };
        // What an entry says it holds is in the file.
        assert!(key.len() + value.len() + 8 <= bytes.len());
    }
}

/// Reads a record whose check sums hold.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        drop(Fact::read(&record));
    }
}

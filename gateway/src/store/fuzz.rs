//! What is read back of the journal, as a function of bytes: what a fuzzer may try without a folder.

use lgsp_proto::store_v1::Record;
use prost::Message as _;

use super::codec::Fact;

/// Reads a record whose check sums hold.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        drop(Fact::read(&record));
    }
}

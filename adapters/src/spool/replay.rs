//! From the journal to the state, at every start; and writing the unfinished again, so that the finished can go.

use std::collections::HashMap;

use lgsp_journal::{Position, ReadError, Reader, Writer};
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::types::PartyId;
use prost::Message;

use super::opening::OpenError;
use super::records;
use super::seal::SpoolKey;
use super::state::State;

/// Why a record cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The journal does not give it.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// It was sealed with another key, or changed.
    #[error("record {0} was not sealed with this spool's key")]
    Seal(Position),
    /// A later version wrote it.
    #[error("record {0} was written by a later version")]
    Unknown(Position),
}

/// The record at `position`.
///
/// # Errors
/// See [`RecordError`].
pub(super) fn read(reader: &Reader, key: &SpoolKey, position: Position) -> Result<stored::SpoolRecord, RecordError> {
    open_record(key, position, &reader.read(position)?)
}

fn open_record(key: &SpoolKey, position: Position, sealed: &[u8]) -> Result<stored::SpoolRecord, RecordError> {
    let plain = key.open_record(sealed).ok_or(RecordError::Seal(position))?;
    stored::SpoolRecord::decode(&plain[..]).map_err(|_| RecordError::Unknown(position))
}

/// What the journal says from `from` on, and from where on it had to be read.
pub(super) fn replay(
    reader: &Reader,
    key: &SpoolKey,
    places: &HashMap<PartyId, usize>,
    from: Position,
) -> Result<(State, Position), RecordError> {
    let mut from = from.max(reader.first());
    'again: loop {
        let mut state = State::new(places);
        for record in reader.replay(from) {
            let (position, sealed) = record?;
            let record = open_record(key, position, &sealed)?;
            if let Some(Kind::Restated(restated)) = &record.kind
                && Position(restated.first_position) > from
            {
                from = Position(restated.first_position);
                continue 'again;
            }
            let change = records::change(&record).map_err(|_| RecordError::Unknown(position))?;
            state.apply(position, &change);
        }
        return Ok((state, from));
    }
}

/// Writes the needed records again, in order, behind the `marks` that stand for many finished ones, and says where they begin.
///
/// Only the mark at the end makes them count alone; until it is durable the old ones do.
pub(super) fn restate(
    writer: &mut Writer,
    reader: &Reader,
    key: &SpoolKey,
    needed: &[Position],
    marks: Vec<Kind>,
) -> Result<Position, OpenError> {
    let first = writer.next();
    let seal = |kind| key.seal_record(&stored::SpoolRecord { kind: Some(kind) }.encode_to_vec());
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for some in marks.into_iter().map(seal).collect::<Vec<_>>().chunks(1000) {
        writer.append(some)?;
    }
    for position in needed {
        let record = reader.read(*position).map_err(RecordError::from)?;
        bytes += record.len();
        batch.push(record);
        if bytes >= 1 << 20 || batch.len() >= 1000 {
            writer.append(&batch)?;
            batch.clear();
            bytes = 0;
        }
    }
    batch.push(seal(Kind::Restated(stored::Restated { first_position: first.0 })));
    writer.append(&batch)?;
    Ok(first)
}

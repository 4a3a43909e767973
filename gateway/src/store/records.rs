//! Records of the journal as the readers of it need them: decoded, and opened with the dossier's key.

use bytes::Bytes;
use lgsp_journal::Position;
use lgsp_journal::seal::{DataKey, KeyError, KeyId, KeyRing};
use lgsp_proto::store_v1::{self, Record};
use prost::Message;

use super::codec::{self, Fact, Unreadable};
use super::{Bodies, Queried, QueryRecord, ReadError, Recorded};

/// The record at `position`, and what it states.
///
/// # Errors
/// It is damaged, or a later version wrote it.
pub(super) fn decode(position: Position, bytes: &[u8]) -> Result<(Record, Fact), ReadError> {
    let record = Record::decode(bytes).map_err(|_| unreadable(position, Unreadable("record")))?;
    // Of a kind it does not know, the generated code makes none.
    if record.kind.is_none() && !bytes.is_empty() {
        return Err(ReadError::Later { position: position.0 });
    }
    let fact = Fact::read(&record).map_err(|error| unreadable(position, error))?;
    Ok((record, fact))
}

/// An admission as its readers get it.
///
/// # Errors
/// A field cannot be read, or the body does not open although its key is there.
pub(super) fn recorded(
    position: Position,
    mut stored: store_v1::Admission,
    keys: &KeyRing,
    bodies: Bodies,
) -> Result<Recorded, ReadError> {
    let sealed = std::mem::take(&mut stored.sealed_body);
    let (body, erased) = match bodies {
        Bodies::Without => (None, matches!(keys.get(KeyId(stored.key_id)), Err(KeyError::Destroyed { .. }))),
        Bodies::With => {
            let body = open_body(position, &stored, &sealed, keys)?;
            let erased = body.is_none();
            (body, erased)
        }
    };
    codec::recorded(stored, body, erased).map_err(|error| unreadable(position, error))
}

/// A query as its readers get it.
///
/// # Errors
/// Its content does not open although its key is there.
pub(super) fn asked(
    position: Position,
    envelope: Queried,
    stored: store_v1::Queried,
    keys: &KeyRing,
    bodies: Bodies,
) -> Result<QueryRecord, ReadError> {
    let key = if envelope.key_id == 0 { None } else { key_of(keys, envelope.key_id)? };
    let erased = envelope.key_id != 0 && key.is_none();
    let content = match (key, bodies) {
        (Some(key), Bodies::With) => {
            let opened = key.open(&codec::queries::content_context(&envelope.id), &stored.sealed_content);
            let opened = opened.ok().and_then(|bytes| store_v1::QueryContent::decode(&bytes[..]).ok());
            let content = opened.ok_or_else(|| unreadable(position, Unreadable("sealed_content")))?;
            Some((content.payload.into(), content.reply.into()))
        }
        _ => None,
    };
    Ok(QueryRecord { position: position.0, envelope, content, erased })
}

/// The body of an admission; nothing when its key was destroyed.
fn open_body(
    position: Position,
    stored: &store_v1::Admission,
    sealed: &[u8],
    keys: &KeyRing,
) -> Result<Option<Bytes>, ReadError> {
    let Some(key) = key_of(keys, stored.key_id)? else { return Ok(None) };
    let event = stored.event.as_ref().ok_or_else(|| unreadable(position, Unreadable("event")))?;
    let context = codec::body_context(&event.dossier_code, event.sequence);
    let body = key.open(context.as_bytes(), sealed);
    body.map(|body| Some(body.into())).map_err(|_| unreadable(position, Unreadable("sealed_body")))
}

/// The data key `id`; nothing when it was destroyed.
///
/// # Errors
/// The key is damaged or was never made.
pub(super) fn key_of(keys: &KeyRing, id: u64) -> Result<Option<DataKey>, ReadError> {
    match keys.get(KeyId(id)) {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::Destroyed { .. }) => Ok(None),
        Err(KeyError::Io(error)) => Err(ReadError::Engine(error.into())),
        Err(error @ (KeyError::Unknown { .. } | KeyError::Damaged { .. })) => {
            Err(ReadError::Damaged(error.to_string()))
        }
    }
}

/// A record that could not be had.
pub(super) fn journal_failed(error: lgsp_journal::ReadError) -> ReadError {
    match error {
        lgsp_journal::ReadError::Io(error) => ReadError::Engine(error.into()),
        error => ReadError::Damaged(error.to_string()),
    }
}

/// A record whose content has no meaning.
pub(super) fn unreadable(position: Position, error: Unreadable) -> ReadError {
    ReadError::Damaged(format!("record {position}: {error}"))
}

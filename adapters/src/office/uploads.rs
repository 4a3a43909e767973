//! Documents that come in pieces, over a line that breaks off: begun, added to, complete; dropped, or forgotten after a day.
//!
//! A piece is synced before it counts. What was said at the beginning, each piece and the end are sealed files beside the documents, so
//! a restart knows them all, and they share the documents' bounds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_proto::Reason;
use lgsp_proto::types::PartyId;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Lock, OwnedMutexGuard};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Office;
use crate::digest::random;
use crate::problem::{LocalReason, Problem};
use crate::spool::{Documents, Piece, PutError, Stored, now_ms};

/// Uploads that are not complete yet, of all parties.
const MOST: usize = 64;

/// Uploads that are complete and can be asked about still, for who did not hear of it. Of more, those begun first are forgotten; their
/// documents stay.
const MOST_COMPLETE: usize = 256;

/// Pieces of one upload: a document of the largest size in requests of 100 KiB.
const MOST_PIECES: usize = 1024;

/// A piece is closed and synced when it has so much, so that no more is lost with the adapter.
pub(crate) const PIECE_BYTES: u64 = 4 << 20;

/// What was said at the beginning.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Begun {
    pub(crate) size_bytes: u64,
    pub(crate) media_type: String,
    pub(crate) file_name: Option<String>,
}

/// How far an upload has come.
pub(crate) struct Progress {
    pub(crate) begun: Begun,
    pub(crate) offset: u64,
    /// Set when the document is kept under its digest.
    pub(crate) complete: Option<Stored>,
}

/// Uploads that somebody adds to, one at a time. Who comes later is served: the earlier line may be dead and not know it.
#[derive(Default)]
pub(crate) struct Busy(Mutex<HashMap<String, Line>>);

/// The latest who wants an upload, and what whoever has it holds.
type Line = (CancellationToken, Arc<Lock<()>>);

/// The right to add to an upload.
pub(crate) struct Turn {
    /// Somebody else wants it: what came so far is to be kept, and the turn given up.
    pub(crate) over: CancellationToken,
    _held: OwnedMutexGuard<()>,
}

impl Busy {
    async fn turn(&self, name: String) -> Turn {
        let (over, lock) = {
            let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            busy.retain(|_, (_, lock)| Arc::strong_count(lock) > 1);
            let entry = busy.entry(name).or_default();
            entry.0.cancel();
            entry.0 = CancellationToken::new();
            entry.clone()
        };
        Turn { over, _held: lock.lock_owned().await }
    }
}

/// What a file of an upload holds; its place among the others is in its name.
const BEGIN: u64 = u64::MAX;
const END: u64 = u64::MAX - 1;

impl Office {
    /// Begins an upload, and gives its name. Durable when this returns.
    ///
    /// # Errors
    /// `DOCUMENT_TOO_LARGE`; `OVERLOADED`, too many are under way; the disk.
    pub(crate) async fn begin_upload(&self, party: &PartyId, begun: &Begun) -> Result<String, Problem> {
        if begun.size_bytes > self.max_document_bytes {
            return Err(self.not_kept(PutError::TooLarge));
        }
        let documents = self.spool.documents();
        if under_way(&documents.pieces("")) >= MOST {
            return Err(Problem::from(Reason::Overloaded).with_detail("too many uploads are under way"));
        }
        let id = new_id(now_ms());
        let said = serde_json::to_vec(begun).map_err(|_| Reason::Internal)?;
        self.keep_piece(documents, &name(party, &id), BEGIN, said.into()).await?;
        Ok(id)
    }

    /// How far an upload of a party has come.
    ///
    /// # Errors
    /// `UPLOAD_NOT_FOUND`; it cannot be read back.
    pub(crate) async fn upload(&self, party: &PartyId, id: &str) -> Result<Progress, Problem> {
        let documents = self.spool.documents();
        let pieces = documents.pieces(&name(party, id));
        let at = |place| pieces.iter().find(|piece| piece.at == place);
        let begun = at(BEGIN).ok_or(LocalReason::UploadNotFound)?;
        let begun: Begun = serde_json::from_slice(&read(documents, begun).await?).map_err(|_| Reason::Internal)?;
        let complete = match at(END) {
            Some(end) => {
                let sha256 = read(documents, end).await?[..].try_into().map_err(|_| Reason::Internal)?;
                Some(Stored { sha256, size_bytes: begun.size_bytes })
            }
            None => None,
        };
        let offset = if complete.is_some() { begun.size_bytes } else { in_a_row(&pieces).1 };
        Ok(Progress { begun, offset, complete })
    }

    /// The right to add to an upload, as soon as whoever had it has kept what came.
    pub(crate) async fn turn_to_upload(&self, busy: &Busy, party: &PartyId, id: &str) -> Turn {
        busy.turn(name(party, id)).await
    }

    /// Adds a piece at an offset: durable when this returns.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub(crate) async fn add_to_upload(
        &self,
        party: &PartyId,
        id: &str,
        at: u64,
        content: Bytes,
    ) -> Result<(), Problem> {
        let (documents, name) = (self.spool.documents(), name(party, id));
        if documents.pieces(&name).len() > MOST_PIECES {
            return Err(Problem::from(Reason::Overloaded).with_detail("too many pieces; send more at a time"));
        }
        self.keep_piece(documents, &name, at, content).await
    }

    /// All of it is there: it becomes a document like any other.
    ///
    /// # Errors
    /// The disk is full, or fails; then it is still there as it was.
    pub(crate) async fn complete_upload(&self, party: &PartyId, id: &str) -> Result<Stored, Problem> {
        let (documents, name) = (self.spool.documents(), name(party, id));
        let pieces = documents.pieces(&name);
        let mut whole = documents.put(party.as_str(), self.max_document_bytes);
        for piece in in_a_row(&pieces).0 {
            let content = documents.read(&piece.owner, &piece.sha256, 0).map_err(unreadable)?;
            tokio::pin!(content);
            while let Some(chunk) = content.next().await {
                if whole.chunk(chunk.map_err(unreadable)?).await.is_err() {
                    break;
                }
            }
        }
        let stored = whole.finish().await.map_err(|error| self.not_kept(error))?;
        // From now on it is known to be complete; the pieces are no longer needed.
        self.keep_piece(documents, &name, END, Bytes::copy_from_slice(&stored.sha256)).await?;
        for piece in pieces.iter().filter(|piece| piece.at != BEGIN) {
            documents.drop_piece(piece);
        }
        for forgotten in complete_and_too_many(&documents.pieces("")) {
            drop_all(documents, forgotten);
        }
        Ok(stored)
    }

    /// Nobody wants it any more.
    pub(crate) fn drop_upload(&self, party: &PartyId, id: &str) {
        let documents = self.spool.documents();
        let pieces = documents.pieces(&name(party, id));
        drop_all(documents, pieces.iter().collect());
    }

    /// What the caller reads of a document that was not kept.
    pub(crate) fn not_kept(&self, error: PutError) -> Problem {
        match error {
            PutError::TooLarge => {
                lgsp_proto::Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", self.max_document_bytes).into()
            }
            PutError::Full => Problem::from(Reason::Overloaded).with_detail(error.to_string()),
            PutError::Disk(shortage) => Problem::of_shortage(&shortage),
            PutError::BrokenOff | PutError::Io(_) => {
                tracing::error!(%error, "a document cannot be kept");
                Problem::from(Reason::ReadOnly).with_detail("the adapter cannot write the document")
            }
        }
    }

    async fn keep_piece(&self, documents: &Documents, name: &str, at: u64, content: Bytes) -> Result<(), Problem> {
        let mut piece = documents.put(&Documents::piece_owner(name, at), u64::MAX);
        // If it is not taken, the end says why.
        let _ = piece.chunk(content).await;
        piece.finish().await.map(drop).map_err(|error| self.not_kept(error))
    }
}

/// A name for an upload that begins now. The time stands first, so that those begun first are found by their names.
fn new_id(now_ms: i64) -> String {
    let [_, _, time @ ..] = now_ms.to_be_bytes();
    HEXLOWER.encode(&[&time[..], &random::<10>()].concat())
}

/// Which upload a piece is of.
fn upload_of(piece: &Piece) -> &str {
    piece.owner.rsplit_once('-').map_or("", |(upload, _)| upload)
}

/// How many uploads are not complete yet.
fn under_way(pieces: &[Piece]) -> usize {
    let complete: HashSet<_> = pieces.iter().filter(|piece| piece.at == END).map(upload_of).collect();
    pieces.iter().filter(|piece| piece.at == BEGIN && !complete.contains(upload_of(piece))).count()
}

/// The pieces of those complete uploads that are to be forgotten.
fn complete_and_too_many(pieces: &[Piece]) -> Vec<Vec<&Piece>> {
    let mut complete: Vec<_> = pieces.iter().filter(|piece| piece.at == END).map(upload_of).collect();
    complete.sort_unstable_by_key(|upload| upload.rsplit_once('-').map(|(_, id)| id));
    let too_many = complete.len().saturating_sub(MOST_COMPLETE);
    let all_of = |upload: &&str| pieces.iter().filter(|piece| upload_of(piece) == *upload).collect();
    complete[..too_many].iter().map(all_of).collect()
}

/// Drops all pieces of an upload. The beginning goes first: without it there is no upload, whatever else is still there.
fn drop_all(documents: &Documents, mut pieces: Vec<&Piece>) {
    pieces.sort_unstable_by_key(|piece| piece.at != BEGIN);
    for piece in pieces {
        documents.drop_piece(piece);
    }
}

/// The pieces that follow each other from the first byte on, and how many bytes they are.
fn in_a_row(pieces: &[Piece]) -> (Vec<&Piece>, u64) {
    let (mut row, mut offset) = (Vec::new(), 0);
    while let Some(next) = pieces.iter().find(|piece| piece.at == offset && piece.size > 0) {
        offset += next.size;
        row.push(next);
    }
    (row, offset)
}

async fn read(documents: &Documents, piece: &Piece) -> Result<Vec<u8>, Problem> {
    let content = documents.read(&piece.owner, &piece.sha256, 0).map_err(unreadable)?;
    tokio::pin!(content);
    let mut read = Vec::new();
    while let Some(chunk) = content.next().await {
        read.extend_from_slice(&chunk.map_err(unreadable)?);
    }
    Ok(read)
}

fn unreadable(error: std::io::Error) -> Problem {
    tracing::error!(%error, "an upload cannot be read from the spool");
    Reason::Internal.into()
}

fn name(party: &PartyId, id: &str) -> String {
    format!("{party}-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_complete_uploads_those_begun_first_are_forgotten_and_none_that_is_under_way() {
        let piece =
            |upload: &str, at| Piece { owner: Documents::piece_owner(upload, at), sha256: [0; 32], at, size: 1 };
        let upload = |party: &str, now_ms| format!("{party}-{}", new_id(now_ms));
        // Of a party whose name comes last, and first of all.
        let (oldest, under_way_since) = (upload("H99", 1_000), upload("H57", 1));
        let mut pieces = vec![piece(&oldest, BEGIN), piece(&under_way_since, BEGIN), piece(&under_way_since, 0)];
        pieces.push(piece(&oldest, END));
        for number in 1..MOST_COMPLETE {
            let later = upload("H57", 1_000_000 + number as i64);
            pieces.extend([piece(&later, BEGIN), piece(&later, END)]);
        }
        assert_eq!((under_way(&pieces), complete_and_too_many(&pieces).len()), (1, 0));
        let newest = upload("H57", 2_000_000);
        pieces.extend([piece(&newest, BEGIN), piece(&newest, END)]);
        let forgotten = complete_and_too_many(&pieces);
        let forgotten: Vec<Vec<_>> =
            forgotten.into_iter().map(|of| of.into_iter().map(|one| one.at).collect()).collect();
        assert_eq!(forgotten, [[BEGIN, END]]);
        assert!(complete_and_too_many(&pieces)[0].iter().all(|piece| upload_of(piece).ends_with(&oldest)));
    }
}

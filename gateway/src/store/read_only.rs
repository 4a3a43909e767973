//! Reading a data folder without a gateway: for `lgsp dossier show --data`, and for whoever reconciles books.
//!
//! Only the journal is read, and nothing is written, so a folder that was just left by a crash can be looked at before
//! anything touches it. It takes the folder's lock: what a running gateway has is the gateway's to show.

use std::path::Path;

use lgsp_domain::apply::apply;
use lgsp_domain::dossier::Dossier;
use lgsp_journal::seal::{DataKey, KeyRing};
use lgsp_journal::{Position, Reader};
use lgsp_proto::store_v1::Record;
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::types::DossierCode;

use super::codec::Fact;
use super::data_folder::{CannotRead, Stopped, open_stopped};
use super::{Bodies, QueryRecord, ReadError, Recorded, records};

/// A data folder that no gateway has open.
#[derive(Debug)]
pub struct ReadOnly {
    reader: Reader,
    keys: KeyRing,
}

/// A dossier and all that was recorded about it.
#[derive(Clone, Debug)]
pub struct History {
    /// How it stands.
    pub dossier: Dossier,
    /// Its events, in order, with their bodies as far as they are not erased.
    pub events: Vec<Recorded>,
    /// The queries made for it, in order, with their content as far as it is not erased. Only of an archive.
    pub queries: Vec<QueryRecord>,
}

impl ReadOnly {
    /// Opens the data folder `dir`, whose data keys are wrapped with the key in the file `node_key`.
    ///
    /// Reads the whole journal once, so that a damaged place does not keep the rest from being read.
    ///
    /// # Errors
    /// See [`CannotRead`]; the folder is in use while a gateway runs on it.
    pub fn open(dir: &Path, node_key: &Path) -> Result<Self, CannotRead> {
        let Stopped { reader, keys, .. } = open_stopped(dir, node_key)?;
        Ok(Self { reader, keys })
    }

    /// Every record of the journal, in order, with its position. Ends after the first that cannot be read.
    pub fn records(&self) -> impl Iterator<Item = Result<(u64, Fact), ReadError>> + use<> {
        self.decoded().map(|read| read.map(|(position, _, fact)| (position.0, fact)))
    }

    /// What is recorded about the dossier with this code or alias.
    ///
    /// # Errors
    /// A record cannot be read, or does not follow from those before it.
    pub fn history(&self, code_or_alias: &str) -> Result<Option<History>, ReadError> {
        let mut code: Option<DossierCode> = None;
        let mut dossier: Option<Dossier> = None;
        let mut events = Vec::new();
        for read in self.decoded() {
            let (position, record, fact) = read?;
            let (Fact::Admitted(admitted), Some(Kind::Admission(stored))) = (fact, record.kind) else { continue };
            let event = admitted.event;
            let is_it = match &code {
                Some(code) => event.code == *code,
                None => is_named(code_or_alias, &event),
            };
            if !is_it {
                continue;
            }
            code.get_or_insert_with(|| event.code.clone());
            let next = apply(dossier.as_ref(), &event);
            dossier = Some(next.map_err(|error| ReadError::Damaged(format!("record {position}: {error}")))?);
            events.push(records::recorded(position, stored, &self.keys, Bodies::With)?);
        }
        Ok(dossier.map(|dossier| History { dossier, events, queries: Vec::new() }))
    }

    fn decoded(&self) -> impl Iterator<Item = Result<(Position, Record, Fact), ReadError>> + use<> {
        self.reader.replay(self.reader.first()).map(|read| {
            let (position, bytes) = read.map_err(records::journal_failed)?;
            let (record, fact) = records::decode(position, &bytes)?;
            Ok((position, record, fact))
        })
    }
}

/// A dossier out of the records that were kept of it elsewhere, in an archive, opened with `keys`.
///
/// # Errors
/// A record cannot be read, or does not follow from those before it.
pub fn history_of(records: &[(u64, Vec<u8>)], keys: &KeyRing) -> Result<Option<History>, ReadError> {
    let mut dossier: Option<Dossier> = None;
    let (mut events, mut queries) = (Vec::new(), Vec::new());
    for (position, bytes) in records {
        let position = Position(*position);
        let (record, fact) = records::decode(position, bytes)?;
        match (fact, record.kind) {
            (Fact::Admitted(admitted), Some(Kind::Admission(stored))) => {
                let next = apply(dossier.as_ref(), &admitted.event);
                dossier = Some(next.map_err(|error| ReadError::Damaged(format!("record {position}: {error}")))?);
                events.push(records::recorded(position, stored, keys, Bodies::With)?);
            }
            (Fact::Queried(queried), Some(Kind::Queried(stored))) => {
                queries.push(records::asked(position, *queried, stored, keys, Bodies::With)?);
            }
            _ => {}
        }
    }
    Ok(dossier.map(|dossier| {
        // What was asked before it came in names only the request key.
        queries.iter_mut().for_each(|query| query.envelope.dossier = Some(dossier.code.clone()));
        History { dossier, events, queries }
    }))
}

/// The data key `id`; nothing when it was destroyed, and then what it seals is erased.
///
/// # Errors
/// It is damaged, or was never made.
pub fn key_of(keys: &KeyRing, id: u64) -> Result<Option<DataKey>, ReadError> {
    records::key_of(keys, id)
}

fn is_named(name: &str, event: &lgsp_domain::event::Event) -> bool {
    let aliases = event.opening.iter().flat_map(|opening| &opening.aliases);
    event.code.as_str() == name || aliases.into_iter().any(|alias| alias.as_str() == name)
}

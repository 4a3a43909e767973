//! INV-14: every query is on record once, its content opens with the key of its dossier or matter and is what was told, and the
//! gateway's word about it stands.

use std::collections::{HashMap, HashSet};

use lgsp_proto::store_v1::DossierInArchive;
use lgsp_proto::types::DossierCode;

use super::*;
use crate::archive::Archive;
use crate::store::queries::{MatterLapsed, Queried, QueryId, intake_digest};

/// What is known of queries so far.
#[derive(Default)]
pub(super) struct Asked {
    seen: HashSet<QueryId>,
    /// The key of each dossier.
    dossiers: HashMap<DossierCode, u64>,
    /// How many queries each key seals.
    under: HashMap<u64, u32>,
    /// The key of each matter that no dossier came for yet.
    matters: HashMap<(PartyId, Sha256Digest), u64>,
}

impl Books {
    /// A dossier takes over the key of its matter.
    pub(super) fn enter_matter(&mut self, position: Position, admitted: &Admitted, report: &mut Report) {
        if admitted.event.opening.is_none() {
            return;
        }
        self.asked.dossiers.insert(admitted.event.code.clone(), admitted.key_id);
        let matter = (admitted.event.by.clone(), intake_digest(&admitted.request_key));
        if self.asked.matters.remove(&matter).is_some_and(|key| key != admitted.key_id) {
            let what = format!("{} is sealed with another key than what was asked for it", admitted.event.code);
            report.found(Invariant::Query, position, what);
        }
    }

    pub(super) fn enter_lapsed(
        &mut self,
        position: Position,
        lapsed: &MatterLapsed,
        keys: &KeyRing,
        report: &mut Report,
    ) {
        let key = self.asked.matters.remove(&(lapsed.party.clone(), lapsed.intake));
        if key != Some(lapsed.key_id) {
            report.found(Invariant::Query, position, "a matter lapses that is not open");
        }
        if !matches!(keys.get(KeyId(lapsed.key_id)), Err(KeyError::Destroyed { .. })) {
            report.keys_to_destroy += 1;
        }
    }

    pub(super) fn enter_query(
        &mut self,
        position: Position,
        queried: &Queried,
        sealed: &[u8],
        keys: &KeyRing,
        report: &mut Report,
    ) {
        report.queries += 1;
        if !self.asked.seen.insert(queried.id) {
            report.found(Invariant::Query, position, "a query is recorded a second time");
        }
        let was_answered = queried.refused.is_none();
        if was_answered != queried.proof.is_some() || was_answered != queried.reply_sha256.is_some() {
            report.found(Invariant::Query, position, "a query is answered without a proof, or refused with one");
        }
        if let Some(proof) = &queried.proof {
            let says = v1::QueryAnswer::decode(proof.answer.clone()).is_ok_and(|answer| {
                let digest = queried.reply_sha256.as_ref().map(|digest| digest.as_bytes().to_vec());
                answer.query_id == queried.id[..] && Some(answer.reply_sha256.to_vec()) == digest
            });
            if !says {
                report.found(Invariant::Query, position, "the gateway's word is about another answer");
            }
            let signed = (&proof.certificate, Purpose::QueryAnswer, &proof.answer[..], &proof.signature[..]);
            self.check_signature(position, signed, report);
        }
        if queried.key_id != 0 {
            *self.asked.under.entry(queried.key_id).or_default() += 1;
            self.check_key(position, queried, report);
            self.check_content(position, queried, sealed, keys, report);
        }
    }

    /// What is wrong with an archive if it has not every query that was made for a dossier taken into it.
    pub(in crate::store::fsck) fn lacks_queries(&self, archive: &Archive, codes: &[DossierCode]) -> Option<String> {
        if !archive.has_queries() {
            return None;
        }
        let kept: HashMap<&str, &DossierInArchive> =
            archive.index.dossiers.iter().map(|dossier| (dossier.dossier_code.as_str(), dossier)).collect();
        codes.iter().find_map(|code| {
            let made =
                self.asked.dossiers.get(code).and_then(|key| self.asked.under.get(key)).copied().unwrap_or_default();
            // Read from the records themselves: the index of the file was written by whoever wrote them.
            let records = archive.records(kept.get(code.as_str())?).ok()?;
            let is_query = |bytes: &Vec<u8>| {
                Record::decode(&bytes[..]).is_ok_and(|record| matches!(record.kind, Some(Kind::Queried(_))))
            };
            let has = records.iter().filter(|(_, bytes)| is_query(bytes)).count();
            (has != made as usize).then(|| format!("it has {has} queries for {code}, of {made} on record"))
        })
    }

    fn check_key(&mut self, position: Position, queried: &Queried, report: &mut Report) {
        let expected = match (&queried.dossier, &queried.intake) {
            (Some(code), _) => self.asked.dossiers.get(code).copied(),
            (None, Some(intake)) => {
                let matter = (queried.party.clone(), *intake);
                Some(*self.asked.matters.entry(matter).or_insert(queried.key_id))
            }
            (None, None) => None,
        };
        if expected != Some(queried.key_id) {
            report.found(Invariant::Query, position, "a query is sealed with another key than its dossier's");
        }
    }

    fn check_content(&self, position: Position, queried: &Queried, sealed: &[u8], keys: &KeyRing, report: &mut Report) {
        let opened = match keys.get(KeyId(queried.key_id)) {
            Ok(key) => key.open(&codec::queries::content_context(&queried.id), sealed),
            Err(KeyError::Destroyed { .. }) => {
                report.erased += 1;
                return;
            }
            Err(error) => return report.found(Invariant::Query, position, error.to_string()),
        };
        let content = opened.ok().and_then(|bytes| lgsp_proto::store_v1::QueryContent::decode(&bytes[..]).ok());
        let Some(content) = content else {
            return report.found(Invariant::Query, position, "the content of a query does not open with its key");
        };
        let told = digest(&SHA256, &content.reply);
        if queried.reply_sha256.is_some_and(|digest| digest.as_bytes()[..] != *told.as_ref()) {
            report.found(Invariant::Query, position, "the reply that is kept is not the one that was told");
        }
    }
}

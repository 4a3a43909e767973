//! Admission: parse was before, delivery is after; here it is decided and made durable, once per request key.
//!
//! The order never changes: who speaks → a place in the party's share → what the signature says → hold the lanes → was this key answered before → the
//! documents named → decide → number → receipt → commit → tell the inboxes → answer.

use std::fmt;

use bytes::Bytes;
use lgsp_certs::Purpose;
use lgsp_domain::decide::{self, Decision, Warning, What};
use lgsp_domain::dossier::{AttachedDocument, Opening};
use lgsp_domain::numbering::NumberSource;
use lgsp_proto::types::{BusinessTime, Date, DossierCode, PartyId, RequestKey, Sha256Digest};
use lgsp_proto::{FieldViolation, Reason, Refusal, Wrong, v1};

use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::earlier::Earlier;
use super::lanes::Lane;
use super::{Engine, commit_failed, read_failed};
use crate::store::{Admission, Answer, Answered, Commit, NumberError};

/// A request as it came off the wire: what was parsed, and the very bytes that were signed.
#[derive(Clone)]
pub struct Signed<T> {
    /// What the bytes say.
    pub content: T,
    /// The bytes.
    pub body: Bytes,
    /// The signature over them.
    pub signature: Bytes,
    /// The key that makes a repeat recognisable.
    pub request_key: RequestKey,
    /// The documents it names, each with its path in the message.
    pub documents: Vec<NamedDocument>,
    /// What parsing found odd though well formed: stable word and field.
    pub warnings: Vec<(String, String)>,
    /// W3C traceparent of the call.
    pub traceparent: Option<String>,
    /// The receipt it was given before the books were restored, if it is sent again after that.
    pub earlier: Option<v1::SignedReceipt>,
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    /// Leaves out the body: it names people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("content", &self.content)
            .field("request_key", &self.request_key)
            .finish_non_exhaustive()
    }
}

/// A document as a request names it.
#[derive(Clone, Debug)]
pub struct NamedDocument {
    /// Where in the message, e.g. `components[2].document`.
    pub field: String,
    /// SHA-256 of the content.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// What the caller is told.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The answer, the same at every repeat.
    pub answer: Answer,
    /// True when it had been admitted before.
    pub repeated: bool,
}

impl Engine {
    /// Admits a new dossier. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// Any refusal that says nothing was written; `OUTCOME_UNKNOWN` when only a repeat can tell.
    pub async fn submit(&self, peer: Peer, signed: Signed<decide::Submission>) -> Result<Admitted, Refusal> {
        let engine = self.clone();
        self.to_the_end(async move { engine.submit_now(&peer, signed).await }).await
    }

    async fn submit_now(&self, peer: &Peer, mut signed: Signed<decide::Submission>) -> Result<Admitted, Refusal> {
        let authorized = self.authorize(peer, &signed.content.acting_party)?;
        // Before the signature is checked: that costs more than everything a flood is turned away with.
        let _share = self.inner.shares.enter(authorized.party(), authorized.quota()).await?;
        peer.check_signature(Purpose::Submission, &signed.body, &signed.signature)?;
        self.remember_certificate(peer, authorized.system()).await?;

        let party = authorized.party().to_string();
        let aliases: Vec<String> = signed.content.aliases.iter().map(ToString::to_string).collect();
        let mut given: Vec<String> = signed.content.code.iter().map(ToString::to_string).collect();
        given.extend(signed.earlier.as_ref().and_then(Earlier::claimed_code).filter(|code| !given.contains(code)));
        let mut lanes = vec![Lane::Key(&party, signed.request_key.as_str())];
        lanes.extend(aliases.iter().map(|alias| Lane::Dossier(alias)));
        lanes.extend(given.iter().map(|code| Lane::Dossier(code)));
        // Two submissions must not attach one upload: the document's lane is held until the first is committed.
        lanes.extend(signed.documents.iter().map(|document| Lane::Document(&party, document.sha256.as_bytes())));
        let _held = self.inner.lanes.hold(lanes).await;

        let body_sha256 = digest(&signed.body);
        if let Some(repeat) = self.repeat(authorized.party(), &signed.request_key, &body_sha256).await? {
            return Ok(repeat);
        }
        self.check_room()?;
        let key = &signed.request_key;
        let earlier = self.earlier(signed.earlier.as_ref(), authorized.party(), key, &body_sha256).await?;
        if let Some(earlier) = &earlier
            && self.lookup(earlier.code.as_str()).await?.is_some()
        {
            return Err(earlier.conflict(Wrong::new("đã có hồ sơ khác mang mã này", "another dossier has this code")));
        }
        signed.content.documents = self.attach(&authorized, &signed.documents, None).await?;
        self.refuse_taken_aliases(&aliases).await?;
        let bounds = &self.inner.settings.time_bounds;
        let now = self.decided_at(earlier.as_ref(), signed.content.received_at);
        let admissible = decide::submission(&signed.content, authorized.registry(), now, bounds);
        let admissible = admissible.map_err(|refusal| authorized.explained(refusal))?;
        let (authority, last) = (admissible.authority(), authorized.registry().last_number_of(admissible.authority()));
        let (code, source) = match (&earlier, signed.content.code.clone()) {
            // The code of a receipt is out in the world: this one or none. Whether a block it is from still counts, is no question.
            (Some(earlier), _) if earlier.code.party() != authority => {
                return Err(earlier.conflict(Wrong::new(
                    "thuộc cơ quan không còn thẩm quyền",
                    "is of an authority that is not competent any more",
                )));
            }
            (Some(earlier), given) => {
                let is_own = given.is_some() && earlier.code.number() > last;
                (earlier.code.clone(), if is_own { NumberSource::Own } else { NumberSource::Taken })
            }
            (None, Some(code)) => {
                let source = self.check_given(&authorized, authority, &code).await?;
                (code, source)
            }
            (None, None) => (self.next_code(authority, admissible.day(), last).await?, NumberSource::Taken),
        };
        let decision = admissible.numbered_by(source).with_code(code)?;
        self.admit((peer, &authorized), signed, body_sha256, decision, None, earlier).await
    }

    /// Admits an entry about an existing dossier. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub async fn record(&self, peer: Peer, signed: Signed<RecordedEntry>) -> Result<Admitted, Refusal> {
        let engine = self.clone();
        self.to_the_end(async move { engine.record_now(&peer, signed).await }).await
    }

    async fn record_now(&self, peer: &Peer, mut signed: Signed<RecordedEntry>) -> Result<Admitted, Refusal> {
        let authorized = self.authorize(peer, &signed.content.entry.acting_party)?;
        // Before the signature is checked: that costs more than everything a flood is turned away with.
        let _share = self.inner.shares.enter(authorized.party(), authorized.quota()).await?;
        peer.check_signature(Purpose::Entry, &signed.body, &signed.signature)?;
        self.remember_certificate(peer, authorized.system()).await?;

        let party = authorized.party().to_string();
        let body_sha256 = digest(&signed.body);
        let key = &signed.request_key;
        // What is wrong with it only matters if the request is not known: a repeat is answered as ever.
        let earlier = self.earlier(signed.earlier.as_ref(), authorized.party(), key, &body_sha256).await;
        let Some(code) = self.lookup(&signed.content.dossier).await? else {
            return Err(earlier?.map_or(Reason::DossierNotFound.into(), |earlier| earlier.missing()));
        };
        let (named, key) = (code.to_string(), signed.request_key.clone());
        let mut lanes = vec![Lane::Key(&party, key.as_str()), Lane::Dossier(&named)];
        lanes.extend(signed.documents.iter().map(|document| Lane::Document(&party, document.sha256.as_bytes())));
        let _held = self.inner.lanes.hold(lanes).await;

        if let Some(repeat) = self.repeat(authorized.party(), &signed.request_key, &body_sha256).await? {
            return Ok(repeat);
        }
        let earlier = earlier?;
        let Some(dossier) = self.inner.store.dossier(&code).await.map_err(read_failed)? else {
            return Err(self.not_here(&authorized, &code).await);
        };
        if !authorized.may_know(&dossier) {
            return Err(Refusal::new(Reason::DossierNotFound));
        }
        if self.inner.store.erasure(&code).await.map_err(read_failed)?.is_some() {
            return Err(Refusal::new(Reason::ContentErased));
        }
        if let Some(earlier) = &earlier {
            earlier.fits(&dossier)?;
        }
        let attached = self.attach(&authorized, &signed.documents, Some(&code)).await?;
        match &mut signed.content.entry.what {
            What::ProvideSupplement { documents } | What::Resolve { documents, .. } => *documents = attached,
            // Nothing else names documents.
            _ => {}
        }
        let bounds = &self.inner.settings.time_bounds;
        let entry = &signed.content.entry;
        let now = self.decided_at(earlier.as_ref(), entry.occurred_at);
        let decision = decide::entry(&dossier, entry, authorized.registry(), now, bounds);
        let decision = decision.map_err(|refusal| authorized.explained(refusal))?;
        self.admit((peer, &authorized), signed, body_sha256, decision, Some(&dossier.opening), earlier).await
    }

    /// The time that the bounds are measured from: now, or when it was first admitted.
    fn decided_at(&self, earlier: Option<&Earlier>, occurred_at: BusinessTime) -> BusinessTime {
        match earlier {
            Some(earlier) => self.clock().at_admission(earlier.admitted_at, occurred_at),
            None => self.clock().now(),
        }
    }

    /// The last steps of every admission: receipt, commit, inboxes.
    async fn admit<T>(
        &self,
        (peer, authorized): (&Peer, &Authorized),
        signed: Signed<T>,
        body_sha256: Sha256Digest,
        decision: Decision,
        opened: Option<&Opening>,
        earlier: Option<Earlier>,
    ) -> Result<Admitted, Refusal> {
        let decision = match &earlier {
            Some(earlier) => earlier.confirm(decision)?,
            None => decision,
        };
        let Decision { event, warnings, .. } = decision;
        let opening =
            event.opening.as_ref().or(opened).expect("a first event opens the dossier, a later one finds it open");
        if warnings.contains(&Warning::ReceivedLate) {
            // The receipt tells the desk, and this the operator.
            let late_s = self.clock().now().duration_since(event.occurred_at).as_secs();
            tracing::warn!(dossier.code = %event.code, party.id = %event.by, late_s, "recorded late by the desk's time");
        }
        let decided = warnings.iter().map(|warning| (warning.as_str().to_owned(), String::new()));
        let warnings = signed.warnings.into_iter().chain(decided).collect();
        let admitted_at = machine_now();
        let key = &signed.request_key;
        let signer = peer.signer().unwrap_or(&self.inner.signer);
        let answer = signer.answer(&event, opening, key, &body_sha256, admitted_at, warnings);
        let answer = earlier.as_ref().map_or_else(|| answer.clone(), |earlier| earlier.answer(answer.clone()));
        let recipients = event.recipients.clone();
        let admission = Admission {
            event,
            request_key: signed.request_key,
            body: signed.body,
            body_sha256,
            signature: signed.signature,
            certificate: peer.certificate(),
            system: authorized.system().to_owned(),
            traceparent: signed.traceparent,
            admitted_at,
            answer: answer.clone(),
            first_admitted_at: earlier.map(|earlier| earlier.admitted_at),
        };
        let committed = self.inner.store.commit(Commit::Admission(Box::new(admission))).await;
        committed.map_err(|error| commit_failed(&error))?;
        self.inner.inboxes.arrived(&recipients);
        Ok(Admitted { answer, repeated: false })
    }

    /// The answer given before to this key, if any; a refusal when it came with other content.
    async fn repeat(
        &self,
        party: &PartyId,
        key: &RequestKey,
        body_sha256: &Sha256Digest,
    ) -> Result<Option<Admitted>, Refusal> {
        match self.inner.store.by_key(party, key).await.map_err(read_failed)? {
            None => Ok(None),
            Some(Answered { body_sha256: before, answer, .. }) if before == *body_sha256 => {
                Ok(Some(Admitted { answer, repeated: true }))
            }
            Some(_) => Err(Refusal::new(Reason::KeyReused)
                .field("request_key", Wrong::new("đã được dùng với nội dung khác", "was used with other content"))),
        }
    }

    /// Finds the documents a request names among those its party uploaded; every one at fault is named.
    async fn attach(
        &self,
        authorized: &Authorized,
        named: &[NamedDocument],
        to: Option<&DossierCode>,
    ) -> Result<Vec<AttachedDocument>, Refusal> {
        let mut attached = Vec::with_capacity(named.len());
        let mut refusal: Option<Refusal> = None;
        for document in named {
            let found = self.inner.store.document(authorized.party(), &document.sha256).await.map_err(read_failed)?;
            let (reason, problem) = match found {
                None => (
                    Reason::DocumentUnknown,
                    Wrong::new("chưa được cơ quan này tải lên", "was not uploaded by the acting party"),
                ),
                Some(meta) if meta.size_bytes != document.size_bytes => (
                    Reason::DocumentDigestMismatch,
                    Wrong::new("có kích thước khác nội dung đã tải lên", "has another size than the uploaded content"),
                ),
                Some(meta) if meta.dossier.is_some() && meta.dossier.as_ref() != to => {
                    (Reason::DocumentOfAnotherDossier, Wrong::new("thuộc hồ sơ khác", "belongs to another dossier"))
                }
                Some(meta) => {
                    attached.push(AttachedDocument {
                        sha256: meta.sha256,
                        size_bytes: meta.size_bytes,
                        media_type: meta.media_type,
                        document_id: meta.id,
                    });
                    continue;
                }
            };
            refusal = Some(refusal.unwrap_or_else(|| Refusal::new(reason)).field(&document.field, problem));
        }
        refusal.map_or(Ok(attached), Err)
    }

    async fn refuse_taken_aliases(&self, aliases: &[String]) -> Result<(), Refusal> {
        let mut taken = Vec::new();
        for (index, alias) in aliases.iter().enumerate() {
            if self.lookup(alias).await?.is_some() {
                let problem = Wrong::new("trùng mã của hồ sơ khác", "another dossier carries this code");
                taken.push(FieldViolation { field: format!("aliases[{index}]"), problem });
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::new(Reason::AliasTaken);
        Err(taken.into_iter().fold(refusal, |refusal, taken| refusal.field(taken.field, taken.problem)))
    }

    /// The dossier that carries `name` as its code or as an alias.
    pub(super) async fn lookup(&self, name: &str) -> Result<Option<DossierCode>, Refusal> {
        if let Ok(code) = name.parse::<DossierCode>()
            && self.is_given(&code).await?
        {
            return Ok(Some(code));
        }
        self.inner.store.by_alias(name).await.map_err(read_failed)
    }

    /// As [`Self::lookup`], for callers to whom an unknown dossier is not found.
    pub(super) async fn resolve(&self, name: &str) -> Result<DossierCode, Refusal> {
        self.lookup(name).await?.ok_or_else(|| Refusal::new(Reason::DossierNotFound))
    }

    async fn next_code(&self, authority: &PartyId, day: Date, last: u32) -> Result<DossierCode, Refusal> {
        let store = &self.inner.store;
        loop {
            let number = store.take_number(authority, day, last).await;
            let number = number.map_err(|error| number_failed(error, authority))?;
            let code = DossierCode::issue(authority, day, number).map_err(|_| {
                Refusal::new(Reason::NumbersExhausted).detail("authority", authority).detail("day", day)
            })?;
            // A desk may have brought the code back after a restore, or have named it as an alias before that was refused; that
            // number stays unused.
            if self.lookup(code.as_str()).await?.is_none() {
                return Ok(code);
            }
        }
    }
}

/// An entry, and the dossier it names by code or alias.
#[derive(Clone, Debug)]
pub struct RecordedEntry {
    /// The dossier as the caller names it.
    pub dossier: String,
    /// What is recorded.
    pub entry: decide::Entry,
}

pub(super) fn number_failed(error: NumberError, authority: &PartyId) -> Refusal {
    match error {
        NumberError::Exhausted(_) => Refusal::new(Reason::NumbersExhausted).detail("authority", authority),
        NumberError::Given(_) => Refusal::new(Reason::CodeNotLeased).detail("authority", authority),
        NumberError::Commit(error) => commit_failed(&error),
        NumberError::Read(error) => read_failed(error),
    }
}

/// SHA-256 over the body bytes as received.
pub(super) fn digest(body: &[u8]) -> Sha256Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    Sha256Digest::try_from(digest.as_ref()).expect("SHA-256 has 32 bytes")
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use lgsp_domain::numbering::LAST_NUMBER;

    use crate::engine::testing::{AN, House};

    #[tokio::test]
    async fn a_number_whose_code_is_an_alias_already_is_passed_over() {
        let house = House::open().await;
        let day = jiff::civil::date(2025, 7, 14);
        let squatted = "H99.101-250714-0001".parse().unwrap();
        house.admit(1, |admission| admission.event.opening.as_mut().unwrap().aliases = vec![squatted]).await;
        let code = house.engine.next_code(&AN.parse().unwrap(), day, LAST_NUMBER).await.unwrap();
        assert_eq!(code.as_str(), "H99.101-250714-0002");
    }
}

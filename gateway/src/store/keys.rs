//! The keys of the index: one ordered space, in which the first byte says which tree a key belongs to.
//!
//! Each tree has a key type that owns its bytes and names the message stored under it. Texts in keys (parties, codes,
//! aliases, request keys) are visible ASCII, so a zero byte ends them and keeps their order. Numbers are big-endian, so
//! that bytes sort as numbers do. A tag is never given to another tree; a retired one stays listed here.
//!
//! | tag | tree |
//! |---|---|
//! | 1 | [`Applied`] |
//! | 2 | [`Totals`] |
//! | 3 | [`Dossier`] |
//! | 4 | [`Event`] |
//! | 5 | [`Alias`] |
//! | 6 | [`Request`] |
//! | 7 | [`Listed`] |
//! | 8 | [`Delivery`], waiting |
//! | 9 | [`Delivery`], taken over |
//! | 10 | [`Backlog`] |
//! | 11 | [`Numbers`] |
//! | 12 | [`Content`] |
//! | 13 | [`Document`] |
//! | 14 | [`Registry`] |
//! | 15 | [`Certificate`] |
//! | 20 | [`Delivery`], parked |
//! | 21 | [`Lane`] |
//! | 22 | [`Parked`] |
//! | 23 | [`Handled`] |
//! | 24 | [`Epoch`] |
//! | 30 | [`DeskBlocks`] |
//! | 40 | [`Erased`] |
//! | 41 | [`Archived`] |
//! | 42 | [`Archive`] |
//! | 43 | [`Exported`] |
//! | 50 | [`Audited`] |
//! | 51 | [`Token`] |
//! | 52 | [`OpenToken`] |
//! | 53 | [`Known`] |
//! | 54 | [`OfSystem`] |
//! | 55 | [`Expiry`] |
//! | 56 | [`OfKey`] |
//! | 57 | [`RevokedKey`] |
//! | 60 | [`Query`] |
//! | 61 | [`QueryListed`] |
//! | 62 | [`QueryUnder`] |
//! | 63 | [`Matter`] |
//! | 64 | [`OpenMatter`] |
//! | 65 | [`LapsedMatter`] |
//! | 66 | [`Counted`] |
//! | 67 | [`CountedRows`] |

use jiff::civil::Date;
use lgsp_proto::store_v1;
use lgsp_proto::types::{BusinessTime, DossierCode, PartyId, RequestKey, Sha256Digest};

use super::{QueryId, TokenId};

/// A key of one tree.
pub(super) trait Key {
    /// What is stored under it.
    type Value: prost::Message + Default;

    /// Its bytes.
    fn encode(&self) -> Vec<u8>;
}

/// How far the index has come: `01`. Written by the follower, not by the projection.
pub(super) struct Applied;

/// Totals over everything: `02`.
pub(super) struct Totals;

/// How a dossier stands: `03 code`.
pub(super) struct Dossier<'a>(pub(super) &'a DossierCode);

/// Where an event stands in the journal: `04 code 00 sequence(4)`.
pub(super) struct Event<'a>(pub(super) &'a DossierCode, pub(super) u32);

/// The dossier that carries an alias: `05 alias`.
pub(super) struct Alias<'a>(pub(super) &'a str);

/// Where a request key was used: `06 party 00 key`.
pub(super) struct Request<'a>(pub(super) &'a PartyId, pub(super) &'a RequestKey);

/// A dossier in the list of a party, newest change first: `07 party 00 ~updated_at(8) code`.
///
/// The time is stored inverted, because the index is read forwards. The list of all dossiers has an empty party.
pub(super) struct Listed<'a> {
    pub(super) party: Option<&'a PartyId>,
    pub(super) updated_at: BusinessTime,
    pub(super) code: &'a DossierCode,
}

/// A delivery that a party is owed: `08 party 00 position(8)` while it waits, `09 …` once it was taken over, `14 …` while its
/// dossier is parked.
///
/// The position is that of the admission in the journal: an event is delivered to a party once.
pub(super) struct Delivery<'a> {
    pub(super) stage: Owed,
    pub(super) party: &'a PartyId,
    pub(super) position: u64,
}

/// The trees of deliveries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owed {
    /// Not yet taken over.
    Waiting,
    /// Taken over, not yet handed over.
    TakenOver,
    /// Its dossier is parked for the party: it waits for a person.
    Parked,
}

/// How the deliveries of a dossier to a party stand together: `15 party 00 code`.
pub(super) struct Lane<'a>(pub(super) &'a PartyId, pub(super) &'a DossierCode);

/// A parked dossier in the list of a party, the longest parked first: `16 party 00 position(8)`, the position being that of
/// the record that parked it. The list of all has an empty party.
pub(super) struct Parked<'a> {
    pub(super) party: Option<&'a PartyId>,
    pub(super) position: u64,
}

/// What a person did about a parked dossier: `17 party 00 code 00 position(8)`.
pub(super) struct Handled<'a> {
    pub(super) party: &'a PartyId,
    pub(super) code: &'a DossierCode,
    pub(super) position: u64,
}

/// How many deliveries a party is owed: `0a party`.
pub(super) struct Backlog<'a>(pub(super) &'a PartyId);

/// The numbers of an authority's day: `0b authority 00 day(4)`, in days since 1970-01-01.
pub(super) struct Numbers<'a>(pub(super) &'a PartyId, pub(super) Date);

/// A desk's blocks of an authority's day: `14 authority 00 desk 00 day(4)`, in days since 1970-01-01.
pub(super) struct DeskBlocks<'a> {
    pub(super) authority: &'a PartyId,
    pub(super) desk: &'a PartyId,
    pub(super) day: Date,
}

/// A party's newest document with a digest: `0c party 00 sha256(32)`.
pub(super) struct Content<'a>(pub(super) &'a PartyId, pub(super) &'a Sha256Digest);

/// A document: `0d id(8)`.
pub(super) struct Document(pub(super) u64);

/// A registry version: `0e number(8)`.
pub(super) struct Registry(pub(super) u64);

/// A certificate: `0f sha256(32)`.
pub(super) struct Certificate<'a>(pub(super) &'a Sha256Digest);

/// Where a dossier's erasure was recorded: `28 code`.
pub(super) struct Erased<'a>(pub(super) &'a DossierCode);

/// What is left of an archived dossier: `29 code`.
pub(super) struct Archived<'a>(pub(super) &'a DossierCode);

/// An archive file, by the record that put dossiers into it: `2a position(8)`.
pub(super) struct Archive(pub(super) u64);

/// Where it was recorded that the books were copied out: `2b identity(16)`.
pub(super) struct Exported<'a>(pub(super) &'a [u8; 16]);

/// An entry of the audit, newest first: `32 ~position(8)`, the position being that of the record.
pub(super) struct Audited(pub(super) u64);
/// A join token: `33 id(16)`.
pub(super) struct Token<'a>(pub(super) &'a TokenId);

/// A token that is neither spent nor withdrawn: `34 expires_at(8) id(16)`, in Unix milliseconds.
pub(super) struct OpenToken<'a> {
    pub(super) expires_at_ms: i64,
    pub(super) id: &'a TokenId,
}

/// A certificate that was issued here or seen, as it is listed: `35 sha256(32)`.
pub(super) struct Known<'a>(pub(super) &'a Sha256Digest);

/// A certificate of a system: `36 system 00 sha256(32)`.
pub(super) struct OfSystem<'a>(pub(super) &'a str, pub(super) &'a Sha256Digest);

/// A certificate by when it expires: `37 not_after(8) sha256(32)`, in Unix milliseconds.
pub(super) struct Expiry<'a> {
    pub(super) not_after_ms: i64,
    pub(super) certificate: &'a Sha256Digest,
}

/// A certificate of a key: `38 key(32) sha256(32)`.
pub(super) struct OfKey<'a>(pub(super) &'a Sha256Digest, pub(super) &'a Sha256Digest);

/// A key that is out of force: `39 key(32)`.
pub(super) struct RevokedKey<'a>(pub(super) &'a Sha256Digest);

/// Where a query was recorded: `3c id(16)`.
pub(super) struct Query<'a>(pub(super) &'a QueryId);

/// A query in the list of the party that made it, newest first: `3d party 00 ~position(8)`. The list of all has an empty party.
pub(super) struct QueryListed<'a> {
    pub(super) party: Option<&'a PartyId>,
    pub(super) position: u64,
}

/// A query by the key that seals it, which is its dossier's, newest first: `3e key(8) ~position(8)`.
pub(super) struct QueryUnder {
    pub(super) key_id: u64,
    pub(super) position: u64,
}

/// What is asked before its dossier is there: `3f party 00 intake(32)`.
pub(super) struct Matter<'a>(pub(super) &'a PartyId, pub(super) &'a Sha256Digest);

/// A matter without a dossier, the oldest first: `40 since(8) intake(32) party`, in Unix milliseconds.
pub(super) struct OpenMatter<'a> {
    pub(super) since_ms: i64,
    pub(super) party: &'a PartyId,
    pub(super) intake: &'a Sha256Digest,
}

/// A matter that has lapsed, by the record that says so: `41 position(8)`.
pub(super) struct LapsedMatter(pub(super) u64);

/// What happened on a day: `42 day(4) party 00 actor 00 service 00 procedure`, in days since 1970-01-01. Dossiers taken in have an
/// empty service; what is counted without its clerk and procedure has both empty.
pub(super) struct Counted<'a> {
    pub(super) day: u32,
    pub(super) party: &'a PartyId,
    pub(super) actor: &'a str,
    pub(super) service: &'a str,
    pub(super) procedure: &'a str,
}

/// How many rows of counts a party has on a day: `43 day(4) party`.
pub(super) struct CountedRows<'a> {
    pub(super) day: u32,
    pub(super) party: &'a PartyId,
}

/// The epoch of the books: `18`.
pub(super) struct Epoch;

mod tag {
    pub(super) const APPLIED: u8 = 1;
    pub(super) const TOTALS: u8 = 2;
    pub(super) const DOSSIER: u8 = 3;
    pub(super) const EVENT: u8 = 4;
    pub(super) const ALIAS: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const LISTED: u8 = 7;
    pub(super) const WAITING: u8 = 8;
    pub(super) const TAKEN_OVER: u8 = 9;
    pub(super) const BACKLOG: u8 = 10;
    pub(super) const NUMBERS: u8 = 11;
    pub(super) const CONTENT: u8 = 12;
    pub(super) const DOCUMENT: u8 = 13;
    pub(super) const REGISTRY: u8 = 14;
    pub(super) const CERTIFICATE: u8 = 15;
    pub(super) const PARKED_DELIVERY: u8 = 20;
    pub(super) const LANE: u8 = 21;
    pub(super) const PARKED: u8 = 22;
    pub(super) const HANDLED: u8 = 23;
    pub(super) const EPOCH: u8 = 24;
    pub(super) const DESK_BLOCKS: u8 = 30;
    pub(super) const ERASED: u8 = 40;
    pub(super) const ARCHIVED: u8 = 41;
    pub(super) const ARCHIVE: u8 = 42;
    pub(super) const EXPORTED: u8 = 43;
    pub(super) const AUDITED: u8 = 50;
    pub(super) const TOKEN: u8 = 51;
    pub(super) const OPEN_TOKEN: u8 = 52;
    pub(super) const KNOWN: u8 = 53;
    pub(super) const OF_SYSTEM: u8 = 54;
    pub(super) const EXPIRY: u8 = 55;
    pub(super) const OF_KEY: u8 = 56;
    pub(super) const REVOKED_KEY: u8 = 57;
    pub(super) const QUERY: u8 = 60;
    pub(super) const QUERY_LISTED: u8 = 61;
    pub(super) const QUERY_UNDER: u8 = 62;
    pub(super) const MATTER: u8 = 63;
    pub(super) const OPEN_MATTER: u8 = 64;
    pub(super) const LAPSED_MATTER: u8 = 65;
    pub(super) const COUNTED: u8 = 66;
    pub(super) const COUNTED_ROWS: u8 = 67;
}

impl Key for Applied {
    type Value = store_v1::Applied;

    fn encode(&self) -> Vec<u8> {
        vec![tag::APPLIED]
    }
}

impl Key for Totals {
    type Value = store_v1::Totals;

    fn encode(&self) -> Vec<u8> {
        vec![tag::TOTALS]
    }
}

impl Key for Dossier<'_> {
    type Value = store_v1::DossierState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::DOSSIER, &[self.0.as_str().as_bytes()])
    }
}

impl Key for Event<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::EVENT, &[self.0.as_str().as_bytes(), END, &self.1.to_be_bytes()])
    }
}

impl Key for Alias<'_> {
    type Value = store_v1::DossierNamed;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::ALIAS, &[self.0.as_bytes()])
    }
}

impl Key for Request<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::REQUEST, &[self.0.as_str().as_bytes(), END, self.1.as_str().as_bytes()])
    }
}

impl Key for Listed<'_> {
    type Value = store_v1::Listed;

    fn encode(&self) -> Vec<u8> {
        let mut key = Listed::first(self.party);
        key.extend_from_slice(&newest_first(self.updated_at));
        key.extend_from_slice(self.code.as_str().as_bytes());
        key
    }
}

impl Listed<'_> {
    /// The bytes that all keys of a list begin with.
    pub(super) fn first(party: Option<&PartyId>) -> Vec<u8> {
        bytes(tag::LISTED, &[party.map_or("", PartyId::as_str).as_bytes(), END])
    }

    /// The time and the code in a key of the list; `None` when it is none.
    pub(super) fn decode(party: Option<&PartyId>, key: &[u8]) -> Option<(BusinessTime, DossierCode)> {
        let (time, code) = key.strip_prefix(&Listed::first(party)[..])?.split_first_chunk::<8>()?;
        let seconds = (!u64::from_be_bytes(*time) ^ SIGN) as i64;
        Some((BusinessTime::from_unix_seconds(seconds).ok()?, std::str::from_utf8(code).ok()?.parse().ok()?))
    }
}

impl Key for Delivery<'_> {
    type Value = store_v1::Owed;

    fn encode(&self) -> Vec<u8> {
        let mut key = Delivery::first(self.stage, self.party);
        key.extend_from_slice(&self.position.to_be_bytes());
        key
    }
}

impl Delivery<'_> {
    /// The bytes that all keys of a party's stage begin with.
    pub(super) fn first(stage: Owed, party: &PartyId) -> Vec<u8> {
        let tag = match stage {
            Owed::Waiting => tag::WAITING,
            Owed::TakenOver => tag::TAKEN_OVER,
            Owed::Parked => tag::PARKED_DELIVERY,
        };
        bytes(tag, &[party.as_str().as_bytes(), END])
    }

    /// The position in any key of a delivery.
    pub(super) fn position_of(key: &[u8]) -> Option<u64> {
        key.last_chunk::<8>().map(|position| u64::from_be_bytes(*position))
    }
}

impl Key for Lane<'_> {
    type Value = store_v1::LaneState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::LANE, &[self.0.as_str().as_bytes(), END, self.1.as_str().as_bytes()])
    }
}

impl Key for Parked<'_> {
    type Value = store_v1::ParkedNamed;

    fn encode(&self) -> Vec<u8> {
        let mut key = Parked::first(self.party);
        key.extend_from_slice(&self.position.to_be_bytes());
        key
    }
}

impl Parked<'_> {
    /// The bytes that all keys of a list begin with.
    pub(super) fn first(party: Option<&PartyId>) -> Vec<u8> {
        bytes(tag::PARKED, &[party.map_or("", PartyId::as_str).as_bytes(), END])
    }
}

impl Key for Handled<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        let mut key = Handled::first(self.party, self.code);
        key.extend_from_slice(&self.position.to_be_bytes());
        key
    }
}

impl Handled<'_> {
    /// The bytes that all keys of a dossier's history with a party begin with.
    pub(super) fn first(party: &PartyId, code: &DossierCode) -> Vec<u8> {
        bytes(tag::HANDLED, &[party.as_str().as_bytes(), END, code.as_str().as_bytes(), END])
    }
}

impl Key for Backlog<'_> {
    type Value = store_v1::BacklogCount;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::BACKLOG, &[self.0.as_str().as_bytes()])
    }
}

impl Key for Numbers<'_> {
    type Value = store_v1::NumbersState;

    fn encode(&self) -> Vec<u8> {
        // The codes of a dossier carry dates of this century only, so the day is never negative.
        bytes(tag::NUMBERS, &[self.0.as_str().as_bytes(), END, &super::codec::day_number(self.1).to_be_bytes()])
    }
}

impl Key for DeskBlocks<'_> {
    type Value = store_v1::DeskBlocks;

    fn encode(&self) -> Vec<u8> {
        let day = super::codec::day_number(self.day).to_be_bytes();
        let parts = [self.authority.as_str().as_bytes(), END, self.desk.as_str().as_bytes(), END, &day];
        bytes(tag::DESK_BLOCKS, &parts)
    }
}

impl Numbers<'_> {
    /// The bytes that the keys of all days of all authorities begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::NUMBERS]
    }

    /// The day in any key of the tree, in days since 1970-01-01.
    pub(super) fn day_of(key: &[u8]) -> Option<i32> {
        key.last_chunk::<4>().map(|day| i32::from_be_bytes(*day))
    }
}

impl Key for Content<'_> {
    type Value = store_v1::DocumentNamed;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::CONTENT, &[self.0.as_str().as_bytes(), END, self.1.as_bytes()])
    }
}

impl Key for Document {
    type Value = store_v1::DocumentState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::DOCUMENT, &[&self.0.to_be_bytes()])
    }
}

impl Key for Registry {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::REGISTRY, &[&self.0.to_be_bytes()])
    }
}

impl Key for Epoch {
    type Value = store_v1::EpochState;

    fn encode(&self) -> Vec<u8> {
        vec![tag::EPOCH]
    }
}

impl Key for Certificate<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::CERTIFICATE, &[self.0.as_bytes()])
    }
}

impl Key for Erased<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::ERASED, &[self.0.as_str().as_bytes()])
    }
}

impl Erased<'_> {
    /// The bytes that all keys of erased dossiers begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::ERASED]
    }

    /// The code in any such key; `None` when it is none.
    pub(super) fn code_of(key: &[u8]) -> Option<DossierCode> {
        std::str::from_utf8(key.strip_prefix(&[tag::ERASED])?).ok()?.parse().ok()
    }
}

impl Key for Archived<'_> {
    type Value = store_v1::ArchivedState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::ARCHIVED, &[self.0.as_str().as_bytes()])
    }
}

impl Key for Archive {
    type Value = store_v1::ArchiveNamed;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::ARCHIVE, &[&self.0.to_be_bytes()])
    }
}

impl Archive {
    /// The bytes that all keys of archives begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::ARCHIVE]
    }

    /// The position in any such key.
    pub(super) fn position_of(key: &[u8]) -> Option<u64> {
        key.last_chunk::<8>().map(|position| u64::from_be_bytes(*position))
    }
}

impl Key for Exported<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::EXPORTED, &[self.0])
    }
}

impl Key for Audited {
    type Value = store_v1::Audited;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::AUDITED, &[&(!self.0).to_be_bytes()])
    }
}

impl Audited {
    /// The bytes that all keys of the audit begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::AUDITED]
    }

    /// The position in any such key.
    pub(super) fn position_of(key: &[u8]) -> Option<u64> {
        key.last_chunk::<8>().map(|position| !u64::from_be_bytes(*position))
    }
}

impl Key for Token<'_> {
    type Value = store_v1::TokenState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::TOKEN, &[self.0])
    }
}

impl Key for OpenToken<'_> {
    type Value = store_v1::Named;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::OPEN_TOKEN, &[&oldest_first(self.expires_at_ms), self.id])
    }
}

impl OpenToken<'_> {
    /// The key behind all keys of the tree.
    pub(super) fn end() -> Vec<u8> {
        behind(&[tag::OPEN_TOKEN])
    }

    /// The token's name in any such key.
    pub(super) fn id_of(key: &[u8]) -> Option<TokenId> {
        key.last_chunk::<16>().copied()
    }
}

impl Key for Known<'_> {
    type Value = store_v1::CertificateState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::KNOWN, &[self.0.as_bytes()])
    }
}

impl Key for OfSystem<'_> {
    type Value = store_v1::Named;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::OF_SYSTEM, &[self.0.as_bytes(), END, self.1.as_bytes()])
    }
}

impl OfSystem<'_> {
    /// The bytes that all keys of a system begin with.
    pub(super) fn first(system: &str) -> Vec<u8> {
        bytes(tag::OF_SYSTEM, &[system.as_bytes(), END])
    }
}

impl Key for Expiry<'_> {
    type Value = store_v1::Named;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::EXPIRY, &[&oldest_first(self.not_after_ms), self.certificate.as_bytes()])
    }
}

impl Expiry<'_> {
    /// Where the certificates begin that expire at or after this; the key behind all keys of the tree for `None`.
    pub(super) fn from(not_after_ms: Option<i64>) -> Vec<u8> {
        not_after_ms.map_or_else(|| behind(&[tag::EXPIRY]), |ms| bytes(tag::EXPIRY, &[&oldest_first(ms)]))
    }

    /// When, and which certificate, in any key of the tree.
    pub(super) fn decode(key: &[u8]) -> Option<(i64, Sha256Digest)> {
        let (time, certificate) = key.strip_prefix(&[tag::EXPIRY])?.split_first_chunk::<8>()?;
        Some(((u64::from_be_bytes(*time) ^ SIGN) as i64, Sha256Digest::try_from(certificate).ok()?))
    }
}

impl Key for OfKey<'_> {
    type Value = store_v1::Named;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::OF_KEY, &[self.0.as_bytes(), self.1.as_bytes()])
    }
}

impl Key for RevokedKey<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::REVOKED_KEY, &[self.0.as_bytes()])
    }
}

impl RevokedKey<'_> {
    /// The bytes that all keys of the tree begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::REVOKED_KEY]
    }
}

impl Key for Query<'_> {
    type Value = store_v1::At;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::QUERY, &[self.0])
    }
}

impl Key for QueryListed<'_> {
    type Value = store_v1::Listed;

    fn encode(&self) -> Vec<u8> {
        let mut key = QueryListed::first(self.party);
        key.extend_from_slice(&(!self.position).to_be_bytes());
        key
    }
}

impl QueryListed<'_> {
    /// The bytes that all keys of a list begin with.
    pub(super) fn first(party: Option<&PartyId>) -> Vec<u8> {
        bytes(tag::QUERY_LISTED, &[party.map_or("", PartyId::as_str).as_bytes(), END])
    }
}

impl Key for QueryUnder {
    type Value = store_v1::Listed;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::QUERY_UNDER, &[&self.key_id.to_be_bytes(), &(!self.position).to_be_bytes()])
    }
}

impl QueryUnder {
    /// The bytes that all keys under a data key begin with.
    pub(super) fn first(key_id: u64) -> Vec<u8> {
        bytes(tag::QUERY_UNDER, &[&key_id.to_be_bytes()])
    }
}

impl Key for Matter<'_> {
    type Value = store_v1::MatterState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::MATTER, &[self.0.as_str().as_bytes(), END, self.1.as_bytes()])
    }
}

impl Key for OpenMatter<'_> {
    type Value = store_v1::Listed;

    fn encode(&self) -> Vec<u8> {
        let since = oldest_first(self.since_ms);
        bytes(tag::OPEN_MATTER, &[&since, self.intake.as_bytes(), self.party.as_str().as_bytes()])
    }
}

impl OpenMatter<'_> {
    /// The bytes that all keys of the tree begin with.
    pub(super) fn first() -> Vec<u8> {
        vec![tag::OPEN_MATTER]
    }

    /// Where the matters begin that were begun at or after this.
    pub(super) fn from(since_ms: i64) -> Vec<u8> {
        bytes(tag::OPEN_MATTER, &[&oldest_first(since_ms)])
    }

    /// When, whose and which, in any key of the tree.
    pub(super) fn decode(key: &[u8]) -> Option<(i64, PartyId, Sha256Digest)> {
        let (since, rest) = key.strip_prefix(&[tag::OPEN_MATTER])?.split_first_chunk::<8>()?;
        let (intake, party) = rest.split_first_chunk::<32>()?;
        let party = std::str::from_utf8(party).ok()?.parse().ok()?;
        Some(((u64::from_be_bytes(*since) ^ SIGN) as i64, party, Sha256Digest::from(*intake)))
    }
}

impl Key for LapsedMatter {
    type Value = store_v1::LapsedState;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::LAPSED_MATTER, &[&self.0.to_be_bytes()])
    }
}

impl LapsedMatter {
    /// The key behind all keys of the tree.
    pub(super) fn end() -> Vec<u8> {
        behind(&[tag::LAPSED_MATTER])
    }
}

impl Key for Counted<'_> {
    type Value = store_v1::CountsState;

    fn encode(&self) -> Vec<u8> {
        let mut key = Counted::of(self.day, self.party);
        for text in [self.actor, self.service] {
            key.extend_from_slice(text.as_bytes());
            key.extend_from_slice(END);
        }
        key.extend_from_slice(self.procedure.as_bytes());
        key
    }
}

impl Counted<'_> {
    /// Where the rows of a day begin, and those of the day before end.
    pub(super) fn from(day: u32) -> Vec<u8> {
        bytes(tag::COUNTED, &[&day.to_be_bytes()])
    }

    /// The bytes that all keys of the tree begin with.
    pub(super) fn all() -> Vec<u8> {
        vec![tag::COUNTED]
    }

    /// The bytes that all keys of a party's day begin with.
    pub(super) fn of(day: u32, party: &PartyId) -> Vec<u8> {
        bytes(tag::COUNTED, &[&day.to_be_bytes(), party.as_str().as_bytes(), END])
    }

    /// Day, party, actor, service and procedure of any key of the tree.
    pub(super) fn decode(key: &[u8]) -> Option<(u32, [&str; 4])> {
        let (day, rest) = key.strip_prefix(&[tag::COUNTED])?.split_first_chunk::<4>()?;
        let mut texts = std::str::from_utf8(rest).ok()?.split('\0');
        let row = [texts.next()?, texts.next()?, texts.next()?, texts.next()?];
        texts.next().is_none().then_some((u32::from_be_bytes(*day), row))
    }
}

impl Key for CountedRows<'_> {
    type Value = store_v1::CountedRows;

    fn encode(&self) -> Vec<u8> {
        bytes(tag::COUNTED_ROWS, &[&self.day.to_be_bytes(), self.party.as_str().as_bytes()])
    }
}

/// The position at the end of a key that ends in one, inverted so that the newest comes first.
pub(super) fn inverted_position_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|position| !u64::from_be_bytes(*position))
}

/// The first key behind all keys that begin with `prefix`, whose last byte may be any.
pub(super) fn behind_all(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    behind(&end)
}

/// The digest at the end of a key that ends in one.
pub(super) fn digest_of(key: &[u8]) -> Option<Sha256Digest> {
    key.last_chunk::<32>().map(|digest| Sha256Digest::from(*digest))
}

/// The first key behind all keys that begin with `prefix`.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    // Every prefix used here ends in a tag or a zero byte, so its last byte can grow.
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The smallest key behind `key`.
pub(super) fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Whether the projection writes this key; the follower's own mark is not part of what is compared.
pub(super) fn is_projected(key: &[u8]) -> bool {
    key.first() != Some(&tag::APPLIED)
}

/// A key as an operator can read it, for findings. Keys hold codes and identifiers only, never personal data.
pub(super) fn describe(key: &[u8]) -> String {
    let Some((&tag, rest)) = key.split_first() else { return "an empty key".to_owned() };
    let tree = match tag {
        tag::APPLIED => "applied",
        tag::TOTALS => "totals",
        tag::DOSSIER => "dossier",
        tag::EVENT => "event",
        tag::ALIAS => "alias",
        tag::REQUEST => "request",
        tag::LISTED => "listed",
        tag::WAITING => "waiting",
        tag::TAKEN_OVER => "taken_over",
        tag::BACKLOG => "backlog",
        tag::NUMBERS => "numbers",
        tag::CONTENT => "content",
        tag::DOCUMENT => "document",
        tag::REGISTRY => "registry",
        tag::CERTIFICATE => "certificate",
        tag::PARKED_DELIVERY => "parked_delivery",
        tag::LANE => "lane",
        tag::PARKED => "parked",
        tag::HANDLED => "handled",
        tag::EPOCH => "epoch",
        tag::DESK_BLOCKS => "desk_blocks",
        tag::ERASED => "erased",
        tag::ARCHIVED => "archived",
        tag::ARCHIVE => "archive",
        tag::EXPORTED => "exported",
        tag::AUDITED => "audited",
        tag::TOKEN => "token",
        tag::OPEN_TOKEN => "open_token",
        tag::KNOWN => "known_certificate",
        tag::OF_SYSTEM => "certificate_of_system",
        tag::EXPIRY => "certificate_expiry",
        tag::OF_KEY => "certificate_of_key",
        tag::REVOKED_KEY => "revoked_key",
        tag::QUERY => "query",
        tag::QUERY_LISTED => "query_listed",
        tag::QUERY_UNDER => "query_under_key",
        tag::MATTER => "matter",
        tag::OPEN_MATTER => "open_matter",
        tag::LAPSED_MATTER => "lapsed_matter",
        tag::COUNTED => "counted",
        tag::COUNTED_ROWS => "counted_rows",
        _ => "unknown",
    };
    let readable = rest.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from);
    format!("{tree}/{}", readable.collect::<String>())
}

/// Ends a text inside a key.
const END: &[u8] = &[0];

/// Flipped so that times before 1970 sort before those after it.
const SIGN: u64 = 1 << 63;

fn newest_first(time: BusinessTime) -> [u8; 8] {
    (!(time.unix_seconds() as u64 ^ SIGN)).to_be_bytes()
}

/// Milliseconds in bytes of which the later time sorts later, before 1970 too.
fn oldest_first(unix_ms: i64) -> [u8; 8] {
    (unix_ms as u64 ^ SIGN).to_be_bytes()
}

fn bytes(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    key.push(tag);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party(id: &str) -> PartyId {
        id.parse().unwrap()
    }

    fn code(text: &str) -> DossierCode {
        text.parse().unwrap()
    }

    /// The bytes are a stored format: a change here is a new [`super::super::codec::FORMAT`], not a new expectation.
    #[test]
    fn the_bytes_are_those_that_were_drawn() {
        let (desk, dossier) = (party("H57.1"), code("H57-250714-0001"));
        let digest = Sha256Digest::from([7; 32]);
        assert_eq!(Applied.encode(), b"\x01");
        assert_eq!(Totals.encode(), b"\x02");
        assert_eq!(Dossier(&dossier).encode(), b"\x03H57-250714-0001");
        assert_eq!(Event(&dossier, 2).encode(), b"\x04H57-250714-0001\0\0\0\0\x02");
        assert_eq!(Alias("G22/1").encode(), b"\x05G22/1");
        assert_eq!(Request(&desk, &"k-1".parse().unwrap()).encode(), b"\x06H57.1\0k-1");
        let updated_at = BusinessTime::from_unix_seconds(1).unwrap();
        let listed = Listed { party: Some(&desk), updated_at, code: &dossier }.encode();
        let in_all = Listed { party: None, updated_at, code: &dossier }.encode();
        assert_eq!(in_all, b"\x07\0\x7f\xff\xff\xff\xff\xff\xff\xfeH57-250714-0001");
        assert_eq!(listed, b"\x07H57.1\0\x7f\xff\xff\xff\xff\xff\xff\xfeH57-250714-0001");
        let waiting = Delivery { stage: Owed::Waiting, party: &desk, position: 3 }.encode();
        assert_eq!(waiting, b"\x08H57.1\0\0\0\0\0\0\0\0\x03");
        let taken = Delivery { stage: Owed::TakenOver, party: &desk, position: 3 }.encode();
        assert_eq!(taken, b"\x09H57.1\0\0\0\0\0\0\0\0\x03");
        assert_eq!(Backlog(&desk).encode(), b"\x0aH57.1");
        assert_eq!(Numbers(&desk, Date::constant(1970, 1, 3)).encode(), b"\x0bH57.1\0\0\0\0\x02");
        let blocks = DeskBlocks { authority: &desk, desk: &party("H57.2"), day: Date::constant(1970, 1, 3) };
        assert_eq!(blocks.encode(), b"\x1eH57.1\0H57.2\0\0\0\0\x02");
        assert_eq!(Content(&desk, &digest).encode(), [b"\x0cH57.1\0", &[7; 32][..]].concat());
        assert_eq!(Document(4).encode(), b"\x0d\0\0\0\0\0\0\0\x04");
        assert_eq!(Registry(5).encode(), b"\x0e\0\0\0\0\0\0\0\x05");
        assert_eq!(Certificate(&digest).encode(), [b"\x0f", &[7; 32][..]].concat());
        assert_eq!(Erased(&dossier).encode(), b"\x28H57-250714-0001");
        let parked = Delivery { stage: Owed::Parked, party: &desk, position: 3 }.encode();
        assert_eq!(parked, b"\x14H57.1\0\0\0\0\0\0\0\0\x03");
        assert_eq!(Lane(&desk, &dossier).encode(), b"\x15H57.1\0H57-250714-0001");
        assert_eq!(Parked { party: Some(&desk), position: 6 }.encode(), b"\x16H57.1\0\0\0\0\0\0\0\0\x06");
        assert_eq!(Parked { party: None, position: 6 }.encode(), b"\x16\0\0\0\0\0\0\0\0\x06");
        let handled = Handled { party: &desk, code: &dossier, position: 7 }.encode();
        assert_eq!(handled, b"\x17H57.1\0H57-250714-0001\0\0\0\0\0\0\0\0\x07");
        assert_eq!(Epoch.encode(), b"\x18");
        assert_eq!(Archived(&dossier).encode(), b"\x29H57-250714-0001");
        assert_eq!(Archive(8).encode(), b"\x2a\0\0\0\0\0\0\0\x08");
        assert_eq!(Exported(&[7; 16]).encode(), [b"\x2b", &[7; 16][..]].concat());
        assert_eq!(Audited(9).encode(), b"\x32\xff\xff\xff\xff\xff\xff\xff\xf6");
        assert_eq!(Audited::position_of(&Audited(9).encode()), Some(9));
        let key = Sha256Digest::from([9; 32]);
        assert_eq!(Token(&[5; 16]).encode(), [b"\x33", &[5; 16][..]].concat());
        let open = OpenToken { expires_at_ms: 2, id: &[5; 16] }.encode();
        assert_eq!(open, [b"\x34\x80\0\0\0\0\0\0\x02", &[5; 16][..]].concat());
        assert_eq!(Known(&digest).encode(), [b"\x35", &[7; 32][..]].concat());
        assert_eq!(OfSystem("mot-cua", &digest).encode(), [b"\x36mot-cua\0", &[7; 32][..]].concat());
        let expiry = Expiry { not_after_ms: -1, certificate: &digest }.encode();
        assert_eq!(expiry, [b"\x37\x7f\xff\xff\xff\xff\xff\xff\xff", &[7; 32][..]].concat());
        assert_eq!(Expiry::decode(&expiry), Some((-1, digest)));
        assert_eq!(OfKey(&key, &digest).encode(), [b"\x38", &[9; 32][..], &[7; 32][..]].concat());
        assert_eq!(RevokedKey(&key).encode(), [b"\x39", &[9; 32][..]].concat());
        let counted =
            Counted { day: 2, party: &desk, actor: "cb.1", service: "dan-cu", procedure: "1.001193" }.encode();
        assert_eq!(counted, b"\x42\0\0\0\x02H57.1\0cb.1\0dan-cu\x001.001193");
        assert_eq!(Counted::decode(&counted), Some((2, ["H57.1", "cb.1", "dan-cu", "1.001193"])));
        assert_eq!(CountedRows { day: 2, party: &desk }.encode(), b"\x43\0\0\0\x02H57.1");
    }

    #[test]
    fn a_party_never_sees_the_keys_of_another_whose_identifier_begins_alike() {
        let (short, long) = (party("H57.1"), party("H57.10"));
        let key = Delivery { stage: Owed::Waiting, party: &long, position: 1 }.encode();
        let first = Delivery::first(Owed::Waiting, &short);
        assert!(!(first.clone()..behind(&first)).contains(&key));
    }

    proptest! {
        #[test]
        fn a_listing_runs_from_the_newest_change_to_the_oldest(a in -10_000i64..4_000_000_000, b in -10_000i64..4_000_000_000) {
            let (desk, dossier) = (party("H57.1"), code("H57-250714-0001"));
            let key = |seconds| {
                let updated_at = BusinessTime::from_unix_seconds(seconds).unwrap();
                Listed { party: Some(&desk), updated_at, code: &dossier }.encode()
            };
            prop_assert_eq!(key(a).cmp(&key(b)), b.cmp(&a));
            let (read, named) = Listed::decode(Some(&desk), &key(a)).unwrap();
            prop_assert_eq!((read.unix_seconds(), named), (a, dossier.clone()));
        }
    }
}

//! Synthetic dossiers for tests of a store: complete, consistent, and decided by nobody.
//!
//! Party identifiers are illustrative (mã minh hoạ).

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use jiff::civil::{Date, DateTime, Time};
use lgsp_domain::deadline::Limit;
use lgsp_domain::deadline::clock::{
    Appointment, Clock, ClockParts, OpenPause, PauseCause, StartPolicy, SupplementPolicy, Terms,
};
use lgsp_domain::dossier::{AttachedDocument, Dossier, HandOver, Opening, Places};
use lgsp_domain::event::{Event, Outcome};
use lgsp_domain::numbering::{LAST_NUMBER, NumberSource, SpoolId};
use lgsp_domain::transition::{Act, Role};
use lgsp_proto::types::{BusinessTime, DossierCode, IntakeChannel, PartyId, ReturnChannel, Sha256Digest, Status};
use lgsp_proto::v1;
use prost::Message;

use crate::store::{
    Acknowledgement, Admission, Answer, BlockWanted, DocumentMeta, Handled, Holder, Installation, Parked, ParkedAction,
    Queried, QueryEnded, QueryId, QueryProof, Stage, Store,
};

/// The intake desk.
pub const DESK: &str = "H57.101";
/// The competent authority.
pub const AUTHORITY: &str = "H57.20";
/// The return desk.
pub const RETURN_DESK: &str = "H57.102";
/// A party that is told of everything.
pub const PORTAL: &str = "H57.900";
/// A party that has nothing to do with anything.
pub const STRANGER: &str = "H57.777";
/// The business day of all codes.
pub const DAY: Date = Date::constant(2025, 7, 14);

/// A party by its identifier.
///
/// # Panics
/// It is none.
pub fn party(id: &str) -> PartyId {
    id.parse().unwrap()
}

/// The code with this number.
///
/// # Panics
/// The number is none of a day's.
pub fn code(number: u32) -> DossierCode {
    DossierCode::issue(&party(AUTHORITY), DAY, number).unwrap()
}

/// A moment of the business day, in seconds after its reception.
///
/// # Panics
/// It is out of this world.
pub fn at(seconds: i64) -> BusinessTime {
    BusinessTime::from_unix_seconds(1_752_458_400 + seconds).unwrap()
}

/// A moment by the machine clock.
pub fn machine(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// SHA-256.
///
/// # Panics
/// Never.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::try_from(digest(&SHA256, bytes).as_ref()).unwrap()
}

/// The event that opens the dossier `number`, recorded at `at(number)`, told to authority, return desk and portal.
///
/// # Panics
/// The number is none of a day's.
pub fn opened(number: u32) -> Event {
    let seconds = i64::from(number);
    Event {
        code: code(number),
        sequence: 1,
        act: Act::Submit,
        by: party(DESK),
        role: Role::IntakeDesk,
        actor: "clerk.1".parse().unwrap(),
        occurred_at: at(seconds),
        status: Status::Registered,
        hand_over: Some(HandOver::Waiting),
        opening: Some(Opening {
            aliases: vec![format!("G22-{number}").parse().unwrap()],
            procedure: "1.001193".parse().unwrap(),
            case: None,
            locality: "19774".parse().unwrap(),
            intake_channel: IntakeChannel::Online,
            return_channel: ReturnChannel::Post,
            places: Places {
                support_point: None,
                intake_desk: party(DESK),
                competent_authority: party(AUTHORITY),
                return_desk: party(RETURN_DESK),
            },
            non_territorial: true,
            received_at: at(seconds),
            acceptance_due: Some(at(seconds + 28_800)),
            route_rule: "civil-status".to_owned(),
            number_source: NumberSource::Taken,
        }),
        outcome: Outcome {
            clock: clock(seconds),
            resume_to: None,
            supplement_until: None,
            resolved_at: None,
            returned_at: None,
            documents: Vec::new(),
        },
        recipients: [AUTHORITY, RETURN_DESK, PORTAL].map(party).to_vec(),
        registry_version: 1,
    }
}

/// The event of the authority that follows in `dossier`, at `occurred_at`, told to desk, return desk and portal.
///
/// # Panics
/// Never.
pub fn progressed(dossier: &Dossier, occurred_at: BusinessTime) -> Event {
    Event {
        code: dossier.code.clone(),
        sequence: dossier.sequence + 1,
        act: Act::Progress,
        by: party(AUTHORITY),
        role: Role::CompetentAuthority,
        actor: "clerk.2".parse().unwrap(),
        occurred_at,
        status: Status::Processing,
        hand_over: Some(HandOver::Processing),
        opening: None,
        outcome: Outcome {
            clock: dossier.clock.clone(),
            resume_to: None,
            supplement_until: None,
            resolved_at: None,
            returned_at: None,
            documents: Vec::new(),
        },
        recipients: [DESK, RETURN_DESK, PORTAL].map(party).to_vec(),
        registry_version: 1,
    }
}

/// A clock with something in every part, started at `at(seconds)` and due three days later.
///
/// # Panics
/// Never.
pub fn clock(seconds: i64) -> Clock {
    let civil = |seconds| -> DateTime { at(seconds).civil() };
    let due = civil(seconds + 3 * 86_400);
    Clock::from_parts(ClockParts {
        terms: Terms {
            limit: Limit::SameDay { cutoff: Time::constant(15, 0, 0, 0) },
            start: StartPolicy::AtReceipt,
            supplement: SupplementPolicy::Resume,
        },
        counts_from: Some(civil(seconds)),
        original_due: Some(due),
        promised: Some(Appointment { counted_to: due, falls: due }),
        extended: None,
        open: vec![OpenPause { cause: PauseCause::PaperTransit, since: civil(seconds + 60) }],
        stopped_since: None,
        restarting: false,
        latest: Some(civil(seconds + 60)),
    })
}

/// `event` with everything that makes it an admission; the key is that of [`key`].
///
/// # Panics
/// Never.
pub fn admission(event: Event) -> Admission {
    let body = body(&event.code, event.sequence);
    let receipt = v1::Receipt {
        dossier_code: event.code.to_string(),
        sequence: event.sequence,
        body_sha256: Bytes::copy_from_slice(sha256(&body).as_bytes()),
        ..v1::Receipt::default()
    };
    Admission {
        first_admitted_at: None,
        request_key: key(&event.code, event.sequence).parse().unwrap(),
        body_sha256: sha256(&body),
        body,
        signature: Bytes::from_static(b"a signature"),
        certificate: sha256(b"a certificate"),
        system: "hue-mot-cua".to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        admitted_at: machine(u64::from(event.code.number())),
        answer: Answer {
            receipt: receipt.encode_to_vec().into(),
            signature: Bytes::from_static(b"the gateway's signature"),
            certificate: sha256(b"the gateway's certificate"),
            warnings: vec![("CLOCK_AHEAD".to_owned(), "received_at".to_owned())],
        },
        event,
    }
}

/// The body of an event.
pub fn body(code: &DossierCode, sequence: u32) -> Bytes {
    Bytes::from(format!("what was said in {code}/{sequence}"))
}

/// The request key of an event.
pub fn key(code: &DossierCode, sequence: u32) -> String {
    format!("key-{code}-{sequence}")
}

/// An acknowledgement of `deliveries`, given as numbers of dossiers and of events.
///
/// # Panics
/// A number is none of a day's.
pub fn acknowledgement(party_id: &str, stage: Stage, deliveries: &[(u32, u32)]) -> Acknowledgement {
    Acknowledgement {
        party: party(party_id),
        stage,
        deliveries: deliveries.iter().map(|(number, sequence)| (code(*number), *sequence)).collect(),
        holder: holder("main", b""),
        at: machine(9),
    }
}

/// An installation of the authority's system, with this spool.
pub fn holder(instance: &str, spool: &'static [u8]) -> Holder {
    let installation = Installation { system: "so-tu-phap".to_owned(), instance: instance.to_owned() };
    Holder { installation, spool: Bytes::from_static(spool) }
}

/// The dossier `number`, parked for a party from an event on.
///
/// # Panics
/// The number is none of a day's.
pub fn parked(party_id: &str, number: u32, sequence: u32) -> Parked {
    Parked {
        party: party(party_id),
        code: code(number),
        sequence,
        reason: "AGENCY_REFUSED".to_owned(),
        kind: v1::DeclineKind::Permanent,
        attempts: 3,
        system: "so-tu-phap".to_owned(),
        at: machine(10),
    }
}

/// What the operator decided about [`parked`].
///
/// # Panics
/// The number is none of a day's.
pub fn handled(party_id: &str, number: u32, sequence: u32, action: ParkedAction) -> Handled {
    Handled {
        party: party(party_id),
        code: code(number),
        sequence,
        action,
        acting_party: party(PORTAL),
        actor: "operator.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        at: machine(11),
        why: "the agency has repaired its system".to_owned(),
    }
}

/// A block of the authority's numbers of the day, for a spool of `desk`, in the first epoch.
///
/// # Panics
/// The desk is none.
pub fn block(desk: &str, count: u32) -> BlockWanted {
    BlockWanted {
        authority: party(AUTHORITY),
        day: DAY,
        desk: party(desk),
        spool: SpoolId::new([1; 16]),
        epoch: 1,
        count,
        last: LAST_NUMBER,
    }
}

/// Whether the number is in a block of `desk`, of the authority's day.
///
/// # Panics
/// The store cannot be read.
pub async fn leased(store: &dyn Store, desk: &str, epoch: u32, number: u32) -> bool {
    store.is_leased(&party(AUTHORITY), DAY, &party(desk), epoch, number).await.unwrap()
}

/// A complete document with this content.
///
/// # Panics
/// The party is none.
pub fn document(id: u64, party_id: &str, content: &[u8]) -> DocumentMeta {
    DocumentMeta {
        id,
        party: party(party_id),
        actor: "clerk.1".parse().unwrap(),
        system: "hue-mot-cua".to_owned(),
        sha256: sha256(content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".parse().unwrap(),
        key_id: 1,
        stored_at: machine(5),
        dossier: None,
    }
}

/// `document` as an event attaches it.
pub fn attached(document: &DocumentMeta) -> AttachedDocument {
    AttachedDocument {
        sha256: document.sha256,
        size_bytes: document.size_bytes,
        media_type: document.media_type.clone(),
        document_id: document.id,
    }
}

/// A query of the desk that was answered, for a dossier or for none.
///
/// # Panics
/// Never.
pub fn asked(id: QueryId, dossier: Option<DossierCode>) -> QueryEnded {
    let reply = Bytes::from_static(br#"{"full_name":"TRAN THI THU"}"#);
    let reply_sha256 = sha256(&reply);
    let answer = v1::QueryAnswer {
        query_id: Bytes::copy_from_slice(&id),
        reply_sha256: Bytes::copy_from_slice(reply_sha256.as_bytes()),
        ..v1::QueryAnswer::default()
    };
    QueryEnded {
        envelope: Queried {
            id,
            service: "dan-cu".to_owned(),
            version: 1,
            purpose: "doi-chieu".to_owned(),
            procedure: Some("1.001193".parse().unwrap()),
            dossier,
            intake: None,
            party: party(DESK),
            actor: "clerk.1".parse().unwrap(),
            system: "mot-cua".to_owned(),
            connector: "ket-noi-dan-cu".to_owned(),
            fields: vec!["full_name".to_owned()],
            refused: None,
            asked_at: machine(u64::from(id[0])),
            ended_at: machine(u64::from(id[0]) + 1),
            reply_sha256: Some(reply_sha256),
            subject: Some([7; 32]),
            registry_version: 3,
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            proof: Some(QueryProof {
                answer: answer.encode_to_vec().into(),
                signature: Bytes::from_static(b"signature"),
                certificate: sha256(b"gateway"),
            }),
            key_id: 0,
        },
        intake_key: None,
        payload: Bytes::from_static(br#"{"personal_number":"046190000001"}"#),
        reply,
    }
}

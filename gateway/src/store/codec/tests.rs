//! What is written is read back, whatever it is.

use std::time::{Duration, UNIX_EPOCH};

use jiff::civil::Time;
use lgsp_domain::deadline::Limit;
use lgsp_domain::deadline::clock::{
    Appointment, Clock, ClockParts, OpenPause, PauseCause, StartPolicy, SupplementPolicy, Terms,
};
use lgsp_domain::dossier::{AttachedDocument, Dossier, HandOver, Opening, Places};
use lgsp_domain::event::Outcome;
use lgsp_domain::numbering::NumberSource;
use lgsp_proto::types::{BusinessTime, IntakeChannel, ReturnChannel};
use prop::option::of;
use prop::sample::select;
use proptest::prelude::*;
use prost::Message;

use super::super::certificates::IssuedOver;
use super::super::queries::{QueryId, QueryProof};
use super::super::{GivenBackWhy, Holder, Installation, ParkedAction};
use super::*;

fn time() -> impl Strategy<Value = BusinessTime> {
    (0i64..4_000_000_000).prop_map(|seconds| BusinessTime::from_unix_seconds(seconds).unwrap())
}

fn machine_time() -> impl Strategy<Value = SystemTime> {
    (0u64..4_000_000_000_000).prop_map(|unix_ms| UNIX_EPOCH + Duration::from_millis(unix_ms))
}

fn party() -> impl Strategy<Value = PartyId> {
    "[A-Z][0-9]{2}(\\.[0-9]{1,3}){0,3}".prop_map(|id| id.parse().unwrap())
}

fn digests() -> impl Strategy<Value = Sha256Digest> {
    any::<[u8; 32]>().prop_map(Sha256Digest::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn dossier_code() -> impl Strategy<Value = lgsp_proto::types::DossierCode> {
    (party(), 1i8..=28, 1u32..=99_999).prop_map(|(party, day, number)| {
        lgsp_proto::types::DossierCode::issue(&party, Date::constant(2025, 7, day), number).unwrap()
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        any::<u16>().prop_map(Limit::WorkingDays),
        any::<u16>().prop_map(Limit::CalendarDays),
        any::<u16>().prop_map(Limit::WorkingHours),
        (0i8..24, 0i8..60, 0i8..60)
            .prop_map(|(hour, minute, second)| Limit::SameDay { cutoff: Time::constant(hour, minute, second, 0) }),
        Just(Limit::Unlimited),
    ]
}

fn clock() -> impl Strategy<Value = Clock> {
    let civil = || time().prop_map(BusinessTime::civil);
    let appointment = || (civil(), civil()).prop_map(|(counted_to, falls)| Appointment { counted_to, falls });
    let cause = select(vec![
        PauseCause::Supplement,
        PauseCause::FinancialObligation,
        PauseCause::PaperTransit,
        PauseCause::Expertise,
        PauseCause::PublicNotice,
        PauseCause::OtherAgency,
    ]);
    let pause = (cause, civil()).prop_map(|(cause, since)| OpenPause { cause, since });
    let terms = (
        limit(),
        select(vec![StartPolicy::AtReceipt, StartPolicy::AtAuthority]),
        select(vec![SupplementPolicy::Resume, SupplementPolicy::Restart]),
    );
    let dates = (of(civil()), of(civil()), of(appointment()), of(appointment()));
    let rest = (prop::collection::vec(pause, 0..4), of(civil()), any::<bool>(), of(civil()));
    (terms, dates, rest).prop_map(
        |(
            (limit, start, supplement),
            (counts_from, original_due, promised, extended),
            (open, stopped_since, restarting, latest),
        )| {
            let terms = Terms { limit, start, supplement };
            Clock::from_parts(ClockParts {
                terms,
                counts_from,
                original_due,
                promised,
                extended,
                open,
                stopped_since,
                restarting,
                latest,
            })
        },
    )
}

fn attached() -> impl Strategy<Value = AttachedDocument> {
    (digests(), any::<u64>(), any::<u64>()).prop_map(|(sha256, size_bytes, document_id)| AttachedDocument {
        sha256,
        size_bytes,
        media_type: "application/pdf".parse().unwrap(),
        document_id,
    })
}

fn opening() -> impl Strategy<Value = Opening> {
    let what = (
        prop::collection::vec("[!-~]{1,20}", 0..3),
        of("[a-z-]{1,12}"),
        select(IntakeChannel::ALL.to_vec()),
        select(ReturnChannel::ALL.to_vec()),
    );
    let places = (of(party()), party(), party(), party());
    let sources = vec![NumberSource::Unrecorded, NumberSource::Taken, NumberSource::Leased, NumberSource::Own];
    let numbered = (any::<bool>(), select(sources));
    (what, places, numbered, time(), of(time())).prop_map(
        |((aliases, case, intake_channel, return_channel), places, numbered, received_at, acceptance_due)| {
            let (non_territorial, number_source) = numbered;
            let (support_point, intake_desk, competent_authority, return_desk) = places;
            Opening {
                aliases: aliases.iter().map(|alias| alias.parse().unwrap()).collect(),
                procedure: "1.001193".parse().unwrap(),
                case: case.and_then(|case| case.parse().ok()),
                locality: "19774".parse().unwrap(),
                intake_channel,
                return_channel,
                places: Places { support_point, intake_desk, competent_authority, return_desk },
                non_territorial,
                received_at,
                acceptance_due,
                route_rule: "a-rule".to_owned(),
                number_source,
            }
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    select(Status::ALL.to_vec())
}

fn hand_over() -> impl Strategy<Value = Option<HandOver>> {
    of(select(vec![HandOver::AtDesk, HandOver::Waiting, HandOver::Processing, HandOver::Returned]))
}

fn event() -> impl Strategy<Value = Event> {
    let head = (dossier_code(), any::<u32>(), select(Act::ALL.to_vec()), party(), select(Role::ALL.to_vec()), time());
    let outcome = (clock(), of(status()), of(time()), of(time()), of(time()), prop::collection::vec(attached(), 0..3))
        .prop_map(|(clock, resume_to, supplement_until, resolved_at, returned_at, documents)| Outcome {
            clock,
            resume_to,
            supplement_until,
            resolved_at,
            returned_at,
            documents,
        });
    let rest = (status(), hand_over(), of(opening()), outcome, prop::collection::vec(party(), 0..5), any::<u64>());
    (head, rest).prop_map(|((code, sequence, act, by, role, occurred_at), rest)| {
        let (status, hand_over, opening, outcome, recipients, registry_version) = rest;
        Event {
            code,
            sequence,
            act,
            by,
            role,
            actor: "clerk.1".parse().unwrap(),
            occurred_at,
            status,
            hand_over,
            opening,
            outcome,
            recipients,
            registry_version,
        }
    })
}

fn admitted_facts() -> impl Strategy<Value = Fact> {
    let proof = (digests(), bytes(), digests(), of("[0-9a-f-]{10,55}"), machine_time(), any::<u64>());
    let answer = (bytes(), bytes(), digests(), prop::collection::vec(("[A-Z_]{1,9}", "[a-z_.]{0,9}"), 0..3));
    (event(), proof, answer).prop_map(|(event, proof, (receipt, signed, certified, warnings))| {
        let (body_sha256, signature, certificate, traceparent, admitted_at, key_id) = proof;
        Fact::Admitted(Box::new(Admitted {
            first_admitted_at: Some(UNIX_EPOCH + Duration::from_millis(1_752_458_400_321)),
            event,
            request_key: "a-key".parse().unwrap(),
            body_sha256,
            signature,
            certificate,
            system: "a-system".to_owned(),
            traceparent,
            admitted_at,
            answer: Answer { receipt, signature: signed, certificate: certified, warnings },
            key_id,
        }))
    })
}

fn a_holder() -> Holder {
    let installation = Installation { system: "a-system".to_owned(), instance: "one".to_owned() };
    Holder { installation, spool: Bytes::from_static(b"sixteen bytes...") }
}

fn facts() -> impl Strategy<Value = Fact> {
    let acknowledged = (
        party(),
        select(vec![Stage::TakenOver, Stage::HandedOver]),
        prop::collection::vec((dossier_code(), any::<u32>()), 0..5),
        machine_time(),
    )
        .prop_map(|(party, stage, deliveries, at)| {
            Fact::Acknowledged(Acknowledgement { party, stage, deliveries, holder: a_holder(), at })
        });
    let why = prop_oneof![
        Just(GivenBackWhy::SpoolReplaced),
        Just(GivenBackWhy::Declined),
        Just(GivenBackWhy::Restored),
        party().prop_map(|acting_party| GivenBackWhy::Released {
            acting_party,
            actor: "operator.1".parse().unwrap(),
            system: "van-hanh".to_owned(),
            ground: "DISK_LOST".to_owned(),
        }),
    ];
    let given_back = (party(), prop::collection::vec((dossier_code(), any::<u32>()), 0..5), why, machine_time())
        .prop_map(|(party, deliveries, why, at)| {
            Fact::GivenBack(GivenBack { party, deliveries, holder: a_holder(), why, at })
        });
    let parked = (party(), dossier_code(), any::<u32>(), "[A-Z_]{1,20}", any::<u32>(), machine_time()).prop_map(
        |(party, code, sequence, reason, attempts, at)| {
            let (kind, system) = (v1::DeclineKind::Transient, "a-system".to_owned());
            Fact::DossierParked(Parked { party, code, sequence, reason, kind, attempts, system, at })
        },
    );
    let action = select(vec![ParkedAction::Retry, ParkedAction::Skip]);
    let handled = (party(), dossier_code(), any::<u32>(), action, party(), machine_time()).prop_map(
        |(party, code, sequence, action, acting_party, at)| {
            let (actor, system) = ("clerk.1".parse().unwrap(), "a-system".to_owned());
            let why = String::new();
            Fact::ParkedHandled(Handled { party, code, sequence, action, acting_party, actor, system, at, why })
        },
    );
    let stored = (any::<u64>(), party(), digests(), any::<u64>(), any::<u64>(), machine_time()).prop_map(
        |(id, party, sha256, size_bytes, key_id, stored_at)| {
            Fact::DocumentStored(DocumentMeta {
                id,
                party,
                actor: "clerk.1".parse().unwrap(),
                system: "a-system".to_owned(),
                sha256,
                size_bytes,
                media_type: "image/png".parse().unwrap(),
                key_id,
                stored_at,
                dossier: None,
            })
        },
    );
    let applied = (any::<u64>(), bytes()).prop_map(|(number, content)| {
        let version = v1::RegistryVersion { number, ..Default::default() };
        let files = vec![v1::RegistryFile { name: "units.toml".to_owned(), content }];
        Fact::RegistryApplied(RegistryRecord { version, files })
    });
    let seen = (digests(), bytes(), prop::option::of(machine_time())).prop_map(|(digest, der, at)| {
        // What is recorded as the first millisecond of 1970 says that nothing was.
        let at = at.filter(|at| *at != SystemTime::UNIX_EPOCH);
        Fact::CertificateSeen { digest, der, system: "a-system".to_owned(), at }
    });
    let token_issued = (any::<[u8; 16]>(), digests(), machine_time(), party(), machine_time()).prop_map(
        |(id, secret_sha256, expires_at, party, at)| {
            let (actor, system) = ("van.hanh.1".parse().unwrap(), "van-hanh".to_owned());
            let for_system = "a-system".to_owned();
            Fact::TokenIssued(TokenIssued { id, secret_sha256, for_system, expires_at, party, actor, system, at })
        },
    );
    let token_withdrawn = (any::<[u8; 16]>(), party(), machine_time()).prop_map(|(id, party, at)| {
        let (actor, system) = ("van.hanh.1".parse().unwrap(), "van-hanh".to_owned());
        Fact::TokenWithdrawn(TokenWithdrawn { id, party, actor, system, at })
    });
    let over = prop_oneof![any::<[u8; 16]>().prop_map(IssuedOver::Token), digests().prop_map(IssuedOver::Renewal)];
    let issued = (digests(), bytes(), prop::collection::vec(bytes(), 0..3), over, machine_time()).prop_map(
        |(digest, der, intermediates, over, at)| {
            let for_system = "a-system".to_owned();
            Fact::CertificateIssued(CertificateIssued { digest, der, intermediates, for_system, over, at })
        },
    );
    let digest_list = || prop::collection::vec(digests(), 0..4);
    let revoked = (digest_list(), digest_list(), of("[a-z]{1,9}"), party(), machine_time()).prop_map(
        |(keys, certificates, for_system, party, at)| {
            let (actor, system) = ("van.hanh.1".parse().unwrap(), "van-hanh".to_owned());
            let ground = "KEY_STOLEN".to_owned();
            Fact::CertificateRevoked(CertificateRevoked {
                keys,
                certificates,
                for_system,
                ground,
                party,
                actor,
                system,
                at,
            })
        },
    );
    let of_certificates = prop_oneof![token_issued, token_withdrawn, issued, revoked];
    let good = (of(any::<[u8; 16]>()), 1u32..9);
    let leased = (party(), 0i32..100_000, party(), good, 0u32..99_999, 0u32..999, machine_time()).prop_map(
        |(authority, day, desk, (spool, epoch), first, count, at)| {
            Fact::NumbersLeased(NumbersLeased {
                authority,
                day: date("day", day).unwrap(),
                desk,
                spool: spool.map(SpoolId::new),
                epoch,
                numbers: first..first + count,
                at,
            })
        },
    );
    let deliveries = prop_oneof![acknowledged, given_back, parked, handled];
    let erased = (dossier_code(), prop::collection::vec(any::<u64>(), 0..4), party(), machine_time()).prop_map(
        |(code, key_ids, party, at)| {
            Fact::DossierErased(Erasure {
                code,
                key_ids,
                party,
                actor: "van.hanh.1".parse().unwrap(),
                system: "a-system".to_owned(),
                ground: "QD-1/2026".to_owned(),
                at,
            })
        },
    );
    let archived = (prop::collection::vec(dossier_code(), 0..4), digests(), prop::option::of(party()), machine_time())
        .prop_map(|(codes, sha256, party, at)| {
            Fact::DossiersArchived(DossiersArchived {
                codes,
                archive: "archive-2026-11-0001.lgsp".to_owned(),
                sha256,
                party,
                actor: "van.hanh.1".parse().unwrap(),
                system: "a-system".to_owned(),
                after_days: 365,
                at,
            })
        });
    let exported = (any::<[u8; 16]>(), of(party()), machine_time()).prop_map(|(identity, party, at)| {
        let (what, system) = ("backup".to_owned(), "a-system".to_owned());
        Fact::Exported(Exported { what, identity, party, actor: "uid-1000".parse().unwrap(), system, at })
    });
    let proof = (any::<[u8; 9]>(), digests()).prop_map(|(bytes, certificate)| QueryProof {
        answer: Bytes::copy_from_slice(&bytes),
        signature: Bytes::copy_from_slice(&bytes[..4]),
        certificate,
    });
    let matter = (of(dossier_code()), of(digests()), of(digests()), of(any::<[u8; 32]>()), of(proof));
    let times = (machine_time(), machine_time());
    let queried = (any::<QueryId>(), party(), matter, times, of(Just("SUBJECT_LOCKED".to_owned())), any::<u64>())
        .prop_map(
            |(id, party, (dossier, intake, reply_sha256, subject, proof), (asked_at, ended_at), refused, key_id)| {
                let procedure = dossier.as_ref().map(|_| "1.001193".parse().unwrap());
                let traceparent = intake.map(|_| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
                Fact::Queried(Box::new(Queried {
                    id,
                    service: "dan-cu".to_owned(),
                    version: 2,
                    purpose: "doi-chieu".to_owned(),
                    procedure,
                    dossier,
                    intake,
                    party,
                    actor: "can.bo.1".parse().unwrap(),
                    system: "mot-cua".to_owned(),
                    connector: "ket-noi".to_owned(),
                    fields: vec!["full_name".to_owned(), "residence.commune_code".to_owned()],
                    refused,
                    asked_at,
                    ended_at,
                    reply_sha256,
                    subject,
                    registry_version: key_id / 3,
                    traceparent,
                    proof,
                    key_id,
                }))
            },
        );
    let lapsed = (party(), digests(), any::<u64>(), machine_time())
        .prop_map(|(party, intake, key_id, at)| Fact::MatterLapsed(MatterLapsed { party, intake, key_id, at }));
    prop_oneof![
        2 => queried, 1 => lapsed,
        3 => admitted_facts(), 3 => deliveries, 1 => stored, 1 => applied, 1 => seen, 1 => leased, 1 => erased,
        1 => archived, 1 => exported, 2 => of_certificates
    ]
}

proptest! {
    #[test]
    fn a_record_says_what_the_fact_said(fact in facts(), body in prop::collection::vec(any::<u8>(), 0..30)) {
        let bytes = fact.record(body).encode_to_vec();
        let read = Fact::read(&Record::decode(&bytes[..]).unwrap()).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{fact:?}"));
    }

    #[test]
    fn a_state_says_how_the_dossier_stands(
        event in event(),
        opening in opening(),
        key_id in any::<u64>(),
        informed in prop::collection::vec(party(), 0..4),
    ) {
        let Outcome { clock, resume_to, supplement_until, resolved_at, returned_at, documents } = event.outcome;
        let dossier = Dossier {
            code: event.code.clone(),
            opening,
            status: event.status,
            resume_to,
            hand_over: event.hand_over,
            sequence: event.sequence,
            clock,
            supplement_until,
            resolved_at,
            returned_at,
            updated_at: event.occurred_at,
            registry_version: event.registry_version,
            documents,
            informed,
        };
        let standing = Held { dossier, key_id };
        let bytes = state_of(&standing).encode_to_vec();
        let read = held(&event.code, &store_v1::DossierState::decode(&bytes[..]).unwrap()).unwrap();
        prop_assert_eq!(read, standing);
    }

    #[test]
    fn no_bytes_make_it_panic(fact in facts(), flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut bytes = fact.record(Vec::new()).encode_to_vec();
        for (at, value) in flips {
            let at = at % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Ok(record) = Record::decode(&bytes[..]) {
            let _ = Fact::read(&record);
        }
    }
}

/// Before there were instances and spools, a system was its only installation.
#[test]
fn an_acknowledgement_without_an_installation_is_the_systems_main_one() {
    let stored = store_v1::Acknowledgement {
        party: "H57.20".to_owned(),
        stage: v1::AcknowledgeStage::TakenOver.into(),
        system: "so-tu-phap".to_owned(),
        ..store_v1::Acknowledgement::default()
    };
    let fact = Fact::read(&Record { kind: Some(Kind::Acknowledgement(stored)) }).unwrap();
    let Fact::Acknowledged(acknowledgement) = fact else { panic!("not an acknowledgement") };
    let installation = Installation { system: "so-tu-phap".to_owned(), instance: "main".to_owned() };
    assert_eq!(acknowledgement.holder, Holder { installation, spool: Bytes::new() });
}

/// The first shipped form. Later versions must go on reading it: add a fixture, never change this one.
#[test]
fn the_first_form_of_a_record_is_still_read() {
    let record = Record::decode(&include_bytes!("fixtures/admission-1.bin")[..]).unwrap();
    let Fact::Admitted(admitted) = Fact::read(&record).unwrap() else { panic!("not an admission") };
    assert_eq!(admitted.event.code.as_str(), "H57.20-250714-0001");
    assert_eq!((admitted.event.sequence, admitted.event.act, admitted.event.role), (1, Act::Submit, Role::IntakeDesk));
    let opening = admitted.event.opening.as_ref().unwrap();
    assert_eq!(opening.places.competent_authority.as_str(), "H57.20");
    assert_eq!(opening.aliases[0].as_str(), "G22-1");
    assert_eq!(admitted.event.outcome.clock.open_pauses().len(), 1);
    assert_eq!(admitted.answer.warnings, [("CLOCK_AHEAD".to_owned(), "received_at".to_owned())]);
    assert_eq!((admitted.key_id, admitted.request_key.as_str()), (7, "key-H57.20-250714-0001-1"));
    assert_eq!(admitted.event.recipients.len(), 3);
    // Who chose the number was not kept yet.
    assert_eq!(opening.number_source, NumberSource::Unrecorded);
}

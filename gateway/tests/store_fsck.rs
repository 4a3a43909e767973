//! `fsck` finds what is wrong, names it, and says nothing of what is right.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod store_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::civil::Date;
use lgsp_certs::ca::CertificateAuthority;
use lgsp_certs::sign::{Purpose, SigningKey};
use lgsp_domain::event::Event;
use lgsp_domain::numbering::{NumberSource, NumberZone};
use lgsp_gateway::archive::{Draft, Head};
use lgsp_gateway::store::contract::sample::{
    AUTHORITY, DAY, DESK, PORTAL, RETURN_DESK, STRANGER, acknowledgement, admission, asked, at, attached, block, code,
    document, handled, holder, machine, opened, parked, party, progressed, sha256,
};
use lgsp_gateway::store::data_folder::{CannotRead, FolderError};
use lgsp_gateway::store::fsck::{Invariant, Report, fsck};
use lgsp_gateway::store::read_only::ReadOnly;
use lgsp_gateway::store::{
    Admission, Archiving, BlockWanted, Commit, DossiersArchived, EpochStarted, Fact, GivenBack, GivenBackWhy,
    MatterLapsed, ParkedAction, Stage, Store, intake_digest,
};
use lgsp_journal::seal::{KeyId, KeyRing, NodeKey};
use lgsp_journal::{Files, RealFiles};
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{self, Record};
use lgsp_proto::types::Status;
use prost::Message;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use store_support::{node_key, open};

/// A system with a certificate.
struct Signer {
    key: SigningKey,
    der: Bytes,
}

impl Signer {
    fn of(ca: &CertificateAuthority, name: &str) -> Self {
        let issued = ca.issue_system(&name.parse().unwrap(), Duration::from_secs(86_400), SystemTime::now()).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        Self { key: SigningKey::from_pem(issued.key_pem.as_bytes()).unwrap(), der: Bytes::copy_from_slice(&der) }
    }

    fn seen(&self) -> Commit {
        Commit::Certificate {
            digest: sha256(&self.der),
            der: self.der.clone(),
            system: "a-system".to_owned(),
            at: SystemTime::UNIX_EPOCH,
        }
    }
}

/// The two who sign.
struct Signers {
    system: Signer,
    gateway: Signer,
}

impl Signers {
    fn new(dir: &Path) -> Self {
        let ca = CertificateAuthority::create(&dir.join("ca"), &"hue.lgsp.test".parse().unwrap(), SystemTime::now());
        let ca = ca.unwrap();
        Self { system: Signer::of(&ca, "hue-mot-cua"), gateway: Signer::of(&ca, "gateway") }
    }

    /// An admission that is signed by both.
    fn sign(&self, event: Event) -> Admission {
        let purpose = if event.opening.is_some() { Purpose::Submission } else { Purpose::Entry };
        let mut admission = admission(event);
        admission.signature = self.system.key.sign(purpose, &admission.body).into();
        admission.certificate = sha256(&self.system.der);
        admission.answer.signature = self.gateway.key.sign(Purpose::Receipt, &admission.answer.receipt).into();
        admission.answer.certificate = sha256(&self.gateway.der);
        admission
    }
}

async fn admit(store: &dyn Store, admission: Admission) {
    store.commit(Commit::Admission(Box::new(admission))).await.unwrap();
}

/// A data folder in which a little of everything has happened, closed in order.
async fn sound(dir: &Path) -> Signers {
    let signers = Signers::new(dir);
    let (store, _) = open(dir);
    store.commit(signers.system.seen()).await.unwrap();
    store.commit(signers.gateway.seen()).await.unwrap();
    let paper = document(5, DESK, b"a form");
    store.commit(Commit::Document(paper.clone())).await.unwrap();
    for number in 1..=6 {
        let mut event = opened(number);
        if number == 1 {
            event.outcome.documents = vec![attached(&paper)];
        }
        admit(&*store, signers.sign(event)).await;
        let dossier = store.dossier(&code(number)).await.unwrap().unwrap();
        admit(&*store, signers.sign(progressed(&dossier, at(100)))).await;
    }
    let acknowledged = |stage, deliveries: &[(u32, u32)]| {
        store.commit(Commit::Acknowledgement(acknowledgement(AUTHORITY, stage, deliveries)))
    };
    acknowledged(Stage::TakenOver, &[(1, 1), (2, 1), (3, 1)]).await.unwrap();
    acknowledged(Stage::HandedOver, &[(1, 1), (4, 1)]).await.unwrap();
    store.lease_numbers(&block(DESK, 4), machine(1)).await.unwrap();
    store.close().await;
    signers
}

/// A sound folder in which deliveries went other ways than straight to the agency.
async fn detoured(dir: &Path) {
    sound(dir).await;
    let (store, _) = open(dir);
    // One dossier is parked, one was and is skipped, and one adapter's disk was replaced.
    for number in [5, 6] {
        store.commit(Commit::Parked(parked(PORTAL, number, 1))).await.unwrap();
    }
    store.commit(Commit::Handled(handled(PORTAL, 6, 1, ParkedAction::Skip))).await.unwrap();
    let lost = GivenBack {
        party: party(AUTHORITY),
        deliveries: vec![(code(2), 1)],
        holder: holder("main", b""),
        why: GivenBackWhy::SpoolReplaced,
        at: machine(2),
    };
    store.commit(Commit::GivenBack(lost)).await.unwrap();
    store.close().await;
}

fn check(dir: &Path) -> Report {
    fsck(dir, &node_key(dir), |_| ()).unwrap()
}

fn broken(report: &Report) -> BTreeSet<Invariant> {
    report.problems.iter().map(|problem| problem.invariant).collect()
}

/// Changes the index behind the store's back.
fn tamper_index(dir: &Path, change: impl FnOnce(&sled::Db)) {
    let index = sled::open(dir.join("index")).unwrap();
    change(&index);
    index.flush().unwrap();
}

/// The first key of the index that begins with `tag`.
fn first_key(index: &sled::Db, tag: u8) -> sled::IVec {
    index.scan_prefix([tag]).next().unwrap().unwrap().0
}

/// Appends to the journal what no store would have written.
fn forge(dir: &Path, records: &[Record]) {
    let files: Arc<dyn Files> = Arc::new(RealFiles::open(dir.join("journal")).unwrap());
    let mut opened = lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
    let records: Vec<Vec<u8>> = records.iter().map(Message::encode_to_vec).collect();
    opened.writer.append(&records).unwrap();
    opened.writer.close().unwrap();
}

/// The last admission in the journal, as it was written.
fn last_admission(dir: &Path) -> store_v1::Admission {
    let files: Arc<dyn Files> = Arc::new(RealFiles::open(dir.join("journal")).unwrap());
    let opened = lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
    let records = opened.reader.replay(opened.reader.first()).map(|read| Record::decode(&read.unwrap().1[..]).unwrap());
    let admissions = records.filter_map(|record| match record.kind {
        Some(Kind::Admission(admission)) => Some(admission),
        _ => None,
    });
    admissions.last().unwrap()
}

fn stated(admission: store_v1::Admission) -> Record {
    Record { kind: Some(Kind::Admission(admission)) }
}

#[tokio::test]
async fn a_sound_folder_has_no_problems_and_the_right_figures() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    // 6 × 2 events, 3 recipients each, of which two deliveries were handed over.
    assert_eq!((report.dossiers, report.events, report.owed, report.documents), (6, 12, 34, 1));
    assert_eq!((report.bodies, report.erased), (12, 0));
    assert_eq!(report.records, 18);
    assert_eq!(report.compared, Some(18));
    // Looking has changed nothing.
    assert!(check(folder.path()).is_sound());
    let (store, _) = open(folder.path());
    assert_eq!(store.figures().events, 12);
    store.close().await;
}

#[tokio::test]
async fn a_folder_that_was_not_closed_is_sound_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    {
        let (store, _) = open(folder.path());
        admit(&*store, signers.sign(opened(11))).await;
    }
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!(report.events, 13);
}

#[tokio::test]
async fn a_missing_index_is_not_a_problem_but_is_said() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!(report.compared, None);
}

#[tokio::test]
async fn a_removed_entry_of_the_index_is_found() {
    // One of each tree.
    for tag in (2u8..=15).chain([30, 50]) {
        if tag == 14 {
            // There is no registry in this folder.
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path()).await;
        tamper_index(folder.path(), |index| {
            let key = first_key(index, tag);
            index.remove(key).unwrap().unwrap();
        });
        let report = check(folder.path());
        assert_eq!(broken(&report), BTreeSet::from([Invariant::Index]), "tree {tag}: {:#?}", report.problems);
        assert_eq!(report.problems.len(), 1);
        assert!(report.problems[0].what.ends_with("is missing"), "{}", report.problems[0].what);
    }
}

#[tokio::test]
async fn a_copy_of_the_books_that_is_noted_twice_is_found() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let exported = store_v1::Exported {
        what: "backup".to_owned(),
        identity: vec![7; 16],
        actor: "uid-1000".to_owned(),
        ..store_v1::Exported::default()
    };
    let once = Record { kind: Some(Kind::Exported(exported)) };
    forge(folder.path(), std::slice::from_ref(&once));
    assert!(check(folder.path()).is_sound());
    forge(folder.path(), &[once]);
    let report = check(folder.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Key, Invariant::Audit]), "{:#?}", report.problems);
}

/// A sound folder in which a dossier was asked about before and after it came in, and one matter has lapsed.
async fn inquired(dir: &Path) -> Signers {
    let signers = sound(dir).await;
    let (store, _) = open(dir);
    let ask = async |id: u8, dossier: Option<u32>, intake: Option<&Admission>| {
        let mut ended = asked([id; 16], dossier.map(code));
        let proof = ended.envelope.proof.as_mut().unwrap();
        proof.signature = signers.gateway.key.sign(Purpose::QueryAnswer, &proof.answer).into();
        proof.certificate = sha256(&signers.gateway.der);
        ended.envelope.intake = intake.map(|admission| intake_digest(&admission.request_key));
        ended.intake_key = intake.map(|admission| admission.request_key.clone());
        store.commit(Commit::Query(Box::new(ended))).await.unwrap();
    };
    let (early, never) = (signers.sign(opened(21)), signers.sign(opened(22)));
    ask(1, None, Some(&never)).await;
    ask(2, None, Some(&early)).await;
    let [matter] = &store.open_matters(machine(2), 9).await.unwrap()[..] else { panic!("one matter") };
    let end =
        MatterLapsed { party: matter.party.clone(), intake: matter.intake, key_id: matter.key_id, at: machine(3) };
    assert!(store.lapse(end).await.unwrap());
    ask(3, None, Some(&never)).await;
    admit(&*store, early).await;
    ask(4, Some(21), None).await;
    ask(5, None, None).await;
    store.close().await;
    signers
}

/// The last query in the journal, as it was written.
fn last_query(dir: &Path) -> store_v1::Queried {
    let files: Arc<dyn Files> = Arc::new(RealFiles::open(dir.join("journal")).unwrap());
    let opened = lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
    let records = opened.reader.replay(opened.reader.first()).map(|read| Record::decode(&read.unwrap().1[..]).unwrap());
    let queries = records.filter_map(|record| match record.kind {
        Some(Kind::Queried(queried)) if queried.key_id != 0 => Some(queried),
        _ => None,
    });
    queries.last().unwrap()
}

#[tokio::test]
async fn what_was_asked_is_in_the_books_and_erased_with_its_dossier() {
    let folder = tempfile::tempdir().unwrap();
    inquired(folder.path()).await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    // Of the lapsed matter nothing can be opened.
    assert_eq!((report.queries, report.erased, report.keys_to_destroy), (5, 1, 0));
    for tag in 60..=67 {
        let folder = tempfile::tempdir().unwrap();
        inquired(folder.path()).await;
        tamper_index(folder.path(), |index| {
            let key = first_key(index, tag);
            index.remove(key).unwrap().unwrap();
        });
        let report = check(folder.path());
        assert_eq!(broken(&report), BTreeSet::from([Invariant::Index]), "tree {tag}: {:#?}", report.problems);
    }
}

/// Archives the dossier that was asked about, in a file that has all but the last so many of its queries and says that it has all.
async fn archived(dir: &Path, left_out: usize) {
    let signers = inquired(dir).await;
    let (store, _) = open(dir);
    let standing = store.dossier(&code(21)).await.unwrap().unwrap();
    let mut closing = progressed(&standing, at(200));
    closing.status = Status::NotAccepted;
    admit(&*store, signers.sign(closing)).await;
    for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
        let all = acknowledgement(party, Stage::HandedOver, &[(21, 1), (21, 2)]);
        store.commit(Commit::Acknowledgement(all)).await.unwrap();
    }
    let mut material = store.material(&code(21)).await.unwrap().unwrap();
    assert_eq!((material.records.len(), material.queries), (4, 2));
    let mut records = Vec::new();
    for position in &material.records {
        records.push((*position, store.record(*position).await.unwrap()));
    }
    let of = |position: u64| records.iter().find(|(at, _)| *at == position).unwrap().1.clone();
    let is_query = |position: &u64| matches!(Record::decode(&of(*position)[..]).unwrap().kind, Some(Kind::Queried(_)));
    let queries: Vec<u64> = material.records.iter().copied().filter(is_query).collect();
    material.records.retain(|position| !queries[queries.len() - left_out..].contains(position));
    fs::create_dir_all(dir.join("archives")).unwrap();
    let (files, name) = (RealFiles::open(dir.join("archives")).unwrap(), "archive-2026-11-22-0001.lgsp");
    let journal = store.journal().unwrap();
    let mut draft = Draft::begin(&files, name, Head { journal, epoch: 1 }, 9_000).unwrap();
    draft.dossier(&material, |position| Ok(of(position)), Vec::<(&[u8], u64)>::new()).unwrap();
    let written = draft.finish(&files).unwrap();
    let archived = DossiersArchived {
        codes: vec![code(21)],
        archive: written.name,
        sha256: written.sha256,
        party: None,
        actor: "retention".parse().unwrap(),
        system: "(gateway)".to_owned(),
        after_days: 365,
        at: machine(9),
    };
    let sequences = vec![2];
    store.commit(Commit::Archived(Archiving { archived, sequences, queries: vec![2] })).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn an_archive_without_a_query_that_was_made_for_its_dossier_is_found() {
    let folder = tempfile::tempdir().unwrap();
    archived(folder.path(), 0).await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!((report.archives, report.archives_elsewhere), (1, 0));
    // Its own index says that it has two.
    let folder = tempfile::tempdir().unwrap();
    archived(folder.path(), 1).await;
    let report = check(folder.path());
    assert_eq!(broken(&report), [Invariant::Archive].into(), "{:#?}", report.problems);
    let told = format!("it has 1 queries for {}, of 2 on record", code(21));
    assert!(report.problems[0].what.ends_with(&told), "{:#?}", report.problems);
}

#[tokio::test]
async fn a_query_that_is_not_what_was_told_or_not_under_its_dossiers_key_is_found() {
    let forged = async |change: fn(&mut store_v1::Queried, &Signers)| {
        let folder = tempfile::tempdir().unwrap();
        let signers = inquired(folder.path()).await;
        let mut query = last_query(folder.path());
        query.query_id = vec![9; 16];
        change(&mut query, &signers);
        forge(folder.path(), &[Record { kind: Some(Kind::Queried(query)) }]);
        let report = check(folder.path());
        (broken(&report), report.problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>())
    };
    let told = |found: &(BTreeSet<Invariant>, Vec<String>), what: &str| {
        assert!(found.0.contains(&Invariant::Query), "{found:?}");
        assert!(found.1.iter().any(|said| said.contains(what)), "{what}: {found:?}");
    };
    // Its name is part of what it is sealed to.
    told(&forged(|_, _| ()).await, "does not open");
    told(&forged(|query, _| query.query_id = vec![4; 16]).await, "a second time");
    told(&forged(|query, _| query.key_id += 1).await, "another key than its dossier's");
    told(&forged(|query, _| query.reason = "SUBJECT_LOCKED".to_owned()).await, "refused with one");
    told(&forged(|query, _| query.reply_sha256 = vec![1; 32]).await, "another answer");
    let unsigned = forged(|query, signers| {
        query.answer_signature = signers.system.key.sign(Purpose::QueryAnswer, &query.answer);
    });
    assert!(unsigned.await.0.contains(&Invariant::Signature));
    let receipt = forged(|query, signers| {
        query.answer_signature = signers.gateway.key.sign(Purpose::Receipt, &query.answer);
    });
    assert!(receipt.await.0.contains(&Invariant::Signature));
}

#[tokio::test]
async fn what_was_parked_skipped_and_given_back_is_in_the_books() {
    let folder = tempfile::tempdir().unwrap();
    detoured(folder.path()).await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    // Of the 34 that are owed in a sound folder, one was skipped.
    assert_eq!((report.owed, report.records, report.compared), (33, 22, Some(22)));
    for tag in 20..=23 {
        let folder = tempfile::tempdir().unwrap();
        detoured(folder.path()).await;
        tamper_index(folder.path(), |index| {
            let key = first_key(index, tag);
            index.remove(key).unwrap().unwrap();
        });
        let report = check(folder.path());
        assert_eq!(report.problems.len(), 1, "tree {tag}: {:#?}", report.problems);
        assert!(report.problems[0].what.ends_with("is missing"), "{}", report.problems[0].what);
    }
}

#[tokio::test]
async fn what_comes_a_batch_after_its_hand_over_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let owed = check(folder.path()).owed;
    // The adapter said that the agency has them while something else was being written about them: each is as it was
    // looked at a moment before.
    let handed_over = |number: u32, sequence: u32| {
        Kind::Acknowledgement(store_v1::Acknowledgement {
            party: AUTHORITY.to_owned(),
            stage: lgsp_proto::v1::AcknowledgeStage::HandedOver.into(),
            deliveries: vec![store_v1::Acked { dossier_code: code(number).to_string(), sequence }],
            ..store_v1::Acknowledgement::default()
        })
    };
    let parked = |number: u32| {
        Kind::DossierParked(store_v1::DossierParked {
            party: AUTHORITY.to_owned(),
            dossier_code: code(number).to_string(),
            sequence: 1,
            ..store_v1::DossierParked::default()
        })
    };
    let records = [
        // Taken over, and given back too late.
        handed_over(2, 1),
        Kind::GivenBack(store_v1::GivenBack {
            party: AUTHORITY.to_owned(),
            deliveries: vec![store_v1::Acked { dossier_code: code(2).to_string(), sequence: 1 }],
            why: store_v1::given_back::Why::SpoolReplaced.into(),
            ..store_v1::GivenBack::default()
        }),
        // Waiting, and parked too late.
        handed_over(5, 1),
        parked(5),
        // Parked, and handled too late.
        parked(6),
        handed_over(6, 1),
        Kind::ParkedHandled(store_v1::ParkedHandled {
            party: AUTHORITY.to_owned(),
            dossier_code: code(6).to_string(),
            sequence: 1,
            action: lgsp_proto::v1::ParkedActionKind::Retry.into(),
            acting_party: AUTHORITY.to_owned(),
            actor: "operator.1".to_owned(),
            ..store_v1::ParkedHandled::default()
        }),
    ];
    forge(folder.path(), &records.map(|kind| Record { kind: Some(kind) }));
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!(report.owed, owed - 3);
}

#[tokio::test]
async fn a_delivery_given_back_or_skipped_by_nobodys_leave_is_found() {
    let forged = [
        Kind::GivenBack(store_v1::GivenBack {
            party: AUTHORITY.to_owned(),
            // It waits: nobody has taken it over.
            deliveries: vec![store_v1::Acked { dossier_code: code(5).to_string(), sequence: 1 }],
            why: store_v1::given_back::Why::Declined.into(),
            ..store_v1::GivenBack::default()
        }),
        Kind::ParkedHandled(store_v1::ParkedHandled {
            party: PORTAL.to_owned(),
            dossier_code: code(1).to_string(),
            sequence: 1,
            action: lgsp_proto::v1::ParkedActionKind::Skip.into(),
            acting_party: PORTAL.to_owned(),
            actor: "operator.1".to_owned(),
            ..store_v1::ParkedHandled::default()
        }),
        Kind::DossierParked(store_v1::DossierParked {
            party: STRANGER.to_owned(),
            dossier_code: code(1).to_string(),
            sequence: 9,
            ..store_v1::DossierParked::default()
        }),
    ];
    for kind in forged {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path()).await;
        forge(folder.path(), &[Record { kind: Some(kind.clone()) }]);
        let report = check(folder.path());
        assert_eq!(broken(&report), BTreeSet::from([Invariant::Delivery]), "{kind:?}: {:#?}", report.problems);
    }
}

#[tokio::test]
async fn what_was_decided_about_a_delivery_just_when_it_was_handed_over_is_no_problem() {
    let too_late = [
        Kind::GivenBack(store_v1::GivenBack {
            party: AUTHORITY.to_owned(),
            deliveries: vec![store_v1::Acked { dossier_code: code(1).to_string(), sequence: 1 }],
            why: store_v1::given_back::Why::Declined.into(),
            ..store_v1::GivenBack::default()
        }),
        Kind::ParkedHandled(store_v1::ParkedHandled {
            party: AUTHORITY.to_owned(),
            dossier_code: code(1).to_string(),
            sequence: 1,
            action: lgsp_proto::v1::ParkedActionKind::Skip.into(),
            acting_party: AUTHORITY.to_owned(),
            actor: "operator.1".to_owned(),
            ..store_v1::ParkedHandled::default()
        }),
        Kind::DossierParked(store_v1::DossierParked {
            party: AUTHORITY.to_owned(),
            dossier_code: code(1).to_string(),
            sequence: 1,
            ..store_v1::DossierParked::default()
        }),
    ];
    for kind in too_late {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path()).await;
        forge(folder.path(), &[Record { kind: Some(kind.clone()) }]);
        let report = check(folder.path());
        assert_eq!(broken(&report), BTreeSet::new(), "{kind:?}: {:#?}", report.problems);
    }
}

#[tokio::test]
async fn a_forged_state_and_an_invented_delivery_are_found() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    tamper_index(folder.path(), |index| {
        let key = first_key(index, 3);
        let mut state = store_v1::DossierState::decode(&index.get(&key).unwrap().unwrap()[..]).unwrap();
        state.status = lgsp_proto::v1::Status::Returned.into();
        index.insert(key, state.encode_to_vec()).unwrap();
        let mut invented = first_key(index, 8).to_vec();
        *invented.last_mut().unwrap() = 0xff;
        index.insert(invented, Vec::new()).unwrap();
    });
    let report = check(folder.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Index]));
    let found: Vec<&str> = report.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "dossier/H57.20-250714-0001 is not what the journal says");
    assert!(found[1].starts_with("waiting/H57.101") && found[1].ends_with("is nothing the journal knows of"));
}

#[tokio::test]
async fn a_flipped_byte_in_the_journal_is_located_and_the_rest_is_still_checked() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let journal = folder.path().join("journal");
    let segments: BTreeSet<_> = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    let segment = segments.iter().find(|path| path.extension().is_some_and(|ending| ending == "seg")).unwrap();
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, bytes).unwrap();
    let report = check(folder.path());
    let damage = report.problems.iter().find(|problem| problem.invariant == Invariant::Journal).unwrap();
    assert!(damage.position.is_some());
    assert!(!report.journal.damage.is_empty());
    assert!(report.records >= 16, "only {} records were read", report.records);
    // The store does not open over it: it is for an operator to decide.
    assert!(store_support::try_open(folder.path()).0.is_err());
}

#[tokio::test]
async fn each_invariant_is_found_broken_by_a_record_that_breaks_it() {
    type Forgery = fn(&mut store_v1::Admission);
    let forgeries: [(Invariant, Forgery); 7] = [
        (Invariant::Sequence, |admission| admission.event.as_mut().unwrap().sequence += 1),
        (Invariant::Key, |_| ()),
        (Invariant::Body, |admission| admission.sealed_body[20] ^= 1),
        (Invariant::Body, |admission| admission.receipt = lgsp_proto::v1::Receipt::default().encode_to_vec()),
        (Invariant::Certificate, |admission| admission.certificate_sha256 = vec![9; 32]),
        (Invariant::Signature, |admission| admission.signature = vec![1, 2, 3]),
        (Invariant::Document, |admission| {
            let missing = store_v1::DocumentAttached {
                sha256: vec![1; 32],
                size_bytes: 1,
                media_type: "application/pdf".to_owned(),
                document_id: 404,
            };
            admission.outcome.as_mut().unwrap().documents = vec![missing];
        }),
    ];
    for (invariant, forgery) in forgeries {
        let folder = tempfile::tempdir().unwrap();
        let signers = sound(folder.path()).await;
        // A true record, moved on by one event, with one thing changed.
        let mut admission = last_admission(folder.path());
        let event = admission.event.as_mut().unwrap();
        event.sequence += 1;
        let next_key = format!("{}-forged", event.request_key);
        if invariant != Invariant::Key {
            event.request_key = next_key;
        }
        reseal(folder.path(), &mut admission, &signers);
        forgery(&mut admission);
        forge(folder.path(), &[stated(admission)]);
        let report = check(folder.path());
        assert!(broken(&report).contains(&invariant), "{invariant:?}: {:#?}", report.problems);
        assert!(report.problems.iter().all(|problem| problem.position.is_none_or(|position| position == 19)));
    }
}

/// Makes body, receipt and signatures those of the event that the admission now names, and that came after the one before.
fn reseal(dir: &Path, admission: &mut store_v1::Admission, signers: &Signers) {
    let event = admission.event.as_ref().unwrap();
    let before = format!("{}/{}", event.dossier_code, event.sequence - 1);
    reseal_from(dir, &before, admission, signers);
}

/// The same for what was sealed as the event `before`.
fn reseal_from(dir: &Path, before: &str, admission: &mut store_v1::Admission, signers: &Signers) {
    let event = admission.event.as_ref().unwrap();
    let keys: Arc<dyn Files> = Arc::new(RealFiles::open(dir.join("keys")).unwrap());
    let ring = KeyRing::open(keys, &NodeKey::load(&node_key(dir)).unwrap()).unwrap();
    let key = ring.get(KeyId(admission.key_id)).unwrap();
    let body = key.open(before.as_bytes(), &admission.sealed_body).unwrap();
    let context = format!("{}/{}", event.dossier_code, event.sequence);
    admission.sealed_body = key.seal(context.as_bytes(), &body);
    let mut receipt = lgsp_proto::v1::Receipt::decode(&admission.receipt[..]).unwrap();
    receipt.sequence = event.sequence;
    receipt.dossier_code.clone_from(&event.dossier_code);
    admission.receipt = receipt.encode_to_vec();
    admission.receipt_signature = signers.gateway.key.sign(Purpose::Receipt, &admission.receipt);
}

#[tokio::test]
async fn a_resealed_record_without_a_change_is_sound() {
    // Otherwise the forgeries above would prove nothing.
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let mut admission = last_admission(folder.path());
    let event = admission.event.as_mut().unwrap();
    event.sequence += 1;
    event.request_key += "-forged";
    reseal(folder.path(), &mut admission, &signers);
    forge(folder.path(), &[stated(admission)]);
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
}

#[tokio::test]
async fn a_code_given_twice_and_a_number_of_somebody_elses_lease_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    // Numbers 7 to 10 are leased to the desk; another desk uses one.
    let (store, _) = open(folder.path());
    let mut stolen = opened(8);
    stolen.by = party(RETURN_DESK);
    stolen.opening.as_mut().unwrap().places.intake_desk = party(RETURN_DESK);
    admit(&*store, signers.sign(stolen)).await;
    store.close().await;
    let report = check(folder.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Number]), "{:#?}", report.problems);

    let mut twice = last_admission(folder.path());
    twice.event.as_mut().unwrap().request_key += "-again";
    let overlapping = store_v1::NumbersLeased {
        authority: AUTHORITY.to_owned(),
        day: 20_283,
        desk: RETURN_DESK.to_owned(),
        first: 10,
        count: 2,
        at_unix_ms: 0,
        ..store_v1::NumbersLeased::default()
    };
    forge(folder.path(), &[stated(twice), Record { kind: Some(Kind::NumbersLeased(overlapping)) }]);
    let report = check(folder.path());
    assert!(broken(&report).contains(&Invariant::Code), "{:#?}", report.problems);
    let at_the_lease: Vec<_> = report.problems.iter().filter(|problem| problem.position == Some(21)).collect();
    assert!(at_the_lease.iter().any(|problem| problem.invariant == Invariant::Number), "{:#?}", report.problems);
}

/// Dossier `number`, taken in by `desk` under a number that `source` chose.
fn numbered(number: u32, desk: &str, source: NumberSource) -> Event {
    let mut event = opened(number);
    event.by = party(desk);
    let opening = event.opening.as_mut().unwrap();
    opening.places.intake_desk = party(desk);
    opening.number_source = source;
    event
}

#[tokio::test]
async fn whose_number_it_is_follows_from_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let (store, _) = open(folder.path());
    // 7 to 10 are leased to the desk. No registry is asked where an authority's own range begins.
    for event in [
        numbered(8, DESK, NumberSource::Leased),
        numbered(9, DESK, NumberSource::Unrecorded),
        numbered(70_000, AUTHORITY, NumberSource::Own),
        numbered(60_000, AUTHORITY, NumberSource::Own),
        numbered(11, RETURN_DESK, NumberSource::Taken),
    ] {
        admit(&*store, signers.sign(event)).await;
    }
    store.close().await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);

    for (what, number, desk, source) in [
        ("a leased number was taken", 10, DESK, NumberSource::Taken),
        ("a leased number was chosen", 10, AUTHORITY, NumberSource::Own),
        ("a leased number is another desk's", 10, RETURN_DESK, NumberSource::Leased),
        ("a number was said to be leased", 12, DESK, NumberSource::Leased),
        ("another desk chose one", 50_000, RETURN_DESK, NumberSource::Own),
        ("one below the counter was chosen", 5_000, AUTHORITY, NumberSource::Own),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let signers = sound(folder.path()).await;
        let (store, _) = open(folder.path());
        admit(&*store, signers.sign(numbered(5_001, DESK, NumberSource::Taken))).await;
        admit(&*store, signers.sign(numbered(number, desk, source))).await;
        store.close().await;
        let report = check(folder.path());
        assert_eq!(broken(&report), BTreeSet::from([Invariant::Number]), "{what}: {:#?}", report.problems);
    }
}

#[tokio::test]
async fn a_lease_over_a_number_of_the_authoritys_own_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let (store, _) = open(folder.path());
    admit(&*store, signers.sign(numbered(50, AUTHORITY, NumberSource::Own))).await;
    store.close().await;
    let over = store_v1::NumbersLeased {
        authority: AUTHORITY.to_owned(),
        day: 20_283,
        desk: DESK.to_owned(),
        first: 40,
        count: 20,
        ..store_v1::NumbersLeased::default()
    };
    forge(folder.path(), &[Record { kind: Some(Kind::NumbersLeased(over)) }]);
    let report = check(folder.path());
    assert!(broken(&report).contains(&Invariant::Number), "{:#?}", report.problems);
}

#[tokio::test]
async fn a_code_that_is_the_alias_of_another_dossier_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let (store, _) = open(folder.path());
    let mut named = numbered(7, DESK, NumberSource::Leased);
    named.opening.as_mut().unwrap().aliases = vec![code(11).as_str().parse().unwrap()];
    admit(&*store, signers.sign(named)).await;
    store.close().await;
    // One that has the alias as its code, and one that has a code as its alias.
    let forged = |number: u32, aliases: Vec<String>| {
        let mut admission = last_admission(folder.path());
        let event = admission.event.as_mut().unwrap();
        event.dossier_code = code(number).to_string();
        event.request_key += &format!("-forged-{number}");
        let opening = admission.opening.as_mut().unwrap();
        opening.aliases = aliases;
        opening.number_source = store_v1::NumberSource::Taken.into();
        reseal_from(folder.path(), &format!("{}/1", code(7)), &mut admission, &signers);
        stated(admission)
    };
    let records = [forged(11, vec![]), forged(12, vec![code(1).to_string()])];
    forge(folder.path(), &records);
    let report = check(folder.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Code]), "{:#?}", report.problems);
    assert_eq!(report.problems.len(), 2, "{:#?}", report.problems);
}

#[tokio::test]
async fn a_dossier_that_has_its_own_code_as_an_alias_is_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let (store, _) = open(folder.path());
    // Decided so no more, but on record where it was.
    let mut named = numbered(7, DESK, NumberSource::Leased);
    named.opening.as_mut().unwrap().aliases = vec![code(7).as_str().parse().unwrap()];
    admit(&*store, signers.sign(named)).await;
    store.close().await;
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
}

#[tokio::test]
async fn a_record_that_nobody_can_read_is_found() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    forge(folder.path(), &[Record { kind: None }]);
    let report = check(folder.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Journal]));
    assert_eq!(report.problems[0].position, Some(19));
}

#[tokio::test]
async fn an_erased_body_is_counted_and_is_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    {
        let keys: Arc<dyn Files> = Arc::new(RealFiles::open(folder.path().join("keys")).unwrap());
        let ring = KeyRing::open(keys, &NodeKey::load(&node_key(folder.path())).unwrap()).unwrap();
        ring.destroy(KeyId(1_024)).unwrap();
    }
    let report = check(folder.path());
    assert!(report.is_sound(), "{:#?}", report.problems);
    assert_eq!((report.bodies, report.erased), (10, 2));
}

#[tokio::test]
async fn a_running_node_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    match fsck(folder.path(), &node_key(folder.path()), |_| ()) {
        Err(CannotRead::Folder(FolderError::InUse { process, .. })) => assert_eq!(process, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert!(ReadOnly::open(folder.path(), &node_key(folder.path())).is_err());
    store.close().await;
    let missing = fsck(&folder.path().join("nowhere"), &node_key(folder.path()), |_| ());
    assert!(matches!(missing, Err(CannotRead::Folder(FolderError::Missing { .. }))), "{missing:?}");
}

#[tokio::test]
async fn a_stopped_folder_can_be_read_without_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let stopped = ReadOnly::open(folder.path(), &node_key(folder.path())).unwrap();
    let facts: Vec<_> = stopped.records().map(|read| read.unwrap()).collect();
    assert_eq!(facts.len(), 18);
    assert_eq!(facts.iter().map(|(position, _)| *position).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
    let admitted = facts.iter().filter(|(_, fact)| matches!(fact, Fact::Admitted(_))).count();
    assert_eq!(admitted, 12);

    let by_alias = stopped.history("G22-3").unwrap().unwrap();
    let by_code = stopped.history(code(3).as_str()).unwrap().unwrap();
    assert_eq!(by_alias.dossier, by_code.dossier);
    assert_eq!((by_code.dossier.sequence, by_code.events.len()), (2, 2));
    assert_eq!(by_code.events[1].body, Some(lgsp_gateway::store::contract::sample::body(&code(3), 2)));
    assert!(stopped.history("G22-99").unwrap().is_none());
}

/// The books are restored: numbers up to 10,000 may have been given out and lost.
async fn new_epoch(store: &dyn Store) {
    let started = EpochStarted {
        number: 2,
        backup: [7; 16],
        backup_taken_at: machine(1),
        actor: "operator-1".parse().unwrap(),
        at: machine(2),
        lost: NumberZone { days: DAY..=DAY, from: 10_001 },
    };
    store.commit(Commit::Epoch(started)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_books_are_sound_as_long_as_nothing_is_given_out_that_may_have_been_lost() {
    let dir = tempfile::tempdir().unwrap();
    let signers = sound(dir.path()).await;
    let (store, _) = open(dir.path());
    new_epoch(&*store).await;
    // Back with its receipt, under a number of a block that is void by now; and a new one.
    let mut back = signers.sign(opened(8));
    back.first_admitted_at = Some(machine(1));
    admit(&*store, back).await;
    admit(&*store, signers.sign(opened(10_001))).await;
    store.lease_numbers(&BlockWanted { epoch: 2, ..block(DESK, 4) }, machine(3)).await.unwrap();
    store.close().await;
    let report = check(dir.path());
    assert!(report.is_sound(), "{:?}", report.problems);

    // A number that may be on somebody's paper.
    let (store, _) = open(dir.path());
    admit(&*store, signers.sign(opened(9))).await;
    store.close().await;
    let report = check(dir.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Number]), "{:?}", report.problems);
    assert!(report.problems[0].what.starts_with("number 9 is given out anew"), "{:?}", report.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_or_a_block_that_does_not_follow_is_found() {
    let dir = tempfile::tempdir().unwrap();
    sound(dir.path()).await;
    let (store, _) = open(dir.path());
    new_epoch(&*store).await;
    store.close().await;
    let epoch =
        store_v1::EpochStarted { number: 2, backup: vec![1; 16], actor: "operator-1".into(), ..Default::default() };
    let block = store_v1::NumbersLeased {
        authority: AUTHORITY.into(),
        day: (DAY - Date::constant(1970, 1, 1)).get_days(),
        desk: DESK.into(),
        first: 9_000,
        count: 5,
        ..Default::default()
    };
    forge(dir.path(), &[Record { kind: Some(Kind::NumbersLeased(block)) }]);
    let report = check(dir.path());
    assert_eq!(broken(&report), BTreeSet::from([Invariant::Number]), "{:?}", report.problems);
    forge(dir.path(), &[Record { kind: Some(Kind::EpochStarted(epoch)) }]);
    let report = check(dir.path());
    assert!(
        report.problems.iter().any(|problem| problem.what.contains("epoch 2 is no later than epoch 2")),
        "{:?}",
        report.problems
    );
}

/// A join token, as it was issued.
fn issued(id: u8) -> Record {
    let issued = store_v1::TokenIssued {
        token_id: vec![id; 16],
        secret_sha256: vec![id; 32],
        for_system: "mot-cua".into(),
        acting_party: PORTAL.into(),
        actor: "van.hanh.1".into(),
        system: "van-hanh".into(),
        ..Default::default()
    };
    Record { kind: Some(Kind::TokenIssued(issued)) }
}

fn withdrawn(id: u8) -> Record {
    let withdrawn = store_v1::TokenWithdrawn {
        token_id: vec![id; 16],
        acting_party: PORTAL.into(),
        actor: "van.hanh.1".into(),
        system: "van-hanh".into(),
        ..Default::default()
    };
    Record { kind: Some(Kind::TokenWithdrawn(withdrawn)) }
}

/// The certificate of `signer`, as if a token had been spent on it.
fn spent(id: u8, signer: &Signer) -> Record {
    let issued = store_v1::CertificateIssued {
        sha256: sha256(&signer.der).as_bytes().to_vec(),
        der: signer.der.to_vec(),
        for_system: "mot-cua".into(),
        token_id: vec![id; 16],
        ..Default::default()
    };
    Record { kind: Some(Kind::CertificateIssued(issued)) }
}

fn restored() -> Record {
    let started =
        store_v1::EpochStarted { number: 2, backup: vec![1; 16], actor: "operator-1".into(), ..Default::default() };
    Record { kind: Some(Kind::EpochStarted(started)) }
}

#[tokio::test]
async fn a_token_that_is_closed_twice_or_by_nobodys_leave_or_in_another_epoch_is_found() {
    type Story = fn(&Signers) -> Vec<Record>;
    const NOT_OPEN: &str = "a join token is spent or withdrawn that is not open";
    let stories: [(&str, Story); 6] = [
        (NOT_OPEN, |by| vec![issued(1), spent(1, &by.system), spent(1, &by.gateway)]),
        (NOT_OPEN, |by| vec![issued(1), spent(1, &by.system), withdrawn(1)]),
        (NOT_OPEN, |by| vec![issued(1), withdrawn(1), spent(1, &by.system)]),
        (NOT_OPEN, |_| vec![withdrawn(1)]),
        ("a join token is issued a second time", |_| vec![issued(1), issued(1)]),
        ("a join token of an earlier epoch is spent", |by| vec![issued(1), restored(), spent(1, &by.system)]),
    ];
    for (what, story) in stories {
        let folder = tempfile::tempdir().unwrap();
        let signers = sound(folder.path()).await;
        forge(folder.path(), &story(&signers));
        let report = check(folder.path());
        let of_tokens = report.problems.iter().filter(|problem| problem.invariant == Invariant::Token);
        let told: Vec<&str> = of_tokens.map(|problem| problem.what.as_str()).collect();
        assert!(told.contains(&what), "{what}: {:#?}", report.problems);
    }
    // Each once, and one that is of an earlier epoch may be taken back at any time.
    let folder = tempfile::tempdir().unwrap();
    let signers = sound(folder.path()).await;
    let course = [issued(1), issued(2), issued(3), spent(1, &signers.system), withdrawn(2), restored(), withdrawn(3)];
    forge(folder.path(), &course);
    let report = check(folder.path());
    assert!(!broken(&report).contains(&Invariant::Token), "{:#?}", report.problems);
}

#[tokio::test]
async fn an_archiving_that_may_not_be_and_what_follows_one_are_found() {
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path()).await;
    let archived = Record {
        kind: Some(Kind::DossiersArchived(store_v1::DossiersArchived {
            dossier_codes: vec![code(6).to_string()],
            archive: "archive-2026-11-0001.lgsp".to_owned(),
            archive_sha256: sha256(b"an archive").as_bytes().to_vec(),
            actor: "retention".to_owned(),
            system: "(gateway)".to_owned(),
            ..store_v1::DossiersArchived::default()
        })),
    };
    let last = last_admission(folder.path());
    let said = |report: &Report, what: &str| report.problems.iter().any(|problem| problem.what.ends_with(what));
    forge(folder.path(), std::slice::from_ref(&archived));
    let report = check(folder.path());
    assert_eq!(broken(&report), [Invariant::Archive].into());
    assert!(said(&report, "was not closed") && said(&report, "something of it is owed"), "{:?}", report.problems);
    assert_eq!((report.archived_dossiers, report.archives_elsewhere), (1, 1));

    forge(folder.path(), &[archived, stated(last)]);
    let report = check(folder.path());
    assert!(said(&report, "is archived a second time"), "{:?}", report.problems);
    assert!(said(&report, "which was archived before"), "{:?}", report.problems);
}

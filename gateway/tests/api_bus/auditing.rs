//! Who administered what: every administrative call leaves one entry, no call changes or removes one, and who may read them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lgsp_certs::PrivateKey;
use lgsp_gateway::backup::{Care, Sources, take};
use lgsp_gateway::store::contract::sample::{acknowledgement, holder, parked};
use lgsp_gateway::store::sled::{Limits, Options, SledStore};
use lgsp_gateway::store::{Acknowledgement, Commit, Parked, Stage, Store};
use lgsp_proto::types::{DossierCode, Sha256Digest};
use lgsp_proto::v1::AuditKind;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use tonic::Status;

use super::documents::sha256;
use super::erasing::erase;
use super::joining;
use super::world::*;

const OPERATOR: &str = "H99.VH";
const ACTOR: &str = "van.hanh.1";

/// What a call may leave in the audit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaves {
    /// It reads, or is the business of desks and agencies.
    Nothing,
    /// It is administration, and leaves an entry of this kind.
    An(AuditKind),
}

/// Calls by which a system gets a certificate itself.
const WITH_KEYS: [&str; 2] = ["/lgsp.v1.Certificates/Renew", "/lgsp.v1.Enrolment/Join"];

/// Every call of the bus. No row says that entries are changed or removed, because there is nothing that could.
const CALLS: &[(&str, Leaves)] = &[
    ("Audit/List", Leaves::Nothing),
    ("Certificates/IssueToken", Leaves::An(AuditKind::TokenIssued)),
    ("Certificates/List", Leaves::Nothing),
    ("Certificates/Renew", Leaves::An(AuditKind::CertificateIssued)),
    ("Certificates/Revoke", Leaves::An(AuditKind::CertificateRevoked)),
    ("Certificates/Trust", Leaves::Nothing),
    ("Certificates/WithdrawToken", Leaves::An(AuditKind::TokenWithdrawn)),
    ("Documents/Download", Leaves::Nothing),
    ("Documents/Upload", Leaves::Nothing),
    ("Documents/UploadState", Leaves::Nothing),
    ("Dossiers/ExplainRoute", Leaves::Nothing),
    ("Dossiers/Get", Leaves::Nothing),
    ("Dossiers/List", Leaves::Nothing),
    ("Dossiers/Record", Leaves::Nothing),
    ("Dossiers/Submit", Leaves::Nothing),
    ("Enrolment/Join", Leaves::An(AuditKind::CertificateIssued)),
    ("Inbox/Backlog", Leaves::Nothing),
    ("Inbox/HandleParked", Leaves::An(AuditKind::DeliveryHandled)),
    ("Inbox/Open", Leaves::Nothing),
    ("Inbox/Parked", Leaves::Nothing),
    ("Inbox/Release", Leaves::An(AuditKind::DeliveriesReleased)),
    ("Numbers/Lease", Leaves::Nothing),
    ("Operations/Archive", Leaves::An(AuditKind::DossiersArchived)),
    ("Operations/Erase", Leaves::An(AuditKind::DossierErased)),
    // A query is on a record of its own, and listed by itself.
    ("Queries/Ask", Leaves::Nothing),
    ("Queries/Figures", Leaves::Nothing),
    ("Queries/List", Leaves::Nothing),
    ("Queries/Look", Leaves::Nothing),
    ("Queries/Serve", Leaves::Nothing),
    ("Queries/Services", Leaves::Nothing),
    ("Registry/Apply", Leaves::An(AuditKind::RegistryApplied)),
    ("Registry/CanI", Leaves::Nothing),
    ("Registry/Plan", Leaves::Nothing),
    ("Registry/Read", Leaves::Nothing),
    ("Registry/Versions", Leaves::Nothing),
];

fn calls() -> BTreeMap<String, Leaves> {
    CALLS.iter().map(|(rpc, leaves)| (format!("/lgsp.v1.{rpc}"), *leaves)).collect()
}

async fn list(system: &System, request: v1::ListAuditRequest) -> Result<v1::ListAuditResponse, Status> {
    Ok(within(system.audit().list(request)).await?.into_inner())
}

fn asked(party: &str) -> v1::ListAuditRequest {
    v1::ListAuditRequest { acting_party: party.into(), actor: ACTOR.into(), ..v1::ListAuditRequest::default() }
}

/// Everything there is, newest first.
async fn all(operator: &System) -> Vec<v1::AuditEntry> {
    let answer = list(operator, v1::ListAuditRequest { page_size: 500, ..asked(OPERATOR) }).await.unwrap();
    assert_eq!(answer.next_page_token, "");
    answer.entries
}

/// What the tests of this file do over the bus, by call; `code` is closed, `parked` is parked for Bình at its first event, and the
/// system `so-tu-phap` has taken over for Bình the first event of a third.
async fn administer(rpc: &str, operator: &System, code: &str, parked: &str) -> Option<&'static str> {
    let (acting_party, actor) = (OPERATOR.to_owned(), ACTOR.to_owned());
    let mut certificates = CertificatesClient::new(operator.channel.clone());
    match rpc {
        "/lgsp.v1.Certificates/IssueToken" => {
            let system = "mot-cua-binh".to_owned();
            let request = v1::IssueTokenRequest { acting_party, actor, system, ..v1::IssueTokenRequest::default() };
            within(certificates.issue_token(request)).await.unwrap();
            Some("")
        }
        "/lgsp.v1.Certificates/WithdrawToken" => {
            // The one that was issued before.
            let asked = v1::ListAuditRequest { kinds: vec![AuditKind::TokenIssued.into()], ..asked(OPERATOR) };
            let issued = list(operator, asked).await.unwrap().entries.remove(0);
            let token_id = data_encoding::HEXLOWER.decode(issued.facts["token_id"].as_bytes()).unwrap().into();
            within(certificates.withdraw_token(v1::WithdrawTokenRequest { acting_party, actor, token_id }))
                .await
                .unwrap();
            Some("")
        }
        "/lgsp.v1.Certificates/Revoke" => {
            let what = Some(v1::revoke_request::What::KeySha256(vec![7; 32].into()));
            let ground = "KEY_STOLEN".to_owned();
            within(certificates.revoke(v1::RevokeRequest {
                acting_party,
                actor,
                what,
                ground,
                despite_lockout: false,
            }))
            .await
            .unwrap();
            Some("KEY_STOLEN")
        }
        "/lgsp.v1.Inbox/HandleParked" => {
            let named = v1::DeliveryRef { party: BINH.into(), dossier_code: parked.into(), sequence: 1 };
            let request = v1::HandleParkedRequest {
                acting_party,
                actor,
                r#ref: Some(named),
                action: v1::ParkedActionKind::Retry.into(),
                why: "đã gọi cho bà Nguyễn Thị Thử".into(),
            };
            within(operator.inbox().handle_parked(request)).await.unwrap();
            Some("")
        }
        "/lgsp.v1.Inbox/Release" => {
            let request = v1::ReleaseRequest {
                acting_party,
                actor,
                party: BINH.into(),
                system: "so-tu-phap".into(),
                instance: String::new(),
                why: "DISK_LOST".into(),
            };
            assert_eq!(within(operator.inbox().release(request)).await.unwrap().into_inner().released, 1);
            Some("DISK_LOST")
        }
        "/lgsp.v1.Operations/Erase" => {
            erase(operator, OPERATOR, code, "QD-1/2026").await.unwrap();
            Some("QD-1/2026")
        }
        "/lgsp.v1.Operations/Archive" => {
            let request = v1::ArchiveRequest { acting_party, actor, after_days: Some(30) };
            let mut answers = within(operator.operations().archive(request)).await.unwrap().into_inner();
            let mut archived = 0;
            while let Some(answer) = within(answers.message()).await.unwrap() {
                archived = answer.archived;
            }
            assert_eq!(archived, 1);
            Some("")
        }
        "/lgsp.v1.Registry/Apply" => {
            let read = v1::ReadRegistryRequest {
                acting_party: acting_party.clone(),
                actor: actor.clone(),
                ..v1::ReadRegistryRequest::default()
            };
            let read = within(operator.registry().read(read)).await.unwrap().into_inner();
            let base_version = read.version.unwrap().number;
            let request = v1::ApplyRegistryRequest {
                acting_party,
                actor,
                files: read.files,
                base_version,
                ..v1::ApplyRegistryRequest::default()
            };
            within(operator.registry().apply(request)).await.unwrap();
            Some("")
        }
        _ => None,
    }
}

/// A gateway with a dossier that is closed and settled, one that is parked for Bình, and one that was taken over there.
async fn prepared() -> (World, String, String) {
    let mut world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let code = desk.admitted(&aid_elsewhere("k-1")).await;
    let waiting = desk.admitted(&aid_elsewhere("k-2")).await;
    let third = desk.admitted(&aid_elsewhere("k-4")).await;
    let refusing = v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() });
    binh.record(&entry("k-3", BINH, &code, refusing)).await.unwrap();
    world.stop().await;
    let (dir, node_key) = (world.folder().join("store"), world.folder().join("node.key"));
    let store = SledStore::open(&Options { dir, node_key, limits: Limits::default() }, |_| ()).unwrap();
    let closed: DossierCode = code.parse().unwrap();
    for party in store.dossier(&closed).await.unwrap().unwrap().told() {
        let deliveries = vec![(closed.clone(), 1), (closed.clone(), 2)];
        let said = acknowledgement(party.as_str(), Stage::HandedOver, &[]);
        store.commit(Commit::Acknowledgement(Acknowledgement { deliveries, ..said })).await.unwrap();
    }
    let open: DossierCode = waiting.parse().unwrap();
    store.commit(Commit::Parked(Parked { code: open, ..parked(BINH, 2, 1) })).await.unwrap();
    let taken = Acknowledgement {
        deliveries: vec![(third.parse().unwrap(), 1)],
        holder: holder("main", b""),
        ..acknowledgement(BINH, Stage::TakenOver, &[])
    };
    store.commit(Commit::Acknowledgement(taken)).await.unwrap();
    store.close().await;
    world.run().await;
    let (status, _) = world.local("PUT", "/business-clock", "{\"now\":\"2025-09-01T09:00:00+07:00\"}").await;
    assert_eq!(status, 200);
    (world, code, waiting)
}

/// Every call of the language, on whatever listener.
fn every_call() -> BTreeSet<String> {
    let described = prost_types::FileDescriptorSet::decode(lgsp_proto::DESCRIPTORS).unwrap();
    let services = described.file.iter().flat_map(|file| {
        file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
        })
    });
    services.collect()
}

#[test]
fn every_call_of_the_bus_says_what_it_leaves_in_the_audit() {
    let rows: BTreeSet<String> = calls().into_keys().collect();
    assert_eq!(rows, every_call(), "a call without a row, or a row without a call");
    let of_the_audit: Vec<_> = rows.iter().filter(|rpc| rpc.starts_with("/lgsp.v1.Audit/")).collect();
    assert_eq!(of_the_audit, ["/lgsp.v1.Audit/List"], "the audit is read and nothing else");
}

#[tokio::test]
async fn every_administrative_call_leaves_one_entry_with_who_and_why_and_touches_no_other() {
    let (world, code, waiting) = prepared().await;
    let operator = world.system("van-hanh").await;
    let shown = Sha256Digest::from(*operator.credentials.digest().as_bytes());
    world.eventually(async || world.engine().store().knows_certificate(&shown).await.unwrap()).await;
    let mut before = all(&operator).await;
    // The gateway's own certificate and the first registry are there already, and so are the systems that have connected.
    let kinds: BTreeSet<i32> = before.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, BTreeSet::from([AuditKind::RegistryApplied.into(), AuditKind::CertificateSeen.into()]));
    let began = SystemTime::now() - Duration::from_secs(5);
    let mut done = Vec::new();
    // An erased dossier is archived all the same, and a registry may be applied at any time.
    for (rpc, leaves) in calls() {
        let Leaves::An(kind) = leaves else { continue };
        let Some(why) = administer(&rpc, &operator, &code, &waiting).await else {
            // These take a key and have no operator: the next test has them.
            assert!(WITH_KEYS.contains(&rpc.as_str()), "{rpc} is administration and not tried here");
            continue;
        };
        let after = all(&operator).await;
        assert_eq!(after.len(), before.len() + 1, "{rpc}");
        assert_eq!(after[1..], before[..], "{rpc} touched another entry");
        let entry = &after[0];
        assert_eq!((entry.kind(), entry.ground.as_str()), (kind, why), "{rpc}");
        assert_eq!((entry.actor.as_str(), entry.system.as_str()), (ACTOR, "van-hanh"), "{rpc}");
        assert_eq!(entry.acting_party, OPERATOR, "{rpc}");
        assert!(!entry.subject.is_empty() && SystemTime::try_from(entry.at.unwrap()).unwrap() > began, "{rpc}");
        assert!(entry.position > before[0].position, "{rpc}");
        let said = format!("{entry:?}");
        assert!(!said.contains("Thử") && !said.contains("046190000001"), "{rpc}: {said}");
        before = after;
        done.push(kind);
    }
    assert!(done.len() >= 8, "{done:?}");

    // The business of desks and agencies is none, and neither is looking.
    let desk = world.system("mot-cua").await;
    let _ = desk.admitted(&v1::Submission { received_at: at("2025-09-01T08:00:00+07:00"), ..aid("k-9") }).await;
    let _ = operator.get(OPERATOR, &waiting, false).await.unwrap();
    assert_eq!(all(&operator).await, before);
}

#[tokio::test]
async fn whoever_gets_a_certificate_by_a_key_leaves_one_entry_of_its_own_system_and_what_it_was_issued_over() {
    let world = World::start().await;
    let (operator, desk) = (world.system("van-hanh").await, world.system("mot-cua").await);
    // The desk's certificate is on record, so that what is left is of the call alone.
    let _ = desk.admitted(&aid("k-1")).await;
    for rpc in WITH_KEYS {
        let key = PrivateKey::generate().unwrap();
        let (issued, over) = if rpc.ends_with("Join") {
            let token = joining::issue(&operator, joining::token_for("mot-cua-binh")).await;
            let before = all(&operator).await;
            let joined = joining::join(&world, &token, &key).await.unwrap();
            // A join that is said again is the same one.
            assert_eq!(joining::join(&world, &token, &key).await.unwrap(), joined);
            assert_eq!(all(&operator).await[1..], before[..], "{rpc}");
            (joined.certificate.unwrap(), ("token_id", data_encoding::HEXLOWER.encode(token.id())))
        } else {
            let before = all(&operator).await;
            let request = v1::RenewRequest { signing_request: key.signing_request().unwrap().into() };
            let renewed = within(joining::certificates(&desk).renew(request)).await.unwrap().into_inner();
            assert_eq!(all(&operator).await[1..], before[..], "{rpc}");
            let seen =
                before.iter().find(|entry| entry.kind() == AuditKind::CertificateSeen && entry.system == "mot-cua");
            (renewed.certificate.unwrap(), ("renews_sha256", seen.unwrap().facts["sha256"].clone()))
        };
        let entry = &all(&operator).await[0];
        assert_eq!(
            (entry.kind(), entry.subject.as_str()),
            (AuditKind::CertificateIssued, issued.system.as_str()),
            "{rpc}"
        );
        // Nobody gave an order: the system did it itself.
        assert_eq!((entry.system.as_str(), entry.actor.as_str()), (issued.system.as_str(), ""), "{rpc}");
        assert_eq!(entry.facts[over.0], over.1, "{rpc}");
        assert_eq!(entry.facts["sha256"], data_encoding::HEXLOWER.encode(&sha256(&issued.chain[0])), "{rpc}");
    }
}

#[tokio::test]
async fn only_auditors_and_operators_see_the_audit_and_pages_leave_nothing_out() {
    let (mut world, code, waiting) = prepared().await;
    let operator = world.system("van-hanh").await;
    for rpc in ["/lgsp.v1.Operations/Erase", "/lgsp.v1.Registry/Apply", "/lgsp.v1.Inbox/Release"] {
        administer(rpc, &operator, &code, &waiting).await.unwrap();
    }
    let desk = world.system("mot-cua").await;
    let refused = refusal(list(&desk, asked(AN)).await);
    assert_eq!((refused.reason(), refused.details()["right"].as_str()), (Reason::GrantMissing, "audit"));
    assert_eq!(reason(list(&desk, asked(OPERATOR)).await), Reason::ActsForMissing);
    let bad = v1::ListAuditRequest { page_token: "x".into(), ..asked(OPERATOR) };
    assert_eq!(reason(list(&operator, bad).await), Reason::PageTokenInvalid);

    let everything = all(&operator).await;
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = v1::ListAuditRequest { page_size: 2, page_token, ..asked(OPERATOR) };
        let page = list(&operator, page).await.unwrap();
        assert!(page.entries.len() <= 2);
        found.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, everything);
    let erased = v1::ListAuditRequest {
        kinds: vec![AuditKind::DossierErased.into()],
        by_actor: ACTOR.into(),
        subject: code.clone(),
        ..asked(OPERATOR)
    };
    let erased = list(&operator, erased).await.unwrap().entries;
    assert_eq!((erased.len(), erased[0].subject.as_str()), (1, code.as_str()));
    let nobody = v1::ListAuditRequest { by_actor: "can.bo.1".into(), ..asked(OPERATOR) };
    assert!(list(&operator, nobody).await.unwrap().entries.is_empty());

    // They are the same for whoever starts it again, and when the index is made anew.
    world.stop().await;
    std::fs::remove_dir_all(world.folder().join("store/index")).unwrap();
    world.run().await;
    assert_eq!(all(&world.system("van-hanh").await).await, everything);
}

#[tokio::test]
async fn a_backup_is_an_entry_whether_the_gateway_ran_or_not() {
    let mut world = World::start().await;
    let sources =
        Sources { data: world.folder().join("store"), documents: world.folder().join("documents"), node_key: None };
    let exported = async |world: &World| {
        let kinds = vec![AuditKind::Exported.into()];
        let operator = world.system("van-hanh").await;
        list(&operator, v1::ListAuditRequest { kinds, ..asked(OPERATOR) }).await.unwrap().entries
    };
    let noted = async |world: &World, count: usize| {
        let seen = async {
            loop {
                let entries = exported(world).await;
                if entries.len() == count {
                    return entries;
                }
                tokio::task::yield_now().await;
            }
        };
        within(seen).await
    };
    let backup = |name: &str| {
        let to = world.folder().join(name);
        take(&sources, &to, Care::Ordinary, SystemTime::now(), &|_| ()).unwrap().manifest.identity
    };
    let hex = |identity: [u8; 16]| identity.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let running = backup("while-it-runs");
    let entries = noted(&world, 1).await;
    assert_eq!((entries[0].subject.as_str(), &entries[0].facts["identity"]), ("backup", &hex(running)));
    assert!(entries[0].actor.starts_with("uid-"), "{:?}", entries[0]);

    world.stop().await;
    let to = world.folder().join("while-it-stands");
    let stopped = take(&sources, &to, Care::Ordinary, SystemTime::now(), &|_| ()).unwrap().manifest.identity;
    world.run().await;
    let entries = noted(&world, 2).await;
    assert_eq!(entries[0].facts["identity"], hex(stopped));
    // Where the note cannot be left nothing is copied.
    world.stop().await;
    let notes = world.folder().join("store/exports");
    std::fs::remove_dir_all(&notes).unwrap();
    std::fs::write(&notes, "in the way").unwrap();
    let to = world.folder().join("unnoted");
    assert!(take(&sources, &to, Care::Ordinary, SystemTime::now(), &|_| ()).is_err());
    assert!(!to.join("files").exists());
}

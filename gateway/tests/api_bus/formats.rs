//! Every form of the stored data that was ever shipped: a later version opens it, checks it, reads it and goes on writing.
//!
//! `fixtures/data/vN` holds the folder of a small gateway as version N wrote it: `store/` without its index, `documents/` and the
//! node's key (a test's own), from v2 on a backup of it. v0 was written before records were kept of erasures, spools and snapshots. A new version adds a
//! folder and never touches an old one:
//!
//! `LGSP_WRITE_FIXTURE=v6 cargo test -p lgsp-gateway --test api_bus formats`

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lgsp_certs::{PrivateKey, Purpose};
use lgsp_domain::numbering::{LAST_NUMBER, SpoolId};
use lgsp_gateway::backup::{Care, Ordered, Sources, restore, take};
use lgsp_gateway::config::Config;
use lgsp_gateway::store::contract::sample::{acknowledgement, asked, handled, parked};
use lgsp_gateway::store::fsck::fsck;
use lgsp_gateway::store::sled::{Limits, Options, Progress, SledStore};
use lgsp_gateway::store::{
    Acknowledgement, AuditEntry, AuditQuery, BlockWanted, CertificateQuery, Commit, DeliveryStage, Exported, Handled,
    MatterLapsed, Parked, ParkedAction, QueriesOf, QueryId, Stage, Store, intake_digest,
};
use lgsp_proto::types::{DossierCode, Sha256Digest};
use lgsp_proto::v1;
use prost::Message as _;

use super::documents::{content, download, sha256, uploaded, with_document};
use super::joining;
use super::world::*;

/// The day for which the commune An has five numbers of Bình's.
const NEXT_DAY: jiff::civil::Date = jiff::civil::date(2025, 7, 15);
/// Dossiers of the story: with a document and accepted; waiting for the commune; refused, and erased from v1 on.
const ACCEPTED: &str = "H99.102-250714-0001";
const WAITING: &str = "H99.102-250714-0002";
const REFUSED: &str = "H99.102-250714-0003";

fn the_document() -> Bytes {
    content(3_000)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data")
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, name) = (entry.path(), entry.file_name());
        // The index is made from the journal, a lock means nothing by itself.
        let is_left = name.to_str().is_some_and(|name| name.starts_with("index") || name == "lock");
        if from.is_dir() && !is_left {
            copy(&from, &to.join(name));
        } else if !is_left {
            let to = to.join(name);
            std::fs::copy(from, &to).unwrap();
            // A checkout gives everybody's permissions, with which the node's key would be refused.
            std::fs::set_permissions(to, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Lives the story, and leaves the folder at `to`.
async fn write(to: &Path) {
    assert!(!to.exists(), "a fixture is never written over: {}", to.display());
    let mut world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    uploaded(&desk, &the_document()).await;
    assert_eq!(desk.admitted(&with_document("k-1", &the_document())).await, ACCEPTED);
    binh.record(&entry("k-2", BINH, ACCEPTED, accepted())).await.unwrap();
    let _ = desk.admitted(&aid_elsewhere("k-3")).await;
    assert_eq!(desk.admitted(&aid_elsewhere("k-4")).await, REFUSED);
    let refusing = v1::entry::What::Refused(v1::Refused { reason: "lý do mẫu".into() });
    binh.record(&entry("k-5", BINH, REFUSED, refusing)).await.unwrap();
    let operator = world.system("van-hanh").await;
    let erase = v1::EraseRequest {
        acting_party: "H99.VH".into(),
        actor: "van.hanh.1".into(),
        dossier_code: REFUSED.into(),
        ground: "QD-1/2026".into(),
    };
    within(operator.operations().erase(erase)).await.unwrap();
    certify(&world, &operator).await;
    world.stop().await;
    let (dir, node_key) = (world.folder().join("store"), world.folder().join("node.key"));
    let options = Options { dir, node_key, limits: Limits { snapshot_every: 1, ..Limits::default() } };
    let store = SledStore::open(&options, |_| ()).unwrap();
    let deliveries = vec![(ACCEPTED.parse().unwrap(), 1)];
    let taken = Acknowledgement { deliveries, ..acknowledgement(BINH, Stage::TakenOver, &[]) };
    store.commit(Commit::Acknowledgement(taken)).await.unwrap();
    let parking = parked(BINH, 2, 1);
    let waiting: DossierCode = WAITING.parse().unwrap();
    store.commit(Commit::Parked(Parked { code: waiting.clone(), ..parking })).await.unwrap();
    let retried = handled(BINH, 2, 1, ParkedAction::Retry);
    store.commit(Commit::Handled(Handled { code: waiting, ..retried })).await.unwrap();
    let block = BlockWanted {
        authority: BINH.parse().unwrap(),
        day: NEXT_DAY,
        desk: AN.parse().unwrap(),
        spool: SpoolId::new([1; 16]),
        epoch: 1,
        count: 5,
        last: LAST_NUMBER,
    };
    store.lease_numbers(&block, std::time::SystemTime::now()).await.unwrap();
    store.commit(Commit::Exported(copied())).await.unwrap();
    ask(&world, &store).await;
    store.close().await;
    let sources = Sources { data: options.dir.clone(), documents: world.folder().join("documents"), node_key: None };
    take(&sources, &to.join("backup"), Care::Ordinary, std::time::SystemTime::now(), &|_| ()).unwrap();
    for part in ["store", "documents"] {
        copy(&world.folder().join(part), &to.join(part));
    }
    std::fs::copy(world.folder().join("node.key"), to.join("node.key")).unwrap();
}

/// A token that is open, one that was withdrawn, and one that was spent on a certificate that was revoked.
async fn certify(world: &World, operator: &System) {
    let _open = joining::issue(operator, joining::token_for("so-nganh")).await;
    let withdrawn = joining::issue(operator, joining::token_for("so-nganh")).await;
    let withdraw = v1::WithdrawTokenRequest {
        acting_party: "H99.VH".into(),
        actor: "van.hanh.1".into(),
        token_id: withdrawn.id().to_vec().into(),
    };
    within(joining::certificates(operator).withdraw_token(withdraw)).await.unwrap();
    let spent = joining::issue(operator, joining::token_for("cong-an")).await;
    let issued = joining::join(world, &spent, &PrivateKey::generate().unwrap()).await.unwrap().certificate.unwrap();
    let digest = sha256(&issued.chain[0]).to_vec();
    let revoke = joining::revoke(v1::revoke_request::What::CertificateSha256(digest.into()));
    within(joining::certificates(operator).revoke(revoke)).await.unwrap();
}

/// Queries for a dossier, for one that has not come in, and for one that never will.
const OF_ACCEPTED: QueryId = [1; 16];
const WAITING_FOR_ONE: QueryId = [2; 16];
const LAPSED: QueryId = [3; 16];

async fn ask(world: &World, store: &SledStore) {
    let gateway = world.gateway();
    let commit = async |id: QueryId, dossier: Option<&str>, intake: Option<&str>| {
        let mut ended = asked(id, dossier.map(|code| code.parse().unwrap()));
        ended.envelope.party = AN.parse().unwrap();
        ended.intake_key = intake.map(|key| key.parse().unwrap());
        ended.envelope.intake = ended.intake_key.as_ref().map(intake_digest);
        let proof = ended.envelope.proof.as_mut().unwrap();
        proof.signature = gateway.signing_key().sign(Purpose::QueryAnswer, &proof.answer).into();
        proof.certificate = Sha256Digest::from(*gateway.digest().as_bytes());
        store.commit(Commit::Query(Box::new(ended))).await.unwrap();
    };
    commit(LAPSED, None, Some("never")).await;
    let until = std::time::SystemTime::now() + DAY * 20_000;
    let matter = store.open_matters(until, 9).await.unwrap().remove(0);
    let end = MatterLapsed { party: matter.party, intake: matter.intake, key_id: matter.key_id, at: matter.since };
    assert!(store.lapse(end).await.unwrap());
    commit(OF_ACCEPTED, Some(ACCEPTED), None).await;
    commit(WAITING_FOR_ONE, None, Some("k-9")).await;
}

/// What [`ask`] has left.
async fn has_asked(store: &SledStore) {
    let told = store.query(&OF_ACCEPTED).await.unwrap().unwrap();
    let expected = asked(OF_ACCEPTED, None);
    assert_eq!(told.content, Some((expected.payload, expected.reply)));
    assert!(store.query(&LAPSED).await.unwrap().unwrap().erased);
    let of_dossier = store.queries(&QueriesOf::Dossier(ACCEPTED.parse().unwrap()), None, 9).await.unwrap();
    assert_eq!(of_dossier.queries.len(), 1);
    assert!(store.query(&WAITING_FOR_ONE).await.unwrap().unwrap().envelope.dossier.is_none());
}

/// A copy of the books that was made before.
fn copied() -> Exported {
    Exported {
        what: "backup".to_owned(),
        identity: [7; 16],
        party: None,
        actor: "uid-1000".parse().unwrap(),
        system: "(gateway)".to_owned(),
        at: std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_752_458_400),
    }
}

/// Which copies of the books are on record.
async fn copies(store: &SledStore) -> Vec<AuditEntry> {
    let query = AuditQuery {
        kinds: vec![v1::AuditKind::Exported],
        since: None,
        until: None,
        by_actor: None,
        about: None,
        limit: 9,
        before: None,
    };
    store.audit(&query).await.unwrap().entries
}

/// What [`certify`] has left.
async fn has_certified(store: &SledStore) {
    let open = store.open_tokens(std::time::UNIX_EPOCH, 9).await.unwrap();
    assert_eq!(open.iter().map(|token| token.for_system.as_str()).collect::<Vec<_>>(), ["so-nganh"]);
    let query = CertificateQuery { with_revoked: true, limit: 99, ..CertificateQuery::default() };
    let known = store.certificates(&query).await.unwrap().certificates;
    let revoked: Vec<_> = known.iter().filter(|known| known.revoked.is_some()).collect();
    assert_eq!(revoked.len(), 1);
    assert!(revoked[0].issued_here && revoked[0].system == "cong-an");
    assert_eq!(store.revoked_keys(None, 9).await.unwrap(), [revoked[0].key]);
    // Those who signed were seen, and it is known when.
    assert!(known.iter().filter(|known| known.first_seen_at.is_some()).count() >= 3);
}

/// Restores the backup that lies beside the folder, if there is one.
fn restores(version: &Path) {
    let folder = tempfile::tempdir().unwrap();
    for part in ["backup", "node.key"] {
        let (from, to) = (version.join(part), folder.path().join(part));
        if from.is_dir() {
            copy(&from, &to)
        } else {
            let _ = std::fs::copy(&from, &to).unwrap();
        }
    }
    std::fs::set_permissions(folder.path().join("node.key"), Permissions::from_mode(0o600)).unwrap();
    let text = "name = \"bus.test\"\n[listen]\nlocal = \"127.0.0.1:0\"\n\
        [tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_bundle = \"b\"\n\
        [store]\ndir = \"data\"\nnode_key = \"node.key\"\n[documents]\ndir = \"documents\"\n";
    let config = Config::parse(text, folder.path(), []).unwrap_or_else(|problems| panic!("{problems}"));
    let (from, actor) = (folder.path().join("backup"), "van.hanh.1".parse().unwrap());
    let (own_certificates, now) = (Vec::new(), std::time::SystemTime::now());
    let ordered = Ordered { from, actor, numbers_from: None, epoch: None, own_certificates, now };
    let restored = restore(&ordered, &config, &|_| ()).unwrap();
    assert!(restored.report.is_sound(), "{}: {:?}", version.display(), restored.report.problems);
    assert!(restored.epoch.number > 1);
    assert_eq!((restored.report.dossiers, restored.report.documents), (3, 1));
}

/// Opens the folder as an operator's new version would, reads what is in it, and goes on.
async fn opens(version: &Path) {
    let name = version.file_name().unwrap().to_str().unwrap();
    let is_first = name == "v0";
    let folder = tempfile::tempdir().unwrap();
    copy(version, folder.path());
    let (dir, node_key) = (folder.path().join("store"), folder.path().join("node.key"));
    let before = fsck(&dir, &node_key, |_| ()).unwrap();
    assert!(before.is_sound(), "{name}: {:?}", before.problems);
    assert_eq!((before.dossiers, before.documents, before.erased_dossiers), (3, 1, u64::from(!is_first)), "{name}");

    let snapshots = std::sync::Mutex::new(0);
    let told = |progress| match progress {
        // A snapshot of another form of the index is told to be so, and nothing is lost by it.
        Progress::SnapshotLoaded { .. } => *snapshots.lock().unwrap() += 1,
        Progress::SnapshotPassedOver { why, .. } if why.contains("form") => *snapshots.lock().unwrap() += 1,
        Progress::SnapshotPassedOver { why, .. } => panic!("{name}: {why}"),
        _ => {}
    };
    let options = Options { dir: dir.clone(), node_key: node_key.clone(), limits: Limits::default() };
    let store = SledStore::open(&options, told).unwrap();
    assert_eq!(*snapshots.lock().unwrap() > 0, !is_first, "{name}");
    let (binh, an) = (BINH.parse().unwrap(), AN.parse().unwrap());
    let stage = |code: &str, sequence| {
        let (store, code) = (&store, code.parse().unwrap());
        let binh = &binh;
        async move { store.delivery_stage(binh, &code, sequence).await.unwrap() }
    };
    assert_eq!(stage(ACCEPTED, 1).await, Some(DeliveryStage::TakenOver), "{name}");
    assert!(matches!(stage(REFUSED, 1).await, Some(DeliveryStage::Waiting(_))), "{name}");
    assert!(matches!(stage(WAITING, 1).await, Some(DeliveryStage::Waiting(_))), "{name}");
    let done = store.handled(&binh, &WAITING.parse().unwrap(), 9).await.unwrap();
    assert_eq!(done.len(), usize::from(!is_first), "{name}");
    // A block from before epochs were kept is of the first: there was no restore that could have begun another.
    assert!(store.is_leased(&binh, NEXT_DAY, &an, 1, 5).await.unwrap(), "{name}");
    assert!(!store.is_leased(&binh, NEXT_DAY, &an, 2, 5).await.unwrap(), "{name}");
    assert_eq!(store.take_number(&binh, NEXT_DAY, LAST_NUMBER).await.unwrap(), 6, "{name}");
    // v3 is the first with tokens and issued certificates.
    if !matches!(name, "v0" | "v1" | "v2") {
        has_certified(&store).await;
    }
    // v4 is the first that knows of its copies.
    let copies = copies(&store).await;
    assert_eq!(copies.len(), usize::from(!matches!(name, "v0" | "v1" | "v2" | "v3")), "{name}");
    for copy in copies {
        let identity = ("identity".to_owned(), "07".repeat(16));
        assert!(copy.at == Some(copied().at) && copy.facts.contains(&identity), "{name}: {copy:?}");
    }
    // v5 is the first with queries.
    let has_queries = !matches!(name, "v0" | "v1" | "v2" | "v3" | "v4");
    assert_eq!(before.queries, if has_queries { 3 } else { 0 }, "{name}");
    if has_queries {
        has_asked(&store).await;
    }
    store.close().await;

    let mut world = World::start_in(folder, "").await;
    let (desk, commune) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let view = commune.get(BINH, ACCEPTED, true).await.unwrap();
    assert_eq!(view.events.len(), 2, "{name}");
    let submission = with_document("k-1", &the_document());
    assert_eq!(view.events[0].body, submission.encode_to_vec(), "{name}");
    let (_, bytes) = download(&commune, BINH, ACCEPTED, sha256(&the_document()), 0).await.unwrap();
    assert!(bytes == the_document(), "{name}: other bytes");
    let refused = commune.get(BINH, REFUSED, true).await.unwrap();
    assert!(refused.events.iter().all(|event| event.erased != is_first), "{name}");
    assert!(desk.submit(&submission).await.unwrap().repeated, "{name}");
    assert_eq!(desk.admitted(&aid_elsewhere("k-9")).await, "H99.102-250714-0004", "{name}");
    commune.record(&entry("k-10", BINH, "H99.102-250714-0002", accepted())).await.unwrap();
    // In whose name a registry was applied was not kept at first.
    let ask =
        v1::RegistryVersionsRequest { acting_party: "H99.VH".into(), actor: "van.hanh.1".into(), ..Default::default() };
    let versions = within(world.system("van-hanh").await.registry().versions(ask)).await.unwrap().into_inner().versions;
    let told = versions.iter().map(|version| (version.number, version.acting_party.as_str(), version.rolled_back_to));
    assert_eq!(told.collect::<Vec<_>>(), [(1, "", 0)], "{name}");
    world.stop().await;
    let after = fsck(&dir, &node_key, |_| ()).unwrap();
    assert!(after.is_sound(), "{name}: {:?}", after.problems);
    assert_eq!(after.events, before.events + 2, "{name}");
    if has_queries {
        // What was asked for it before is found with the dossier that has come in meanwhile.
        let store = SledStore::open(&options, |_| ()).unwrap();
        let early = store.query(&WAITING_FOR_ONE).await.unwrap().unwrap();
        assert_eq!(early.envelope.dossier.unwrap().as_str(), "H99.102-250714-0004", "{name}");
        store.close().await;
    }
}

#[tokio::test]
async fn every_form_that_was_ever_stored_opens_checks_and_goes_on() {
    if let Some(version) = std::env::var_os("LGSP_WRITE_FIXTURE") {
        write(&fixtures().join(version)).await;
    }
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    assert!(versions.len() >= 2, "{versions:?}");
    // v2 is the first with a backup.
    let with_backup: Vec<&PathBuf> = versions.iter().filter(|version| version.join("backup").exists()).collect();
    assert_eq!(with_backup.len(), versions.len() - 2);
    for version in with_backup {
        let version = version.clone();
        tokio::task::spawn_blocking(move || restores(&version)).await.unwrap();
    }
    for version in versions {
        Box::pin(opens(&version)).await;
    }
}

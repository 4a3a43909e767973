//! Closed dossiers leave for an archive: who may have it done, what is answered about them from then on, and what stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use lgsp_gateway::archive::{Archive, find};
use lgsp_gateway::engine::documents::open_sealed;
use lgsp_gateway::store::contract::sample::acknowledgement;
use lgsp_gateway::store::data_folder::keys_of;
use lgsp_gateway::store::fsck::{Invariant, fsck, fsck_with};
use lgsp_gateway::store::read_only::{history_of, key_of};
use lgsp_gateway::store::sled::{Limits, Options, SledStore};
use lgsp_gateway::store::{Acknowledgement, Commit, Stage, Store};
use lgsp_proto::types::DossierCode;
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use tonic::Status;

use super::documents::{content, download, sha256, uploaded, with_document};
use super::formats::copy;
use super::queries::{Connector, POLICE, citizen, confirmed, confirming, with_services};
use super::world::*;

const OPERATOR: &str = "H99.VH";

async fn archive(system: &System, party: &str, after_days: Option<u32>) -> Result<Vec<v1::ArchiveResponse>, Status> {
    let request = v1::ArchiveRequest { acting_party: party.into(), actor: "van.hanh.1".into(), after_days };
    let mut answers = within(system.operations().archive(request)).await?.into_inner();
    let mut told = Vec::new();
    while let Some(answer) = within(answers.message()).await? {
        told.push(answer);
    }
    Ok(told)
}

async fn open_store(world: &World) -> SledStore {
    let options = Options {
        dir: world.folder().join("store"),
        node_key: world.folder().join("node.key"),
        limits: Limits::default(),
    };
    SledStore::open(&options, |_| ()).unwrap()
}

/// Everybody has handed over what they were told of the dossier.
async fn settle(world: &mut World, code: &str) {
    world.stop().await;
    let (store, code) = (open_store(world).await, code.parse::<DossierCode>().unwrap());
    let dossier = store.dossier(&code).await.unwrap().unwrap();
    for party in dossier.told() {
        let deliveries = (1..=dossier.sequence).map(|sequence| (code.clone(), sequence)).collect();
        let said = acknowledgement(party.as_str(), Stage::HandedOver, &[]);
        store.commit(Commit::Acknowledgement(Acknowledgement { deliveries, ..said })).await.unwrap();
    }
    store.close().await;
    world.run().await;
    set_clock(world).await;
}

/// It is a month and more later.
async fn set_clock(world: &World) {
    let (status, _) = world.local("PUT", "/business-clock", "{\"now\":\"2025-09-01T09:00:00+07:00\"}").await;
    assert_eq!(status, 200);
}

async fn figure(world: &World, name: &str) -> u64 {
    let (_, body) = world.local("GET", "/status", "").await;
    serde_json::from_str::<serde_json::Value>(&body).unwrap()["store"][name].as_u64().unwrap()
}

/// A dossier with a document and a look-up that was refused, and everybody knows; and one that is still open.
async fn one_closed(world: &mut World, content: &Bytes) -> (String, String) {
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    with_services(world).await;
    let mut connector = Connector::open(world, POLICE, "dan-cu", 1).await;
    confirmed(world, &desk, &mut connector, confirming("k-1")).await;
    uploaded(&desk, content).await;
    let code = desk.admitted(&with_document("k-1", content)).await;
    let open = desk.admitted(&aid_elsewhere("k-2")).await;
    binh.record(&refusing(&code)).await.unwrap();
    settle(world, &code).await;
    (code, open)
}

fn refusing(code: &str) -> v1::Entry {
    entry("k-3", BINH, code, v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() }))
}

fn archives(world: &World) -> PathBuf {
    world.folder().join("store/archives")
}

#[tokio::test]
async fn an_operator_archives_what_is_closed_and_everybody_is_told_where_it_is() {
    let mut world = World::start().await;
    let content = content(150_000);
    let (code, open) = one_closed(&mut world, &content).await;
    let (desk, operator) = (world.system("mot-cua").await, world.system("van-hanh").await);

    assert_eq!(reason(archive(&desk, AN, Some(30)).await), Reason::GrantMissing);
    for days in [None, Some(0), Some(40_000)] {
        let refused = refusal(archive(&operator, OPERATOR, days).await);
        assert_eq!((refused.reason(), fields(&refused)), (Reason::FieldInvalid, vec!["after_days"]));
    }
    let none = archive(&operator, OPERATOR, Some(365)).await.unwrap();
    assert_eq!(none, [v1::ArchiveResponse { done: true, ..Default::default() }]);
    let told = archive(&operator, OPERATOR, Some(30)).await.unwrap();
    let file = told.iter().find(|told| !told.archive.is_empty()).unwrap();
    assert_eq!((file.archive.as_str(), file.archived), ("archive-2025-09-0001.lgsp", 1));
    let last = told.last().unwrap();
    assert_eq!((last.done, last.looked_at, last.archived), (true, 1, 1));
    assert_eq!(
        Archive::open(&archives(&world).join(&file.archive)).unwrap().sha256.as_bytes()[..],
        file.archive_sha256
    );

    for life in 0..3 {
        let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
        let (operator, police) = (world.system("van-hanh").await, world.system("cong-an").await);
        for (system, party) in [(&binh, BINH), (&desk, AN), (&operator, OPERATOR)] {
            let refused = refusal(system.get(party, &code, false).await);
            assert_eq!(refused.reason(), Reason::DossierArchived, "{party} in life {life}");
            assert_eq!((&refused.details()["archive"], &refused.details()["dossier_code"]), (&file.archive, &code));
            assert_eq!(refused.details()["erased"], if life < 2 { "false" } else { "true" });
        }
        assert_eq!(reason(police.get("H99.CA", &code, false).await), Reason::DossierNotFound);
        assert_eq!(reason(download(&binh, BINH, &code, sha256(&content), 0).await), Reason::DossierArchived);
        let police_down = download(&police, "H99.CA", &code, sha256(&content), 0).await;
        assert_eq!(reason(police_down), Reason::DossierNotFound);
        let progress = v1::entry::What::Progressed(v1::Progressed { step: "Tra cứu".into(), ..Default::default() });
        assert_eq!(reason(binh.record(&entry("k-4", BINH, &code, progress)).await), Reason::DossierArchived);
        // What was answered before is answered again, in the very same words.
        let repeat = desk.submit(&with_document("k-1", &content)).await.unwrap();
        assert!(repeat.repeated && binh.record(&refusing(&code)).await.unwrap().repeated);
        assert_eq!(world.receipt(&repeat.receipt.unwrap()).dossier_code, code);
        // What was looked up is found by its name, and is gone with the content.
        let records = Archive::open(&archives(&world).join(&file.archive)).unwrap();
        let records = records.records(records.dossier(&code).unwrap()).unwrap();
        let keys = keys_of(&world.folder().join("store"), &world.folder().join("node.key")).unwrap();
        let queries = history_of(&records, &keys).unwrap().unwrap().queries;
        assert_eq!((queries.len(), queries[0].erased), (1, life == 2), "life {life}");
        // Its code is nobody else's alias, and the other dossier is where it was.
        let squatting = v1::Submission { aliases: vec![code.clone()], ..aid_elsewhere("k-5") };
        assert_eq!(reason(desk.submit(&squatting).await), Reason::AliasTaken);
        assert_eq!(binh.get(BINH, &open, true).await.unwrap().events.len(), 1);
        let asked = v1::ListRequest { acting_party: BINH.into(), actor: "can.bo.2".into(), ..Default::default() };
        let listed = within(binh.dossiers().list(asked)).await.unwrap().into_inner().dossiers;
        assert_eq!(listed.iter().map(|dossier| &dossier.code).collect::<Vec<_>>(), [&open]);
        assert_eq!((figure(&world, "dossiers").await, figure(&world, "archived").await), (1, 1));

        match life {
            // The index is made again from the journal alone.
            0 => {
                world.stop().await;
                std::fs::remove_dir_all(world.folder().join("store/index")).unwrap();
                world.run().await;
                set_clock(&world).await;
            }
            1 => {
                let request = v1::EraseRequest {
                    acting_party: OPERATOR.into(),
                    actor: "van.hanh.1".into(),
                    dossier_code: code.clone(),
                    ground: "QD-1/2026".into(),
                };
                let erased = within(operator.operations().erase(request)).await.unwrap().into_inner();
                assert_eq!((erased.keys, erased.repeated), (2, false));
                world.restart().await;
                set_clock(&world).await;
            }
            _ => {}
        }
    }
    world.stop().await;

    let (dir, node_key) = (world.folder().join("store"), world.folder().join("node.key"));
    let report = fsck(&dir, &node_key, |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!((report.archived_dossiers, report.archives, report.archives_elsewhere), (1, 1, 0));
    assert_eq!((report.dossiers, report.erased_dossiers), (2, 1));
    // Kept elsewhere it is no problem; another one in its place is.
    let elsewhere = fsck_with(&dir, &node_key, &world.folder().join("nowhere"), |_| ()).unwrap();
    assert!(elsewhere.is_sound());
    assert_eq!((elsewhere.archives, elsewhere.archives_elsewhere), (0, 1));
    let path = archives(&world).join(&file.archive);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let wrong = fsck(&dir, &node_key, |_| ()).unwrap();
    let found: Vec<_> = wrong.problems.iter().map(|problem| problem.invariant).collect();
    assert_eq!(found, [Invariant::Archive], "{:?}", wrong.problems);
}

#[tokio::test]
async fn a_gateway_archives_by_itself_as_its_configuration_says() {
    let retention = "\n[retention]\narchive_after_days = 30\narchive_dir = \"away\"\narchive_every_s = 1\n";
    let mut world = World::start_with(retention).await;
    let (code, _) = one_closed(&mut world, &content(10)).await;
    within(async {
        while figure(&world, "archived").await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let operator = world.system("van-hanh").await;
    assert_eq!(reason(operator.get(OPERATOR, &code, false).await), Reason::DossierArchived);
    // Whoever orders a run and gives no rule, means the configured one.
    let told = loop {
        match archive(&operator, OPERATOR, None).await {
            Ok(told) => break told,
            // One of its own is under way just now.
            refused => assert_eq!(reason(refused), Reason::Overloaded),
        }
    };
    assert!(told.last().unwrap().done);
    world.stop().await;
    assert!(find(&world.folder().join("away"), &code).unwrap().0.is_some());
    let store = open_store(&world).await;
    let on_record = store.archives(None, 9).await.unwrap();
    assert_eq!((on_record.len(), on_record[0].dossiers), (1, 1));
    store.close().await;
}

/// Every form of an archive that was ever written, and a journal that says so.
///
/// `LGSP_WRITE_ARCHIVE_FIXTURE=v1 cargo test -p lgsp-gateway --test api_bus archiving` adds one; none is ever changed.
#[tokio::test]
async fn every_archive_that_was_ever_written_opens_with_the_gateways_keys() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archived");
    let the_document = content(3_000);
    if let Some(version) = std::env::var_os("LGSP_WRITE_ARCHIVE_FIXTURE") {
        let to = fixtures.join(version);
        assert!(!to.exists(), "a fixture is never written over: {}", to.display());
        let mut world = World::start().await;
        let _ = one_closed(&mut world, &the_document).await;
        archive(&world.system("van-hanh").await, OPERATOR, Some(30)).await.unwrap();
        world.stop().await;
        copy(&world.folder().join("store"), &to.join("store"));
        std::fs::copy(world.folder().join("node.key"), to.join("node.key")).unwrap();
    }
    let mut versions: Vec<PathBuf> = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    assert!(!versions.is_empty());
    for version in versions {
        let folder = tempfile::tempdir().unwrap();
        copy(&version, folder.path());
        let (dir, node_key) = (folder.path().join("store"), folder.path().join("node.key"));
        let report = fsck(&dir, &node_key, |_| ()).unwrap();
        assert!(report.is_sound(), "{version:?}: {:?}", report.problems);
        assert_eq!((report.archived_dossiers, report.archives), (1, 1), "{version:?}");

        let (found, unread) = find(&dir.join("archives"), "H99.102-250714-0001").unwrap();
        assert!(unread.is_empty(), "{version:?}");
        let found = found.unwrap();
        let keys = keys_of(&dir, &node_key).unwrap();
        let records = found.archive.records(&found.dossier).unwrap();
        let history = history_of(&records, &keys).unwrap().unwrap();
        // v2 is the first with what was looked up.
        let queries = usize::from(!version.ends_with("v1"));
        assert_eq!((history.queries.len(), found.dossier.queries as usize), (queries, queries), "{version:?}");
        for query in &history.queries {
            assert_eq!(query.envelope.dossier.as_ref().unwrap().as_str(), "H99.102-250714-0001", "{version:?}");
            assert_eq!(query.content.as_ref().unwrap().0, citizen(), "{version:?}");
        }
        let bodies: Vec<_> = history.events.iter().map(|event| event.body.clone().unwrap()).collect();
        assert_eq!(bodies[0], with_document("k-1", &the_document).encode_to_vec(), "{version:?}");
        assert_eq!(bodies[1], refusing("H99.102-250714-0001").encode_to_vec(), "{version:?}");
        let kept = found.dossier.documents[0].clone();
        let key = key_of(&keys, kept.key_id).unwrap().unwrap();
        let sealed = found.archive.document(&kept).unwrap();
        let chunks = open_sealed(sealed, kept.size_bytes, key).unwrap();
        let bytes: Vec<u8> = chunks.flat_map(|chunk| chunk.unwrap().to_vec()).collect();
        assert!(bytes == the_document, "{version:?}: other bytes");
    }
}

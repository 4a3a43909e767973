//! Every form of the spool that was ever shipped: a later version opens it, and goes on with what is in it.
//!
//! `tests/fixtures/spool/vN` holds a spool as version N left it, with a key of the test's own. A new version adds a folder and
//! never touches an old one: `LGSP_WRITE_FIXTURE=v1 cargo test -p lgsp-adapters --lib formats`

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lgsp_journal::RealFiles;
use lgsp_proto::v1;
use prost::Message as _;
use tokio_stream::StreamExt as _;

use super::*;
use crate::digest::sha256;
use crate::trace::TraceParent;

const PARTY: &str = "H57.101";
const CODE: &str = "H57.101-250714-0001";
const DOCUMENT: &[u8] = b"to khai mau";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool")
}

fn open(folder: &Path) -> Result<Spool, OpenError> {
    Spool::open(&Options {
        folder: folder.to_owned(),
        max_outgoing: NonZeroUsize::new(9).unwrap(),
        max_incoming: NonZeroUsize::new(9).unwrap(),
        // A fixture is as old as it is.
        keep_outcomes: Duration::from_secs(100 * 365 * 86_400),
        max_document_bytes: 1 << 20,
        min_free_bytes: 0,
        restate_after: 100,
        places: HashMap::from([(PARTY.parse().unwrap(), 0)]),
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if entry.file_name() != "lock" {
            fs::copy(from, &to).unwrap();
            // A checkout gives everybody's permissions, with which the spool's key would be refused.
            fs::set_permissions(to, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn call(key: &str) -> NewCall {
    NewCall {
        id: call_id(PARTY, key),
        kind: CallKind::Submit,
        dossier: None,
        body: Bytes::from(format!("what was said under {key}")),
        trace: TraceParent::begin(),
        offline: None,
    }
}

fn delivery(sequence: u32) -> v1::Delivery {
    let reference = v1::DeliveryRef { party: PARTY.into(), dossier_code: CODE.into(), sequence };
    v1::Delivery { r#ref: Some(reference), attempt: 1, ..v1::Delivery::default() }
}

fn id_of(sequence: u32) -> DeliveryId {
    DeliveryId::from(&delivery(sequence).r#ref.unwrap())
}

fn admitted() -> Outcome {
    let receipt = v1::Receipt { dossier_code: CODE.to_owned(), ..v1::Receipt::default() }.encode_to_vec().into();
    let receipt = Some(v1::SignedReceipt { receipt, ..v1::SignedReceipt::default() });
    Outcome::Admitted(v1::SubmitResponse { receipt, ..v1::SubmitResponse::default() })
}

/// One of everything: a call that waits, one that was admitted, a delivery taken over and one handed over, a document.
async fn write(to: &Path) {
    assert!(!to.exists(), "a fixture is never written over: {}", to.display());
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path()).unwrap();
    spool.epoch_seen(1).await.unwrap();
    let block = v1::NumberBlock { authority: "H57.12".into(), day: "2025-07-14".into(), first: 5, count: 3 };
    spool.leased(&PARTY.parse().unwrap(), 1, &[block]).await.unwrap();
    for key in ["answered", "waiting"] {
        spool.queue(call(key)).await.unwrap();
    }
    let answered = call_id(PARTY, "answered");
    spool.begin_sending(&answered).unwrap().unwrap();
    spool.answered(&answered, &admitted()).await.unwrap();
    for sequence in 1..=2 {
        spool.take_over(&delivery(sequence)).await.unwrap().await.unwrap();
    }
    let Some(Stage::TakenOver(position)) = spool.stage(&id_of(1)) else { panic!("not taken over") };
    spool.handed_over(&id_of(1), position).await.unwrap();
    let mut upload = spool.documents().put(PARTY, 1 << 20);
    upload.chunk(Bytes::from_static(DOCUMENT)).await.unwrap();
    upload.finish().await.unwrap();
    spool.close();
    drop(spool);
    copy(folder.path(), to);
}

async fn opens(version: &Path) {
    let folder = tempfile::tempdir().unwrap();
    copy(version, folder.path());
    for life in 0..2 {
        let spool = open(folder.path()).unwrap();
        let counts = spool.counts();
        assert_eq!((counts.waiting, counts.admitted, counts.refused), (1 + life, 1, 0), "{version:?}");
        assert_eq!((counts.not_handed_over, counts.unconfirmed), (1, 1), "{version:?}");
        let Standing::Answered(position) = spool.call(&call_id(PARTY, "answered")).unwrap().standing else {
            panic!("{version:?}: an answer is gone")
        };
        assert_eq!(spool.outcome(position).unwrap(), admitted());
        let waiting = spool.begin_sending(&call_id(PARTY, "waiting")).unwrap().unwrap();
        assert_eq!(waiting.body, call("waiting").body);
        assert!(matches!(spool.stage(&id_of(1)), Some(Stage::HandedOver { .. })), "{version:?}");
        let pending = spool.pending(PARTY, 9);
        assert_eq!(spool.delivery(pending[0]).unwrap(), delivery(2));
        let parts = spool.documents().read(PARTY, &sha256(DOCUMENT), 0).unwrap();
        let parts: Vec<Bytes> = parts.map(Result::unwrap).collect().await;
        assert_eq!(parts.concat(), DOCUMENT);
        // The same again is the same, and what is new is written behind it.
        assert_eq!(spool.queue(call("answered")).await.unwrap().standing, Standing::Answered(position));
        spool.queue(call("later")).await.unwrap();
        spool.close();
    }
}

#[tokio::test]
async fn every_form_of_the_spool_that_was_ever_shipped_opens_and_goes_on() {
    if let Some(version) = std::env::var_os("LGSP_WRITE_FIXTURE") {
        write(&fixtures().join(version)).await;
    }
    let versions: Vec<PathBuf> = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!versions.is_empty());
    for version in versions {
        opens(&version).await;
    }
}

#[tokio::test]
async fn a_spool_of_a_later_version_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path()).unwrap();
    spool.queue(call("one")).await.unwrap();
    spool.close();
    drop(spool);
    // A record of a kind that is not known here: field 99 of the oneof.
    let key = SpoolKey::open(folder.path()).unwrap();
    let files = Arc::new(RealFiles::open(folder.path().join("journal")).unwrap());
    let mut journal = lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
    journal.writer.append(&[key.seal_record(b"\x9a\x06\x00")]).unwrap();
    drop((journal, key));
    let refused = open(folder.path()).err().unwrap();
    assert!(matches!(&refused, OpenError::Record(RecordError::Unknown(_))), "{refused}");
    let said = std::error::Error::source(&refused).unwrap().to_string();
    assert!(said.contains("written by a later version"), "{said}");
}

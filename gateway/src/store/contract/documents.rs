//! Documents, registry versions, certificates and keys.

use std::sync::Arc;

use bytes::Bytes;
use lgsp_proto::v1;

use super::reading::admit;
use super::sample::{DESK, RETURN_DESK, at, attached, code, document, machine, opened, party, progressed, sha256};
use crate::store::{Commit, CommitError, DocumentMeta, RegistryRecord, Store};

pub(super) async fn a_document_is_found_by_its_party_and_digest(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("documents").await;
    let first = document(1, DESK, b"a birth certificate");
    store.commit(Commit::Document(first.clone())).await.unwrap();
    assert_eq!(store.document(&party(DESK), &first.sha256).await.unwrap(), Some(first.clone()));
    assert_eq!(store.document_by_id(1).await.unwrap(), Some(first.clone()));
    // A digest grants nothing: who did not upload it does not have it.
    assert_eq!(store.document(&party(RETURN_DESK), &first.sha256).await.unwrap(), None);
    // Uploaded again, the newest is found; the first one is still there.
    let again = document(2, DESK, b"a birth certificate");
    store.commit(Commit::Document(again.clone())).await.unwrap();
    assert_eq!(store.document(&party(DESK), &first.sha256).await.unwrap(), Some(again));
    assert_eq!(store.document_by_id(1).await.unwrap(), Some(first));
    let taken = store.commit(Commit::Document(document(2, RETURN_DESK, b"something else"))).await;
    assert!(matches!(taken, Err(CommitError::Conflict)), "{taken:?}");
    store.close().await;
}

pub(super) async fn a_document_belongs_to_the_dossier_that_named_it(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("attached").await;
    let paper = document(1, DESK, b"a form");
    store.commit(Commit::Document(paper.clone())).await.unwrap();
    let mut event = opened(1);
    event.outcome.documents = vec![attached(&paper)];
    admit(&*store, event).await;
    let expected = DocumentMeta { dossier: Some(code(1)), ..paper.clone() };
    assert_eq!(store.document_by_id(1).await.unwrap(), Some(expected.clone()));
    assert_eq!(store.document(&party(DESK), &paper.sha256).await.unwrap(), Some(expected));
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    assert_eq!(dossier.documents, [attached(&paper)]);
    admit(&*store, progressed(&dossier, at(100))).await;
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().documents, [attached(&paper)]);
    store.close().await;
}

fn registry(number: u64) -> RegistryRecord {
    RegistryRecord {
        version: v1::RegistryVersion {
            number,
            sha256: Bytes::from_static(b"digest"),
            applied_at: None,
            applied_by_system: "console".to_owned(),
            actor: "operator.1".to_owned(),
            ..v1::RegistryVersion::default()
        },
        files: vec![v1::RegistryFile {
            name: "parties.toml".to_owned(),
            content: Bytes::from(format!("# version {number}")),
        }],
    }
}

pub(super) async fn registry_versions_follow_one_another(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("registry").await;
    for number in 1..=12 {
        store.commit(Commit::Registry(registry(number))).await.unwrap();
    }
    assert_eq!(store.registry(None).await.unwrap(), Some(registry(12)));
    assert_eq!(store.registry(Some(3)).await.unwrap(), Some(registry(3)));
    assert_eq!(store.registry(Some(13)).await.unwrap(), None);
    for number in [3, 12, 14] {
        let stale = store.commit(Commit::Registry(registry(number))).await;
        assert!(matches!(stale, Err(CommitError::Conflict)), "{number}: {stale:?}");
    }
    store.close().await;
    let store = open("registry").await;
    assert_eq!(store.registry(None).await.unwrap(), Some(registry(12)));
    store.close().await;
}

pub(super) async fn a_certificate_is_recorded_once_however_often_it_is_seen(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("certificates").await;
    let der = Bytes::from_static(b"der");
    let digest = sha256(&der);
    let seen = || Commit::Certificate { digest, der: der.clone(), system: "so-tu-phap".to_owned(), at: machine(1) };
    let (one, two) = tokio::join!(store.commit(seen()), store.commit(seen()));
    assert!(one.is_ok() && two.is_ok());
    assert!(store.knows_certificate(&digest).await.unwrap());
    assert_eq!(store.certificate(&digest).await.unwrap(), Some(der.clone()));
    let durable = store.figures().durable;
    store.commit(seen()).await.unwrap();
    assert_eq!(store.figures().durable, durable, "a known certificate was written again");
    store.close().await;
}

pub(super) async fn a_data_key_is_fresh_and_can_be_had_again(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("data_keys").await;
    let (first, key) = store.new_key().await.unwrap();
    let (second, _) = store.new_key().await.unwrap();
    assert_ne!(first, second);
    let sealed = key.seal(b"a document", b"its content");
    store.close().await;
    let store = open("data_keys").await;
    let key = store.key(first).await.unwrap().unwrap();
    assert_eq!(key.open(b"a document", &sealed).unwrap(), b"its content");
    let (third, _) = store.new_key().await.unwrap();
    assert!(third != first && third != second);
    store.close().await;
}

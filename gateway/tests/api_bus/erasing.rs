//! Erasing a dossier's content over the wire: who may, when, and what is left of it.

use std::path::Path;

use lgsp_proto::{Reason, v1};
use tonic::Status;

use super::documents::{content, download, sha256, uploaded, with_document};
use super::world::*;

pub(crate) const OPERATOR: &str = "H99.VH";

pub(crate) async fn erase(
    system: &System,
    party: &str,
    dossier: &str,
    ground: &str,
) -> Result<v1::EraseResponse, Status> {
    let request = v1::EraseRequest {
        acting_party: party.into(),
        actor: "van.hanh.1".into(),
        dossier_code: dossier.into(),
        ground: ground.into(),
    };
    Ok(within(system.operations().erase(request)).await?.into_inner())
}

/// How many document files there are.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_document_of_an_erased_dossier_that_a_crash_has_left_is_removed_after_the_next_start() {
    let mut world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let content = content(1000);
    uploaded(&desk, &content).await;
    let code = desk.admitted(&with_document("k-1", &content)).await;
    let refusing = v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() });
    binh.record(&entry("k-2", BINH, &code, refusing)).await.unwrap();
    let documents = world.folder().join("documents").join("whole");
    let folder = std::fs::read_dir(&documents).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let left = std::fs::read(&file).unwrap();
    erase(&world.system("van-hanh").await, OPERATOR, &code, "QD-1/2026").await.unwrap();
    world.stop().await;
    std::fs::write(&file, left).unwrap();
    world.run().await;
    let removed = async {
        while file.exists() {
            tokio::task::yield_now().await;
        }
    };
    within(removed).await;
}

#[tokio::test]
async fn an_operator_erases_a_closed_dossier_and_only_its_envelope_is_left() {
    let mut world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let operator = world.system("van-hanh").await;
    let content = content(100_000);
    uploaded(&desk, &content).await;
    let code = desk.admitted(&with_document("k-1", &content)).await;
    let other = desk.admitted(&aid_elsewhere("k-2")).await;

    // While it is open its content is needed, and nobody but an operator has a say in it at all.
    assert_eq!(reason(erase(&desk, AN, &code, "QD-1/2026").await), Reason::GrantMissing);
    let refused = refusal(erase(&operator, OPERATOR, &code, "QD-1/2026").await);
    assert_eq!((refused.reason(), refused.details()["status"].as_str()), (Reason::DossierOpen, "1"));
    assert_eq!(reason(erase(&operator, OPERATOR, "H99.101-250714-9999", "QD-1/2026").await), Reason::DossierNotFound);
    for ground in ["", "vì ông A", &"x".repeat(65)] {
        let refused = refusal(erase(&operator, OPERATOR, &code, ground).await);
        assert_eq!((refused.reason(), fields(&refused)), (Reason::FieldInvalid, vec!["ground"]));
    }
    let refusing = v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() });
    binh.record(&entry("k-3", BINH, &code, refusing)).await.unwrap();

    let documents = world.folder().join("documents").join("whole");
    assert_eq!(files(&documents), 1);
    let erased = erase(&operator, OPERATOR, &code, "QD-1/2026").await.unwrap();
    assert_eq!((erased.dossier_code.as_str(), erased.keys, erased.repeated), (code.as_str(), 2, false));
    assert_eq!(files(&documents), 0);

    for life in 0..2 {
        let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
        let operator = world.system("van-hanh").await;
        let view = binh.get(BINH, &code, true).await.unwrap();
        assert_eq!(view.dossier.unwrap().sequence, 2);
        assert!(view.events.iter().all(|event| event.erased && event.body.is_empty()), "life {life}");
        assert_eq!(reason(download(&binh, BINH, &code, sha256(&content), 0).await), Reason::ContentErased);
        let progress = v1::entry::What::Progressed(v1::Progressed { step: "Tra cứu".into(), ..Default::default() });
        assert_eq!(reason(binh.record(&entry("k-4", BINH, &code, progress)).await), Reason::ContentErased);
        // What was answered before is answered again.
        assert!(desk.submit(&with_document("k-1", &content)).await.unwrap().repeated);
        let again = erase(&operator, OPERATOR, &code, "QD-2/2026").await.unwrap();
        assert_eq!((again.repeated, again.ground.as_str()), (true, "QD-1/2026"));
        assert!(!binh.get(BINH, &other, true).await.unwrap().events[0].erased);
        world.restart().await;
    }
}

//! Tidying up: what is finished goes, what is not stays, wherever it is interrupted.

use std::fs::File;

use lgsp_journal::{Opened, RealFiles};

use super::*;
use crate::spool::replay::replay;

#[tokio::test]
async fn a_spool_that_is_tidied_up_keeps_what_is_unfinished_in_order_and_forgets_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path());
        spool.queue(entry("a1", "A")).await.unwrap();
        // Six records for each round trip, so that what is finished is far more than what is not.
        for number in 0..30 {
            let key = format!("done-{number}");
            let id = call_id("H57.101", &key);
            spool.queue(call(&key, "x")).await.unwrap();
            spool.answered(&id, &refused()).await.unwrap();
            spool.told(&id).await.unwrap();
            take_over(&spool, &delivery(&key, 1)).await.unwrap();
            let id = DeliveryId { party: "H57.101".into(), dossier: key.as_str().into(), sequence: 1 };
            hand_over(&spool, &id).await;
            spool.confirmed(&id).await.unwrap();
        }
        spool.queue(entry("a2", "A")).await.unwrap();
        take_over(&spool, &delivery("D", 7)).await.unwrap();
    }
    let nothing_kept = Options { keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    let size = |folder: &Path| -> u64 {
        std::fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size(folder.path());
    drop(Spool::open(&nothing_kept).unwrap());
    assert!(size(folder.path()) < before / 10, "{} of {before} bytes are left", size(folder.path()));

    let spool = Spool::open(&nothing_kept).unwrap();
    assert_eq!(waiting(&spool), ["a1"]);
    spool.outgoing(|lanes| lanes.done(&"A".into()));
    assert_eq!(waiting(&spool), ["a2"]);
    let [Parcel::Delivery(position)] = parcels(&spool)[..] else { panic!() };
    assert_eq!(spool.delivery(position).unwrap(), delivery("D", 7));
    assert!(spool.call(&call_id("H57.101", "done-1")).is_none());
    assert!(spool.begin_sending(&call_id("H57.101", "a1")).unwrap().is_some());
}

#[tokio::test]
async fn an_interrupted_tidying_up_changes_nothing() {
    let mut written = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        {
            let spool = open(folder.path());
            spool.queue(call("done", "x")).await.unwrap();
            spool.answered(&call_id("H57.101", "done"), &refused()).await.unwrap();
            spool.queue(entry("a1", "A")).await.unwrap();
            spool.queue(entry("a2", "A")).await.unwrap();
            for sequence in 1..=2 {
                take_over(&spool, &delivery("D", sequence)).await.unwrap();
            }
            let id = DeliveryId { party: "H57.101".into(), dossier: "D".into(), sequence: 1 };
            hand_over(&spool, &id).await;
        }
        let all = {
            // As restating does it, but without the mark at the end.
            let files = Arc::new(RealFiles::open(folder.path().join("journal")).unwrap());
            let Opened { mut writer, reader, .. } =
                lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
            let key = SpoolKey::open(folder.path()).unwrap();
            let (state, _) = replay(&reader, &key, &options(folder.path()).places, Position::FIRST).unwrap();
            let needed = state.needed(0);
            let records: Vec<_> = needed.iter().map(|position| reader.read(*position).unwrap()).collect();
            writer.append(&records[..written]).unwrap();
            records.len()
        };
        let spool = open(folder.path());
        assert_eq!((spool.counts().waiting, spool.counts().refused), (2, 1), "{written} records");
        assert_eq!((spool.counts().not_handed_over, spool.counts().unconfirmed), (1, 1), "{written} records");
        assert_eq!(waiting(&spool), ["a1"]);
        if written == all {
            break;
        }
        written += 1;
    }
    assert_eq!(written, 6);
}

#[tokio::test]
async fn a_key_whose_answer_was_forgotten_can_be_used_again_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { keep_outcomes: Duration::ZERO, places: HashMap::new(), ..options(folder.path()) };
    {
        let spool = Spool::open(&options).unwrap();
        spool.queue(call("one", "1")).await.unwrap();
        spool.answered(&call_id("H57.101", "one"), &refused()).await.unwrap();
        // The clock has to move on by a millisecond for something to be older than now.
        let answered_at = now_ms();
        while now_ms() <= answered_at {
            tokio::task::yield_now().await;
        }
        spool.tidy_up();
        assert!(spool.call(&call_id("H57.101", "one")).is_none());
        spool.queue(call("one", "other content")).await.unwrap();
    }
    let spool = Spool::open(&options).unwrap();
    assert_eq!(waiting(&spool), ["one"]);
    assert_eq!(spool.begin_sending(&call_id("H57.101", "one")).unwrap().unwrap().body, "other content");
}

#[tokio::test]
async fn a_document_is_kept_as_long_as_the_outcome_of_the_dossier_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut digests = Vec::new();
    for content in ["of an admitted one", "of a refused one"] {
        let mut upload = spool.documents().put("H57.101", 1 << 10);
        upload.chunk(content.into()).await.unwrap();
        digests.push(upload.finish().await.unwrap().sha256);
    }
    // The line was cut for longer than outcomes are kept: the answers come only now.
    let long_ago = SystemTime::now() - 2 * options(folder.path()).keep_outcomes;
    for document in std::fs::read_dir(folder.path().join("documents")).unwrap() {
        File::options().write(true).open(document.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    }
    for (key, sha256) in ["1", "2"].into_iter().zip(&digests) {
        let document = v1::DocumentRef { sha256: sha256.to_vec().into(), ..v1::DocumentRef::default() };
        let component = v1::Component { document: Some(document), ..v1::Component::default() };
        let body = v1::Submission { components: vec![component], ..v1::Submission::default() }.encode_to_vec();
        spool.queue(NewCall { body: body.into(), ..call(key, key) }).await.unwrap();
    }
    let held = || digests.iter().map(|sha256| spool.documents().holds("H57.101", sha256)).collect::<Vec<_>>();
    spool.tidy_up();
    assert_eq!(held(), [true, true], "both are still to be sent");
    spool.answered(&call_id("H57.101", "1"), &admitted("D")).await.unwrap();
    spool.answered(&call_id("H57.101", "2"), &refused()).await.unwrap();
    spool.tidy_up();
    assert_eq!(held(), [true, false]);
}

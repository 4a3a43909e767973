//! What the agency's own system wants sent.

use super::*;

#[tokio::test]
async fn what_was_taken_in_is_there_after_a_restart_with_its_bytes_and_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let one = call("one", "a body");
    {
        let spool = open(folder.path());
        spool.queue(one.clone()).await.unwrap();
        assert_eq!(spool.call(&one.id).unwrap().standing, Standing::Queued);
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), ["one"]);
    let queued = spool.begin_sending(&one.id).unwrap().unwrap();
    assert_eq!((queued.kind, queued.body, queued.trace), (CallKind::Submit, one.body, Some(one.trace)));
    assert_eq!(spool.call(&one.id).unwrap().standing, Standing::Sending);
}

#[tokio::test]
async fn nothing_that_was_taken_in_lies_readable_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.queue(call("one", "Nguyen Thu Nghiem")).await.unwrap();
    spool.close();
    for entry in std::fs::read_dir(folder.path().join("journal")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"Nguyen"));
    }
}

#[tokio::test]
async fn one_key_is_one_call_and_other_content_under_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(open(folder.path()));
    // At the same time, so that all but one find it not yet durable.
    let same: Vec<_> = (0..8)
        .map(|_| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.queue(call("one", "a body")).await })
        })
        .collect();
    for queued in same {
        assert_eq!(queued.await.unwrap().unwrap().standing, Standing::Queued);
    }
    assert_eq!(spool.queue(call("one", "another body")).await.unwrap_err(), QueueError::KeyReused);
    assert_eq!(spool.counts().waiting, 1);
    assert_eq!(waiting(&spool), ["one"]);
    // Keys are scoped to the party.
    let mut other = call("one", "another body");
    other.id = call_id("H57.102", "one");
    spool.queue(other).await.unwrap();
}

#[tokio::test]
async fn a_key_whose_first_caller_went_away_is_not_promised_to_other_content() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let first = spool.queue(call("one", "a body"));
    // It is on its way to the disk, and nobody waits for it any more.
    assert!(tokio::time::timeout(Duration::ZERO, first).await.is_err());
    assert_eq!(spool.queue(call("one", "another body")).await.unwrap_err(), QueueError::KeyReused);
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), ["one"]);
    let queued = spool.begin_sending(&call_id("H57.101", "one")).unwrap().unwrap();
    assert_eq!(queued.body, "a body");
}

#[tokio::test]
async fn an_answer_ends_a_call_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (call("one", "1"), call("two", "2"));
    {
        let spool = open(folder.path());
        spool.queue(one.clone()).await.unwrap();
        spool.queue(two.clone()).await.unwrap();
        spool.answered(&one.id, &admitted("H57.12-250714-0001")).await.unwrap();
        spool.answered(&two.id, &refused()).await.unwrap();
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), <[&str; 0]>::default());
    for (id, outcome) in [(&one.id, admitted("H57.12-250714-0001")), (&two.id, refused())] {
        let Standing::Answered(position) = spool.call(id).unwrap().standing else { panic!() };
        match (spool.outcome(position).unwrap(), outcome) {
            (Outcome::Refused(status), Outcome::Refused(_)) => {
                let status = tonic_types::pb::Status::decode(status).unwrap();
                assert!(!status.details.is_empty());
            }
            (found, kept) => assert_eq!(found, kept),
        }
    }
    assert_eq!((spool.counts().admitted, spool.counts().refused), (1, 1));
    // The same call again gives the same answer, and is not sent again.
    assert!(matches!(spool.queue(one).await.unwrap().standing, Standing::Answered(_)));
    assert_eq!(waiting(&spool), <[&str; 0]>::default());
}

#[tokio::test]
async fn a_full_spool_takes_nothing_more_until_something_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for key in ["1", "2", "3"] {
        spool.queue(call(key, key)).await.unwrap();
    }
    assert_eq!(spool.queue(call("4", "4")).await.unwrap_err(), QueueError::Full);
    // What is in already is still answered for.
    spool.queue(call("3", "3")).await.unwrap();
    spool.answered(&call_id("H57.101", "1"), &refused()).await.unwrap();
    spool.queue(call("4", "4")).await.unwrap();

    for sequence in 1..=3 {
        take_over(&spool, &delivery("D", sequence)).await.unwrap();
    }
    assert_eq!(take_over(&spool, &delivery("D", 4)).await.unwrap_err(), TakeOverError::Full);
    take_over(&spool, &delivery("D", 3)).await.unwrap();
}

#[tokio::test]
async fn entries_of_a_dossier_keep_their_order_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path());
        for (key, dossier) in [("a1", "A"), ("a2", "A"), ("b1", "B")] {
            spool.queue(entry(key, dossier)).await.unwrap();
        }
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), ["a1", "b1"]);
    spool.answered(&call_id("H57.101", "a1"), &refused()).await.unwrap();
    spool.outgoing(|lanes| lanes.done(&"A".into()));
    assert_eq!(waiting(&spool), ["a2"]);
}

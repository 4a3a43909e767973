//! The judge of the fault campaign, judged: honest histories pass, and each way of forging one is named for what it is.

mod history;

use history::{Arrival, Bearer, Books, Outcome, Recorded, Sent, Verdict, judge};

const DESK: &str = "H57.101";
const AUTHORITY: &str = "H57.CA.102";
const PORTAL: &str = "H57.CDV";

fn bearer(life: u32) -> Bearer {
    Bearer { system: "cong-an".into(), life }
}

fn arrival(event: &Recorded, party: &str) -> Arrival {
    Arrival {
        party: party.into(),
        dossier: event.dossier.clone(),
        sequence: event.sequence,
        key: event.key.clone(),
        digest: event.digest.clone(),
        round: 1,
        bearer: bearer(1),
        confirmed: true,
    }
}

/// Two dossiers that a desk hands in and the authority moves on twice; the portal is told everything.
fn honest() -> (Books, Vec<Recorded>) {
    let (mut books, mut journal) = (Books::default(), Vec::new());
    for dossier in ["a", "b"] {
        for (sequence, by, to) in [(1, DESK, AUTHORITY), (2, AUTHORITY, DESK), (3, AUTHORITY, DESK)] {
            let event = Recorded {
                by: by.into(),
                key: format!("{dossier}-{sequence}"),
                dossier: dossier.into(),
                sequence,
                digest: format!("{dossier}{sequence}"),
                recipients: vec![to.into(), PORTAL.into()],
            };
            books.sent.push(Sent { party: by.into(), key: event.key.clone() });
            let became = Ok((dossier.into(), sequence));
            books.outcomes.push(Outcome { party: by.into(), key: event.key.clone(), became });
            books.arrivals.extend([arrival(&event, to), arrival(&event, PORTAL)]);
            journal.push(event);
        }
    }
    (books, journal)
}

/// What is wrong with it: lost, doubled, out of order, differing.
fn wrongs(books: &Books, journal: &[Recorded]) -> [u64; 4] {
    let Verdict { lost, doubled, out_of_order, differing, .. } = judge(books, journal);
    [lost, doubled, out_of_order, differing]
}

#[test]
fn an_honest_history_holds() {
    let (books, journal) = honest();
    let verdict = judge(&books, &journal);
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.answered, verdict.owed), (6, 12));
}

#[test]
fn every_arrival_that_is_taken_out_is_lost() {
    for at in 0..12 {
        let (mut books, journal) = honest();
        books.arrivals.remove(at);
        let verdict = judge(&books, &journal);
        assert!(verdict.lost == 1 && !verdict.holds() && verdict.examples.len() == 1, "{verdict:?}");
    }
}

#[test]
fn every_event_that_the_journal_forgets_is_lost_though_everybody_has_it() {
    for at in [2, 5] {
        let (books, mut journal) = honest();
        journal.remove(at);
        // Two parties have what nobody owes them.
        assert_eq!(wrongs(&books, &journal), [1, 0, 0, 2]);
    }
}

#[test]
fn an_answer_that_nobody_remembers_is_lost() {
    let (mut books, journal) = honest();
    books.sent.push(Sent { party: DESK.into(), key: "c-1".into() });
    assert_eq!(wrongs(&books, &journal), [1, 0, 0, 0]);
}

#[test]
fn an_outcome_that_is_never_told_is_lost() {
    let (mut books, journal) = honest();
    books.outcomes.pop();
    assert_eq!(wrongs(&books, &journal), [1, 0, 0, 0]);
}

#[test]
fn a_request_that_became_two_dossiers_is_doubled_in_the_journal_and_at_its_authority() {
    let (mut books, mut journal) = honest();
    let twice = Recorded { dossier: "c".into(), recipients: vec![AUTHORITY.into()], ..journal[0].clone() };
    books.arrivals.push(arrival(&twice, AUTHORITY));
    journal.push(twice);
    assert_eq!(wrongs(&books, &journal), [0, 2, 0, 0]);
}

#[test]
fn a_second_arrival_is_doubled_unless_its_bearer_died_or_was_not_heard() {
    let (mut books, journal) = honest();
    let last = books.arrivals.last().unwrap().clone();
    books.arrivals.push(last);
    assert_eq!(wrongs(&books, &journal), [0, 1, 0, 0], "the same bearer was told that it has arrived");

    let again = books.arrivals.last_mut().unwrap();
    again.bearer = bearer(2);
    assert_eq!(wrongs(&books, &journal), [0; 4], "a bearer that was started again may not know");

    let again = books.arrivals.last_mut().unwrap();
    again.round = 2;
    assert_eq!(wrongs(&books, &journal), [0, 1, 0, 0], "but not after everything was at rest");

    let [.., before, _] = &mut books.arrivals[..] else { unreachable!() };
    before.confirmed = false;
    assert_eq!(wrongs(&books, &journal), [0; 4], "nobody had said that it has arrived");
}

#[test]
fn arrivals_that_change_places_within_a_dossier_are_out_of_order() {
    let (mut books, journal) = honest();
    // The portal's first and second of the same dossier.
    books.arrivals.swap(1, 3);
    assert_eq!(wrongs(&books, &journal), [0, 0, 1, 0]);
}

#[test]
fn arrivals_of_different_dossiers_may_change_places() {
    let (mut books, journal) = honest();
    books.arrivals.swap(1, 7);
    books.arrivals.sort_by_key(|arrival| (arrival.sequence, arrival.dossier == "a"));
    assert_eq!(wrongs(&books, &journal), [0; 4]);
}

#[test]
fn a_repeat_of_what_came_before_a_later_event_is_out_of_order() {
    let (mut books, journal) = honest();
    let first = Arrival { bearer: bearer(2), ..books.arrivals[1].clone() };
    books.arrivals.push(first);
    assert_eq!(wrongs(&books, &journal), [0, 0, 1, 0]);
}

#[test]
fn a_journal_with_a_gap_or_in_another_order_is_out_of_order() {
    let (books, mut journal) = honest();
    journal.swap(1, 2);
    assert_eq!(wrongs(&books, &journal), [0, 0, 2, 0]);
}

#[test]
fn what_was_altered_refused_unsent_or_not_owed_differs() {
    let (mut books, journal) = honest();
    books.arrivals[4].digest = "forged".into();
    assert_eq!(wrongs(&books, &journal), [0, 0, 0, 1]);

    let (mut books, journal) = honest();
    books.outcomes[3].became = Err("FIELD_INVALID".into());
    assert_eq!(wrongs(&books, &journal), [0, 0, 0, 1]);

    let (mut books, journal) = honest();
    books.outcomes[3].became = Ok(("a".into(), 9));
    assert_eq!(wrongs(&books, &journal), [0, 0, 0, 1]);

    let (mut books, journal) = honest();
    books.sent.remove(0);
    assert_eq!(wrongs(&books, &journal), [0, 0, 0, 1]);

    let (books, mut journal) = honest();
    journal[0].recipients.pop();
    assert_eq!(wrongs(&books, &journal), [0, 0, 0, 1]);
}

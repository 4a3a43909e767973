//! Applying only asks whether the event is the next one of this dossier; anything else means damaged books.

use lgsp_domain::apply::{Inconsistent, apply};
use lgsp_proto::types::Status;

use crate::support::Story;

#[test]
fn replaying_the_events_gives_the_same_dossier() {
    for status in Status::ALL {
        let story = Story::in_status(status, true);
        let replayed = story.events.iter().fold(None, |before, event| Some(apply(before.as_ref(), event).unwrap()));
        assert_eq!(replayed, Some(story.dossier));
    }
}

#[test]
fn a_gap_a_double_a_stranger_and_a_second_opening_are_damage() {
    let story = Story::in_status(Status::Processing, false);
    let [opening, accepted, started] = story.events.as_slice() else { panic!("three events") };
    let opened = apply(None, opening).unwrap();
    let code = opened.code.clone();

    let gap = apply(Some(&opened), started);
    assert_eq!(gap, Err(Inconsistent::OutOfSequence { code: code.clone(), expected: 2, found: 3 }));
    let after = apply(Some(&opened), accepted).unwrap();
    let double = apply(Some(&after), accepted);
    assert_eq!(double, Err(Inconsistent::OutOfSequence { code: code.clone(), expected: 3, found: 2 }));
    assert_eq!(apply(None, accepted), Err(Inconsistent::NotOpened { code: code.clone(), sequence: 2 }));

    let mut late_opening = opening.clone();
    late_opening.sequence = 2;
    let expected = Inconsistent::OpenedTwice { code: code.clone(), sequence: 2 };
    assert_eq!(apply(Some(&opened), &late_opening), Err(expected));
    let expected = Inconsistent::OutOfSequence { code: code.clone(), expected: 1, found: 2 };
    assert_eq!(apply(None, &late_opening), Err(expected));

    let mut stranger = accepted.clone();
    stranger.code = "H57.101-250714-0002".parse().unwrap();
    let expected = Inconsistent::OtherDossier { expected: code, found: stranger.code.clone() };
    assert_eq!(apply(Some(&opened), &stranger), Err(expected));
}

#[test]
fn applying_takes_values_at_their_word_and_asks_no_rule_of_today() {
    // As if an earlier version had let a stopped dossier go on: its books must still open.
    let story = Story::in_status(Status::Stopped, false);
    let mut event = Story::in_status(Status::Processing, false).events.pop().unwrap();
    event.sequence = story.dossier.sequence + 1;
    assert_eq!(apply(Some(&story.dossier), &event).unwrap().status, Status::Processing);
}

//! How a dossier moves on: who is told, where it comes back to, what the clock does, and what becomes of it when
//! organisations change.

use std::time::Duration;

use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::{self, Entry, MAX_DOCUMENTS, TimeBounds, Warning, What};
use lgsp_domain::dossier::HandOver;
use lgsp_domain::registry::Registry;
use lgsp_domain::roles::{concerns, roles_of};
use lgsp_domain::transition::{Act, Role};
use lgsp_proto::Reason;
use lgsp_proto::types::{BusinessTime, ReturnChannel, Status};

use crate::support::{
    AGENT_POINT, AT_AUTHORITY, CENTRE, COMMUNE, DAY, MERGED_COMMUNE, MERGED_DEPARTMENT, MINUTE, ORDINARY,
    OTHER_COMMUNE, PAYMENT, PORTAL, POST, STRANGER, SUCCEEDING_DEPARTMENT, Story, at, document, later, party, registry,
    registry_edited, registry_without_grant, submission,
};

#[test]
fn who_has_no_part_in_a_dossier_learns_nothing_of_it() {
    let story = Story::in_status(Status::Returned, false);
    for what in [What::Accept, What::Progress] {
        let refusal = story.decide(STRANGER, what).unwrap_err();
        assert_eq!(refusal.reason(), Reason::DossierNotFound);
        assert!(refusal.details().is_empty() && refusal.violations().is_empty());
    }
    // The agent point that helped knows of it, and may do nothing.
    let helped = Story::in_status(Status::Registered, false);
    assert_eq!(helped.reason(AGENT_POINT, What::Withdraw), Reason::RoleMissing);
    assert_eq!(helped.reason(PAYMENT, What::ConfirmPayment), Reason::DossierNotFound);
}

#[test]
fn an_entry_decided_on_an_old_view_is_stale_before_it_is_illegal() {
    let story = Story::in_status(Status::Returned, false);
    let mut entry = story.entry(COMMUNE, What::Accept, story.soon());
    let bounds = TimeBounds::default();
    let decided = |entry: &Entry| decide::entry(&story.dossier, entry, &story.registry, story.soon(), &bounds);
    entry.expected_sequence = Some(story.dossier.sequence - 1);
    let stale = decided(&entry).unwrap_err();
    assert_eq!((stale.reason(), stale.details()["sequence"].as_str()), (Reason::StaleVersion, "4"));
    entry.expected_sequence = Some(story.dossier.sequence);
    assert_eq!(decided(&entry).unwrap_err().reason(), Reason::IllegalTransition);
}

#[test]
fn time_never_runs_backwards_in_a_dossier_nor_ahead_of_the_gateway() {
    let story = Story::in_status(Status::Accepted, false);
    let last = story.dossier.updated_at;
    let decided = |when, now| {
        let entry = story.entry(COMMUNE, What::StartProcessing, when);
        decide::entry(&story.dossier, &entry, &story.registry, now, &TimeBounds::default())
    };
    let before = last.checked_add(jiff::SignedDuration::from_secs(-1)).unwrap();
    assert_eq!(decided(before, last).unwrap_err().reason(), Reason::TimeTooFarBack);
    assert!(decided(last, last).unwrap().warnings.is_empty(), "the same second is in order");
    assert_eq!(decided(later(last, MINUTE), last).unwrap().warnings, [Warning::ClockAhead]);
    assert!(decided(last, later(last, 60 * MINUTE)).unwrap().warnings.is_empty());
    let late = decided(last, later(last, 60 * MINUTE + Duration::from_secs(1))).unwrap();
    assert_eq!(late.warnings, [Warning::ReceivedLate]);
    assert_eq!(decided(later(last, 6 * MINUTE), last).unwrap_err().reason(), Reason::TimeAhead);
    assert_eq!(decided(last, later(last, 16 * DAY)).unwrap_err().reason(), Reason::TimeTooFarBack);
}

/// The ordinary procedure as it would be if supplements let its clock run on.
fn resuming() -> Registry {
    let limit = "limit = \"10wd\"\nvalid_to";
    registry_edited(&[("procedures.toml", limit, &format!("supplement = \"resume\"\n{limit}"))])
}

#[test]
fn a_supplement_comes_back_to_where_the_policy_says() {
    let supplemented = |registry: Registry, first: &[Act]| {
        let mut story = Story::open_under(registry, &submission(ORDINARY));
        for act in first {
            let what = story.what(*act);
            story = story.then(COMMUNE, what);
        }
        let asked = story.clone().then(COMMUNE, story.what(Act::RequestSupplement));
        let story = asked.clone().then(CENTRE, asked.what(Act::ProvideSupplement));
        assert_eq!((story.dossier.resume_to, story.dossier.supplement_until), (None, None));
        story.dossier.status
    };
    for registry in [registry(), resuming()] {
        assert_eq!(supplemented(registry.clone(), &[]), Status::Registered);
        assert_eq!(supplemented(registry, &[Act::Accept]), Status::Accepted);
    }
    let working = [Act::Accept, Act::StartProcessing];
    assert_eq!(supplemented(registry(), &working), Status::Accepted);
    assert_eq!(supplemented(resuming(), &working), Status::Processing);
}

#[test]
fn a_supplement_restarts_the_clock_or_lets_it_run_on_and_the_original_date_stays() {
    for (registry, due) in [(registry(), "2025-08-05 10:00"), (resuming(), "2025-08-01 10:00")] {
        let story = Story::open_under(registry, &submission(ORDINARY));
        let story = story.then_at(COMMUNE, What::Accept, at("2025-07-14 10:00"));
        let until = at("2025-07-31 17:00");
        let story = story.then_at(COMMUNE, What::RequestSupplement { until }, at("2025-07-16 09:00"));
        assert_eq!(story.dossier.supplement_until, Some(until));
        let brought = What::ProvideSupplement { documents: vec![document(9)] };
        let story = story.then_at(CENTRE, brought, at("2025-07-22 10:00"));
        assert_eq!(story.dossier.clock.original_due(), Some(at("2025-07-28 09:00").civil()));
        assert_eq!(story.dossier.clock.due(), Some(at(due).civil()));
        assert_eq!(story.dossier.documents, [document(1), document(9)]);
    }
}

#[test]
fn a_paid_fee_comes_back_to_where_it_was_asked() {
    for from in [Status::Accepted, Status::Processing] {
        let story = Story::in_status(from, false);
        let asked = story.clone().then(COMMUNE, story.what(Act::RequestFee));
        assert_eq!(asked.dossier.resume_to, Some(from));
        assert!(asked.dossier.clock.stopped_since().is_some());
        // The platform, or the desk that took cash; not who asked for the money.
        for who in [PAYMENT, CENTRE] {
            let paid = asked.clone().then(who, What::ConfirmPayment);
            assert_eq!((paid.dossier.status, paid.dossier.resume_to), (from, None));
            assert!(paid.dossier.clock.stopped_since().is_none());
        }
        assert_eq!(asked.reason(COMMUNE, What::ConfirmPayment), Reason::RoleMissing);
        assert_eq!(asked.reason(OTHER_COMMUNE, What::ConfirmPayment), Reason::RoleMissing);
    }
}

#[test]
fn everyone_concerned_is_told_but_not_the_one_who_recorded_it() {
    let told = |story: &Story, who, act| story.decide_at(who, story.what(act), story.when(act)).unwrap().recipients;
    let accepted = Story::in_status(Status::Accepted, false);
    assert_eq!(told(&accepted, COMMUNE, Act::StartProcessing), [CENTRE, OTHER_COMMUNE, PORTAL].map(party));
    assert_eq!(told(&accepted, CENTRE, Act::Withdraw), [COMMUNE, OTHER_COMMUNE, PORTAL].map(party));

    // Whose turn it is, and again when it is over.
    assert_eq!(told(&accepted, COMMUNE, Act::RequestFee), [CENTRE, OTHER_COMMUNE, PAYMENT, PORTAL].map(party));
    let fee = Story::in_status(Status::PaymentRequested, false);
    assert_eq!(told(&fee, CENTRE, Act::Withdraw), [COMMUNE, OTHER_COMMUNE, PAYMENT, PORTAL].map(party));
    assert_eq!(told(&fee, PAYMENT, Act::ConfirmPayment), [CENTRE, COMMUNE, OTHER_COMMUNE, PORTAL].map(party));
    assert_eq!(told(&accepted, COMMUNE, Act::Resolve), [CENTRE, OTHER_COMMUNE, POST, PORTAL].map(party));
    let resolved = Story::in_status(Status::Resolved, false);
    assert_eq!(told(&resolved, COMMUNE, Act::RecallResult), [CENTRE, OTHER_COMMUNE, POST, PORTAL].map(party));
    assert_eq!(told(&resolved, POST, Act::ReturnResult), [CENTRE, COMMUNE, OTHER_COMMUNE, PORTAL].map(party));
    assert_eq!(told(&accepted, CENTRE, Act::Pause), [COMMUNE, OTHER_COMMUNE, POST, PORTAL].map(party));

    // The post has no part in what is collected by hand.
    let mut by_hand = submission(ORDINARY);
    by_hand.return_channel = ReturnChannel::Direct;
    let by_hand = Story::open(&by_hand).then(COMMUNE, What::Accept);
    assert_eq!(told(&by_hand, COMMUNE, Act::Resolve), [CENTRE, OTHER_COMMUNE, PORTAL].map(party));
}

#[test]
fn the_post_says_that_the_paper_has_arrived_and_nothing_else() {
    let mut by_hand = submission(ORDINARY);
    by_hand.return_channel = ReturnChannel::Direct;
    let story = Story::open(&by_hand);
    assert_eq!(story.reason(POST, What::Resume { cause: PauseCause::PaperTransit }), Reason::DossierNotFound);
    let sent = story.then(CENTRE, What::Pause { cause: PauseCause::PaperTransit });
    assert_eq!(roles_of(&sent.dossier, &party(POST), &sent.registry, sent.soon().date()), [Role::Post]);
    assert_eq!(sent.reason(POST, What::Withdraw), Reason::RoleMissing);
    let arrived = sent.then(POST, What::Resume { cause: PauseCause::PaperTransit });
    assert!(arrived.dossier.clock.open_pauses().is_empty());
    assert!(roles_of(&arrived.dossier, &party(POST), &arrived.registry, arrived.soon().date()).is_empty());
}

#[test]
fn the_hand_over_ends_when_the_authority_takes_the_dossier_up_and_again_when_the_result_is_handed_out() {
    let opened = Story::in_status(Status::Registered, false);
    assert_eq!(opened.dossier.hand_over, Some(HandOver::Waiting));
    let paper = opened.clone().then(CENTRE, What::Pause { cause: PauseCause::PaperTransit });
    assert_eq!(paper.dossier.hand_over, Some(HandOver::Waiting), "the desk's own acts do not end the wait");
    for act in [Act::Accept, Act::RequestSupplement] {
        let taken_up = opened.clone().then(COMMUNE, opened.what(act));
        assert_eq!(taken_up.dossier.hand_over, Some(HandOver::Processing), "{act:?}");
    }
    let refused = opened.clone().then(COMMUNE, What::Refuse);
    assert_eq!(refused.dossier.hand_over, Some(HandOver::Waiting), "an end leaves it where it stood");
    assert_eq!(opened.then(CENTRE, What::Withdraw).dossier.hand_over, Some(HandOver::Waiting));
    assert_eq!(Story::in_status(Status::Returned, false).dossier.hand_over, Some(HandOver::Returned));
}

#[test]
fn a_recalled_result_is_no_result_until_there_is_another() {
    let resolved = Story::in_status(Status::Resolved, false);
    assert_eq!(resolved.dossier.resolved_at, Some(resolved.dossier.updated_at));
    let recalled = resolved.then(COMMUNE, What::RecallResult);
    assert_eq!((recalled.dossier.status, recalled.dossier.resolved_at), (Status::Processing, None));
    let again = recalled.clone().then(COMMUNE, recalled.what(Act::Resolve));
    let returned = again.clone().then(OTHER_COMMUNE, again.what(Act::ReturnResult));
    assert_eq!(returned.dossier.resolved_at, Some(again.dossier.updated_at));
    assert_eq!(returned.dossier.returned_at, Some(returned.dossier.updated_at));
    assert_eq!(returned.dossier.documents, [document(1), document(200)], "the same document is attached once");
}

#[test]
fn a_date_is_extended_once_in_time_to_a_later_working_hour_while_the_clock_runs() {
    let extend = |new_due: &str| What::Extend { new_due: at(new_due) };
    let story = Story::in_status(Status::Processing, false);
    // The date it has already, a Saturday, and lunch.
    for impossible in ["2025-07-28 09:00", "2025-08-09 09:00", "2025-08-08 12:00"] {
        let refusal = story.decide(COMMUNE, extend(impossible)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::ExtensionNotAllowed, "{impossible}");
        assert!(refusal.details().contains_key("why"));
    }
    let stopped = story.clone().then(COMMUNE, What::Pause { cause: PauseCause::Expertise });
    assert_eq!(stopped.reason(COMMUNE, extend("2025-08-08 09:00")), Reason::ExtensionNotAllowed);
    let extended = story.then(COMMUNE, extend("2025-08-08 09:00"));
    assert_eq!(extended.dossier.clock.due(), Some(at("2025-08-08 09:00").civil()));
    assert_eq!(extended.dossier.clock.original_due(), Some(at("2025-07-28 09:00").civil()));
    assert_eq!(extended.reason(COMMUNE, extend("2025-08-15 09:00")), Reason::ExtensionUsed);
}

#[test]
fn a_clock_that_would_leave_the_calendar_refuses_the_entry() {
    let mut given = submission(ORDINARY);
    given.received_at = at("2026-12-14 09:00");
    let story = Story::open(&given).then(COMMUNE, What::Accept);
    let asked = story.clone().then(COMMUNE, story.what(Act::RequestSupplement));
    let late = asked.decide_at(CENTRE, asked.what(Act::ProvideSupplement), at("2026-12-29 16:00"));
    assert_eq!(late.unwrap_err().reason(), Reason::CalendarNotCovering);
}

#[test]
fn a_dossier_carries_a_bounded_number_of_documents() {
    let story = Story::in_status(Status::SupplementRequested, false);
    let bring = |count: u64| What::ProvideSupplement { documents: (1..=count).map(document).collect() };
    // One of them it carries already.
    assert!(story.decide(CENTRE, bring(MAX_DOCUMENTS as u64)).is_ok());
    let refusal = story.decide(CENTRE, bring(MAX_DOCUMENTS as u64 + 1)).unwrap_err();
    assert_eq!(refusal.reason(), Reason::FieldInvalid);
    assert_eq!(refusal.violations()[0].field, "supplement_provided");
}

#[test]
fn a_role_without_its_grant_is_not_enough() {
    for (grant, who, status, act, right) in [
        ("trung-tam-va-cong-tiep-nhan", CENTRE, Status::Accepted, Act::Withdraw, "submit"),
        ("xa-tra-ket-qua", OTHER_COMMUNE, Status::Resolved, Act::ReturnResult, "hand-out"),
    ] {
        let mut story = Story::in_status(status, false);
        assert!(story.decide(who, story.what(act)).is_ok());
        story.registry = registry_without_grant(grant);
        let refusal = story.decide(who, story.what(act)).unwrap_err();
        assert_eq!((refusal.reason(), refusal.details()["right"].as_str()), (Reason::GrantMissing, right));
        assert_eq!(refusal.details()["party"], who);
    }
    // Payment and post hold their roles by grant alone.
    let mut fee = Story::in_status(Status::PaymentRequested, false);
    fee.registry = registry_without_grant("thanh-toan");
    assert_eq!(fee.reason(PAYMENT, What::ConfirmPayment), Reason::RoleMissing);
}

#[test]
fn a_successor_takes_over_the_open_dossiers_of_a_merged_commune() {
    let mut given = submission(ORDINARY);
    given.locality = "99003".parse().unwrap();
    given.acting_party = party(MERGED_COMMUNE);
    given.return_desk = None;
    given.received_at = at("2025-06-30 09:00");
    let story = Story::open(&given);
    assert_eq!(story.dossier.status, Status::Accepted);
    let after = at("2025-07-01 09:00");
    let roles = |who, when: BusinessTime| roles_of(&story.dossier, &party(who), &story.registry, when.date());
    let all = [Role::Citizen, Role::IntakeDesk, Role::CompetentAuthority, Role::ReturnDesk];
    assert_eq!((roles(MERGED_COMMUNE, story.soon()), roles(OTHER_COMMUNE, story.soon())), (all.to_vec(), vec![]));
    assert_eq!((roles(MERGED_COMMUNE, after), roles(OTHER_COMMUNE, after)), (vec![], all.to_vec()));

    // Before the merger the successor knows nothing; after it, it acts, and the other is told who does.
    assert!(!concerns(&story.dossier, &party(OTHER_COMMUNE), &story.registry, story.soon().date()));
    assert_eq!(story.reason(OTHER_COMMUNE, What::StartProcessing), Reason::DossierNotFound);
    let refusal = story.decide_at(MERGED_COMMUNE, What::StartProcessing, after).unwrap_err();
    assert_eq!((refusal.reason(), refusal.details()["successor"].as_str()), (Reason::RoleMissing, OTHER_COMMUNE));
    let story = story.then_at(OTHER_COMMUNE, What::StartProcessing, after);
    assert_eq!(story.events[1].recipients, [party(PORTAL)]);
    let places = &story.dossier.opening.places;
    assert_eq!(places.competent_authority, party(MERGED_COMMUNE), "what was fixed at the start stays");
    let story = story.clone().then(OTHER_COMMUNE, story.what(Act::Resolve));
    let story = story.then(OTHER_COMMUNE, What::ReturnResult { channel: ReturnChannel::Direct });
    assert_eq!(story.dossier.status, Status::Returned);
}

#[test]
fn what_is_recorded_after_a_merger_goes_to_the_successor() {
    let story = Story::open(&submission(AT_AUTHORITY));
    let told = |when| story.decide_at(CENTRE, What::Withdraw, at(when)).unwrap().recipients;
    assert_eq!(told("2025-07-31 16:00"), [MERGED_DEPARTMENT, OTHER_COMMUNE, PORTAL].map(party));
    assert_eq!(told("2025-08-01 07:00"), [SUCCEEDING_DEPARTMENT, OTHER_COMMUNE, PORTAL].map(party));
}

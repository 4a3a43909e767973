//! Every act in every status by every role: what is decided is what the one table says.

use std::collections::BTreeSet;

use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::What;
use lgsp_domain::roles::roles_of;
use lgsp_domain::transition::{Act, Guard, Role, TABLE, Target, expected, row};
use lgsp_proto::types::{ReturnChannel, Status};
use lgsp_proto::{DESCRIPTORS, Reason};
use prost::Message as _;

use crate::support::{
    CENTRE, COMMUNE, DAY, MINUTE, ORDINARY, OTHER_COMMUNE, POST, Story, at, holder, later, party, submission,
};

#[test]
fn every_act_in_every_status_by_every_role_is_decided_as_the_table_says() {
    let mut admitted = BTreeSet::new();
    for status in Status::ALL {
        for act in Act::ALL.iter().copied().filter(|act| *act != Act::Submit) {
            // What resumes must have been paused; what extends must run.
            let mut story = Story::in_status(status, act == Act::Resume);
            story.dossier.informed.extend([party(holder(Role::Payment)), party(holder(Role::Post))]);
            for role in Role::ALL.iter().copied() {
                let who = holder(role);
                let held = roles_of(&story.dossier, &party(who), &story.registry, story.soon().date());
                let listed = row(act, Some(status)).is_some_and(|row| row.roles.contains(&role));
                assert!(!listed || held.contains(&role), "{who} should hold {role:?} for {act:?} in {status}");

                let by_role = |role: &Role| expected(act, Some(status), *role);
                let oracle = held.iter().map(by_role).find(Result::is_ok).unwrap_or(by_role(&role));
                let decided = story.decide_at(who, story.what(act), story.when(act));
                match (oracle, decided) {
                    (Ok(target), Ok(event)) => {
                        let leads_to = match target {
                            Target::Fixed(to) => to,
                            Target::Same => status,
                            Target::Resume => story.dossier.resume_to.unwrap(),
                            Target::Opening => unreachable!("no entry opens a dossier"),
                        };
                        assert_eq!((event.act, event.status), (act, leads_to), "{act:?} in {status} by {role:?}");
                        assert!(held.contains(&event.role));
                        admitted.insert((act, status, event.role));
                    }
                    (Err(reason), Err(refusal)) => {
                        assert_eq!(refusal.reason(), reason, "{act:?} in {status} by {role:?}");
                    }
                    (oracle, decided) => panic!("{act:?} in {status} by {role:?}: {oracle:?}, but {decided:?}"),
                }
            }
        }
    }
    let rows = TABLE.iter().filter(|row| row.act != Act::Submit).count();
    let reached: BTreeSet<_> = admitted.iter().map(|(act, status, _)| (*act, *status)).collect();
    assert_eq!(reached.len(), rows, "a row that no dossier has taken");
}

#[test]
fn a_refusal_names_what_would_be_allowed() {
    let story = Story::in_status(Status::Resolved, false);
    let illegal = story.decide(COMMUNE, What::Accept).unwrap_err();
    assert_eq!(illegal.reason(), Reason::IllegalTransition);
    assert_eq!(illegal.details()["status"], "resolved");
    assert_eq!(illegal.details()["allowed"], "result_recalled, returned");

    let role = story.decide(CENTRE, story.what(Act::ReturnResult)).unwrap_err();
    assert_eq!(role.reason(), Reason::RoleMissing);
    assert_eq!(role.details()["roles"], "return_desk, post");
    assert_eq!(role.details()["held"], "citizen, intake_desk");
}

#[test]
fn every_guard_of_the_table_refuses_with_its_reason() {
    let guards: BTreeSet<Guard> = TABLE.iter().flat_map(|row| row.guards).copied().collect();
    for guard in guards {
        let processing = || Story::in_status(Status::Processing, false);
        let refusal = match guard {
            Guard::TermAhead => {
                let story = processing();
                story.decide(COMMUNE, What::RequestSupplement { until: story.soon() })
            }
            Guard::SupplementPassed => {
                let story = Story::in_status(Status::SupplementRequested, false);
                story.decide_at(COMMUNE, What::ExpireSupplement, story.dossier.supplement_until.unwrap())
            }
            Guard::FirstExtension => {
                let story = processing();
                let story = story.clone().then(COMMUNE, story.what(Act::Extend));
                story.decide(COMMUNE, What::Extend { new_due: at("2025-08-18 09:00") })
            }
            Guard::ExtensionInTime => {
                let story = processing();
                let due = story.dossier.clock.due().unwrap().try_into().unwrap();
                story.decide_at(COMMUNE, story.what(Act::Extend), later(due, MINUTE))
            }
            Guard::NamedCause => processing().decide(COMMUNE, What::Pause { cause: PauseCause::Supplement }),
            Guard::PaperBeforeReception => {
                let story = Story::in_status(Status::Registered, false);
                story.decide(COMMUNE, What::Pause { cause: PauseCause::Expertise })
            }
            Guard::PaperUnlessAuthority => processing().decide(CENTRE, What::Pause { cause: PauseCause::Expertise }),
            Guard::CauseNotOpen => {
                let story = Story::in_status(Status::Processing, true);
                story.decide(COMMUNE, What::Pause { cause: PauseCause::PaperTransit })
            }
            Guard::CauseOpen => processing().decide(COMMUNE, What::Resume { cause: PauseCause::PaperTransit }),
            Guard::PostOnlyByPost => {
                let story = Story::in_status(Status::Resolved, false);
                story.decide(POST, What::ReturnResult { channel: ReturnChannel::Direct })
            }
        };
        assert_eq!(refusal.unwrap_err().reason(), guard.reason(), "{guard:?}");
    }
}

#[test]
fn the_same_acts_are_admitted_once_their_guards_hold() {
    let supplement = Story::in_status(Status::SupplementRequested, false);
    let until = supplement.dossier.supplement_until.unwrap();
    let late = supplement.clone().then_at(COMMUNE, What::ExpireSupplement, later(until, MINUTE));
    assert_eq!(late.dossier.status, Status::NotAccepted);
    // Late, but before the authority closed it: what the citizen brings is taken.
    let brought = supplement.clone().then_at(CENTRE, supplement.what(Act::ProvideSupplement), later(until, DAY));
    assert_eq!(brought.dossier.status, Status::Accepted);

    let processing = Story::in_status(Status::Processing, false);
    let extended = processing.clone().then(COMMUNE, processing.what(Act::Extend));
    assert_eq!(extended.dossier.clock.due(), Some(at("2025-08-11 09:00").civil()));
    assert_eq!(extended.dossier.clock.promised(), processing.dossier.clock.promised());

    let mut by_hand = submission(ORDINARY);
    by_hand.return_channel = ReturnChannel::Direct;
    let story = Story::open(&by_hand);
    let story = story.then(COMMUNE, What::Accept);
    let resolve = story.what(Act::Resolve);
    let mut story = story.then(COMMUNE, resolve);
    story.dossier.informed.push(party(POST));
    let direct = || What::ReturnResult { channel: ReturnChannel::Direct };
    assert_eq!(story.reason(POST, direct()), Reason::RoleMissing);
    assert_eq!(story.decide(OTHER_COMMUNE, direct()).unwrap().status, Status::Returned);
}

#[test]
fn every_compulsory_field_exists_in_the_entry() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let messages: Vec<_> =
        files.into_iter().filter(|file| file.package() == "lgsp.v1").flat_map(|file| file.message_type).collect();
    let fields = |message: &str| {
        let message = messages.iter().find(|one| one.name() == message).unwrap();
        message.field.iter().map(|field| (field.name().to_owned(), field.type_name().to_owned())).collect::<Vec<_>>()
    };
    let entry = fields("Entry");
    for act in Act::ALL.iter().filter(|act| **act != Act::Submit) {
        let (_, message) = entry.iter().find(|(name, _)| name == act.as_str()).unwrap();
        let inside = fields(message.rsplit('.').next().unwrap());
        for requirement in act.requires() {
            assert!(inside.iter().any(|(name, _)| name == requirement.field()), "{}", requirement.path(*act));
        }
    }
}

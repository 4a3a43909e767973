//! What a desk gets for a new dossier: a place for it, a date, and who is told; or every problem at once.

use std::time::Duration;

use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::{self, Admissible, MAX_DOCUMENTS, MAX_RECIPIENTS, TimeBounds, Warning, What};
use lgsp_domain::dossier::HandOver;
use lgsp_domain::numbering::NumberSource;
use lgsp_domain::transition::{Act, Role, Target, expected};
use lgsp_proto::types::{DossierCode, IntakeChannel, Status};
use lgsp_proto::{Reason, Refusal};

use crate::support::{
    ABOLISHED, AGENT_POINT, AT_AUTHORITY, CENTRE, COMMUNE, DAY, MERGED_COMMUNE, MERGED_DEPARTMENT, MINUTE, MORNING,
    NOT_YET, ORDINARY, OTHER_COMMUNE, PAYMENT, PORTAL, STRANGER, Story, WITH_COMPONENTS, WITHOUT_LIMIT, WITHOUT_ROUTE,
    at, component, decide_submission, document, later, party, refused, registry, registry_edited, submission,
};

fn fields(refusal: &Refusal) -> Vec<&str> {
    refusal.violations().iter().map(|violation| violation.field.as_str()).collect()
}

#[test]
fn a_dossier_of_the_centre_waits_for_the_commune_and_has_its_date() {
    let story = Story::open(&submission(ORDINARY));
    let dossier = &story.dossier;
    assert_eq!(dossier.code.as_str(), "H99.101-250714-0001");
    assert_eq!((dossier.status, dossier.sequence, dossier.registry_version), (Status::Registered, 1, 7));
    assert!(dossier.opening.non_territorial);
    assert_eq!(dossier.hand_over, Some(HandOver::Waiting));
    assert_eq!(dossier.opening.route_rule, "cap-xa");
    assert_eq!(dossier.clock.original_due(), Some(at("2025-07-28 09:00").civil()));
    assert_eq!(dossier.opening.acceptance_due, None);
    assert_eq!(dossier.documents, [document(1)]);

    let event = &story.events[0];
    assert_eq!((event.act, event.role, event.by.as_str()), (Act::Submit, Role::IntakeDesk, CENTRE));
    assert_eq!(event.recipients, [party(COMMUNE), party(OTHER_COMMUNE), party(PORTAL)]);
}

#[test]
fn a_desk_that_is_itself_competent_has_accepted_what_it_takes_in_by_hand_or_by_post() {
    for (channel, status) in [
        (IntakeChannel::Direct, Status::Accepted),
        (IntakeChannel::Postal, Status::Accepted),
        (IntakeChannel::Online, Status::Registered),
    ] {
        let mut given = submission(ORDINARY);
        given.acting_party = party(COMMUNE);
        given.intake_channel = channel;
        let story = Story::open(&given);
        assert_eq!(story.dossier.status, status, "{channel}");
        assert_eq!(story.dossier.hand_over, None);
        assert_eq!(expected(Act::Submit, None, Role::IntakeDesk), Ok(Target::Opening));
    }
}

#[test]
fn an_online_filing_must_be_answered_within_eight_working_hours() {
    let mut given = submission(ORDINARY);
    given.acting_party = party(PORTAL);
    given.intake_channel = IntakeChannel::Online;
    let story = Story::open(&given);
    assert_eq!(story.dossier.opening.acceptance_due, Some(at("2025-07-15 09:00")));
    // The portal is nowhere, so it is never outside; and it is not told of what it recorded itself.
    assert_eq!(story.dossier.hand_over, None);
    assert_eq!(story.events[0].recipients, [party(COMMUNE), party(OTHER_COMMUNE)]);
}

#[test]
fn the_clock_of_some_procedures_starts_when_the_authority_accepts() {
    let story = Story::open(&submission(AT_AUTHORITY));
    assert_eq!(story.dossier.clock.due(), None);
    let story = story.then_at(MERGED_DEPARTMENT, What::Accept, at("2025-07-15 10:00"));
    assert_eq!(story.dossier.clock.original_due(), Some(at("2025-07-29 10:00").civil()));

    // At once, where the desk that takes it in is the authority.
    let limit = "limit = \"10wd\"\nvalid_to";
    let registry = registry_edited(&[("procedures.toml", limit, &format!("start = \"authority\"\n{limit}"))]);
    let elsewhere = Story::open_under(registry.clone(), &submission(ORDINARY));
    assert_eq!(elsewhere.dossier.clock.original_due(), None);
    let mut own = submission(ORDINARY);
    own.acting_party = party(COMMUNE);
    let own = Story::open_under(registry, &own);
    assert_eq!(own.dossier.clock.original_due(), Some(at("2025-07-28 09:00").civil()));
}

#[test]
fn paper_on_its_way_to_the_authority_does_not_count() {
    let story = Story::open(&submission(ORDINARY));
    let story = story.then_at(CENTRE, What::Pause { cause: PauseCause::PaperTransit }, at(MORNING));
    let story = story.then_at(COMMUNE, What::Accept, at("2025-07-14 14:00"));
    let story = story.then_at(COMMUNE, What::Resume { cause: PauseCause::PaperTransit }, at("2025-07-15 09:00"));
    assert_eq!(story.dossier.clock.original_due(), Some(at("2025-07-28 09:00").civil()));
    assert_eq!(story.dossier.clock.due(), Some(at("2025-07-29 09:00").civil()));
}

#[test]
fn without_a_published_limit_there_is_a_warning_and_no_date() {
    let admissible = decide_submission(&submission(WITHOUT_LIMIT)).unwrap();
    let code = DossierCode::issue(admissible.authority(), admissible.day(), 1).unwrap();
    let decision = admissible.with_code(code).unwrap();
    assert_eq!(decision.warnings, [Warning::NoPublishedLimit]);
    assert_eq!(decision.event.outcome.clock.due(), None);
}

#[test]
fn a_procedure_that_is_unknown_abolished_or_not_yet_in_force_is_named_as_such() {
    let unknown = refused(&submission("1.999999"));
    assert_eq!((unknown.reason(), fields(&unknown)), (Reason::ProcedureUnknown, vec!["procedure_code"]));
    let abolished = refused(&submission(ABOLISHED));
    assert_eq!(abolished.reason(), Reason::ProcedureAbolished);
    assert_eq!(abolished.details()["successor"], "1.000001");
    assert_eq!(refused(&submission(NOT_YET)).reason(), Reason::ProcedureNotYetInForce);
}

#[test]
fn a_unit_that_has_ceased_names_its_successor_and_counts_until_its_last_day() {
    let mut given = submission(ORDINARY);
    given.locality = "99003".parse().unwrap();
    given.received_at = at("2025-06-30 09:00");
    assert_eq!(decide_submission(&given).unwrap().authority(), &party(MERGED_COMMUNE));
    given.received_at = at("2025-07-01 09:00");
    let ceased = refused(&given);
    assert_eq!((ceased.reason(), fields(&ceased)), (Reason::UnitCeased, vec!["locality"]));
    assert_eq!(ceased.details()["successor"], "99002");
    given.locality = "99999".parse().unwrap();
    assert_eq!(refused(&given).reason(), Reason::UnitUnknown);
}

#[test]
fn a_matter_without_an_authority_is_refused_before_the_citizen_leaves() {
    let refusal = refused(&submission(WITHOUT_ROUTE));
    assert_eq!(refusal.reason(), Reason::NoRoute);
    assert!(refusal.details()["why_en"].contains(WITHOUT_ROUTE), "{refusal}");
    assert!(!refusal.details()["why_vi"].is_empty());
}

#[test]
fn a_case_and_its_compulsory_components_are_checked() {
    let mut given = submission(WITH_COMPONENTS);
    given.case = Some("khac".parse().unwrap());
    let unknown = refused(&given);
    assert_eq!((unknown.reason(), unknown.details()["cases"].as_str()), (Reason::CaseUnknown, "nha-o, cong-trinh"));

    given.case = Some("cong-trinh".parse().unwrap());
    given.components.clear();
    let missing = refused(&given);
    assert_eq!((missing.reason(), fields(&missing)), (Reason::ComponentMissing, vec!["components"]));
    assert_eq!(missing.details()["components"], "don, ban-ve");

    given.components = vec![component("don", true), component("ban-ve", false)];
    assert!(decide_submission(&given).is_ok(), "paper will do at a desk");
    given.intake_channel = IntakeChannel::Online;
    assert_eq!(refused(&given).details()["components"], "ban-ve");
    given.case = Some("nha-o".parse().unwrap());
    assert!(decide_submission(&given).is_ok(), "compulsory in another case only");
}

#[test]
fn nobody_takes_in_helps_or_hands_out_without_a_grant() {
    let mut given = submission(ORDINARY);
    given.acting_party = party(AGENT_POINT);
    let refusal = refused(&given);
    assert_eq!((refusal.reason(), fields(&refusal)), (Reason::GrantMissing, vec!["acting_party"]));
    assert_eq!((refusal.details()["right"].as_str(), refusal.details()["owner"].as_str()), ("submit", "H99.VH"));

    let mut given = submission(ORDINARY);
    given.support_point = Some(party(PAYMENT));
    given.return_desk = Some(party(PORTAL));
    let refusal = refused(&given);
    assert_eq!((refusal.reason(), fields(&refusal)), (Reason::GrantMissing, vec!["support_point", "return_desk"]));

    // A grant for other procedures is none.
    let for_another = "procedures = [\"1.000001\"]";
    let centre = "parties = [\"H99.TT\", \"H99.CDV\"]\nright = \"submit\"\nprocedures = \"any\"";
    let registry = registry_edited(&[("grants.toml", centre, &centre.replace("procedures = \"any\"", for_another))]);
    let given = submission(ORDINARY);
    let refusal = decide::submission(&given, &registry, given.received_at, &TimeBounds::default()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::GrantMissing);
}

#[test]
fn a_party_that_is_unknown_or_has_merged_is_named_with_its_successor() {
    let mut given = submission(ORDINARY);
    given.acting_party = party(MERGED_COMMUNE);
    let refusal = refused(&given);
    assert_eq!((refusal.reason(), fields(&refusal)), (Reason::PartyUnknown, vec!["acting_party"]));
    assert_eq!(refusal.details()["successor"], OTHER_COMMUNE);
    given.acting_party = party("H99.999");
    assert_eq!(refused(&given).reason(), Reason::PartyUnknown);
}

#[test]
fn everything_wrong_is_said_at_once_under_the_reason_of_the_first() {
    let mut given = submission(ABOLISHED);
    given.acting_party = party("H99.999");
    given.support_point = Some(party("H99.998"));
    given.return_desk = Some(party("H99.997"));
    given.locality = "99999".parse().unwrap();
    given.documents = (0..=MAX_DOCUMENTS as u64).map(document).collect();
    let refusal = refused(&given);
    assert_eq!(refusal.reason(), Reason::ProcedureAbolished);
    let all = ["procedure_code", "acting_party", "support_point", "return_desk", "locality", "components"];
    assert_eq!(fields(&refusal), all);
    assert_eq!(refusal.details().len(), 1, "the details are those of the first: {refusal}");
}

#[test]
fn a_reception_too_far_from_now_is_refused_and_one_slightly_ahead_is_flagged() {
    let given = submission(ORDINARY);
    let bounds = TimeBounds { ahead: 5 * MINUTE, back: 15 * DAY, late: 60 * MINUTE };
    let decided = |now| decide::submission(&given, &registry(), now, &bounds);
    let second = Duration::from_secs(1);
    let moved = |by: i64| given.received_at.checked_add(jiff::SignedDuration::from_secs(by)).unwrap();

    assert!(decided(moved(-300)).is_ok());
    assert_eq!(decided(moved(-301)).unwrap_err().reason(), Reason::TimeAhead);
    assert!(decided(later(given.received_at, 15 * DAY)).is_ok());
    let back = decided(later(given.received_at, 15 * DAY + second)).unwrap_err();
    assert_eq!((back.reason(), fields(&back)), (Reason::TimeTooFarBack, vec!["received_at"]));

    let warnings = |now| {
        let decided = decided(now).unwrap();
        let code = DossierCode::issue(decided.authority(), decided.day(), 1).unwrap();
        decided.with_code(code).unwrap().warnings
    };
    assert_eq!(warnings(later(given.received_at, 60 * MINUTE)), []);
    assert_eq!(warnings(later(given.received_at, 60 * MINUTE + second)), [Warning::ReceivedLate]);
    let ahead = decided(moved(-1)).unwrap();
    let code = DossierCode::issue(ahead.authority(), ahead.day(), 1).unwrap();
    assert_eq!(ahead.with_code(code).unwrap().warnings, [Warning::ClockAhead]);
}

#[test]
fn a_limit_that_ends_beyond_the_calendar_is_not_guessed() {
    let mut given = submission(ORDINARY);
    given.received_at = at("2026-12-30 09:00");
    let refusal = refused(&given);
    assert_eq!((refusal.reason(), refusal.details()["year"].as_str()), (Reason::CalendarNotCovering, "2027"));
}

#[test]
fn a_code_must_be_of_the_authority_and_the_day_and_be_the_one_given_out() {
    let code = |text: &str| text.parse::<DossierCode>().unwrap();
    // The last one is the first of the day, spelt otherwise: taken as another code it would give one number twice.
    for other in ["H99.TT-250714-0001", "H99.101-250715-0001", "H99.101-250714-00001"] {
        let mut given = submission(ORDINARY);
        given.code = Some(code(other));
        let refusal = refused(&given);
        assert_eq!((refusal.reason(), fields(&refusal)), (Reason::CodeNotLeased, vec!["dossier_code"]));
        let admissible = decide_submission(&submission(ORDINARY)).unwrap();
        assert_eq!(admissible.with_code(code(other)).unwrap_err().reason(), Reason::CodeNotLeased);
    }
    let mut given = submission(ORDINARY);
    given.code = Some(code("H99.101-250714-0042"));
    let admissible = decide_submission(&given).unwrap();
    assert_eq!(admissible.given_code(), given.code.as_ref());
    assert_eq!(admissible.desk(), &party(CENTRE));
    let another = admissible.clone().with_code(code("H99.101-250714-0043"));
    assert_eq!(another.unwrap_err().reason(), Reason::CodeNotLeased);
    let source = |admissible: Admissible, number| {
        admissible.with_code(code(number)).unwrap().event.opening.unwrap().number_source
    };
    assert_eq!(source(admissible.clone(), "H99.101-250714-0042"), NumberSource::Leased);
    let own = admissible.numbered_by(NumberSource::Own);
    assert_eq!(source(own, "H99.101-250714-0042"), NumberSource::Own);
    let ordinary = decide_submission(&submission(ORDINARY)).unwrap();
    assert_eq!(source(ordinary, "H99.101-250714-0001"), NumberSource::Taken);
}

#[test]
fn the_same_document_is_attached_once() {
    let mut given = submission(ORDINARY);
    given.documents = vec![document(1), document(2), document(1)];
    assert_eq!(Story::open(&given).dossier.documents, [document(1), document(2)]);
}

#[test]
fn a_stranger_is_no_support_point_by_being_on_the_bus() {
    let mut given = submission(ORDINARY);
    given.support_point = Some(party(STRANGER));
    assert_eq!(refused(&given).details()["right"], "support");
}

#[test]
fn more_subscribers_than_one_event_can_reach_are_left_out_and_said_so() {
    let many: Vec<String> = (1..=MAX_RECIPIENTS).map(|n| format!("H99.BS.{n:03}")).collect();
    let entry = |id: &String| format!("  {{ id = \"{id}\", name = \"Nơi nhận bản sao\", kind = \"portal\" }},\n");
    let parties = format!("party = [\n{}", many.iter().map(entry).collect::<String>());
    let subscribes = "party = \"H99.CDV\"\nright = \"subscribe\"";
    let all = subscribes.replace("party = \"H99.CDV\"", "parties = [\"H99.CDV\", \"H99.BS.*\"]");
    let registry = registry_edited(&[("parties.toml", "party = [\n", &parties), ("grants.toml", subscribes, &all)]);
    let given = submission(ORDINARY);
    let admissible = decide::submission(&given, &registry, given.received_at, &TimeBounds::default()).unwrap();
    let code = DossierCode::issue(admissible.authority(), admissible.day(), 1).unwrap();
    let decision = admissible.with_code(code).unwrap();
    assert_eq!(decision.warnings, [Warning::SubscribersLeftOut]);
    assert_eq!(decision.event.recipients.len(), MAX_RECIPIENTS);
    assert_eq!(decision.event.recipients[..2], [party(COMMUNE), party(OTHER_COMMUNE)]);
}

#[test]
fn a_code_that_may_still_be_given_out_is_nobodys_alias() {
    let refused_aliases = |aliases: &[&str]| {
        let mut given = submission(ORDINARY);
        given.aliases = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        given.code = Some("H99.101-250714-0007".parse().unwrap());
        match decide_submission(&given) {
            Ok(_) => Vec::new(),
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::FieldInvalid, "{refusal}");
                fields(&refusal).into_iter().map(str::to_owned).collect()
            }
        }
    };
    // Its own, another's of the same day, of the first day that a reception may be recorded for, and one of the future.
    for ours in ["H99.101-250714-0007", "H99.101-250714-0008", "H99.102-250629-0001", "H99.TT-260101-0001"] {
        assert_eq!(refused_aliases(&["G22-1", ours]), ["aliases[1]"], "{ours}");
    }
    assert_eq!(refused_aliases(&["H99.101-250714-0008", "H99.101-250714-0009"]), ["aliases[0]", "aliases[1]"]);
    // Of somebody else, of a day that is over, and what only looks like one.
    let theirs = ["H57.101-250714-0007", "H99.101-250628-0001", "000.00.101.H99-250714-0008", "DVC-250714-0007"];
    assert_eq!(refused_aliases(&theirs), [""; 0]);
}

//! Any story: parties say whatever comes to their mind, at any time, and the promises hold after each event.

use std::num::NonZeroU32;
use std::time::Duration;

use lgsp_domain::apply::apply;
use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::{self, Submission, TimeBounds, What};
use lgsp_domain::dossier::{Dossier, HandOver};
use lgsp_domain::transition::{Role, TABLE, Target, Transition, row};
use lgsp_proto::types::{BusinessTime, IntakeChannel, ReturnChannel, Status};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{
    AGENT_POINT, AT_AUTHORITY, CENTRE, COMMUNE, MERGED_DEPARTMENT, ORDINARY, OTHER_COMMUNE, PAYMENT, PORTAL, POST,
    STRANGER, SUCCEEDING_DEPARTMENT, Story, document, later, party, submission,
};

/// What somebody says, some time after the last thing that was admitted.
#[derive(Clone, Debug)]
struct Said {
    who: &'static str,
    /// Minutes since the last event.
    after: u32,
    what: Saying,
}

/// What comes to somebody's mind; times are told from the moment it is said.
#[derive(Clone, Debug)]
enum Saying {
    Plain(What),
    Supplement {
        minutes: i64,
    },
    Extend {
        minutes: i64,
    },
    /// One of the acts of the present status, by one of those who may: without it no story would get far.
    Sensible {
        act: Index,
        role: Index,
    },
}

fn party_of_the_bus() -> impl Strategy<Value = &'static str> {
    // Those who can move something speak more often.
    prop_oneof![
        5 => Just(COMMUNE),
        3 => Just(MERGED_DEPARTMENT),
        3 => Just(SUCCEEDING_DEPARTMENT),
        4 => Just(CENTRE),
        2 => Just(OTHER_COMMUNE),
        2 => Just(PAYMENT),
        2 => Just(POST),
        1 => prop::sample::select(vec![PORTAL, AGENT_POINT, STRANGER]),
    ]
}

fn cause() -> impl Strategy<Value = PauseCause> {
    prop::sample::select(vec![
        PauseCause::Supplement,
        PauseCause::FinancialObligation,
        PauseCause::PaperTransit,
        PauseCause::Expertise,
        PauseCause::PublicNotice,
        PauseCause::OtherAgency,
    ])
}

fn saying() -> impl Strategy<Value = Saying> {
    let documents = || prop::collection::vec((1u64..20).prop_map(document), 0..4);
    let channel = prop::sample::select(ReturnChannel::ALL.to_vec());
    let plain = prop_oneof![
        Just(What::Accept),
        Just(What::Refuse),
        documents().prop_map(|documents| What::ProvideSupplement { documents }),
        Just(What::ExpireSupplement),
        Just(What::Withdraw),
        Just(What::StartProcessing),
        Just(What::RequestFee { fees: NonZeroU32::MIN }),
        Just(What::ConfirmPayment),
        Just(What::Stop),
        documents().prop_map(|documents| What::Resolve { results: NonZeroU32::MIN, documents }),
        Just(What::RecallResult),
        channel.prop_map(|channel| What::ReturnResult { channel }),
        cause().prop_map(|cause| What::Pause { cause }),
        cause().prop_map(|cause| What::Resume { cause }),
        Just(What::Progress),
    ];
    prop_oneof![
        8 => plain.prop_map(Saying::Plain),
        1 => (-60i64..30_000).prop_map(|minutes| Saying::Supplement { minutes }),
        1 => (-10_000i64..60_000).prop_map(|minutes| Saying::Extend { minutes }),
        10 => any::<(Index, Index)>().prop_map(|(act, role)| Saying::Sensible { act, role }),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let after = prop_oneof![3 => 0u32..120, 1 => 0u32..20_000];
    (party_of_the_bus(), after, saying()).prop_map(|(who, after, what)| Said { who, after, what })
}

fn opening() -> impl Strategy<Value = Submission> {
    let procedure = prop::sample::select(vec![ORDINARY, AT_AUTHORITY]);
    let desk = prop::sample::select(vec![CENTRE, COMMUNE, PORTAL]);
    let intake = prop::sample::select(IntakeChannel::ALL.to_vec());
    let back = prop::sample::select(ReturnChannel::ALL.to_vec());
    (procedure, desk, intake, back).prop_map(|(procedure, desk, intake, back)| {
        let mut given = submission(procedure);
        given.acting_party = party(desk);
        given.intake_channel = intake;
        given.return_channel = back;
        given
    })
}

impl Said {
    /// Who says what, in the story as it stands.
    fn told_in(&self, story: &Story, when: BusinessTime) -> (String, What) {
        let moved = |minutes: i64| when.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap();
        let what = match &self.what {
            Saying::Plain(what) => what.clone(),
            Saying::Supplement { minutes } => What::RequestSupplement { until: moved(*minutes) },
            Saying::Extend { minutes } => What::Extend { new_due: moved(*minutes) },
            Saying::Sensible { act, role } => {
                let leads_on = |row: &&Transition| !matches!(row.to, Target::Fixed(to) if ends_early(to));
                let here = TABLE.iter().filter(|row| row.from == Some(story.dossier.status));
                let rows: Vec<&Transition> = here.filter(leads_on).collect();
                if rows.is_empty() {
                    return (self.who.to_owned(), What::Progress);
                }
                let row = act.get(&rows);
                return (holder_in(story, *role.get(row.roles), when), story.what(row.act));
            }
        };
        (self.who.to_owned(), what)
    }
}

/// Sensible people do not end a story before its time; the others do so often enough.
fn ends_early(status: Status) -> bool {
    status.is_terminal() && status != Status::Returned
}

fn holder_in(story: &Story, role: Role, when: BusinessTime) -> String {
    let places = &story.dossier.opening.places;
    let place = match role {
        Role::Payment => return PAYMENT.to_owned(),
        Role::Post => return POST.to_owned(),
        Role::Citizen | Role::IntakeDesk => &places.intake_desk,
        Role::CompetentAuthority => &places.competent_authority,
        Role::ReturnDesk => &places.return_desk,
    };
    story.registry.current_of(place, when.date()).to_string()
}

/// What must be true of a dossier after any event.
fn check(before: &Dossier, after: &Dossier) -> Result<(), TestCaseError> {
    prop_assert!(!before.status.is_terminal(), "something followed the end {}", before.status);
    prop_assert_eq!(after.sequence, before.sequence + 1);
    prop_assert!(after.updated_at >= before.updated_at);
    prop_assert_eq!(&after.opening, &before.opening);
    if before.clock.original_due().is_some() {
        prop_assert_eq!(after.clock.original_due(), before.clock.original_due());
    }
    prop_assert!(after.clock.due() >= after.clock.promised());
    prop_assert!(after.documents.starts_with(&before.documents));
    prop_assert!(after.informed.starts_with(&before.informed));

    let waits_for_citizen = matches!(after.status, Status::SupplementRequested | Status::PaymentRequested);
    prop_assert_eq!(after.resume_to.is_some(), waits_for_citizen);
    prop_assert_eq!(after.supplement_until.is_some(), after.status == Status::SupplementRequested);
    prop_assert_eq!(after.resolved_at.is_some(), matches!(after.status, Status::Resolved | Status::Returned));
    prop_assert_eq!(after.returned_at.is_some(), after.status == Status::Returned);
    prop_assert_eq!(after.hand_over.is_some(), after.opening.non_territorial);
    prop_assert_ne!(after.hand_over, Some(HandOver::AtDesk));
    if waits_for_citizen && after.clock.has_started() {
        prop_assert!(after.clock.stopped_since().is_some(), "the clock runs while the citizen is waited for");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_the_promises_hold(given in opening(), sayings in prop::collection::vec(said(), 1..60)) {
        let mut story = Story::open(&given);
        for said in sayings {
            let when = later(story.dossier.updated_at, Duration::from_secs(60 * u64::from(said.after)));
            if when.date().year() > 2026 {
                break;
            }
            let (who, what) = said.told_in(&story, when);
            let act = what.act();
            let entry = story.entry(&who, what, when);
            let bounds = TimeBounds::default();
            let decided = decide::entry(&story.dossier, &entry, &story.registry, when, &bounds);
            prop_assert_eq!(&decided, &decide::entry(&story.dossier, &entry, &story.registry, when, &bounds));
            let Ok(decision) = decided else { continue };

            let event = decision.event;
            let row = row(act, Some(story.dossier.status)).expect("only rows of the table are admitted");
            prop_assert!(row.roles.contains(&event.role));
            match row.to {
                Target::Fixed(to) => prop_assert_eq!(event.status, to),
                Target::Same => prop_assert_eq!(event.status, story.dossier.status),
                Target::Resume => prop_assert_eq!(Some(event.status), story.dossier.resume_to),
                Target::Opening => prop_assert!(false, "an entry opened a dossier"),
            }
            prop_assert!(!event.recipients.contains(&event.by));
            let mut unique = event.recipients.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(unique.len(), event.recipients.len());
            if event.role == Role::CompetentAuthority {
                let authority = &story.dossier.opening.places.competent_authority;
                prop_assert_eq!(&event.by, &story.registry.current_of(authority, when.date()));
            }

            let before = story.dossier.clone();
            story.admit(event);
            check(&before, &story.dossier)?;
        }
        let replayed = story.events.iter().fold(None, |before, event| Some(apply(before.as_ref(), event).unwrap()));
        prop_assert_eq!(replayed, Some(story.dossier));
    }
}

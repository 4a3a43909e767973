//! The registry, the parties and the ways to bring a dossier into any status.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::SignedDuration;
use lgsp_domain::apply::apply;
use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::decide::{self, ComponentGiven, Decision, Entry, Submission, TimeBounds, What};
use lgsp_domain::dossier::{AttachedDocument, Dossier};
use lgsp_domain::event::Event;
use lgsp_domain::registry::Registry;
use lgsp_domain::transition::{Act, Role};
use lgsp_proto::types::{BusinessTime, DossierCode, IntakeChannel, PartyId, ReturnChannel, Sha256Digest, Status};
use lgsp_proto::{Reason, Refusal};

/// The province's centre: takes dossiers in for everybody.
pub(crate) const CENTRE: &str = "H99.TT";
/// The commune of unit 99001, competent for the dossiers of [`submission`].
pub(crate) const COMMUNE: &str = "H99.101";
/// The commune of unit 99002, where their results are collected.
pub(crate) const OTHER_COMMUNE: &str = "H99.102";
/// The commune of unit 99003, merged into the other one after June 2025.
pub(crate) const MERGED_COMMUNE: &str = "H99.103";
pub(crate) const PORTAL: &str = "H99.CDV";
pub(crate) const PAYMENT: &str = "H99.TTO";
pub(crate) const POST: &str = "H99.BC";
pub(crate) const AGENT_POINT: &str = "H99.BD.001";
/// On the bus, but without a grant and with no part in any dossier.
pub(crate) const STRANGER: &str = "H99.09";

/// The ordinary kind: ten working days from the desk's reception, restarted by a supplement; decided by the commune.
pub(crate) const ORDINARY: &str = "1.000009";
/// Counts from the authority's reception, and runs on after a supplement.
pub(crate) const AT_AUTHORITY: &str = "1.000007";
/// The department that decides it, merged into [`SUCCEEDING_DEPARTMENT`] after July 2025.
pub(crate) const MERGED_DEPARTMENT: &str = "H99.02";
pub(crate) const SUCCEEDING_DEPARTMENT: &str = "H99.01";
pub(crate) const ABOLISHED: &str = "1.000004";
pub(crate) const NOT_YET: &str = "1.000005";
/// Has cases and compulsory components: `don`, and `ban-ve` in the case `cong-trinh`.
pub(crate) const WITH_COMPONENTS: &str = "1.000003";
pub(crate) const WITHOUT_LIMIT: &str = "1.000008";
pub(crate) const WITHOUT_ROUTE: &str = "1.000006";

/// A Monday.
pub(crate) const MORNING: &str = "2025-07-14 09:00";

const FILES: [(&str, &str); 7] = [
    ("parties.toml", include_str!("../fixtures/registry/parties.toml")),
    ("units.toml", include_str!("../fixtures/registry/units.toml")),
    ("procedures.toml", include_str!("../fixtures/registry/procedures.toml")),
    ("routes.toml", include_str!("../fixtures/registry/routes.toml")),
    ("grants.toml", include_str!("../fixtures/registry/grants.toml")),
    ("systems.toml", include_str!("../fixtures/registry/systems.toml")),
    ("calendars.toml", include_str!("../fixtures/registry/calendars.toml")),
];

pub(crate) fn registry() -> Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| registry_with(|_, text| text.to_owned()));
    REGISTRY.clone()
}

/// The registry with passages of its files replaced.
pub(crate) fn registry_edited(edits: &[(&str, &str, &str)]) -> Registry {
    registry_with(|name, text| {
        edits.iter().filter(|(file, ..)| *file == name).fold(text.to_owned(), |text, (file, passage, by)| {
            assert!(text.contains(passage), "{file} has no {passage}");
            text.replacen(passage, by, 1)
        })
    })
}

/// The registry with one grant taken away.
pub(crate) fn registry_without_grant(id: &str) -> Registry {
    let named = format!("\"{id}\"");
    registry_with(|name, text| {
        if name != "grants.toml" {
            return text.to_owned();
        }
        let entries: Vec<&str> = text.split("[[grant]]").collect();
        let kept: Vec<&str> = entries.iter().copied().filter(|entry| !entry.contains(&named)).collect();
        assert_eq!(kept.len() + 1, entries.len(), "no grant {id}");
        kept.join("[[grant]]")
    })
}

fn registry_with(edit: impl Fn(&str, &str) -> String) -> Registry {
    let files = FILES.iter().map(|(name, text)| ((*name).to_owned(), edit(name, text).into_bytes())).collect();
    Registry::parse(&files).unwrap().with_version(7)
}

pub(crate) fn party(id: &str) -> PartyId {
    id.parse().unwrap()
}

/// A time of the office: `2025-07-14 09:00`.
pub(crate) fn at(text: &str) -> BusinessTime {
    BusinessTime::try_from(text.parse::<jiff::civil::DateTime>().unwrap()).unwrap()
}

pub(crate) fn later(time: BusinessTime, by: Duration) -> BusinessTime {
    time.checked_add(SignedDuration::try_from(by).unwrap()).unwrap()
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn document(id: u64) -> AttachedDocument {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    AttachedDocument {
        sha256: Sha256Digest::from(bytes),
        size_bytes: 1_000 + id,
        media_type: "application/pdf".parse().unwrap(),
        document_id: id,
    }
}

pub(crate) fn component(code: &str, has_document: bool) -> ComponentGiven {
    ComponentGiven { code: Some(code.to_owned()), has_document }
}

/// A dossier handed in at the centre for the commune, its result to be sent by post or collected at the other commune.
pub(crate) fn submission(procedure: &str) -> Submission {
    Submission {
        acting_party: party(CENTRE),
        actor: "can-bo-01".parse().unwrap(),
        procedure: procedure.parse().unwrap(),
        case: None,
        locality: "99001".parse().unwrap(),
        intake_channel: IntakeChannel::Direct,
        return_channel: ReturnChannel::Post,
        support_point: Some(party(AGENT_POINT)),
        return_desk: Some(party(OTHER_COMMUNE)),
        received_at: at(MORNING),
        components: vec![component("don", true)],
        documents: vec![document(1)],
        aliases: Vec::new(),
        code: None,
    }
}

/// Decides on a submission a minute after its reception.
pub(crate) fn decide_submission(given: &Submission) -> Result<decide::Admissible, Refusal> {
    let now = later(given.received_at, MINUTE);
    decide::submission(given, &registry(), now, &TimeBounds::default())
}

pub(crate) fn refused(given: &Submission) -> Refusal {
    decide_submission(given).unwrap_err()
}

/// A dossier and how it came about.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) registry: Registry,
    pub(crate) dossier: Dossier,
    pub(crate) events: Vec<Event>,
}

impl Story {
    /// Opens a dossier under number 1 of the authority's day.
    pub(crate) fn open(given: &Submission) -> Self {
        Self::open_under(registry(), given)
    }

    pub(crate) fn open_under(registry: Registry, given: &Submission) -> Self {
        let now = later(given.received_at, MINUTE);
        let admissible = decide::submission(given, &registry, now, &TimeBounds::default()).unwrap();
        let code = DossierCode::issue(admissible.authority(), admissible.day(), 1).unwrap();
        let Decision { event, .. } = admissible.with_code(code).unwrap();
        let dossier = apply(None, &event).unwrap();
        Self { registry, dossier, events: vec![event] }
    }

    /// What is decided when `who` says that it has just happened.
    pub(crate) fn decide(&self, who: &str, what: What) -> Result<Event, Refusal> {
        self.decide_at(who, what, self.soon())
    }

    pub(crate) fn decide_at(&self, who: &str, what: What, when: BusinessTime) -> Result<Event, Refusal> {
        let entry = self.entry(who, what, when);
        decide::entry(&self.dossier, &entry, &self.registry, when, &TimeBounds::default())
            .map(|decision| decision.event)
    }

    pub(crate) fn entry(&self, who: &str, what: What, when: BusinessTime) -> Entry {
        Entry {
            acting_party: party(who),
            actor: "can-bo-02".parse().unwrap(),
            expected_sequence: None,
            occurred_at: when,
            what,
        }
    }

    /// Records it, a minute after the last event.
    pub(crate) fn then(self, who: &str, what: What) -> Self {
        let when = self.soon();
        self.then_at(who, what, when)
    }

    pub(crate) fn then_at(mut self, who: &str, what: What, when: BusinessTime) -> Self {
        let event = self.decide_at(who, what, when).unwrap();
        self.admit(event);
        self
    }

    pub(crate) fn admit(&mut self, event: Event) {
        self.dossier = apply(Some(&self.dossier), &event).unwrap();
        self.events.push(event);
    }

    pub(crate) fn reason(&self, who: &str, what: What) -> Reason {
        self.decide(who, what).unwrap_err().reason()
    }

    pub(crate) fn soon(&self) -> BusinessTime {
        later(self.dossier.updated_at, MINUTE)
    }

    /// A dossier of the ordinary procedure that came into `status` on the shortest way, perhaps with paper under way.
    pub(crate) fn in_status(status: Status, paper_under_way: bool) -> Self {
        let mut story = Self::open(&submission(ORDINARY));
        if paper_under_way {
            story = story.then(CENTRE, What::Pause { cause: PauseCause::PaperTransit });
        }
        for (who, act) in way_to(status) {
            let what = story.what(*act);
            story = story.then(who, what);
        }
        assert_eq!(story.dossier.status, status);
        story
    }

    /// The act with everything it needs, as it would be recorded next.
    pub(crate) fn what(&self, act: Act) -> What {
        let one = NonZeroU32::MIN;
        match act {
            Act::Submit => unreachable!("a submission is no entry"),
            Act::Accept => What::Accept,
            Act::Refuse => What::Refuse,
            Act::RequestSupplement => What::RequestSupplement { until: later(self.soon(), 7 * DAY) },
            Act::ProvideSupplement => What::ProvideSupplement { documents: vec![document(100)] },
            Act::ExpireSupplement => What::ExpireSupplement,
            Act::Withdraw => What::Withdraw,
            Act::StartProcessing => What::StartProcessing,
            Act::RequestFee => What::RequestFee { fees: one },
            Act::ConfirmPayment => What::ConfirmPayment,
            Act::Stop => What::Stop,
            Act::Resolve => What::Resolve { results: one, documents: vec![document(200)] },
            Act::RecallResult => What::RecallResult,
            Act::ReturnResult => What::ReturnResult { channel: ReturnChannel::Post },
            Act::Extend => What::Extend { new_due: at("2025-08-11 09:00") },
            Act::Pause => What::Pause { cause: PauseCause::PaperTransit },
            Act::Resume => What::Resume { cause: PauseCause::PaperTransit },
            Act::Progress => What::Progress,
        }
    }

    /// When the act would be in time: at once, or after the term given to the citizen.
    pub(crate) fn when(&self, act: Act) -> BusinessTime {
        match (act, self.dossier.supplement_until) {
            (Act::ExpireSupplement, Some(until)) => later(until, MINUTE),
            _ => self.soon(),
        }
    }
}

/// The party that holds a role in the dossiers of [`submission`].
pub(crate) fn holder(role: Role) -> &'static str {
    match role {
        Role::Citizen | Role::IntakeDesk => CENTRE,
        Role::CompetentAuthority => COMMUNE,
        Role::Payment => PAYMENT,
        Role::Post => POST,
        Role::ReturnDesk => OTHER_COMMUNE,
    }
}

fn way_to(status: Status) -> &'static [(&'static str, Act)] {
    match status {
        Status::Registered => &[],
        Status::Accepted => &[(COMMUNE, Act::Accept)],
        Status::NotAccepted => &[(COMMUNE, Act::Refuse)],
        Status::Processing => &[(COMMUNE, Act::Accept), (COMMUNE, Act::StartProcessing)],
        Status::SupplementRequested => &[(COMMUNE, Act::Accept), (COMMUNE, Act::RequestSupplement)],
        Status::PaymentRequested => &[(COMMUNE, Act::Accept), (COMMUNE, Act::RequestFee)],
        Status::Withdrawn => &[(CENTRE, Act::Withdraw)],
        Status::Stopped => &[(COMMUNE, Act::Accept), (COMMUNE, Act::Stop)],
        Status::Resolved => &[(COMMUNE, Act::Accept), (COMMUNE, Act::Resolve)],
        Status::Returned => &[(COMMUNE, Act::Accept), (COMMUNE, Act::Resolve), (OTHER_COMMUNE, Act::ReturnResult)],
    }
}

//! The registry: who is on the bus, what the law asks for, where a matter goes and who may do what.
//!
//! - `party`, `unit`, `procedure`, `rule`, `grant`, `hours`: one kind of entry each, as the files declare it.
//! - `binding`, `call`: which foreign certificate means which system; who may ask a data service for what.
//! - `service`: the data services themselves, with the schemas of their requests and replies.
//! - `source`, `load`, `check`, `coverage`: reading the files, comparing entries, walking every route. All problems at once.
//! - [`national`]: the national catalogue that the province's procedures follow.
//! - [`diff()`]: what applying other files would change; [`gains_and_losses()`]: what that means for whom.
//!
//! A [`Registry`] is whole: every reference leads somewhere, every route to a party that may decide. Everything is dated,
//! and every question is asked for a day, so that a dossier of last week meets the commune that merged yesterday.

mod authority;
mod binding;
mod call;
mod check;
mod coverage;
mod diff;
mod grant;
mod hours;
mod load;
pub mod national;
mod party;
mod problem;
mod procedure;
mod quota;
mod rule;
mod service;
mod source;
mod unit;
mod validity;
mod word;

use std::collections::BTreeMap;

use jiff::civil::Date;
use lgsp_proto::Refusal;
use lgsp_proto::types::{PartyId, ProcedureCode, UnitCode};

pub use authority::{AuthorityChange, Holder, KEEPING, gains_and_losses, keepers, kept_by, out_of_reach};
pub use binding::{CertificateBinding, KeyDigest};
pub use call::{CallGrant, CallScope, MissingCall, Names, Wanted};
pub use diff::{Change, ChangeKind, diff};
pub use grant::{Grant, Holders, MissingGrant, Procedures, Right};
pub use hours::{DeclaredCalendar, NamedDay};
pub use party::{Party, PartyKind, PartyPattern, System};
pub use problem::{Problem, ProblemKind};
pub use procedure::{Case, CaseLimit, Level, Procedure, ProcedureComponent, ProcedureFee};
pub use quota::Quota;
pub use rule::{Authority, Matter, Rule};
pub use service::{Need, NoService, SCHEMA_SUFFIX, Service};
pub use unit::Unit;
pub use validity::Validity;

use crate::calendar::Calendar;
use crate::numbering::LAST_NUMBER;
use binding::Bindings;
use load::Declarations;
use party::DEFAULT_CALENDAR;
use source::Problems;
use validity::Successions;

/// A registry without a problem, of one version.
#[derive(Clone, Debug)]
pub struct Registry {
    files: BTreeMap<String, Vec<u8>>,
    version: u64,
    note: Option<String>,
    parties: BTreeMap<PartyId, Party>,
    /// The versions of each, earliest first.
    units: BTreeMap<UnitCode, Vec<Unit>>,
    procedures: BTreeMap<ProcedureCode, Vec<Procedure>>,
    rules: Vec<Rule>,
    grants: Vec<Grant>,
    /// In the order of names and versions.
    services: Vec<Service>,
    systems: BTreeMap<String, System>,
    bindings: Bindings,
    calendars: BTreeMap<String, DeclaredCalendar>,
    succeeded_parties: Successions<PartyId>,
    succeeded_units: Successions<UnitCode>,
    succeeded_procedures: Successions<ProcedureCode>,
}

impl Registry {
    /// Reads the files (`parties.toml`, `units.toml`, `procedures.toml`, `routes.toml`, `grants.toml`, `systems.toml`,
    /// `calendars.toml`, `services.toml` and the schemas beside it) and checks them as a whole.
    ///
    /// # Errors
    /// Every problem of every file. Whether the routes can be walked is told once every entry can be read.
    pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let declared = Declarations::read(files, &problems);
        let readable = problems.is_empty();
        let calendars = check::check(&declared, &problems);
        let services = service::check(files, &declared, &problems);
        let registry = Self::assemble(files.clone(), &declared, calendars, services);
        if readable {
            coverage::check(&registry, &declared, &problems);
        }
        if problems.is_empty() { Ok(registry) } else { Err(problems.into_vec()) }
    }

    fn assemble(
        files: BTreeMap<String, Vec<u8>>,
        declared: &Declarations,
        calendars: BTreeMap<String, DeclaredCalendar>,
        services: Vec<Service>,
    ) -> Self {
        let mut units: BTreeMap<UnitCode, Vec<Unit>> = BTreeMap::new();
        for unit in declared.units.values() {
            units.entry(unit.code.clone()).or_default().push(unit.clone());
        }
        let mut procedures: BTreeMap<ProcedureCode, Vec<Procedure>> = BTreeMap::new();
        for procedure in declared.procedures.values() {
            procedures.entry(procedure.code.clone()).or_default().push(procedure.clone());
        }
        units.values_mut().for_each(|versions| versions.sort_by_key(|unit| unit.validity.from));
        procedures.values_mut().for_each(|versions| versions.sort_by_key(|procedure| procedure.validity.from));
        let ends = |party: &Party| (party.id.clone(), party.validity, party.successor.clone());
        let last_units = units.values().filter_map(|versions| versions.last());
        let last_procedures = procedures.values().filter_map(|versions| versions.last());
        Self {
            files,
            version: 0,
            note: declared.note.clone(),
            succeeded_parties: Successions::of(declared.parties.values().map(ends)),
            succeeded_units: Successions::of(
                last_units.map(|unit| (unit.code.clone(), unit.validity, unit.successor.clone())),
            ),
            succeeded_procedures: Successions::of(
                last_procedures.map(|one| (one.code.clone(), one.validity, one.successor.clone())),
            ),
            parties: declared.parties.values().map(|party| (party.id.clone(), party.clone())).collect(),
            units,
            procedures,
            rules: declared.rules.values().cloned().collect(),
            grants: declared.grants.values().cloned().collect(),
            services,
            bindings: Bindings::of(declared.systems.values()),
            systems: declared.systems.values().map(|system| (system.name.clone(), system.clone())).collect(),
            calendars,
        }
    }

    /// The files it was read from, by name.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// What to hash so that equal registries, and only those, have equal digests: the name and the content of each file,
    /// each after its length (eight bytes, big-endian), in the order of the names.
    pub fn digest_input(&self) -> Vec<u8> {
        let parts = self.files.iter().flat_map(|(name, content)| [name.as_bytes(), content.as_slice()]);
        parts.flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied())).collect()
    }

    /// The same registry under its number: 1, 2, 3 …
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Its number; 0 until it has one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What `parties.toml` says about itself, e.g. that its identifiers are illustrative. Belongs under every list of parties.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Parties and systems.
impl Registry {
    /// A party, in force or not.
    pub fn party(&self, id: &PartyId) -> Option<&Party> {
        self.parties.get(id)
    }

    /// Every party, in the order of identifiers.
    pub fn parties(&self) -> impl Iterator<Item = &Party> {
        self.parties.values()
    }

    /// A party that exists on that day.
    ///
    /// # Errors
    /// Why there is none, with the successor in force where there is one.
    pub fn party_in_force(&self, id: &PartyId, date: Date) -> Result<&Party, NoParty> {
        let party = self.parties.get(id).ok_or(NoParty::Unknown)?;
        match party.validity {
            validity if validity.contains(date) => Ok(party),
            Validity { from: Some(from), .. } if date < from => Err(NoParty::NotYet { from }),
            _ => Err(NoParty::Gone { successor: self.succeeded_parties.named(id, date).cloned() }),
        }
    }

    /// The last number of a day that the gateway may give in the name of `authority`: below the range that the authority keeps
    /// for its own software.
    pub fn last_number_of(&self, authority: &PartyId) -> u32 {
        let own = self.parties.get(authority).and_then(|party| party.own_numbers_from);
        own.map_or(LAST_NUMBER, |from| from.saturating_sub(1).min(LAST_NUMBER))
    }

    /// Whoever stands in that party's place on that day: itself, or the last of its successors.
    pub fn current_of(&self, id: &PartyId, date: Date) -> PartyId {
        self.succeeded_parties.current(id, date).clone()
    }

    /// Whether `new` has taken the place of `old` by that day. No party succeeds itself.
    pub fn succeeds(&self, new: &PartyId, old: &PartyId, date: Date) -> bool {
        new != old && self.succeeded_parties.current(old, date) == new
    }

    /// The calendar a party works by; the default one for a party nobody knows.
    pub fn calendar_of(&self, id: &PartyId) -> &Calendar {
        let name = self.parties.get(id).map_or(DEFAULT_CALENDAR, |party| party.calendar.as_str());
        let declared = self.calendars.get(name).or_else(|| self.calendars.get(DEFAULT_CALENDAR));
        &declared.expect("a registry without a default calendar is refused").calendar
    }

    /// Every calendar, in the order of identifiers.
    pub fn calendars(&self) -> impl Iterator<Item = &DeclaredCalendar> {
        self.calendars.values()
    }

    /// A system that may act on that day.
    pub fn system(&self, name: &str, date: Date) -> Option<&System> {
        self.systems.get(name).filter(|system| system.validity.contains(date))
    }

    /// The system that a SPIFFE id of another form, or of another bus, is bound to, if it may act on that day.
    pub fn system_by_spiffe(&self, id: &str, date: Date) -> Option<&System> {
        self.system(self.bindings.system_of_id(id)?, date)
    }

    /// The system that a certificate without a SPIFFE id is bound to, if it may act on that day: by its issuer's name and the
    /// SHA-256 of its public key.
    pub fn system_by_certificate(&self, issuer: &str, key_sha256: &[u8; 32], date: Date) -> Option<&System> {
        let binding = CertificateBinding { issuer: issuer.to_owned(), key_sha256: KeyDigest(*key_sha256) };
        self.system(self.bindings.system_of_certificate(&binding)?, date)
    }

    /// Every system, in the order of names.
    pub fn systems(&self) -> impl Iterator<Item = &System> {
        self.systems.values()
    }

    /// Whether `system` may act for `party` on that day.
    ///
    /// What a party leaves behind when it ends passes to its successor, and so to the successor's system: from then on
    /// its former system acts for it no more.
    pub fn acts_for(&self, system: &System, party: &PartyId, date: Date) -> bool {
        let present = self.succeeded_parties.current(party, date);
        let named = || system.acts_for.iter().any(|pattern| pattern.matches(present));
        self.parties.contains_key(party) && system.validity.contains(date) && named()
    }

    /// The parties `system` may act for on that day, ended ones included, in the order of identifiers.
    pub fn parties_of_system<'a>(&'a self, system: &'a System, date: Date) -> impl Iterator<Item = &'a PartyId> {
        self.parties.keys().filter(move |party| self.acts_for(system, party, date))
    }
}

/// Procedures, units and working with them.
impl Registry {
    /// The version of a procedure in force on that day.
    ///
    /// # Errors
    /// Why there is none, with the procedure in force instead where there is one.
    pub fn procedure(&self, code: &ProcedureCode, date: Date) -> Result<&Procedure, NoProcedure> {
        let versions = self.procedures.get(code).ok_or(NoProcedure::Unknown)?;
        in_force(versions, date, |procedure| procedure.validity).map_err(|absent| match absent {
            Absent::NotYet(from) => NoProcedure::NotYet { from },
            Absent::Over => NoProcedure::Abolished { successor: self.succeeded_procedures.named(code, date).cloned() },
        })
    }

    /// Every version of every procedure, in the order of codes and dates.
    pub fn procedures(&self) -> impl Iterator<Item = &Procedure> {
        self.procedures.values().flatten()
    }

    /// An administrative unit as it is on that day.
    ///
    /// # Errors
    /// Why there is none, with the unit that took it in where there is one.
    pub fn unit(&self, code: &UnitCode, date: Date) -> Result<&Unit, NoUnit> {
        let versions = self.units.get(code).ok_or(NoUnit::Unknown)?;
        in_force(versions, date, |unit| unit.validity).map_err(|absent| match absent {
            Absent::NotYet(from) => NoUnit::NotYet { from },
            Absent::Over => NoUnit::Ceased { successor: self.succeeded_units.named(code, date).cloned() },
        })
    }

    /// Every version of every unit, in the order of codes and dates.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values().flatten()
    }

    /// Whether a dossier handed in at `intake` for `authority` is non-territorial (*phi địa giới*): the desk's own unit lies
    /// outside the authority's territory.
    ///
    /// The centres receive regardless of boundaries within the province (NĐ 118/2025/NĐ-CP Art. 14). So a commune's desk
    /// taking in for a city department is territorial; for another commune it is not; nor is the city's centre for any
    /// commune, because its unit is the city. A desk without a unit, such as the portal, is nowhere and therefore never
    /// outside; an authority without a territory is competent everywhere.
    pub fn is_non_territorial(&self, intake: &PartyId, authority: &PartyId, date: Date) -> bool {
        let (Some(desk), Some(authority)) = (self.parties.get(intake), self.parties.get(authority)) else {
            return false;
        };
        let Some(unit) = &desk.unit else { return false };
        let around = |unit| authority.territory.contains(unit);
        !authority.territory.is_empty() && !around(unit) && !self.province_of(unit, date).is_some_and(around)
    }

    /// The province of a commune on that day, or when it last was in force.
    pub(crate) fn province_of(&self, unit: &UnitCode, date: Date) -> Option<&UnitCode> {
        let versions = self.units.get(unit)?;
        let version = in_force(versions, date, |unit| unit.validity).ok().or(versions.last());
        version?.parent.as_ref()
    }

    /// The routes, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The party of that kind that is competent for the unit: the one that names it, else the one that names its province.
    pub(crate) fn competent(&self, kind: PartyKind, unit: &UnitCode, date: Date) -> Option<&Party> {
        let naming = |unit: &UnitCode| {
            let fits = |party: &&Party| party.kind == kind && party.validity.contains(date);
            self.parties.values().find(|party| fits(party) && party.territory.contains(unit))
        };
        naming(unit).or_else(|| naming(self.province_of(unit, date)?))
    }
}

/// Grants.
impl Registry {
    /// Every grant, in the order of the file.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The grant by which `party` may do something on that day, for `procedure` if the act is about one.
    ///
    /// A party holds the grants of those it has succeeded; one that has ended, or not begun, holds none.
    ///
    /// # Errors
    /// The right that is missing, and whom to ask for it.
    pub fn grant(
        &self,
        party: &PartyId,
        right: Right,
        procedure: Option<&ProcedureCode>,
        date: Date,
    ) -> Result<&Grant, MissingGrant> {
        let found = self.party_in_force(party, date).ok().and_then(|party| {
            let mut for_it = self.grants.iter().filter(|one| one.right == right && self.is_for(one, procedure));
            for_it.find(|grant| self.holds_on(party, grant, date))
        });
        found.ok_or_else(|| MissingGrant {
            party: party.clone(),
            right,
            procedure: procedure.cloned(),
            owner: self.owner_of(right, procedure).map(|id| self.owner(id, date)),
        })
    }

    /// The parties that hold a right on that day, for any procedure at all, in the order of identifiers.
    pub fn parties_with(&self, right: Right, date: Date) -> impl Iterator<Item = &PartyId> {
        let grants: Vec<&Grant> =
            self.grants.iter().filter(|grant| grant.right == right && grant.validity.contains(date)).collect();
        let in_force = self.parties.values().filter(move |party| party.validity.contains(date));
        in_force.filter(move |party| grants.iter().any(|grant| self.holds(party, grant, date))).map(|party| &party.id)
    }

    fn holds_on(&self, party: &Party, grant: &Grant, date: Date) -> bool {
        grant.validity.contains(date) && self.holds(party, grant, date)
    }

    fn holds(&self, party: &Party, grant: &Grant, date: Date) -> bool {
        let mut succeeded =
            self.succeeded_parties.predecessors(&party.id, date).filter_map(|old| self.parties.get(old));
        grant.holders.include(party) || succeeded.any(|old| grant.holders.include(old))
    }

    fn is_for(&self, grant: &Grant, procedure: Option<&ProcedureCode>) -> bool {
        let Some(code) = procedure else { return true };
        match &grant.procedures {
            Procedures::Any => true,
            Procedures::Listed(codes) => codes.contains(code),
            Procedures::Fields(fields) => {
                self.procedures.get(code).into_iter().flatten().any(|version| fields.contains(&version.field))
            }
        }
    }

    /// Whoever gives such grants: first for that procedure, else for any; else whoever keeps the registry.
    fn owner_of(&self, right: Right, procedure: Option<&ProcedureCode>) -> Option<&PartyId> {
        let given = |right| self.grants.iter().filter(move |grant| grant.right == right);
        let nearest = given(right).find(|grant| self.is_for(grant, procedure));
        nearest.or_else(|| given(right).next()).or_else(|| given(Right::Registry).next()).map(|grant| &grant.owner)
    }

    /// A party as somebody to ask on that day.
    pub(crate) fn owner(&self, id: &PartyId, date: Date) -> Owner {
        let id = self.current_of(id, date);
        let name = self.party(&id).map_or("", |party| &party.name).into();
        Owner { id, name }
    }

    /// Whoever keeps the registry on that day, and so says which system acts for whom; `None` when nobody does.
    pub fn keeper(&self, date: Date) -> Option<Owner> {
        self.owner_of(Right::Registry, None).map(|id| self.owner(id, date))
    }
}

/// Whom to ask for something that is missing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Its identifier: the owner's own, or that of whoever has taken its place.
    pub id: PartyId,
    /// Its name, in Vietnamese.
    pub name: Box<str>,
}

impl Owner {
    /// Adds whom to ask to a refusal, where there is somebody.
    pub fn named_in(owner: Option<&Self>, refusal: Refusal) -> Refusal {
        match owner {
            Some(Self { id, name }) => refusal.detail("owner", id).detail("owner_name", name),
            None => refusal,
        }
    }
}

/// Why there is no version of something on a day.
enum Absent {
    NotYet(Date),
    Over,
}

/// The version in force on that day, of versions in the order of their dates.
fn in_force<T>(versions: &[T], date: Date, validity: fn(&T) -> Validity) -> Result<&T, Absent> {
    if let Some(version) = versions.iter().find(|version| validity(version).contains(date)) {
        return Ok(version);
    }
    let next = versions.iter().filter_map(|version| validity(version).from).find(|from| date < *from);
    Err(next.map_or(Absent::Over, Absent::NotYet))
}

/// Why a party cannot be used on a day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoParty {
    /// The registry does not know it.
    #[error("the party is not in the registry")]
    Unknown,
    /// It has ended.
    #[error("the party no longer exists")]
    Gone {
        /// Who has taken its place by that day.
        successor: Option<PartyId>,
    },
    /// It does not exist yet.
    #[error("the party does not exist before {from}")]
    NotYet {
        /// Its first day.
        from: Date,
    },
}

impl NoParty {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Unknown => "cơ quan không có trong sổ đăng ký".to_owned(),
            Self::Gone { .. } => "cơ quan không còn tồn tại".to_owned(),
            Self::NotYet { from } => format!("cơ quan chỉ tồn tại từ ngày {from}"),
        }
    }
}

/// Why a procedure cannot be used on a day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoProcedure {
    /// The registry does not know it.
    #[error("the procedure is not in the registry")]
    Unknown,
    /// It was abolished.
    #[error("the procedure was abolished")]
    Abolished {
        /// The procedure that replaces it by that day.
        successor: Option<ProcedureCode>,
    },
    /// It is not yet in force.
    #[error("the procedure is not in force before {from}")]
    NotYet {
        /// Its first day.
        from: Date,
    },
}

impl NoProcedure {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Unknown => "thủ tục không có trong sổ đăng ký".to_owned(),
            Self::Abolished { .. } => "thủ tục đã bị bãi bỏ".to_owned(),
            Self::NotYet { from } => format!("thủ tục chỉ có hiệu lực từ ngày {from}"),
        }
    }
}

/// Why a unit cannot be used on a day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoUnit {
    /// The registry does not know it.
    #[error("the administrative unit is not in the registry")]
    Unknown,
    /// It was merged or divided.
    #[error("the administrative unit has ceased to exist")]
    Ceased {
        /// The unit that has taken it in by that day; none when it was divided.
        successor: Option<UnitCode>,
    },
    /// It does not exist yet.
    #[error("the administrative unit does not exist before {from}")]
    NotYet {
        /// Its first day.
        from: Date,
    },
}

impl NoUnit {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Unknown => "đơn vị hành chính không có trong sổ đăng ký".to_owned(),
            Self::Ceased { .. } => "đơn vị hành chính không còn tồn tại".to_owned(),
            Self::NotYet { from } => format!("đơn vị hành chính chỉ tồn tại từ ngày {from}"),
        }
    }
}

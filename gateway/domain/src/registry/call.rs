//! Who may ask a data service for what, and why (*quyền khai thác dữ liệu*): a grant of the right `call`.
//!
//! The owner of the data decides by service, purpose and field; the gateway keeps to it. Which services there are stands in
//! [`super::service`], and is held against the grants there; to whoever asks here they are names.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;
use lgsp_proto::types::{PartyId, ProcedureCode};
use lgsp_proto::{Reason, Refusal};

use super::grant::{Grant, Procedures, Right};
use super::problem::{Fault, ProblemKind};
use super::source::{Entry, FromText};
use super::{Owner, Registry};

/// What a grant of the right `call` is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallScope {
    /// The service, e.g. `dan-cu-037`.
    pub service: String,
    /// For which purposes (*mục đích khai thác*).
    pub purposes: Names,
    /// Which fields of its answers.
    pub fields: Names,
}

/// Names that a grant lists, or all there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Names {
    /// Every one.
    Any,
    /// These.
    Listed(BTreeSet<String>),
}

impl Names {
    /// Whether `name` is among them.
    pub fn include(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(names) => names.contains(name),
        }
    }

    fn read(entry: &Entry<'_>, key: &'static str) -> Option<Self> {
        if !entry.has(key) {
            let fault = Fault::new(
                format!("quyền call thiếu khoá {key} (\"any\" hoặc danh sách)"),
                format!("lacks the key {key} (\"any\" or a list), which the right call needs"),
            );
            entry.problem("", ProblemKind::MissingKey, fault);
            return None;
        }
        if entry.is_text(key) {
            return entry.value::<AnyName>(key).map(|_| Self::Any);
        }
        let names: BTreeSet<String> = entry.values::<Name>(key).into_iter().map(|name| name.0).collect();
        if names.is_empty() && entry.texts(key).is_empty() {
            // Allows nothing, and most likely meant everything.
            let fault = Fault::new("danh sách trống", "is an empty list");
            entry.problem(key, ProblemKind::Malformed, fault);
        }
        (!names.is_empty()).then_some(Self::Listed(names))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Listed(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl CallScope {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let service = entry.value::<Name>("service");
        let purposes = Names::read(entry, "purposes");
        let fields = Names::read(entry, "fields");
        Some(Self { service: service?.0, purposes: purposes?, fields: fields? })
    }
}

/// The word `any`.
struct AnyName;

impl FromText for AnyName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        (text == "any")
            .then_some(Self)
            .ok_or_else(|| Fault::new("phải là \"any\" hoặc một danh sách", "must be \"any\" or a list"))
    }
}

/// The name of a service, a purpose or a field: what a path or a column may be called.
pub(super) struct Name(pub(super) String);

impl FromText for Name {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed)
        {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(
            format!(
                "\"{text}\" không phải tên dịch vụ, mục đích hay trường: tối đa 64 ký tự A-Z, a-z, 0-9, -, _, ., bắt đầu bằng chữ hoặc số"
            ),
            format!(
                "\"{text}\" is no name of a service, purpose or field: at most 64 of A-Z, a-z, 0-9, -, _ and ., \
                 beginning with a letter or a digit"
            ),
        ))
    }
}

/// A call as one wants to make it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The service.
    pub service: &'a str,
    /// Why it is asked.
    pub purpose: &'a str,
    /// The fields that are asked for; none means all that are granted.
    pub fields: &'a [String],
    /// The procedure it is asked for; `None` when for none in particular, which only a grant for any procedure allows.
    pub procedure: Option<&'a ProcedureCode>,
}

/// A call that is allowed.
#[derive(Clone, Debug)]
pub struct CallGrant<'a> {
    /// The grants it is allowed by, in the order of the file.
    pub by: Vec<&'a Grant>,
    /// The fields that may be told: those asked for, or all that are granted when none was named.
    pub fields: Names,
}

/// A call that is not allowed, or not for all of its fields.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no grant to call \"{service}\" for the purpose \"{purpose}\"")]
pub struct MissingCall {
    /// Who lacks it.
    pub party: PartyId,
    /// The service.
    pub service: Box<str>,
    /// The purpose.
    pub purpose: Box<str>,
    /// The fields that are not granted, of those asked for; empty when the call is not granted at all.
    pub fields: Vec<String>,
    /// The procedure it was asked for.
    pub procedure: Option<ProcedureCode>,
    /// Whom to ask; `None` when nobody in the registry gives such grants.
    pub owner: Option<Owner>,
}

impl MissingCall {
    /// The refusal that names the service, the purpose, the fields, whom to ask, and the command that explains it.
    pub fn refusal(&self) -> Refusal {
        let Self { party, service, purpose, fields, procedure, owner } = self;
        let refusal = Refusal::new(Reason::GrantMissing).detail("right", Right::Call);
        let mut refusal = refusal.detail("service", service).detail("purpose", purpose);
        let mut can_i = format!("lgsp can-i call --party {party} --service {service} --purpose {purpose}");
        if !fields.is_empty() {
            let fields = fields.join(",");
            can_i += &format!(" --fields {fields}");
            refusal = refusal.detail("fields", fields);
        }
        if let Some(procedure) = procedure {
            can_i += &format!(" --procedure {procedure}");
            refusal = refusal.detail("procedure", procedure);
        }
        Owner::named_in(owner.as_ref(), refusal.detail("can_i", can_i))
    }
}

impl Registry {
    /// Whether `party` may call a service as it wants to on that day, and what it may be told.
    ///
    /// Several grants add up, each for its own purposes and procedures. All fields asked for must be granted: nothing is
    /// silently left out of an answer.
    ///
    /// # Errors
    /// What is missing, and whom to ask for it.
    pub fn may_call(&self, party: &PartyId, wanted: Wanted<'_>, date: Date) -> Result<CallGrant<'_>, MissingCall> {
        let Wanted { service, purpose, fields, procedure } = wanted;
        let of_service = || self.call_grants().filter(move |(_, scope)| scope.service == service);
        let is_for = |grant: &Grant| match (&grant.procedures, procedure) {
            (Procedures::Any, _) => true,
            (_, None) => false,
            (_, Some(_)) => self.is_for(grant, procedure),
        };
        let by: Vec<(&Grant, &CallScope)> = self
            .party_in_force(party, date)
            .ok()
            .into_iter()
            .flat_map(|party| of_service().filter(move |(grant, _)| self.holds_on(party, grant, date)))
            .filter(|(grant, scope)| scope.purposes.include(purpose) && is_for(grant))
            .collect();
        let granted = |field: &String| by.iter().any(|(_, scope)| scope.fields.include(field));
        let ungranted: Vec<String> = fields.iter().filter(|field| !granted(field)).cloned().collect();
        if by.is_empty() || !ungranted.is_empty() {
            let nearest = by.first().copied().or_else(|| of_service().next()).map(|(grant, _)| &grant.owner);
            return Err(MissingCall {
                party: party.clone(),
                service: service.into(),
                purpose: purpose.into(),
                fields: if by.is_empty() { Vec::new() } else { ungranted },
                procedure: procedure.cloned(),
                owner: nearest.or_else(|| self.owner_of(Right::Call, procedure)).map(|id| self.owner(id, date)),
            });
        }
        let told = if fields.is_empty() {
            let listed = by.iter().map(|(_, scope)| match &scope.fields {
                Names::Any => None,
                Names::Listed(names) => Some(names.iter().cloned()),
            });
            let all: Option<Vec<_>> = listed.collect();
            all.map_or(Names::Any, |lists| Names::Listed(lists.into_iter().flatten().collect()))
        } else {
            Names::Listed(fields.iter().cloned().collect())
        };
        Ok(CallGrant { by: by.into_iter().map(|(grant, _)| grant).collect(), fields: told })
    }

    /// The fields that a party is granted of a service for one purpose on that day, for whatever procedure; `None` for nothing.
    /// What it may be told for a certain one says [`Registry::may_call`].
    pub fn callable_fields(&self, party: &PartyId, service: &str, purpose: &str, date: Date) -> Option<Names> {
        let party = self.party_in_force(party, date).ok()?;
        let fits = |(grant, scope): &(&Grant, &CallScope)| {
            scope.service == service && scope.purposes.include(purpose) && self.holds_on(party, grant, date)
        };
        let add = |sum: Names, more: &Names| match (sum, more) {
            (Names::Listed(mut names), Names::Listed(more)) => {
                names.extend(more.iter().cloned());
                Names::Listed(names)
            }
            _ => Names::Any,
        };
        let mut granted = self.call_grants().filter(fits).map(|(_, scope)| &scope.fields);
        let first = granted.next()?.clone();
        Some(granted.fold(first, add))
    }

    fn call_grants(&self) -> impl Iterator<Item = (&Grant, &CallScope)> {
        self.grants().iter().filter_map(|grant| grant.call.as_ref().map(|scope| (grant, scope)))
    }
}

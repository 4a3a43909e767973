//! What a party may do. Without a grant it may not.

use std::collections::BTreeSet;

use lgsp_proto::types::{PartyId, ProcedureCode};
use lgsp_proto::{Reason, Refusal};

use super::Owner;
use super::call::CallScope;
use super::party::{Party, PartyKind, PartyPattern};
use super::problem::{Fault, ProblemKind};
use super::source::{Entry, FromText};
use super::validity::Validity;
use super::word::words;

words! {
    /// Something a party may be allowed to do.
    Right {
        /// Take a dossier in officially.
        Submit = "submit",
        /// Decide it as the competent authority.
        Decide = "decide",
        /// Hand a result out.
        HandOut = "hand-out",
        /// Confirm payments.
        Payment = "payment",
        /// Carry paper and results.
        Post = "post",
        /// Help a citizen to file.
        Support = "support",
        /// Change the registry.
        Registry = "registry",
        /// Operate the bus and see every dossier's envelope.
        Operate = "operate",
        /// See every dossier's envelope and the audit trail.
        Audit = "audit",
        /// Get a copy of every event.
        Subscribe = "subscribe",
        /// Let systems onto the bus and take them off it: join tokens, certificates, revocations.
        Certify = "certify",
        /// Ask a data service (*khai thác dữ liệu*), for the purposes and fields the grant names.
        Call = "call",
    }
}

impl Right {
    /// Whether the right is held for some procedures and not for others.
    pub const fn is_about_procedures(self) -> bool {
        match self {
            Self::Submit
            | Self::Decide
            | Self::HandOut
            | Self::Payment
            | Self::Post
            | Self::Support
            | Self::Subscribe
            | Self::Call => true,
            Self::Registry | Self::Operate | Self::Audit | Self::Certify => false,
        }
    }
}

/// A permission: who, what, for which procedures, from when until when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Its identifier in the file.
    pub id: String,
    /// Who holds it.
    pub holders: Holders,
    /// What it allows.
    pub right: Right,
    /// For which procedures.
    pub procedures: Procedures,
    /// Which service, purposes and fields, if the right is [`Right::Call`].
    pub call: Option<CallScope>,
    /// Whom to ask about it.
    pub owner: PartyId,
    /// When it holds.
    pub validity: Validity,
}

/// Who holds a grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holders {
    /// These parties.
    Parties(Vec<PartyPattern>),
    /// Every party of this kind.
    Kind(PartyKind),
}

impl Holders {
    pub(super) fn include(&self, party: &Party) -> bool {
        match self {
            Self::Parties(patterns) => patterns.iter().any(|pattern| pattern.matches(&party.id)),
            Self::Kind(kind) => party.kind == *kind,
        }
    }
}

/// The procedures a grant is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Procedures {
    /// Every one.
    Any,
    /// These.
    Listed(BTreeSet<ProcedureCode>),
    /// Those of these fields (*lĩnh vực*).
    Fields(Vec<String>),
}

impl Grant {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let id = entry.text("id");
        let holders = read_holders(entry);
        let right = entry.value("right");
        let is_call = right == Some(Right::Call);
        let procedures = if is_call { read_listed(entry) } else { read_procedures(entry, right) };
        let call = is_call.then(|| CallScope::read(entry));
        let owner = entry.value("owner");
        let validity = entry.validity();
        let call = match call {
            Some(read) => Some(read?),
            None => None,
        };
        Some(Self { id: id?, holders: holders?, right: right?, procedures: procedures?, call, owner: owner?, validity })
    }
}

fn read_holders(entry: &Entry<'_>) -> Option<Holders> {
    let given = ["party", "parties", "kind"].into_iter().filter(|key| entry.has(key)).count();
    let one: Option<PartyPattern> = entry.optional("party");
    let many: Vec<PartyPattern> = entry.values("parties");
    let kind = entry.optional("kind");
    if given != 1 {
        let fault = Fault::new(
            "phải có đúng một trong các khoá party, parties, kind",
            "must have exactly one of the keys party, parties and kind",
        );
        entry.problem("", ProblemKind::Contradiction, fault);
        return None;
    }
    let parties: Vec<_> = one.into_iter().chain(many).collect();
    kind.map(Holders::Kind).or_else(|| (!parties.is_empty()).then_some(Holders::Parties(parties)))
}

/// As [`read_procedures`] for the right `call`, whose `fields` are those of the service.
fn read_listed(entry: &Entry<'_>) -> Option<Procedures> {
    if !entry.has("procedures") {
        let fault = Fault::new(
            "thiếu khoá procedures (\"any\" hoặc danh sách mã)",
            "lacks the key procedures (\"any\" or a list of codes)",
        );
        entry.problem("", ProblemKind::MissingKey, fault);
        return None;
    }
    if entry.is_text("procedures") {
        return entry.value::<AnyProcedure>("procedures").map(|_| Procedures::Any);
    }
    Some(Procedures::Listed(entry.values("procedures").into_iter().collect()))
}

/// `procedures = "any"`, `procedures = ["1.001193", …]` or `fields = ["Hộ tịch", …]`. Said by every grant whose right is about
/// procedures, so that nobody grants everything by leaving a line out.
fn read_procedures(entry: &Entry<'_>, right: Option<Right>) -> Option<Procedures> {
    let fields = entry.texts("fields");
    let fault = |kind, vi: &str, en: &str| {
        entry.problem("", kind, Fault::new(vi, en));
        None
    };
    let is_narrowed = entry.has("fields") || (entry.has("procedures") && !entry.is_text("procedures"));
    if is_narrowed && right.is_some_and(|right| !right.is_about_procedures()) {
        // Nothing would keep to it: who sees every envelope sees them of every procedure.
        return fault(
            ProblemKind::Contradiction,
            "quyền này không giới hạn được theo thủ tục hay lĩnh vực",
            "narrows a right that is not about procedures",
        );
    }
    match (entry.has("procedures"), entry.has("fields")) {
        (true, true) => fault(
            ProblemKind::Contradiction,
            "chỉ dùng một trong hai khoá procedures, fields",
            "uses both procedures and fields",
        ),
        (false, true) => (!fields.is_empty()).then_some(Procedures::Fields(fields)),
        (true, false) if entry.is_text("procedures") => {
            entry.value::<AnyProcedure>("procedures").map(|_| Procedures::Any)
        }
        (true, false) => Some(Procedures::Listed(entry.values("procedures").into_iter().collect())),
        (false, false) if right.is_some_and(Right::is_about_procedures) => fault(
            ProblemKind::MissingKey,
            "thiếu khoá procedures (\"any\" hoặc danh sách mã) hoặc fields",
            "lacks the key procedures (\"any\" or a list of codes) or fields",
        ),
        (false, false) => right.map(|_| Procedures::Any),
    }
}

/// The word `any`.
struct AnyProcedure;

impl FromText for AnyProcedure {
    fn from_text(text: &str) -> Result<Self, Fault> {
        (text == "any").then_some(Self).ok_or_else(|| {
            Fault::new("phải là \"any\" hoặc một danh sách mã thủ tục", "must be \"any\" or a list of procedure codes")
        })
    }
}

/// A party lacks a right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the right \"{right}\" is missing")]
pub struct MissingGrant {
    /// Who lacks it.
    pub party: PartyId,
    /// Which right.
    pub right: Right,
    /// For which procedure; `None` when it is not about one.
    pub procedure: Option<ProcedureCode>,
    /// Whom to ask for it: the owner of such grants; `None` when nobody in the registry gives them.
    pub owner: Option<Owner>,
}

impl MissingGrant {
    /// The refusal that names the right, for what, its owner, and the command that explains it.
    pub fn refusal(&self) -> Refusal {
        let mut refusal = Refusal::new(Reason::GrantMissing).detail("right", self.right);
        let mut can_i = format!("lgsp can-i {} --party {}", self.right, self.party);
        if let Some(procedure) = &self.procedure {
            can_i += &format!(" --procedure {procedure}");
            refusal = refusal.detail("procedure", procedure);
        }
        Owner::named_in(self.owner.as_ref(), refusal.detail("can_i", can_i))
    }
}

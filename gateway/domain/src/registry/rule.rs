//! Routes: which authority is competent for which matter.
//!
//! A rule only says what it claims; which of several claims wins is decided in [`crate::routing`].

use lgsp_proto::types::{CaseCode, PartyId, ProcedureCode, UnitCode};

use super::party::PartyKind;
use super::problem::{Fault, ProblemKind};
use super::procedure::Level;
use super::source::Entry;
use super::validity::Validity;

/// One `[[route]]` of the files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Its identifier, recorded with every dossier it routes.
    pub id: String,
    /// The procedures it is for.
    pub matter: Matter,
    /// The case it is for; `None` for every one.
    pub case: Option<CaseCode>,
    /// The units it is for, a province standing for its communes; empty for every one.
    pub units: Vec<UnitCode>,
    /// Where it leads.
    pub authority: Authority,
    /// The legal basis (*căn cứ*), for the explanation.
    pub basis: Option<String>,
    /// When it holds.
    pub validity: Validity,
}

/// How a rule names its procedures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Matter {
    /// By code.
    Procedures(Vec<ProcedureCode>),
    /// By field (*lĩnh vực*), perhaps of one level only.
    Fields {
        /// The fields, as published.
        fields: Vec<String>,
        /// The level; `None` for every one.
        level: Option<Level>,
    },
    /// By level alone.
    Level(Level),
}

/// Where a rule leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authority {
    /// To this party, or whoever has succeeded it.
    Party(PartyId),
    /// To the party of this kind that is competent for the locality.
    OfUnit(PartyKind),
}

impl Rule {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let id = entry.text("id");
        let matter = read_matter(entry);
        let case = entry.optional("case");
        let units = entry.values("units");
        let authority = read_authority(entry);
        let basis = entry.optional_text("basis");
        let validity = entry.validity();
        if case.is_some() && matches!(matter, Some(Matter::Fields { .. } | Matter::Level(_))) {
            let fault = Fault::new(
                "khoá case chỉ dùng cùng procedures: trường hợp là của từng thủ tục",
                "uses case without procedures: a case belongs to a procedure",
            );
            entry.problem("case", ProblemKind::Contradiction, fault);
        }
        Some(Self { id: id?, matter: matter?, case, units, authority: authority?, basis, validity })
    }
}

fn read_matter(entry: &Entry<'_>) -> Option<Matter> {
    let procedures: Vec<ProcedureCode> = entry.values("procedures");
    let fields = entry.texts("fields");
    let level = entry.optional("level");
    let fault = |vi: &str, en: &str| {
        entry.problem("", ProblemKind::Contradiction, Fault::new(vi, en));
        None
    };
    match (entry.has("procedures"), entry.has("fields"), entry.has("level")) {
        (true, false, false) => (!procedures.is_empty()).then_some(Matter::Procedures(procedures)),
        (false, true, false) => (!fields.is_empty()).then_some(Matter::Fields { fields, level: None }),
        (false, true, true) => level.map(|level| Matter::Fields { fields, level: Some(level) }),
        (false, false, true) => level.map(Matter::Level),
        (false, false, false) => fault(
            "phải nêu thủ tục bằng procedures, fields hoặc level",
            "must name its procedures by procedures, fields or level",
        ),
        (true, _, _) => fault(
            "đã nêu procedures thì không dùng fields, level",
            "names procedures, so it cannot use fields or level as well",
        ),
    }
}

fn read_authority(entry: &Entry<'_>) -> Option<Authority> {
    let party = entry.optional("authority");
    let kind = entry.optional("authority_of_unit");
    if entry.has("authority") == entry.has("authority_of_unit") {
        let fault = Fault::new(
            "phải có đúng một trong hai khoá authority, authority_of_unit",
            "must have exactly one of the keys authority and authority_of_unit",
        );
        entry.problem("", ProblemKind::Contradiction, fault);
        return None;
    }
    party.map(Authority::Party).or_else(|| kind.map(Authority::OfUnit))
}

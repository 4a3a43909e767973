//! Which authority is competent for a matter, and why: by procedure, case and territory, on a given day.
//!
//! Pure look-up over the [`Registry`]; law and routes are in its files. The most specific rule wins: one that names the
//! procedure beats one that names its field and level, then its field, then its level; among those, one that names the case;
//! among those, one that names the commune beats one that names the province, and that one beats one for everywhere. Two
//! equally specific claims to one matter are a problem of the registry, which is refused; only if one slipped through would
//! the order of the file decide. So the order never matters.
//!
//! A missing route is said at submission, with the reason, and not after the citizen has left.

use jiff::civil::Date;
use lgsp_proto::Reason;
use lgsp_proto::types::{CaseCode, PartyId, ProcedureCode, UnitCode};

use crate::registry::{Authority, Matter, NoProcedure, NoUnit, Procedure, Registry, Rule};

/// The authority found, and the rule that found it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Who decides.
    pub authority: PartyId,
    /// The identifier of the rule that won.
    pub rule: String,
}

/// Every rule that was looked at, and what came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The rules that claim the matter, the winner first; then all others, in the order of the file.
    pub steps: Vec<Step>,
    /// The route, or the reason there is none.
    pub outcome: Result<Route, NoRoute>,
}

/// What one rule had to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The rule's identifier.
    pub rule: String,
    /// Whether it claims the matter.
    pub matched: bool,
    /// Why it won or did not, in Vietnamese.
    pub why_vi: String,
    /// The same in English.
    pub why_en: String,
}

/// Why there is no route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{en}")]
pub struct NoRoute {
    /// `NO_ROUTE`; or what is wrong with the procedure or the locality themselves.
    pub reason: Reason,
    /// The procedure or unit to use instead, where there is one.
    pub successor: Option<String>,
    /// What is missing, in Vietnamese.
    pub vi: String,
    /// The same in English.
    pub en: String,
}

/// Finds the authority for a matter received on `date`, and explains how.
///
/// An authority that has since merged is followed to its successor, so a rule need not be rewritten on the day of a merger.
pub fn route(
    registry: &Registry,
    procedure: &ProcedureCode,
    case: Option<&CaseCode>,
    locality: &UnitCode,
    date: Date,
) -> Explanation {
    let matter = Question::new(registry, procedure, case, locality, date);
    let question = match matter {
        Ok(question) => question,
        Err(no_route) => return Explanation { steps: Vec::new(), outcome: Err(no_route) },
    };
    let mut claims = Vec::new();
    let mut misses = Vec::new();
    for rule in registry.rules() {
        match question.claim(rule) {
            Ok(rank) => claims.push((rank, rule)),
            Err(miss) => misses.push(miss.step(rule)),
        }
    }
    // Stable, so that equal ranks keep the order of the file.
    claims.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    let outcome = match claims.first() {
        Some((_, winner)) => question.authority(winner).map(|authority| Route { authority, rule: winner.id.clone() }),
        None => Err(question.no_rule()),
    };
    let explained = claims.iter().enumerate().map(|(place, (rank, rule))| match (place, &outcome) {
        (0, Ok(route)) => step(
            rule,
            format!("được áp dụng: {}; cơ quan có thẩm quyền là {}", rank.vi(), route.authority),
            format!("applies: {}; the authority is {}", rank.en(), route.authority),
        ),
        (0, Err(no_route)) => step(
            rule,
            format!("cụ thể nhất ({}) nhưng {}", rank.vi(), no_route.vi),
            format!("is the most specific ({}), but {}", rank.en(), no_route.en),
        ),
        _ => step(
            rule,
            format!("khớp nhưng kém cụ thể hơn ({}) quy tắc {}", rank.vi(), claims[0].1.id),
            format!("claims it too, but is less specific ({}) than {}", rank.en(), claims[0].1.id),
        ),
    });
    Explanation { steps: explained.chain(misses).collect(), outcome }
}

/// One matter on one day, looked up.
pub(crate) struct Question<'a> {
    registry: &'a Registry,
    procedure: &'a Procedure,
    case: Option<&'a CaseCode>,
    locality: &'a UnitCode,
    province: Option<&'a UnitCode>,
    date: Date,
}

impl<'a> Question<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        procedure: &ProcedureCode,
        case: Option<&'a CaseCode>,
        locality: &'a UnitCode,
        date: Date,
    ) -> Result<Self, NoRoute> {
        let found = registry.procedure(procedure, date).map_err(|absent| no_procedure(procedure, absent))?;
        if let Some(unknown) = case.filter(|case| found.case(case).is_none()) {
            return Err(NoRoute {
                reason: Reason::CaseUnknown,
                successor: None,
                vi: format!("thủ tục {procedure} không có trường hợp \"{unknown}\""),
                en: format!("procedure {procedure} has no case \"{unknown}\""),
            });
        }
        registry.unit(locality, date).map_err(|absent| no_unit(locality, absent))?;
        let province = registry.province_of(locality, date);
        Ok(Self { registry, procedure: found, case, locality, province, date })
    }

    /// How specifically the rule claims the matter, or why it does not.
    pub(crate) fn claim(&self, rule: &Rule) -> Result<Rank, Miss> {
        if !rule.validity.contains(self.date) {
            return Err(Miss::NotInForce);
        }
        let matter = self.names_procedure(&rule.matter).ok_or(Miss::OtherProcedure)?;
        let case = match &rule.case {
            None => false,
            Some(case) if self.case == Some(case) => true,
            Some(_) => return Err(Miss::OtherCase),
        };
        let territory = if rule.units.is_empty() {
            Territory::Everywhere
        } else if rule.units.contains(self.locality) {
            Territory::Unit
        } else if self.province.is_some_and(|province| rule.units.contains(province)) {
            Territory::Province
        } else {
            return Err(Miss::OtherTerritory);
        };
        Ok(Rank { matter, case, territory })
    }

    fn names_procedure(&self, matter: &Matter) -> Option<Naming> {
        let Procedure { code, field, level, .. } = self.procedure;
        match matter {
            Matter::Procedures(codes) => codes.contains(code).then_some(Naming::Procedure),
            Matter::Fields { fields, level: None } => fields.contains(field).then_some(Naming::Field),
            Matter::Fields { fields, level: Some(only) } => {
                (fields.contains(field) && level == only).then_some(Naming::FieldAndLevel)
            }
            Matter::Level(only) => (level == only).then_some(Naming::Level),
        }
    }

    /// The party that the rule leads to, on that day.
    pub(crate) fn authority(&self, rule: &Rule) -> Result<PartyId, NoRoute> {
        match &rule.authority {
            Authority::Party(party) => {
                let current = self.registry.current_of(party, self.date);
                match self.registry.party_in_force(&current, self.date) {
                    Ok(_) => Ok(current),
                    Err(_) => Err(no_route(
                        format!("cơ quan {current} không có hiệu lực vào ngày {}", self.date),
                        format!("the party {current} is not in force on {}", self.date),
                    )),
                }
            }
            Authority::OfUnit(kind) => {
                let competent = self.registry.competent(*kind, self.locality, self.date);
                competent.map(|party| party.id.clone()).ok_or_else(|| {
                    no_route(
                        format!("đơn vị hành chính {} không có cơ quan loại \"{kind}\" phụ trách", self.locality),
                        format!("no party of kind \"{kind}\" is competent for the unit {}", self.locality),
                    )
                })
            }
        }
    }

    fn no_rule(&self) -> NoRoute {
        let Procedure { code, field, level, .. } = self.procedure;
        no_route(
            format!(
                "không có quy tắc nào cho thủ tục {code} (lĩnh vực {field}, cấp {level}) tại đơn vị {}",
                self.locality
            ),
            format!("no rule is for procedure {code} (field {field}, level {level}) in the unit {}", self.locality),
        )
    }
}

/// How specific a claim is. The order of the fields and of their values is the order of precedence.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Rank {
    matter: Naming,
    case: bool,
    territory: Territory,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Naming {
    Level,
    Field,
    FieldAndLevel,
    Procedure,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Territory {
    Everywhere,
    Province,
    Unit,
}

impl Rank {
    fn vi(self) -> String {
        let matter = match self.matter {
            Naming::Level => "theo cấp thực hiện",
            Naming::Field => "theo lĩnh vực",
            Naming::FieldAndLevel => "theo lĩnh vực và cấp thực hiện",
            Naming::Procedure => "nêu đích danh thủ tục",
        };
        let case = if self.case { ", nêu trường hợp" } else { "" };
        let territory = match self.territory {
            Territory::Everywhere => "",
            Territory::Province => ", nêu tỉnh/thành phố",
            Territory::Unit => ", nêu đơn vị hành chính",
        };
        format!("{matter}{case}{territory}")
    }

    fn en(self) -> String {
        let matter = match self.matter {
            Naming::Level => "by level",
            Naming::Field => "by field",
            Naming::FieldAndLevel => "by field and level",
            Naming::Procedure => "names the procedure",
        };
        let case = if self.case { ", and the case" } else { "" };
        let territory = match self.territory {
            Territory::Everywhere => "",
            Territory::Province => ", for the province",
            Territory::Unit => ", for the unit itself",
        };
        format!("{matter}{case}{territory}")
    }
}

/// Why a rule does not claim the matter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Miss {
    NotInForce,
    OtherProcedure,
    OtherCase,
    OtherTerritory,
}

impl Miss {
    fn step(self, rule: &Rule) -> Step {
        let (vi, en) = match self {
            Self::NotInForce => ("không có hiệu lực vào ngày tiếp nhận", "is not in force on the day of reception"),
            Self::OtherProcedure => ("dành cho thủ tục khác", "is for other procedures"),
            Self::OtherCase => ("dành cho trường hợp khác", "is for another case"),
            Self::OtherTerritory => ("dành cho địa bàn khác", "is for another territory"),
        };
        Step { rule: rule.id.clone(), matched: false, why_vi: vi.to_owned(), why_en: en.to_owned() }
    }
}

/// What a claim came to, with the rule's legal basis where it names one.
fn step(rule: &Rule, vi: String, en: String) -> Step {
    let basis = |word: &str| rule.basis.as_ref().map_or_else(String::new, |basis| format!(" ({word}: {basis})"));
    let (why_vi, why_en) = (vi + &basis("căn cứ"), en + &basis("basis"));
    Step { rule: rule.id.clone(), matched: true, why_vi, why_en }
}

fn no_route(vi: String, en: String) -> NoRoute {
    NoRoute { reason: Reason::NoRoute, successor: None, vi, en }
}

fn no_procedure(code: &ProcedureCode, absent: NoProcedure) -> NoRoute {
    let (reason, successor, vi, en) = match absent {
        NoProcedure::Unknown => (
            Reason::ProcedureUnknown,
            None,
            "không có trong sổ đăng ký".to_owned(),
            "is not in the registry".to_owned(),
        ),
        NoProcedure::Abolished { successor } => {
            (Reason::ProcedureAbolished, successor, "đã hết hiệu lực".to_owned(), "is no longer in force".to_owned())
        }
        NoProcedure::NotYet { from } => (
            Reason::ProcedureNotYetInForce,
            None,
            format!("chỉ có hiệu lực từ ngày {from}"),
            format!("is in force only from {from}"),
        ),
    };
    let successor = successor.map(|code| code.to_string());
    NoRoute { reason, successor, vi: format!("thủ tục {code} {vi}"), en: format!("procedure {code} {en}") }
}

fn no_unit(code: &UnitCode, absent: NoUnit) -> NoRoute {
    let (reason, successor, vi, en) = match absent {
        NoUnit::Unknown => {
            (Reason::UnitUnknown, None, "không có trong sổ đăng ký".to_owned(), "is not in the registry".to_owned())
        }
        NoUnit::Ceased { successor } => {
            (Reason::UnitCeased, successor, "không còn tồn tại".to_owned(), "has ceased to exist".to_owned())
        }
        NoUnit::NotYet { from } => {
            (Reason::UnitUnknown, None, format!("chỉ có từ ngày {from}"), format!("exists only from {from}"))
        }
    };
    let successor = successor.map(|code| code.to_string());
    NoRoute {
        reason, successor, vi: format!("đơn vị hành chính {code} {vi}"), en: format!("the unit {code} {en}")
    }
}

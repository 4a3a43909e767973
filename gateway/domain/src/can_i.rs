//! Whether somebody may do something, condition by condition: by what it is allowed, or what is missing and whom to ask.
//!
//! Says what the calls themselves would say, from the same registry and by the same functions; decides nothing itself. Whether
//! whoever asks may know the answer is not asked here.

use lgsp_proto::Reason;
use lgsp_proto::types::{Date, PartyId, ProcedureCode};

use crate::dossier::Dossier;
use crate::registry::{MissingCall, MissingGrant, NoProcedure, Owner, Registry, Right, Wanted};
use crate::roles;
use crate::transition::Role;

/// Who wants to do what.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The system.
    pub system: &'a str,
    /// The party in whose name.
    pub party: &'a PartyId,
    /// What; `None` asks only whether the system acts for the party.
    pub act: Option<Act<'a>>,
}

/// What somebody wants to do.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// The right it takes.
    pub right: Right,
    /// For which procedure; `None` for any at all.
    pub procedure: Option<&'a ProcedureCode>,
    /// With which dossier; it stands for its procedure.
    pub dossier: Option<&'a Dossier>,
    /// What is asked of a data service, for [`Right::Call`].
    pub call: Option<Call<'a>>,
}

/// What is asked of a data service.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The service.
    pub service: &'a str,
    /// Why.
    pub purpose: &'a str,
    /// For which fields; none means all that are granted.
    pub fields: &'a [String],
}

/// One condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Which one.
    pub condition: Condition,
    /// How it stands.
    pub outcome: Outcome,
    /// In a sentence, in Vietnamese.
    pub vi: String,
    /// In a sentence, in English.
    pub en: String,
}

/// What has to be so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// The system is in the registry, and may act today.
    System,
    /// The system acts for the party.
    ActsFor,
    /// The party is there today.
    PartyInForce,
    /// The procedure is in force today.
    ProcedureInForce,
    /// The party holds the grant.
    Grant,
    /// The party has the role in this dossier.
    Role,
}

impl Condition {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::ActsFor => "acts-for",
            Self::PartyInForce => "party-in-force",
            Self::ProcedureInForce => "procedure-in-force",
            Self::Grant => "grant",
            Self::Role => "role",
        }
    }
}

/// How a condition stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is met, by this entry of the registry.
    Met {
        /// E.g. `grants.toml: xa-tiep-nhan`.
        by: String,
    },
    /// It is not met.
    Missing {
        /// The reason a call would be refused for.
        reason: Reason,
        /// Whom to ask; `None` where nobody in the registry could help.
        owner: Option<Owner>,
    },
}

impl Step {
    /// Whether the condition is met.
    pub fn is_met(&self) -> bool {
        matches!(self.outcome, Outcome::Met { .. })
    }

    fn met(condition: Condition, by: String, vi: String, en: String) -> Self {
        Self { condition, outcome: Outcome::Met { by }, vi, en }
    }

    fn missing(condition: Condition, reason: Reason, owner: Option<Owner>, vi: String, en: String) -> Self {
        Self { condition, outcome: Outcome::Missing { reason, owner }, vi, en }
    }
}

/// Every condition, in the order in which a call meets them; it is allowed when all are met.
pub fn can_i(registry: &Registry, question: &Question<'_>, today: Date) -> Vec<Step> {
    let Question { system, party, act } = question;
    let mut steps = vec![
        system_is_there(registry, system, today),
        acts_for(registry, system, party, today),
        party_is_there(registry, party, today),
    ];
    let Some(act) = act else { return steps };
    let procedure = act.dossier.map(|dossier| &dossier.opening.procedure).or(act.procedure);
    // Only who opens a dossier is asked for the procedure of today; an open one goes on under the law it began with.
    if let (Right::Submit | Right::Support, None, Some(code)) = (act.right, act.dossier, procedure) {
        steps.push(procedure_is_in_force(registry, code, today));
    }
    steps.push(match act.call {
        Some(Call { service, purpose, fields }) => {
            let wanted = Wanted { service, purpose, fields, procedure };
            is_granted_call(registry, party, wanted, today)
        }
        None => is_granted(registry, party, act.right, procedure, today),
    });
    if let Some(dossier) = act.dossier {
        steps.extend(stands_in_it(registry, party, act.right, dossier, today));
    }
    steps
}

fn system_is_there(registry: &Registry, name: &str, today: Date) -> Step {
    let condition = Condition::System;
    match registry.system(name, today) {
        Some(_) => Step::met(
            condition,
            format!("systems.toml: {name}"),
            format!("hệ thống \"{name}\" có trong sổ đăng ký"),
            format!("the system \"{name}\" is in the registry"),
        ),
        None => Step::missing(
            condition,
            Reason::SystemUnknown,
            registry.keeper(today),
            format!("hệ thống \"{name}\" không có trong sổ đăng ký, hoặc không hiệu lực hôm nay"),
            format!("the system \"{name}\" is not in the registry, or may not act today"),
        ),
    }
}

fn acts_for(registry: &Registry, name: &str, party: &PartyId, today: Date) -> Step {
    let condition = Condition::ActsFor;
    let system = registry.system(name, today).filter(|system| registry.acts_for(system, party, today));
    let Some(system) = system else {
        return Step::missing(
            condition,
            Reason::ActsForMissing,
            registry.keeper(today),
            format!("hệ thống \"{name}\" không được hành động thay {party}"),
            format!("the system \"{name}\" may not act for {party}"),
        );
    };
    let present = registry.current_of(party, today);
    let by = system.acts_for.iter().find(|pattern| pattern.matches(&present)).map(ToString::to_string);
    Step::met(
        condition,
        format!("systems.toml: {name}, acts_for {}", by.unwrap_or_default()),
        format!("hệ thống \"{name}\" được hành động thay {party}"),
        format!("the system \"{name}\" acts for {party}"),
    )
}

fn party_is_there(registry: &Registry, party: &PartyId, today: Date) -> Step {
    let condition = Condition::PartyInForce;
    match registry.party_in_force(party, today) {
        Ok(found) => Step::met(
            condition,
            format!("parties.toml: {party}"),
            format!("{party} ({}) đang hoạt động", found.name),
            format!("{party} ({}) is there today", found.name),
        ),
        Err(absent) => Step::missing(
            condition,
            Reason::PartyUnknown,
            registry.keeper(today),
            format!("{party} không có trong sổ đăng ký, hoặc không hiệu lực hôm nay"),
            format!("{party}: {absent}"),
        ),
    }
}

fn procedure_is_in_force(registry: &Registry, code: &ProcedureCode, today: Date) -> Step {
    let condition = Condition::ProcedureInForce;
    match registry.procedure(code, today) {
        Ok(found) => Step::met(
            condition,
            format!("procedures.toml: {code}"),
            format!("thủ tục {code} ({}) đang hiệu lực", found.name),
            format!("the procedure {code} ({}) is in force", found.name),
        ),
        Err(absent) => {
            let reason = match absent {
                NoProcedure::Unknown => Reason::ProcedureUnknown,
                NoProcedure::Abolished { .. } => Reason::ProcedureAbolished,
                NoProcedure::NotYet { .. } => Reason::ProcedureNotYetInForce,
            };
            let vi = format!("thủ tục {code}: {}", reason.texts().what.vi);
            Step::missing(condition, reason, registry.keeper(today), vi, format!("{code}: {absent}"))
        }
    }
}

fn is_granted(
    registry: &Registry,
    party: &PartyId,
    right: Right,
    procedure: Option<&ProcedureCode>,
    today: Date,
) -> Step {
    let (for_vi, for_en) = match procedure {
        Some(code) => (format!(" cho thủ tục {code}"), format!(" for the procedure {code}")),
        None if right.is_about_procedures() => (" cho thủ tục nào đó".to_owned(), " for some procedure".to_owned()),
        None => (String::new(), String::new()),
    };
    match registry.grant(party, right, procedure, today) {
        Ok(grant) => Step::met(
            Condition::Grant,
            format!("grants.toml: {}", grant.id),
            format!("{party} có quyền \"{right}\"{for_vi}"),
            format!("{party} holds the right \"{right}\"{for_en}"),
        ),
        Err(MissingGrant { owner, .. }) => {
            let (vi, en) = whom_to_ask(owner.as_ref());
            let vi = format!("{party} chưa có quyền \"{right}\"{for_vi}{vi}");
            let en = format!("{party} lacks the right \"{right}\"{for_en}{en}");
            Step::missing(Condition::Grant, Reason::GrantMissing, owner, vi, en)
        }
    }
}

fn is_granted_call(registry: &Registry, party: &PartyId, wanted: Wanted<'_>, today: Date) -> Step {
    let Wanted { service, purpose, .. } = wanted;
    match registry.may_call(party, wanted, today) {
        Ok(grant) => {
            let by: Vec<&str> = grant.by.iter().map(|grant| grant.id.as_str()).collect();
            let fields = &grant.fields;
            Step::met(
                Condition::Grant,
                format!("grants.toml: {}", by.join(", ")),
                format!("{party} được khai thác \"{service}\" với mục đích \"{purpose}\"; các trường: {fields}"),
                format!("{party} may call \"{service}\" for the purpose \"{purpose}\"; fields: {fields}"),
            )
        }
        Err(MissingCall { fields, owner, .. }) => {
            let (ask_vi, ask_en) = whom_to_ask(owner.as_ref());
            let (vi, en) = if fields.is_empty() {
                (String::new(), String::new())
            } else {
                let fields = fields.join(", ");
                (format!(", các trường {fields}"), format!(", for the fields {fields}"))
            };
            let vi = format!("{party} chưa được khai thác \"{service}\" với mục đích \"{purpose}\"{vi}{ask_vi}");
            let en = format!("{party} may not call \"{service}\" for the purpose \"{purpose}\"{en}{ask_en}");
            Step::missing(Condition::Grant, Reason::GrantMissing, owner, vi, en)
        }
    }
}

/// Rights that are held in a dossier by standing somewhere in it; the others need no place.
fn stands_in_it(registry: &Registry, party: &PartyId, right: Right, dossier: &Dossier, today: Date) -> Option<Step> {
    let roles: Vec<Role> = Role::ALL.iter().copied().filter(|role| role.right() == right).collect();
    let first = roles.first()?;
    let code = &dossier.code;
    let held = roles::roles_of(dossier, party, registry, today).into_iter().find(|role| roles.contains(role));
    Some(match held {
        Some(role) => Step::met(
            Condition::Role,
            format!("{code}: {}", role.as_str()),
            format!("{party} có vai trò cần thiết trong hồ sơ {code}"),
            format!("{party} has the role for it in the dossier {code}"),
        ),
        None => {
            let places = &dossier.opening.places;
            let place = match first {
                Role::CompetentAuthority => Some(&places.competent_authority),
                Role::Citizen | Role::IntakeDesk => Some(&places.intake_desk),
                Role::ReturnDesk => Some(&places.return_desk),
                Role::Payment | Role::Post => None,
            };
            let owner = place.map(|place| registry.owner(place, today));
            let (vi, en) = whom_to_ask(owner.as_ref());
            Step::missing(
                Condition::Role,
                Reason::RoleMissing,
                owner,
                format!("{party} không có vai trò cho việc này trong hồ sơ {code} lúc này{vi}"),
                format!("{party} has no role for it in the dossier {code} at this stage{en}"),
            )
        }
    })
}

fn whom_to_ask(owner: Option<&Owner>) -> (String, String) {
    owner.map_or_else(Default::default, |Owner { id, name }| {
        (format!("; liên hệ {name} ({id})"), format!("; ask {name} ({id})"))
    })
}

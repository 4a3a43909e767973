//! `lgsp registry show`: what is in force, from a gateway or from a folder. Entries are shown in the words of the files, so
//! that whoever reads them knows which key to correct.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use data_encoding::HEXLOWER;
use lgsp_domain::deadline::Limit;
use lgsp_domain::deadline::clock::{StartPolicy, SupplementPolicy};
use lgsp_domain::registry::{
    Authority, Grant, Holders, Matter, Names, Party, Procedure, Procedures, Quota, Registry, Rule, System, Unit,
    Validity,
};
use lgsp_proto::v1::RegistryVersion;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Looks something up.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// What to show; left out, the registry as a whole.
    entity: Option<Entity>,
    /// The identifier of one; left out, all of them.
    #[arg(requires = "entity")]
    id: Option<String>,
    /// Read a folder instead of asking a gateway.
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What a registry is made of.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Entity {
    /// Organisations.
    Party,
    /// Procedures.
    Procedure,
    /// Administrative units.
    Unit,
    /// Which authority is competent.
    Route,
    /// What a party may do.
    Grant,
    /// Software, and whom it acts for.
    System,
}

impl Show {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (registry, version) = match &self.registry {
            Some(dir) => (super::in_folder(dir, lang)?, None),
            None => {
                let (profile, link) = self.connection.open()?;
                let (registry, version) = super::of_gateway(&link, &profile).await?;
                (registry, Some(version))
            }
        };
        match (self.entity, &self.id) {
            (None, _) => {
                self.output
                    .print(|| whole_json(&registry, version.as_ref()), || whole(&registry, version.as_ref(), lang))?;
            }
            (Some(entity), None) => {
                let all = entity.all(&registry);
                let json = || all.iter().cloned().map(Value::Object).collect();
                self.output.print(json, || list(&all, entity.columns(), registry.note()))?;
            }
            (Some(entity), Some(id)) => {
                let key = entity.keys()[0];
                let of_id = |entry: &Map<String, Value>| cell(entry.get(key)) == *id;
                let found: Vec<_> = entity.all(&registry).into_iter().filter(of_id).collect();
                if found.is_empty() {
                    return Err(Failure::usage(lang.pick(
                        format!("Sổ đăng ký không có {key} = {id:?}"),
                        format!("The registry has no {key} = {id:?}"),
                    )));
                }
                let json = || found.iter().cloned().map(Value::Object).collect();
                let one = |entry: &Map<String, Value>| in_full(entry, entity.keys());
                self.output.print(json, || found.iter().map(one).collect::<Vec<_>>().join("\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Entity {
    /// Every key, the identifier first.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Party => &[
                "id",
                "kind",
                "name",
                "unit",
                "name_en",
                "territory",
                "desk",
                "support_point",
                "calendar",
                "own_numbers_from",
                "quota",
                "successor",
                "valid_from",
                "valid_to",
            ],
            Self::Procedure => &[
                "code",
                "level",
                "limit",
                "field",
                "name",
                "decision",
                "start",
                "supplement",
                "cases",
                "components",
                "fees",
                "results",
                "successor",
                "valid_from",
                "valid_to",
            ],
            Self::Unit => &["code", "parent", "name", "successor", "valid_from", "valid_to"],
            Self::Route => &[
                "id",
                "authority",
                "authority_of_unit",
                "procedures",
                "fields",
                "level",
                "case",
                "units",
                "basis",
                "valid_from",
                "valid_to",
            ],
            Self::Grant => &[
                "id",
                "right",
                "holders",
                "procedures",
                "owner",
                "service",
                "purposes",
                "fields",
                "valid_from",
                "valid_to",
            ],
            Self::System => {
                &["name", "acts_for", "description", "certificates", "spiffe_ids", "quota", "valid_from", "valid_to"]
            }
        }
    }

    /// The keys that a list shows.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Party => &self.keys()[..4],
            Self::Procedure => &self.keys()[..5],
            Self::Unit => &self.keys()[..6],
            Self::Route => &self.keys()[..8],
            Self::Grant => &self.keys()[..5],
            Self::System => &self.keys()[..3],
        }
    }

    fn all(self, registry: &Registry) -> Vec<Map<String, Value>> {
        let entries: Vec<Value> = match self {
            Self::Party => registry.parties().map(party).collect(),
            Self::Procedure => registry.procedures().map(procedure).collect(),
            Self::Unit => registry.units().map(unit).collect(),
            Self::Route => registry.rules().iter().map(route).collect(),
            Self::Grant => registry.grants().iter().map(grant).collect(),
            Self::System => registry.systems().map(system).collect(),
        };
        let object = |entry| if let Value::Object(object) = entry { Some(object) } else { None };
        entries.into_iter().filter_map(object).collect()
    }
}

fn party(party: &Party) -> Value {
    with_validity(
        party.validity,
        json!({
            "id": party.id.to_string(),
            "kind": party.kind.as_str(),
            "name": party.name,
            "name_en": party.name_en,
            "unit": text(party.unit.as_ref()),
            "territory": texts(&party.territory),
            "desk": party.desk,
            "support_point": party.support_point,
            "calendar": party.calendar,
            "own_numbers_from": party.own_numbers_from,
            "quota": quota(party.quota),
            "successor": text(party.successor.as_ref()),
        }),
    )
}

fn procedure(procedure: &Procedure) -> Value {
    let limit = |one: &lgsp_domain::registry::CaseLimit| {
        let of = [text(one.case.as_ref()), text(one.channel.as_ref())].into_iter().flatten().collect::<Vec<_>>();
        let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
        limit_text(one.limit) + &of
    };
    let component = |one: &lgsp_domain::registry::ProcedureComponent| {
        let code = one.code.as_ref().map_or_else(String::new, |code| format!("{code}: "));
        format!("{}{code}{}", if one.compulsory { "* " } else { "" }, one.name)
    };
    with_validity(
        procedure.validity,
        json!({
            "code": procedure.code.to_string(),
            "level": procedure.level.as_str(),
            "limit": procedure.limits.iter().map(limit).collect::<Value>(),
            "field": procedure.field,
            "name": procedure.name,
            "decision": procedure.decision,
            "start": match procedure.start {
                StartPolicy::AtReceipt => "receipt",
                StartPolicy::AtAuthority => "authority",
            },
            "supplement": match procedure.supplement {
                SupplementPolicy::Resume => "resume",
                SupplementPolicy::Restart => "restart",
            },
            "cases": procedure.cases.iter().map(|case| format!("{}: {}", case.code, case.name)).collect::<Value>(),
            "components": procedure.components.iter().map(component).collect::<Value>(),
            "fees": procedure.fees.iter().map(|fee| format!("{}: {} đồng", fee.name, fee.amount_vnd)).collect::<Value>(),
            "results": procedure.results,
            "successor": text(procedure.successor.as_ref()),
        }),
    )
}

fn unit(unit: &Unit) -> Value {
    with_validity(
        unit.validity,
        json!({
            "code": unit.code.to_string(),
            "parent": text(unit.parent.as_ref()),
            "name": unit.name,
            "successor": text(unit.successor.as_ref()),
        }),
    )
}

fn route(rule: &Rule) -> Value {
    let (procedures, fields, level) = match &rule.matter {
        Matter::Procedures(codes) => (texts(codes), Value::Null, None),
        Matter::Fields { fields, level } => (Value::Null, json!(fields), *level),
        Matter::Level(level) => (Value::Null, Value::Null, Some(*level)),
    };
    let (authority, of_unit) = match &rule.authority {
        Authority::Party(party) => (Some(party.to_string()), None),
        Authority::OfUnit(kind) => (None, Some(kind.as_str())),
    };
    with_validity(
        rule.validity,
        json!({
            "id": rule.id,
            "authority": authority,
            "authority_of_unit": of_unit,
            "procedures": procedures,
            "fields": fields,
            "level": text(level.as_ref()),
            "case": text(rule.case.as_ref()),
            "units": texts(&rule.units),
            "basis": rule.basis,
        }),
    )
}

fn grant(grant: &Grant) -> Value {
    let holders = match &grant.holders {
        Holders::Parties(parties) => texts(parties),
        Holders::Kind(kind) => json!([format!("kind = {kind}")]),
    };
    let procedures = match &grant.procedures {
        Procedures::Any => json!("any"),
        Procedures::Listed(codes) => texts(codes),
        Procedures::Fields(fields) => json!(fields),
    };
    with_validity(
        grant.validity,
        json!({
            "id": grant.id,
            "right": grant.right.as_str(),
            "holders": holders,
            "procedures": procedures,
            "owner": grant.owner.to_string(),
            "service": grant.call.as_ref().map(|call| &call.service),
            "purposes": grant.call.as_ref().map(|call| names(&call.purposes)),
            "fields": grant.call.as_ref().map(|call| names(&call.fields)),
        }),
    )
}

fn system(system: &System) -> Value {
    with_validity(
        system.validity,
        json!({
            "name": system.name,
            "acts_for": texts(&system.acts_for),
            "description": system.description,
            "certificates": texts(&system.certificates),
            "spiffe_ids": system.spiffe_ids,
            "quota": quota(system.quota),
        }),
    )
}

fn names(names: &Names) -> Value {
    match names {
        Names::Any => json!("any"),
        Names::Listed(names) => json!(names),
    }
}

/// As the files write it; nothing where the gateway's configuration says it.
fn quota(quota: Quota) -> Option<String> {
    let part = |key, value: Option<u32>| value.map(|value| format!("{key} = {value}"));
    let parts = [part("per_second", quota.per_second), part("at_once", quota.at_once)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn with_validity(validity: Validity, mut entry: Value) -> Value {
    entry["valid_from"] = json!(text(validity.from.as_ref()));
    entry["valid_to"] = json!(text(validity.to.as_ref()));
    entry
}

/// As the files write it.
fn limit_text(limit: Limit) -> String {
    match limit {
        Limit::WorkingDays(days) => format!("{days}wd"),
        Limit::CalendarDays(days) => format!("{days}d"),
        Limit::WorkingHours(hours) => format!("{hours}h"),
        Limit::SameDay { cutoff } => format!("same-day {:02}:{:02}", cutoff.hour(), cutoff.minute()),
        Limit::Unlimited => "none".to_owned(),
    }
}

fn whole_json(registry: &Registry, version: Option<&RegistryVersion>) -> Value {
    json!({
        "version": version.map(|version| version.number),
        "sha256": version.map(|version| HEXLOWER.encode(&version.sha256)),
        "applied_at": version.and_then(|version| moment::rfc3339(version.applied_at.as_ref())),
        "applied_by_system": version.map(|version| version.applied_by_system.as_str()),
        "actor": version.map(|version| version.actor.as_str()),
        "note": registry.note(),
        "parties": registry.parties().count(),
        "units": registry.units().count(),
        "procedures": registry.procedures().count(),
        "routes": registry.rules().len(),
        "grants": registry.grants().len(),
        "systems": registry.systems().count(),
    })
}

fn whole(registry: &Registry, version: Option<&RegistryVersion>, lang: Lang) -> String {
    let said = |fact: fn(&RegistryVersion) -> String| version.map(fact).unwrap_or_default();
    let applied = version.and_then(|version| version.applied_at.as_ref());
    Table::of_pairs([
        (lang.pick("Phiên bản", "Version"), said(|version| version.number.to_string())),
        ("SHA-256", said(|version| HEXLOWER.encode(&version.sha256))),
        (lang.pick("Áp dụng lúc", "Applied at"), moment::short(applied, lang)),
        (lang.pick("Hệ thống", "By system"), said(|version| version.applied_by_system.clone())),
        (lang.pick("Cán bộ", "By actor"), said(|version| version.actor.clone())),
        (lang.pick("Ghi chú", "Note"), registry.note().unwrap_or_default().to_owned()),
        (lang.pick("Cơ quan", "Parties"), registry.parties().count().to_string()),
        (lang.pick("Đơn vị hành chính", "Units"), registry.units().count().to_string()),
        (lang.pick("Thủ tục", "Procedures"), registry.procedures().count().to_string()),
        (lang.pick("Quy tắc thẩm quyền", "Routes"), registry.rules().len().to_string()),
        (lang.pick("Quyền", "Grants"), registry.grants().len().to_string()),
        (lang.pick("Hệ thống kết nối", "Systems"), registry.systems().count().to_string()),
    ])
    .to_string()
}

/// A table of the entries, and what the registry says about itself below it.
fn list(entries: &[Map<String, Value>], columns: &[&str], note: Option<&str>) -> String {
    let mut table = Table::new(columns.iter().copied());
    for entry in entries {
        table.row(columns.iter().map(|key| shortened(cell(entry.get(*key)))));
    }
    let note = note.map_or_else(String::new, |note| format!("{note}\n"));
    format!("{table}{note}")
}

/// One entry, key by key; a list that holds sentences gets a line for each.
fn in_full(entry: &Map<String, Value>, keys: &[&str]) -> String {
    let mut table = Table::of_pairs([]);
    for key in keys {
        let value = entry.get(*key);
        let lines: Vec<String> = match value {
            Some(Value::Array(values)) if cell(value).chars().count() > LIST_CELL => {
                values.iter().map(|value| cell(Some(value))).collect()
            }
            _ => vec![cell(value)].into_iter().filter(|cell| !cell.is_empty()).collect(),
        };
        let names = std::iter::once(*key).chain(std::iter::repeat(""));
        lines.into_iter().zip(names).for_each(|(line, name)| table.row([name.to_owned(), line]));
    }
    table.to_string()
}

/// The longest cell of a list.
const LIST_CELL: usize = 60;

/// A list is for looking over; the whole text is shown with the entry itself.
fn shortened(text: String) -> String {
    if text.chars().count() <= LIST_CELL { text } else { text.chars().take(LIST_CELL - 1).chain(['…']).collect() }
}

/// A value as a cell: nothing for what is not there.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => String::new(),
        Some(Value::Bool(true)) => "true".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

fn texts<'a, T: ToString + 'a>(values: impl IntoIterator<Item = &'a T>) -> Value {
    values.into_iter().map(T::to_string).collect()
}

//! What following a national snapshot would change of the province's catalogue, shown before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use lgsp_proto::types::ProcedureCode;

use super::super::Registry;
use super::super::diff::procedure_keys;
use super::super::problem::Fault;
use super::super::procedure::Procedure;
use super::super::validity::Validity;
use super::overlay::Overlay;
use super::reading::{self, LeftOut, Life};
use super::routes::RouteChange;
use super::wire::{Detail, Snapshot};

/// What happens to a procedure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CatalogueChangeKind {
    /// The province did not have it.
    New,
    /// It is published in another form.
    Changed,
    /// It ends, and nothing takes its place.
    Abolished,
    /// It ends, and another takes its place.
    Replaced,
}

/// One procedure that would change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatalogueChange {
    /// Its code.
    pub code: ProcedureCode,
    /// Its published name.
    pub name: String,
    /// What happens to it.
    pub kind: CatalogueChangeKind,
    /// The first day on which it holds in the new form; for one that ends, its last day.
    pub day: Date,
    /// What takes its place.
    pub successor: Option<ProcedureCode>,
    /// Key, value before, value after; for a new one its keys and their values.
    pub fields: Vec<(&'static str, String, String)>,
    /// The version before, as it is now and as it will be.
    pub(super) before: Option<(Procedure, Procedure)>,
    /// The version that is added.
    pub(super) after: Option<Procedure>,
}

/// What following a snapshot would do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// What changes, in the order of codes.
    pub changes: Vec<CatalogueChange>,
    /// Routes that change for the overlay's sake, in the order of codes.
    pub routes: Vec<RouteChange>,
    /// What is left as it is because it cannot be read, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Procedures that are followed and the same.
    pub unchanged: usize,
    /// Procedures that the province does not follow.
    pub not_followed: usize,
    /// Procedures of the province in force that the snapshot does not have; nothing happens to them.
    pub not_listed: Vec<ProcedureCode>,
}

/// The province's catalogue beside a national one.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// The registry as it stands.
    pub registry: &'a Registry,
    /// What the province adds.
    pub overlay: &'a Overlay,
    /// What was published.
    pub snapshot: &'a Snapshot,
    /// The first day for what names none of its own.
    pub from: Date,
}

impl Catalogue<'_> {
    /// What following the snapshot would change. A pure function: the same arguments, the same plan.
    pub fn plan(&self) -> Plan {
        let listed = self.snapshot.left_out.iter();
        let listed = listed.map(|one| LeftOut::new(&one.code, Fault::new(&*one.why_vi, &*one.why_en)));
        let mut plan = Plan {
            changes: Vec::new(),
            routes: Vec::new(),
            left_out: listed.collect(),
            unchanged: 0,
            not_followed: 0,
            not_listed: Vec::new(),
        };
        let mut published: BTreeMap<ProcedureCode, &Detail> = BTreeMap::new();
        for detail in &self.snapshot.procedures {
            match detail.code.parse::<ProcedureCode>() {
                Ok(code) if code.as_str() == detail.code => _ = published.insert(code, detail),
                _ => plan.left_out.push(LeftOut::new(&detail.code, malformed(&detail.code))),
            }
        }
        let followed = self.followed(&published);
        plan.not_followed = published.len() - followed.len();
        for code in published.keys().filter(|code| !self.is_taken_in(code)) {
            if self.registry.procedure(code, self.from).is_ok() {
                plan.not_followed -= 1;
                plan.left_out.push(LeftOut::new(code.as_str(), still_taken_in()));
            }
        }
        for code in &followed {
            match self.change(code, published[code]) {
                Ok(Some(change)) => plan.changes.push(change),
                Ok(None) => plan.unchanged += 1,
                Err(fault) => plan.left_out.push(LeftOut::new(code.as_str(), fault)),
            }
        }
        self.drop_orphans(&mut plan);
        let skipped: BTreeSet<&str> = plan.left_out.iter().map(|one| one.code.as_str()).collect();
        let is_gone = |code: &&ProcedureCode| !published.contains_key(*code) && !skipped.contains(code.as_str());
        let ours: BTreeSet<_> = self.registry.procedures().map(|one| &one.code).collect();
        let in_force = ours.into_iter().filter(|code| self.registry.procedure(code, self.from).is_ok());
        plan.not_listed = in_force.filter(is_gone).cloned().collect();
        self.add_routes(&mut plan);
        plan
    }

    /// The procedures that the registry has, the overlay names, or that take the place of one of those.
    fn followed(&self, published: &BTreeMap<ProcedureCode, &Detail>) -> BTreeSet<ProcedureCode> {
        let is_of_a_field = |detail: &Detail| {
            let field = detail.fields.first().map(|field| &field.name);
            detail.state != "0" && field.is_some_and(|field| self.overlay.fields.contains(field))
        };
        let wants = |code: &ProcedureCode, detail: &Detail| {
            let is_named = self.overlay.procedures.contains_key(code);
            self.is_taken_in(code) && (is_named || self.latest(code).is_some() || is_of_a_field(detail))
        };
        let wanted = published.iter().filter(|(code, detail)| wants(code, detail));
        let mut followed: BTreeSet<ProcedureCode> = wanted.map(|(code, _)| code.clone()).collect();
        let mut open: Vec<ProcedureCode> = followed.iter().cloned().collect();
        while let Some(code) = open.pop() {
            let next = published[&code].successor.parse::<ProcedureCode>().ok();
            if let Some(next) = next.filter(|next| published.contains_key(next) && self.is_taken_in(next))
                && followed.insert(next.clone())
            {
                open.push(next);
            }
        }
        followed
    }

    /// Whether the one-stop desks take it in, for all that the overlay says.
    fn is_taken_in(&self, code: &ProcedureCode) -> bool {
        self.overlay.procedures.get(code).is_none_or(|local| local.one_stop)
    }

    pub(super) fn latest(&self, code: &ProcedureCode) -> Option<&Procedure> {
        self.registry.procedures().filter(|one| one.code == *code).last()
    }

    fn change(&self, code: &ProcedureCode, detail: &Detail) -> Result<Option<CatalogueChange>, Fault> {
        let mut life = Life::of(detail)?;
        // The bus has none of what the desks do not take in, so it cannot name it either.
        life.successor = life.successor.filter(|successor| self.is_taken_in(successor));
        let local = self.overlay.of(code);
        let before = self.latest(code);
        let to = life.to.or_else(|| life.abolished.then(|| self.from.yesterday().ok()).flatten());
        let is_over = to.is_some_and(|to| to < self.from);
        let Some(latest) = before else {
            if is_over || life.abolished {
                return Ok(None);
            }
            let mut after = reading::procedure(code.clone(), detail, None, &local)?;
            let day = life.from.unwrap_or(self.from);
            after.validity = Validity { from: Some(day), to };
            after.successor = life.successor.filter(|_| to.is_some());
            return Ok(Some(CatalogueChange::new(CatalogueChangeKind::New, day, None, Some(after))));
        };
        // Where the registry knows already that it will end, and the national entry does not say so yet, that day stands.
        let own_end = latest.validity.to.filter(|own| to.is_none() && *own >= self.from);
        let (to, successor) = match own_end {
            Some(own) => (Some(own), latest.successor.clone()),
            None => (to, life.successor.filter(|_| to.is_some())),
        };
        if is_over || life.abolished {
            return Ok(self.end(latest, to, life.to.is_some(), successor));
        }
        let mut after = reading::procedure(code.clone(), detail, Some(latest), &local)?;
        same_where_it_means_the_same(&mut after, latest);
        let is_revived = latest.validity.is_over(self.from);
        (after.validity, after.successor) = (latest.validity, latest.successor.clone());
        if !is_revived && procedure_keys(&after) == procedure_keys(latest) {
            return Ok(self.end(latest, to, true, successor));
        }
        (after.validity.to, after.successor) = (to, successor);
        let floor = if is_revived { latest.validity.to } else { latest.validity.from };
        let day = life.from.filter(|day| floor.is_none_or(|floor| *day > floor)).unwrap_or(self.from);
        if let Some(begun) = floor.filter(|floor| day <= *floor) {
            return Err(begins_too_early(begun));
        }
        if let Some(end) = to.filter(|to| day > *to) {
            return Err(begins_too_late(day, end));
        }
        after.validity.from = Some(day);
        let mut shortened = latest.clone();
        if !is_revived {
            shortened.validity.to = day.yesterday().ok();
            shortened.successor = None;
        }
        Ok(Some(CatalogueChange::new(
            CatalogueChangeKind::Changed,
            day,
            Some((latest.clone(), shortened)),
            Some(after),
        )))
    }

    /// The end of what stays the same until then; nothing, where it is known already.
    fn end(
        &self,
        latest: &Procedure,
        to: Option<Date>,
        is_dated: bool,
        successor: Option<ProcedureCode>,
    ) -> Option<CatalogueChange> {
        let to = to?;
        let known = latest.validity.to.filter(|known| !is_dated && *known < self.from);
        let to = known.unwrap_or(to).max(latest.validity.from.unwrap_or(to));
        let successor = successor.or_else(|| latest.successor.clone());
        if latest.validity.to == Some(to) && latest.successor == successor {
            return None;
        }
        let mut ended = latest.clone();
        (ended.validity.to, ended.successor) = (Some(to), successor.clone());
        let kind = match successor {
            Some(_) => CatalogueChangeKind::Replaced,
            None => CatalogueChangeKind::Abolished,
        };
        Some(CatalogueChange::new(kind, to, Some((latest.clone(), ended)), None))
    }

    /// What would name a successor that the catalogue does not have is left out, until nothing does.
    fn drop_orphans(&self, plan: &mut Plan) {
        loop {
            let new: BTreeSet<ProcedureCode> = plan.changes.iter().map(|change| change.code.clone()).collect();
            let has = |code: &ProcedureCode| new.contains(code) || self.latest(code).is_some();
            let orphan = plan.changes.iter().position(|change| change.successor.as_ref().is_some_and(|one| !has(one)));
            let Some(orphan) = orphan else { return };
            let change = plan.changes.remove(orphan);
            let successor = change.successor.map(|one| one.to_string()).unwrap_or_default();
            let fault = Fault::new(
                format!("thủ tục thay thế {successor} không có hoặc không đọc được"),
                format!("its successor {successor} is not there or cannot be read"),
            );
            plan.left_out.push(LeftOut::new(change.code.as_str(), fault));
        }
    }
}

impl CatalogueChange {
    fn new(
        kind: CatalogueChangeKind,
        day: Date,
        before: Option<(Procedure, Procedure)>,
        after: Option<Procedure>,
    ) -> Self {
        let old = before.as_ref().map(|(now, _)| now);
        let new = after.as_ref().or_else(|| before.as_ref().map(|(_, ended)| ended));
        let new = new.expect("a change has a version before or after").clone();
        let keys = |one: Option<&Procedure>| one.map(procedure_keys).unwrap_or_default();
        let (old_keys, new_keys) = (keys(old), keys(Some(&new)));
        let was = |key: &str| {
            old_keys.iter().find(|(one, _)| *one == key).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let fields = new_keys.into_iter().map(|(key, value)| (key, was(key), value));
        let fields = fields.filter(|(_, before, after)| before != after).collect();
        Self { code: new.code, name: new.name, kind, day, successor: new.successor, fields, before, after }
    }
}

/// Takes over how the registry wrote something that says the same: limits that are equal for every case and channel, fees in another
/// order.
fn same_where_it_means_the_same(after: &mut Procedure, latest: &Procedure) {
    use lgsp_proto::types::IntakeChannel;
    let sorted = |of: &Procedure| {
        let mut fees: Vec<_> =
            of.fees.iter().map(|fee| (fee.name.clone(), fee.amount_vnd, fee.channel.map(|c| c as u8))).collect();
        fees.sort();
        fees
    };
    if sorted(after) == sorted(latest) {
        after.fees.clone_from(&latest.fees);
    }
    let by_code =
        |of: &Procedure| of.cases.iter().map(|case| (case.code.clone(), case.name.clone())).collect::<BTreeMap<_, _>>();
    if by_code(after) != by_code(latest) {
        return;
    }
    after.cases.clone_from(&latest.cases);
    let cases = std::iter::once(None).chain(latest.cases.iter().map(|case| Some(&case.code)));
    let mut all = cases.flat_map(|case| IntakeChannel::ALL.map(|channel| (case, channel)));
    if all.all(|(case, channel)| after.limit(case, channel) == latest.limit(case, channel)) {
        after.limits.clone_from(&latest.limits);
    }
}

/// A code that is none, e.g. `1.0133611` or `1.014955-Xoa`.
pub(super) fn malformed(code: &str) -> Fault {
    Fault::new(
        format!("\"{code}\" không đúng dạng mã thủ tục quốc gia"),
        format!("\"{code}\" is no code of the national procedure database"),
    )
}

/// A version that has begun may have dossiers already.
fn begins_too_early(begun: Date) -> Fault {
    Fault::new(
        format!("bản hiện có trong sổ đăng ký chỉ bắt đầu từ {begun} và không được sửa lại; dùng --from sau ngày đó"),
        format!(
            "the registry's version begins on {begun} itself and is not rewritten; take it with --from a later day"
        ),
    )
}

fn begins_too_late(day: Date, end: Date) -> Fault {
    Fault::new(
        format!("nội dung mới có hiệu lực từ {day}, sau ngày cuối {end} trong sổ đăng ký"),
        format!("its new form begins on {day}, after its last day {end} in the registry"),
    )
}

/// The overlay says that the desks do not take it in, and the registry that they do.
fn still_taken_in() -> Fault {
    Fault::new(
        "lớp phủ ghi one_stop = false nhưng sổ đăng ký vẫn có; nêu ngày cuối (valid_to) trong sổ đăng ký",
        "has one_stop = false in the overlay and is in force in the registry; give it a last day (valid_to) there",
    )
}

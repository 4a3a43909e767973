//! The competent agencies that the overlay names, as routes: what would change of them, and the text of `routes.toml` with it.
//!
//! A route that dossiers may have gone is never rewritten: it gets a last day, and what follows is a route of its own. One that a person
//! has made into something else is left to that person.

use std::fmt::Write as _;

use jiff::civil::Date;
use lgsp_proto::types::{PartyId, ProcedureCode};

use super::super::load::ROUTES;
use super::super::problem::Fault;
use super::super::rule::{Authority, Matter, Rule};
use super::super::source::{Problems, Source};
use super::super::validity::Validity;
use super::plan::{Catalogue, CatalogueChangeKind, Plan};
use super::reading::LeftOut;
use super::written::{NotWritten, blocks, headed, split};

const HEAD: &str = "[[route]]";
const BASIS: &str = "lớp phủ của tỉnh / the province's overlay";

/// One route that would be added, perhaps in the place of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteChange {
    /// The procedure it is for.
    pub code: ProcedureCode,
    /// Its identifier.
    pub id: String,
    /// The agency it leads to.
    pub authority: PartyId,
    /// Its first day.
    pub day: Date,
    /// The route that ends the day before, and where that one leads.
    pub before: Option<(String, PartyId)>,
}

impl Catalogue<'_> {
    /// Adds to a plan the routes of what it does not leave out.
    pub(super) fn add_routes(&self, plan: &mut Plan) {
        for (code, local) in &self.overlay.procedures {
            let Some(authority) = local.authority.as_ref().filter(|_| local.one_stop) else { continue };
            let stays = self.latest(code).is_some_and(|latest| !latest.validity.is_over(self.from));
            let comes = |kind| matches!(kind, CatalogueChangeKind::New | CatalogueChangeKind::Changed);
            let is_there = stays || plan.changes.iter().any(|change| change.code == *code && comes(change.kind));
            if !is_there || plan.left_out.iter().any(|one| one.code == code.as_str()) {
                continue;
            }
            match self.route(code, authority) {
                Ok(change) => plan.routes.extend(change),
                Err(fault) => plan.left_out.push(LeftOut::new(code.as_str(), fault)),
            }
        }
    }

    fn route(&self, code: &ProcedureCode, authority: &PartyId) -> Result<Option<RouteChange>, Fault> {
        let first = format!("lop-phu-{}", code.as_str().replace('.', "-"));
        let is_later = |id: &str| {
            let number = id.strip_prefix(&first).and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let ours = self.registry.rules().iter().filter(|rule| rule.id == first || is_later(&rule.id));
        let standing = ours.filter(|rule| !rule.validity.is_over(self.from)).max_by_key(|rule| rule.validity.from);
        let before = match standing {
            None => None,
            Some(rule) => match leads_to(rule, code) {
                None => return Err(made_by_hand(&rule.id)),
                Some(there) if there == authority => return Ok(None),
                Some(there) => {
                    if let Some(begun) = rule.validity.from.filter(|begun| *begun >= self.from) {
                        return Err(begins_too_early(&rule.id, begun));
                    }
                    Some((rule.id.clone(), there.clone()))
                }
            },
        };
        let is_free = |id: &String| self.registry.rules().iter().all(|rule| rule.id != *id);
        let mut ids = std::iter::once(first.clone()).chain((2u32..).map(|number| format!("{first}-{number}")));
        let id = ids.find(is_free).expect("there are more numbers than routes");
        Ok(Some(RouteChange { code: code.clone(), id, authority: authority.clone(), day: self.from, before }))
    }
}

impl Plan {
    /// The text of `routes.toml` with every route that changes. Whether an agency may decide is for the registry's own check to say.
    ///
    /// # Errors
    /// The file cannot be changed so; the text is as it was.
    pub fn routed(&self, text: &str) -> Result<String, NotWritten> {
        if self.routes.is_empty() {
            return Ok(text.to_owned());
        }
        let mut expected = read(text).ok_or(NotWritten::RoutesOtherwise)?;
        let mut blocks = blocks(text, HEAD);
        for change in &self.routes {
            if let Some((id, _)) = &change.before {
                let lost = || NotWritten::Route(id.clone());
                let to = change.day.yesterday().map_err(|_| lost())?;
                let of = |block: &String| read(block).is_some_and(|read| read.iter().any(|rule| rule.id == *id));
                let at = blocks.iter().position(of).ok_or_else(lost)?;
                let (body, behind) = split(&blocks[at]);
                blocks[at] = format!("{}{behind}", headed(body, &["valid_to"], &format!("valid_to = {to}\n")));
                let rule = expected.iter_mut().find(|rule| rule.id == *id).ok_or_else(lost)?;
                rule.validity.to = Some(to);
            }
            let RouteChange { code, id, authority, day, .. } = change;
            let mut block = String::new();
            if blocks.last().is_some_and(|last| !last.is_empty() && !last.ends_with('\n')) {
                block.push('\n');
            }
            let _ = write!(
                block,
                "\n{HEAD}\nid = \"{id}\"\nprocedures = [\"{code}\"]\nauthority = \"{authority}\"\nbasis = \"{BASIS}\"\nvalid_from = {day}\n"
            );
            blocks.push(block);
            expected.push(Rule {
                id: id.clone(),
                matter: Matter::Procedures(vec![code.clone()]),
                case: None,
                units: Vec::new(),
                authority: Authority::Party(authority.clone()),
                basis: Some(BASIS.to_owned()),
                validity: Validity { from: Some(*day), to: None },
            });
        }
        let text = blocks.concat();
        if read(&text) == Some(expected) { Ok(text) } else { Err(NotWritten::RoutesOtherwise) }
    }
}

/// Where a route of this module leads; `None` if it is no longer as it was written here.
fn leads_to<'r>(rule: &'r Rule, code: &ProcedureCode) -> Option<&'r PartyId> {
    let is_whole = rule.case.is_none() && rule.units.is_empty();
    match (&rule.matter, &rule.authority) {
        (Matter::Procedures(codes), Authority::Party(party)) if is_whole && codes.as_slice() == [code.clone()] => {
            Some(party)
        }
        _ => None,
    }
}

/// Every route of a text; `None` if one cannot be read.
fn read(text: &str) -> Option<Vec<Rule>> {
    let problems = Problems::default();
    let source = Source::new(ROUTES, text, &problems);
    let parsed = source.parse()?;
    let all = source.root(&parsed).tables("route").iter().map(Rule::read).collect();
    if problems.is_empty() { all } else { None }
}

fn made_by_hand(id: &str) -> Fault {
    Fault::new(
        format!("tuyến {id} đã được sửa bằng tay; hãy sửa tiếp trong routes.toml"),
        format!("its route {id} was changed by hand; go on changing it in routes.toml"),
    )
}

/// A route that has begun may have led dossiers already.
fn begins_too_early(id: &str, begun: Date) -> Fault {
    Fault::new(
        format!("tuyến {id} chỉ bắt đầu từ {begun} và không được sửa lại; dùng --from sau ngày đó"),
        format!("its route {id} begins on {begun} itself and is not rewritten; take it with --from a later day"),
    )
}

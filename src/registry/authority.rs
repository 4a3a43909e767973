//! Who gains and who loses what by a plan: for people, holders with the same stand in one line and long lists are cut; for
//! programs, everything as it came.

use std::collections::BTreeMap;

use lgsp_proto::v1::{AuthorityChange, LockOut, StillCertified};
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::moment;
use crate::table::Table;

/// Characters of a list in one cell.
const CELL: usize = 60;

/// The gains and losses as a table under its own heading, losses first; nothing when there are none.
pub(super) fn text(changes: &[AuthorityChange], lang: Lang) -> String {
    if changes.is_empty() {
        return lang
            .pick("Hôm nay không ai được thêm hay mất quyền gì\n\n", "Today nobody gains or loses anything\n\n")
            .to_owned();
    }
    let mut holders: BTreeMap<(bool, &str, &str, &str), Vec<&str>> = BTreeMap::new();
    for change in changes {
        let key = (change.gained, change.holder_kind.as_str(), change.right.as_str(), change.scope.as_str());
        holders.entry(key).or_default().push(&change.holder);
    }
    let heading = match lang {
        Lang::Vi => ["Hôm nay", "Ai", "Quyền", "Phạm vi"],
        Lang::En => ["Today", "Who", "Right", "For what"],
    };
    let mut table = Table::new(heading);
    for ((gained, kind, right, scope), who) in holders {
        let change = if gained { lang.pick("+ được", "+ gains") } else { lang.pick("- mất", "- loses") };
        let kind = match kind {
            "system" => lang.pick("hệ thống ", "system "),
            _ => "",
        };
        table.row([change.to_owned(), format!("{kind}{}", cut(&who)), right.to_owned(), cut_scope(scope)]);
    }
    format!("{table}\n")
}

fn cut_scope(scope: &str) -> String {
    cut(&scope.split(", ").collect::<Vec<_>>())
}

/// As many of a list as fit a cell, and how many more there are.
fn cut(names: &[&str]) -> String {
    let mut shown = String::new();
    for (at, name) in names.iter().enumerate() {
        if at > 0 && shown.chars().count() + name.chars().count() > CELL {
            return format!("{shown} … (+{})", names.len() - at);
        }
        shown = if at == 0 { (*name).to_owned() } else { format!("{shown}, {name}") };
    }
    shown
}

/// A warning for every right that would be out of reach.
pub(super) fn lock_outs(lock_outs: &[LockOut], lang: Lang) -> String {
    let line = |one: &LockOut| {
        let right = &one.right;
        if one.for_everybody {
            lang.pick(
                format!("CẢNH BÁO: sau đó không còn ai dùng được quyền \"{right}\""),
                format!("WARNING: after this nobody could use the right \"{right}\" any more"),
            )
        } else {
            lang.pick(
                format!("CẢNH BÁO: sau đó chính bạn không còn dùng được quyền \"{right}\""),
                format!("WARNING: after this you could not use the right \"{right}\" any more"),
            )
        }
    };
    let lines: String = lock_outs.iter().map(|one| line(one) + "\n").collect();
    if lines.is_empty() {
        return lines;
    }
    lines + lang.pick("Chỉ áp dụng được với --yes-lock-out.\n", "It is applied with --yes-lock-out only.\n")
}

/// A warning for every system that would be gone before its certificates.
pub(super) fn still_certified(systems: &[StillCertified], lang: Lang) -> String {
    let line = |one: &StillCertified| {
        let (system, until) = (&one.system, moment::short(one.not_after.as_ref(), lang));
        lang.pick(
            format!("CẢNH BÁO: hệ thống {system} bị bỏ khi chứng thư của nó còn hiệu lực đến {until}; từ đó nó bị từ chối\n"),
            format!("WARNING: the system {system} goes while its certificate is good until {until}; from then on it is refused\n"),
        )
    };
    systems.iter().map(line).collect()
}

/// Everything, as it came.
pub(super) fn still_certified_json(systems: &[StillCertified]) -> Value {
    systems
        .iter()
        .map(|one| json!({ "system": one.system, "not_after": moment::rfc3339(one.not_after.as_ref()) }))
        .collect()
}

/// Everything, as it came.
pub(super) fn json(changes: &[AuthorityChange]) -> Value {
    let one = |change: &AuthorityChange| {
        json!({
            "gained": change.gained, "holder_kind": change.holder_kind, "holder": change.holder, "right": change.right,
            "scope": change.scope,
        })
    };
    changes.iter().map(one).collect()
}

/// Everything, as it came.
pub(super) fn lock_outs_json(lock_outs: &[LockOut]) -> Value {
    lock_outs.iter().map(|one| json!({ "right": one.right, "for_everybody": one.for_everybody })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_the_same_stand_in_one_line_and_long_lists_are_cut() {
        let change = |gained, number: usize| AuthorityChange {
            gained,
            holder_kind: "party".into(),
            holder: format!("H57.{number}"),
            right: "submit".into(),
            scope: "any".into(),
        };
        let mut changes: Vec<_> = (101..141).map(|number| change(false, number)).collect();
        changes.push(change(true, 999));
        let said = text(&changes, Lang::En);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{said}");
        assert!(lines[1].starts_with("- loses  H57.101, H57.102, ") && lines[1].contains("… (+3"), "{said}");
        assert!(lines[2].starts_with("+ gains  H57.999"), "{said}");
    }
}

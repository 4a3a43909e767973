//! The command that explains a refusal: those of the adapter's own reasons. The bus's have theirs in [`lgsp_proto::explain`].

use std::collections::BTreeMap;

use lgsp_proto::explain;

/// The command for a reason, with what the refusal itself says about the case.
pub(crate) fn command(reason: &str, details: &BTreeMap<String, String>) -> String {
    let command = match reason {
        "EXCEPTION_NOT_FOUND" | "EXCEPTION_HANDLED" => "lgsp desk exceptions list",
        "WEBHOOK_NOT_FOUND" => "lgsp webhook list",
        "RESOURCE_NOT_FOUND" | "METHOD_NOT_ALLOWED" => "lgsp openapi",
        word => return explain::command(word, details),
    };
    command.to_owned()
}

/// Every command there is, without what a case adds: for the description. What prints a page is there once.
pub(crate) fn all() -> Vec<String> {
    let locals = super::LocalReason::ALL.into_iter().map(super::LocalReason::word);
    let words = lgsp_proto::Reason::ALL.iter().map(|reason| reason.as_str()).chain(locals);
    let of_its_own =
        |word: &str| Some(command(word, &BTreeMap::new())).filter(|command| *command != explain::page(word));
    let mut commands: Vec<_> = words.filter_map(of_its_own).chain([explain::page("")]).collect();
    commands.sort_unstable();
    commands.dedup();
    commands
}

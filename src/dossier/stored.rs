//! A dossier out of a stopped node's data folder, in the message by which a gateway would have told it.

use std::path::Path;

use lgsp_gateway::api::dossier_message;
use lgsp_gateway::store::read_only::ReadOnly;

use super::show::Standing;
use crate::failure::{Failure, because};
use crate::lang::Lang;

/// Reads the dossier with this code or alias.
pub(super) fn read(dir: &Path, node_key: &Path, code: &str, lang: Lang) -> anyhow::Result<Standing> {
    let folder = ReadOnly::open(dir, node_key)
        .map_err(|error| Failure::usage(because(&error) + crate::fsck::what_to_do(&error, lang)))?;
    let history = folder.history(code)?.ok_or_else(|| {
        Failure::usage(lang.pick(
            format!("{} không có hồ sơ {code:?}", dir.display()),
            format!("{} holds no dossier {code:?}", dir.display()),
        ))
    })?;
    let erased = history.events.iter().any(|recorded| recorded.erased);
    let events = history.events.into_iter().map(|recorded| recorded.event).collect();
    // A folder at rest knows no later time than the last event's.
    let dossier = dossier_message(&history.dossier, history.dossier.updated_at);
    Ok(Standing { dossier, events, erased, look_ups: Vec::new(), more_look_ups: false })
}

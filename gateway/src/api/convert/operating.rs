//! What operators ask for.

use lgsp_proto::{Refusal, Wrong, v1};

use super::Fields;
use super::reading::{Asking, asking, dossier_name};
use crate::engine::archiving::Progress;
use crate::store::Erased;

/// The longest ground. It names a decision; what the decision says is elsewhere.
const GROUND_MAX: usize = 64;

/// A dossier to be erased.
pub(crate) struct Erase {
    pub(crate) asking: Asking,
    pub(crate) dossier: String,
    pub(crate) ground: String,
}

/// Reads a request to erase.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn erase(request: &v1::EraseRequest) -> Result<Erase, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let dossier = dossier_name(&mut fields, "dossier_code", &request.dossier_code);
    let ground = ground(&mut fields, &request.ground);
    let read = (|| Some(Erase { asking: asking?, dossier: dossier?, ground: ground? }))();
    fields.finish(read)
}

/// Reads a ground: a word, so that nobody is named in it.
pub(super) fn ground(fields: &mut Fields, ground: &str) -> Option<String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if ground.is_empty() || ground.len() > GROUND_MAX || !ground.bytes().all(is_word) {
        return fields.problem(
            "ground",
            Wrong::new(
                "không phải một từ gồm 1 đến 64 chữ cái ASCII, chữ số, \"-\", \"_\", \".\" và \"/\"",
                "is not a word of 1 to 64 ASCII letters, digits, \"-\", \"_\", \".\" and \"/\"",
            ),
        );
    }
    Some(ground.to_owned())
}

/// What came of it.
pub(crate) fn erased(erased: &Erased) -> v1::EraseResponse {
    let erasure = &erased.erasure;
    v1::EraseResponse {
        dossier_code: erasure.code.to_string(),
        erased_at: Some(erasure.at.into()),
        ground: erasure.ground.clone(),
        keys: u32::try_from(erasure.key_ids.len()).unwrap_or(u32::MAX),
        repeated: erased.repeated,
    }
}

/// The longest time that closed dossiers may be left where they are, in days: a hundred years.
const AFTER_DAYS_MAX: u32 = 36_600;

/// Dossiers to be archived.
pub(crate) struct Archive {
    pub(crate) asking: Asking,
    pub(crate) after_days: Option<u32>,
}

/// Reads a request to archive.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn archive(request: &v1::ArchiveRequest) -> Result<Archive, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let after_days = request.after_days;
    if after_days.is_some_and(|days| !(1..=AFTER_DAYS_MAX).contains(&days)) {
        fields.problem::<()>(
            "after_days",
            Wrong::new("không phải số ngày từ 1 đến 36600", "is not a number of days from 1 to 36600"),
        );
    }
    let read = asking.map(|asking| Archive { asking, after_days });
    fields.finish(read)
}

/// How far a run has come.
pub(crate) fn archived(progress: &Progress, done: bool) -> v1::ArchiveResponse {
    let archive = progress.archive.as_ref();
    v1::ArchiveResponse {
        looked_at: progress.looked_at,
        written: progress.written,
        archived: progress.archived,
        archive: archive.map(|archive| archive.name.clone()).unwrap_or_default(),
        archive_sha256: archive.map(|archive| archive.sha256.as_bytes().to_vec().into()).unwrap_or_default(),
        archive_bytes: archive.map_or(0, |archive| archive.bytes),
        done,
    }
}

//! What operators ask for.

use lgsp_proto::{Refusal, v1};

use super::Fields;
use super::reading::{Asking, asking, dossier_name};
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
    let ground = &request.ground;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if ground.is_empty() || ground.len() > GROUND_MAX || !ground.bytes().all(is_word) {
        fields.problem::<()>("ground", "is not a word of 1 to 64 ASCII letters, digits, \"-\", \"_\", \".\" and \"/\"");
    }
    let read = asking.zip(dossier).map(|(asking, dossier)| Erase { asking, dossier, ground: ground.clone() });
    fields.finish(read)
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

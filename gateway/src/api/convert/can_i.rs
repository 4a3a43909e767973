//! What is asked of the registry: whether something would be allowed, and which versions there were.

use data_encoding::BASE64URL_NOPAD;
use lgsp_domain::can_i::{Outcome, Step};
use lgsp_domain::registry::Right;
use lgsp_proto::types::Malformed;
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::Fields;
use super::reading::{self, Asking};
use crate::engine::can_i::{Asked, AskedCall};

/// Names of services, purposes and fields are at most so long in the registry, so longer ones are granted to nobody.
const NAME_BYTES_MAX: usize = 64;

/// Fields asked for at once.
const FIELDS_MAX: usize = 256;

/// Versions on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: u32 = 500;

/// First byte of a page token.
const TOKEN_VERSION: u8 = 1;

/// Reads a question.
///
/// # Errors
/// `FIELD_INVALID` with every problem.
pub(crate) fn asked(request: v1::CanIRequest) -> Result<(Asking, Asked), Refusal> {
    let mut fields = Fields::default();
    let asking = reading::asking(&mut fields, &request.acting_party, &request.actor);
    let party = fields.optional("party", &request.party);
    let right = right(&mut fields, &request.right);
    let procedure = fields.optional("procedure_code", &request.procedure_code);
    let dossier = match request.dossier_code.as_str() {
        "" => Some(None),
        name => reading::dossier_name(&mut fields, "dossier_code", name).map(Some),
    };
    if !request.procedure_code.is_empty() && !request.dossier_code.is_empty() {
        let _ = fields.problem::<()>(
            "procedure_code",
            Wrong::new(
                "được nêu cùng hồ sơ, mà hồ sơ đã xác định thủ tục",
                "is given beside a dossier, which stands for its procedure",
            ),
        );
    }
    let has_matter = !(request.procedure_code.is_empty() && request.dossier_code.is_empty());
    if has_matter && right.flatten().is_some_and(|right| !right.is_about_procedures()) {
        let _ = fields.problem::<()>(
            "right",
            Wrong::new("không liên quan đến thủ tục hay hồ sơ", "is not about procedures or dossiers"),
        );
    }
    let call = call(&mut fields, &request, right.flatten());
    let system = name(&mut fields, "system", &request.system);
    let read = (|| {
        let asked = Asked {
            system: system?,
            party: party?,
            right: right?,
            procedure: procedure?,
            dossier: dossier?,
            call: call?,
        };
        Some((asking?, asked))
    })();
    fields.finish(read)
}

fn right(fields: &mut Fields, word: &str) -> Option<Option<Right>> {
    if word.is_empty() {
        return Some(None);
    }
    let known = Right::ALL.iter().copied().find(|right| right.as_str() == word);
    let words = || Right::ALL.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(", ");
    let wrong = |words: String| Wrong::new(format!("không thuộc: {words}"), format!("is none of: {words}"));
    known.map(Some).or_else(|| fields.problem("right", wrong(words())))
}

fn call(fields: &mut Fields, request: &v1::CanIRequest, right: Option<Right>) -> Option<Option<AskedCall>> {
    if right != Some(Right::Call) {
        let given = [
            ("service", request.service.is_empty()),
            ("purpose", request.purpose.is_empty()),
            ("fields", request.fields.is_empty()),
        ];
        let mut wrong = given.into_iter().filter(|(_, is_empty)| !is_empty).map(|(field, _)| field);
        return match wrong.next() {
            None => Some(None),
            Some(field) => {
                fields.problem(field, Wrong::new("chỉ dùng với quyền \"call\"", "belongs to the right \"call\" only"))
            }
        };
    }
    let service = name(fields, "service", &request.service);
    let purpose = name(fields, "purpose", &request.purpose);
    let asked = fields.list("fields", &request.fields, FIELDS_MAX, |fields, field, text| {
        name(fields, field, text)?.or_else(|| fields.problem(field, Malformed::Empty))
    });
    let mut required = |field, read: Option<Option<String>>| read?.or_else(|| fields.problem(field, Malformed::Empty));
    let (service, purpose) = (required("service", service), required("purpose", purpose));
    Some(Some(AskedCall { service: service?, purpose: purpose?, fields: asked? }))
}

fn name(fields: &mut Fields, field: &str, text: &str) -> Option<Option<String>> {
    if text.len() > NAME_BYTES_MAX {
        return fields.problem(
            field,
            Wrong::new(format!("dài hơn {NAME_BYTES_MAX} byte"), format!("has more than {NAME_BYTES_MAX} bytes")),
        );
    }
    Some((!text.is_empty()).then(|| text.to_owned()))
}

/// Writes one condition.
pub(crate) fn step(step: Step) -> v1::CanIStep {
    let met = step.is_met();
    let (by, reason, owner) = match step.outcome {
        Outcome::Met { by } => (by, String::new(), None),
        Outcome::Missing { reason, owner } => (String::new(), reason.to_string(), owner),
    };
    let (owner, owner_name) = owner.map_or_else(Default::default, |owner| (owner.id.to_string(), owner.name.into()));
    v1::CanIStep {
        condition: step.condition.as_str().to_owned(),
        met,
        by,
        reason,
        owner,
        owner_name,
        message_vi: step.vi,
        message_en: step.en,
    }
}

/// Which versions are asked for.
pub(crate) struct Versions {
    pub(crate) asking: Asking,
    /// Before which one; `None` for the newest.
    pub(crate) before: Option<u64>,
    pub(crate) most: usize,
}

/// Reads which versions are asked for.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn versions(request: &v1::RegistryVersionsRequest) -> Result<Versions, Refusal> {
    let mut fields = Fields::default();
    let asking = reading::asking(&mut fields, &request.acting_party, &request.actor);
    let most = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        1..=PAGE_MAX => Some(request.page_size as usize),
        _ => fields.problem(
            "page_size",
            Wrong::new(format!("không nằm trong khoảng 1 đến {PAGE_MAX}"), format!("is not 1 to {PAGE_MAX}")),
        ),
    };
    let read = asking.zip(most);
    let (asking, most) = fields.finish(read)?;
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(version_of(token).ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))?),
    };
    Ok(Versions { asking, before, most })
}

/// The token of a page after which the versions before `next` come. No secret, and nothing is left out by another number.
pub(crate) fn version_token(next: u64) -> String {
    let mut bytes = vec![TOKEN_VERSION];
    bytes.extend(next.to_be_bytes());
    BASE64URL_NOPAD.encode(&bytes)
}

fn version_of(token: &str) -> Option<u64> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let number = bytes.strip_prefix(&[TOKEN_VERSION])?.try_into().ok()?;
    Some(u64::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::CanIRequest {
        v1::CanIRequest { acting_party: "H57.101".into(), actor: "can.bo".into(), ..v1::CanIRequest::default() }
    }

    fn faults(request: v1::CanIRequest) -> Vec<String> {
        let refusal = asked(request).unwrap_err();
        refusal.violations().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn what_does_not_belong_together_is_told_at_once() {
        let both = v1::CanIRequest {
            right: "fly".into(),
            procedure_code: "1.000001".into(),
            dossier_code: "H57.101-250714-0001".into(),
            service: "x".into(),
            party: "nobody".into(),
            ..request()
        };
        assert_eq!(faults(both), ["party", "right", "procedure_code", "service"]);
        let operate = v1::CanIRequest { right: "operate".into(), procedure_code: "1.000001".into(), ..request() };
        assert_eq!(faults(operate), ["right"]);
        let call = v1::CanIRequest { right: "call".into(), fields: vec![String::new()], ..request() };
        assert_eq!(faults(call), ["fields[0]", "service", "purpose"]);
        assert!(asked(request()).is_ok(), "whether the system acts for the party");
    }

    #[test]
    fn a_page_of_versions_goes_on_where_the_last_one_ended() {
        let page = |page_token, page_size| {
            let acting_party = "H57.101".into();
            versions(&v1::RegistryVersionsRequest { acting_party, actor: "can.bo".into(), page_size, page_token })
        };
        let read = |token, size| page(token, size).map(|read| (read.before, read.most));
        assert_eq!(read(String::new(), 0), Ok((None, PAGE_DEFAULT)));
        assert_eq!(read(version_token(7), 3), Ok((Some(7), 3)));
        assert_eq!(read("abc".into(), 3), Err(Refusal::new(Reason::PageTokenInvalid)));
        assert_eq!(read(String::new(), 501).unwrap_err().violations()[0].field, "page_size");
    }
}

//! Messages about what is declined, parked, and taken back.

use data_encoding::BASE64URL_NOPAD;
use lgsp_proto::types::{ActorId, PartyId, Text};
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::Fields;
use super::reading::{Asking, asking, dossier_name, some_parties};
use crate::engine::parked::{Decision, ParkedPage, ParkedQuery, ParkedView, action_number};
use crate::engine::receipt::machine_timestamp;
use crate::store::{Handled, Installation, MAIN, ParkedAction};

/// Parked dossiers on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: u32 = 200;

/// The longest ground a clerk may give.
const WHY_MAX: usize = 500;

/// What begins a page token, so that none of another list is taken for one.
const TOKEN: &[u8] = b"parked";

/// Reads which installation is meant; an empty one is the only one.
pub(super) fn instance<'a>(fields: &mut Fields, field: &str, instance: &'a str) -> Option<&'a str> {
    if instance.is_empty() { Some(MAIN) } else { word(fields, field, instance) }
}

/// Reads a word that goes into logs and records as it is, so that it must be one and nothing else.
pub(super) fn word<'a>(fields: &mut Fields, field: &str, word: &'a str) -> Option<&'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=64).contains(&word.len()) && word.chars().all(is_word) {
        return Some(word);
    }
    fields.problem(
        field,
        Wrong::new(
            "không phải một từ gồm 1 đến 64 ký tự A-Z a-z 0-9 _ - .",
            "is not a word of 1 to 64 of A-Z a-z 0-9 _ - .",
        ),
    )
}

/// Reads a question for parked dossiers.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn query(request: &v1::ParkedRequest) -> Result<(Asking, ParkedQuery), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let parties = some_parties(&mut fields, "parties", &request.parties);
    let dossier = match request.dossier_code.as_str() {
        "" => Some(None),
        name => dossier_name(&mut fields, "dossier_code", name).map(Some),
    };
    let limit = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        size @ 1..=PAGE_MAX => usize::try_from(size).ok(),
        _ => fields.page_too_long(PAGE_MAX),
    };
    let read = (|| Some((asking?, ParkedQuery { parties: parties?, dossier: dossier?, limit: limit?, after: None })))();
    let (asking, mut query) = fields.finish(read)?;
    if !request.page_token.is_empty() {
        query.after = Some(after(&request.page_token)?);
    }
    Ok((asking, query))
}

/// A page token is a place in the list of all; what a page shows is decided by the caller's rights each time.
fn token(position: u64) -> String {
    BASE64URL_NOPAD.encode(&[TOKEN, &position.to_be_bytes()].concat())
}

fn after(token: &str) -> Result<u64, Refusal> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let position = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes.strip_prefix(TOKEN)?).ok());
    position.map(u64::from_be_bytes).ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))
}

/// The answer to [`query`].
pub(crate) fn page(page: ParkedPage) -> v1::ParkedResponse {
    v1::ParkedResponse {
        dossiers: page.dossiers.into_iter().map(dossier).collect(),
        next_page_token: page.next.map(token).unwrap_or_default(),
        history: page.history.into_iter().map(action).collect(),
    }
}

fn dossier(view: ParkedView) -> v1::ParkedDossier {
    let parked = view.standing.parked;
    v1::ParkedDossier {
        r#ref: Some(named(&parked.party, parked.code.as_str(), parked.sequence)),
        kind: view.kind,
        reason: parked.reason,
        decline_kind: parked.kind.into(),
        attempts: parked.attempts,
        parked_at: Some(machine_timestamp(parked.at)),
        waiting: view.standing.waiting,
        system: parked.system,
    }
}

fn action(handled: Handled) -> v1::ParkedAction {
    v1::ParkedAction {
        r#ref: Some(named(&handled.party, handled.code.as_str(), handled.sequence)),
        action: action_number(handled.action).into(),
        acting_party: handled.acting_party.to_string(),
        actor: handled.actor.to_string(),
        system: handled.system,
        at: Some(machine_timestamp(handled.at)),
        why: handled.why,
    }
}

fn named(party: &PartyId, code: &str, sequence: u32) -> v1::DeliveryRef {
    v1::DeliveryRef { party: party.to_string(), dossier_code: code.to_owned(), sequence }
}

/// Reads a decision about a parked dossier: the party in whose name, and what.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn decision(request: &v1::HandleParkedRequest) -> Result<(PartyId, Decision), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let none = v1::DeliveryRef::default();
    let named = request.r#ref.as_ref().unwrap_or(&none);
    let party = fields.required("ref.party", &named.party);
    let code = fields.required("ref.dossier_code", &named.dossier_code);
    let action = match fields.number::<v1::ParkedActionKind>("action", request.action) {
        Some(v1::ParkedActionKind::Retry) => Some(ParkedAction::Retry),
        Some(v1::ParkedActionKind::Skip) => Some(ParkedAction::Skip),
        Some(v1::ParkedActionKind::Unspecified) | None => None,
    };
    let why = fields.required::<Text<WHY_MAX>>("why", &request.why).map(|_| request.why.clone());
    let read = (|| {
        let Asking { party: asking, actor } = asking?;
        let sequence = named.sequence;
        Some((asking, Decision { actor, party: party?, code: code?, sequence, action: action?, why: why? }))
    })();
    fields.finish(read)
}

/// What is to be taken from an installation: in whose name, by whom and on what ground, for whom, from which.
pub(crate) struct Release {
    pub(crate) asking: PartyId,
    pub(crate) actor: ActorId,
    pub(crate) ground: String,
    pub(crate) party: PartyId,
    pub(crate) installation: Installation,
}

/// Reads what is to be taken from an installation.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn release(request: &v1::ReleaseRequest) -> Result<Release, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let party = fields.required("party", &request.party);
    let system = word(&mut fields, "system", &request.system);
    let instance = instance(&mut fields, "instance", &request.instance);
    let ground = word(&mut fields, "why", &request.why);
    let read = (|| {
        let Asking { party: asking, actor } = asking?;
        let installation = Installation { system: system?.to_owned(), instance: instance?.to_owned() };
        Some(Release { asking, actor, ground: ground?.to_owned(), party: party?, installation })
    })();
    fields.finish(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(refusal: &Refusal) -> Vec<&str> {
        refusal.violations().iter().map(|violation| violation.field.as_str()).collect()
    }

    #[test]
    fn a_page_token_is_the_place_after_which_to_go_on_and_nothing_else_is_one() {
        assert_eq!(after(&token(7)).unwrap(), 7);
        for other in ["", "7", &BASE64URL_NOPAD.encode(&7u64.to_be_bytes())] {
            assert_eq!(after(other).unwrap_err().reason(), Reason::PageTokenInvalid, "{other}");
        }
    }

    #[test]
    fn every_problem_of_a_decision_is_named() {
        let request = v1::HandleParkedRequest { acting_party: "H57 1".into(), ..v1::HandleParkedRequest::default() };
        let found = decision(&request).unwrap_err();
        assert_eq!(paths(&found), ["acting_party", "actor", "ref.party", "ref.dossier_code", "action", "why"]);
    }

    #[test]
    fn a_ground_for_taking_back_is_a_word() {
        let request = |why: &str| v1::ReleaseRequest {
            acting_party: "H57.1".into(),
            actor: "clerk.1".into(),
            party: "H57.2".into(),
            system: "mot-cua".into(),
            instance: String::new(),
            why: why.into(),
        };
        let read = release(&request("DISK_LOST")).unwrap();
        assert_eq!((read.installation.instance.as_str(), read.ground.as_str()), ("main", "DISK_LOST"));
        assert_eq!(paths(&release(&request("máy của bà A hỏng")).err().unwrap()), ["why"]);
    }
}

//! Requests that ask: who asks, about what, from where on.

use std::collections::HashSet;

use lgsp_proto::types::{ActorId, Alias, PartyId, Status};
use lgsp_proto::{Refusal, Wrong, v1};

use bytes::Bytes;

use super::{Fields, page, parked};
use crate::engine::inbox::{Declined, DeliveryName};
use crate::engine::reading::Matter;
use crate::store::{Bodies, Cursor, ListQuery, Stage};

/// Dossiers on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: u32 = 200;

/// Parties of one stream or question: more than any system acts for today. Each costs a place in an inbox's memory.
const PARTIES_MAX: usize = 256;

/// Deliveries under way on one stream, and in one acknowledgement.
const CREDIT_MAX: u32 = 1024;
const DELIVERIES_MAX: usize = 1024;

/// Who asks: a party, through a clerk.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) party: PartyId,
    pub(crate) actor: ActorId,
}

/// Reads who asks.
pub(super) fn asking(fields: &mut Fields, party: &str, actor: &str) -> Option<Asking> {
    let party = fields.required("acting_party", party);
    let actor = fields.required("actor", actor);
    Some(Asking { party: party?, actor: actor? })
}

/// Reads who asks, where nothing else is to be read.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn only_asking(party: &str, actor: &str) -> Result<Asking, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, party, actor);
    fields.finish(asking)
}

/// Reads a dossier's name: its code, or an alias, whose rules of form hold for codes too.
pub(super) fn dossier_name(fields: &mut Fields, field: &str, name: &str) -> Option<String> {
    fields.required::<Alias>(field, name).map(|_| name.to_owned())
}

/// A request for one dossier.
pub(crate) struct Get {
    pub(crate) asking: Asking,
    pub(crate) dossier: String,
    pub(crate) bodies: Bodies,
    pub(crate) after: u32,
}

/// Reads a request for one dossier.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn get(request: &v1::GetRequest) -> Result<Get, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let dossier = dossier_name(&mut fields, "dossier_code", &request.dossier_code);
    let bodies = if request.with_bodies { Bodies::With } else { Bodies::Without };
    let read = asking.zip(dossier);
    let (asking, dossier) = fields.finish(read)?;
    Ok(Get { asking, dossier, bodies, after: request.after_sequence })
}

/// Reads a request for a page of dossiers; `query.party` is for the engine to set.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn list(request: &v1::ListRequest) -> Result<(Asking, ListQuery), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let none = v1::Filter::default();
    let filter = request.filter.as_ref().unwrap_or(&none);
    // Ten statuses there are; naming one twice says nothing new.
    let statuses = fields.list("filter.statuses", &filter.statuses, 10, |fields, field, number| {
        let known = Status::ALL.into_iter().find(|status| i32::from(status.number()) == *number);
        known.or_else(|| fields.unknown(field))
    });
    let procedure = fields.optional("filter.procedure_code", &filter.procedure_code);
    let competent_authority = fields.optional("filter.competent_authority", &filter.competent_authority);
    let intake_desk = fields.optional("filter.intake_desk", &filter.intake_desk);
    let received_from = fields.optional_time("filter.received_from", filter.received_from.as_ref());
    let received_to = fields.optional_time("filter.received_to", filter.received_to.as_ref());
    let limit = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        size @ 1..=PAGE_MAX => usize::try_from(size).ok(),
        _ => fields.page_too_long(PAGE_MAX),
    };
    let read = (|| {
        let query = ListQuery {
            party: None,
            statuses: statuses?,
            procedure: procedure?,
            competent_authority: competent_authority?,
            intake_desk: intake_desk?,
            received_from: received_from?,
            received_to: received_to?,
            only_non_territorial: filter.only_non_territorial,
            only_late_at: None,
            limit: limit?,
            cursor: None,
        };
        Some((asking?, query))
    })();
    let (asking, mut query) = fields.finish(read)?;
    if !request.page_token.is_empty() {
        query.cursor = Some(page::parse(&request.page_token, &asking.party, filter)?);
    }
    Ok((asking, query))
}

/// The page that answers `request`.
pub(crate) fn list_response(
    request: &v1::ListRequest,
    party: &PartyId,
    dossiers: impl Iterator<Item = v1::Dossier>,
    next: Option<&Cursor>,
) -> v1::ListResponse {
    let filter = request.filter.clone().unwrap_or_default();
    v1::ListResponse {
        dossiers: dossiers.collect(),
        next_page_token: next.map(|cursor| page::token(cursor, party, &filter)).unwrap_or_default(),
    }
}

/// Reads what is to be routed.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn matter(request: &v1::ExplainRouteRequest) -> Result<(Asking, Matter), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let procedure = fields.required("procedure_code", &request.procedure_code);
    let case = fields.optional("case_code", &request.case_code);
    let locality = fields.required("locality", &request.locality);
    let at = fields.optional_time("at", request.at.as_ref());
    let read = (|| Some((asking?, Matter { procedure: procedure?, case: case?, locality: locality?, at: at? })))();
    fields.finish(read)
}

/// How an inbox stream is opened.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) parties: Vec<PartyId>,
    pub(crate) credit: u32,
    pub(crate) instance: String,
    pub(crate) spool: Bytes,
}

/// Reads the opening of an inbox stream: for whom, with how much credit, and into which spool.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn open(request: &v1::OpenInbox) -> Result<Open, Refusal> {
    let mut fields = Fields::default();
    let parties = parties(&mut fields, "open.parties", &request.parties);
    let credit = credit(&mut fields, "open.credit", request.credit);
    let spool = match request.spool.len() {
        0 | 16 => Some(request.spool.clone()),
        _ => fields.problem("open.spool", Wrong::new("không dài 16 byte", "is not 16 bytes")),
    };
    let instance = parked::instance(&mut fields, "open.instance", &request.instance);
    let read = (|| Some(Open { parties: parties?, credit: credit?, instance: instance?.to_owned(), spool: spool? }))();
    fields.finish(read)
}

/// Reads more credit.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn more_credit(request: &v1::Credit) -> Result<u32, Refusal> {
    let mut fields = Fields::default();
    let more = credit(&mut fields, "credit.more", request.more);
    fields.finish(more)
}

fn credit(fields: &mut Fields, field: &str, credit: u32) -> Option<u32> {
    match credit {
        1..=CREDIT_MAX => Some(credit),
        _ => fields.problem(
            field,
            Wrong::new(
                format!("không nằm trong khoảng 1 đến {CREDIT_MAX}"),
                format!("is not within 1 and {CREDIT_MAX}"),
            ),
        ),
    }
}

/// Reads an acknowledgement.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn acknowledge(request: &v1::Acknowledge) -> Result<(Stage, Vec<DeliveryName>), Refusal> {
    let mut fields = Fields::default();
    let stage = match fields.number::<v1::AcknowledgeStage>("acknowledge.stage", request.stage) {
        Some(v1::AcknowledgeStage::TakenOver) => Some(Stage::TakenOver),
        Some(v1::AcknowledgeStage::HandedOver) => Some(Stage::HandedOver),
        Some(v1::AcknowledgeStage::Unspecified) | None => None,
    };
    let names = deliveries(&mut fields, "acknowledge.deliveries", &request.deliveries);
    let read = stage.zip(names);
    fields.finish(read)
}

/// Reads what is declined, and why.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn decline(request: &v1::Decline) -> Result<(Declined, Vec<DeliveryName>), Refusal> {
    let mut fields = Fields::default();
    let names = deliveries(&mut fields, "decline.deliveries", &request.deliveries);
    let reason = parked::word(&mut fields, "decline.reason", &request.reason);
    let kind = match v1::DeclineKind::try_from(request.kind) {
        Ok(v1::DeclineKind::Unspecified) => Some(v1::DeclineKind::Transient),
        Ok(kind) => Some(kind),
        Err(_) => fields.unknown("decline.kind"),
    };
    let read = (|| Some((Declined { kind: kind?, reason: reason?.to_owned() }, names?)))();
    fields.finish(read)
}

fn deliveries(fields: &mut Fields, field: &str, refs: &[v1::DeliveryRef]) -> Option<Vec<DeliveryName>> {
    if refs.is_empty() {
        return fields.problem(field, Wrong::new("không nêu mục nào", "names none"));
    }
    fields.list(field, refs, DELIVERIES_MAX, |fields, field, named| {
        let party = fields.required(&format!("{field}.party"), &named.party);
        let code = fields.required(&format!("{field}.dossier_code"), &named.dossier_code);
        Some(DeliveryName { party: party?, code: code?, sequence: named.sequence })
    })
}

/// Reads a question for backlogs: the parties, and the clerk who asks. The first party is the one that asks.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn backlog(request: &v1::BacklogRequest) -> Result<Vec<PartyId>, Refusal> {
    let mut fields = Fields::default();
    let parties = parties(&mut fields, "parties", &request.parties);
    let actor = fields.required::<ActorId>("actor", &request.actor);
    fields.finish(parties.filter(|_| actor.is_some()))
}

fn parties(fields: &mut Fields, field: &str, names: &[String]) -> Option<Vec<PartyId>> {
    if names.is_empty() {
        return fields.problem(field, Wrong::new("không nêu mục nào", "names none"));
    }
    some_parties(fields, field, names)
}

/// Parties, each named once; none at all is for the caller to understand.
pub(super) fn some_parties(fields: &mut Fields, field: &str, names: &[String]) -> Option<Vec<PartyId>> {
    let mut seen = HashSet::new();
    fields.list(field, names, PARTIES_MAX, |fields, field, name| {
        let party: PartyId = fields.required(field, name)?;
        if seen.insert(party.clone()) {
            Some(party)
        } else {
            fields.problem(field, Wrong::new("đã được nêu trước đó", "is named before"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(refusal: &Refusal) -> Vec<&str> {
        refusal.violations().iter().map(|violation| violation.field.as_str()).collect()
    }

    #[test]
    fn every_problem_of_a_list_request_is_named() {
        let request = v1::ListRequest {
            acting_party: "H57 101".into(),
            filter: Some(v1::Filter {
                statuses: vec![1, 0, 11],
                procedure_code: "1.1".into(),
                received_from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                ..v1::Filter::default()
            }),
            page_size: 201,
            ..v1::ListRequest::default()
        };
        assert_eq!(
            paths(&list(&request).unwrap_err()),
            [
                "acting_party",
                "actor",
                "filter.statuses[1]",
                "filter.statuses[2]",
                "filter.procedure_code",
                "filter.received_from",
                "page_size",
            ]
        );
    }

    #[test]
    fn a_stream_is_opened_for_each_party_once_and_with_some_credit() {
        let open = |parties: &[&str], credit| {
            open(&v1::OpenInbox {
                parties: parties.iter().map(ToString::to_string).collect(),
                credit,
                ..v1::OpenInbox::default()
            })
        };
        assert!(open(&["H57.101", "H57.102"], 1024).is_ok());
        assert_eq!(paths(&open(&["H57.101", "H57.101"], 0).unwrap_err()), ["open.parties[1]", "open.credit"]);
        assert_eq!(paths(&open(&[], 1025).unwrap_err()), ["open.parties", "open.credit"]);
    }

    #[test]
    fn a_reason_to_decline_is_a_word() {
        let named =
            v1::DeliveryRef { party: "H57.101".into(), dossier_code: "H57.101-250714-0001".into(), sequence: 1 };
        let decline = |reason: &str| {
            decline(&v1::Decline { deliveries: vec![named.clone()], reason: reason.into(), ..v1::Decline::default() })
        };
        assert_eq!(decline("DISK_FULL").unwrap().1.len(), 1);
        assert_eq!(paths(&decline("bà Nguyễn Thị A không có mặt").unwrap_err()), ["decline.reason"]);
    }
}

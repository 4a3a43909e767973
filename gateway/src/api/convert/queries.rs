//! Messages about queries.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use lgsp_proto::types::{PartyId, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::Fields;
use super::parked::word;
use super::reading::{Asking, asking, dossier_name};
use crate::engine::queries::board::{Answer, ServiceName};
use crate::engine::queries::breaker::Flow;
use crate::engine::queries::serving::Offer;
use crate::engine::queries::{Ask, FIELDS_MAX, Matter, Offered, Told};
use crate::engine::receipt::machine_timestamp;
use crate::store::{QueryId, QueryPage, QueryProof, QueryRecord};

/// Services of one stream, and questions under way on it.
const SERVICES_MAX: usize = 64;
const AT_ONCE_MAX: u32 = 1024;

/// Queries on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: u32 = 200;

/// What begins a page token, so that none of another list is taken for one.
const TOKEN: &[u8] = b"queries";

/// Reads a question.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn ask(
    request: v1::AskRequest,
    within: Option<Duration>,
    traceparent: Option<String>,
) -> Result<Ask, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let service = word(&mut fields, "service", &request.service).map(str::to_owned);
    let purpose = word(&mut fields, "purpose", &request.purpose).map(str::to_owned);
    let procedure = fields.optional("procedure_code", &request.procedure_code);
    let matter = match &request.matter {
        None => Some(None),
        Some(v1::ask_request::Matter::DossierCode(name)) => {
            dossier_name(&mut fields, "dossier_code", name).map(|name| Some(Matter::Dossier(name)))
        }
        Some(v1::ask_request::Matter::IntakeKey(key)) => {
            fields.required::<RequestKey>("intake_key", key).map(|key| Some(Matter::Intake(key)))
        }
    };
    let wanted = fields.list("fields", &request.fields, FIELDS_MAX, |fields, field, name: &String| {
        word(fields, field, name).map(str::to_owned)
    });
    let read = (|| {
        let Asking { party, actor } = asking?;
        let version = (request.version != 0).then_some(request.version);
        let (service, purpose, procedure) = (service?, purpose?, procedure?);
        let (matter, fields, payload) = (matter?, wanted?, request.payload);
        Some(Ask { party, actor, service, version, purpose, procedure, matter, fields, payload, within, traceparent })
    })();
    fields.finish(read)
}

/// The answer to a question.
pub(crate) fn told(told: Told) -> v1::AskResponse {
    v1::AskResponse { answer: Some(signed(told.proof)), reply: told.reply }
}

fn signed(proof: QueryProof) -> v1::SignedQueryAnswer {
    v1::SignedQueryAnswer {
        answer: proof.answer,
        signature: proof.signature,
        certificate_sha256: bytes::Bytes::copy_from_slice(proof.certificate.as_bytes()),
    }
}

/// Reads what a connector wants to serve.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn offer(open: &v1::OpenServing) -> Result<Offer, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &open.party, &open.actor);
    if open.services.is_empty() {
        let _: Option<()> = fields.problem("services", Wrong::new("để trống", "is empty"));
    }
    let services = fields.list("services", &open.services, SERVICES_MAX, |fields, field, one| {
        if one.version == 0 {
            return fields.problem(
                format!("{field}.version"),
                Wrong::new("bị thiếu: bộ kết nối phục vụ một bản cụ thể", "is missing: a connector serves one version"),
            );
        }
        word(fields, &format!("{field}.name"), &one.name).map(|name| (name.to_owned(), one.version))
    });
    let at_once = match open.at_once {
        1..=AT_ONCE_MAX => usize::try_from(open.at_once).ok(),
        _ => fields.problem(
            "at_once",
            Wrong::new(format!("không nằm trong khoảng 1 đến {AT_ONCE_MAX}"), format!("is not 1 to {AT_ONCE_MAX}")),
        ),
    };
    let has_problems = open.services.is_empty();
    let read = (|| {
        let Asking { party, .. } = asking?;
        let mut services: Vec<ServiceName> = services?;
        services.sort();
        services.dedup();
        Some(Offer { party, services, at_once: at_once? }).filter(|_| !has_problems)
    })();
    fields.finish(read)
}

/// Reads an answer.
///
/// # Errors
/// `STREAM_PROTOCOL` when it is none.
pub(crate) fn answer(answer: v1::ServiceAnswer) -> Result<(QueryId, Answer), Refusal> {
    let protocol = |rule| Refusal::new(Reason::StreamProtocol).detail("rule", rule);
    let id = QueryId::try_from(&answer.query_id[..]).map_err(|_| protocol("an answer names its question"))?;
    let answer = match answer.outcome.ok_or_else(|| protocol("an answer is a reply or a refusal"))? {
        v1::service_answer::Outcome::Reply(reply) => Answer::Reply(reply),
        // A word of a later version is a failure to this one.
        v1::service_answer::Outcome::Refusal(word) => {
            Answer::Refused(v1::ServiceRefusal::try_from(word).unwrap_or(v1::ServiceRefusal::Failed))
        }
    };
    Ok((id, answer))
}

/// A service as it is offered.
pub(crate) fn offered(offered: Offered) -> v1::ServiceStanding {
    let Offered { service, granted, standing, schemas: [request_schema, reply_schema] } = offered;
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let state = match standing.flow {
        Flow::Open => v1::ServiceState::Open,
        Flow::Suspended(_) => v1::ServiceState::Suspended,
        Flow::Trying => v1::ServiceState::Trying,
    };
    v1::ServiceStanding {
        owner: service.owner.to_string(),
        title_en: service.title_en.unwrap_or_default(),
        purposes: service.purposes.into_iter().collect(),
        timeout_ms: u32::try_from(service.timeout.as_millis()).unwrap_or(u32::MAX),
        concurrency: small(service.concurrency),
        cache_s: u32::try_from(service.cache.as_secs()).unwrap_or(u32::MAX),
        needs: service.needs.iter().map(ToString::to_string).collect(),
        subject: service.subject,
        request_schema,
        reply_schema,
        grants: granted
            .into_iter()
            .map(|(purpose, fields)| v1::ServiceGrant { purpose, fields: fields.into_iter().collect() })
            .collect(),
        connectors: small(standing.connectors),
        under_way: small(standing.under_way),
        state: state.into(),
        title: service.title,
        service: Some(v1::ServiceRef { name: service.name, version: service.version }),
    }
}

/// Reads a request for one query.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn look(request: &v1::LookRequest) -> Result<(Asking, QueryId), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let id = QueryId::try_from(&request.query_id[..]).ok();
    let id = id.or_else(|| fields.problem("query_id", Wrong::new("không dài 16 byte", "is not 16 bytes")));
    let read = asking.zip(id);
    fields.finish(read)
}

/// The answer to [`look`].
pub(crate) fn looked(mut record: QueryRecord) -> v1::LookResponse {
    let (payload, reply) = record.content.take().unwrap_or_default();
    let (answer, erased) = (record.envelope.proof.clone().map(signed), record.erased);
    v1::LookResponse { query: Some(on_record(record)), payload, reply, erased, answer }
}

/// A request for a page of queries.
pub(crate) struct Listing {
    pub(crate) party: PartyId,
    pub(crate) dossier: Option<String>,
    pub(crate) page: (Option<u64>, usize),
}

/// Reads a request for a page of queries.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn list(request: &v1::ListQueriesRequest) -> Result<Listing, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let dossier = match request.dossier_code.as_str() {
        "" => Some(None),
        name => dossier_name(&mut fields, "dossier_code", name).map(Some),
    };
    let limit = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        size @ 1..=PAGE_MAX => usize::try_from(size).ok(),
        _ => fields.problem("page_size", Wrong::new(format!("lớn hơn {PAGE_MAX}"), format!("is more than {PAGE_MAX}"))),
    };
    let read = (|| {
        let (Asking { party, .. }, dossier) = (asking?, dossier?);
        Some(Listing { party, dossier, page: (None, limit?) })
    })();
    let mut listing = fields.finish(read)?;
    if !request.page_token.is_empty() {
        let bytes = BASE64URL_NOPAD.decode(request.page_token.as_bytes()).ok();
        let position = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes.strip_prefix(TOKEN)?).ok());
        listing.page.0 = Some(position.map(u64::from_be_bytes).ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))?);
    }
    Ok(listing)
}

/// The answer to [`list`].
pub(crate) fn listed(page: QueryPage) -> v1::ListQueriesResponse {
    let token = |position: u64| BASE64URL_NOPAD.encode(&[TOKEN, &position.to_be_bytes()].concat());
    v1::ListQueriesResponse {
        queries: page.queries.into_iter().map(on_record).collect(),
        next_page_token: page.next.map(token).unwrap_or_default(),
    }
}

/// A query as it is on record, without content.
pub fn on_record(record: QueryRecord) -> v1::QueryOnRecord {
    let bytes = bytes::Bytes::copy_from_slice;
    let query = record.envelope;
    v1::QueryOnRecord {
        query_id: bytes(&query.id),
        service: Some(v1::ServiceRef { name: query.service, version: query.version }),
        purpose: query.purpose,
        procedure_code: query.procedure.map(|code| code.to_string()).unwrap_or_default(),
        dossier_code: query.dossier.map(|code| code.to_string()).unwrap_or_default(),
        intake_key_sha256: query.intake.map(|digest| bytes(digest.as_bytes())).unwrap_or_default(),
        acting_party: query.party.to_string(),
        actor: query.actor.to_string(),
        system: query.system,
        connector: query.connector,
        fields: query.fields,
        outcome: query.refused.unwrap_or_default(),
        asked_at: Some(machine_timestamp(query.asked_at)),
        ended_at: Some(machine_timestamp(query.ended_at)),
        reply_sha256: query.reply_sha256.map(|digest| bytes(digest.as_bytes())).unwrap_or_default(),
        subject_hash: query.subject.map(|hash| bytes(&hash)).unwrap_or_default(),
        registry_version: query.registry_version,
    }
}

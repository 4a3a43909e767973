//! How things stand, written for the wire: dossiers, clocks, events, routes.

use bytes::Bytes;
use lgsp_domain::deadline::clock::{OpenPause, PauseCause};
use lgsp_domain::dossier::{AttachedDocument, Dossier};
use lgsp_domain::registry::Registry;
use lgsp_domain::routing::Explanation;
use lgsp_proto::types::{BusinessTime, PartyId, ReturnChannel};
use lgsp_proto::v1;
use prost::Message as _;
use prost_types::Timestamp;

use crate::engine::inbox::{Delivery, LOOK_UPS_MAX};
use crate::engine::receipt::{business_timestamp, civil_timestamp};
use crate::store::{Backlog, Queried, QueryRecord, Recorded};

/// Every cause for which a clock stops, in the order of the wire's numbers.
pub(super) const PAUSE_CAUSES: [PauseCause; 6] = [
    PauseCause::Supplement,
    PauseCause::FinancialObligation,
    PauseCause::PaperTransit,
    PauseCause::Expertise,
    PauseCause::PublicNotice,
    PauseCause::OtherAgency,
];

/// A dossier as it stands at `now`, as every reader is told: lateness is measured at that time, or when it ended.
pub fn dossier(dossier: &Dossier, now: BusinessTime) -> v1::Dossier {
    let opening = &dossier.opening;
    let places = &opening.places;
    let text = |party: Option<&PartyId>| party.map(ToString::to_string).unwrap_or_default();
    v1::Dossier {
        code: dossier.code.to_string(),
        aliases: opening.aliases.iter().map(ToString::to_string).collect(),
        procedure_code: opening.procedure.to_string(),
        case_code: opening.case.as_ref().map(ToString::to_string).unwrap_or_default(),
        locality: opening.locality.to_string(),
        intake_channel: i32::from(opening.intake_channel.number()),
        return_channel: return_channel(opening.return_channel),
        support_point: text(places.support_point.as_ref()),
        intake_desk: places.intake_desk.to_string(),
        competent_authority: places.competent_authority.to_string(),
        return_desk: places.return_desk.to_string(),
        non_territorial: opening.non_territorial,
        hand_over: dossier.hand_over.map_or(0, |hand_over| hand_over.number()),
        status: i32::from(dossier.status.number()),
        sequence: dossier.sequence,
        received_at: Some(business_timestamp(opening.received_at)),
        clock: Some(clock(dossier, now)),
        supplement_until: dossier.supplement_until.map(business_timestamp),
        resolved_at: dossier.resolved_at.map(business_timestamp),
        returned_at: dossier.returned_at.map(business_timestamp),
        registry_version: dossier.registry_version,
        documents: dossier.documents.iter().map(document).collect(),
        route_rule: opening.route_rule.clone(),
        updated_at: Some(business_timestamp(dossier.updated_at)),
    }
}

fn clock(dossier: &Dossier, now: BusinessTime) -> v1::Clock {
    let clock = &dossier.clock;
    // One that has ended is as late as it was then.
    let ended = dossier.status.is_terminal().then_some(dossier.updated_at);
    let measured_at = dossier.resolved_at.or(ended).unwrap_or(now);
    v1::Clock {
        original_due_at: clock.original_due().and_then(civil_timestamp),
        promised_at: clock.promised().and_then(civil_timestamp),
        due_at: clock.due().and_then(civil_timestamp),
        extended: clock.is_extended(),
        pauses: clock.open_pauses().iter().map(open_pause).collect(),
        acceptance_due_at: dossier.opening.acceptance_due.map(business_timestamp),
        late: clock.is_late(measured_at.civil()),
    }
}

fn open_pause(pause: &OpenPause) -> v1::Pause {
    v1::Pause { cause: pause_cause(pause.cause).into(), from: civil_timestamp(pause.since), to: None }
}

/// A document without its name, which is the citizen's.
fn document(document: &AttachedDocument) -> v1::DocumentRef {
    v1::DocumentRef {
        sha256: Bytes::copy_from_slice(document.sha256.as_bytes()),
        size_bytes: document.size_bytes,
        media_type: document.media_type.to_string(),
        file_name: String::new(),
    }
}

/// The wire's cause of a pause.
pub(super) const fn pause_cause(cause: PauseCause) -> v1::PauseCause {
    match cause {
        PauseCause::Supplement => v1::PauseCause::Supplement,
        PauseCause::FinancialObligation => v1::PauseCause::FinancialObligation,
        PauseCause::PaperTransit => v1::PauseCause::PaperTransit,
        PauseCause::Expertise => v1::PauseCause::Expertise,
        PauseCause::PublicNotice => v1::PauseCause::PublicNotice,
        PauseCause::OtherAgency => v1::PauseCause::OtherAgency,
    }
}

/// The wire's number of a return channel: one more than that of the national field.
pub(super) fn return_channel(channel: ReturnChannel) -> i32 {
    i32::from(channel.number()) + 1
}

/// An event with what was signed.
pub(crate) fn event(recorded: Recorded) -> v1::RecordedEvent {
    v1::RecordedEvent {
        event: Some(recorded.event),
        body: recorded.body.unwrap_or_default(),
        signature: recorded.signature,
        certificate_sha256: Bytes::copy_from_slice(recorded.certificate.as_bytes()),
        erased: recorded.erased,
    }
}

/// The first of `events` that fit into `budget` bytes, and always the first one: the caller goes on after the last.
pub(crate) fn events_within(events: Vec<Recorded>, budget: usize) -> Vec<v1::RecordedEvent> {
    /// Tag and length in front of each.
    const FRAME: usize = 8;
    let mut left = budget;
    let mut fitting = Vec::with_capacity(events.len());
    for event in events.into_iter().map(event) {
        let size = event.encoded_len() + FRAME;
        if size > left && !fitting.is_empty() {
            break;
        }
        left = left.saturating_sub(size);
        fitting.push(event);
    }
    fitting
}

/// A delivery as it goes out at `now`.
pub(crate) fn delivery(delivery: Delivery, now: BusinessTime) -> v1::Delivery {
    let Delivery { party, recorded, dossier: standing, attempt, look_ups } = delivery;
    let more_look_ups = look_ups.len() > LOOK_UPS_MAX;
    v1::Delivery {
        r#ref: Some(v1::DeliveryRef {
            party: party.to_string(),
            dossier_code: standing.code.to_string(),
            sequence: recorded.event.sequence,
        }),
        event: Some(event(recorded)),
        dossier: Some(dossier(&standing, now)),
        attempt,
        look_ups: look_ups.into_iter().take(LOOK_UPS_MAX).map(look_up).collect(),
        more_look_ups,
    }
}

fn look_up(record: QueryRecord) -> v1::LookUp {
    let Queried { id, service, version, reply_sha256, .. } = record.envelope;
    let reply_sha256 = reply_sha256.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default();
    v1::LookUp { query_id: Bytes::copy_from_slice(&id), service, version, reply_sha256 }
}

/// A party's inbox in figures.
pub(crate) fn backlog(party: &PartyId, backlog: &Backlog, streams: usize) -> v1::PartyBacklog {
    let oldest = backlog.oldest_admitted_ms.map(|ms| Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: i32::try_from(ms.rem_euclid(1000)).expect("less than a thousand") * 1_000_000,
    });
    v1::PartyBacklog {
        party: party.to_string(),
        waiting: backlog.waiting,
        taken_over: backlog.taken_over,
        oldest_admitted_at: oldest,
        streams: u32::try_from(streams).unwrap_or(u32::MAX),
        parked: backlog.parked_dossiers,
    }
}

/// A route and how it was found in registry `version`; names are those of `registry`, the one in force.
pub(crate) fn route(explanation: Explanation, version: u64, registry: &Registry) -> v1::ExplainRouteResponse {
    let steps = explanation.steps.into_iter().map(|step| v1::RouteStep {
        rule: step.rule,
        matched: step.matched,
        why_vi: step.why_vi,
        why_en: step.why_en,
    });
    let mut response = v1::ExplainRouteResponse {
        steps: steps.collect(),
        registry_version: version,
        ..v1::ExplainRouteResponse::default()
    };
    match explanation.outcome {
        Ok(route) => {
            let party = registry.party(&route.authority);
            response.competent_authority_name = party.map(|party| party.name.clone()).unwrap_or_default();
            response.competent_authority = route.authority.to_string();
            response.rule = route.rule;
        }
        Err(no_route) => {
            response.no_route = Some(v1::Warning {
                reason: no_route.reason.to_string(),
                field: String::new(),
                message_vi: no_route.vi,
                message_en: no_route.en,
            });
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use lgsp_proto::types::{IntakeChannel, Sha256Digest, Status};

    use super::*;

    #[test]
    fn numbers_are_those_of_the_wire() {
        for status in Status::ALL {
            assert!(v1::Status::try_from(i32::from(status.number())).is_ok(), "{status}");
        }
        for channel in IntakeChannel::ALL {
            let wire = v1::IntakeChannel::try_from(i32::from(channel.number())).unwrap();
            assert_eq!(wire.as_str_name(), format!("INTAKE_CHANNEL_{}", channel.as_str().to_uppercase()));
        }
        for channel in ReturnChannel::ALL {
            let wire = v1::ReturnChannel::try_from(return_channel(channel)).unwrap();
            assert_eq!(wire.as_str_name(), format!("RETURN_CHANNEL_{}", channel.as_str().to_uppercase()));
        }
        for (number, cause) in (1..).zip(PAUSE_CAUSES) {
            assert_eq!(pause_cause(cause) as i32, number);
        }
        assert!(v1::PauseCause::try_from(7).is_err(), "a cause that nothing here knows");
    }

    #[test]
    fn an_answer_keeps_within_its_budget_but_always_moves_on() {
        let event = |body: usize| Recorded {
            event: v1::Event::default(),
            body: Some(vec![7; body].into()),
            erased: false,
            signature: Bytes::new(),
            certificate: Sha256Digest::from([0; 32]),
        };
        let fitting =
            |sizes: &[usize], budget| events_within(sizes.iter().map(|size| event(*size)).collect(), budget).len();
        assert_eq!(fitting(&[1000, 1000, 1000], 2500), 2);
        assert_eq!(fitting(&[1000, 1000], 10_000), 2);
        assert_eq!(fitting(&[5000, 10], 2500), 1);
        assert_eq!(fitting(&[10, 5000, 10], 2500), 1);
    }
}

//! A dossier out of a stopped node's data folder, in the message by which a gateway would have told it.

use std::path::Path;

use jiff::civil::DateTime;
use lgsp_domain::deadline::clock::{OpenPause, PauseCause};
use lgsp_domain::dossier::{AttachedDocument, Dossier};
use lgsp_gateway::store::read_only::ReadOnly;
use lgsp_proto::types::{BusinessTime, PartyId};
use lgsp_proto::v1;

use super::show::Standing;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment::wire;

/// Reads the dossier with this code or alias.
pub(super) fn read(dir: &Path, node_key: &Path, code: &str, lang: Lang) -> anyhow::Result<Standing> {
    let folder = ReadOnly::open(dir, node_key).map_err(|error| Failure::usage(crate::failure::because(&error)))?;
    let history = folder.history(code)?.ok_or_else(|| {
        Failure::usage(lang.pick(
            format!("{} không có hồ sơ {code:?}", dir.display()),
            format!("{} holds no dossier {code:?}", dir.display()),
        ))
    })?;
    let events = history.events.into_iter().map(|recorded| recorded.event).collect();
    Ok(Standing { dossier: message(&history.dossier), events })
}

/// As it stood after its last event: a folder at rest knows no later time.
fn message(dossier: &Dossier) -> v1::Dossier {
    let (opening, places) = (&dossier.opening, &dossier.opening.places);
    v1::Dossier {
        code: dossier.code.to_string(),
        aliases: opening.aliases.iter().map(ToString::to_string).collect(),
        procedure_code: opening.procedure.to_string(),
        case_code: opening.case.as_ref().map(ToString::to_string).unwrap_or_default(),
        locality: opening.locality.to_string(),
        intake_channel: i32::from(opening.intake_channel.number()),
        // The message's numbers are one more than the portal's.
        return_channel: i32::from(opening.return_channel.number()) + 1,
        support_point: places.support_point.as_ref().map(PartyId::to_string).unwrap_or_default(),
        intake_desk: places.intake_desk.to_string(),
        competent_authority: places.competent_authority.to_string(),
        return_desk: places.return_desk.to_string(),
        non_territorial: opening.non_territorial,
        hand_over: dossier.hand_over.map_or(0, |hand_over| hand_over.number()),
        status: i32::from(dossier.status.number()),
        sequence: dossier.sequence,
        received_at: Some(wire(opening.received_at)),
        clock: Some(clock(dossier)),
        supplement_until: dossier.supplement_until.map(wire),
        resolved_at: dossier.resolved_at.map(wire),
        returned_at: dossier.returned_at.map(wire),
        registry_version: dossier.registry_version,
        documents: dossier.documents.iter().map(document).collect(),
        route_rule: opening.route_rule.clone(),
        updated_at: Some(wire(dossier.updated_at)),
    }
}

fn clock(dossier: &Dossier) -> v1::Clock {
    let clock = &dossier.clock;
    v1::Clock {
        original_due_at: clock.original_due().and_then(civil),
        promised_at: clock.promised().and_then(civil),
        due_at: clock.due().and_then(civil),
        extended: clock.is_extended(),
        pauses: clock.open_pauses().iter().map(pause).collect(),
        acceptance_due_at: dossier.opening.acceptance_due.map(wire),
        late: clock.is_late(dossier.resolved_at.unwrap_or(dossier.updated_at).civil()),
    }
}

fn pause(pause: &OpenPause) -> v1::Pause {
    let cause = match pause.cause {
        PauseCause::Supplement => v1::PauseCause::Supplement,
        PauseCause::FinancialObligation => v1::PauseCause::FinancialObligation,
        PauseCause::PaperTransit => v1::PauseCause::PaperTransit,
        PauseCause::Expertise => v1::PauseCause::Expertise,
        PauseCause::PublicNotice => v1::PauseCause::PublicNotice,
        PauseCause::OtherAgency => v1::PauseCause::OtherAgency,
    };
    v1::Pause { cause: cause.into(), from: civil(pause.since), to: None }
}

fn document(document: &AttachedDocument) -> v1::DocumentRef {
    v1::DocumentRef {
        sha256: document.sha256.as_bytes().to_vec().into(),
        size_bytes: document.size_bytes,
        media_type: document.media_type.to_string(),
        file_name: String::new(),
    }
}

fn civil(time: DateTime) -> Option<prost_types::Timestamp> {
    BusinessTime::try_from(time).ok().map(wire)
}

//! Records about deliveries that come back, and dossiers that are parked.

use bytes::Bytes;
use lgsp_proto::types::DossierCode;
use lgsp_proto::{store_v1, v1};

use super::super::deliveries::{GivenBack, GivenBackWhy, Handled, Holder, Installation, MAIN, Parked, ParkedAction};
use super::values::{parse, system_time, unix_ms};
use super::{Unreadable, store_v1::given_back::Why};

/// The data that a sealed ground is bound to, so that it opens nowhere else.
pub(in super::super) fn why_context(code: &str, party: &str) -> String {
    format!("{code}/parked/{party}")
}

/// An installation by its stored names; before there were instances, there was one.
pub(in super::super) fn holder(system: &str, instance: &str, spool: &[u8]) -> Holder {
    let instance = if instance.is_empty() { MAIN } else { instance };
    Holder {
        installation: Installation { system: system.to_owned(), instance: instance.to_owned() },
        spool: Bytes::copy_from_slice(spool),
    }
}

/// A holder as the index keeps it.
pub(in super::super) fn held(holder: &Holder) -> store_v1::Held {
    store_v1::Held {
        system: holder.installation.system.clone(),
        instance: holder.installation.instance.clone(),
        spool: holder.spool.to_vec(),
    }
}

pub(super) fn acked(deliveries: &[(DossierCode, u32)]) -> Vec<store_v1::Acked> {
    let acked =
        |(code, sequence): &(DossierCode, u32)| store_v1::Acked { dossier_code: code.to_string(), sequence: *sequence };
    deliveries.iter().map(acked).collect()
}

pub(super) fn deliveries(stored: &[store_v1::Acked]) -> Result<Vec<(DossierCode, u32)>, Unreadable> {
    stored.iter().map(|acked| Ok((parse("dossier_code", &acked.dossier_code)?, acked.sequence))).collect()
}

pub(super) fn given_back_record(given_back: &GivenBack) -> store_v1::GivenBack {
    let mut record = store_v1::GivenBack {
        party: given_back.party.to_string(),
        deliveries: acked(&given_back.deliveries),
        system: given_back.holder.installation.system.clone(),
        instance: given_back.holder.installation.instance.clone(),
        spool: given_back.holder.spool.to_vec(),
        at_unix_ms: unix_ms(given_back.at),
        ..store_v1::GivenBack::default()
    };
    match &given_back.why {
        GivenBackWhy::SpoolReplaced => record.set_why(Why::SpoolReplaced),
        GivenBackWhy::Declined => record.set_why(Why::Declined),
        GivenBackWhy::Restored => record.set_why(Why::Restored),
        GivenBackWhy::Released { acting_party, actor, system, ground } => {
            record.set_why(Why::Released);
            record.acting_party = acting_party.to_string();
            record.actor = actor.to_string();
            record.by_system = system.clone();
            record.ground = ground.clone();
        }
    }
    record
}

pub(super) fn given_back(stored: &store_v1::GivenBack) -> Result<GivenBack, Unreadable> {
    Ok(GivenBack {
        party: parse("party", &stored.party)?,
        deliveries: deliveries(&stored.deliveries)?,
        holder: holder(&stored.system, &stored.instance, &stored.spool),
        why: match Why::try_from(stored.why) {
            Ok(Why::SpoolReplaced) => GivenBackWhy::SpoolReplaced,
            Ok(Why::Declined) => GivenBackWhy::Declined,
            Ok(Why::Restored) => GivenBackWhy::Restored,
            Ok(Why::Released) => GivenBackWhy::Released {
                acting_party: parse("acting_party", &stored.acting_party)?,
                actor: parse("actor", &stored.actor)?,
                system: stored.by_system.clone(),
                ground: stored.ground.clone(),
            },
            Ok(Why::Unspecified) | Err(_) => return Err(Unreadable("why")),
        },
        at: system_time(stored.at_unix_ms),
    })
}

pub(super) fn parked_record(parked: &Parked) -> store_v1::DossierParked {
    store_v1::DossierParked {
        party: parked.party.to_string(),
        dossier_code: parked.code.to_string(),
        sequence: parked.sequence,
        reason: parked.reason.clone(),
        kind: parked.kind.into(),
        attempts: parked.attempts,
        system: parked.system.clone(),
        at_unix_ms: unix_ms(parked.at),
    }
}

pub(in super::super) fn parked(stored: &store_v1::DossierParked) -> Result<Parked, Unreadable> {
    Ok(Parked {
        party: parse("party", &stored.party)?,
        code: parse("dossier_code", &stored.dossier_code)?,
        sequence: stored.sequence,
        reason: stored.reason.clone(),
        kind: v1::DeclineKind::try_from(stored.kind).map_err(|_| Unreadable("kind"))?,
        attempts: stored.attempts,
        system: stored.system.clone(),
        at: system_time(stored.at_unix_ms),
    })
}

pub(super) fn handled_record(handled: &Handled, sealed_why: Vec<u8>) -> store_v1::ParkedHandled {
    store_v1::ParkedHandled {
        party: handled.party.to_string(),
        dossier_code: handled.code.to_string(),
        sequence: handled.sequence,
        action: match handled.action {
            ParkedAction::Retry => v1::ParkedActionKind::Retry.into(),
            ParkedAction::Skip => v1::ParkedActionKind::Skip.into(),
        },
        acting_party: handled.acting_party.to_string(),
        actor: handled.actor.to_string(),
        system: handled.system.clone(),
        at_unix_ms: unix_ms(handled.at),
        sealed_why,
    }
}

/// What was done; the ground stays sealed.
pub(in super::super) fn handled(stored: &store_v1::ParkedHandled) -> Result<Handled, Unreadable> {
    Ok(Handled {
        party: parse("party", &stored.party)?,
        code: parse("dossier_code", &stored.dossier_code)?,
        sequence: stored.sequence,
        action: match v1::ParkedActionKind::try_from(stored.action) {
            Ok(v1::ParkedActionKind::Retry) => ParkedAction::Retry,
            Ok(v1::ParkedActionKind::Skip) => ParkedAction::Skip,
            Ok(v1::ParkedActionKind::Unspecified) | Err(_) => return Err(Unreadable("action")),
        },
        acting_party: parse("acting_party", &stored.acting_party)?,
        actor: parse("actor", &stored.actor)?,
        system: stored.system.clone(),
        at: system_time(stored.at_unix_ms),
        why: String::new(),
    })
}

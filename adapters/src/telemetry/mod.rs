//! What an adapter measures: [`names`] says what there is, and how it stands is asked of the parts when somebody looks.
//!
//! No figure has a label that names a party, a dossier or a person: an adapter is one system, and Prometheus knows which it asks.

pub mod names;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lgsp_telemetry::metric::{count, yes_or_no};
use lgsp_telemetry::{Figures, Format, Page, Tally, Telemetry, certificates};

use crate::link::TurnedAway;
use crate::rest::Api;
use names::*;

/// The bundle of the gateway's roots, the only one that an adapter has.
const BUNDLE: &str = "gateway";

/// What came of an attempt to renew.
pub(crate) const RENEWED: &str = "renewed";
/// What came of an attempt to renew.
pub(crate) const RENEWAL_FAILED: &str = "failed";

/// What is counted about the own certificate.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) reloads: Tally,
    pub(crate) renewals: Tally,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            reloads: Tally::of([certificates::IN_FORCE, certificates::FAILED]),
            renewals: Tally::of([RENEWED, RENEWAL_FAILED]),
        }
    }
}

/// The adapter's instruments.
pub(crate) fn instruments() -> Telemetry {
    Telemetry::new("lgsp-adapter", env!("CARGO_PKG_VERSION"), names::ALL)
}

/// How the adapter stands.
pub(crate) fn page(api: &Api, format: Format) -> Page {
    let mut figures = Figures::default();
    at_the_certificates(api, &mut figures);
    at_the_link(api, &mut figures);
    at_the_spool(api, &mut figures);
    at_the_desk(api, &mut figures);
    if let Some(oldest) = api.portal.as_ref().and_then(|portal| portal.oldest_ms()) {
        figures.soonest(&PORTAL_OLDEST, [], moment(oldest));
    }
    api.telemetry.page(figures, format)
}

fn at_the_certificates(api: &Api, figures: &mut Figures) {
    let (view, ends) = (api.certificate.view(), api.office.link.ends());
    figures.soonest(&certificates::CERTIFICATE_NOT_AFTER, ["own"], view.not_after);
    for issuing in &ends.issuing {
        figures.soonest(&certificates::CERTIFICATE_NOT_AFTER, ["issuing"], *issuing);
    }
    certificates::tell_bundle(figures, BUNDLE, &ends.bundle.roots, &ends.bundle.lists);
    figures.soonest(&certificates::LOADED, [], ends.loaded_at);
    figures.tell(&certificates::UP_TO_DATE, yes_or_no(view.files_are_in_force()));
    let counts = api.certificate.counts();
    figures.counted(&certificates::RELOADS, &counts.reloads);
    figures.counted(&RENEWALS, &counts.renewals);
    if let Some(at) = view.renew_from {
        figures.soonest(&RENEW_FROM, [], at);
    }
}

fn at_the_link(api: &Api, figures: &mut Figures) {
    let connectivity = *api.office.link.connectivity().borrow();
    figures.soonest(&STARTED, [], SystemTime::now() - api.started.elapsed());
    figures.tell(&CONNECTED, yes_or_no(connectivity.connected_since.is_some()));
    figures.tell(&CONNECTIONS, count(connectivity.connections));
    // One that has expired is turned away as such sooner or later; it is known here before that.
    let has_expired = api.certificate.view().not_after <= SystemTime::now();
    let turned_away = if has_expired { Some(TurnedAway::Expired) } else { connectivity.turned_away };
    for reason in TurnedAway::ALL {
        let is_it = turned_away == Some(reason);
        figures.tell_of(&TURNED_AWAY, [reason.as_str()], yes_or_no(is_it));
    }
    figures.tell(&PARTIES_REFUSED, count(api.office.acting.shut_out().len()));
}

fn at_the_spool(api: &Api, figures: &mut Figures) {
    let counts = api.office.spool.counts();
    let outgoing = [("waiting", counts.waiting), ("admitted", counts.admitted), ("refused", counts.refused)];
    for (state, calls) in outgoing {
        figures.tell_of(&OUTGOING, [state], count(calls));
    }
    let incoming = [
        ("not_handed_over", counts.not_handed_over),
        ("unconfirmed", counts.unconfirmed),
        ("returned", counts.returned),
    ];
    for (state, deliveries) in incoming {
        figures.tell_of(&INCOMING, [state], count(deliveries));
    }
    let oldest = [(&OUTGOING_OLDEST, counts.oldest_waiting_ms), (&INCOMING_OLDEST, counts.oldest_not_handed_over_ms)];
    for (metric, since_ms) in oldest {
        if let Some(since) = since_ms {
            figures.soonest(metric, [], moment(since));
        }
    }
    figures.tell(&SPOOL_WRITABLE, yes_or_no(!api.office.spool.broken().is_cancelled()));
    figures.tell(&DISK_SHORT, yes_or_no(api.office.spool.shortage().is_some()));
    figures.tell(&OFFLINE_WAITING, count(counts.offline_waiting));
    figures.tell(&OFFLINE_EXCEPTIONS, count(counts.exceptions));
}

fn at_the_desk(api: &Api, figures: &mut Figures) {
    let copy = api.office.desk.copy.view();
    if let Some(version) = copy.version {
        figures.tell(&REGISTRY_VERSION, count(version));
    }
    if let Some(synced) = copy.synced_at_ms {
        figures.soonest(&REGISTRY_SYNCED, [], moment(synced));
    }
    figures.tell(&CLOCK_SKEWED, yes_or_no(api.office.desk.is_skewed()));
}

fn moment(unix_ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0))
}

//! How the parts stand when somebody looks. Reads what they keep anyway; the one question to the disk is how many tokens are open.

use std::collections::BTreeMap;

use lgsp_telemetry::metric::{count, yes_or_no};
use lgsp_telemetry::{Figures, certificates};

use super::names::*;
use crate::api::local::Node;
use crate::engine::Engine;
use crate::engine::certificates::CertificateFigures;
use crate::store;
use crate::tls::Generation;

/// What there is from the first moment on.
pub(super) fn at_the_node(node: &Node, figures: &mut Figures) {
    figures.tell(&READY, yes_or_no(node.stage.borrow().not_ready().is_none()));
    figures.soonest(&STARTED, [], node.started_at);
    let told = node.certificates.told();
    figures.soonest(&certificates::LOADED, [], told.loaded_at);
    figures.tell(&certificates::UP_TO_DATE, yes_or_no(told.problem.is_none()));
    // The bundles' roots are told each by itself.
    for end in told.ends.iter().filter(|end| !end.what.starts_with("bundle:")) {
        figures.soonest(&certificates::CERTIFICATE_NOT_AFTER, [&*end.what], end.not_after);
    }
}

pub(super) fn at_the_bundles(generation: &Generation, figures: &mut Figures) {
    for bundle in generation.loaded().trust().bundles() {
        let ends = bundle.ends();
        certificates::tell_bundle(figures, bundle.name(), &ends.roots, &ends.lists);
    }
}

pub(super) async fn at_the_engine(engine: &Engine, figures: &mut Figures) {
    let counts = engine.counts();
    figures.counted(&certificates::RELOADS, &counts.reloads);
    figures.counted(&HANDSHAKES_REFUSED, &counts.handshakes_refused);
    figures.counted(&CALLS_REFUSED, &counts.calls_refused);
    figures.counted(&QUOTA_REFUSALS, &counts.quota_refusals);
    figures.counted(&QUERIES, &counts.queries);
    at_the_store(engine, figures);
    at_the_connections(engine, figures);
    // Without an answer of the store it is not said how many tokens there are, rather than that there is none.
    if let Ok(CertificateFigures { issued, renewed, joins_refused, tokens_open }) = engine.certificate_figures().await {
        figures.tell(&TOKENS_OPEN, count(tokens_open));
        figures.tell_of(&ISSUED, ["token"], count(issued));
        figures.tell_of(&ISSUED, ["certificate"], count(renewed));
        for (reason, times) in joins_refused {
            figures.tell_of(&JOINS_REFUSED, [reason], count(times));
        }
    }
}

fn at_the_store(engine: &Engine, figures: &mut Figures) {
    let store::Figures {
        dossiers,
        archived,
        events,
        waiting,
        taken_over,
        parked,
        queued,
        durable,
        applied,
        read_only,
        ..
    } = engine.store().figures();
    figures.tell(&DOSSIERS, count(dossiers));
    figures.tell(&ARCHIVED, count(archived));
    figures.tell(&EVENTS, count(events));
    for (state, deliveries) in [("waiting", waiting), ("taken_over", taken_over), ("parked", parked)] {
        figures.tell_of(&DELIVERIES, [state], count(deliveries));
    }
    figures.tell(&COMMITS_QUEUED, count(queued));
    figures.tell(&JOURNAL_DURABLE, count(durable));
    figures.tell(&INDEX_APPLIED, count(applied));
    figures.tell(&READ_ONLY, yes_or_no(read_only));
    figures.tell(&DISK_SHORT, yes_or_no(engine.shortage().is_some()));
}

/// Who is not in the registry has a connection, and counts among all, but gets no series: its name is not ours.
fn at_the_connections(engine: &Engine, figures: &mut Figures) {
    let (connections, registry) = (engine.connections(), engine.registry().ok());
    figures.tell(&OPEN, count(connections.count()));
    figures.tell(&KEYS_REVOKED, count(connections.revoked()));
    figures.tell(&REGISTRY_VERSION, count(registry.as_ref().map_or(0, |registry| registry.version())));
    let Some(registry) = registry else { return };
    let mut of_systems: BTreeMap<&str, usize> = registry.systems().map(|system| (&*system.name, 0)).collect();
    for (_, peer) in connections.peers() {
        let Some(system) = engine.system_of(&peer) else { continue };
        if let Some(open) = of_systems.get_mut(&*system) {
            *open += 1;
            figures.soonest(&SYSTEM_NOT_AFTER, [&*system], peer.leaf().not_after());
        }
    }
    for (system, open) in of_systems {
        figures.tell_of(&OPEN_OF_SYSTEM, [system], count(open));
    }
    let streams: usize = registry.parties().map(|party| engine.inboxes().streams_of(&party.id)).sum();
    figures.tell(&INBOX_STREAMS, count(streams));
}

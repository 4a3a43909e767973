//! Every figure of an adapter, beside those about certificates that it has in common with the gateway. The table in
//! ARCHITECTURE.md is this list; a test compares both, and the page with them.

use lgsp_telemetry::{Metric, certificates};

/// All of them, by the part that tells them.
pub const ALL: &[&[&Metric]] = &[certificates::ALL, LINK, IDENTITY, SPOOL, OFFLINE, PORTAL];

const LINK: &[&Metric] = &[&STARTED, &CONNECTED, &CONNECTIONS, &TURNED_AWAY, &PARTIES_REFUSED];
const IDENTITY: &[&Metric] = &[&RENEW_FROM, &RENEWALS];
const SPOOL: &[&Metric] = &[&OUTGOING, &OUTGOING_OLDEST, &INCOMING, &INCOMING_OLDEST, &SPOOL_WRITABLE, &DISK_SHORT];
const OFFLINE: &[&Metric] =
    &[&OFFLINE_WAITING, &OFFLINE_EXCEPTIONS, &REGISTRY_VERSION, &REGISTRY_SYNCED, &CLOCK_SKEWED];

const PORTAL: &[&Metric] = &[&PORTAL_OLDEST];

pub(crate) const STARTED: Metric =
    Metric::moment("lgsp.adapter.start.timestamp", &[], "When the process of the adapter began.");
pub(crate) const CONNECTED: Metric =
    Metric::gauge("lgsp.adapter.connected", &[], "Whether there is a connection to the gateway (1).");
pub(crate) const CONNECTIONS: Metric =
    Metric::counter("lgsp.adapter.connections", &[], "Connections made to the gateway.");
pub(crate) const TURNED_AWAY: Metric = Metric::gauge(
    "lgsp.adapter.turned_away",
    &["reason"],
    "Whether a certificate is why there is no way to the gateway (1), by what is the matter with it.",
);
pub(crate) const PARTIES_REFUSED: Metric = Metric::gauge(
    "lgsp.adapter.parties.refused",
    &[],
    "Parties of the configuration that the gateway does not let this system act for.",
);

pub(crate) const RENEW_FROM: Metric = Metric::moment(
    "lgsp.adapter.certificate.renew_from.timestamp",
    &[],
    "When the adapter renews its certificate; not there when somebody else has to.",
);
pub(crate) const RENEWALS: Metric = Metric::counter(
    "lgsp.adapter.certificate.renewals",
    &["outcome"],
    "Attempts to renew the certificate, by outcome.",
);

pub(crate) const OUTGOING: Metric = Metric::gauge(
    "lgsp.adapter.outgoing",
    &["state"],
    "Calls on their way to the gateway, and those admitted and refused whose outcome is still kept.",
);
pub(crate) const OUTGOING_OLDEST: Metric = Metric::moment(
    "lgsp.adapter.outgoing.oldest.timestamp",
    &[],
    "Since when the oldest call waits that is on its way to the gateway; not there when none is.",
);
pub(crate) const INCOMING: Metric = Metric::gauge(
    "lgsp.adapter.incoming",
    &["state"],
    "Deliveries not handed over, handed over without the gateway knowing it, and dossiers of which something goes back.",
);
pub(crate) const INCOMING_OLDEST: Metric = Metric::moment(
    "lgsp.adapter.incoming.oldest.timestamp",
    &[],
    "Since when the oldest delivery waits that was not handed over; not there when none is.",
);
pub(crate) const SPOOL_WRITABLE: Metric =
    Metric::gauge("lgsp.adapter.spool.writable", &[], "Whether the spool can be written (1).");
pub(crate) const DISK_SHORT: Metric = Metric::gauge(
    "lgsp.adapter.disk.short",
    &[],
    "Whether the spool's disk is nearly full and nothing new is taken in (1); ends by itself.",
);

pub(crate) const OFFLINE_WAITING: Metric = Metric::gauge(
    "lgsp.adapter.offline.waiting",
    &[],
    "Dossiers taken in without a line that the gateway has not answered yet.",
);
pub(crate) const OFFLINE_EXCEPTIONS: Metric =
    Metric::gauge("lgsp.adapter.offline.exceptions", &[], "Numbers given out in vain that a clerk has to work off.");
pub(crate) const REGISTRY_VERSION: Metric = Metric::gauge(
    "lgsp.adapter.registry.version",
    &[],
    "The version of the registry's copy; not there when there is none.",
);
pub(crate) const REGISTRY_SYNCED: Metric = Metric::moment(
    "lgsp.adapter.registry.synced.timestamp",
    &[],
    "When the registry's copy was last known to be in force; not there when it never was.",
);
pub(crate) const CLOCK_SKEWED: Metric = Metric::gauge(
    "lgsp.adapter.clock.skewed",
    &[],
    "Whether this machine's clock is further from the gateway's than is tolerated (1).",
);

pub(crate) const PORTAL_OLDEST: Metric = Metric::moment(
    "lgsp.adapter.portal.oldest.timestamp",
    &[],
    "When the oldest event was admitted that the national portal does not have, of what waits here and what was refused or parked since the start; not there when it has all.",
);

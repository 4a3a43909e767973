//! Every figure of the gateway. The table in ARCHITECTURE.md is this list; a test compares both, and the page with them.

use lgsp_telemetry::{Metric, SYSTEM, certificates};

/// All of them, by the part that tells them.
pub const ALL: &[&[&Metric]] = &[certificates::ALL, NODE, AUTHORITY, CONNECTIONS, STORE];

const NODE: &[&Metric] = &[&READY, &STARTED, &REGISTRY_VERSION];
const AUTHORITY: &[&Metric] = &[&TOKENS_OPEN, &KEYS_REVOKED, &ISSUED, &JOINS_REFUSED];
const CONNECTIONS: &[&Metric] = &[
    &OPEN,
    &OPEN_OF_SYSTEM,
    &SYSTEM_NOT_AFTER,
    &INBOX_STREAMS,
    &HANDSHAKES_REFUSED,
    &CALLS_REFUSED,
    &QUOTA_REFUSALS,
    &QUERIES,
];
const STORE: &[&Metric] = &[
    &DOSSIERS,
    &ARCHIVED,
    &EVENTS,
    &DELIVERIES,
    &COMMITS_QUEUED,
    &JOURNAL_DURABLE,
    &INDEX_APPLIED,
    &READ_ONLY,
    &DISK_SHORT,
];

pub(crate) const READY: Metric =
    Metric::gauge("lgsp.gateway.ready", &[], "Whether the gateway can keep its promises (1), as /readyz says.");
pub(crate) const STARTED: Metric =
    Metric::moment("lgsp.gateway.start.timestamp", &[], "When the process of the gateway began.");
pub(crate) const REGISTRY_VERSION: Metric =
    Metric::gauge("lgsp.gateway.registry.version", &[], "The version of the registry in force; 0 when there is none.");

pub(crate) const TOKENS_OPEN: Metric = Metric::gauge(
    "lgsp.gateway.join_tokens.open",
    &[],
    "Join tokens that are good now, as far as they are counted (1,000).",
);
pub(crate) const KEYS_REVOKED: Metric =
    Metric::gauge("lgsp.gateway.keys.revoked", &[], "Keys that the gateway itself has put out of force.");
pub(crate) const ISSUED: Metric = Metric::counter(
    "lgsp.gateway.certificates.issued",
    &["over"],
    "Certificates issued, over a join token or over the one that is renewed.",
);
pub(crate) const JOINS_REFUSED: Metric =
    Metric::counter("lgsp.gateway.joins.refused", &["reason"], "Attempts to join that were refused, by reason.");

pub(crate) const OPEN: Metric =
    Metric::gauge("lgsp.gateway.connections", &[], "Connections open on the bus, of everybody.");
pub(crate) const OPEN_OF_SYSTEM: Metric =
    Metric::gauge("lgsp.gateway.system.connections", &[SYSTEM], "Connections open of each system of the registry.");
pub(crate) const SYSTEM_NOT_AFTER: Metric = Metric::moment(
    "lgsp.gateway.system.certificate.not_after.timestamp",
    &[SYSTEM],
    "When the first certificate ends with which a system of the registry is connected now.",
);
pub(crate) const INBOX_STREAMS: Metric = Metric::gauge(
    "lgsp.gateway.inbox.streams",
    &[],
    "Inboxes listened to: open streams, each as often as it has parties.",
);
pub(crate) const HANDSHAKES_REFUSED: Metric = Metric::counter(
    "lgsp.gateway.handshakes.refused",
    &["reason"],
    "Connections to the bus that did not come about, by reason.",
);
pub(crate) const CALLS_REFUSED: Metric =
    Metric::counter("lgsp.gateway.calls.refused", &["reason"], "Calls refused before their answer began, by reason.");
pub(crate) const QUOTA_REFUSALS: Metric = Metric::counter(
    "lgsp.gateway.quota.refusals",
    &["quota"],
    "Calls refused because a party or a system had used up its share, by the share.",
);

pub(crate) const QUERIES: Metric = Metric::counter(
    "lgsp.gateway.queries",
    &["outcome"],
    "Questions sent to connectors, by what became of them; late answers beside them.",
);

pub(crate) const DOSSIERS: Metric =
    Metric::gauge("lgsp.gateway.dossiers", &[], "Dossiers known, without those that were archived.");
pub(crate) const ARCHIVED: Metric = Metric::gauge("lgsp.gateway.dossiers.archived", &[], "Dossiers archived.");
pub(crate) const EVENTS: Metric = Metric::counter(
    "lgsp.gateway.events",
    &[],
    "Events recorded since the first start, those of archived dossiers as well.",
);
pub(crate) const DELIVERIES: Metric = Metric::gauge(
    "lgsp.gateway.deliveries",
    &["state"],
    "Deliveries owed: waiting for an adapter, taken over by one, or parked for a person to decide.",
);
pub(crate) const COMMITS_QUEUED: Metric =
    Metric::gauge("lgsp.gateway.commits.queued", &[], "Commits waiting for the journal.");
pub(crate) const JOURNAL_DURABLE: Metric = Metric::counter(
    "lgsp.gateway.journal.records",
    &[],
    "Records that are durable in the journal, since the first start.",
);
pub(crate) const INDEX_APPLIED: Metric = Metric::counter(
    "lgsp.gateway.index.records",
    &[],
    "Records of the journal that the index has, since the first start.",
);
pub(crate) const READ_ONLY: Metric =
    Metric::gauge("lgsp.gateway.store.read_only", &[], "Whether nothing can be written until a restart (1).");
pub(crate) const DISK_SHORT: Metric = Metric::gauge(
    "lgsp.gateway.disk.short",
    &[],
    "Whether a disk is nearly full and nothing new is taken in (1); ends by itself.",
);

//! What gateway and adapters tell alike about certificates: one rule for all of them sees months ahead what will expire.

use std::time::SystemTime;

use crate::{Figures, Metric};

/// When the process's own certificates end.
pub const CERTIFICATE_NOT_AFTER: Metric = Metric::moment(
    "lgsp.certificate.not_after.timestamp",
    &["certificate"],
    "When the process's own certificate ends, the first of its issuing CAs, or the CA by which the gateway certifies others.",
);

/// When the roots end.
pub const ROOT_NOT_AFTER: Metric =
    Metric::moment("lgsp.root.not_after.timestamp", &["bundle", "root"], "When a root of a bundle in force ends.");

/// When the revocation lists are due to be replaced.
pub const LIST_NEXT_UPDATE: Metric = Metric::moment(
    "lgsp.revocation_list.next_update.timestamp",
    &["bundle", "issuer"],
    "By when a revocation list in force says that there is a newer one; one that does not say is not here.",
);

/// When certificates and bundles were put in force.
pub const LOADED: Metric = Metric::moment(
    "lgsp.certificates.loaded.timestamp",
    &[],
    "When the certificates, roots and lists in force were loaded.",
);

/// Whether the files as they are now are those in force.
pub const UP_TO_DATE: Metric = Metric::gauge(
    "lgsp.certificates.up_to_date",
    &[],
    "Whether the certificate files as they are now are in force (1), or could not be loaded (0).",
);

/// What came of loading changed files.
pub const RELOADS: Metric = Metric::counter(
    "lgsp.certificates.reloads",
    &["outcome"],
    "Attempts to put changed certificate files in force, by outcome; what failed is tried again.",
);

/// The outcomes of [`RELOADS`].
pub const IN_FORCE: &str = "in_force";
/// The outcomes of [`RELOADS`].
pub const FAILED: &str = "failed";

/// All of them.
pub const ALL: &[&Metric] =
    &[&CERTIFICATE_NOT_AFTER, &ROOT_NOT_AFTER, &LIST_NEXT_UPDATE, &LOADED, &UP_TO_DATE, &RELOADS];

/// Tells the roots and lists of a bundle, each by its mark.
pub fn tell_bundle(
    figures: &mut Figures,
    bundle: &str,
    roots: &[(String, SystemTime)],
    lists: &[(String, SystemTime)],
) {
    for (root, end) in roots {
        figures.soonest(&ROOT_NOT_AFTER, [bundle, root], *end);
    }
    for (issuer, next) in lists {
        figures.soonest(&LIST_NEXT_UPDATE, [bundle, issuer], *next);
    }
}

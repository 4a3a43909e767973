//! What people write into files: the registry, and the two configurations.

use std::collections::BTreeMap;
use std::path::Path;

use lgsp_certs::{Bundle, SystemPattern};
use lgsp_domain::query::Schema;
use lgsp_domain::query::schema::{FIELD_LENGTH_MAX, FIELDS_MAX};
use lgsp_domain::registry::{Registry, diff};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

/// The registry that a fuzzed file is put into, so that what refers to others finds them.
const BASE: [(&str, &[u8]); 7] = [
    ("calendars.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/calendars.toml")),
    ("grants.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/grants.toml")),
    ("parties.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/parties.toml")),
    ("procedures.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/procedures.toml")),
    ("routes.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/routes.toml")),
    ("systems.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/systems.toml")),
    ("units.toml", include_bytes!("../../../gateway/domain/tests/fixtures/registry/units.toml")),
];

/// A root that vouches for nothing anywhere.
const ROOT: &[u8] = include_bytes!("root.der");

/// One file of a registry, in the place of the one that the first byte names, the others being in order.
pub(crate) fn registry(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let mut files: BTreeMap<String, Vec<u8>> =
        BASE.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
    let (name, _) = BASE[usize::from(*which) % BASE.len()];
    files.insert(name.to_owned(), content.to_vec());
    match Registry::parse(&files) {
        Ok(registry) => assert!(diff(&registry, &registry).is_empty(), "a registry differs from itself"),
        Err(problems) => assert!(!problems.is_empty(), "refused, and nobody says why"),
    }
}

/// The schema of a data service: what is accepted has fields that can be granted, and so many.
pub(crate) fn schema(text: &[u8]) {
    match Schema::parse(text) {
        Ok(schema) => {
            assert!(schema.fields().len() <= FIELDS_MAX);
            assert!(schema.fields().iter().all(|field| !field.is_empty() && field.len() <= FIELD_LENGTH_MAX));
            assert!(schema.check_reply(b"{}").is_ok(), "a reply may lack everything");
        }
        Err(faults) => assert!(!faults.is_empty(), "refused, and nobody says why"),
    }
}

/// A root certificate, or a revocation list, that an operator was handed and put into a bundle; the first byte says which.
pub(crate) fn bundle(bytes: &[u8]) {
    let Some((which, der)) = bytes.split_first() else { return };
    let domain = "lgsp.test".parse().expect("a trust domain");
    let (roots, lists) = match which % 2 {
        0 => (vec![CertificateDer::from(der.to_vec())], Vec::new()),
        _ => (vec![CertificateDer::from(ROOT)], vec![CertificateRevocationListDer::from(der.to_vec())]),
    };
    drop(Bundle::new("fuzzed", domain, vec![SystemPattern::Any], roots, lists));
}

/// The gateway's configuration: what it shows of what it understood is understood again, and the same.
pub(crate) fn gateway_config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let parse = |text: &str| lgsp_gateway::config::Config::parse(text, Path::new("/etc/lgsp"), []);
    match parse(text) {
        Ok(config) => {
            let shown = config.to_toml();
            let again = parse(&shown).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
            assert_eq!(again.to_toml(), shown);
        }
        Err(problems) => assert!(!problems.0.is_empty(), "refused, and nobody says why"),
    }
}

/// The adapter's, likewise.
pub(crate) fn adapter_config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let parse = |text: &str| lgsp_adapters::Config::parse(text, Path::new("/etc/lgsp"), []);
    match parse(text) {
        Ok(config) => {
            let shown = config.to_toml();
            let again = parse(&shown).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
            assert_eq!(again.to_toml(), shown);
        }
        Err(problems) => assert!(!problems.0.is_empty(), "refused, and nobody says why"),
    }
}

//! The registry of Hue, carried inside the program so that it can be played with anywhere.

use std::collections::BTreeMap;

use lgsp_domain::registry::Registry;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue/", $name)))),*]
    };
}

/// The files of the registry, by name.
pub(crate) const FILES: &[(&str, &str)] = files![
    "calendars.toml",
    "dan-cu-ba-khoa.request.schema.json",
    "dan-cu-doi-chieu.reply.schema.json",
    "dan-cu-doi-chieu.request.schema.json",
    "dan-cu-ho-gia-dinh.reply.schema.json",
    "dan-cu-ho-gia-dinh.request.schema.json",
    "dan-cu-tra-cuu.reply.schema.json",
    "dan-cu-xac-nhan-so.reply.schema.json",
    "grants.toml",
    "parties.toml",
    "procedures.toml",
    "routes.toml",
    "services.toml",
    "systems.toml",
    "units.toml",
];

/// The registry, parsed.
///
/// # Errors
/// Its problems, one a line: the program was built from a broken registry.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    parse(FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

/// A registry made of these texts.
///
/// # Errors
/// Its problems, one a line.
pub(crate) fn parse(files: BTreeMap<String, String>) -> anyhow::Result<Registry> {
    let files: BTreeMap<String, Vec<u8>> = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    Registry::parse(&files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the registry that came with this program has problems:\n{}", lines.join("\n"))
    })
}

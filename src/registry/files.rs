//! Where a registry comes from: a folder of files, or the gateway's version in force.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use lgsp_adapters::link::{CallError, Link, Profile};
use lgsp_domain::registry::{Problem, Registry, SCHEMA_SUFFIX};
use lgsp_proto::v1::{ReadRegistryRequest, RegistryFile, RegistryVersion};

use crate::failure::Failure;
use crate::lang::Lang;

/// The files of a registry in a folder, by name, as they are: `.toml`, and the schemas of its services. What else lies there is
/// left alone.
pub(super) fn read(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let unusable = |path: &Path, error: std::io::Error| Failure::of_file(path, &error);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|error| unusable(dir, error))? {
        let path = entry.map_err(|error| unusable(dir, error))?.path();
        let is_ours = |name: &&str| name.ends_with(".toml") || name.ends_with(SCHEMA_SUFFIX);
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(is_ours) else { continue };
        let content = std::fs::read(&path).map_err(|error| unusable(&path, error))?;
        files.insert(name.to_owned(), content);
    }
    Ok(files)
}

/// The files as messages.
pub(super) fn messages(files: BTreeMap<String, Vec<u8>>) -> Vec<RegistryFile> {
    files.into_iter().map(|(name, content)| RegistryFile { name, content: content.into() }).collect()
}

/// The registry of a folder, for work without a gateway.
pub(crate) fn in_folder(dir: &Path, lang: Lang) -> anyhow::Result<Registry> {
    Registry::parse(&read(dir)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| line(problem, lang)).collect();
        Failure::usage(format!("{}:\n{}", dir.display(), lines.join("\n")))
    })
}

/// The version in force at the gateway.
pub(crate) async fn of_gateway(link: &Link, profile: &Profile) -> anyhow::Result<(Registry, RegistryVersion)> {
    let request = ReadRegistryRequest {
        acting_party: profile.acting_party.to_string(),
        actor: profile.actor.to_string(),
        version: 0,
        ..ReadRegistryRequest::default()
    };
    let answer = link.registry().read(link.request(request, None)).await.map_err(CallError::from_status);
    let answer = answer.map_err(|error| Failure::of_link(error, link, None))?.into_inner();
    let version = answer.version.context("the gateway sent a registry without its version")?;
    let files = answer.files.into_iter().map(|file| (file.name, file.content.to_vec())).collect();
    let parsed = Registry::parse(&files).map(|registry| registry.with_version(version.number));
    let registry = parsed.map_err(|problems| {
        let count = problems.len();
        anyhow::anyhow!(
            "this version of lgsp finds {count} problem(s) in the gateway's registry; are they of one version?"
        )
    })?;
    Ok((registry, version))
}

/// One problem on one line: file, line, key, what is wrong.
pub(super) fn line(problem: &Problem, lang: Lang) -> String {
    place(&problem.file, problem.line, &problem.path) + lang.pick(&problem.vi, &problem.en)
}

/// `routes.toml:12 route[3].authority: `, as far as it is known.
pub(super) fn place(file: &str, line: Option<u32>, path: &str) -> String {
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    let path = if path.is_empty() { String::new() } else { format!(" {path}") };
    format!("{file}{line}{path}: ")
}

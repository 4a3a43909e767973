//! `lgsp registry versions` and `read`: what was applied so far, and the files of any version.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{ReadRegistryRequest, RegistryFile, RegistryVersion, RegistryVersionsRequest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::paging::{Paging, tell_of_more};
use crate::profile::Connection;
use crate::table::Table;

/// Lists versions.
#[derive(Args, Debug)]
pub(super) struct Versions {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Reads the files of a version.
#[derive(Args, Debug)]
pub(super) struct Read {
    /// Which version; the one in force if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
    /// Write the files into this folder, which must not be there yet or be empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Versions {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let ask = async |page_size, page_token| {
            let request = RegistryVersionsRequest {
                acting_party: profile.acting_party.to_string(),
                actor: profile.actor.to_string(),
                page_size,
                page_token,
            };
            let answer = link.registry().versions(link.request(request, None)).await.map_err(CallError::from_status);
            let answer = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
            Ok((answer.versions, answer.next_page_token))
        };
        let (versions, next) = self.paging.collect(ask).await?;
        let json = || {
            let next = Some(&next).filter(|token| !token.is_empty());
            json!({ "versions": versions.iter().map(json_of).collect::<Value>(), "next_page_token": next })
        };
        self.output.print(json, || table(&versions, lang).to_string())?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Read {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = ReadRegistryRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            version: self.version.unwrap_or_default(),
            ..ReadRegistryRequest::default()
        };
        let answer = link.registry().read(link.request(request, None)).await.map_err(CallError::from_status);
        let answer = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
        let version = answer.version.context("the gateway sent a registry without its version")?;
        if let Some(dir) = &self.out {
            write(dir, &answer.files).map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))?;
        }
        let json = || {
            let mut json = json_of(&version);
            let size = |file: &RegistryFile| json!({ "name": file.name, "size_bytes": file.content.len() });
            json["files"] = answer.files.iter().map(size).collect();
            json
        };
        let text = || {
            let heading = lang.pick(["Tệp", "Kích thước (byte)"], ["File", "Bytes"]);
            let mut files = Table::new(heading);
            for file in &answer.files {
                files.row([file.name.clone(), file.content.len().to_string()]);
            }
            format!("{}\n{files}", table(std::slice::from_ref(&version), lang))
        };
        self.output.print(json, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Into a folder of its own, so that nothing that lies there becomes part of a registry by mistake.
fn write(dir: &PathBuf, files: &[RegistryFile]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    if fs::read_dir(dir)?.next().is_some() {
        return Err(std::io::Error::other("is not empty"));
    }
    for file in files {
        // The gateway takes plain names only; what it sends is not trusted to be one.
        let is_plain = !file.name.is_empty() && !file.name.contains(['/', '\\']) && !file.name.starts_with('.');
        if !is_plain {
            return Err(std::io::Error::other(format!("the gateway names a file {:?}", file.name)));
        }
        fs::write(dir.join(&file.name), &file.content)?;
    }
    Ok(())
}

fn table(versions: &[RegistryVersion], lang: Lang) -> Table {
    let heading = match lang {
        Lang::Vi => ["Phiên bản", "Áp dụng lúc", "Hệ thống", "Nhân danh", "Cán bộ", "Như phiên bản"],
        Lang::En => ["Version", "Applied", "System", "In the name of", "Actor", "As version"],
    };
    let mut table = Table::new(heading);
    for version in versions {
        let back = Some(version.rolled_back_to).filter(|back| *back > 0);
        table.row([
            version.number.to_string(),
            moment::short(version.applied_at.as_ref(), lang),
            version.applied_by_system.clone(),
            version.acting_party.clone(),
            version.actor.clone(),
            back.map_or_else(String::new, |back| back.to_string()),
        ]);
    }
    table
}

fn json_of(version: &RegistryVersion) -> Value {
    json!({
        "version": version.number,
        "sha256": HEXLOWER.encode(&version.sha256),
        "applied_at": moment::rfc3339(version.applied_at.as_ref()),
        "applied_by_system": version.applied_by_system,
        "acting_party": Some(&version.acting_party).filter(|party| !party.is_empty()),
        "actor": version.actor,
        "rolled_back_to": Some(version.rolled_back_to).filter(|back| *back > 0),
        "accepted_lock_out": Some(&version.accepted_lock_out).filter(|rights| !rights.is_empty()),
    })
}

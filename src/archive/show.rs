//! `lgsp archive show`: a dossier out of an archive, opened with the gateway's keys. It changes nothing, and the gateway may be
//! running or not.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use data_encoding::BASE64;
use lgsp_gateway::api::{dossier_message, query_message};
use lgsp_gateway::archive::{Found, find};
use lgsp_gateway::engine::documents::open_sealed;
use lgsp_gateway::store::data_folder::keys_of;
use lgsp_gateway::store::read_only::{history_of, key_of};
use lgsp_proto::types::Sha256Digest;
use serde_json::{Value, json};

use super::{folder_of, name, unreadable};
use crate::dossier::show::{Standing, text};
use crate::dossier::views;
use crate::failure::{Failure, REFUSED, because};
use crate::fsck::NodeKeyFile;
use crate::lang::Lang;
use crate::output::Output;

/// Shows a dossier out of an archive.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// The data folder with the keys (store.dir in the gateway's configuration).
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    node_key: NodeKeyFile,
    /// Where archives are (retention.archive_dir); archives in the data folder if not given.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// Put the content of the events into the JSON as well, the bytes that were signed, in base64; and what was asked and told in its
    /// look-ups. They name people.
    #[arg(long)]
    bodies: bool,
    /// Write this document of the dossier to a file instead, by its SHA-256.
    #[arg(long, value_name = "SHA256", requires = "out")]
    document: Option<Sha256Digest>,
    /// The file for the document; it must not exist yet.
    #[arg(long, value_name = "FILE", requires = "document")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let folder = folder_of(self.archives.as_ref(), &self.data);
        let (found, unread) = find(&folder, &self.code).map_err(|error| unreadable(&folder, error, lang))?;
        for (path, error) in &unread {
            let passed = lang.pick("bỏ qua", "passed over");
            eprintln!("{}: {passed}: {error}", name(path));
        }
        let Some(found) = found else {
            let (folder, code) = (folder.display(), &self.code);
            return Err(Failure::usage(lang.pick(
                format!("Các tệp lưu trữ trong {folder} không có hồ sơ {code:?}"),
                format!("The archives in {folder} hold no dossier {code:?}"),
            )));
        };
        let keys =
            keys_of(&self.data, &self.node_key.of(&self.data)).map_err(|error| Failure::usage(because(&error)))?;
        let key = |id| key_of(&keys, id).map_err(|error| unreadable(&found.path, because(&error), lang));
        if let (Some(document), Some(out)) = (&self.document, &self.out) {
            let kept = found.dossier.documents.iter().find(|kept| kept.sha256 == document.as_bytes()[..]);
            let Some(kept) = kept.cloned() else {
                return Err(Failure::usage(lang.pick(
                    format!("Hồ sơ không có tài liệu {document}"),
                    format!("The dossier has no document {document}"),
                )));
            };
            let key = key(kept.key_id)?;
            let path = found.path.clone();
            let (Some(key), Some(sealed)) = (key, found.archive.document(&kept)) else {
                eprintln!("{}", lang.pick("Nội dung đã bị xoá vĩnh viễn.", "The content was erased for good."));
                return Ok(ExitCode::from(REFUSED));
            };
            write(open_sealed(sealed, kept.size_bytes, key), out).map_err(|error| unreadable(&path, error, lang))?;
            let json = || json!({ "sha256": document.to_string(), "size_bytes": kept.size_bytes, "media_type": kept.media_type });
            let written = || format!("{}\n", out.display());
            self.output.print(json, written)?;
            return Ok(ExitCode::SUCCESS);
        }
        let Found { path, archive, dossier } = &found;
        let records = archive.records(dossier).map_err(|error| unreadable(path, error, lang))?;
        let history = history_of(&records, &keys).map_err(|error| unreadable(path, because(&error), lang))?;
        let history = history.ok_or_else(|| unreadable(path, "it has no events of the dossier", lang))?;
        let erased = history.events.iter().any(|event| event.erased);
        let bodies: Vec<Option<String>> =
            history.events.iter().map(|event| event.body.as_ref().map(|body| BASE64.encode(body))).collect();
        let told = |content: &Option<(Bytes, Bytes)>| {
            let document = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
            let (payload, reply) =
                content.as_ref().map(|(payload, reply)| (document(payload), document(reply))).unzip();
            json!({ "payload": payload, "reply": reply })
        };
        let snapshots: Vec<Value> = history.queries.iter().rev().map(|query| told(&query.content)).collect();
        let standing = Standing {
            dossier: dossier_message(&history.dossier, history.dossier.updated_at),
            events: history.events.into_iter().map(|recorded| recorded.event).collect(),
            erased,
            look_ups: history.queries.into_iter().rev().map(query_message).collect(),
            more_look_ups: false,
        };
        let json = || {
            let event = |(event, body): (&lgsp_proto::v1::Event, &Option<String>)| {
                let mut json = views::event(event);
                if self.bodies {
                    json["body_base64"] = json!(body);
                }
                json
            };
            let events = standing.events.iter().zip(&bodies).map(event).collect::<Value>();
            let look_up = |(query, snapshot): (&lgsp_proto::v1::QueryOnRecord, &Value)| {
                let mut json = crate::query::json_of(query);
                if self.bodies {
                    json["payload"] = snapshot["payload"].clone();
                    json["reply"] = snapshot["reply"].clone();
                }
                json
            };
            let look_ups = standing.look_ups.iter().zip(&snapshots).map(look_up).collect::<Value>();
            let dossier = views::dossier(&standing.dossier);
            json!({ "archive": name(path), "erased": erased, "dossier": dossier, "events": events, "look_ups": look_ups })
        };
        let text = || {
            let from = lang.pick("Tệp lưu trữ", "Archive");
            format!("{}\n{from}: {}\n", text(&standing, lang), name(path))
        };
        self.output.print(json, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a document to a file of its own, whole or not at all.
fn write(content: io::Result<impl Iterator<Item = io::Result<impl AsRef<[u8]>>>>, out: &Path) -> io::Result<()> {
    let content = content?;
    // It is as private as the archive it comes out of.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(out)?;
    let mut written = (|| {
        for chunk in content {
            file.write_all(chunk?.as_ref())?;
        }
        file.sync_all()
    })();
    if written.is_err() {
        // Half a document must not pass for one.
        written = fs::remove_file(out).and(written);
    }
    written
}

//! The documents that a delivery names, fetched from the gateway and put beside it before it is there itself.
//!
//! They lie in `<delivery>.files/`, named by digest and kind: what people called them may be somebody's name. One that the
//! gateway does not give away for good has `<digest>.problem.json` in its place.

use std::ffi::OsStr;
use std::io::{self, Write as _};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use lgsp_proto::types::Sha256Digest;
use serde::Deserialize;
use tokio::runtime::Handle;

use super::answers;
use super::disk::Dir;
use super::view::Trouble;
use crate::office::{Caller, Office};
use crate::problem::{LocalReason, Problem};
use crate::request::ending_of;
use crate::spool::DeliveryId;
use crate::trace::TraceParent;

/// The account in whose name the adapter itself asks.
const ACTOR: &str = "adapter";

/// As much of a delivery as names documents.
#[derive(Deserialize)]
struct DeliveryJson {
    body: Option<BodyJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BodyJson {
    components: Vec<PartJson>,
    results: Vec<PartJson>,
}

#[derive(Deserialize)]
struct PartJson {
    document: Option<NameJson>,
}

/// A document that a delivery names.
#[derive(Deserialize)]
pub(crate) struct NameJson {
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) media_type: String,
}

/// Every document that a delivery names.
pub(crate) fn documents_named(delivery: &[u8]) -> Vec<NameJson> {
    let delivery: DeliveryJson = serde_json::from_slice(delivery).unwrap_or(DeliveryJson { body: None });
    let BodyJson { components, results } = delivery.body.unwrap_or_default();
    components.into_iter().chain(results).filter_map(|part| part.document).collect()
}

/// Why a document is not there.
enum Failed {
    /// Said by the gateway, or because there is none.
    Said(Problem),
    Disk(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Puts every document that `delivery` names into a folder of this name in `dossier`; there is no folder if it names none.
///
/// # Errors
/// What is the matter with the folder or the line. What is there already is not fetched again.
pub(super) fn put_beside(
    office: &Office,
    handle: &Handle,
    dossier: &Dir,
    name: &str,
    id: &DeliveryId,
    trace: Option<&TraceParent>,
    delivery: &[u8],
) -> Result<(), Trouble> {
    let documents = documents_named(delivery);
    let (Ok(party), Ok(actor)) = (id.party.parse(), ACTOR.parse()) else { return Ok(()) };
    if documents.is_empty() {
        return Ok(());
    }
    let caller = Caller { party, actor, trace: trace.cloned().unwrap_or_else(TraceParent::begin) };
    let files = dossier.own(name).map_err(|error| Trouble::of(&error))?;
    for NameJson { sha256, media_type } in documents {
        let Ok(digest) = sha256.parse::<Sha256Digest>() else { continue };
        let file = ending_of(&media_type).map_or_else(|| sha256.clone(), |ending| format!("{sha256}.{ending}"));
        if files.looks(OsStr::new(&file)).is_ok() {
            continue;
        }
        match fetch(office, handle, &files, &file, &caller, &id.dossier, digest.as_bytes()) {
            Ok(()) => {}
            Err(Failed::Said(problem)) if problem.may_pass() => return Err(Trouble::NoDocuments),
            Err(Failed::Said(problem)) => {
                let there = format!("{sha256}.problem.json");
                files.write(&there, &answers::to_json(&problem)).map_err(|error| Trouble::of(&error))?;
            }
            Err(Failed::Disk(error)) => return Err(Trouble::of(&error)),
        }
    }
    Ok(())
}

fn fetch(
    office: &Office,
    handle: &Handle,
    files: &Dir,
    name: &str,
    caller: &Caller,
    dossier: &str,
    sha256: &[u8; 32],
) -> Result<(), Failed> {
    let (_, mut download) = handle.block_on(office.fetch(caller, dossier, sha256)).map_err(Failed::Said)?;
    let mut said = None;
    let written = files.write_with(name, |file| {
        let mut digest = Context::new(&SHA256);
        let broken_off = || io::Error::other("the download broke off");
        let mut next = || handle.block_on(download.chunk()).map_err(|problem| said = Some(problem));
        while let Some(chunk) = next().map_err(|()| broken_off())? {
            digest.update(&chunk);
            file.write_all(&chunk)?;
        }
        if digest.finish().as_ref() == sha256 {
            return Ok(());
        }
        tracing::warn!(sha256 = HEXLOWER.encode(sha256), "a download is not the document that was asked for");
        said = Some(LocalReason::GatewayUnreachable.into());
        Err(broken_off())
    });
    match said {
        Some(problem) => Err(Failed::Said(problem)),
        None => Ok(written?),
    }
}

//! What the agency's software reads in `answers/<name>`: `result.json` once a request was taken in, `error.json` when nothing was.

use lgsp_proto::types::RequestKey;
use serde::{Deserialize, Serialize};

use super::disk::Dir;
use crate::problem::Problem;
use crate::spool::{CallId, call_id};

/// How a request stands: taken in, and later admitted or refused.
pub(super) const RESULT: &str = "result.json";

/// Why a request was not taken in.
pub(super) const ERROR: &str = "error.json";

/// More than any answer of ours has.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Nothing was taken in, and nothing will be as it is.
#[derive(Serialize)]
pub(super) struct ErrorJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) party: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_key: Option<&'a RequestKeyJson>,
    /// Always `rejected`.
    pub(super) state: &'static str,
    pub(super) problem: Problem,
}

/// A request key as text.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct RequestKeyJson(String);

impl RequestKeyJson {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&RequestKey> for RequestKeyJson {
    fn from(key: &RequestKey) -> Self {
        Self(key.as_str().to_owned())
    }
}

/// Whose answer it is.
#[derive(Deserialize)]
struct Whose {
    party: String,
    request_key: String,
}

/// Which request `result.json` in a folder answers, if it is there and one of ours.
pub(super) fn answered(folder: &Dir) -> Option<CallId> {
    let text = folder.read(RESULT, MAX_ANSWER_BYTES).ok()??;
    let whose: Whose = serde_json::from_slice(&text).ok()?;
    Some(call_id(&whose.party, &whose.request_key))
}

/// JSON that people open as well.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("our own types have text keys and finite numbers only");
    text.push(b'\n');
    text
}

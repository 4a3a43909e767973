//! Reading JSON so that whoever sent it learns which field is not what it should be.
//!
//! Invariant: nothing of the content is told. A path names fields of ours only, for a key of the sender's may be anything, a name where a
//! comma is missing.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// Why a document could not be read, and where in it.
#[derive(Debug)]
pub(crate) struct NotJson {
    /// The field at fault, as `results[0].document`; empty when it is none.
    pub(crate) field: String,
    /// What serde says. It may quote the content.
    pub(crate) error: serde_json::Error,
}

impl NotJson {
    fn at(path: &Path, error: serde_json::Error) -> Self {
        let mut field = String::new();
        // What is no JSON at all has a place, and no field.
        for segment in path.iter().take_while(|_| error.is_data()) {
            match segment {
                Segment::Seq { index } => field += &format!("[{index}]"),
                Segment::Map { key } if is_word(key) => push(&mut field, key),
                Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => break,
            }
        }
        if let Some(missing) = between(&error.to_string(), "missing field `") {
            push(&mut field, missing);
        }
        Self { field, error }
    }
}

impl From<serde_json::Error> for NotJson {
    fn from(error: serde_json::Error) -> Self {
        Self { field: String::new(), error }
    }
}

/// Reads a whole document.
///
/// # Errors
/// See [`NotJson`].
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, NotJson> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut from);
    let value = read.map_err(|error| NotJson::at(&error.path().clone(), error.into_inner()))?;
    from.end()?;
    Ok(value)
}

/// Reads what was read as any JSON before.
///
/// # Errors
/// See [`NotJson`].
pub(crate) fn read_value<T: DeserializeOwned>(value: impl Into<serde_json::Value>) -> Result<T, NotJson> {
    let read = serde_path_to_error::deserialize(value.into());
    read.map_err(|error| NotJson::at(&error.path().clone(), error.into_inner()))
}

/// Whether a key looks as ours do.
pub(crate) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn push(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

fn between<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::super::{EntryJson, SubmissionJson};
    use super::*;

    #[test]
    fn the_field_at_fault_is_named_and_nothing_of_what_was_sent() {
        let entry = |text: &str| EntryJson::read(text.as_bytes()).err().unwrap().field;
        for (text, field) in [
            (r#"{"type":"accepted","note":7}"#, "note"),
            (r#"{"type":"accepted","occurred_at":7}"#, "occurred_at"),
            (r#"{"type":"fee_paid","amount_vnd":"a"}"#, "amount_vnd"),
            (r#"{"type":"fee_requested","fees":[{"name":"Phí"},{"name":{}}]}"#, "fees[1].name"),
            (
                r#"{"type":"supplement_provided","components":[{"document":{"sha256":1}}]}"#,
                "components[0].document.sha256",
            ),
            (r#"{"type":"acceptd"}"#, "type"),
            (r#"{"type":1}"#, "type"),
            (r#"{}"#, "type"),
            (r#"{"type":"accepted","#, ""),
            // Somebody's name where a comma is missing.
            (r#"{"type":"accepted","Nguyễn Thị Thử":"x"}"#, ""),
        ] {
            assert_eq!(entry(text), field, "{text}");
        }
        let submission = |text: &str| read::<SubmissionJson>(text.as_bytes()).err().unwrap().field;
        assert_eq!(submission(r#"{"applicant":{"full_name":["Nguyễn Thị Thử"]}}"#), "applicant.full_name");
        assert_eq!(submission(r#"{"applicant":{}} x"#), "");
    }
}

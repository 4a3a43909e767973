//! A new dossier as a file describes it: the JSON that an adapter takes at `POST /v1/dossiers`.
//!
//! Only what must be told apart to become a message is read here; whether a field is well formed is the gateway's to say,
//! which names all of them at once.

use std::path::Path;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use lgsp_adapters::link::Profile;
use lgsp_proto::types::{BusinessTime, IntakeChannel, ReturnChannel};
use lgsp_proto::{Wrong, v1};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::moment;

/// The file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubmissionFile {
    pub(super) procedure_code: String,
    pub(super) case_code: String,
    pub(super) applicant: ApplicantFile,
    pub(super) locality: String,
    pub(super) intake_channel: Option<String>,
    pub(super) support_point: String,
    pub(super) return_desk: String,
    pub(super) return_channel: Option<String>,
    pub(super) received_at: Option<String>,
    components: Vec<ComponentFile>,
    pub(super) summary: String,
    form: Option<Box<RawValue>>,
    form_base64: Option<String>,
    aliases: Vec<String>,
    pub(super) return_address: String,
    dossier_code: String,
}

/// Who asks.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApplicantFile {
    pub(super) kind: Option<String>,
    pub(super) full_name: String,
    pub(super) personal_number: String,
    pub(super) date_of_birth: String,
    sex: Option<String>,
    phone: String,
    email: String,
    address: String,
    organisation_number: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ComponentFile {
    code: String,
    name: String,
    document: Option<DocumentFile>,
    originals: u32,
    copies: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DocumentFile {
    sha256: String,
    size_bytes: u64,
    media_type: String,
    file_name: String,
}

impl SubmissionFile {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let unusable = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
        let text = std::fs::read(path).map_err(|error| Failure::of_file(path, &error))?;
        serde_json::from_slice(&text).map_err(|error| unusable(not_readable(&error)))
    }

    /// The message, in the profile's name and still without a request key.
    pub(super) fn into_message(self, profile: &Profile) -> anyhow::Result<v1::Submission> {
        let mut words = Words::default();
        let submission = v1::Submission {
            request_key: String::new(),
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            procedure_code: self.procedure_code,
            case_code: self.case_code,
            applicant: Some(self.applicant.into_message(&mut words)),
            locality: self.locality,
            intake_channel: words.read("intake_channel", self.intake_channel.as_deref(), intake),
            support_point: self.support_point,
            return_desk: self.return_desk,
            return_channel: words.read("return_channel", self.return_channel.as_deref(), hand_back),
            received_at: words.read("received_at", self.received_at.as_deref(), |text| {
                let time = text.parse::<BusinessTime>()?;
                Ok(Some(moment::wire(time)))
            }),
            components: self.components.into_iter().map(|component| component.into_message(&mut words)).collect(),
            summary: self.summary,
            form: match (self.form, self.form_base64) {
                (Some(_), Some(_)) => words.problem(
                    "form",
                    Wrong::new(
                        "và form_base64 cùng có mặt; chỉ được một trong hai",
                        "and form_base64 are both there; one of them at most",
                    ),
                ),
                (Some(json), None) => json.get().as_bytes().to_vec().into(),
                (None, base64) => words.read("form_base64", base64.as_deref(), |text| {
                    Ok(BASE64
                        .decode(text.as_bytes())
                        .map_err(|_| Wrong::new("không phải Base64 có ký tự đệm", "is not Base64 with padding"))?
                        .into())
                }),
            },
            aliases: self.aliases,
            return_address: self.return_address,
            dossier_code: self.dossier_code,
        };
        words.finish(submission)
    }
}

/// Where a file is not what it should be. What is there is somebody's data, and errors end up in logs: of serde's messages only
/// those are told that name a field of ours.
fn not_readable(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let named = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if message.starts_with("missing field") || named.is_some_and(is_word) {
        return message;
    }
    format!("line {} column {} is not what belongs there", error.line(), error.column())
}

impl ApplicantFile {
    fn into_message(self, words: &mut Words) -> v1::Applicant {
        v1::Applicant {
            kind: words.read("applicant.kind", self.kind.as_deref(), kind),
            full_name: self.full_name,
            personal_number: self.personal_number,
            date_of_birth: self.date_of_birth,
            sex: words.read("applicant.sex", self.sex.as_deref(), sex),
            phone: self.phone,
            email: self.email,
            address: self.address,
            organisation_number: self.organisation_number,
        }
    }
}

impl ComponentFile {
    fn into_message(self, words: &mut Words) -> v1::Component {
        let document = self.document.map(|document| v1::DocumentRef {
            sha256: words.read("components.document.sha256", Some(&document.sha256), |text| {
                Ok(HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| Wrong::new("không phải chữ số thập lục phân", "is not hexadecimal"))?
                    .into())
            }),
            size_bytes: document.size_bytes,
            media_type: document.media_type,
            file_name: document.file_name,
        });
        let Self { code, name, originals, copies, .. } = self;
        v1::Component { code, name, document, originals, copies }
    }
}

fn intake(word: &str) -> Result<i32, Wrong> {
    let channel: IntakeChannel = word.parse()?;
    Ok(match channel {
        IntakeChannel::Direct => v1::IntakeChannel::Direct,
        IntakeChannel::Online => v1::IntakeChannel::Online,
        IntakeChannel::Postal => v1::IntakeChannel::Postal,
    } as i32)
}

/// The number of a return channel's word.
pub(super) fn hand_back(word: &str) -> Result<i32, Wrong> {
    let channel: ReturnChannel = word.parse()?;
    Ok(match channel {
        ReturnChannel::Direct => v1::ReturnChannel::Direct,
        ReturnChannel::Post => v1::ReturnChannel::Post,
        ReturnChannel::Online => v1::ReturnChannel::Online,
    } as i32)
}

fn kind(word: &str) -> Result<i32, Wrong> {
    let kind = match word {
        "citizen" => v1::ApplicantKind::Citizen,
        "enterprise" => v1::ApplicantKind::Enterprise,
        "state_agency" => v1::ApplicantKind::StateAgency,
        "other_organisation" => v1::ApplicantKind::OtherOrganisation,
        _ => {
            return Err(Wrong::new(
                "không thuộc: citizen, enterprise, state_agency, other_organisation",
                "is not one of citizen, enterprise, state_agency, other_organisation",
            ));
        }
    };
    Ok(kind as i32)
}

fn sex(word: &str) -> Result<i32, Wrong> {
    match word {
        "male" => Ok(v1::Sex::Male as i32),
        "female" => Ok(v1::Sex::Female as i32),
        _ => Err(Wrong::new("không thuộc: male, female", "is not one of male, female")),
    }
}

/// Collects what cannot even be written into a message.
#[derive(Default)]
pub(super) struct Words(Vec<(String, Wrong)>);

impl Words {
    /// Reads a text; absent is the default value, which the wire leaves out.
    pub(super) fn read<T: Default>(
        &mut self,
        field: &str,
        text: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> T {
        match text.map(read) {
            None => T::default(),
            Some(Ok(value)) => value,
            Some(Err(problem)) => self.problem(field, problem),
        }
    }

    /// Notes a problem and goes on, for the others.
    pub(super) fn problem<T: Default>(&mut self, field: &str, problem: Wrong) -> T {
        self.0.push((field.to_owned(), problem));
        T::default()
    }

    /// The message, if all of it could be written.
    pub(super) fn finish<T>(self, message: T) -> anyhow::Result<T> {
        if self.0.is_empty() {
            return Ok(message);
        }
        let lines = |text: fn(&Wrong) -> &str| {
            let lines = self.0.iter().map(|(field, problem)| format!("{field} {}", text(problem)));
            lines.collect::<Vec<_>>().join("\n")
        };
        Err(Failure::usage_in(lines(Wrong::vi), lines(Wrong::en)))
    }
}

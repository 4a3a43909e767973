//! A new dossier, as a desk's system hands it in.

use bytes::Bytes;
use data_encoding::BASE64;
use lgsp_proto::types::{
    ActorId, Alias, CaseCode, Date, DossierCode, IntakeChannel, PartyId, PersonalNumber, ProcedureCode, RequestKey,
    ReturnChannel, UnitCode,
};
use lgsp_proto::{Refusal, Wrong, v1};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::fields::Fields;
use super::parts::{ComponentJson, DocumentJson, bounded, documents_of, each, long, short, text};
use super::time;

/// The electronic form's largest content; the rest of a dossier is documents.
const MAX_FORM_BYTES: usize = 1 << 20;

/// The body of `POST /v1/dossiers`, and of the event `submitted`. The request key, the party and the clerk travel in headers.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Submission)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SubmissionJson {
    /// National procedure code, e.g. `1.001193`; a suffix such as `.000.00.00.H57` is stripped. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) procedure_code: Option<String>,
    /// The case of the procedure, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) case_code: Option<String>,
    /// Who asks. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) applicant: Option<ApplicantJson>,
    /// The commune (five digits) or province (two) the matter belongs to. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) locality: Option<String>,
    /// `direct`, `online` or `postal`. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) intake_channel: Option<String>,
    /// The agent point that helped to file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) support_point: Option<String>,
    /// Where the citizen wants the result; left out, at the intake desk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) return_desk: Option<String>,
    /// `direct`, `post` or `online`. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) return_channel: Option<String>,
    /// When the desk received it; left out, when the adapter takes it in. It decides the deadline. A repeated request says the
    /// same, or leaves it out again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_at: Option<String>,
    /// Papers and data items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) components: Vec<ComponentJson>,
    /// Trích yếu, at most 1,000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
    /// The electronic form when it is JSON; passed on to the letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) form: Option<Box<RawValue>>,
    /// The electronic form when it is something else, in Base64. One of the two at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) form_base64: Option<String>,
    /// Codes this dossier carries elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
    /// Where the result is posted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) return_address: Option<String>,
    /// A number already given out from a range leased to the desk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dossier_code: Option<String>,
}

/// The person or organisation that asks.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Applicant)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApplicantJson {
    /// `citizen`, `enterprise`, `state_agency` or `other_organisation`. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) kind: Option<String>,
    /// As the clerk typed it. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) full_name: Option<String>,
    /// 12-digit personal number, or the 9-digit number of an old card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) personal_number: Option<String>,
    /// yyyy-mm-dd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) date_of_birth: Option<String>,
    /// `male` or `female`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sex: Option<String>,
    /// Telephone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    /// Electronic mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// Where they live or have their seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The enterprise or organisation number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organisation_number: Option<String>,
}

impl SubmissionJson {
    /// The documents it names, each with its path.
    pub(crate) fn documents_mut(&mut self) -> Vec<(String, &mut DocumentJson)> {
        documents_of(&mut self.components)
    }

    /// The submission to be signed; without a time of reception where none was given.
    ///
    /// # Errors
    /// A refusal that names every malformed field.
    pub(crate) fn into_proto(
        self,
        key: &RequestKey,
        party: &PartyId,
        actor: &ActorId,
    ) -> Result<v1::Submission, Refusal> {
        let mut fields = Fields::default();
        let f = &mut fields;
        let text_of = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let submission = v1::Submission {
            request_key: key.as_str().to_owned(),
            acting_party: party.as_str().to_owned(),
            actor: actor.as_str().to_owned(),
            procedure_code: {
                let code = f.required::<ProcedureCode>("procedure_code", self.procedure_code.as_deref());
                text_of(code.as_ref().map(ProcedureCode::as_str))
            },
            case_code: {
                let case = f.optional::<CaseCode>("case_code", self.case_code.as_deref());
                text_of(case.as_ref().map(CaseCode::as_str))
            },
            applicant: match self.applicant {
                Some(applicant) => Some(applicant.into_proto(f)),
                None => {
                    f.problem("applicant", Wrong::missing());
                    None
                }
            },
            locality: {
                let unit = f.required::<UnitCode>("locality", self.locality.as_deref());
                text_of(unit.as_ref().map(UnitCode::as_str))
            },
            intake_channel: {
                let channel = f.required::<IntakeChannel>("intake_channel", self.intake_channel.as_deref());
                channel.map_or(0, |channel| intake_number(channel) as i32)
            },
            support_point: {
                let party = f.optional::<PartyId>("support_point", self.support_point.as_deref());
                text_of(party.as_ref().map(PartyId::as_str))
            },
            return_desk: {
                let party = f.optional::<PartyId>("return_desk", self.return_desk.as_deref());
                text_of(party.as_ref().map(PartyId::as_str))
            },
            return_channel: {
                let channel = f.required::<ReturnChannel>("return_channel", self.return_channel.as_deref());
                channel.map_or(0, |channel| return_number(channel) as i32)
            },
            received_at: f.optional_time("received_at", self.received_at.as_deref()),
            components: each("components", self.components, f, |component, path, f| component.into_proto(path, f)),
            summary: bounded::<1000>(f, "summary", self.summary),
            form: form(self.form, self.form_base64, f),
            aliases: each("aliases", self.aliases, f, |alias, path, f| {
                f.required::<Alias>(path, Some(&alias));
                alias
            }),
            return_address: long(f, "return_address", self.return_address),
            dossier_code: {
                let code = f.optional::<DossierCode>("dossier_code", self.dossier_code.as_deref());
                text_of(code.as_ref().map(DossierCode::as_str))
            },
        };
        fields.finish(submission)
    }

    /// A submission that arrived with a delivery.
    pub(crate) fn from_proto(submission: v1::Submission) -> Self {
        let intake = IntakeChannel::ALL.into_iter().find(|c| intake_number(*c) as i32 == submission.intake_channel);
        let back = ReturnChannel::ALL.into_iter().find(|c| return_number(*c) as i32 == submission.return_channel);
        let (form, form_base64) = form_json(&submission.form);
        Self {
            procedure_code: text(submission.procedure_code),
            case_code: text(submission.case_code),
            applicant: submission.applicant.map(ApplicantJson::from_proto),
            locality: text(submission.locality),
            intake_channel: intake.map(|channel| channel.as_str().to_owned()),
            support_point: text(submission.support_point),
            return_desk: text(submission.return_desk),
            return_channel: back.map(|channel| channel.as_str().to_owned()),
            received_at: submission.received_at.as_ref().and_then(time::print),
            components: submission.components.into_iter().map(ComponentJson::from_proto).collect(),
            summary: text(submission.summary),
            form,
            form_base64,
            aliases: submission.aliases,
            return_address: text(submission.return_address),
            dossier_code: text(submission.dossier_code),
        }
    }
}

/// The words of JSON for the kinds of applicants.
const KINDS: [(&str, v1::ApplicantKind); 4] = [
    ("citizen", v1::ApplicantKind::Citizen),
    ("enterprise", v1::ApplicantKind::Enterprise),
    ("state_agency", v1::ApplicantKind::StateAgency),
    ("other_organisation", v1::ApplicantKind::OtherOrganisation),
];
const SEXES: [(&str, v1::Sex); 2] = [("male", v1::Sex::Male), ("female", v1::Sex::Female)];

impl ApplicantJson {
    fn into_proto(self, f: &mut Fields) -> v1::Applicant {
        let kind = self.kind.as_deref().and_then(|word| KINDS.iter().find(|(name, _)| *name == word));
        if kind.is_none() {
            f.problem(
                "applicant.kind",
                Wrong::new(
                    "không thuộc: citizen, enterprise, state_agency, other_organisation",
                    "is not one of citizen, enterprise, state_agency, other_organisation",
                ),
            );
        }
        let sex = self.sex.as_deref().and_then(|word| SEXES.iter().find(|(name, _)| *name == word));
        if self.sex.is_some() && sex.is_none() {
            f.problem("applicant.sex", Wrong::new("không thuộc: male, female", "is not one of male, female"));
        }
        f.optional::<PersonalNumber>("applicant.personal_number", self.personal_number.as_deref());
        let born = self.date_of_birth.as_deref();
        // Only this one spelling: the text is signed and compared as it stands.
        if born.is_some_and(|text| text.parse::<Date>().map_or(true, |date| date.to_string() != text)) {
            f.problem(
                "applicant.date_of_birth",
                Wrong::new("không phải ngày dạng yyyy-mm-dd", "is not a date of the form yyyy-mm-dd"),
            );
        }
        if self.full_name.as_deref().is_none_or(str::is_empty) {
            f.problem("applicant.full_name", Wrong::missing());
        }
        v1::Applicant {
            kind: kind.map_or(0, |(_, kind)| *kind as i32),
            full_name: bounded::<200>(f, "applicant.full_name", self.full_name),
            personal_number: self.personal_number.unwrap_or_default(),
            date_of_birth: self.date_of_birth.unwrap_or_default(),
            sex: sex.map_or(0, |(_, sex)| *sex as i32),
            phone: short(f, "applicant.phone", self.phone),
            email: bounded::<254>(f, "applicant.email", self.email),
            address: long(f, "applicant.address", self.address),
            organisation_number: short(f, "applicant.organisation_number", self.organisation_number),
        }
    }

    fn from_proto(applicant: v1::Applicant) -> Self {
        let kind = KINDS.iter().find(|(_, kind)| *kind as i32 == applicant.kind);
        let sex = SEXES.iter().find(|(_, sex)| *sex as i32 == applicant.sex);
        Self {
            kind: kind.map(|(word, _)| (*word).to_owned()),
            full_name: text(applicant.full_name),
            personal_number: text(applicant.personal_number),
            date_of_birth: text(applicant.date_of_birth),
            sex: sex.map(|(word, _)| (*word).to_owned()),
            phone: text(applicant.phone),
            email: text(applicant.email),
            address: text(applicant.address),
            organisation_number: text(applicant.organisation_number),
        }
    }
}

pub(super) fn return_number(channel: ReturnChannel) -> v1::ReturnChannel {
    match channel {
        ReturnChannel::Direct => v1::ReturnChannel::Direct,
        ReturnChannel::Post => v1::ReturnChannel::Post,
        ReturnChannel::Online => v1::ReturnChannel::Online,
    }
}

pub(super) fn intake_number(channel: IntakeChannel) -> v1::IntakeChannel {
    match channel {
        IntakeChannel::Direct => v1::IntakeChannel::Direct,
        IntakeChannel::Online => v1::IntakeChannel::Online,
        IntakeChannel::Postal => v1::IntakeChannel::Postal,
    }
}

fn form(json: Option<Box<RawValue>>, base64: Option<String>, f: &mut Fields) -> Bytes {
    let bytes = match (json, base64) {
        (Some(_), Some(_)) => {
            f.problem(
                "form",
                Wrong::new(
                    "và form_base64 cùng có mặt; hãy gửi một trong hai",
                    "and form_base64 are both there; send one of them",
                ),
            );
            Bytes::new()
        }
        (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(base64)) => match BASE64.decode(base64.as_bytes()) {
            Ok(bytes) => bytes.into(),
            Err(_) => {
                f.problem("form_base64", Wrong::new("không phải Base64 có ký tự đệm", "is not Base64 with padding"));
                Bytes::new()
            }
        },
        (None, None) => Bytes::new(),
    };
    if bytes.len() > MAX_FORM_BYTES {
        f.problem(
            "form",
            Wrong::new(
                "dài hơn 1 MiB; nội dung lớn hãy gửi dưới dạng tài liệu",
                "is longer than 1 MiB; send what is large as a document",
            ),
        );
    }
    bytes
}

/// A form that is JSON comes as JSON, any other in Base64.
fn form_json(form: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    if form.is_empty() {
        return (None, None);
    }
    match serde_json::from_slice::<Box<RawValue>>(form) {
        Ok(json) => (Some(json), None),
        Err(_) => (None, Some(BASE64.encode(form))),
    }
}
